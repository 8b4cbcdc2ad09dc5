/* train/together: "the k * rows largest of a batch" (QSR_SELECT_BATCH) as the host does it, from values or from their bounds.
 *
 * Kept codes hold candidates: value is an upper bound of the pre-activation, plane[0], where there is one, a lower bound; without planes
 * value is the pre-activation itself. No candidate below `floor` can be among the largest. Near ties at the cut are settled in
 * double, as model/choose does for rows. */
#ifndef QSR_TRAIN_TOGETHER_H
#define QSR_TRAIN_TOGETHER_H
#include "train/prune.h"

/* A floor for a batch of which nothing is known yet: from some of its rows, probably right; 0: none. */
float qsr_together_sample(qsr_learner *);
/* Raises the floor by what is stored, and drops what lies below. */
qsr_status qsr_together_tighten(qsr_pruning *, qsr_error *e);
/* Leaves the k * rows largest positive pre-activations of the batch in the kept codes, ties by row, then latent. QSR_END: the floor
 * that the batch began with was too high, so some may be missing. */
qsr_status qsr_together_decide(qsr_pruning *, qsr_error *e);
#endif

/* train/prune: rules that choose among all candidates of a batch, with memory bounded by what they may keep. */
#ifndef QSR_TRAIN_PRUNE_H
#define QSR_TRAIN_PRUNE_H
#include "train/learner.h"

typedef struct {
    qsr_learner *learner;
    size_t limit;  /* more never stay; SIZE_MAX: unknown */
    size_t stored; /* candidates in learner->kept */
    bool *filled;  /* [n_blocks] */
    /* where the host is the rule (train/together) */
    float floor;        /* no candidate below it can stay */
    float guess;        /* what the floor began with, */
    bool guessed;       /* unless it began without */
    float a;            /* of qsr_screened; 0 with values instead of bounds */
    float threshold;    /* the least value that stayed, after the decision; 0: all positive ones did */
} qsr_pruning;

/* guess: a floor that is probably right, or 0. Only the host makes use of it. */
void qsr_pruning_begin(qsr_pruning *, qsr_learner *, float guess);
void qsr_pruning_end(qsr_pruning *);
/* A block's candidates: thinned out if they exceed the limit, kept as learner->kept[block]. What is kept after qsr_pruning_decide
 * does not depend on the order in which blocks arrive. */
qsr_status qsr_pruning_add(qsr_pruning *, size_t block, qsr_code *candidates, qsr_error *e);
/* QSR_END: the guess was too high. Begin again without. */
qsr_status qsr_pruning_decide(qsr_pruning *, qsr_error *e);
#endif

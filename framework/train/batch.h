/* train/batch: forward and backward of one batch, in blocks of rows.
 *
 * Plain case: each block is encoded, decoded, judged and differentiated while its pre-activations are hot, and its code dies
 * with it. Where rows decide together (BatchTopK), or a loss needs the whole batch before it touches the main code, the codes
 * of the batch are kept and the second half runs afterwards. Losses that look through views alone run last, without them. */
#ifndef QSR_TRAIN_BATCH_H
#define QSR_TRAIN_BATCH_H
#include "train/learner.h"

/* Fills learner->gradient (finished, with norms), the losses' values and the report's l0, l1, dead, dead_in_batch, loss from
 * learner->x. Updates the silent counters. */
qsr_status qsr_batch_run(qsr_learner *, qsr_error *e);
#endif

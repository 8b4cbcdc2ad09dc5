/* train/start: where training starts from: initial weights, and what is estimated from the first rows of the data.
 *
 * The first 65,536 training rows (all if fewer), in stream order, through a second cursor, give the dataset scale and the
 * initial b_dec; training itself then sees the same rows again, from the beginning. */
#ifndef QSR_TRAIN_START_H
#define QSR_TRAIN_START_H
#include "data/cursor.h"
#include "train/learner.h"

/* normalize: dataset, then init or init_from, then b_dec_init. */
qsr_status qsr_learner_start(qsr_learner *, const qsr_dataset *, qsr_error *e);
#endif

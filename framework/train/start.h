/* train/start: where training starts from: initial weights, and what is estimated from the first rows of the data.
 *
 * The first 65,536 training rows (all if fewer), in stream order, through a second cursor, give the dataset scale and the
 * initial b_dec; training itself then sees the same rows again, from the beginning. */
#ifndef QSR_TRAIN_START_H
#define QSR_TRAIN_START_H
#include "data/cursor.h"
#include "train/learner.h"

enum { QSR_START_ROWS = 65536 };

typedef struct qsr_starter qsr_starter;

/* Initial weights, or those of init_from. The learner is ready after qsr_starter_finish. */
qsr_status qsr_starter_create(qsr_learner *, qsr_starter **ret, qsr_error *e);
void qsr_starter_free(qsr_starter *); /* NULL is fine */
/* Whether it wants the first rows of the stream at all. */
bool qsr_starter_wants_rows(const qsr_starter *);
/* raw[n][d_in], in stream order; those beyond the first 65,536 are not to be given. */
void qsr_starter_take(qsr_starter *, const float *raw, size_t n);
/* The dataset's scale and b_dec from what was taken. */
qsr_status qsr_starter_finish(qsr_starter *, qsr_error *e);

/* All of it for one learner on a dataset with one tap. */
qsr_status qsr_learner_start(qsr_learner *, const qsr_dataset *, qsr_error *e);
#endif

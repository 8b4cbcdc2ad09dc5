/* train/schedule: the learning rate over training. This room may import everything below it: base, math, spec, format, plugin,
 * data, model. */
#ifndef QSR_TRAIN_SCHEDULE_H
#define QSR_TRAIN_SCHEDULE_H
#include "spec/spec.h"

/* The rate of step `step` (from 0) of `steps`: a linear rise over the first warmup * steps steps, which reaches lr at their
 * end, and a linear fall over the last decay * steps, whose last step has lr / (number of falling steps). */
double qsr_learning_rate(const qsr_train_options *, uint64_t step, uint64_t steps);
/* train.tokens rounded down to whole batches. */
uint64_t qsr_training_steps(const qsr_train_options *);
#endif

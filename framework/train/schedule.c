#include "train/schedule.h"

#include <math.h>

uint64_t qsr_training_steps(const qsr_train_options *t) { return (uint64_t)t->tokens / (uint64_t)t->batch; }

/* Whole steps in a fraction of all: 0.29 of 100 are 29, though 0.29 * 100 is a little less in binary. */
static double whole_steps(double fraction, uint64_t steps) { return floor(fraction * (double)steps + 1e-6); }

double qsr_learning_rate(const qsr_train_options *t, uint64_t step, uint64_t steps)
{
    double rise = whole_steps(t->warmup, steps), fall = whole_steps(t->decay, steps), factor = 1;
    double done = (double)step + 1, left = (double)(steps - step);
    if (rise > 0 && done < rise) factor = done / rise;
    if (fall > 0 && left < fall) factor *= left / fall;
    return t->lr * factor;
}

#include "train/schedule.h"

#include <math.h>

uint64_t qsr_training_steps(const qsr_train_options *t) { return (uint64_t)t->tokens / (uint64_t)t->batch; }

double qsr_learning_rate(const qsr_train_options *t, uint64_t step, uint64_t steps)
{
    double rise = floor(t->warmup * (double)steps), fall = floor(t->decay * (double)steps), factor = 1;
    double done = (double)step + 1, left = (double)(steps - step);
    if (rise > 0 && done < rise) factor = done / rise;
    if (fall > 0 && left < fall) factor *= left / fall;
    return t->lr * factor;
}

#include "math/pairs.h"

#include <math.h>
#include <string.h>

#include "math/kernel.h"

const qsr_pair_passes *qsr_pair_passes_named(const char *isa)
{
    const qsr_kernels *set = qsr_kernels_named(isa);
    return set ? set->pairs : NULL;
}

void qsr_pair_sums_begin(qsr_pair_sums *s)
{
    *s = (qsr_pair_sums){0};
    for (size_t i = 0; i < QSR_PAIR_LANES; i++) s->product_max[i] = -INFINITY;
}

void qsr_pair_best_begin(qsr_pair_best *b)
{
    for (size_t i = 0; i < QSR_PAIR_LANES; i++) b->cosine[i] = 0, b->other[i] = -1;
}

qsr_pair_totals qsr_pair_sums_all(const qsr_pair_sums *s)
{
    qsr_pair_totals all = {0, 0, -INFINITY, 0};
    for (size_t i = 0; i < QSR_PAIR_LANES; i++) {
        all.cosine_max = fmax(all.cosine_max, s->cosine_max[i]);
        all.cosine_sum += s->cosine_sum[i];
        all.product_max = fmax(all.product_max, s->product_max[i]);
        all.product_sum += s->product_sum[i];
    }
    return all;
}

#include "model/choose.h"

#include <stdlib.h>

#include "math/rows.h"
#include "math/select.h"

/* Pre-activations within QSR_CHOOSE_BAND of the k-th are compared again. A float32 product of a few hundred or thousand terms is
 * off by some 2^-24 |x||w|, and |x||w| is some ten times the k-th value: the band is wide enough by a factor of ten or more. */
#define BAND QSR_CHOOSE_BAND
enum { MOST_DOUBTFUL = 1024, ROOM = 2048 };

typedef struct {
    double value;
    uint32_t at; /* place in the list, which is in order of latent */
} doubtful_entry;

static int by_value_then_latent(const void *a, const void *b)
{
    const doubtful_entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static size_t count_at_least(const float *v, size_t n, float bound)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += v[i] >= bound;
    return count;
}

static uint32_t latent_of(const qsr_pre_list *pre, size_t at) { return pre->latent ? pre->latent[at] : (uint32_t)at; }

/* The doubtful entries of a row with their exact-as-double pre-activations; returns how many, or 0 when there are too many. */
static size_t look_again(const qsr_params *p, const float *xc, const qsr_pre_list *pre, float low, float high,
                         doubtful_entry *out)
{
    size_t n = 0;
    for (size_t i = 0; i < pre->n; i++) {
        if (!(pre->value[i] >= low && pre->value[i] <= high)) continue;
        if (n == MOST_DOUBTFUL) return 0;
        size_t j = latent_of(pre, i);
        double value = qsr_row_dot(xc, p->w_enc + j * p->d_in, p->d_in) + (p->encoder_bias ? p->b_enc[j] : 0);
        out[n++] = (doubtful_entry){value, (uint32_t)i};
    }
    return n;
}

/* at[0..k): the choice by float32 values; replaced where double decides otherwise. */
static void settle(const qsr_params *p, const float *xc, const qsr_pre_list *pre, size_t k, uint32_t *at)
{
    float least = pre->value[at[0]];
    for (size_t i = 1; i < k; i++) least = pre->value[at[i]] < least ? pre->value[at[i]] : least;
    float low = least * (1 - BAND), high = least * (1 + BAND);
    if (count_at_least(pre->value, pre->n, low) == k) return;
    doubtful_entry doubtful[MOST_DOUBTFUL];
    size_t n = look_again(p, xc, pre, low, high, doubtful), sure = 0;
    if (n == 0) return;
    for (size_t i = 0; i < k; i++)
        if (pre->value[at[i]] > high) at[sure++] = at[i];
    qsort(doubtful, n, sizeof *doubtful, by_value_then_latent);
    for (size_t i = 0; sure < k; i++) at[sure++] = doubtful[i].at;
    qsort(at, k, sizeof *at, ascending);
}

size_t qsr_choose_among(const qsr_params *p, size_t k, const float *xc, const qsr_pre_list *pre, uint32_t *latent,
                        float *value)
{
    size_t n = qsr_select_largest(pre->value, pre->n, k, latent); /* places in the list first */
    if (n == k && k < p->d_sae) settle(p, xc, pre, k, latent);
    for (size_t i = 0; i < n; i++) {
        value[i] = pre->value[latent[i]];
        latent[i] = latent_of(pre, latent[i]);
    }
    return n;
}

void qsr_choose_rows(const qsr_params *p, size_t k, const float *xc, size_t rows, const float *pre, qsr_code *code)
{
    uint32_t latent[ROOM];
    float value[ROOM];
    size_t at = 0;
    for (size_t r = 0; r < rows; r++, pre += p->d_sae, xc += p->d_in) {
        qsr_pre_list list = {NULL, pre, p->d_sae};
        float bound = qsr_select_bound(pre, NULL, 0, p->d_sae, k);
        size_t few = bound > 0 ? qsr_select_reaching(pre, p->d_sae, bound * (1 - 2 * BAND), ROOM, latent, value) : SIZE_MAX;
        if (few <= ROOM) list = (qsr_pre_list){latent, value, few};
        at += qsr_choose_among(p, k, xc, &list, code->latent + at, code->value + at);
        code->row_begin[r + 1] = at;
    }
}

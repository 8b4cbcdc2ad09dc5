#include "model/choose.h"

#include <stdlib.h>

#include "math/rows.h"
#include "math/select.h"

/* Pre-activations within this factor of the k-th are compared again. A float32 product of a few hundred or thousand terms is
 * off by some 2^-24 |x||w|, and |x||w| is some ten times the k-th value: the band is wide enough by a factor of ten or more. */
#define BAND 0x1p-16f
enum { MOST_DOUBTFUL = 1024 };

typedef struct {
    double value;
    uint32_t latent;
} doubtful_entry;

static int by_value_then_latent(const void *a, const void *b)
{
    const doubtful_entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
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

/* The doubtful latents of a row with their exact-as-double pre-activations; returns how many, or 0 when there are too many. */
static size_t look_again(const qsr_params *p, const float *xc, const float *pre, float low, float high, doubtful_entry *out)
{
    size_t n = 0;
    for (uint32_t j = 0; j < p->d_sae; j++) {
        if (!(pre[j] >= low && pre[j] <= high)) continue;
        if (n == MOST_DOUBTFUL) return 0;
        double value = qsr_row_dot(xc, p->w_enc + (size_t)j * p->d_in, p->d_in) + (p->encoder_bias ? p->b_enc[j] : 0);
        out[n++] = (doubtful_entry){value, j};
    }
    return n;
}

/* latent[0..k): the choice by float32 values; replaced where double decides otherwise. */
static void settle(const qsr_params *p, const float *xc, const float *pre, size_t k, uint32_t *latent)
{
    float least = pre[latent[0]];
    for (size_t i = 1; i < k; i++) least = pre[latent[i]] < least ? pre[latent[i]] : least;
    float low = least * (1 - BAND), high = least * (1 + BAND);
    if (count_at_least(pre, p->d_sae, low) == k) return;
    doubtful_entry doubtful[MOST_DOUBTFUL];
    size_t n = look_again(p, xc, pre, low, high, doubtful), sure = 0;
    if (n == 0) return;
    for (size_t i = 0; i < k; i++)
        if (pre[latent[i]] > high) latent[sure++] = latent[i];
    qsort(doubtful, n, sizeof *doubtful, by_value_then_latent);
    for (size_t i = 0; sure < k; i++) latent[sure++] = doubtful[i].latent;
    qsort(latent, k, sizeof *latent, ascending);
}

void qsr_choose_rows(const qsr_params *p, size_t k, const float *xc, size_t rows, const float *pre, qsr_code *code)
{
    size_t at = 0;
    for (size_t r = 0; r < rows; r++, pre += p->d_sae, xc += p->d_in) {
        uint32_t *latent = code->latent + at;
        size_t n = qsr_select_largest(pre, p->d_sae, k, latent);
        if (n == k && k < p->d_sae) settle(p, xc, pre, k, latent);
        for (size_t i = 0; i < n; i++) code->value[at + i] = pre[latent[i]];
        at += n;
        code->row_begin[r + 1] = at;
    }
}

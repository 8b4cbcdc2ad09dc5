/* The passes of math/pairs, compiled once per instruction set with QSR_KERNELS naming the table (see room.mk): cosines in double, each a
 * product of three factors, so that they are the same everywhere; sums in the lanes of vectors. */
#include <stdbool.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include "math/pairs.h"

/* ---- vectors of doubles, and choices between them ---- */

#if defined(__AVX512F__)
enum { WIDE = 8 };
#elif defined(__AVX2__)
enum { WIDE = 4 };
#else
enum { WIDE = 2 };
#endif
typedef double doubles __attribute__((vector_size(8 * WIDE), aligned(8), may_alias));
typedef int64_t numbers __attribute__((vector_size(8 * WIDE), aligned(8), may_alias));
typedef float floats __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));

#if defined(__AVX512F__)
typedef __mmask8 choice;
static inline doubles magnitude(doubles a) { return (doubles)_mm512_abs_pd((__m512d)a); }
static inline choice larger(doubles a, doubles b) { return _mm512_cmp_pd_mask((__m512d)a, (__m512d)b, _CMP_GT_OQ); }
static inline doubles pick(choice m, doubles a, doubles b)
{
    return (doubles)_mm512_mask_mov_pd((__m512d)b, m, (__m512d)a);
}
static inline numbers pick_number(choice m, numbers a, numbers b)
{
    return (numbers)_mm512_mask_mov_epi64((__m512i)b, m, (__m512i)a);
}
#else
typedef numbers choice;
static inline doubles magnitude(doubles a) { return (doubles)((numbers)a & INT64_MAX); }
static inline choice larger(doubles a, doubles b) { return (numbers)(a > b); }
static inline doubles pick(choice m, doubles a, doubles b) { return (doubles)(((numbers)a & m) | ((numbers)b & ~m)); }
static inline numbers pick_number(choice m, numbers a, numbers b) { return (a & m) | (b & ~m); }
#endif

/* ---- a block: VECTORS vectors of columns at a time, whose best stay in registers while all rows pass ---- */

enum { VECTORS = 4, COLUMNS = VECTORS * WIDE };

typedef struct {
    doubles cosine_sum[2], cosine_max, product_sum[2], product_max;
} lane_sums;

typedef struct {
    doubles cosine[VECTORS];
    numbers other[VECTORS];
} column_best;

static inline __attribute__((always_inline)) void add_row(const float *product, double row_factor,
                                                          const doubles *column_factor, lane_sums *s, bool nearest,
                                                          numbers row, numbers column, qsr_pair_best *best, column_best *c)
{
    doubles most = {0};
    numbers with = {0};
    if (nearest) {
        most = *(const doubles *)best->cosine;
        with = *(const numbers *)best->other;
    }
#pragma GCC unroll 4
    for (size_t v = 0; v < VECTORS; v++) {
        const doubles p = __builtin_convertvector(*(const floats *)(product + v * WIDE), doubles);
        const doubles cosine = p * row_factor * column_factor[v], a = magnitude(cosine);
        s->product_sum[v % 2] += p;
        s->product_max = pick(larger(p, s->product_max), p, s->product_max);
        s->cosine_sum[v % 2] += a;
        s->cosine_max = pick(larger(a, s->cosine_max), a, s->cosine_max);
        if (!nearest) continue;
        const choice of_row = larger(a, magnitude(most)), of_column = larger(a, magnitude(c->cosine[v]));
        most = pick(of_row, cosine, most);
        with = pick_number(of_row, column + (int64_t)(v * WIDE), with);
        c->cosine[v] = pick(of_column, cosine, c->cosine[v]);
        c->other[v] = pick_number(of_column, row, c->other[v]);
    }
    if (!nearest) return;
    *(doubles *)best->cosine = most;
    *(numbers *)best->other = with;
}

static inline __attribute__((always_inline)) void add_columns(const qsr_pair_block *b, size_t k, lane_sums *sums,
                                                              bool nearest, qsr_pair_best *row, double *column_cosine,
                                                              int64_t *column_other)
{
    lane_sums s = *sums;
    doubles factor[VECTORS];
    numbers column;
    column_best c;
    for (size_t v = 0; v < VECTORS; v++) {
        factor[v] = *(const doubles *)(b->column_factor + k + v * WIDE);
        c.cosine[v] = (doubles){0};
        c.other[v] = (numbers){0} - 1;
    }
    for (size_t lane = 0; lane < WIDE; lane++) column[lane] = (int64_t)(b->column0 + k + lane);
    for (size_t i = 0; i < b->rows; i++)
        add_row(b->product + i * b->ld + k, b->row_factor[i], factor, &s, nearest, (numbers){0} + (int64_t)(b->row0 + i),
                column, nearest ? row + i : NULL, &c);
    *sums = s;
    if (!nearest) return;
    memcpy(column_cosine + k, c.cosine, sizeof c.cosine);
    memcpy(column_other + k, c.other, sizeof c.other);
}

static inline __attribute__((always_inline)) void add_block(const qsr_pair_block *b, qsr_pair_sums *sums, bool nearest,
                                                            qsr_pair_best *row, double *column_cosine,
                                                            int64_t *column_other)
{
    lane_sums s = {{*(const doubles *)sums->cosine_sum, {0}},
                   *(const doubles *)sums->cosine_max,
                   {*(const doubles *)sums->product_sum, {0}},
                   *(const doubles *)sums->product_max};
    for (size_t k = 0; k < b->columns; k += COLUMNS) add_columns(b, k, &s, nearest, row, column_cosine, column_other);
    *(doubles *)sums->cosine_sum = s.cosine_sum[0] + s.cosine_sum[1];
    *(doubles *)sums->cosine_max = s.cosine_max;
    *(doubles *)sums->product_sum = s.product_sum[0] + s.product_sum[1];
    *(doubles *)sums->product_max = s.product_max;
}

static void add(const qsr_pair_block *b, qsr_pair_sums *sums) { add_block(b, sums, false, NULL, NULL, NULL); }

static void add_nearest(const qsr_pair_block *b, qsr_pair_sums *sums, qsr_pair_best *row, double *column_cosine,
                        int64_t *column_other)
{
    add_block(b, sums, true, row, column_cosine, column_other);
}

#define TABLE_OF_(x_) qsr_pair_passes_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_pair_passes TABLE_OF(QSR_KERNELS);
const qsr_pair_passes TABLE_OF(QSR_KERNELS) = {COLUMNS, add, add_nearest};

/* The inner loops of the sparse products of one row: compiled once per instruction set, as kernel-body.c is. Multiply-adds are fused
 * where the instruction set has them. Each number's additions have one order. */
#include "math/lanes.h"
#include "math/sparse.h"

/* REGISTERS hold sums of a row; COUNT: latents whose dot products with a row are summed at once. */
#if defined __AVX512F__
enum { REGISTERS = 24, COUNT = 8 };
#else
enum { REGISTERS = 12, COUNT = 8 };
#endif

/* ---- sums of rows ------------------------------------------------------------------------------------------------ */

/* `vectors` vectors of sums stay in registers while the terms go by. */
INLINE void gather_strip(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, float *acc,
                         const size_t vectors)
{
    lanes sum[REGISTERS];
#pragma GCC unroll 24
    for (size_t v = 0; v < vectors; v++) sum[v] = load(acc + v * WIDTH);
    for (size_t e = 0; e < n; e++) {
        const float *row = m + (size_t)index[e] * ld;
        const float *next = m + (size_t)index[e + (e + 1 < n)] * ld;
#pragma GCC unroll 24
        for (size_t v = 0; v < vectors; v += 16 / WIDTH) __builtin_prefetch(next + v * WIDTH);
#pragma GCC unroll 24
        for (size_t v = 0; v < vectors; v++) sum[v] += (value[e] - (lanes){0}) * load(row + v * WIDTH);
    }
#pragma GCC unroll 24
    for (size_t v = 0; v < vectors; v++) store(acc + v * WIDTH, sum[v]);
}

static void gather(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d, float *acc)
{
    size_t i = 0;
    for (; i + REGISTERS * WIDTH <= d; i += REGISTERS * WIDTH) gather_strip(index, value, n, m + i, ld, acc + i, REGISTERS);
    for (; i + 32 <= d; i += 32) gather_strip(index, value, n, m + i, ld, acc + i, 32 / WIDTH);
    for (; i + WIDTH <= d; i += WIDTH) gather_strip(index, value, n, m + i, ld, acc + i, 1);
    if (i == d) return;
    lanes sum = load_part(acc + i, d - i);
    for (size_t e = 0; e < n; e++) sum += (value[e] - (lanes){0}) * load_part(m + (size_t)index[e] * ld + i, d - i);
    memcpy(acc + i, &sum, (d - i) * sizeof *acc);
}

/* ---- dot products ------------------------------------------------------------------------------------------------ */

/* out[l] = m[index[l]] . x for COUNT latents at once. */
INLINE void dot_tile(const uint32_t *index, const float *m, size_t ld, size_t d, const float *x, float *out)
{
    lanes sum[COUNT];
    const float *w[COUNT];
#pragma GCC unroll 8
    for (size_t l = 0; l < COUNT; l++) w[l] = m + (size_t)index[l] * ld, sum[l] = (lanes){0};
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) {
        lanes v = load(x + i);
#pragma GCC unroll 8
        for (size_t l = 0; l < COUNT; l++) sum[l] += load(w[l] + i) * v;
    }
    for (size_t l = 0; i < d && l < COUNT; l++) sum[l] += load_part(w[l] + i, d - i) * load_part(x + i, d - i);
#pragma GCC unroll 2
    for (size_t l = 0; l < COUNT; l += 4) {
        quad four = sum_lanes_of_4(sum[l], sum[l + 1], sum[l + 2], sum[l + 3]);
        memcpy(out + l, &four, sizeof four);
    }
}

/* What is left over after whole tiles is filled up with repetitions. */
static void dots(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, float *out)
{
    size_t l = 0;
    for (; l + COUNT <= n; l += COUNT) dot_tile(index + l, m, ld, d, x, out + l);
    if (l == n) return;
    uint32_t rest[COUNT];
    float product[COUNT];
    for (size_t i = 0; i < COUNT; i++) rest[i] = index[l + i < n ? l + i : n - 1];
    dot_tile(rest, m, ld, d, x, product);
    memcpy(out + l, product, (n - l) * sizeof *out);
}

#define TABLE_OF_(x_) qsr_sparse_kernels_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_sparse_kernels TABLE_OF(QSR_KERNELS);
const qsr_sparse_kernels TABLE_OF(QSR_KERNELS) = {gather, dots};

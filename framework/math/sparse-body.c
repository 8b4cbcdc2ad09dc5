/* The inner loops of the sparse products: compiled once per instruction set, as kernel-body.c is. Multiply-adds are fused where
 * the instruction set has them. Each number's additions have one order, which does not depend on how many rows share a call. */
#include <string.h>

#include "math/sparse.h"

/* REGISTERS hold sums when there is one row; with four rows VECTORS_4 vectors of each do. COUNT_1 and COUNT_4: latents whose dot
 * products with one row, with four rows, are summed at once. */
#if defined __AVX512F__
enum { WIDTH = 16, REGISTERS = 24, VECTORS_4 = 6, COUNT_1 = 8, COUNT_4 = 4 };
#elif defined __AVX2__
enum { WIDTH = 8, REGISTERS = 12, VECTORS_4 = 2, COUNT_1 = 8, COUNT_4 = 2 };
#else
enum { WIDTH = 4, REGISTERS = 12, VECTORS_4 = 2, COUNT_1 = 8, COUNT_4 = 2 };
#endif
#define INLINE static inline __attribute__((always_inline))
typedef float lanes __attribute__((vector_size(4 * (WIDTH)), aligned(4), may_alias));
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

/* By pointer: gcc makes two halves of a 32-byte memcpy. */
INLINE lanes load(const float *p) { return *(const lanes *)p; }
INLINE void store(float *p, lanes v) { *(lanes *)p = v; }

/* The first n < WIDTH lanes, the others 0. What is left over of a row goes through vectors too, so that its arithmetic is theirs. */
INLINE lanes load_part(const float *p, size_t n)
{
    lanes v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

/* ---- sums of rows ------------------------------------------------------------------------------------------------ */

/* `vectors` vectors of each of `outs` sums stay in registers while the terms go by. */
INLINE void gather_strip(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, float *acc,
                         size_t ld_acc, const size_t outs, const size_t vectors)
{
    lanes sum[REGISTERS];
#pragma GCC unroll 24
    for (size_t i = 0; i < outs * vectors; i++) sum[i] = load(acc + i / vectors * ld_acc + i % vectors * WIDTH);
    for (size_t e = 0; e < n; e++) {
        const float *row = m + (size_t)index[e] * ld;
        const float *next = m + (size_t)index[e + (e + 1 < n)] * ld;
#pragma GCC unroll 24
        for (size_t v = 0; v < vectors; v += 16 / WIDTH) __builtin_prefetch(next + v * WIDTH);
#pragma GCC unroll 24
        for (size_t v = 0; v < vectors; v++) {
            lanes x = load(row + v * WIDTH);
#pragma GCC unroll 4
            for (size_t o = 0; o < outs; o++) sum[o * vectors + v] += (value[e * outs + o] - (lanes){0}) * x;
        }
    }
#pragma GCC unroll 24
    for (size_t i = 0; i < outs * vectors; i++) store(acc + i / vectors * ld_acc + i % vectors * WIDTH, sum[i]);
}

INLINE void gather(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d, float *acc,
                   size_t ld_acc, const size_t outs)
{
    const size_t vectors = outs == 1 ? REGISTERS : VECTORS_4;
    size_t i = 0;
    for (; i + vectors * WIDTH <= d; i += vectors * WIDTH)
        gather_strip(index, value, n, m + i, ld, acc + i, ld_acc, outs, vectors);
    for (; outs == 1 && i + 32 <= d; i += 32) gather_strip(index, value, n, m + i, ld, acc + i, ld_acc, outs, 32 / WIDTH);
    for (; i + WIDTH <= d; i += WIDTH) gather_strip(index, value, n, m + i, ld, acc + i, ld_acc, outs, 1);
    for (size_t o = 0; o < outs && i < d; o++) {
        lanes sum = load_part(acc + o * ld_acc + i, d - i);
        for (size_t e = 0; e < n; e++) sum += (value[e * outs + o] - (lanes){0}) * load_part(m + (size_t)index[e] * ld + i, d - i);
        memcpy(acc + o * ld_acc + i, &sum, (d - i) * sizeof *acc);
    }
}

static void gather_1(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d, float *acc,
                     size_t ld_acc)
{
    gather(index, value, n, m, ld, d, acc, ld_acc, 1);
}

static void gather_4(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d, float *acc,
                     size_t ld_acc)
{
    gather(index, value, n, m, ld, d, acc, ld_acc, 4);
}

/* ---- dot products ------------------------------------------------------------------------------------------------ */

/* The lanes pairwise, by halves. */
INLINE float sum_lanes(lanes v)
{
    quad part[WIDTH / 4];
    memcpy(part, &v, sizeof v);
    for (int width = WIDTH / 8; width; width /= 2)
        for (int i = 0; i < width; i++) part[i] += part[i + width];
    return (part[0][0] + part[0][2]) + (part[0][1] + part[0][3]);
}

/* out[l][r] = m[index[l]] . x[r] for `count` latents and `rows` rows at once. */
INLINE void dot_tile(const uint32_t *index, const float *m, size_t ld, size_t d, const float *x, size_t ld_x, float *out,
                     const size_t rows, const size_t count)
{
    lanes sum[16];
    const float *w[8];
#pragma GCC unroll 8
    for (size_t l = 0; l < count; l++) w[l] = m + (size_t)index[l] * ld;
#pragma GCC unroll 16
    for (size_t i = 0; i < rows * count; i++) sum[i] = (lanes){0};
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) {
        lanes xs[4];
#pragma GCC unroll 4
        for (size_t r = 0; r < rows; r++) xs[r] = load(x + r * ld_x + i);
#pragma GCC unroll 8
        for (size_t l = 0; l < count; l++) {
            lanes v = load(w[l] + i);
#pragma GCC unroll 4
            for (size_t r = 0; r < rows; r++) sum[l * rows + r] += v * xs[r];
        }
    }
    if (i < d)
        for (size_t k = 0; k < rows * count; k++)
            sum[k] += load_part(w[k / rows] + i, d - i) * load_part(x + k % rows * ld_x + i, d - i);
#pragma GCC unroll 16
    for (size_t k = 0; k < rows * count; k++) out[k] = sum_lanes(sum[k]);
}

/* What is left over after whole tiles is filled up with repetitions. */
INLINE void dots(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, size_t ld_x,
                 float *out, const size_t rows, const size_t count)
{
    size_t l = 0;
    for (; l + count <= n; l += count) dot_tile(index + l, m, ld, d, x, ld_x, out + l * rows, rows, count);
    if (l == n) return;
    uint32_t rest[8];
    float product[16];
    for (size_t i = 0; i < count; i++) rest[i] = index[l + i < n ? l + i : n - 1];
    dot_tile(rest, m, ld, d, x, ld_x, product, rows, count);
    memcpy(out + l * rows, product, (n - l) * rows * sizeof *out);
}

static void dots_1(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, size_t ld_x,
                   float *out)
{
    dots(index, n, m, ld, d, x, ld_x, out, 1, COUNT_1);
}

static void dots_4(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, size_t ld_x,
                   float *out)
{
    dots(index, n, m, ld, d, x, ld_x, out, 4, COUNT_4);
}

#define TABLE_OF_(x_) qsr_sparse_kernels_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_sparse_kernels TABLE_OF(QSR_KERNELS);
const qsr_sparse_kernels TABLE_OF(QSR_KERNELS) = {gather_1, gather_4, dots_1, dots_4};

/* The tiles of math/product for one instruction set with fused multiply-adds: compiled once for each, QSR_KERNELS naming the
 * table (see room.mk). A tile keeps its output in registers over the whole depth: 14 x 2 of the 32 AVX-512 registers, 6 x 2 of the
 * 16 of AVX2. Intrinsics, because contraction is off everywhere and the chain must be fused in every lane. */
#include <immintrin.h>
#include <string.h>

#include "math/product.h"
#include "math/turn.h"

#if defined(__AVX512F__)
enum { LANES = 16, MOST_ROWS = 14 };
typedef __m512 lanes;
#define LOAD(p_) _mm512_loadu_ps(p_)
#define STORE(p_, v_) _mm512_storeu_ps(p_, v_)
#define SPLAT(x_) _mm512_set1_ps(x_)
#define FMA(a_, b_, c_) _mm512_fmadd_ps(a_, b_, c_)
#define ADD(a_, b_) _mm512_add_ps(a_, b_)
#else
enum { LANES = 8, MOST_ROWS = 6 };
typedef __m256 lanes;
#define LOAD(p_) _mm256_loadu_ps(p_)
#define STORE(p_, v_) _mm256_storeu_ps(p_, v_)
#define SPLAT(x_) _mm256_set1_ps(x_)
#define FMA(a_, b_, c_) _mm256_fmadd_ps(a_, b_, c_)
#define ADD(a_, b_) _mm256_add_ps(a_, b_)
#endif
enum { WIDTH = 2 * LANES };

/* ---- tiles: one function for each number of rows, so that the compiler knows its registers ----------------------- */

static inline __attribute__((always_inline)) void tile_of(const size_t rows, const float *a, const float *b, size_t depth, float *c,
                                                          size_t ld, bool first, const float *bias)
{
    lanes sum[MOST_ROWS][2];
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) {
        sum[r][0] = first ? SPLAT(0) : LOAD(c + r * ld);
        sum[r][1] = first ? SPLAT(0) : LOAD(c + r * ld + LANES);
    }
    for (size_t k = 0; k < depth; k++, a += rows, b += WIDTH) {
        const lanes b0 = LOAD(b), b1 = LOAD(b + LANES);
#pragma GCC unroll 14
        for (size_t r = 0; r < rows; r++) {
            const lanes x = SPLAT(a[r]);
            sum[r][0] = FMA(x, b0, sum[r][0]);
            sum[r][1] = FMA(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) {
        STORE(c + r * ld, bias ? ADD(sum[r][0], LOAD(bias)) : sum[r][0]);
        STORE(c + r * ld + LANES, bias ? ADD(sum[r][1], LOAD(bias + LANES)) : sum[r][1]);
    }
}

typedef void tile_function(const float *a, const float *b, size_t depth, float *c, size_t ld, bool first, const float *bias);
#define TILE(rows_)                                                                                                                \
    static void tile_##rows_(const float *a, const float *b, size_t depth, float *c, size_t ld, bool first, const float *bias)     \
    {                                                                                                                              \
        tile_of(rows_, a, b, depth, c, ld, first, bias);                                                                           \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if defined(__AVX512F__)
TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)
#endif

static void tile(size_t rows, const float *a, const float *b, size_t depth, float *c, size_t ld, bool first, const float *bias)
{
    static tile_function *const by_rows[] = {
        NULL, tile_1, tile_2, tile_3, tile_4, tile_5, tile_6,
#if defined(__AVX512F__)
        tile_7, tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14,
#endif
    };
    by_rows[rows](a, b, depth, c, ld, first, bias);
}

/* ---- transposition ------------------------------------------------------------------------------------------------ */

static void transpose(const float *const *from, size_t count, size_t depth, float *to, size_t stride)
{
    size_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        lanes r[LANES];
#pragma GCC unroll 16
        for (size_t i = 0; i < LANES; i++) r[i] = i < count ? LOAD(from[i] + k) : SPLAT(0);
        qsr_turn(r);
#pragma GCC unroll 16
        for (size_t i = 0; i < LANES; i++) STORE(to + (k + i) * stride, r[i]);
    }
    for (; k < depth; k++)
        for (size_t i = 0; i < LANES; i++) to[k * stride + i] = i < count ? from[i][k] : 0;
}

/* ---- single pairs: LANES latents side by side, turned on the way -------------------------------------------------- */

static inline __attribute__((always_inline)) lanes chain_step(const float *const *row, size_t k, const float *x, lanes sum)
{
    lanes r[LANES];
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++) r[i] = LOAD(row[i] + k);
    qsr_turn(r);
#pragma GCC unroll 16
    for (size_t i = 0; i < LANES; i++) sum = FMA(SPLAT(x[k + i]), r[i], sum);
    return sum;
}

/* sum[i] = the chain of x and row[i]; two groups of lanes, since one alone waits for its own additions. */
static void chain_pair(const float *const *row, size_t d, const float *x, float *sum)
{
    lanes first = SPLAT(0), second = SPLAT(0);
    size_t k = 0;
    for (; k + LANES <= d; k += LANES) {
        first = chain_step(row, k, x, first);
        second = chain_step(row + LANES, k, x, second);
    }
    for (; k < d; k++) {
        float column[WIDTH];
        for (size_t i = 0; i < WIDTH; i++) column[i] = row[i][k];
        first = FMA(SPLAT(x[k]), LOAD(column), first);
        second = FMA(SPLAT(x[k]), LOAD(column + LANES), second);
    }
    STORE(sum, first);
    STORE(sum + LANES, second);
}

static void chain_one(const float *const *row, size_t d, const float *x, float *sum)
{
    lanes first = SPLAT(0);
    size_t k = 0;
    for (; k + LANES <= d; k += LANES) first = chain_step(row, k, x, first);
    for (; k < d; k++) {
        float column[LANES];
        for (size_t i = 0; i < LANES; i++) column[i] = row[i][k];
        first = FMA(SPLAT(x[k]), LOAD(column), first);
    }
    STORE(sum, first);
}

static void entries(const float *w, size_t d, const uint32_t *latent, size_t n, const float *x, float *out)
{
    const float *row[WIDTH];
    float sum[WIDTH];
    for (size_t at = 0; at < n; at += WIDTH) {
        const size_t count = n - at < WIDTH ? n - at : WIDTH;
        for (size_t i = 0; i < WIDTH; i++) row[i] = w + latent[at + (i < count ? i : 0)] * d;
        if (count > LANES)
            chain_pair(row, d, x, sum);
        else
            chain_one(row, d, x, sum);
        memcpy(out + at, sum, count * sizeof *out);
    }
}

#define TABLE_OF_(x_) qsr_tiles_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_tiles TABLE_OF(QSR_KERNELS);
const qsr_tiles TABLE_OF(QSR_KERNELS) = {MOST_ROWS, LANES, tile, transpose, entries};

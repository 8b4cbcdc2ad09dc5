/* The tiles of math/screen: AVX512-BF16, in a library of its own, since only some compilers and processors have it. */
#include <immintrin.h>
#include <string.h>

#include "math/screen.h"
#include "math/turn.h"

enum { LANES = QSR_SCREEN_LANES, WIDTH = 2 * LANES, MOST_ROWS = QSR_SCREEN_ROWS };

/* ---- tiles: one function for each number of rows ----------------------------------------------------------------- */

static inline __attribute__((always_inline)) __m512 pair_step(__m512 sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

static inline __attribute__((always_inline)) void tile_of(const size_t rows, const uint32_t *a, const uint32_t *b, size_t pairs,
                                                          const float *scale, const float *m, const float *bias, float *out, size_t ld, float *most, size_t ld_most)
{
    __m512 sum[MOST_ROWS][2];
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < pairs; p++, a += rows, b += WIDTH) {
        const __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + LANES);
#pragma GCC unroll 14
        for (size_t r = 0; r < rows; r++) {
            const __m512i x = _mm512_set1_epi32((int)a[r]);
            sum[r][0] = pair_step(sum[r][0], x, b0);
            sum[r][1] = pair_step(sum[r][1], x, b1);
        }
    }
    const __m512 m0 = _mm512_loadu_ps(m), m1 = _mm512_loadu_ps(m + LANES);
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) {
        __m512 s = _mm512_set1_ps(scale[r]), u0 = _mm512_fmadd_ps(s, m0, sum[r][0]), u1 = _mm512_fmadd_ps(s, m1, sum[r][1]);
        if (bias) u0 = _mm512_add_ps(u0, _mm512_loadu_ps(bias)), u1 = _mm512_add_ps(u1, _mm512_loadu_ps(bias + LANES));
        _mm512_storeu_ps(out + r * ld, u0);
        _mm512_storeu_ps(out + r * ld + LANES, u1);
        if (!most) continue;
        const __m512 minus = _mm512_set1_ps(-2 * scale[r]);
        __m512 top = _mm512_loadu_ps(most + r * ld_most); /* stays where a bound is NaN */
        top = _mm512_max_ps(_mm512_fmadd_ps(minus, m0, u0), top);
        _mm512_storeu_ps(most + r * ld_most, _mm512_max_ps(_mm512_fmadd_ps(minus, m1, u1), top));
    }
}

typedef void tile_function(const uint32_t *a, const uint32_t *b, size_t pairs, const float *scale, const float *m, const float *bias,
                           float *out, size_t ld, float *most, size_t ld_most);
#define TILE(rows_)                                                                                                                \
    static void tile_##rows_(const uint32_t *a, const uint32_t *b, size_t pairs, const float *scale, const float *m,               \
                             const float *bias, float *out, size_t ld, float *most, size_t ld_most)                                                             \
    {                                                                                                                              \
        tile_of(rows_, a, b, pairs, scale, m, bias, out, ld, most, ld_most);                                                                      \
    }
TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)

static void tile(size_t rows, const uint32_t *a, const uint32_t *b, size_t pairs, const float *scale, const float *m, const float *bias, float *out, size_t ld, float *most, size_t ld_most)
{
    static tile_function *const by_rows[] = {NULL,   tile_1, tile_2,  tile_3,  tile_4,  tile_5,  tile_6, tile_7,
                                             tile_8, tile_9, tile_10, tile_11, tile_12, tile_13, tile_14};
    by_rows[rows](a, b, pairs, scale, m, bias, out, ld, most, ld_most);
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

static inline __m512d add_squares(__m512d sum, __m512 v)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}

/* The vector's pairs, and what they are off by. (v - rounded) is exact: they agree within 2^-8, or rounded is 0. */
static inline __m512i round_pair(__m512 first, __m512 second, __m512d sums[3])
{
    const __m512i pairs = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    const __m512 near1 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(pairs)), 16));
    const __m512 near2 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(pairs, 1)), 16));
    sums[0] = add_squares(add_squares(sums[0], first), second);
    sums[1] = add_squares(add_squares(sums[1], near1), near2);
    sums[2] = add_squares(add_squares(sums[2], _mm512_sub_ps(first, near1)), _mm512_sub_ps(second, near2));
    return pairs;
}

static inline __mmask16 mask_of(size_t have) { return have >= LANES ? (__mmask16)0xffff : (__mmask16)((1u << have) - 1); }

static void pack(const float *const *from, size_t count, size_t d, uint32_t *to, size_t stride, double (*squares)[3])
{
    __m512d sums[LANES][3];
    for (size_t i = 0; i < LANES; i++) sums[i][0] = sums[i][1] = sums[i][2] = _mm512_setzero_pd();
    for (size_t k = 0; k < d; k += WIDTH, to += LANES * stride) {
        const size_t left = d - k, pairs = left < WIDTH ? (left + 1) / 2 : LANES;
        const __mmask16 mask1 = mask_of(left), mask2 = mask_of(left > LANES ? left - LANES : 0);
        __m512 r[LANES]; /* pairs of bfloat16, as any 32 bits */
        for (size_t i = 0; i < LANES; i++) {
            r[i] = _mm512_setzero_ps();
            if (i < count)
                r[i] = _mm512_castsi512_ps(round_pair(_mm512_maskz_loadu_ps(mask1, from[i] + k), _mm512_maskz_loadu_ps(mask2, from[i] + k + LANES), sums[i]));
        }
        qsr_turn(r);
        for (size_t p = 0; p < pairs; p++) _mm512_storeu_si512(to + p * stride, _mm512_castps_si512(r[p]));
    }
    for (size_t i = 0; i < count; i++)
        for (int s = 0; s < 3; s++) squares[i][s] = _mm512_reduce_add_pd(sums[i][s]);
}

extern const qsr_screen_tiles qsr_screen_tiles_avx512bf16;
const qsr_screen_tiles qsr_screen_tiles_avx512bf16 = {pack, tile};

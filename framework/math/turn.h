/* math/turn: a square of floats transposed in registers, 16 x 16 with AVX-512 and 8 x 8 with AVX2, for the files that are compiled once
 * per instruction set. Nothing is computed: any 32 bits come through as they are. */
#ifndef QSR_MATH_TURN_H
#define QSR_MATH_TURN_H
#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#if defined(__AVX512F__)
static inline __m512 qsr_turn_pairs(__m512 a, __m512 b, bool high)
{
    const __m512d x = _mm512_castps_pd(a), y = _mm512_castps_pd(b);
    return _mm512_castpd_ps(high ? _mm512_unpackhi_pd(x, y) : _mm512_unpacklo_pd(x, y));
}

static inline __attribute__((always_inline)) void qsr_turn(__m512 r[16])
{
    __m512 t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* r[i + c], quarter q: column 4 q + c of rows i .. i + 3 */
        r[i] = qsr_turn_pairs(t[i], t[i + 2], false);
        r[i + 1] = qsr_turn_pairs(t[i], t[i + 2], true);
        r[i + 2] = qsr_turn_pairs(t[i + 1], t[i + 3], false);
        r[i + 3] = qsr_turn_pairs(t[i + 1], t[i + 3], true);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        t[c] = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
        t[4 + c] = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
        t[8 + c] = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
        t[12 + c] = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        r[c] = _mm512_shuffle_f32x4(t[c], t[8 + c], 0x88);
        r[8 + c] = _mm512_shuffle_f32x4(t[c], t[8 + c], 0xdd);
        r[4 + c] = _mm512_shuffle_f32x4(t[4 + c], t[12 + c], 0x88);
        r[12 + c] = _mm512_shuffle_f32x4(t[4 + c], t[12 + c], 0xdd);
    }
}
#else
static inline __m256 qsr_turn_pairs(__m256 a, __m256 b, bool high)
{
    const __m256d x = _mm256_castps_pd(a), y = _mm256_castps_pd(b);
    return _mm256_castpd_ps(high ? _mm256_unpackhi_pd(x, y) : _mm256_unpacklo_pd(x, y));
}

static inline __attribute__((always_inline)) void qsr_turn(__m256 r[8])
{
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) { /* r[i + c], half h: column 4 h + c of rows i .. i + 3 */
        r[i] = qsr_turn_pairs(t[i], t[i + 2], false);
        r[i + 1] = qsr_turn_pairs(t[i], t[i + 2], true);
        r[i + 2] = qsr_turn_pairs(t[i + 1], t[i + 3], false);
        r[i + 3] = qsr_turn_pairs(t[i + 1], t[i + 3], true);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        t[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
        t[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
    }
    memcpy(r, t, sizeof t);
}
#endif
#endif

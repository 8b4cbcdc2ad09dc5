/* math/lanes: a vector of the instruction set that a file is compiled for, for the bodies of kernels (room.mk). */
#ifndef QSR_MATH_LANES_H
#define QSR_MATH_LANES_H
#include <string.h>
#if defined __AVX2__ || defined __AVX512F__
#include <immintrin.h>
#endif

#if defined __AVX512F__
enum { WIDTH = 16 };
#elif defined __AVX2__
enum { WIDTH = 8 };
#else
enum { WIDTH = 4 };
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
#if defined __AVX512F__
    return (lanes)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined __AVX2__
    return (lanes)_mm256_maskload_ps(
        p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)));
#else
    return (lanes){n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0};
#endif
}

/* The sums of the lanes of four vectors. Of each: lanes in fours, (0 + 2) + (1 + 3), then the fours, by halves. */
INLINE quad sum_lanes_of_4(lanes a, lanes b, lanes c, lanes d)
{
#if defined __AVX512F__
    lanes ab = (lanes)_mm512_unpacklo_ps((__m512)a, (__m512)b) + (lanes)_mm512_unpackhi_ps((__m512)a, (__m512)b);
    lanes cd = (lanes)_mm512_unpacklo_ps((__m512)c, (__m512)d) + (lanes)_mm512_unpackhi_ps((__m512)c, (__m512)d);
    lanes four =
        (lanes)_mm512_shuffle_ps((__m512)ab, (__m512)cd, 0x44) + (lanes)_mm512_shuffle_ps((__m512)ab, (__m512)cd, 0xee);
    __m256 half = _mm512_castps512_ps256((__m512)four) + _mm512_extractf32x8_ps((__m512)four, 1);
    return (quad)_mm256_castps256_ps128(half) + (quad)_mm256_extractf128_ps(half, 1);
#elif defined __AVX2__
    lanes ab = (lanes)_mm256_unpacklo_ps((__m256)a, (__m256)b) + (lanes)_mm256_unpackhi_ps((__m256)a, (__m256)b);
    lanes cd = (lanes)_mm256_unpacklo_ps((__m256)c, (__m256)d) + (lanes)_mm256_unpackhi_ps((__m256)c, (__m256)d);
    __m256 four = _mm256_shuffle_ps((__m256)ab, (__m256)cd, 0x44) + _mm256_shuffle_ps((__m256)ab, (__m256)cd, 0xee);
    return (quad)_mm256_castps256_ps128(four) + (quad)_mm256_extractf128_ps(four, 1);
#else
    return (quad){(a[0] + a[2]) + (a[1] + a[3]), (b[0] + b[2]) + (b[1] + b[3]), (c[0] + c[2]) + (c[1] + c[3]),
                  (d[0] + d[2]) + (d[1] + d[3])};
#endif
}
#endif

/* The passes of math/prefix, compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). Only `sum` and `measure`
 * round where it could differ between sets, and math/prefix lets no choice depend on that. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#if defined(__AVX2__)
#include "math/compress.h"
#endif
#include "math/prefix.h"

enum { LANES = QSR_PREFIX_LANES };

/* ---- listing and keeping: vectors of entries close ranks. What is written behind the last one lies within the room, as no
 * more entries come than were read. */

static size_t list_some(const float *v, const float *weight, size_t begin, size_t end, float least, size_t count,
                        uint32_t *index, float *value, float *length, float *weight_of)
{
    for (size_t i = begin; i < end; i++) {
        const float w = weight ? weight[i] : 1, l = fabsf(v[i] * w);
        index[count] = (uint32_t)i;
        value[count] = v[i];
        length[count] = l;
        weight_of[count] = w;
        count += (v[i] > 0) & !(l < least);
    }
    return count;
}

static size_t keep_some(const float *length, size_t begin, size_t end, float least, size_t count, uint32_t *index,
                        float *value)
{
    for (size_t i = begin; i < end; i++) {
        index[count] = index[i];
        value[count] = value[i];
        count += !(length[i] < least);
    }
    return count;
}

/* What most likely is listed next: it comes while this row is decided. Nothing happens where there is no such memory. */
static inline void ask_for_next_row(const float *v, size_t n) { __builtin_prefetch((const void *)((uintptr_t)v + n * sizeof *v), 0, 2); }

#if defined(__AVX512F__)
static inline __attribute__((always_inline)) size_t list_vectors(const float *v, const float *weight, size_t n, float least,
                                                                 uint32_t *index, float *value, float *length,
                                                                 float *weight_of)
{
    const __m512 bound = _mm512_set1_ps(least), zero = _mm512_setzero_ps();
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;
    for (size_t i = 0; i + LANES <= n; i += LANES) {
        ask_for_next_row(v + i, n);
        const __m512 x = _mm512_loadu_ps(v + i), w = weight ? _mm512_loadu_ps(weight + i) : _mm512_set1_ps(1);
        const __m512 l = _mm512_abs_ps(_mm512_mul_ps(x, w));
        const __mmask16 mask = _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(x, zero, _CMP_GT_OQ), l, bound, _CMP_NLT_UQ);
        _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(mask, at));
        _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(mask, x));
        _mm512_storeu_ps(length + count, _mm512_maskz_compress_ps(mask, l));
        _mm512_storeu_ps(weight_of + count, _mm512_maskz_compress_ps(mask, w));
        count += (size_t)__builtin_popcount(mask);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(LANES));
    }
    return count;
}

static size_t keep_vectors(const float *length, size_t n, float least, uint32_t *index, float *value)
{
    const __m512 bound = _mm512_set1_ps(least);
    size_t count = 0;
    for (size_t i = 0; i + LANES <= n; i += LANES) {
        const __mmask16 mask = _mm512_cmp_ps_mask(_mm512_loadu_ps(length + i), bound, _CMP_NLT_UQ);
        _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(mask, _mm512_loadu_si512(index + i)));
        _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(value + i)));
        count += (size_t)__builtin_popcount(mask);
    }
    return count;
}
#elif defined(__AVX2__)
static inline __attribute__((always_inline)) size_t list_vectors(const float *v, const float *weight, size_t n, float least,
                                                                 uint32_t *index, float *value, float *length,
                                                                 float *weight_of)
{
    const __m256 bound = _mm256_set1_ps(least), zero = _mm256_setzero_ps(), sign = _mm256_set1_ps(-0.0f);
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    size_t count = 0;
    for (size_t i = 0; i + LANES / 2 <= n / LANES * LANES; i += LANES / 2) {
        ask_for_next_row(v + i, n);
        const __m256 x = _mm256_loadu_ps(v + i), w = weight ? _mm256_loadu_ps(weight + i) : _mm256_set1_ps(1);
        const __m256 l = _mm256_andnot_ps(sign, _mm256_mul_ps(x, w));
        const unsigned mask = (unsigned)_mm256_movemask_ps(
            _mm256_and_ps(_mm256_cmp_ps(x, zero, _CMP_GT_OQ), _mm256_cmp_ps(l, bound, _CMP_NLT_UQ)));
        const __m256i from = qsr_compress_lanes(mask);
        _mm256_storeu_si256((__m256i *)(void *)(index + count), _mm256_permutevar8x32_epi32(at, from));
        _mm256_storeu_ps(value + count, _mm256_permutevar8x32_ps(x, from));
        _mm256_storeu_ps(length + count, _mm256_permutevar8x32_ps(l, from));
        _mm256_storeu_ps(weight_of + count, _mm256_permutevar8x32_ps(w, from));
        count += (size_t)__builtin_popcount(mask);
        at = _mm256_add_epi32(at, _mm256_set1_epi32(LANES / 2));
    }
    return count;
}

static size_t keep_vectors(const float *length, size_t n, float least, uint32_t *index, float *value)
{
    const __m256 bound = _mm256_set1_ps(least);
    size_t count = 0;
    for (size_t i = 0; i + LANES / 2 <= n / LANES * LANES; i += LANES / 2) {
        const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(length + i), bound, _CMP_NLT_UQ));
        const __m256i from = qsr_compress_lanes(mask), at = _mm256_loadu_si256((const __m256i *)(const void *)(index + i));
        const __m256 x = _mm256_loadu_ps(value + i);
        _mm256_storeu_si256((__m256i *)(void *)(index + count), _mm256_permutevar8x32_epi32(at, from));
        _mm256_storeu_ps(value + count, _mm256_permutevar8x32_ps(x, from));
        count += (size_t)__builtin_popcount(mask);
    }
    return count;
}
#else
static size_t list_vectors(const float *v, const float *weight, size_t n, float least, uint32_t *index, float *value,
                           float *length, float *weight_of)
{
    return list_some(v, weight, 0, n / LANES * LANES, least, 0, index, value, length, weight_of);
}

static size_t keep_vectors(const float *length, size_t n, float least, uint32_t *index, float *value)
{
    return keep_some(length, 0, n / LANES * LANES, least, 0, index, value);
}
#endif

static size_t list(const float *v, const float *weight, size_t n, float least, uint32_t *index, float *value, float *length,
                   float *weight_of)
{
    const size_t count = weight ? list_vectors(v, weight, n, least, index, value, length, weight_of)
                                : list_vectors(v, NULL, n, least, index, value, length, weight_of);
    return list_some(v, weight, n / LANES * LANES, n, least, count, index, value, length, weight_of);
}

static size_t keep(const float *length, size_t n, float least, uint32_t *index, float *value)
{
    return keep_some(length, n / LANES * LANES, n, least, keep_vectors(length, n, least, index, value), index, value);
}

/* ---- sums: in the lanes of a vector, with the last entries one to a lane ---- */

#if defined(__AVX512F__)
enum { WIDE = 16 };
#elif defined(__AVX2__)
enum { WIDE = 8 };
#else
enum { WIDE = 4 };
#endif
typedef float floats __attribute__((vector_size(4 * WIDE), aligned(4), may_alias));
typedef float half_floats __attribute__((vector_size(2 * WIDE), aligned(4), may_alias));
typedef int32_t flags __attribute__((vector_size(4 * WIDE)));
typedef double doubles __attribute__((vector_size(4 * WIDE)));
typedef int64_t double_flags __attribute__((vector_size(4 * WIDE)));

/* Adds the squares of the lanes that reach `at`, and counts them. */
static inline __attribute__((always_inline)) void add_reaching(floats l, floats at, floats *sum, flags *count)
{
#if defined(__AVX512F__)
    const __mmask16 mask = _mm512_cmp_ps_mask((__m512)l, (__m512)at, _CMP_GE_OQ);
    *sum = (floats)_mm512_mask3_fmadd_ps((__m512)l, (__m512)l, (__m512)*sum, mask);
    *count = (flags)_mm512_mask_add_epi32((__m512i)*count, mask, (__m512i)*count, _mm512_set1_epi32(1));
#else
    const flags in = l >= at;
    *sum += (floats)((flags)(l * l) & in);
    *count -= in;
#endif
}

static void measure(const float *length, size_t n, const float at[2], size_t ret_count[2], double ret_sum[2])
{
    const floats at0 = at[0] - (floats){0}, at1 = at[1] - (floats){0};
    floats sum0 = {0}, sum1 = {0}, rest = at0 - INFINITY; /* reaches nothing */
    flags count0 = {0}, count1 = {0};
    memcpy(&rest, length + n / WIDE * WIDE, n % WIDE * sizeof *length);
    for (size_t i = 0; i + WIDE <= n; i += WIDE) {
        const floats l = *(const floats *)(length + i);
        add_reaching(l, at0, &sum0, &count0);
        add_reaching(l, at1, &sum1, &count1);
    }
    add_reaching(rest, at0, &sum0, &count0);
    add_reaching(rest, at1, &sum1, &count1);
    ret_sum[0] = ret_sum[1] = 0;
    ret_count[0] = ret_count[1] = 0;
    for (size_t lane = 0; lane < WIDE; lane++) {
        ret_sum[0] += sum0[lane], ret_count[0] += (size_t)count0[lane];
        ret_sum[1] += sum1[lane], ret_count[1] += (size_t)count1[lane];
    }
}

/* Adds s of WIDE entries whose length is not below `least`, in doubles. */
#if defined(__AVX512F__)
static inline void add_squares(const float *value, const float *weight_of, const float *length, float least,
                               doubles part[2])
{
    const __mmask16 mask = _mm512_cmp_ps_mask(_mm512_loadu_ps(length), _mm512_set1_ps(least), _CMP_NLT_UQ);
    const __m512d a = _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(value)), _mm512_cvtps_pd(_mm256_loadu_ps(weight_of)));
    const __m512d b =
        _mm512_mul_pd(_mm512_cvtps_pd(_mm256_loadu_ps(value + 8)), _mm512_cvtps_pd(_mm256_loadu_ps(weight_of + 8)));
    part[0] = (doubles)_mm512_mask3_fmadd_pd(a, a, (__m512d)part[0], (__mmask8)mask);
    part[1] = (doubles)_mm512_mask3_fmadd_pd(b, b, (__m512d)part[1], (__mmask8)(mask >> 8));
}
#else
static inline doubles widened(const float *p) { return __builtin_convertvector(*(const half_floats *)p, doubles); }

static inline void add_squares(const float *value, const float *weight_of, const float *length, float least,
                               doubles part[2])
{
    for (size_t half = 0; half < 2; half++, value += WIDE / 2, weight_of += WIDE / 2, length += WIDE / 2) {
        const doubles l = widened(value) * widened(weight_of), s = l * l;
        part[half] += (doubles)((double_flags)s & ~(widened(length) < (double)least));
    }
}
#endif

static double sum(const float *value, const float *weight_of, const float *length, size_t n, float least)
{
    doubles part[2] = {{0}};
    size_t i = 0;
    for (; i + WIDE <= n; i += WIDE) add_squares(value + i, weight_of + i, length + i, least, part);
    double all = 0;
    for (size_t lane = 0; lane < WIDE / 2; lane++) all += part[0][lane] + part[1][lane];
    for (; i < n; i++) {
        const double l = (double)value[i] * weight_of[i];
        all += length[i] < least ? 0 : l * l;
    }
    return all;
}

/* ---- */

/* Which of LANES lengths are in between, a bit each. */
static inline unsigned mask_between(const float *length, float low, float high)
{
#if defined(__AVX512F__)
    const __m512 l = _mm512_loadu_ps(length);
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask(l, _mm512_set1_ps(low), _CMP_GE_OQ), l, _mm512_set1_ps(high),
                                   _CMP_LT_OQ);
#elif defined(__AVX2__)
    unsigned mask = 0;
    for (unsigned half = 0; half < 2; half++) {
        const __m256 l = _mm256_loadu_ps(length + 8 * half);
        mask |= (unsigned)_mm256_movemask_ps(_mm256_and_ps(_mm256_cmp_ps(l, _mm256_set1_ps(low), _CMP_GE_OQ),
                                                           _mm256_cmp_ps(l, _mm256_set1_ps(high), _CMP_LT_OQ)))
                << 8 * half;
    }
    return mask;
#else
    unsigned mask = 0;
    for (unsigned lane = 0; lane < LANES; lane++) mask |= (unsigned)((length[lane] >= low) & (length[lane] < high)) << lane;
    return mask;
#endif
}

static size_t between(const float *length, size_t n, float low, float high, uint32_t *place)
{
    size_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES)
        for (unsigned mask = mask_between(length + i, low, high); mask; mask &= mask - 1)
            place[count++] = (uint32_t)(i + (size_t)__builtin_ctz(mask));
    for (; i < n; i++)
        if (length[i] >= low && length[i] < high) place[count++] = (uint32_t)i;
    return count;
}

#define TABLE_OF_(x_) qsr_prefix_passes_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_prefix_passes TABLE_OF(QSR_KERNELS);
const qsr_prefix_passes TABLE_OF(QSR_KERNELS) = {list, measure, sum, between, keep};

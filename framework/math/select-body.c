/* The passes of math/select over long rows, compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). They
 * compare and never round, except in v - factor * slack, which is fused where the set can; no choice depends on its last bit. */
#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include "math/compress.h"
#endif

#include "math/select.h"

enum { LANES = QSR_SELECT_LANES };

/* ---- maxima of groups ---- */

#if defined(__AVX512F__)
static void group_maxima(const float *v, const float *slack, float factor, size_t vectors, float *out)
{
    const __m512 minus = _mm512_set1_ps(-factor);
    __m512 most = _mm512_setzero_ps();
    for (size_t i = 0; i < vectors * LANES; i += LANES) {
        __m512 value = _mm512_loadu_ps(v + i);
        if (slack) value = _mm512_fmadd_ps(minus, _mm512_loadu_ps(slack + i), value);
        most = _mm512_max_ps(value, most); /* the second where the first is NaN */
    }
    _mm512_storeu_ps(out, most);
}
#else
static void group_maxima(const float *v, const float *slack, float factor, size_t vectors, float *out)
{
    float most[LANES] = {0};
    for (size_t i = 0; i < vectors * LANES; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) {
            float value = slack ? v[i + lane] - factor * slack[i + lane] : v[i + lane];
            most[lane] = value > most[lane] ? value : most[lane];
        }
    memcpy(out, most, sizeof most);
}
#endif

static size_t maxima(const float *v, const float *slack, float factor, size_t n, size_t per_group, float *out)
{
    size_t groups = 0;
    for (size_t i = 0; i + per_group * LANES <= n; i += per_group * LANES, groups += LANES)
        group_maxima(v + i, slack ? slack + i : NULL, factor, per_group, out + groups);
    return groups;
}

/* ---- how many reach a bound ---- */

static size_t count(const float *v, size_t n, float bound)
{
    uint32_t sum = 0; /* as wide as a float, so that lanes stay where they are */
    for (size_t i = 0; i < n; i++) sum += v[i] >= bound;
    return sum;
}

/* ---- the largest ---- */

#if defined(__AVX512F__)
static __mmask16 mask_of(size_t left) { return left >= LANES ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1); }

static float largest(const float *v, size_t n)
{
    __m512 most = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += LANES) most = _mm512_max_ps(_mm512_maskz_loadu_ps(mask_of(n - i), v + i), most);
    return _mm512_reduce_max_ps(most);
}
#else
static float largest(const float *v, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++) most = v[i] > most ? v[i] : most;
    return most;
}
#endif

/* ---- what reaches a bound ---- */

#if defined(__AVX512F__)
static size_t take(const float *v, size_t i, float bound, size_t count, uint32_t *index, float *value)
{
    const __m512 x = _mm512_loadu_ps(v + i);
    const __mmask16 mask = _mm512_cmp_ps_mask(x, _mm512_set1_ps(bound), _CMP_GE_OQ);
    if (!mask) return count;
    const __m512i at = _mm512_add_epi32(_mm512_set1_epi32((int)i),
                                        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(mask, at));
    _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(mask, x));
    return count + (size_t)__builtin_popcount(mask);
}
#elif defined(__AVX2__)
static size_t take(const float *v, size_t i, float bound, size_t count, uint32_t *index, float *value)
{
    const __m256 b = _mm256_set1_ps(bound);
    unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(v + i), b, _CMP_GE_OQ)) |
                    (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(v + i + 8), b, _CMP_GE_OQ)) << 8;
    for (; mask; mask &= mask - 1, count++) {
        size_t at = i + (size_t)__builtin_ctz(mask);
        index[count] = (uint32_t)at;
        value[count] = v[at];
    }
    return count;
}
#else
static size_t take(const float *v, size_t i, float bound, size_t count, uint32_t *index, float *value)
{
    int any = 0;
    for (size_t lane = 0; lane < LANES; lane++) any |= v[i + lane] >= bound;
    if (!any) return count;
    for (size_t lane = 0; lane < LANES; lane++) {
        index[count] = (uint32_t)(i + lane);
        value[count] = v[i + lane];
        count += v[i + lane] >= bound;
    }
    return count;
}
#endif

static size_t reaching(const float *v, size_t n, float bound, size_t room, uint32_t *index, float *value)
{
    size_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        if (count + LANES > room) return SIZE_MAX;
        count = take(v, i, bound, count, index, value);
    }
    if (count + LANES > room) return SIZE_MAX;
    for (; i < n; i++) {
        index[count] = (uint32_t)i;
        value[count] = v[i];
        count += v[i] >= bound;
    }
    return count;
}

/* ---- what is above a threshold: entries close ranks as in math/prefix-body ---- */

static size_t above_some(const float *v, const float *threshold, float scalar, size_t begin, size_t end, size_t count, uint32_t *index,
                         float *value)
{
    for (size_t i = begin; i < end; i++) {
        index[count] = (uint32_t)i;
        value[count] = v[i];
        count += v[i] > (threshold ? threshold[i] : scalar);
    }
    return count;
}

#if defined(__AVX512F__)
static inline __attribute__((always_inline)) size_t above_vectors(const float *v, const float *threshold, float scalar, size_t n,
                                                                  uint32_t *index, float *value)
{
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;
    for (size_t i = 0; i + LANES <= n; i += LANES) {
        const __m512 x = _mm512_loadu_ps(v + i), bound = threshold ? _mm512_loadu_ps(threshold + i) : _mm512_set1_ps(scalar);
        const __mmask16 mask = _mm512_cmp_ps_mask(x, bound, _CMP_GT_OQ);
        _mm512_storeu_si512(index + count, _mm512_maskz_compress_epi32(mask, at));
        _mm512_storeu_ps(value + count, _mm512_maskz_compress_ps(mask, x));
        count += (size_t)__builtin_popcount(mask);
        at = _mm512_add_epi32(at, _mm512_set1_epi32(LANES));
    }
    return count;
}
#elif defined(__AVX2__)
static inline __attribute__((always_inline)) size_t above_vectors(const float *v, const float *threshold, float scalar, size_t n,
                                                                  uint32_t *index, float *value)
{
    enum { HALF = LANES / 2 };
    __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    size_t count = 0;
    for (size_t i = 0; i + HALF <= n / LANES * LANES; i += HALF) {
        const __m256 x = _mm256_loadu_ps(v + i), bound = threshold ? _mm256_loadu_ps(threshold + i) : _mm256_set1_ps(scalar);
        const unsigned mask = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x, bound, _CMP_GT_OQ));
        const __m256i from = qsr_compress_lanes(mask);
        _mm256_storeu_si256((__m256i *)(void *)(index + count), _mm256_permutevar8x32_epi32(at, from));
        _mm256_storeu_ps(value + count, _mm256_permutevar8x32_ps(x, from));
        count += (size_t)__builtin_popcount(mask);
        at = _mm256_add_epi32(at, _mm256_set1_epi32(HALF));
    }
    return count;
}
#else
static size_t above_vectors(const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value)
{
    return above_some(v, threshold, scalar, 0, n / LANES * LANES, 0, index, value);
}
#endif

static size_t above(const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value)
{
    const size_t count = threshold ? above_vectors(v, threshold, 0, n, index, value) : above_vectors(v, NULL, scalar, n, index, value);
    return above_some(v, threshold, scalar, n / LANES * LANES, n, count, index, value);
}

#define TABLE_OF_(x_) qsr_select_passes_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_select_passes TABLE_OF(QSR_KERNELS);
const qsr_select_passes TABLE_OF(QSR_KERNELS) = {maxima, count, largest, reaching, above};

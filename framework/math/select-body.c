/* The passes of math/select over long rows, compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). They
 * compare and never round, except in v - factor * slack, which is fused where the set can; no choice depends on its last bit. */
#include <math.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
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

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) qsr_select_passes_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_select_passes TABLE_OF(QSR_KERNELS);
const qsr_select_passes TABLE_OF(QSR_KERNELS) = {TEXT_OF(QSR_KERNELS), maxima, reaching};

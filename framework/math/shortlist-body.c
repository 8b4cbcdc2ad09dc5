/* The passes of math/shortlist, compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). They only copy. */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "math/shortlist.h"

#if defined(__AVX512F__)
static void gather(const qsr_places *p, const float *v, float *out)
{
    size_t i = 0, n = 0;
    for (; i + 16 <= p->of; i += 16) {
        const __mmask16 mask = p->bits[i / 16];
        _mm512_storeu_ps(out + n, _mm512_maskz_compress_ps(mask, _mm512_loadu_ps(v + i)));
        n += (size_t)__builtin_popcount(mask);
    }
    for (; n < p->n; n++) out[n] = v[p->index[n]];
}
#else
static void gather(const qsr_places *p, const float *v, float *out)
{
    for (size_t i = 0; i < p->n; i++) out[i] = v[p->index[i]];
}
#endif

#define TABLE_OF_(x_) qsr_shortlist_passes_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_shortlist_passes TABLE_OF(QSR_KERNELS);
const qsr_shortlist_passes TABLE_OF(QSR_KERNELS) = {gather};

/* math/compress: the lanes of a vector that a mask names, side by side, for the files that are compiled once per instruction set. */
#ifndef QSR_MATH_COMPRESS_H
#define QSR_MATH_COMPRESS_H
#include <immintrin.h>
#include <stdint.h>

/* AVX-512 compresses in registers and stores whole vectors: a compressing store is microcoded on some processors. */
#if !defined(__AVX512F__)
/* AVX2 has no such instruction: a table says for each mask of 8 lanes which lane comes where, a byte each. */
#define QSR_BIT(m_, i_) ((uint64_t)((m_) >> (i_)&1))
#define QSR_BELOW(m_, i_)                                                                                                  \
    (((i_) > 0 ? QSR_BIT(m_, 0) : 0) + ((i_) > 1 ? QSR_BIT(m_, 1) : 0) + ((i_) > 2 ? QSR_BIT(m_, 2) : 0) +                 \
     ((i_) > 3 ? QSR_BIT(m_, 3) : 0) + ((i_) > 4 ? QSR_BIT(m_, 4) : 0) + ((i_) > 5 ? QSR_BIT(m_, 5) : 0) +                 \
     ((i_) > 6 ? QSR_BIT(m_, 6) : 0))
#define QSR_PUT(m_, i_) (QSR_BIT(m_, i_) * (uint64_t)(i_) << 8 * QSR_BELOW(m_, i_))
#define QSR_ORDER(m_)                                                                                                      \
    (QSR_PUT(m_, 1) | QSR_PUT(m_, 2) | QSR_PUT(m_, 3) | QSR_PUT(m_, 4) | QSR_PUT(m_, 5) | QSR_PUT(m_, 6) | QSR_PUT(m_, 7))
#define QSR_ORDER4(m_) QSR_ORDER(m_), QSR_ORDER((m_) + 1), QSR_ORDER((m_) + 2), QSR_ORDER((m_) + 3)
#define QSR_ORDER16(m_) QSR_ORDER4(m_), QSR_ORDER4((m_) + 4), QSR_ORDER4((m_) + 8), QSR_ORDER4((m_) + 12)
#define QSR_ORDER64(m_) QSR_ORDER16(m_), QSR_ORDER16((m_) + 16), QSR_ORDER16((m_) + 32), QSR_ORDER16((m_) + 48)
static const uint64_t qsr_compress_order[256] = {QSR_ORDER64(0), QSR_ORDER64(64), QSR_ORDER64(128), QSR_ORDER64(192)};

static inline __m256i qsr_compress_lanes(unsigned mask)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)&qsr_compress_order[mask]));
}
#endif
#endif

/* math/select: the largest of many, exactly, with ties by index. */
#ifndef QSR_MATH_SELECT_H
#define QSR_MATH_SELECT_H
#include <stddef.h>
#include <stdint.h>

/* Writes the indices of the k largest of the positive v[0..n), ascending, and returns how many: k, or fewer when fewer are
 * positive. Ties go to the smaller index. NaN is never selected. The result is the same for every instruction set. */
size_t qsr_select_largest(const float *v, size_t n, size_t k, uint32_t *index);

/* At least k of the v[i] - factor * slack[i] reach the bound that is returned (up to the rounding of that expression; v[i] alone
 * where slack is NULL). 0: no positive bound was found. It is near the k-th largest: a few times k reach it. */
float qsr_select_bound(const float *v, const float *slack, float factor, size_t n, size_t k);

/* The k-th largest of the positive v[0..n), or 0 when fewer are positive. k >= 1. */
float qsr_select_cut(const float *v, size_t n, size_t k);

/* A bound that at least k of the v[0..n) reach, and `most` at most, most >= k, unless more of them tie: 0 where fewer than k are positive.
 * NaN reaches nothing. For few values: every one is looked at some ten times. */
float qsr_select_bound_near(const float *v, size_t n, size_t k, size_t most);

/* How many v[i] >= bound, n below 2^32. */
size_t qsr_select_count(const float *v, size_t n, float bound);

/* The float of these bits. Positive floats order like their bits. */
float qsr_select_float(uint32_t bits);

/* All v[i] >= bound, ascending: their indices and values. `room` is that of both arrays, some of which is needed for itself
 * (QSR_SELECT_LANES). SIZE_MAX: they do not fit. */
size_t qsr_select_reaching(const float *v, size_t n, float bound, size_t room, uint32_t *index, float *value);

/* All v[i] > threshold[i] (scalar where threshold is NULL), ascending: their indices and values. Both arrays have room for n, some of
 * which is needed for itself. */
size_t qsr_select_above(const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value);

/* The passes of one instruction set (select-body.c). */
enum { QSR_SELECT_LANES = 16 };
typedef struct {
    /* out[g] = the largest of v - factor * slack over group g, or 0: groups are the 16 lanes of per_group vectors each. Returns how
     * many groups fit into n. */
    size_t (*maxima)(const float *v, const float *slack, float factor, size_t n, size_t per_group, float *out);
    size_t (*count)(const float *v, size_t n, float bound); /* qsr_select_count */
    float (*largest)(const float *v, size_t n);             /* of those above 0, or 0 */
    size_t (*reaching)(const float *v, size_t n, float bound, size_t room, uint32_t *index, float *value);
    size_t (*above)(const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value);
} qsr_select_passes;
/* NULL: not built, or not on this processor. */
const qsr_select_passes *qsr_select_passes_named(const char *isa);
#endif

/* math/prefix: the largest of many values whose norm comes nearest to a target, exactly and without sorting them. */
#ifndef QSR_MATH_PREFIX_H
#define QSR_MATH_PREFIX_H
#include <stddef.h>
#include <stdint.h>

/* Takes the positive v[0..n) in descending order of s_j = (v_j weight_j)^2, ties by index, with c_i = sqrt(s_1 + ... + s_i), where s, its
 * sums in that order and c are doubles. The first i stay, i = argmin over i >= 1 of |c_i - target|, the smaller i on a tie; all of
 * them when they stay at c <= target together. weight NULL: 1 each; target: finite, 0 or more.
 *
 * Writes the indices and values of those that stay, ascending, and returns how many: 0 when nothing is positive, SIZE_MAX when an s is
 * not finite. Both arrays have room for n. `scratch` has qsr_prefix_scratch(n) bytes, aligned to 64.
 *
 * *guess is what was learned from the row before, 0 at first: it makes rows of one kind faster and never shows in a result. Results
 * are the same for every instruction set. */
size_t qsr_prefix(const float *v, const float *weight, size_t n, double target, float *guess, void *scratch,
                  uint32_t *index, float *value);
size_t qsr_prefix_scratch(size_t n);

/* The passes of one instruction set (prefix-body.c). A length is |v * weight| rounded to float, which orders entries as s does, except
 * that different s can have one length. */
typedef struct {
    /* Lists the positive v[0..n) whose length is not below `least`, ascending: index, v, length and weight of each, room for n
     * everywhere. */
    size_t (*list)(const float *v, const float *weight, size_t n, float least, uint32_t *index, float *value, float *length,
                   float *weight_of);
    /* Of the lengths from at[0] on and of those from at[1] on: how many, and about the sum of squares. */
    void (*measure)(const float *length, size_t n, const float at[2], size_t ret_count[2], double ret_sum[2]);
    /* The sum of s over entries whose length is not below `least`, each multiplied and added in double. */
    double (*sum)(const float *value, const float *weight_of, const float *length, size_t n, float least);
    /* The places of entries with low <= length < high, room for n. */
    size_t (*between)(const float *length, size_t n, float low, float high, uint32_t *place);
    /* Leaves the entries whose length is not below `least`; returns how many. */
    size_t (*keep)(const float *length, size_t n, float least, uint32_t *index, float *value);
} qsr_prefix_passes;
enum { QSR_PREFIX_LANES = 16 };
/* NULL: not built, or not on this processor. */
const qsr_prefix_passes *qsr_prefix_passes_named(const char *isa);
/* qsr_prefix with these passes. */
size_t qsr_prefix_with(const qsr_prefix_passes *, const float *v, const float *weight, size_t n, double target,
                       float *guess, void *scratch, uint32_t *index, float *value);
#endif

/* math/select: the largest of many, exactly, with ties by index. */
#ifndef QSR_MATH_SELECT_H
#define QSR_MATH_SELECT_H
#include <stddef.h>
#include <stdint.h>

/* Writes the indices of the k largest of the positive v[0..n), ascending, and returns how many: k, or fewer when fewer are
 * positive. Ties go to the smaller index. NaN is never selected. The result is the same for every instruction set. */
size_t qsr_select_largest(const float *v, size_t n, size_t k, uint32_t *index);
#endif

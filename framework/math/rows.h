/* math/rows: small facts about rows of floats, with sums in double. */
#ifndef QSR_MATH_ROWS_H
#define QSR_MATH_ROWS_H
#include <stddef.h>

double qsr_row_dot(const float *x, const float *y, size_t d);
double qsr_row_sum(const float *x, size_t d);
double qsr_row_squares(const float *x, size_t d);                  /* sum of x^2 */
double qsr_row_norm(const float *x, size_t d);                     /* l2 */
double qsr_row_deviation(const float *x, double mean, size_t d);   /* sum of (x - mean)^2 */
/* The index of the first value that is not finite, or d. */
size_t qsr_row_not_finite(const float *x, size_t d);
/* out[cols][rows] = in[rows][cols] */
void qsr_rows_transpose(const float *in, size_t rows, size_t cols, float *out);
#endif

#include "math/rows.h"

#include <math.h>

/* Eight running sums, added pairwise at the end: a fixed order that compilers can put into vectors. */
enum { LANES = 8 };

static double add_lanes(double s[LANES])
{
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

double qsr_row_sum(const float *x, size_t d)
{
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) s[lane] += x[i + lane];
    for (size_t lane = 0; i < d; i++, lane++) s[lane] += x[i];
    return add_lanes(s);
}

double qsr_row_deviation(const float *x, double mean, size_t d)
{
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) {
            double off = x[i + lane] - mean;
            s[lane] += off * off;
        }
    for (size_t lane = 0; i < d; i++, lane++) s[lane] += (x[i] - mean) * (x[i] - mean);
    return add_lanes(s);
}

double qsr_row_dot(const float *x, const float *y, size_t d)
{
    double s[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) s[lane] += (double)x[i + lane] * y[i + lane];
    for (size_t lane = 0; i < d; i++, lane++) s[lane] += (double)x[i] * y[i];
    return add_lanes(s);
}

double qsr_row_squares(const float *x, size_t d) { return qsr_row_deviation(x, 0, d); }
double qsr_row_norm(const float *x, size_t d) { return sqrt(qsr_row_squares(x, d)); }

size_t qsr_row_not_finite(const float *x, size_t d)
{
    float zero = 0; /* 0 * x is 0 for finite x and NaN otherwise, so one vectorised sum tells */
    for (size_t i = 0; i < d; i++) zero += 0 * x[i];
    if (zero == 0) return d;
    for (size_t i = 0; i < d; i++)
        if (!isfinite(x[i])) return i;
    return d;
}

void qsr_rows_transpose(const float *in, size_t rows, size_t cols, float *out)
{
    enum { TILE = 32 };
    for (size_t r0 = 0; r0 < rows; r0 += TILE)
        for (size_t c0 = 0; c0 < cols; c0 += TILE)
            for (size_t r = r0; r < rows && r < r0 + TILE; r++)
                for (size_t c = c0; c < cols && c < c0 + TILE; c++) out[c * rows + r] = in[r * cols + c];
}

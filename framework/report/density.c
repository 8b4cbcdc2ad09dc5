#include "report/density.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "eval/statistics.h"

enum { CELLS = 1024 }; /* values are counted in cells first: 1,024 x 96 kernels instead of one per value and point */

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double quantile(const double *sorted, size_t n, double p) { return sorted[(size_t)(p * (double)(n - 1) + 0.5)]; }

static double bandwidth(const double *sorted, size_t n, double least)
{
    double spread = n > 1 ? sqrt(qsr_variance(sorted, n)) : 0;
    double range = (quantile(sorted, n, 0.75) - quantile(sorted, n, 0.25)) / 1.34;
    if (range > 0 && range < spread) spread = range;
    return fmax(0.9 * spread * pow((double)n, -0.2), least);
}

static double *logarithms(const double *values, size_t n, size_t *ret_n)
{
    double *logs = qsr_xcalloc(n + 1, sizeof *logs);
    *ret_n = 0;
    for (size_t i = 0; i < n; i++)
        if (values[i] > 0 && isfinite(values[i])) logs[(*ret_n)++] = log10(values[i]);
    qsort(logs, *ret_n, sizeof *logs, by_size);
    return logs;
}

static void count_cells(const double *logs, size_t n, double low, double width, double *cells)
{
    for (size_t i = 0; i < n; i++) {
        double at = (logs[i] - low) / width;
        if (at >= 0 && at < CELLS) cells[(size_t)at]++;
    }
}

void qsr_density_of(double *values, size_t n, qsr_density *ret)
{
    double cells[CELLS] = {0};
    double *logs = logarithms(values, n, &n);
    *ret = (qsr_density){.n = n, .median = NAN};
    if (n) {
        double first = quantile(logs, n, 0.001), last = quantile(logs, n, 0.999);
        if (last - first < 0.01) first -= 0.005, last += 0.005;
        double step = (last - first) / (QSR_DENSITY_POINTS - 1), h = bandwidth(logs, n, step / 2);
        double low = first - 4 * h, width = (last - first + 8 * h) / CELLS;
        ret->median = pow(10, qsr_median(logs, n));
        qsort(logs, n, sizeof *logs, by_size);
        count_cells(logs, n, low, width, cells);
        for (size_t i = 0; i < QSR_DENSITY_POINTS; i++) {
            double x = first + step * (double)i, sum = 0;
            for (size_t c = 0; c < CELLS; c++) {
                double u = (x - low - width * ((double)c + 0.5)) / h;
                if (cells[c] > 0 && fabs(u) < 6) sum += cells[c] * exp(-u * u / 2);
            }
            ret->at[i] = pow(10, x);
            ret->height[i] = sum / ((double)n * h * sqrt(2 * M_PI));
            ret->highest = fmax(ret->highest, ret->height[i]);
        }
    }
    free(logs);
}

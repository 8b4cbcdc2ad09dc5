/* report/density: the density of many positive values on a logarithmic axis, by a Gaussian kernel. It is computed here and not by
 * gnuplot, so that a figure's table has it and every version of gnuplot draws the same. */
#ifndef QSR_REPORT_DENSITY_H
#define QSR_REPORT_DENSITY_H
#include <stddef.h>

enum { QSR_DENSITY_POINTS = 96 };

typedef struct {
    size_t n; /* values above 0 */
    double median;
    double at[QSR_DENSITY_POINTS];     /* values, evenly spaced in their logarithm, from the 0.1 % to the 99.9 % quantile */
    double height[QSR_DENSITY_POINTS]; /* per decade: the area over log10 is 1, but for the tails that are cut off */
    double highest;
} qsr_density;

/* Bandwidth in log10 by Silverman's rule, 0.9 min(sd, IQR/1.34) n^(-1/5) (B. Silverman, Density Estimation, 1986, eq. 3.31), at least
 * half a step of the grid. Reorders values. With fewer than two different values the density is one triangle around them; with none
 * n is 0. */
void qsr_density_of(double *values, size_t n, qsr_density *ret);
#endif

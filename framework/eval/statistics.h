/* eval/statistics: means with intervals, t-tests, medians. Student's t comes from an incomplete beta function of our own.
 * Undefined results are NaN (a mean of nothing, a test on fewer than two values). */
#ifndef QSR_EVAL_STATISTICS_H
#define QSR_EVAL_STATISTICS_H
#include <stddef.h>

/* I_x(a, b), the regularised incomplete beta function, for a, b > 0 and 0 <= x <= 1. */
double qsr_beta_regularized(double a, double b, double x);
double qsr_t_cdf(double t, double df);       /* P(T <= t); df > 0 need not be whole */
double qsr_t_two_sided(double t, double df); /* P(|T| >= |t|), accurate far into the tail */
double qsr_t_quantile(double p, double df);  /* t with P(T <= t) = p */

double qsr_mean(const double *v, size_t n);
double qsr_variance(const double *v, size_t n); /* unbiased: over n - 1 */
double qsr_median(double *v, size_t n); /* mean of the two middle ones for even n; reorders v, which must hold no NaN */

typedef struct {
    size_t n;
    double mean, sd, low, high; /* [low, high]: interval of the mean at the asked level, by Student's t; sd over n - 1 */
} qsr_summary;
qsr_summary qsr_summarize(const double *v, size_t n, double level /* 0.95 */);

typedef struct {
    double difference; /* mean of a minus mean of b */
    double t, df, p;   /* two-sided */
    double low, high;  /* 95 % interval of the difference */
} qsr_t_test;
/* From means, unbiased variances and counts; degrees of freedom by Welch and Satterthwaite. With both variances 0, t is
 * infinite and p 0 where the means differ, else t is NaN and p 1. */
qsr_t_test qsr_welch(double mean_a, double variance_a, size_t n_a, double mean_b, double variance_b, size_t n_b);
qsr_t_test qsr_welch_values(const double *a, size_t n_a, const double *b, size_t n_b);
qsr_t_test qsr_paired(const double *a, const double *b, size_t n);

/* Effect sizes: how far apart in standard deviations. Cohen's d: the difference of means over the pooled standard deviation; d_z
 * (J. Cohen, 1988): the mean of the paired differences over their standard deviation. Both overstate small samples; times
 * qsr_hedges_factor(degrees of freedom: n_a + n_b - 2, or n - 1) they are unbiased (L. Hedges, J. Educ. Stat. 6, 1981). NaN for a
 * standard deviation of 0 and for fewer than two values. */
double qsr_cohen_d(const double *a, size_t n_a, const double *b, size_t n_b);
double qsr_cohen_dz(const double *a, const double *b, size_t n);
double qsr_hedges_factor(double df); /* J = gamma(df/2) / (sqrt(df/2) gamma((df-1)/2)); NaN for df < 2 */

/* y at `x` on the line through (x0, y0) and (x1, y1) in double-logarithmic paper; NaN unless all are positive and x is between
 * x0 and x1. */
double qsr_interpolate_loglog(double x0, double y0, double x1, double y1, double x);
#endif

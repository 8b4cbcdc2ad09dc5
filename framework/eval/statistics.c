#include "eval/statistics.h"

#include <math.h>
#include <stdlib.h>

/* ---- the incomplete beta function -------------------------------------------------------------------------------- */

/* The continued fraction 26.5.8 of Abramowitz and Stegun, by the modified method of Lentz: W. Lentz, Applied Optics 15 (1976),
 * with the guard against zeros of I. Thompson and A. Barnett, J. Comp. Phys. 64 (1986). Converges fast for
 * x < (a + 1) / (a + b + 2), in about sqrt(max(a, b)) steps at worst. */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double value = d;
    for (double m = 1; m < 1e7; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + even * d;
        c = 1 + even / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        value *= d * c;
        d = 1 + odd * d;
        c = 1 + odd / c;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        value *= d * c;
        if (fabs(d * c - 1) < 1e-16) break;
    }
    return value;
}

/* With y = 1 - x, which the caller may know to more digits than x tells. */
static double beta_of(double a, double b, double x, double y)
{
    if (isnan(x) || !(a > 0) || !(b > 0)) return NAN;
    if (x <= 0) return 0;
    if (y <= 0) return 1;
    double log_x = x < 0.5 ? log(x) : log1p(-y), log_y = y < 0.5 ? log(y) : log1p(-x);
    double front = exp(a * log_x + b * log_y + lgamma(a + b) - lgamma(a) - lgamma(b));
    if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
    return 1 - front * beta_fraction(b, a, y) / b;
}

double qsr_beta_regularized(double a, double b, double x) { return beta_of(a, b, x, 1 - x); }

/* ---- Student's t ------------------------------------------------------------------------------------------------- */

double qsr_t_two_sided(double t, double df)
{
    if (isnan(t) || !(df > 0)) return NAN;
    double square = t * t;
    return isinf(square) ? 0 : beta_of(df / 2, 0.5, df / (df + square), square / (df + square));
}

double qsr_t_cdf(double t, double df)
{
    double tail = qsr_t_two_sided(t, df) / 2;
    return t > 0 ? 1 - tail : tail;
}

/* Bisection on the two-sided tail, down to neighbouring doubles: slow and sure. */
double qsr_t_quantile(double p, double df)
{
    if (!(p > 0 && p < 1) || !(df > 0)) return p == 0 ? -INFINITY : p == 1 ? INFINITY : NAN;
    double tail = 2 * fmin(p, 1 - p), low = 0, high = 1;
    while (qsr_t_two_sided(high, df) > tail) {
        low = high;
        high *= 2;
    }
    for (;;) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high) break;
        if (qsr_t_two_sided(middle, df) > tail)
            low = middle;
        else
            high = middle;
    }
    return p < 0.5 ? -high : p > 0.5 ? high : 0;
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

double qsr_mean(const double *v, size_t n)
{
    if (!n) return NAN;
    double sum = 0; /* of what exceeds the first value, so that equal values have exactly that mean */
    for (size_t i = 1; i < n; i++) sum += v[i] - v[0];
    return v[0] + sum / (double)n;
}

double qsr_variance(const double *v, size_t n)
{
    if (n < 2) return NAN;
    double mean = qsr_mean(v, n), sum = 0;
    for (size_t i = 0; i < n; i++) sum += (v[i] - mean) * (v[i] - mean);
    return sum / (double)(n - 1);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double qsr_median(double *v, size_t n)
{
    if (!n) return NAN;
    qsort(v, n, sizeof *v, by_size);
    return n % 2 ? v[n / 2] : v[n / 2 - 1] + (v[n / 2] - v[n / 2 - 1]) / 2;
}

qsr_summary qsr_summarize(const double *v, size_t n, double level)
{
    qsr_summary s = {n, qsr_mean(v, n), sqrt(qsr_variance(v, n)), NAN, NAN};
    if (n < 2) return s;
    double half = qsr_t_quantile(0.5 + level / 2, (double)(n - 1)) * s.sd / sqrt((double)n);
    s.low = s.mean - half;
    s.high = s.mean + half;
    return s;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static qsr_t_test test_of(double difference, double error, double df)
{
    double t = error == 0 && difference != 0 ? copysign(INFINITY, difference) : difference / error;
    double half = error > 0 ? qsr_t_quantile(0.975, df) * error : error;
    return (qsr_t_test){.difference = difference,
                        .t = t,
                        .df = df,
                        .p = error == 0 && difference == 0 ? 1 : qsr_t_two_sided(t, df),
                        .low = difference - half,
                        .high = difference + half};
}

qsr_t_test qsr_welch(double mean_a, double variance_a, size_t n_a, double mean_b, double variance_b, size_t n_b)
{
    double difference = mean_a - mean_b;
    if (n_a < 2 || n_b < 2) return test_of(difference, NAN, NAN);
    double a = variance_a / (double)n_a, b = variance_b / (double)n_b;
    double df = (double)n_a + (double)n_b - 2;
    if (a + b > 0) {
        double share = a / (a + b); /* of the variance: the squares of a and b themselves may underflow */
        df = 1 / (share * share / (double)(n_a - 1) + (1 - share) * (1 - share) / (double)(n_b - 1));
    }
    return test_of(difference, sqrt(a + b), df);
}

qsr_t_test qsr_welch_values(const double *a, size_t n_a, const double *b, size_t n_b)
{
    return qsr_welch(qsr_mean(a, n_a), qsr_variance(a, n_a), n_a, qsr_mean(b, n_b), qsr_variance(b, n_b), n_b);
}

static double paired_mean(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 1; i < n; i++) sum += (a[i] - b[i]) - (a[0] - b[0]);
    return n ? (a[0] - b[0]) + sum / (double)n : NAN;
}

qsr_t_test qsr_paired(const double *a, const double *b, size_t n)
{
    double mean = paired_mean(a, b, n), sum = 0;
    if (n < 2) return test_of(mean, NAN, NAN);
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i] - mean) * (a[i] - b[i] - mean);
    double df = (double)(n - 1);
    return test_of(mean, sqrt(sum / df / (double)n), df);
}

/* ---- effect sizes ------------------------------------------------------------------------------------------------ */

double qsr_cohen_d(const double *a, size_t n_a, const double *b, size_t n_b)
{
    if (n_a < 2 || n_b < 2) return NAN;
    double df = (double)n_a + (double)n_b - 2;
    double pooled = ((double)(n_a - 1) * qsr_variance(a, n_a) + (double)(n_b - 1) * qsr_variance(b, n_b)) / df;
    return pooled > 0 ? (qsr_mean(a, n_a) - qsr_mean(b, n_b)) / sqrt(pooled) : NAN;
}

double qsr_cohen_dz(const double *a, const double *b, size_t n)
{
    if (n < 2) return NAN;
    double t = qsr_paired(a, b, n).t; /* mean / (sd / sqrt n) */
    return isfinite(t) ? t / sqrt((double)n) : NAN;
}

double qsr_hedges_factor(double df) { return df >= 2 ? exp(lgamma(df / 2) - lgamma((df - 1) / 2) - log(df / 2) / 2) : NAN; }

/* ---- curves ------------------------------------------------------------------------------------------------------ */

double qsr_interpolate_loglog(double x0, double y0, double x1, double y1, double x)
{
    if (!(x0 > 0 && y0 > 0 && x1 > 0 && y1 > 0) || !(fmin(x0, x1) <= x && x <= fmax(x0, x1))) return NAN;
    if (x == x0) return y0;
    if (x == x1) return y1;
    double share = log(x / x0) / log(x1 / x0);
    return exp(log(y0) + share * log(y1 / y0));
}

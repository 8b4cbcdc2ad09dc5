/* Student's t and what rests on it, against closed forms, printed tables and published tests. */
#include "eval/statistics.h"

#include "../unit.h"

static const double pi = 3.14159265358979323846;

static void beta_has_its_closed_forms(void **state)
{
    (void)state;
    for (double x = 0; x <= 1; x += 0.0625) {
        assert_close(qsr_beta_regularized(1, 1, x), x, 1e-14);
        assert_close(qsr_beta_regularized(3.5, 1, x), pow(x, 3.5), 1e-14);
        assert_close(qsr_beta_regularized(1, 7, x), 1 - pow(1 - x, 7), 1e-14);
        assert_close(qsr_beta_regularized(0.5, 0.5, x), 2 / pi * asin(sqrt(x)), 1e-14);
        assert_close(qsr_beta_regularized(2.5, 40, x) + qsr_beta_regularized(40, 2.5, 1 - x), 1, 1e-14);
    }
    assert_true(isnan(qsr_beta_regularized(0, 1, 0.5)));
    assert_true(isnan(qsr_beta_regularized(1, 1, NAN)));
}

static void t_has_its_closed_forms(void **state)
{
    (void)state;
    for (double t = -20; t <= 20; t += 0.37) {
        assert_close(qsr_t_cdf(t, 1), 0.5 + atan(t) / pi, 1e-13);
        assert_close(qsr_t_cdf(t, 2), 0.5 + t / (2 * sqrt(2 + t * t)), 1e-13);
    }
    assert_true(qsr_t_cdf(0, 7) == 0.5);
    assert_true(qsr_t_two_sided(INFINITY, 7) == 0);
    assert_true(isnan(qsr_t_two_sided(NAN, 7)));
    /* Far in the tail every digit must survive: for df = 1 it is 2 atan(1/t) / pi. */
    assert_close(qsr_t_two_sided(1e8, 1) / (2 * atan(1e-8) / pi), 1, 1e-12);
    /* Many degrees of freedom are the normal distribution: erfc(t / sqrt 2), off by about (t^3 + t) phi(t) / (2 df). */
    assert_close(qsr_t_two_sided(3, 1e7) / erfc(3 / sqrt(2)), 1, 1e-5);
}

static void quantiles_are_those_of_printed_tables(void **state)
{
    (void)state;
    static const struct {
        double p, df, t;
    } table[] = {{0.975, 1, 12.706205},  {0.975, 2, 4.302653},  {0.975, 3, 3.182446},   {0.975, 5, 2.570582},
                 {0.975, 10, 2.228139},  {0.975, 30, 2.042272}, {0.975, 100, 1.983972}, {0.95, 10, 1.812461},
                 {0.995, 10, 3.169273},  {0.9, 4, 1.533206},    {0.9995, 20, 3.849516}, {0.025, 9, -2.262157},
                 {0.975, 1e6, 1.959966}, {0.75, 1, 1.0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_close(qsr_t_quantile(table[i].p, table[i].df) / table[i].t, 1, 5e-7); /* tables have seven digits */
        /* The fraction loses digits in proportion to df. */
        assert_close(qsr_t_cdf(qsr_t_quantile(table[i].p, table[i].df), table[i].df), table[i].p,
                     1e-13 + 1e-16 * table[i].df);
    }
    assert_true(qsr_t_quantile(0.5, 3) == 0);
    assert_true(qsr_t_quantile(1, 3) == INFINITY && qsr_t_quantile(0, 3) == -INFINITY);
    assert_true(isnan(qsr_t_quantile(1.5, 3)) && isnan(qsr_t_quantile(0.9, 0)));
}

static void welch_reproduces_the_published_test(void **state)
{
    (void)state;
    qsr_t_test test = qsr_welch(0.000197, 2.243817e-09, 100, 0.000228, 6.157501e-10, 100);
    assert_close(test.t, -5.797, 5e-4 / 5.797); /* half a unit of the last printed digit */
    assert_true(fabs(test.p - 3.9e-08) < 0.05e-08);
    assert_close(test.difference, -0.000031, 1e-15);
    assert_true(test.low < test.difference && test.difference < test.high && test.high < 0);
}

/* Student's own data (Biometrika 6, 1908), as R's documentation of t.test tests them. */
static const double drug_a[] = {0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0};
static const double drug_b[] = {1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4};

static void welch_and_paired_agree_with_r_on_students_sleep_data(void **state)
{
    (void)state;
    qsr_t_test welch = qsr_welch_values(drug_a, 10, drug_b, 10);
    assert_true(fabs(welch.t + 1.8608) < 5e-5);
    assert_true(fabs(welch.df - 17.776) < 5e-4);
    assert_true(fabs(welch.p - 0.07939) < 5e-6);
    assert_true(fabs(welch.low + 3.3654832) < 5e-8 && fabs(welch.high - 0.2054832) < 5e-8);
    qsr_t_test paired = qsr_paired(drug_a, drug_b, 10);
    assert_close(paired.difference, -1.58, 1e-14);
    assert_true(fabs(paired.t + 4.0621) < 5e-5);
    assert_true(paired.df == 9);
    assert_true(fabs(paired.p - 0.002833) < 5e-7);
    assert_true(fabs(paired.low + 2.4598858) < 5e-8 && fabs(paired.high + 0.7001142) < 5e-8);
}

static void a_summary_has_the_interval_of_the_mean(void **state)
{
    (void)state;
    const double v[] = {1, 2, 3, 4, 5};
    qsr_summary s = qsr_summarize(v, 5, 0.95);
    assert_true(s.n == 5 && s.mean == 3);
    assert_close(s.sd, sqrt(2.5), 1e-15);
    assert_close(s.high - 3, 2.776445 * sqrt(0.5), 5e-7); /* t(0.975, 4), tabled */
    assert_close(s.high + s.low, 6, 1e-14);
    s = qsr_summarize(v, 1, 0.95);
    assert_true(s.mean == 1 && isnan(s.sd) && isnan(s.low) && isnan(s.high));
    assert_true(isnan(qsr_summarize(v, 0, 0.95).mean));
}

static void a_large_mean_costs_no_digits(void **state)
{
    (void)state;
    const double v[] = {1e15 + 1, 1e15 + 2, 1e15 + 3};
    assert_true(qsr_mean(v, 3) == 1e15 + 2 && qsr_variance(v, 3) == 1);
    const double same[] = {0.1, 0.1, 0.1};
    assert_true(qsr_mean(same, 3) == 0.1 && qsr_variance(same, 3) == 0);
}

static void tests_without_spread_or_values_are_not_made_up(void **state)
{
    (void)state;
    const double same[] = {2, 2, 2}, other[] = {3, 3, 3};
    qsr_t_test test = qsr_welch_values(same, 3, other, 3);
    assert_true(test.t == -INFINITY && test.p == 0 && test.low == -1 && test.high == -1);
    test = qsr_welch_values(same, 3, same, 3);
    assert_true(isnan(test.t) && test.p == 1);
    test = qsr_paired(other, same, 3);
    assert_true(test.t == INFINITY && test.p == 0);
    test = qsr_welch_values(same, 1, other, 3);
    assert_true(test.difference == -1 && isnan(test.t) && isnan(test.p) && isnan(test.low));
    assert_true(isnan(qsr_paired(same, other, 1).p) && isnan(qsr_paired(same, other, 0).difference));
}

static void effect_sizes_agree_with_r_on_students_sleep_data(void **state)
{
    (void)state;
    /* R's effsize::cohen.d(extra ~ group, sleep) prints -0.8321811; d_z is the paired t over the root of n. */
    assert_true(fabs(qsr_cohen_d(drug_a, 10, drug_b, 10) + 0.8321811) < 5e-8);
    assert_true(fabs(qsr_cohen_dz(drug_a, drug_b, 10) + 4.0621 / sqrt(10)) < 5e-5 / sqrt(10));
    assert_true(qsr_cohen_d(drug_b, 10, drug_a, 10) == -qsr_cohen_d(drug_a, 10, drug_b, 10));
    const double same[] = {2, 2, 2}, other[] = {3, 3, 3};
    assert_true(isnan(qsr_cohen_d(same, 3, other, 3)) && isnan(qsr_cohen_dz(same, other, 3)));
    assert_true(isnan(qsr_cohen_d(drug_a, 1, drug_b, 10)) && isnan(qsr_cohen_dz(drug_a, drug_b, 1)));
}

static void hedges_correction_has_its_closed_forms(void **state)
{
    (void)state;
    assert_close(qsr_hedges_factor(2), 1 / sqrt(pi), 1e-14);
    assert_close(qsr_hedges_factor(3), sqrt(pi / 6), 1e-14);
    assert_close(qsr_hedges_factor(4), sqrt(2 / pi), 1e-14);
    /* Hedges' own approximation, 1 - 3 / (4 df - 1), is off by less than 0.0004 from 10 degrees of freedom on. */
    for (double df = 10; df < 1000; df *= 1.7) assert_true(fabs(qsr_hedges_factor(df) - (1 - 3 / (4 * df - 1))) < 4e-4);
    assert_true(isnan(qsr_hedges_factor(1)) && isnan(qsr_hedges_factor(NAN)));
}

static void interpolation_follows_power_laws_and_stays_inside(void **state)
{
    (void)state;
    for (double x = 16; x <= 64; x *= 1.1)
        assert_close(qsr_interpolate_loglog(16, 3 * pow(16, -0.7), 64, 3 * pow(64, -0.7), x), 3 * pow(x, -0.7), 1e-15);
    assert_true(qsr_interpolate_loglog(16, 0.3, 64, 0.1, 16) == 0.3 && qsr_interpolate_loglog(16, 0.3, 64, 0.1, 64) == 0.1);
    assert_close(qsr_interpolate_loglog(64, 0.1, 16, 0.3, 32), sqrt(0.03), 1e-15);
    assert_true(isnan(qsr_interpolate_loglog(16, 0.3, 64, 0.1, 15.99)) &&
                isnan(qsr_interpolate_loglog(16, 0.3, 64, 0.1, 64.01)));
    assert_true(isnan(qsr_interpolate_loglog(16, 0.3, 64, -0.1, 32)) && isnan(qsr_interpolate_loglog(0, 0.3, 64, 0.1, 32)));
}

static void medians(void **state)
{
    (void)state;
    double odd[] = {3, -INFINITY, 1}, even[] = {4, 1, 3, 2};
    assert_true(qsr_median(odd, 3) == 1);
    assert_true(qsr_median(even, 4) == 2.5);
    assert_true(isnan(qsr_median(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(beta_has_its_closed_forms),
        cmocka_unit_test(t_has_its_closed_forms),
        cmocka_unit_test(quantiles_are_those_of_printed_tables),
        cmocka_unit_test(welch_reproduces_the_published_test),
        cmocka_unit_test(welch_and_paired_agree_with_r_on_students_sleep_data),
        cmocka_unit_test(a_summary_has_the_interval_of_the_mean),
        cmocka_unit_test(a_large_mean_costs_no_digits),
        cmocka_unit_test(tests_without_spread_or_values_are_not_made_up),
        cmocka_unit_test(effect_sizes_agree_with_r_on_students_sleep_data),
        cmocka_unit_test(hedges_correction_has_its_closed_forms),
        cmocka_unit_test(interpolation_follows_power_laws_and_stays_inside),
        cmocka_unit_test(medians),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

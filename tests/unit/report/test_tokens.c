/* Diagnostics of tokens read back: the paper's medians, samples of large files, files that are none; densities; curves over training. */
#include "../unit.h"
#include "base/fs.h"
#include "report/density.h"
#include "report/history.h"
#include "report/tokens.h"

static qsr_arena arena;

static const char *write_text(const char *name, const char *text)
{
    const char *path = qsr_path_join(&arena, test_folder(), name);
    assert_int_equal(qsr_write_file(path, text, strlen(text), NULL), QSR_OK);
    return path;
}

/* ---- tokens ---------------------------------------------------------------------------------------------------------------- */

/* As published, to their digits: ε-LBO times 10^6 with h = 24576, and token nmse. */
static void medians_of_the_paper(void **state)
{
    (void)state;
    static const double epsilon[] = {2.39, 2.44, 6.07, 9.78, 13.63, 16.86, 20.46, 22.71, 24.87, 24.70, 21.51, 11.66};
    static const double nmse[] = {.00097, .0121, .0167, .0289, .0430, .0545, .0663, .0774, .0840, .0915, .1051, .0818};
    qsr_token_table tokens;
    const char *path = qsr_arena_printf(&arena, "%s/tests/golden/paper/gpt2_tokens.csv", getenv("QUASAR_SOURCE"));
    assert_int_equal(qsr_token_table_read(path, &tokens, NULL), QSR_OK);
    assert_int_equal(tokens.n_layers, 12);
    for (size_t i = 0; i < 12; i++) {
        assert_int_equal(atoi(tokens.layers[i].layer), i + 1);
        assert_int_equal(tokens.layers[i].count, 1000);
        /* Six tenths of the last digit: layer 11 was rounded twice (test_afa). */
        assert_true(fabs(1e6 * qsr_token_median(&tokens.layers[i], QSR_TOKEN_EPSILON_LBO, 24576) - epsilon[i]) <= 0.006);
        assert_true(fabs(qsr_token_median(&tokens.layers[i], QSR_TOKEN_NMSE, 0) - nmse[i]) <= (i ? 0.00006 : 0.000006));
    }
    qsr_token_table_free(&tokens);
}

static void columns_are_found_by_name(void **state)
{
    (void)state;
    const char *path = write_text(
        "some.csv", "\xef\xbb\xbf\"l_recon\",extra,ftf,ztz\r\n1,x,4,\"8\"\r\n\r\n0,y,0,0\r\nnan,z,1,1\r\n2,z,inf,1");
    qsr_token_table tokens;
    qsr_error e = {0};
    if (qsr_token_table_read(path, &tokens, &e)) fail_msg("%s", e.text);
    assert_int_equal(tokens.n_layers, 1);
    const qsr_token_layer *all = &tokens.layers[0];
    assert_string_equal(all->layer, "");
    assert_true(all->count == 2 && all->left_out == 2 && all->n == 2);
    assert_true(all->kept[0].ztz == 8 && all->kept[0].ftf == 4 && all->kept[0].l_recon == 1);
    double values[2];
    /* 0/0 is no value; |8 - 4| / (9 * 4) */
    assert_int_equal(qsr_token_values(all, QSR_TOKEN_EPSILON_LBO, 10, values), 1);
    assert_close(values[0], 1.0 / 9, 1e-15);
    assert_int_equal(qsr_token_values(all, QSR_TOKEN_NMSE, 10, values), 1);
    assert_true(values[0] == 0.125);
    qsr_token_table_free(&tokens);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", ": the file is empty"},
        {"a,b\n1,2\n", ":1: there is no column 'ztz'; diagnostics of tokens have ztz, ftf, l_recon"},
        {"ztz,ftf,l_recon\n", ": it has no tokens"},
        {"ztz,ftf,l_recon\n1,2,3\n1,x,3\n", ":3: ftf is 'x', but must be a number of 0 or more"},
        {"ztz,ftf,l_recon\n1,2,-3\n", ":2: l_recon is '-3', but must be a number of 0 or more"},
        {"ztz,ftf,l_recon\n1,2\n", ":2: 2 fields, but the first line has 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_token_table tokens;
        qsr_error e = {0};
        const char *path = write_text("bad.csv", bad[i][0]);
        assert_int_equal(qsr_token_table_read(path, &tokens, &e), QSR_E_INPUT);
        assert_string_equal(e.text, qsr_arena_printf(&arena, "%s%s", path, bad[i][1]));
    }
    qsr_token_table tokens;
    assert_int_equal(qsr_token_table_read(test_folder(), &tokens, NULL), QSR_E_INPUT);
}

/* 700,000 tokens whose ztz counts up: of a uniform sample of n the mean is off by a standard deviation of range / sqrt(12 n), and the
 * same file gives the same one. */
static void large_files_are_sampled(void **state)
{
    (void)state;
    enum { TOKENS = 700000 };
    const char *path = qsr_path_join(&arena, test_folder(), "large.csv");
    FILE *file = fopen(path, "w");
    fputs("ztz,ftf,l_recon\n", file);
    for (unsigned i = 0; i < TOKENS; i++) fprintf(file, "%u,1,1\n", i);
    fclose(file);
    qsr_token_table a, b;
    assert_int_equal(qsr_token_table_read(path, &a, NULL), QSR_OK);
    assert_int_equal(qsr_token_table_read(path, &b, NULL), QSR_OK);
    assert_true(a.layers[0].count == TOKENS && a.layers[0].n == QSR_TOKENS_KEPT);
    double sum = 0;
    for (size_t i = 0; i < QSR_TOKENS_KEPT; i++) sum += a.layers[0].kept[i].ztz;
    assert_true(fabs(sum / QSR_TOKENS_KEPT - TOKENS / 2.0) < 5 * TOKENS / sqrt(12.0 * QSR_TOKENS_KEPT));
    assert_memory_equal(a.layers[0].kept, b.layers[0].kept, QSR_TOKENS_KEPT * sizeof *a.layers[0].kept);
    qsr_token_table_free(&a);
    qsr_token_table_free(&b);
}

/* ---- densities ------------------------------------------------------------------------------------------------------------- */

/* Quantiles of a normal distribution in log10: the density has its shape, and its area over the 99.8 % that are drawn. */
static void density_of_a_lognormal(void **state)
{
    (void)state;
    enum { N = 20000 };
    double *values = calloc(N, sizeof *values), area = 0, low = 1e300, high = 0;
    for (int i = 0; i < N; i++) { /* by bisection of the error function */
        double p = (i + 0.5) / N, a = -10, b = 10;
        for (int k = 0; k < 60; k++)
            if (0.5 * erfc(-(a + b) / 2 / sqrt(2)) < p)
                a = (a + b) / 2;
            else
                b = (a + b) / 2;
        values[i] = pow(10, -3 + 0.5 * a);
    }
    qsr_density d;
    qsr_density_of(values, N, &d);
    assert_int_equal(d.n, N);
    assert_close(log10(d.median), -3, 1e-4);
    for (int i = 0; i < QSR_DENSITY_POINTS; i++) {
        double u = (log10(d.at[i]) + 3) / 0.5, wide = 0.5 * 0.9 * pow(N, -0.2),
               s = sqrt(0.25 + wide * wide); /* the kernel widens it */
        assert_true(fabs(d.height[i] - exp(-u * u * 0.125 / (s * s)) / (s * sqrt(2 * M_PI))) < 0.01 * d.highest);
        if (i) area += (d.height[i] + d.height[i - 1]) / 2 * log10(d.at[i] / d.at[i - 1]);
        low = fmin(low, d.at[i]), high = fmax(high, d.at[i]);
    }
    assert_true(fabs(area - 0.998) < 0.002);
    assert_close(low, pow(10, -3 - 0.5 * 3.09), 0.03 * low);
    assert_true(high > 0.03 && high < 0.04);
    free(values);
}

static void densities_of_little(void **state)
{
    (void)state;
    double none[] = {0, -1, NAN, INFINITY}, same[] = {2, 2, 2};
    qsr_density d;
    qsr_density_of(none, 4, &d);
    assert_true(d.n == 0 && isnan(d.median));
    qsr_density_of(same, 3, &d);
    assert_int_equal(d.n, 3);
    assert_close(d.median, 2, 1e-14);
    for (int i = 0; i < QSR_DENSITY_POINTS; i++)
        assert_true(isfinite(d.height[i]) && d.height[i] <= d.highest && d.at[i] > 1.9 && d.at[i] < 2.1);
    assert_true(d.highest > 0);
}

/* ---- history --------------------------------------------------------------------------------------------------------------- */

static void histories_are_thinned(void **state)
{
    (void)state;
    const char *path = qsr_path_join(&arena, test_folder(), "metrics.jsonl");
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 100; i++) {
        fprintf(file, "{\"step\":%d,\"tokens\":%d,\"loss\":%d,\"l0\":null}\n", i, 10 * i, 2 * i);
        if (i == 50) fputs("{\"step\":5\n\nnonsense\n[1]\n", file); /* as a killed process may leave it */
    }
    fputs("{\"step\":100,\"tokens\":1000,\"lo", file);
    fclose(file);
    qsr_history h;
    assert_int_equal(qsr_history_read(path, "loss", 200, &h, NULL), QSR_OK);
    assert_true(h.n == 100 && h.values[99] == 198 && h.tokens[99] == 990 && h.last == 198);
    qsr_history_free(&h);
    /* 10 points are full at 10, 20, 40 and 80 values, and then have 16 each: 6 of those and one of 4 */
    assert_int_equal(qsr_history_read(path, "loss", 10, &h, NULL), QSR_OK);
    assert_int_equal(h.n, 7);
    for (size_t i = 0; i < 6; i++) assert_true(h.values[i] == 2 * (16 * (double)i + 7.5) && h.tokens[i] == 5 * h.values[i]);
    assert_true(h.values[6] == 2 * 97.5);
    qsr_history_free(&h);
    assert_int_equal(qsr_history_read(path, "l0", 10, &h, NULL), QSR_OK);
    assert_true(h.n == 0 && isnan(h.last));
    qsr_history_free(&h);
    assert_int_equal(qsr_history_read("/nowhere/metrics.jsonl", "loss", 10, &h, NULL), QSR_E_INPUT);
}

static void sparklines(void **state)
{
    (void)state;
    const double curve[] = {7, 3.5, 0, NAN, 1}, flat[] = {4, 4};
    qsr_text text = {0};
    qsr_sparkline(curve, 5, &text);
    assert_string_equal(text.bytes, "█▅▁ ▂");
    text.length = 0;
    qsr_sparkline(flat, 2, &text);
    assert_string_equal(text.bytes, "▁▁");
    qsr_text_free(&text);
}

static int clean(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians_of_the_paper),    cmocka_unit_test(columns_are_found_by_name),
        cmocka_unit_test(other_files_are_refused), cmocka_unit_test(large_files_are_sampled),
        cmocka_unit_test(density_of_a_lognormal),  cmocka_unit_test(densities_of_little),
        cmocka_unit_test(histories_are_thinned),   cmocka_unit_test(sparklines),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

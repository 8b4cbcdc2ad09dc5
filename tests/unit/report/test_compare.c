/* Comparisons over seeds: published and closed-form values, pairing, matched values of another metric, refusals. */
#include "../unit.h"
#include "base/fs.h"
#include "fake-runs.h"
#include "report/compare.h"

static qsr_arena arena;
static const double pi = 3.14159265358979323846;

static qsr_frame frame_of(const char *const *where)
{
    static char folder[300];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/grid", test_folder());
        write_fake_runs("grid.runs", folder);
    }
    qsr_archive archive;
    qsr_frame frame;
    assert_int_equal(qsr_archive_read(folder, &archive, NULL), QSR_OK);
    assert_int_equal(qsr_frame_make(&archive, NULL, &frame, NULL), QSR_OK);
    qsr_archive_free(&archive);
    for (; where && *where; where++) assert_int_equal(qsr_frame_where(&frame, *where, NULL), QSR_OK);
    return frame;
}

static qsr_comparisons compare(qsr_frame *frame, const qsr_compare_request *request)
{
    qsr_comparisons all;
    qsr_error e = {0};
    if (qsr_compare(frame, request, &all, &e)) fail_msg("%s", e.text);
    return all;
}

/* ---- runs in memory ------------------------------------------------------------------------------------------------------- */

enum { MOST = 256 };

typedef struct {
    qsr_record records[MOST];
    qsr_parameter parameters[MOST][4];
    qsr_measure measures[MOST][2];
    size_t count;
} memory;

static const char *number(double value)
{
    char text[32];
    return qsr_arena_strdup(&arena, qsr_real_text(value, text, sizeof text));
}

/* A run of `plugin` with a seed and k (0: none); x is l0, y is m. */
static void add_run(memory *m, const char *plugin, unsigned seed, unsigned k, double x, double y)
{
    size_t i = m->count++;
    assert_true(i < MOST);
    m->parameters[i][0] = (qsr_parameter){"seed", number(seed)};
    m->parameters[i][1] = (qsr_parameter){"activation.plugin", plugin};
    m->parameters[i][2] = (qsr_parameter){"activation.k", number(k)};
    m->measures[i][0] = (qsr_measure){"l0", x};
    m->measures[i][1] = (qsr_measure){"m", y};
    m->records[i] = (qsr_record){.folder = number((double)i),
                                 .cell = number((double)i),
                                 .state = QSR_RECORD_COMPLETED,
                                 .parameters = m->parameters[i],
                                 .n_parameters = k ? 3 : 2,
                                 .measures = m->measures[i],
                                 .n_measures = 2};
}

static qsr_frame frame_in(memory *m)
{
    qsr_archive archive = {.folder = "memory", .records = m->records, .count = m->count};
    qsr_frame frame;
    assert_int_equal(qsr_frame_make(&archive, NULL, &frame, NULL), QSR_OK);
    return frame;
}

/* ---- tests of means --------------------------------------------------------------------------------------------------------- */

/* 100 seeds a side with exactly the published means and variances: the authors print t = -5.769 and p = 4.4e-08 from means that
 * were not rounded. */
static void welch_reproduces_the_published_test(void **state)
{
    (void)state;
    static memory m;
    static const double means[] = {0.000197, 0.000228}, variances[] = {2.243817e-09, 6.157501e-10};
    for (unsigned side = 0; side < 2; side++)
        for (unsigned seed = 0; seed < 100; seed++) {
            double away = sqrt(variances[side] * 99 / 100);
            add_run(&m, side ? "b" : "a", seed, 0, 1, means[side] + (seed % 2 ? away : -away));
        }
    qsr_frame frame = frame_in(&m);
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "m", .between = "activation.plugin"});
    assert_int_equal(all.count, 1);
    const qsr_comparison *c = &all.items[0];
    assert_true(c->n_a == 100 && c->n_b == 100 && c->pairs == 100);
    assert_true(!c->no_welch && fabs(c->welch.t + 5.797) < 5e-4 && fabs(c->welch.p - 3.9e-08) < 0.05e-08);
    assert_close(c->side_a.sd * c->side_a.sd / variances[0], 1, 1e-12);
    qsr_frame_free(&frame);
}

/* Sides of spread 0.01 that are 0.02 apart; the pairs' differences are 0.01, 0.02, 0.03. With 2 degrees of freedom
 * p = 1 - t / sqrt(2 + t^2), with 4 it is 1 - 2 (3/8 u (1 - t^2 / (12 (1 + t^2/4)))), u = t / sqrt(1 + t^2/4). */
static void tests_and_effects_are_those_of_closed_forms(void **state)
{
    (void)state;
    qsr_frame frame = frame_of((const char *const[]){"activation.plugin=topk,batchtopk", "activation.k=16", NULL});
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    assert_int_equal(all.count, 1);
    assert_int_equal(all.n_contexts, 0);
    const qsr_comparison *c = &all.items[0];
    assert_string_equal(c->a, "batchtopk");
    assert_string_equal(c->b, "topk");
    assert_string_equal(c->differs, "");
    assert_int_equal(c->n_left_out, 0);
    assert_null(c->no_welch);
    assert_close(c->welch.difference, -0.02, 1e-14);
    assert_close(c->welch.t, -sqrt(6), 1e-12);
    assert_close(c->welch.df, 4, 1e-12);
    double u = sqrt(6 / 2.5);
    assert_close(c->welch.p, 1 - 2 * 0.375 * u * (1 - 6 / (12 * 2.5)), 1e-12);
    assert_close(c->d, -2, 1e-12);
    assert_close(c->g, -2 * sqrt(2 / pi), 1e-12);
    assert_null(c->no_paired);
    assert_int_equal(c->pairs, 3);
    assert_close(c->paired.t, -sqrt(12), 1e-12);
    assert_true(c->paired.df == 2);
    assert_close(c->paired.p, 1 - sqrt(12.0 / 14), 1e-12);
    assert_close(c->dz, -2, 1e-12);
    assert_close(c->gz, -2 / sqrt(pi), 1e-12);
    qsr_frame_free(&frame);
}

static void seeds_are_paired_by_number_not_by_order(void **state)
{
    (void)state;
    static memory m;
    static const double y[] = {1, 2, 4, 8};
    for (unsigned i = 0; i < 4; i++) add_run(&m, "a", i, 0, 1, y[i]);
    for (unsigned i = 4; i-- > 1;) add_run(&m, "b", i, 0, 1, y[i] + 0.5 + 0.125 * i);
    qsr_frame frame = frame_in(&m);
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "m", .between = "activation.plugin"});
    const qsr_comparison *c = &all.items[0];
    assert_true(c->n_a == 4 && c->n_b == 3 && c->pairs == 3);
    assert_close(c->paired.difference, -0.75, 1e-15); /* -0.625, -0.75, -0.875 */
    assert_close(c->paired.t, -0.75 / (0.125 / sqrt(3)), 1e-12);
    qsr_frame_free(&frame);
}

/* No difference is a result, not a lack of one. */
static void equal_means_have_a_p_value(void **state)
{
    (void)state;
    static memory m;
    for (unsigned i = 0; i < 4; i++) {
        add_run(&m, "a", i, 0, 1, 1 + i);
        add_run(&m, "b", i, 0, 1, 1 + i + (i % 2 ? 0.5 : -0.5));
    }
    qsr_frame frame = frame_in(&m);
    const qsr_comparison *c = compare(&frame, &(qsr_compare_request){.metric = "m", .between = "activation.plugin"}).items;
    assert_true(!c->no_welch && !c->no_paired && c->welch.p == 1 && c->paired.p == 1 && c->d == 0 && c->dz == 0);
    qsr_frame_free(&frame);
}

static void only_otherwise_equal_runs_are_compared(void **state)
{
    (void)state;
    qsr_frame frame = frame_of((const char *const[]){"activation.plugin=topk,batchtopk", NULL});
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    assert_int_equal(all.count, 2);
    assert_int_equal(all.n_contexts, 1);
    assert_string_equal(all.contexts[0], "activation.k");
    assert_string_equal(all.items[0].context[0], "16");
    assert_string_equal(all.items[1].context[0], "32");
    assert_close(all.items[1].welch.difference, -0.01, 1e-13);
    qsr_frame_free(&frame);
    frame = frame_of((const char *const[]){"activation.plugin=topk,batchtopk", NULL});
    all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.k"});
    assert_int_equal(all.count, 2);
    assert_string_equal(all.contexts[0], "activation.plugin");
    assert_string_equal(all.items[1].context[0], "topk");
    qsr_frame_free(&frame);
}

static void what_goes_with_the_compared_parameter_is_named(void **state)
{
    (void)state;
    qsr_frame frame = frame_of((const char *const[]){"activation.plugin=topk,topafa", NULL});
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    assert_int_equal(all.count, 2); /* topafa against k = 16 and k = 32 */
    assert_string_equal(all.items[0].differs, "losses.afa: on, off");
    assert_true(all.items[0].n_a == 2 && all.items[0].n_b == 3 && all.items[0].pairs == 2);
    assert_string_equal(frame.notes[0], "runs that failed or are not finished, and so do not count: 2");
    qsr_frame_free(&frame);
}

/* ---- matched values --------------------------------------------------------------------------------------------------------- */

/* Curves m = c l0^p are straight on logarithmic axes: whatever the grid, the value at l0 = 20 is c 20^p. */
static void curves_are_read_at_the_matched_value(void **state)
{
    (void)state;
    static memory m;
    static const unsigned k[] = {64, 4, 16, 8, 32};
    for (unsigned seed = 0; seed < 3; seed++)
        for (unsigned i = 0; i < 5; i++) {
            double x = k[i] + 0.125 * seed, z = 1.5 * k[i] + 0.25 * seed;
            add_run(&m, "a", seed, k[i], x, (0.9 + 0.01 * seed) * pow(x, -0.6));
            add_run(&m, "b", seed, k[i], z, (0.8 + 0.02 * seed) * pow(z, -0.5));
        }
    qsr_frame frame = frame_in(&m);
    qsr_comparisons all =
        compare(&frame, &(qsr_compare_request){.metric = "m", .between = "activation.plugin", .at = "l0=20"});
    assert_int_equal(all.count, 1);
    const qsr_comparison *c = &all.items[0];
    assert_true(c->n_a == 3 && c->n_b == 3 && c->pairs == 3 && c->n_left_out == 0);
    assert_close(c->side_a.mean, 0.91 * pow(20, -0.6), 1e-13);
    assert_close(c->side_b.mean, 0.82 * pow(20, -0.5), 1e-13);
    double each[3], mean = 0, square = 0;
    for (unsigned s = 0; s < 3; s++)
        mean += (each[s] = (0.9 + 0.01 * s) * pow(20, -0.6) - (0.8 + 0.02 * s) * pow(20, -0.5)) / 3;
    for (unsigned s = 0; s < 3; s++) square += (each[s] - mean) * (each[s] - mean) / 2;
    assert_close(c->paired.t / (mean / sqrt(square / 3)), 1, 1e-10);
    qsr_frame_free(&frame);
}

static const char *left_out(const qsr_comparison *c, size_t i)
{
    assert_true(i < c->n_left_out);
    return c->left_out[i];
}

/* Never beyond the ends of a curve, never where it passes twice, never through 0. */
static void seeds_without_a_value_there_are_left_out_and_named(void **state)
{
    (void)state;
    static memory m;
    for (unsigned seed = 0; seed < 5; seed++)
        for (unsigned k = 8; k <= 32; k *= 2) add_run(&m, "a", seed, k, k, 1.0 / k + 0.001 * seed);
    for (unsigned k = 8; k <= 32; k *= 2) {
        add_run(&m, "b", 0, k, k, 1.1 / k);
        add_run(&m, "b", 1, k, 3 * k, 1.1 / k);             /* from 24 on */
        add_run(&m, "b", 2, k, k == 16 ? 28 : 15, 1.1 / k); /* up and down again */
        add_run(&m, "b", 3, k, k, k == 16 ? -0.1 : 0.1);
        add_run(&m, "b", 4, k, k + 4, 1.2 / k); /* l0 = 20 is a point of it */
    }
    qsr_frame frame = frame_in(&m);
    qsr_comparisons all =
        compare(&frame, &(qsr_compare_request){.metric = "m", .between = "activation.plugin", .at = "l0=20"});
    const qsr_comparison *c = &all.items[0];
    assert_true(c->n_a == 5 && c->n_b == 2 && c->pairs == 2);
    assert_int_equal(c->n_left_out, 3);
    assert_string_equal(left_out(c, 0), "b, seed 1: its l0 is 24 to 96");
    assert_string_equal(left_out(c, 1), "b, seed 2: its curve passes there 2 times");
    assert_string_equal(left_out(c, 2), "b, seed 3: a logarithm needs values above 0");
    assert_close(c->side_b.mean, (1.1 / 20 + 1.2 / 16) / 2, 1e-14);
    qsr_frame_free(&frame);
}

static void a_curve_has_one_parameter(void **state)
{
    (void)state;
    static memory m;
    for (unsigned seed = 0; seed < 2; seed++)
        for (unsigned k = 8; k <= 16; k *= 2)
            for (unsigned c = 1; c <= 2; c++) {
                add_run(&m, "a", seed, k, k + c, 1.0 / k);
                m.parameters[m.count - 1][3] = (qsr_parameter){"losses.l1.coeff", number(c)};
                m.records[m.count - 1].n_parameters = 4;
                add_run(&m, "b", seed, k, k + c, 1.5 / k + 0.01 * seed);
                m.parameters[m.count - 1][3] = (qsr_parameter){"losses.l1.coeff", number(c)};
                m.records[m.count - 1].n_parameters = 4;
            }
    qsr_frame frame = frame_in(&m);
    qsr_comparisons all;
    qsr_error e = {0};
    qsr_compare_request request = {.metric = "m", .between = "activation.plugin", .at = "l0=12"};
    assert_int_equal(qsr_compare(&frame, &request, &all, &e), QSR_E_OPTION);
    assert_string_equal(e.text,
                        "activation.k and losses.l1.coeff both vary along a curve of m; name one with --along, or hold one "
                        "with --where");
    request.along = (const char *const[]){"activation.k", NULL};
    all = compare(&frame, &request);
    assert_int_equal(all.count, 2);
    assert_string_equal(all.contexts[0], "losses.l1.coeff");
    assert_int_equal(all.items[0].pairs, 2);
    qsr_frame_free(&frame);
}

/* ---- refusals --------------------------------------------------------------------------------------------------------------- */

static void no_p_value_for_one_seed(void **state)
{
    (void)state;
    qsr_frame frame = frame_of((const char *const[]){"activation.k=16", "seed=2", NULL});
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    const qsr_comparison *c = &all.items[0];
    assert_string_equal(c->no_welch, "batchtopk has 1 seed, topk has 1; a p-value needs 2 or more on each side");
    assert_string_equal(c->no_paired, "1 seed is on both sides; a p-value needs 2 or more pairs");
    assert_close(c->welch.difference, -0.01, 1e-14);
    qsr_text text = {0};
    qsr_compare_text(&all, &text);
    assert_null(strstr(text.bytes, "  p "));
    qsr_text_free(&text);
    qsr_sheet sheet;
    qsr_compare_sheet(&all, &sheet);
    for (size_t i = 0; i < sheet.n_columns; i++)
        if (strcmp(sheet.columns[i].name, "p") == 0 || strcmp(sheet.columns[i].name, "paired_p") == 0)
            assert_true(isnan(sheet.cells[i].value));
    qsr_sheet_free(&sheet);
    qsr_frame_free(&frame);
}

static void no_p_value_where_nothing_varies(void **state)
{
    (void)state;
    qsr_frame frame = frame_of((const char *const[]){"activation.plugin=topk", NULL});
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "l0", .between = "activation.k"});
    assert_string_equal(all.items[0].no_welch, "the values do not vary over seeds");
    assert_string_equal(all.items[0].no_paired, "the differences do not vary over seeds");
    assert_true(isnan(all.items[0].d) && isnan(all.items[0].gz));
    qsr_frame_free(&frame);
    /* 0.20 - 0.19, 0.21 - 0.20 and 0.25 - 0.24 are 0.01 but for rounding. */
    frame = frame_of((const char *const[]){"activation.k=32", NULL});
    all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    assert_null(all.items[0].no_welch);
    assert_string_equal(all.items[0].no_paired, "the differences do not vary over seeds");
    qsr_frame_free(&frame);
}

static void mistakes_are_explained(void **state)
{
    (void)state;
    const struct {
        qsr_compare_request request;
        const char *error;
    } bad[] = {
        {{.metric = "nmes", .between = "activation.k"}, "no run has the metric 'nmes'; did you mean 'nmse'?"},
        {{.metric = "nmse", .between = "k"}, "no run has the parameter 'k'; did you mean 'activation.k'?"},
        {{.metric = "nmse", .between = "seed"}, "--between seed: runs that differ in it are not different settings"},
        {{.metric = "nmse", .between = "sae.d_sae"},
         "sae.d_sae has only the value '64' in the runs with nmse; two values are needed to compare"},
        {{.metric = "nmse", .between = "losses.afa.coeff"},
         "losses.afa.coeff has only the value '0.03125' in the runs with nmse; two values are needed to compare"},
        {{.metric = "nmse", .between = "activation.k", .at = "l0"},
         "--at is 'l0', but must be METRIC=NUMBER with a number above 0, such as l0=32"},
        {{.metric = "nmse", .between = "activation.k", .at = "l0=-1"},
         "--at is 'l0=-1', but must be METRIC=NUMBER with a number above 0, such as l0=32"},
        {{.metric = "nmse", .between = "activation.k", .at = "lo=3"}, "no run has the metric 'lo'; did you mean 'l0'?"},
        {{.metric = "nmse", .between = "activation.k", .along = (const char *const[]){"activation.k", NULL}},
         "--along needs --at"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_frame frame = frame_of(NULL);
        qsr_comparisons all;
        qsr_error e = {0};
        assert_int_equal(qsr_compare(&frame, &bad[i].request, &all, &e), QSR_E_OPTION);
        assert_string_equal(e.text, bad[i].error);
        qsr_frame_free(&frame);
    }
}

static void people_read_word_for_word(void **state)
{
    (void)state;
    qsr_text text = {0};
    qsr_frame frame = frame_of(NULL);
    qsr_comparisons all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin"});
    qsr_compare_text(&all, &text);
    assert_string_equal(text.bytes, case_text(&arena, "compare.txt"));
    text.length = 0;
    all = compare(&frame, &(qsr_compare_request){.metric = "nmse", .between = "activation.plugin", .at = "l0=16"});
    qsr_compare_text(&all, &text);
    assert_string_equal(text.bytes, case_text(&arena, "matched.txt"));
    qsr_text_free(&text);
    qsr_frame_free(&frame);
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
        cmocka_unit_test(welch_reproduces_the_published_test),
        cmocka_unit_test(tests_and_effects_are_those_of_closed_forms),
        cmocka_unit_test(seeds_are_paired_by_number_not_by_order),
        cmocka_unit_test(equal_means_have_a_p_value),
        cmocka_unit_test(only_otherwise_equal_runs_are_compared),
        cmocka_unit_test(what_goes_with_the_compared_parameter_is_named),
        cmocka_unit_test(curves_are_read_at_the_matched_value),
        cmocka_unit_test(seeds_without_a_value_there_are_left_out_and_named),
        cmocka_unit_test(a_curve_has_one_parameter),
        cmocka_unit_test(no_p_value_for_one_seed),
        cmocka_unit_test(no_p_value_where_nothing_varies),
        cmocka_unit_test(mistakes_are_explained),
        cmocka_unit_test(people_read_word_for_word),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

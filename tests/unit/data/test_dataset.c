/* A dataset opened for an experiment: how it is split into training and held-out units, what skip_first leaves out, and values that
 * are not finite, found and named. The plugin is tests/fixtures/datasets/counted.c. */
#include "../unit.h"

#include <inttypes.h>

#include "../bench.h"

static qsr_spec *spec_with(const char *dataset, int64_t eval_tokens)
{
    return bench_spec("name: data\ndataset: {plugin: counted, %s}\nactivation: {plugin: topk, k: 1}\nsae: {d_sae: 8}\n"
                      "train: {tokens: 100, batch: 10}\neval: {tokens: %" PRId64 "}\n",
                      dataset, eval_tokens);
}

static void held_out_units_are_the_last(void **state)
{
    (void)state;
    static const struct {
        const char *dataset;
        int64_t eval;
        size_t rows_per_unit;
        uint64_t train, held_first, held;
    } cases[] = {
        {"units: 10", 0, 1, 10, 10, 0},
        {"units: 10", 3, 1, 7, 7, 3},
        {"units: 10", 9, 1, 1, 1, 9},
        {"units: 10, rows_per_unit: 4", 1, 4, 9, 9, 1},
        {"units: 10, rows_per_unit: 4", 4, 4, 9, 9, 1},
        {"units: 10, rows_per_unit: 4", 5, 4, 8, 8, 2},
        {"units: 10, rows_per_unit: 4, skip_first: 1", 3, 3, 9, 9, 1},
        {"units: 10, rows_per_unit: 4, skip_first: 1", 4, 3, 8, 8, 2},
        {"units: 10, rows_per_unit: 4, skip_first: 3", 9, 1, 1, 1, 9},
        {"units: 0", 0, 1, UINT64_MAX, UINT64_C(1) << 48, 0},
        {"units: 0", 5000, 1, UINT64_MAX, UINT64_C(1) << 48, 5000},
        {"units: 0, rows_per_unit: 7, skip_first: 2", 11, 5, UINT64_MAX, UINT64_C(1) << 48, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_spec *spec = spec_with(cases[i].dataset, cases[i].eval);
        qsr_dataset data;
        assert_ok(qsr_dataset_open(spec, bench_pool(1), &data, NULL));
        assert_int_equal(data.rows_per_unit, cases[i].rows_per_unit);
        assert_int_equal(data.train_units, cases[i].train);
        assert_int_equal(data.held_first, cases[i].held_first);
        assert_int_equal(data.held_units, cases[i].held);
        assert_int_equal(data.held_rows, cases[i].eval);
        qsr_dataset_close(&data);
        qsr_spec_free(spec);
    }
}

static void splits_that_leave_nothing_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *dataset;
        int64_t eval;
        const char *option, *text;
    } cases[] = {
        {"units: 10", 10, "eval.tokens",
         "10 rows to hold out leave none of the 10 to train on: lower it, or give more data"},
        {"units: 10, rows_per_unit: 4", 37, "eval.tokens",
         "37 rows to hold out leave none of the 40 to train on: lower it, or give more data"},
        {"units: 2, rows_per_unit: 4, skip_first: 1", 9007199254740992, "eval.tokens",
         "9007199254740992 rows to hold out leave none of the 6 to train on: lower it, or give more data"},
        {"units: 10, skip_first: 1", 0, "skip_first", "skip_first=1 leaves none of the 1 row of a unit"},
        {"units: 10, rows_per_unit: 4, skip_first: 4", 0, "skip_first", "skip_first=4 leaves none of the 4 rows of a unit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_spec *spec = spec_with(cases[i].dataset, cases[i].eval);
        qsr_dataset data;
        qsr_error e = {0};
        assert_int_equal(qsr_dataset_open(spec, bench_pool(1), &data, &e), QSR_E_OPTION);
        assert_string_equal(e.text, cases[i].text);
        assert_string_equal(e.option, cases[i].option);
        qsr_spec_free(spec);
    }
}

static void reads_leave_out_the_first_rows_of_units(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads++) {
        qsr_spec *spec = spec_with("units: 100, rows_per_unit: 5, skip_first: 2, units_per_read: 3, d_in: 2", 0);
        qsr_dataset data;
        assert_ok(qsr_dataset_open(spec, bench_pool(threads), &data, NULL));
        const uint64_t units[] = {7, 3, 3, 99, 0, 50, 51, 52}; /* any order, also twice */
        float rows[8 * 3 * 2];
        assert_ok(qsr_dataset_read(&data, units, 8, rows, NULL));
        for (size_t u = 0; u < 8; u++)
            for (size_t r = 0; r < 3; r++) assert_true(rows[(u * 3 + r) * 2] == (float)(units[u] * 5 + 2 + r));
        qsr_dataset_close(&data);
        qsr_spec_free(spec);
    }
}

static void values_that_are_not_finite_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *dataset, *text;
    } cases[] = {
        {"units: 40, d_in: 3, bad_row: 17, bad_column: 2", "row 17 of counted has nan in column 2: data must be finite"},
        {"units: 40, d_in: 3, bad_row: 0, bad: inf", "row 0 of counted has -inf in column 0: data must be finite"},
        {"units: 40, d_in: 3, rows_per_unit: 4, bad_row: 30, bad_column: 1",
         "unit 7 of counted has nan in row 2, column 1: data must be finite"},
        {"units: 40, d_in: 3, rows_per_unit: 4, skip_first: 2, bad_row: 30, bad_column: 1",
         "unit 7 of counted has nan in row 2, column 1: data must be finite"}, /* rows count as the plugin counts them */
        {"units: 40, d_in: 3, rows_per_unit: 4, skip_first: 3, bad_row: 30, bad_column: 1", NULL}, /* left out */
        {"units: 40, d_in: 3, bad_row: 17, bad: huge", NULL},                                      /* large, but finite */
        {"units: 40, d_in: 3", NULL},
    };
    uint64_t units[40];
    float rows[40 * 4 * 3];
    for (size_t u = 0; u < 40; u++) units[u] = u;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (unsigned threads = 1; threads <= 3; threads++) {
            qsr_spec *spec = spec_with(cases[i].dataset, 0);
            qsr_dataset data;
            qsr_error e = {0};
            assert_ok(qsr_dataset_open(spec, bench_pool(threads), &data, NULL));
            assert_int_equal(qsr_dataset_read(&data, units, 40, rows, &e), cases[i].text ? QSR_E_INPUT : QSR_OK);
            assert_string_equal(e.text, cases[i].text ? cases[i].text : "");
            qsr_dataset_close(&data);
            qsr_spec_free(spec);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_out_units_are_the_last),
        cmocka_unit_test(splits_that_leave_nothing_are_refused),
        cmocka_unit_test(reads_leave_out_the_first_rows_of_units),
        cmocka_unit_test(values_that_are_not_finite_are_named),
    };
    int failures = cmocka_run_group_tests_name("datasets", tests, NULL, NULL);
    bench_end();
    return failures;
}

/* Tables of run folders: every format word for word, means and intervals computed here by other means, rows that never mix
 * settings, failed runs, published runs, unknown names. */
#include <ctype.h>

#include "../unit.h"
#include "base/fs.h"
#include "fake-runs.h"
#include "format/csv.h"
#include "format/json.h"
#include "report/table.h"

static qsr_arena arena;

static const char *grid(void)
{
    static char folder[300];
    if (!folder[0]) {
        snprintf(folder, sizeof folder, "%s/grid", test_folder());
        write_fake_runs("grid.runs", folder);
    }
    return folder;
}

static qsr_frame frame_of(const char *const *overlays, const char *const *where)
{
    qsr_archive archive;
    qsr_frame frame;
    assert_int_equal(qsr_archive_read(grid(), &archive, NULL), QSR_OK);
    assert_int_equal(qsr_frame_make(&archive, overlays, &frame, NULL), QSR_OK);
    qsr_archive_free(&archive);
    for (; where && *where; where++) assert_int_equal(qsr_frame_where(&frame, *where, NULL), QSR_OK);
    return frame;
}

static qsr_sheet sheet_of(qsr_frame *frame, const qsr_table_request *request)
{
    qsr_sheet sheet;
    qsr_error e = {0};
    if (qsr_report_table(frame, request, &sheet, &e)) fail_msg("%s", e.text);
    return sheet;
}

static size_t column_of(const qsr_sheet *s, const char *name)
{
    for (size_t c = 0; c < s->n_columns; c++)
        if (strcmp(s->columns[c].name, name) == 0) return c;
    fail_msg("no column %s", name);
    return 0;
}

static const qsr_sheet_cell *cell_of(const qsr_sheet *s, size_t row, const char *name)
{
    assert_true(row < s->n_rows);
    return &s->cells[row * s->n_columns + column_of(s, name)];
}

static const char *const asked_rows[] = {"activation.plugin", "activation.k", NULL};
static const char *const asked_cols[] = {"l0", "nmse", "fvu", "eps", NULL};

/* ---- numbers ------------------------------------------------------------------------------------------------------------ */

/* The mean and half-width of three values, by closed forms: t(0.975, 2) = 0.95 / sqrt(2 * 0.975 * 0.025). */
static void check_three(const qsr_sheet_cell *cell, double a, double b, double c)
{
    double mean = (a + b + c) / 3,
           square = ((a - mean) * (a - mean) + (b - mean) * (b - mean) + (c - mean) * (c - mean)) / 2;
    assert_int_equal(cell->n, 3);
    assert_true(fabs(cell->value - mean) <= 1e-15 * fabs(mean));
    /* Three values near their mean cost digits of the spread: 1e-16 / 0.03 of it. */
    assert_true(fabs(cell->half - 0.95 / sqrt(0.04875) * sqrt(square / 3)) <= 1e-13 * cell->half);
}

static void means_and_intervals_are_those_of_closed_forms(void **state)
{
    (void)state;
    qsr_frame frame = frame_of(NULL, NULL);
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.rows = asked_rows, .cols = asked_cols, .full = true});
    assert_int_equal(s.n_rows, 6); /* batchtopk 16, 32; topafa twice; topk 16, 32 */
    check_three(cell_of(&s, 0, "nmse"), 0.28, 0.30, 0.29);
    check_three(cell_of(&s, 0, "l0"), 15.5, 16, 16.5);
    check_three(cell_of(&s, 1, "nmse"), 0.19, 0.20, 0.24);
    check_three(cell_of(&s, 4, "nmse"), 0.30, 0.31, 0.32);
    check_three(cell_of(&s, 5, "nmse"), 0.20, 0.21, 0.25);
    check_three(cell_of(&s, 5, "eps"), 1.0e-6, 1.1e-6, 1.2e-6);
    assert_true(cell_of(&s, 4, "l0")->value == 16 && cell_of(&s, 4, "l0")->half == 0);
    /* Two values: t(0.975, 1) = tan(0.475 pi), sd / sqrt(2) is half their distance. */
    const qsr_sheet_cell *two = cell_of(&s, 4, "fvu");
    assert_true(two->n == 2 && two->note_n);
    assert_close(two->value, 0.41, 1e-15);
    assert_close(two->half / (tan(0.475 * acos(-1)) * 0.01), 1, 1e-12);
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

static void failed_and_unfinished_runs_are_counted_and_named(void **state)
{
    (void)state;
    qsr_frame frame = frame_of(NULL, NULL);
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.rows = asked_rows, .cols = asked_cols});
    assert_int_equal(cell_of(&s, 2, "runs")->n, 2);
    assert_int_equal(cell_of(&s, 2, "failed")->n, 1);
    assert_int_equal(cell_of(&s, 3, "runs")->n, 0);
    assert_int_equal(cell_of(&s, 3, "unfinished")->n, 1);
    assert_true(isnan(cell_of(&s, 3, "nmse")->value));
    assert_int_equal(frame.n_notes, 3);
    assert_string_equal(frame.notes[0], "runs of one row would differ in losses.afa.coeff too: it became a column");
    assert_string_equal(frame.notes[1], "grid/topafa-3 failed: the loss is not finite at step 37");
    assert_string_equal(frame.notes[2], "grid/topafa-4 is not finished");
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

/* ---- rows --------------------------------------------------------------------------------------------------------------- */

static const char *column_names(const qsr_sheet *s)
{
    qsr_text text = {0};
    for (size_t c = 0; c < s->n_columns; c++) qsr_text_add(&text, "%s%s", c ? " " : "", s->columns[c].name);
    const char *kept = qsr_arena_strdup(&arena, text.bytes);
    qsr_text_free(&text);
    return kept;
}

/* Neither the seed, nor log_every, which differs in one run and is not part of the identity, nor options that every run of a plugin
 * has at one value. */
static void rows_are_what_varies(void **state)
{
    (void)state;
    qsr_frame frame = frame_of(NULL, NULL);
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){0});
    assert_string_equal(column_names(&s),
                        "activation.plugin activation.k losses.afa.coeff runs l0 nmse fvu failed unfinished");
    assert_int_equal(frame.n_notes, 2);
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
    frame = frame_of(NULL, (const char *const[]){"activation.plugin=topk", "activation.k=16", NULL});
    s = sheet_of(&frame, &(qsr_table_request){.cols = asked_cols});
    assert_string_equal(column_names(&s), "runs l0 nmse fvu eps");
    assert_int_equal(s.n_rows, 1);
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

/* on and off differ although no other option does: the loss itself is the column. */
static void a_loss_that_is_on_or_off_tells_rows_apart(void **state)
{
    (void)state;
    qsr_frame frame =
        frame_of(NULL, (const char *const[]){"activation.plugin=batchtopk,topafa", "losses.afa.coeff=1/32,0.5", NULL});
    qsr_frame_free(&frame);
    frame = frame_of(NULL, NULL);
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.rows = (const char *const[]){"losses.afa", "activation.k", NULL},
                                                        .cols = asked_cols});
    assert_string_equal(
        column_names(&s),
        "losses.afa activation.k activation.plugin losses.afa.coeff runs l0 nmse fvu eps failed unfinished");
    assert_string_equal(cell_of(&s, 0, "losses.afa")->word, "off");
    assert_string_equal(cell_of(&s, 5, "losses.afa")->word, "on");
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

static void seeds_can_be_rows_when_asked_for(void **state)
{
    (void)state;
    qsr_frame frame = frame_of(NULL, (const char *const[]){"activation.k=16", NULL});
    qsr_sheet s = sheet_of(
        &frame, &(qsr_table_request){.rows = (const char *const[]){"seed", "activation.plugin", NULL}, .cols = asked_cols});
    assert_int_equal(s.n_rows, 6);
    assert_int_equal(cell_of(&s, 0, "runs")->n, 1);
    assert_true(isnan(cell_of(&s, 0, "nmse")->half));
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

static void sorts_by_parameters_and_metrics(void **state)
{
    (void)state;
    static const struct {
        const char *by, *first, *last;
    } orders[] = {{NULL, "batchtopk", "topk"},
                  {"nmse", "topafa", "topafa"},
                  {"-nmse", "topk", "topafa"},
                  {"-activation.plugin", "topk", "batchtopk"},
                  {"activation.k", "batchtopk", "topafa"}};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        qsr_frame frame = frame_of(NULL, NULL);
        qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.sort = orders[i].by});
        assert_string_equal(cell_of(&s, 0, "activation.plugin")->word, orders[i].first);
        assert_string_equal(cell_of(&s, s.n_rows - 1, "activation.plugin")->word, orders[i].last);
        qsr_sheet_free(&s);
        qsr_frame_free(&frame);
    }
}

static void the_same_cell_counts_once(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/twice", test_folder());
    write_fake_runs("grid.runs", folder);
    char again[320];
    snprintf(again, sizeof again, "%s/a-copy", folder);
    write_fake_runs("grid.runs", again);
    qsr_archive archive;
    qsr_frame frame;
    assert_int_equal(qsr_archive_read(folder, &archive, NULL), QSR_OK);
    assert_int_equal(archive.count, 32);
    assert_int_equal(qsr_frame_make(&archive, NULL, &frame, NULL), QSR_OK);
    assert_int_equal(frame.n_rows, 16);
    assert_int_equal(frame.n_notes, 16);
    assert_string_equal(frame.notes[0], "grid/batchtopk-16-1 is the same cell as a-copy/grid/batchtopk-16-1 and left out");
    qsr_frame_free(&frame);
    qsr_archive_free(&archive);
}

/* Runs under another identity whose parameters are all equal, such as after a path was spelt in another way: no further seeds. */
static void equal_settings_count_once(void **state)
{
    (void)state;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/spelt", test_folder());
    write_fake_runs("grid.runs", folder);
    char again[320];
    snprintf(again, sizeof again, "%s/a-spelling", folder);
    write_fake_runs("grid.runs", again);
    static const char *const others[] = {"topk-16-1", "topk-16-2", "topafa-3"};
    for (size_t i = 0; i < 3; i++)
        write_below(again, qsr_arena_printf(&arena, "grid/%s/manifest.json", others[i]),
                    qsr_arena_printf(&arena, "{\"quasar\": \"0.1.0\", \"cell\": \"other-%zu\"}\n", i));
    /* What failed under one name came to an end under the other: that one counts, although it comes later. */
    write_below(folder, "grid/topafa-3/result.json", "{\"status\": \"completed\", \"metrics\": {\"nmse\": 0.5}}\n");
    qsr_archive archive;
    qsr_frame frame;
    assert_int_equal(qsr_archive_read(folder, &archive, NULL), QSR_OK);
    assert_int_equal(qsr_frame_make(&archive, NULL, &frame, NULL), QSR_OK);
    qsr_archive_free(&archive);
    assert_int_equal(frame.n_rows, 16);
    assert_string_equal(frame.notes[frame.n_notes - 1],
                        "runs left aside, since all parameters, seeds too, are those of another run, which counts once: 3, the "
                        "first of them a-spelling/grid/topafa-3");
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.rows = asked_rows, .cols = asked_cols, .full = true});
    check_three(cell_of(&s, 4, "nmse"), 0.30, 0.31, 0.32);
    assert_int_equal(cell_of(&s, 2, "runs")->n, 3);
    assert_int_equal(cell_of(&s, 2, "failed")->n, 0);
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
}

/* ---- formats -------------------------------------------------------------------------------------------------------------- */

static const char *published(void)
{
    return qsr_arena_printf(&arena, "%s/tests/cases/report/published.csv", getenv("QUASAR_SOURCE"));
}

static qsr_text written(qsr_sheet_format format)
{
    qsr_text text = {0};
    qsr_frame frame = frame_of((const char *const[]){published(), NULL}, NULL);
    static const char *const cols[] = {"l0", "nmse", "fvu", "eps", "mse_norm", NULL};
    qsr_sheet s = sheet_of(&frame, &(qsr_table_request){.rows = asked_rows,
                                                        .cols = cols,
                                                        .full = format == QSR_FORMAT_CSV || format == QSR_FORMAT_JSON});
    qsr_sheet_write(&s, format, &text);
    qsr_sheet_free(&s);
    qsr_frame_free(&frame);
    return text;
}

static void people_read_word_for_word(void **state)
{
    (void)state;
    static const struct {
        qsr_sheet_format format;
        const char *file;
    } formats[] = {{QSR_FORMAT_TEXT, "table.txt"}, {QSR_FORMAT_MD, "table.md"}, {QSR_FORMAT_LATEX, "table.tex"}};
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        qsr_text text = written(formats[i].format);
        assert_string_equal(text.bytes, case_text(&arena, formats[i].file));
        qsr_text_free(&text);
    }
}

/* Every digit is written; the last ones of an interval are up to the C library's lgamma, so numbers are compared as numbers. */
static bool equal_fields(const char *a, const char *b)
{
    double x, y;
    if (strcmp(a, b) == 0) return true;
    return qsr_parse_real(a, &x) && qsr_parse_real(b, &y) && fabs(x - y) <= 1e-12 * fabs(y);
}

static void programs_read_every_digit_as_csv(void **state)
{
    (void)state;
    qsr_text text = written(QSR_FORMAT_CSV);
    qsr_csv got, expected;
    char *file = case_text(&arena, "table.csv");
    assert_int_equal(qsr_csv_parse("got", text.bytes, text.length, &got, NULL), QSR_OK);
    assert_int_equal(qsr_csv_parse("expected", file, strlen(file), &expected, NULL), QSR_OK);
    assert_int_equal(got.count, expected.count);
    assert_int_equal(got.columns, expected.columns);
    for (size_t r = 0; r < got.count; r++)
        for (size_t c = 0; c < got.columns; c++)
            if (!equal_fields(got.rows[r].fields[c], expected.rows[r].fields[c]))
                fail_msg("row %zu, %s: %s, not %s", r, got.rows[0].fields[c], got.rows[r].fields[c],
                         expected.rows[r].fields[c]);
    qsr_csv_free(&got);
    qsr_csv_free(&expected);
    qsr_text_free(&text);
}

static bool equal_json(const json_t *a, const json_t *b)
{
    if (json_is_real(a) && json_is_real(b))
        return fabs(json_real_value(a) - json_real_value(b)) <= 1e-12 * fabs(json_real_value(b));
    if (json_typeof(a) != json_typeof(b)) return false;
    if (json_is_array(a)) {
        bool equal = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; equal && i < json_array_size(a); i++)
            equal = equal_json(json_array_get(a, i), json_array_get(b, i));
        return equal;
    }
    if (!json_is_object(a)) return json_equal(a, b);
    bool equal = json_object_size(a) == json_object_size(b);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)a, key, value) equal =
        equal && json_object_get(b, key) && equal_json(value, json_object_get(b, key));
    return equal;
}

static void programs_read_every_digit_as_json(void **state)
{
    (void)state;
    qsr_text text = written(QSR_FORMAT_JSON);
    char *file = case_text(&arena, "table.json");
    json_t *got, *expected;
    assert_int_equal(qsr_json_parse("got", text.bytes, text.length, &got, NULL), QSR_OK);
    assert_int_equal(qsr_json_parse("expected", file, strlen(file), &expected, NULL), QSR_OK);
    if (!equal_json(got, expected)) fail_msg("got %s", text.bytes);
    json_decref(got);
    json_decref(expected);
    qsr_text_free(&text);
}

/* ---- mistakes -------------------------------------------------------------------------------------------------------------- */

static void unknown_names_are_refused_with_a_suggestion(void **state)
{
    (void)state;
    const struct {
        qsr_table_request request;
        const char *error;
    } bad[] = {
        {{.cols = (const char *const[]){"nsme", NULL}}, "no run has the metric 'nsme'; did you mean 'nmse'?"},
        {{.cols = (const char *const[]){"elephant", NULL}}, "no run has the metric 'elephant'"},
        {{.rows = (const char *const[]){"k", NULL}}, "no run has the parameter 'k'; did you mean 'activation.k'?"},
        {{.rows = (const char *const[]){"sae.d_sea", NULL}},
         "no run has the parameter 'sae.d_sea'; did you mean 'sae.d_sae'?"},
        {{.sort = "seed"}, "cannot sort by seed: it is not among the rows' parameters; add it to --rows"},
        {{.sort = "-nmsee"}, "no run has the metric 'nmsee'; did you mean 'nmse'?"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_frame frame = frame_of(NULL, NULL);
        qsr_sheet sheet;
        qsr_error e = {0};
        assert_int_equal(qsr_report_table(&frame, &bad[i].request, &sheet, &e), QSR_E_OPTION);
        assert_string_equal(e.text, bad[i].error);
        qsr_frame_free(&frame);
    }
}

static void conditions_that_fit_nothing_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"activation.k=17", "no run is left with activation.k=17; activation.k has: 16, 32"},
        {"activation.plugin=tpok",
         "no run is left with activation.plugin=tpok; activation.plugin has: batchtopk, topafa, topk"},
        {"k=16", "no run has the parameter 'k'; did you mean 'activation.k'?"},
        {"activation.k", "--where is 'activation.k', but must be KEY=VALUE"},
        {"activation.k=", "--where is 'activation.k=', but must be KEY=VALUE"},
        {"=3", "--where is '=3', but must be KEY=VALUE"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_frame frame = frame_of(NULL, NULL);
        qsr_error e = {0};
        assert_int_equal(qsr_frame_where(&frame, bad[i][0], &e), QSR_E_OPTION);
        assert_string_equal(e.text, bad[i][1]);
        qsr_frame_free(&frame);
    }
}

static void numbers_in_conditions_are_numbers(void **state)
{
    (void)state;
    qsr_frame frame = frame_of(NULL, (const char *const[]){"losses.afa.coeff=1/32", NULL});
    assert_int_equal(frame.n_rows, 3);
    qsr_frame_free(&frame);
    frame = frame_of(NULL, (const char *const[]){"activation.k=3.2e1,16", "seed=1", NULL});
    assert_int_equal(frame.n_rows, 4);
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
        cmocka_unit_test(means_and_intervals_are_those_of_closed_forms),
        cmocka_unit_test(failed_and_unfinished_runs_are_counted_and_named),
        cmocka_unit_test(rows_are_what_varies),
        cmocka_unit_test(a_loss_that_is_on_or_off_tells_rows_apart),
        cmocka_unit_test(seeds_can_be_rows_when_asked_for),
        cmocka_unit_test(sorts_by_parameters_and_metrics),
        cmocka_unit_test(the_same_cell_counts_once),
        cmocka_unit_test(equal_settings_count_once),
        cmocka_unit_test(people_read_word_for_word),
        cmocka_unit_test(programs_read_every_digit_as_csv),
        cmocka_unit_test(programs_read_every_digit_as_json),
        cmocka_unit_test(unknown_names_are_refused_with_a_suggestion),
        cmocka_unit_test(conditions_that_fit_nothing_are_refused),
        cmocka_unit_test(numbers_in_conditions_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

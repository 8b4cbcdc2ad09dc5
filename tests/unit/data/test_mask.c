/* Rows that a mask leaves out: they are never given out, everything else of the order of rows stays a function of seed, epoch and
 * window, positions count the rows that remain, and a mask that leaves everything in changes nothing. */
#include "counted-stream.h"

static uint64_t *take(stream *s, size_t n, size_t piece)
{
    uint64_t *out = calloc(n + 1, sizeof *out);
    float *rows = calloc(piece, 2 * sizeof *rows);
    for (size_t done = 0; done < n;) {
        size_t want = n - done < piece ? n - done : piece, got;
        assert_ok(qsr_cursor_next(s->cursor, want, rows, &got, NULL));
        assert_int_equal(got, want);
        for (size_t r = 0; r < got; r++) out[done + r] = (uint64_t)rows[2 * r];
        done += got;
    }
    free(rows);
    return out;
}

/* The rule of tests/fixtures/datasets/counted.c. */
static bool dropped(uint64_t row, uint64_t drop, uint64_t begin, uint64_t end)
{
    return (row >= begin && row < end) || (drop && (row * 2654435761u >> 7) % drop == 0);
}

static const struct {
    const char *dataset;
    int eval;
    size_t units, per_unit, skip, window_units; /* training units */
    uint64_t drop, begin, end;
} shapes[] = {
    {"units: 103, buffer: 10, drop: 3", 0, 103, 1, 0, 10, 3, 0, 0},
    {"units: 103, buffer: 10, drop: 2, drop_begin: 20, drop_end: 51", 13, 90, 1, 0, 10, 2, 20, 51}, /* empty windows */
    {"units: 103, buffer: 10, drop_begin: 0, drop_end: 30", 0, 103, 1, 0, 10, 0, 0, 30},            /* at the front */
    {"units: 103, buffer: 10, drop_begin: 95, drop_end: 200", 0, 103, 1, 0, 10, 0, 95, 200},        /* at the end */
    {"units: 25, rows_per_unit: 4, buffer: 1000, drop: 5", 0, 25, 4, 0, 25, 5, 0, 0},
    {"units: 25, rows_per_unit: 4, buffer: 17, drop: 2", 0, 25, 4, 0, 4, 2, 0, 0},
    {"units: 25, rows_per_unit: 4, skip_first: 1, buffer: 13, drop: 3, drop_begin: 30, drop_end: 70", 8, 22, 4, 1, 4, 3, 30,
     70},
    {"units: 25, rows_per_unit: 4, skip_first: 1, buffer: 3, drop_begin: 1, drop_end: 86", 8, 22, 4, 1, 1, 0, 1, 86},
    {"units: 25, rows_per_unit: 4, buffer: 17, drop: 2, shuffle: false", 0, 25, 4, 0, 4, 2, 0, 0},
    {"units: 103, buffer: 10, drop: 3, shuffle: false", 0, 103, 1, 0, 10, 3, 0, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static bool keeps(size_t i, uint64_t row)
{
    return row % shapes[i].per_unit >= shapes[i].skip && !dropped(row, shapes[i].drop, shapes[i].begin, shapes[i].end);
}

/* Rows of windows [from, to) that take part, and those that a mask (not skip_first) leaves out. */
static size_t live_rows(size_t i, size_t from, size_t to, size_t *ret_excluded)
{
    size_t begin = from * shapes[i].window_units, end = to * shapes[i].window_units, live = 0;
    if (end > shapes[i].units) end = shapes[i].units;
    for (size_t row = begin * shapes[i].per_unit; row < end * shapes[i].per_unit; row++) live += keeps(i, row);
    if (ret_excluded) *ret_excluded = (end - begin) * (shapes[i].per_unit - shapes[i].skip) - live;
    return live;
}

static size_t windows(size_t i) { return (shapes[i].units + shapes[i].window_units - 1) / shapes[i].window_units; }

static void every_row_that_takes_part_comes_once_per_epoch_window_by_window(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        size_t epoch_rows = live_rows(i, 0, windows(i), NULL);
        assert_true(epoch_rows > 0);
        uint64_t train_rows;
        assert_ok(qsr_dataset_train_rows(&s->data, &train_rows, NULL));
        assert_int_equal(train_rows, epoch_rows);
        uint64_t *rows = take(s, 3 * epoch_rows, 7), *at = rows;
        for (size_t epoch = 0; epoch < 3; epoch++)
            for (size_t w = 0; w < windows(i); w++) {
                size_t n = live_rows(i, w, w + 1, NULL);
                uint8_t seen[4096] = {0};
                for (size_t r = 0; r < n; r++, at++) {
                    size_t unit = *at / shapes[i].per_unit;
                    assert_true(keeps(i, *at));
                    assert_true(unit / shapes[i].window_units == w && unit < shapes[i].units);
                    assert_int_equal(seen[*at]++, 0);
                    if (strstr(shapes[i].dataset, "shuffle: false") && r) assert_true(at[-1] < at[0]);
                }
            }
        free(rows);
        close_stream(s);
    }
}

static void pieces_and_positions_do_not_show(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 11, 1000};
    for (size_t i = 0; i < SHAPES; i++) {
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        size_t n = 2 * live_rows(i, 0, windows(i), NULL) + 5, more = 12;
        uint64_t *want = take(s, n + more, n + more);
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            qsr_cursor_seek(s->cursor, (qsr_position){0});
            uint64_t *rows = take(s, n, pieces[p]);
            assert_memory_equal(rows, want, n * sizeof *rows);
            free(rows);
        }
        for (size_t row = n; row-- > 0;) { /* from behind, so that each jump is one */
            qsr_position at;
            assert_ok(qsr_cursor_position_of(s->cursor, row, &at, NULL));
            qsr_cursor_seek(s->cursor, at);
            uint64_t *rows = take(s, more, 5);
            assert_memory_equal(rows, want + row, more * sizeof *rows);
            free(rows);
        }
        free(want);
        close_stream(s);
    }
}

static void rows_left_out_are_counted_by_window(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        size_t rows = 0, excluded = 0;
        uint64_t got;
        assert_ok(qsr_cursor_excluded(s->cursor, 0, &got, NULL));
        assert_int_equal(got, 0);
        for (size_t epoch = 0; epoch < 3; epoch++)
            for (size_t w = 0; w < windows(i); w++) {
                size_t left_out, n = live_rows(i, w, w + 1, &left_out);
                excluded += left_out;
                for (size_t r = 1; r <= n; r++) {
                    assert_ok(qsr_cursor_excluded(s->cursor, rows + r, &got, NULL));
                    assert_int_equal(got, excluded);
                }
                rows += n;
            }
        close_stream(s);
    }
}

typedef struct {
    uint64_t rows[500];
    size_t n;
} bag;

static void put(void *arg, float *const *rows, size_t n)
{
    bag *b = arg;
    for (size_t r = 0; r < n; r++) b->rows[b->n++] = (uint64_t)rows[0][2 * r];
}

static void a_sample_is_the_beginning_of_the_first_epoch(void **state)
{
    (void)state;
    static const size_t asked[] = {1, 4, 10, 33, 400};
    for (size_t i = 0; i < SHAPES; i++) {
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        size_t epoch_rows = live_rows(i, 0, windows(i), NULL);
        uint64_t *want = take(s, epoch_rows, 100);
        for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
            bag got = {.n = 0};
            qsr_position before = qsr_cursor_tell(s->cursor), after;
            assert_ok(qsr_cursor_sample(s->cursor, asked[k], put, &got, NULL));
            after = qsr_cursor_tell(s->cursor);
            assert_int_equal(got.n, asked[k] < epoch_rows ? asked[k] : epoch_rows);
            assert_memory_equal(got.rows, want, got.n * sizeof *want);
            assert_true(before.epoch == after.epoch && before.window == after.window && before.offset == after.offset);
        }
        free(want);
        close_stream(s);
    }
}

static void a_mask_that_keeps_everything_changes_nothing(void **state)
{
    (void)state;
    static const char *const datasets[] = {"units: 103, buffer: 10",
                                           "units: 25, rows_per_unit: 4, skip_first: 1, buffer: 13",
                                           "units: 25, rows_per_unit: 4, buffer: 13, shuffle: false"};
    for (size_t i = 0; i < sizeof datasets / sizeof *datasets; i++) {
        char masked[200];
        snprintf(masked, sizeof masked, "%s, drop_begin: 1_000_000, drop_end: 1_000_001", datasets[i]);
        stream *s = open_stream(datasets[i], 8);
        uint64_t *want = take(s, 300, 9);
        close_stream(s);
        s = open_stream(masked, 8);
        assert_true(s->data.masked);
        uint64_t *rows = take(s, 300, 9);
        assert_memory_equal(rows, want, 300 * sizeof *rows);
        close_stream(s);
        free(rows);
        free(want);
    }
}

static void epochs_end_with_their_last_row_that_takes_part(void **state)
{
    (void)state;
    stream *s = open_stream("units: 100, buffer: 10, epochs: 2, drop_begin: 85, drop_end: 200", 0);
    float rows[2 * 400];
    size_t got;
    assert_int_equal(qsr_cursor_next(s->cursor, 400, rows, &got, NULL), QSR_END);
    assert_int_equal(got, 170);
    qsr_position at;
    assert_ok(qsr_cursor_position_of(s->cursor, 171, &at, NULL));
    assert_int_equal(at.epoch, 2);
    close_stream(s);
}

static void held_out_rows_keep_their_range(void **state)
{
    (void)state;
    static const struct {
        const char *dataset;
        int eval;
        uint64_t kept;
    } cases[] = {
        {"units: 100, drop_begin: 95, drop_end: 200", 20, 15},
        {"units: 100, drop_begin: 0, drop_end: 80", 20, 20}, /* none of them */
        {"units: 10, rows_per_unit: 10, drop_begin: 90, drop_end: 93", 15, 12},
        {"units: 10, rows_per_unit: 10, drop_begin: 93, drop_end: 99", 15, 13}, /* rows behind the 15th do not count */
        {"units: 10, rows_per_unit: 10, skip_first: 5, drop_begin: 90, drop_end: 96", 8, 7},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stream *s = open_stream(cases[i].dataset, cases[i].eval);
        assert_int_equal(s->data.held_rows, cases[i].eval);
        assert_int_equal(s->data.held_kept, cases[i].kept);
        close_stream(s);
    }
}

static void a_mask_that_leaves_nothing_is_refused(void **state)
{
    (void)state;
    qsr_error e = {0};
    qsr_dataset data;
    qsr_spec *spec = spec_with("units: 100, drop_begin: 80, drop_end: 200", 20);
    assert_int_equal(qsr_dataset_open(spec, bench_pool(1), &data, &e), QSR_E_OPTION);
    assert_string_equal(e.text, "leaves none of the 20 held-out rows to score (eval.tokens)");
    assert_string_equal(e.option, "exclude");
    qsr_spec_free(spec);

    spec = spec_with("units: 0, drop: 2", 0);
    assert_int_equal(qsr_dataset_open(spec, bench_pool(1), &data, &e), QSR_E_UNSUPPORTED);
    assert_string_equal(e.text, "dataset counted has no end: rows of it cannot be left out");
    qsr_spec_free(spec);

    stream *s = open_stream("units: 100, buffer: 7, drop_begin: 0, drop_end: 80", 20);
    float row[2];
    size_t got;
    qsr_position at;
    uint64_t n;
    assert_int_equal(qsr_cursor_next(s->cursor, 1, row, &got, &e), QSR_E_OPTION);
    assert_string_equal(e.text, "leaves no row at all to train on");
    assert_int_equal(qsr_cursor_position_of(s->cursor, 5, &at, &e), QSR_E_OPTION);
    assert_int_equal(qsr_cursor_excluded(s->cursor, 5, &n, &e), QSR_E_OPTION);
    close_stream(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_that_takes_part_comes_once_per_epoch_window_by_window),
        cmocka_unit_test(pieces_and_positions_do_not_show),
        cmocka_unit_test(rows_left_out_are_counted_by_window),
        cmocka_unit_test(a_sample_is_the_beginning_of_the_first_epoch),
        cmocka_unit_test(a_mask_that_keeps_everything_changes_nothing),
        cmocka_unit_test(epochs_end_with_their_last_row_that_takes_part),
        cmocka_unit_test(held_out_rows_keep_their_range),
        cmocka_unit_test(a_mask_that_leaves_nothing_is_refused),
    };
    int failures = cmocka_run_group_tests_name("rows that a mask leaves out", tests, NULL, NULL);
    bench_end();
    return failures;
}

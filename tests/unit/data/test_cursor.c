/* The order of training rows: every row once per epoch, whole units in windows, permutations that are functions of seed, epoch and
 * window, and any position to go on from. Column 0 of the rows is their index (tests/fixtures/datasets/counted.c). */
#include "counted-stream.h"

/* The indices of the next n rows, read `piece` at a time. */
static uint64_t *take(stream *s, size_t n, size_t piece)
{
    uint64_t *out = calloc(n, sizeof *out);
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

/* rows[0..n) hold each of the indices of [from, to), except the first `skip` of each `per_unit`, exactly once. */
static void assert_each_once(const uint64_t *rows, size_t n, uint64_t from, uint64_t to, uint64_t per_unit, uint64_t skip)
{
    uint8_t *seen = calloc(to - from, 1);
    for (size_t i = 0; i < n; i++) {
        assert_in_range(rows[i], from, to - 1);
        assert_true(rows[i] % per_unit >= skip);
        assert_int_equal(seen[rows[i] - from]++, 0);
    }
    assert_int_equal(n, (to - from) / per_unit * (per_unit - skip));
    free(seen);
}

static const struct {
    const char *dataset;
    int eval;
    size_t units, per_unit, skip, window; /* training units; rows of a full window */
} shapes[] = {
    {"units: 103, buffer: 1000", 0, 103, 1, 0, 103},
    {"units: 103, buffer: 10", 0, 103, 1, 0, 10},
    {"units: 103, buffer: 10", 13, 90, 1, 0, 10},
    {"units: 103, buffer: 1", 0, 103, 1, 0, 1},
    {"units: 25, rows_per_unit: 4, buffer: 1000", 0, 25, 4, 0, 100},
    {"units: 25, rows_per_unit: 4, buffer: 17", 0, 25, 4, 0, 16}, /* whole units alone */
    {"units: 25, rows_per_unit: 4, buffer: 3", 9, 22, 4, 0, 4},   /* at least one unit */
    {"units: 25, rows_per_unit: 4, skip_first: 1, buffer: 13", 10, 21, 4, 1, 12},
    {"units: 25, rows_per_unit: 4, skip_first: 3, buffer: 7", 1, 24, 4, 3, 7},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static size_t epoch_rows(size_t i) { return shapes[i].units * (shapes[i].per_unit - shapes[i].skip); }

static void every_row_comes_once_per_epoch_window_by_window(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        size_t n = epoch_rows(i), kept = shapes[i].per_unit - shapes[i].skip, window = shapes[i].window;
        assert_int_equal(qsr_cursor_epoch_rows(s->cursor), n);
        uint64_t *rows = take(s, 3 * n, 7);
        for (size_t epoch = 0; epoch < 3; epoch++)
            for (size_t at = 0; at < n;
                 at += window) { /* held-out units never appear: indices end with the training units */
                size_t here = n - at < window ? n - at : window;
                assert_each_once(rows + epoch * n + at, here, at / kept * shapes[i].per_unit,
                                 (at + here) / kept * shapes[i].per_unit, shapes[i].per_unit, shapes[i].skip);
            }
        free(rows);
        close_stream(s);
    }
}

static void pieces_of_any_size_give_the_same_rows(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 2, 10, 11, 64, 1000};
    for (size_t i = 0; i < SHAPES; i++) {
        size_t n = 2 * epoch_rows(i) + 5;
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        uint64_t *want = take(s, n, n);
        close_stream(s);
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            s = open_stream(shapes[i].dataset, shapes[i].eval);
            uint64_t *rows = take(s, n, pieces[p]);
            assert_memory_equal(rows, want, n * sizeof *rows);
            free(rows);
            close_stream(s);
        }
        free(want);
    }
}

static void any_position_can_be_returned_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        size_t n = 2 * epoch_rows(i) + 9, more = 30;
        stream *s = open_stream(shapes[i].dataset, shapes[i].eval);
        uint64_t *all = take(s, n + more, n + more);
        close_stream(s);
        stream *forward = open_stream(shapes[i].dataset, shapes[i].eval);
        stream *jumps = open_stream(shapes[i].dataset, shapes[i].eval);
        for (size_t at = 0; at < n; at += 13) { /* jumps goes there, reads, and has to come back next time */
            qsr_cursor_seek(jumps->cursor, qsr_cursor_tell(forward->cursor));
            uint64_t *rows = take(jumps, more, 8);
            assert_memory_equal(rows, all + at, more * sizeof *rows);
            free(rows);
            free(take(forward, 13, 13));
        }
        qsr_cursor_seek(jumps->cursor, (qsr_position){0, 0, 0});
        uint64_t *again = take(jumps, n, 16);
        assert_memory_equal(again, all, n * sizeof *again);
        free(again);
        free(all);
        close_stream(forward);
        close_stream(jumps);
    }
}

static size_t differing(const uint64_t *a, const uint64_t *b, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += a[i] != b[i];
    return count;
}

static void order_depends_on_seed_epoch_and_window_alone(void **state)
{
    (void)state;
    static const char *const seeds[] = {"units: 200, buffer: 100, seed: 1", "units: 200, buffer: 100, seed: 2"};
    uint64_t *rows[2];
    for (size_t i = 0; i < 2; i++) {
        stream *s = open_stream(seeds[i], 0);
        rows[i] = take(s, 400, 50);
        close_stream(s);
    }
    for (size_t r = 100; r < 200; r++)
        rows[0][r] -= 100, rows[1][r] -= 100;                 /* the second window, as if it were the first */
    assert_true(differing(rows[0], rows[1], 100) > 80);       /* seeds */
    assert_true(differing(rows[0], rows[0] + 200, 100) > 80); /* epochs */
    assert_true(differing(rows[0], rows[0] + 100, 100) > 80); /* windows */
    stream *s = open_stream(seeds[0], 0);
    uint64_t *again = take(s, 100, 50);
    assert_memory_equal(again, rows[0], 100 * sizeof *again);
    close_stream(s);
    for (size_t i = 0; i < 2; i++) free(rows[i]);
    free(again);
}

static void without_shuffle_rows_come_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        char dataset[128];
        snprintf(dataset, sizeof dataset, "%s, shuffle: false", shapes[i].dataset);
        stream *s = open_stream(dataset, shapes[i].eval);
        size_t n = epoch_rows(i), kept = shapes[i].per_unit - shapes[i].skip;
        uint64_t *rows = take(s, 2 * n, 9);
        for (size_t r = 0; r < 2 * n; r++)
            assert_int_equal(rows[r], r % n / kept * shapes[i].per_unit + shapes[i].skip + r % n % kept);
        free(rows);
        close_stream(s);
    }
}

static void epochs_end_the_data(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        char dataset[128];
        snprintf(dataset, sizeof dataset, "%s, epochs: 2", shapes[i].dataset);
        stream *s = open_stream(dataset, shapes[i].eval);
        size_t n = 2 * epoch_rows(i), got;
        float rows[2 * 20];
        free(take(s, n - 7, 11));
        assert_int_equal(qsr_cursor_next(s->cursor, 20, rows, &got, NULL), QSR_END);
        assert_int_equal(got, 7);
        assert_int_equal(qsr_cursor_next(s->cursor, 20, rows, &got, NULL), QSR_END);
        assert_int_equal(got, 0);
        qsr_cursor_seek(s->cursor, (qsr_position){1, 0, 0});
        assert_ok(qsr_cursor_next(s->cursor, 20, rows, &got, NULL));
        assert_int_equal(got, 20);
        close_stream(s);
    }
}

static void endless_data_never_starts_over(void **state)
{
    (void)state;
    stream *s = open_stream("units: 0, buffer: 64", 100);
    assert_true(qsr_cursor_epoch_rows(s->cursor) == UINT64_MAX);
    uint64_t *rows = take(s, 6400, 77);
    for (size_t at = 0; at < 6400; at += 64) assert_each_once(rows + at, 64, at, at + 64, 1, 0);
    assert_int_equal(qsr_cursor_tell(s->cursor).epoch, 0);
    assert_int_equal(qsr_cursor_tell(s->cursor).window, 100);
    free(rows);
    close_stream(s);
}

static void a_value_that_is_not_finite_stops_the_stream_where_it_is(void **state)
{
    (void)state;
    static const char *const datasets[] = {"units: 200, shuffle: false, bad_row: 130",
                                           "units: 50, rows_per_unit: 4, shuffle: false, buffer: 8, bad_row: 130"};
    static const char *const texts[] = {"row 130 of counted has nan in column 0: data must be finite",
                                        "unit 32 of counted has nan in row 2, column 0: data must be finite"};
    for (size_t i = 0; i < 2; i++) {
        stream *s = open_stream(datasets[i], 0);
        float rows[2 * 100];
        size_t got;
        qsr_error e = {0};
        assert_ok(qsr_cursor_next(s->cursor, 100, rows, &got, NULL));
        for (int again = 0; again < 2; again++) { /* and stays there */
            assert_int_equal(qsr_cursor_next(s->cursor, 100, rows, &got, &e), QSR_E_INPUT);
            assert_string_equal(e.text, texts[i]);
            assert_true(got < 100);
        }
        close_stream(s);
    }
}

static void memory_is_that_of_one_window(void **state)
{
    (void)state;
    stream *s = open_stream("units: 1000, rows_per_unit: 10, buffer: 500", 0);
    assert_int_equal(qsr_cursor_bytes(s->cursor), 500 * 2 * sizeof(float) + 500 * sizeof(uint32_t));
    close_stream(s);
    s = open_stream("units: 1000, buffer: 500", 0); /* one row per unit: rows are read where they are wanted */
    assert_int_equal(qsr_cursor_bytes(s->cursor), 500 * sizeof(uint32_t));
    close_stream(s);
    s = open_stream("units: 7, rows_per_unit: 10, buffer: 500, shuffle: false", 0);
    assert_int_equal(qsr_cursor_bytes(s->cursor), 70 * 2 * sizeof(float));
    close_stream(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_comes_once_per_epoch_window_by_window),
        cmocka_unit_test(pieces_of_any_size_give_the_same_rows),
        cmocka_unit_test(any_position_can_be_returned_to),
        cmocka_unit_test(order_depends_on_seed_epoch_and_window_alone),
        cmocka_unit_test(without_shuffle_rows_come_in_order),
        cmocka_unit_test(epochs_end_the_data),
        cmocka_unit_test(endless_data_never_starts_over),
        cmocka_unit_test(a_value_that_is_not_finite_stops_the_stream_where_it_is),
        cmocka_unit_test(memory_is_that_of_one_window),
    };
    int failures = cmocka_run_group_tests_name("the order of rows", tests, NULL, NULL);
    bench_end();
    return failures;
}

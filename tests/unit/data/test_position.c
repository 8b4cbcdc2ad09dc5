/* data/cursor: the position after any number of rows; samples from the beginning; what is read for them. */
#include "fake-data.h"

typedef struct {
    qsr_spec *spec;
    qsr_dataset data;
    qsr_cursor *cursor;
} stream;

/* Without a mask it cannot fail. */
static qsr_position position_of(qsr_cursor *c, uint64_t row)
{
    qsr_position at;
    assert_int_equal(qsr_cursor_position_of(c, row, &at, NULL), QSR_OK);
    return at;
}

static qsr_cursor *new_cursor(const stream *s)
{
    qsr_cursor *cursor;
    qsr_error e = {0};
    if (qsr_cursor_create(&s->data, &s->spec->data, &cursor, &e)) fail_msg("%s", e.text);
    return cursor;
}

static void open_stream(const char *dataset, int eval_tokens, stream *s)
{
    qsr_error e = {0};
    s->spec = fake_spec(dataset, eval_tokens);
    if (qsr_dataset_open(s->spec, NULL, &s->data, &e)) fail_msg("%s", e.text);
    s->cursor = new_cursor(s);
    atomic_store(&fake_units_read, 0);
}

static void close_stream(stream *s)
{
    qsr_cursor_free(s->cursor);
    qsr_dataset_close(&s->data);
    qsr_spec_free(s->spec);
}

/* The next n rows, which must be there, in pieces of `piece`. */
static float *next(qsr_cursor *cursor, size_t n, size_t piece)
{
    float *rows = qsr_xcalloc(n * FAKE_WIDTH, sizeof *rows);
    for (size_t i = 0, got; i < n; i += got) {
        qsr_error e = {0};
        size_t wanted = n - i < piece ? n - i : piece;
        if (qsr_cursor_next(cursor, wanted, rows + i * FAKE_WIDTH, &got, &e)) fail_msg("%s", e.text);
        assert_int_equal(got, wanted);
    }
    return rows;
}

/* unit * 10 + row, which fake_value wrote into a row. */
static int name_of(const float *row)
{
    assert_true(row[1] == row[0] + 1 && row[2] == row[0] + 2);
    return (int)(row[0] / 10);
}

/* Data sets of every kind: 7 or 8 units to train on in windows of 2, 3, 8 or more, one or several rows per unit. */
static const char *const shapes[] = {"units: 8, rows: 4, buffer: 9, shuffle: false",
                                     "units: 8, rows: 4, buffer: 9",
                                     "units: 8, rows: 4, buffer: 13",
                                     "units: 8, rows: 4, buffer: 1000",
                                     "units: 8, rows: 4, buffer: 1",
                                     "units: 17, rows: 1, buffer: 5",
                                     "units: 17, rows: 1, buffer: 5, shuffle: false",
                                     "units: 8, rows: 4, buffer: 9, skip_first: 2"};

/* position_of(row) is where reading forward arrives, and from there the same rows follow. */
static void positions_are_where_reading_arrives(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAKE_COUNT(shapes); i++) {
        stream s;
        open_stream(shapes[i], 1, &s);
        size_t n = (size_t)qsr_cursor_epoch_rows(s.cursor) * 7 / 2;
        qsr_cursor *jumping = new_cursor(&s);
        for (size_t row = 0; row < n; row++) {
            qsr_position want = qsr_cursor_tell(s.cursor), got = position_of(s.cursor, row);
            if (want.epoch != got.epoch || want.window != got.window || want.offset != got.offset)
                fail_msg("%s: row %zu", shapes[i], row);
            qsr_cursor_seek(jumping,
                            position_of(jumping, n - 1 - row)); /* from behind, so that each jump is one */
            qsr_cursor_seek(jumping, got);
            float *a = next(s.cursor, 1, 1), *b = next(jumping, 1, 1);
            assert_memory_equal(a, b, FAKE_WIDTH * sizeof *a);
            free(a);
            free(b);
        }
        qsr_cursor_free(jumping);
        close_stream(&s);
    }
}

static void positions_end_with_the_last_epoch(void **state)
{
    (void)state;
    stream s;
    open_stream("units: 8, rows: 4, buffer: 9, epochs: 2", 1, &s);
    float rows[60 * FAKE_WIDTH];
    size_t got;
    assert_int_equal(qsr_cursor_next(s.cursor, 60, rows, &got, NULL), QSR_END);
    assert_int_equal(got, 56);
    static const uint64_t beyond[] = {56, 57, 1000, UINT64_MAX};
    for (size_t i = 0; i < FAKE_COUNT(beyond); i++) {
        qsr_position at = position_of(s.cursor, beyond[i]), end = qsr_cursor_tell(s.cursor);
        assert_true(at.epoch == end.epoch && at.window == end.window && at.offset == end.offset);
    }
    qsr_cursor_seek(s.cursor, position_of(s.cursor, 55));
    assert_int_equal(qsr_cursor_next(s.cursor, 60, rows, &got, NULL), QSR_END);
    assert_int_equal(got, 1);
    close_stream(&s);
}

static void data_without_end_has_one_epoch(void **state)
{
    (void)state;
    stream s;
    open_stream("units: 0, rows: 4, buffer: 12", 8, &s);
    assert_true(qsr_cursor_epoch_rows(s.cursor) == UINT64_MAX);
    qsr_position at = position_of(s.cursor, 1000);
    assert_true(at.epoch == 0 && at.window == 83 && at.offset == 4);
    free(next(s.cursor, 996, 7));
    float *a = next(s.cursor, 4, 4), *b = next(s.cursor, 8, 8);
    qsr_cursor_seek(s.cursor, at);
    float *c = next(s.cursor, 8, 3);
    assert_int_equal(name_of(a) / 10 / 3, 83);
    assert_memory_equal(b, c, 8 * FAKE_WIDTH * sizeof *b);
    free(a);
    free(b);
    free(c);
    close_stream(&s);
}

static void positions_that_do_not_exist_are_refused(void **state)
{
    (void)state;
    static const qsr_position wrong[] = {{0, 4, 0}, {0, 3, 4}, {0, 0, 8}, {3, UINT64_MAX, 0}, {0, 0, SIZE_MAX}};
    stream s;
    open_stream("units: 8, rows: 4, buffer: 9", 1, &s); /* 7 units: windows of 2, 2, 2 and 1 */
    for (size_t i = 0; i < FAKE_COUNT(wrong); i++) {
        float row[FAKE_WIDTH];
        size_t got;
        qsr_error e = {0};
        qsr_cursor_seek(s.cursor, wrong[i]);
        assert_int_equal(qsr_cursor_next(s.cursor, 1, row, &got, &e), QSR_E_STATE);
        assert_int_equal(got, 0);
    }
    close_stream(&s);
}

/* ---- what is read ------------------------------------------------------------------------------------------------ */

static void data_that_fit_the_buffer_are_read_once(void **state)
{
    (void)state;
    stream s;
    open_stream("units: 10, rows: 4", 4, &s);
    free(next(s.cursor, 36 * 5, 7));
    assert_int_equal(atomic_load(&fake_units_read), 9);
    assert_int_equal(qsr_dataset_reads(&s.data), 3);
    close_stream(&s);
}

static void a_window_is_read_once_per_epoch(void **state)
{
    (void)state;
    stream s;
    open_stream("units: 10, rows: 4, buffer: 20", 4, &s);
    free(next(s.cursor, 36 * 3, 7));
    assert_int_equal(atomic_load(&fake_units_read), 27);
    close_stream(&s);
}

struct taken {
    float rows[200 * FAKE_WIDTH];
    size_t n;
};

static void take(void *arg, float *const *rows, size_t n)
{
    struct taken *t = arg;
    memcpy(t->rows + t->n * FAKE_WIDTH, rows[0], n * FAKE_WIDTH * sizeof(float));
    t->n += n;
    memset(rows[0], 0xff, n * FAKE_WIDTH * sizeof(float)); /* it may */
}

/* The sample is the beginning of the stream, whatever was read before; afterwards the cursor goes on as if nothing had been. */
static void a_sample_is_the_beginning_and_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < FAKE_COUNT(shapes); i++) {
        stream s;
        open_stream(shapes[i], 1, &s);
        size_t epoch = (size_t)qsr_cursor_epoch_rows(s.cursor);
        float *first = next(s.cursor, epoch + 5, 6);
        for (size_t n = 1; n <= epoch + 3; n++)
            for (size_t before = 0; before < epoch; before += 5) {
                struct taken got = {.n = 0};
                qsr_cursor_seek(s.cursor, (qsr_position){0});
                free(next(s.cursor, before, 3));
                assert_int_equal(qsr_cursor_sample(s.cursor, n, take, &got, NULL), QSR_OK);
                assert_int_equal(got.n, n < epoch ? n : epoch);
                assert_memory_equal(got.rows, first, got.n * FAKE_WIDTH * sizeof *first);
                float *after = next(s.cursor, 5, 5);
                assert_memory_equal(after, first + before * FAKE_WIDTH, 5 * FAKE_WIDTH * sizeof *first);
                free(after);
            }
        free(first);
        close_stream(&s);
    }
}

static void a_sample_reads_no_more_than_it_needs(void **state)
{
    (void)state;
    static const struct {
        const char *dataset;
        size_t sample, units_then, units_later;
    } cases[] = {
        {"units: 100, rows: 4, buffer: 40", 40, 10, 10},                 /* one window, which training uses again */
        {"units: 100, rows: 4, buffer: 40", 41, 11, 11},                 /* one unit of the second window */
        {"units: 100, rows: 4, buffer: 40, shuffle: false", 45, 12, 12}, /* two units of it */
        {"units: 100, rows: 4, buffer: 40", 10, 10, 10},                 /* the first window is wanted whole */
        {"units: 100, rows: 4, buffer: 40", 80, 20, 20},
    };
    for (size_t i = 0; i < FAKE_COUNT(cases); i++) {
        stream s;
        struct taken got = {.n = 0};
        open_stream(cases[i].dataset, 1, &s);
        assert_int_equal(qsr_cursor_sample(s.cursor, cases[i].sample, take, &got, NULL), QSR_OK);
        assert_int_equal(atomic_load(&fake_units_read), cases[i].units_then);
        free(next(s.cursor, 40, 7));
        assert_int_equal(atomic_load(&fake_units_read), cases[i].units_later);
        close_stream(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_are_where_reading_arrives),
        cmocka_unit_test(positions_end_with_the_last_epoch),
        cmocka_unit_test(data_without_end_has_one_epoch),
        cmocka_unit_test(positions_that_do_not_exist_are_refused),
        cmocka_unit_test(data_that_fit_the_buffer_are_read_once),
        cmocka_unit_test(a_window_is_read_once_per_epoch),
        cmocka_unit_test(a_sample_is_the_beginning_and_changes_nothing),
        cmocka_unit_test(a_sample_reads_no_more_than_it_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

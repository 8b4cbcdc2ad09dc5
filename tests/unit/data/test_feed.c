/* data/feed: rows read ahead are those of the cursor, in its pieces, whatever the threads; the next read begins while the caller is at
 * work; an error waits for its place; nobody is left behind when the feed is given up; where the system refuses a thread or memory, rows are
 * read in turn. Column 0 of the rows is their index
 * (tests/fixtures/datasets/counted.c). */
#include "counted-stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "data/feed.h"

/* The linker leads calls of the two functions here (--wrap, tests/unit/data.mk). 1: the next one of this thread is refused. */
static _Thread_local size_t refused_thread, refused_block;

int __real_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
void *__real_aligned_alloc(size_t, size_t);
void *__wrap_aligned_alloc(size_t, size_t);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*begin)(void *), void *arg)
{
    if (refused_thread && !--refused_thread) return EAGAIN;
    return __real_pthread_create(thread, attributes, begin, arg);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    if (refused_block && !--refused_block) return NULL;
    return __real_aligned_alloc(alignment, bytes);
}

/* counted, or counted that says it computes */
static stream *open_feedable(const char *dataset, int eval, unsigned threads, bool computes)
{
    static qsr_plugin computing;
    stream *s = open_stream_on(dataset, eval, threads);
    if (!computes) return s;
    computing = *s->data.made->plugin;
    computing.caps |= QSR_CAP_COMPUTES;
    s->data.made->plugin = &computing;
    return s;
}

static qsr_feed *feed_of(stream *s, size_t piece, uint64_t rows, bool ahead)
{
    qsr_feed *feed;
    qsr_error e = {0};
    if (qsr_feed_create(s->cursor, &s->data, piece, rows, ahead, &feed, &e)) fail_msg("%s", e.text);
    return feed;
}

/* The indices of n rows behind the first `from`, by a cursor alone. */
static uint64_t *take(const char *dataset, int eval, uint64_t from, size_t n, uint64_t *ret_reads)
{
    stream *s = open_feedable(dataset, eval, 1, false);
    uint64_t *out = qsr_xcalloc(n, sizeof *out);
    float *rows = qsr_xcalloc(n, 2 * sizeof *rows);
    qsr_position at;
    size_t got;
    assert_ok(qsr_cursor_position_of(s->cursor, from, &at, NULL));
    qsr_cursor_seek(s->cursor, at);
    assert_ok(qsr_cursor_next(s->cursor, n, rows, &got, NULL));
    for (size_t r = 0; r < n; r++) out[r] = (uint64_t)rows[2 * r];
    *ret_reads = qsr_dataset_reads(&s->data);
    free(rows);
    close_stream(s);
    return out;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *dataset;
    int eval;
    bool reads_alike; /* windows are whole, and none is empty */
} shapes[] = {
    {"units: 103, buffer: 10", 0, true},
    {"units: 103, buffer: 10, drop: 2, drop_begin: 20, drop_end: 51", 13, true},
    {"units: 25, rows_per_unit: 4, buffer: 1000, drop: 5", 0, true},
    {"units: 25, rows_per_unit: 4, buffer: 17", 0, true},
    {"units: 25, rows_per_unit: 4, buffer: 17, units_per_read: 1, shuffle: false", 0, true},
    {"units: 25, rows_per_unit: 4, buffer: 33, units_per_read: 3", 0, true},
    {"units: 90, rows_per_unit: 4, buffer: 57, units_per_read: 3, skip_first: 1, drop: 2, shuffle: false", 5, true},
    {"units: 25, rows_per_unit: 4, skip_first: 1, buffer: 13, drop: 3, drop_begin: 30, drop_end: 70", 8, false},
    {"units: 25, rows_per_unit: 4, skip_first: 1, buffer: 3, drop_begin: 1, drop_end: 86", 8,
     false},                                                      /* one row in 22 windows */
    {"rows_per_unit: 4, buffer: 33, units_per_read: 3", 0, true}, /* without end */
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static void same_rows(qsr_feed *feed, size_t piece, const uint64_t *want, size_t n)
{
    float *const *rows;
    size_t got, done = 0;
    for (; done < n; done += got) {
        assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL));
        assert_int_equal(got, n - done < piece ? n - done : piece);
        for (size_t r = 0; r < got; r++) assert_int_equal((uint64_t)rows[0][2 * r], want[done + r]);
    }
    assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL));
    assert_int_equal(got, 0);
}

static void check_rows(size_t shape, unsigned threads, bool computes, uint64_t from, size_t piece, const uint64_t *want,
                       size_t n, uint64_t reads)
{
    stream *s = open_feedable(shapes[shape].dataset, shapes[shape].eval, threads, computes);
    qsr_position at;
    assert_ok(qsr_cursor_position_of(s->cursor, from, &at, NULL));
    qsr_cursor_seek(s->cursor, at);
    qsr_feed *feed = feed_of(s, piece, n, true);
    same_rows(feed, piece, want, n);
    qsr_feed_free(feed);
    if (shapes[shape].reads_alike && reads) assert_int_equal(qsr_dataset_reads(&s->data), reads);
    close_stream(s);
}

static void rows_are_those_of_the_cursor(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 7, 64};
    enum { ROWS = 450, FROM = 37 };
    for (size_t i = 0; i < SHAPES; i++)
        for (uint64_t from = 0; from <= FROM; from += FROM) {
            uint64_t reads, *want = take(shapes[i].dataset, shapes[i].eval, from, ROWS, &reads);
            const bool whole = strstr(shapes[i].dataset, "rows_per_unit"); /* else reads are cut by pieces */
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
                for (unsigned threads = 1; threads <= 3; threads++)
                    for (int computes = 0; computes < 2; computes++)
                        check_rows(i, threads, computes, from, pieces[p], want, ROWS, whole ? reads : 0);
            free(want);
        }
}

/* ---- while the caller is at work --------------------------------------------------------------------------------- */

static const char *const slow = "units: 400, rows_per_unit: 3, units_per_read: 2, buffer: 120, pause: 1";

static bool grows(const qsr_dataset *data, uint64_t reads)
{
    const double end = qsr_clock() + 20;
    const struct timespec moment = {.tv_nsec = 1000000};
    while (qsr_dataset_reads(data) <= reads && qsr_clock() < end) nanosleep(&moment, NULL);
    return qsr_dataset_reads(data) > reads;
}

/* Nobody calls the feed while reads are counted. The first window is read when the first piece is there; later reads are of the next one, for
 * which there is room once rows were given out. */
static void the_next_read_begins_meanwhile(void **state)
{
    (void)state;
    const struct {
        unsigned threads;
        bool computes, ahead, grows;
    } cases[] = {{1, false, true, true},
                 {2, false, true, true},
                 {2, true, true, true},
                 {1, true, true, false},
                 {2, false, false, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        stream *s = open_feedable(slow, 0, cases[i].threads, cases[i].computes);
        qsr_feed *feed = feed_of(s, 20, 1000, cases[i].ahead);
        float *const *rows;
        size_t got;
        assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL));
        const uint64_t window = 20;
        if (cases[i].grows)
            assert_true(grows(&s->data, window));
        else
            assert_int_equal(qsr_dataset_reads(&s->data), window);
        qsr_feed_free(feed);
        close_stream(s);
    }
}

static void rows_of_their_own_are_read_meanwhile(void **state)
{
    (void)state;
    stream *s = open_feedable("units: 4000, units_per_read: 10, pause: 1", 0, 1, false);
    qsr_feed *feed = feed_of(s, 40, 1000, true);
    float *const *rows;
    size_t got;
    assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL));
    assert_true(grows(&s->data, 4));
    qsr_feed_free(feed);
    close_stream(s);
}

/* ---- errors, and the end ----------------------------------------------------------------------------------------- */

/* Row 300 is in the third window; pieces of the two before it are given out. */
static void an_error_waits_for_its_place(void **state)
{
    (void)state;
    static const char *const datasets[] = {
        "units: 400, rows_per_unit: 3, units_per_read: 2, buffer: 120, bad_row: 300, bad_column: 1",
        "units: 400, rows_per_unit: 3, units_per_read: 2, buffer: 120, bad_row: 300, bad_column: 1, shuffle: false"};
    for (size_t d = 0; d < 2; d++)
        for (unsigned threads = 1; threads <= 3; threads++)
            for (int computes = 0; computes < 2; computes++)
                for (int ahead = 0; ahead < 2; ahead++) {
                    stream *s = open_feedable(datasets[d], 0, threads, computes);
                    qsr_feed *feed = feed_of(s, 50, 1200, ahead);
                    float *const *rows;
                    size_t got, done = 0;
                    qsr_error e = {0};
                    while (!qsr_feed_next(feed, NULL, &rows, &got, &e) && got) done += got;
                    assert_int_equal(e.code, QSR_E_INPUT);
                    assert_string_equal(e.text, "unit 100 of counted has nan in row 0, column 1: data must be finite");
                    assert_int_equal(done, 200);
                    assert_ok(qsr_feed_next(feed, NULL, &rows, &got, &e));
                    assert_int_equal(got, 0);
                    qsr_feed_free(feed);
                    close_stream(s);
                }
}

/* ---- a mask that cannot be had ----------------------------------------------------------------------------------- */

enum { WINDOW_UNITS = 400, GOOD_UNITS = 2 * WINDOW_UNITS };
static const qsr_tokens_ops *whole_mask;
static atomic_size_t windows_refused;

static qsr_status mask_of_two_windows(const qsr_instance *self, const uint64_t *units, size_t n, uint8_t *ret_keep)
{
    if (n && units[0] >= GOOD_UNITS) {
        if (units[0] % WINDOW_UNITS == 0) windows_refused++;
        return QSR_E_IO;
    }
    return whole_mask->mask(self, units, n, ret_keep);
}

/* The third window's mask is asked for ahead, once from the window before it and once from its own beginning, and when its rows are wanted;
 * those of the windows behind it, never. */
static void a_mask_that_cannot_be_had_is_not_asked_for_again_and_again(void **state)
{
    (void)state;
    const struct timespec moment = {.tv_nsec = 1000000};
    for (unsigned threads = 1; threads <= 2; threads++) {
        stream *s = open_feedable("units: 4000, rows_per_unit: 3, units_per_read: 50, buffer: 1200, drop: 2", 0, threads, false);
        uint64_t want;
        assert_ok(qsr_dataset_count(&s->data, 0, GOOD_UNITS, &want, NULL));
        whole_mask = s->data.tokens;
        qsr_tokens_ops ops = *whole_mask;
        ops.mask = mask_of_two_windows;
        s->data.tokens = &ops;
        qsr_cursor_free(s->cursor);
        assert_ok(qsr_cursor_create(&s->data, &s->spec->data, &s->cursor, NULL));
        windows_refused = 0;
        qsr_feed *feed = feed_of(s, 20, 4000, true);
        float *const *rows;
        size_t got, done = 0;
        qsr_error e = {0};
        while (!qsr_feed_next(feed, NULL, &rows, &got, &e) && got) done += got, nanosleep(&moment, NULL);
        assert_int_equal(e.code, QSR_E_IO);
        assert_int_equal(done, want / 20 * 20); /* the error comes in the place of the piece that it cuts */
        qsr_feed_free(feed);
        assert_in_range(windows_refused, 1, 3);
        close_stream(s);
    }
}

static void whoever_wants_to_stop_does_not_wait(void **state)
{
    (void)state;
    const volatile sig_atomic_t stop = 1;
    const double pause = 0.4;
    for (unsigned threads = 1; threads <= 2; threads++) {
        stream *s =
            open_feedable("units: 400, rows_per_unit: 3, units_per_read: 40, buffer: 120, pause: 400", 0, threads, false);
        const double begun = qsr_clock();
        qsr_feed *feed = feed_of(s, 20, 1000, true);
        float *const *rows;
        size_t got;
        assert_ok(qsr_feed_next(feed, &stop, &rows, &got, NULL));
        assert_true(got == 0 || qsr_clock() - begun >= pause); /* unless the machine slept until they were there */
        assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL)); /* and can go on all the same */
        assert_int_equal(got, 20);
        qsr_feed_free(feed);
        close_stream(s);
    }
}

static void a_feed_can_be_given_up_at_any_moment(void **state)
{
    (void)state;
    uint64_t reads, *want = take(slow, 0, 0, 240, &reads);
    for (unsigned threads = 1; threads <= 3; threads++)
        for (int computes = 0; computes < 2; computes++)
            for (size_t pieces = 0; pieces < 12; pieces += 3) {
                stream *s = open_feedable(slow, 0, threads, computes);
                qsr_feed *feed = feed_of(s, 20, 1000, true);
                float *const *rows;
                size_t got;
                for (size_t p = 0; p < pieces; p++) assert_ok(qsr_feed_next(feed, NULL, &rows, &got, NULL));
                qsr_feed_free(feed);
                feed = NULL;
                qsr_cursor_seek(s->cursor, (qsr_position){0}); /* the cursor is whole again */
                float first[240 * 2];
                assert_ok(qsr_cursor_next(s->cursor, 240, first, &got, NULL));
                for (size_t r = 0; r < 240; r++) assert_int_equal((uint64_t)first[2 * r], want[r]);
                close_stream(s);
            }
    free(want);
}

/* ---- where the system refuses ------------------------------------------------------------------------------------ */

static void ignore(void *arg, float *const *rows, size_t n) { (void)arg, (void)rows, (void)n; }

/* The n-th thread or block is refused while the feed is made, of a cursor that has its first window in memory or has none. Whether it was
 * made all the same; *ret_refused: there was an n-th. */
static bool make_unkindly(stream *s, size_t thread, size_t block, bool sampled, qsr_feed **ret, bool *ret_refused)
{
    qsr_error e = {0};
    if (sampled) assert_ok(qsr_cursor_sample(s->cursor, 10, ignore, NULL, NULL));
    refused_thread = thread;
    refused_block = block;
    const qsr_status status = qsr_feed_create(s->cursor, &s->data, 20, 450, true, ret, &e);
    *ret_refused = !refused_thread && !refused_block;
    refused_thread = refused_block = 0;
    assert_int_equal(status, status ? QSR_E_NOMEM : QSR_OK);
    return !status;
}

/* How many refusals there are to a feed of this shape; after each the rows are those of the cursor. */
static size_t refuse_each(size_t shape, unsigned threads, bool computes, bool sampled, bool blocks, const uint64_t *want)
{
    bool refused = true;
    size_t n = 0;
    while (refused) {
        stream *s = open_feedable(shapes[shape].dataset, shapes[shape].eval, threads, computes);
        qsr_feed *feed;
        n++;
        if (!make_unkindly(s, blocks ? 0 : n, blocks ? n : 0, sampled, &feed, &refused)) feed = feed_of(s, 20, 450, false);
        same_rows(feed, 20, want, 450);
        qsr_feed_free(feed);
        close_stream(s);
    }
    return n - 1;
}

static void without_a_thread_or_memory_rows_are_read_in_turn(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        uint64_t reads, *want = take(shapes[i].dataset, shapes[i].eval, 0, 450, &reads);
        for (int sampled = 0; sampled < 2; sampled++) {
            for (unsigned threads = 1; threads <= 3; threads++)
                assert_int_equal(refuse_each(i, threads, false, sampled, false, want), threads); /* a pool's, and the feed's own */
            assert_int_equal(refuse_each(i, 2, true, sampled, false, want), 1);
            const bool rolls = strstr(shapes[i].dataset, "rows_per_unit") && !strstr(shapes[i].dataset, "buffer: 1000");
            assert_true(refuse_each(i, 2, false, sampled, true, want) >= (rolls ? 3 : 0) + 2);
        }
        free(want);
    }
}

static int end(void **state)
{
    (void)state;
    bench_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_cursor),         cmocka_unit_test(the_next_read_begins_meanwhile),
        cmocka_unit_test(rows_of_their_own_are_read_meanwhile), cmocka_unit_test(an_error_waits_for_its_place),
        cmocka_unit_test(whoever_wants_to_stop_does_not_wait),  cmocka_unit_test(a_feed_can_be_given_up_at_any_moment),
        cmocka_unit_test(a_mask_that_cannot_be_had_is_not_asked_for_again_and_again),
        cmocka_unit_test(without_a_thread_or_memory_rows_are_read_in_turn),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}

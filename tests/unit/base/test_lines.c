/* Lines: their ends, what is in them, how long they may be. */
#include <sys/stat.h>

#include "../unit.h"
#include "base/fs.h"
#include "base/lines.h"

static qsr_arena names;

static const char *file_of(const char *bytes, size_t n)
{
    const char *path = qsr_path_join(&names, test_folder(), "lines");
    assert_int_equal(qsr_write_file(path, bytes, n, NULL), QSR_OK);
    return path;
}

static void ends_are_taken_off(void **state)
{
    (void)state;
    static const char bytes[] = "one\r\n\n\r\nt\0w\ro\nlast\r";
    static const struct {
        const char *text;
        size_t length;
    } wanted[] = {{"one", 3}, {"", 0}, {"", 0}, {"t\0w\ro", 5}, {"last", 4}};
    qsr_lines l;
    assert_int_equal(qsr_lines_open(&l, file_of(bytes, sizeof bytes - 1), 100, NULL), QSR_OK);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(qsr_lines_next(&l, NULL), QSR_OK);
        assert_int_equal(l.length, wanted[i].length);
        assert_memory_equal(l.text, wanted[i].text, wanted[i].length + 1);
        assert_int_equal(l.number, i + 1);
        assert_int_equal(l.torn, i == 4);
    }
    assert_int_equal(qsr_lines_next(&l, NULL), QSR_END);
    qsr_lines_close(&l);
}

static void an_end_at_the_end_is_no_line(void **state)
{
    (void)state;
    qsr_lines l;
    assert_int_equal(qsr_lines_open(&l, file_of("x\n", 2), 1, NULL), QSR_OK);
    assert_int_equal(qsr_lines_next(&l, NULL), QSR_OK);
    assert_false(l.torn);
    assert_int_equal(qsr_lines_next(&l, NULL), QSR_END);
    qsr_lines_close(&l);
    assert_int_equal(qsr_lines_open(&l, file_of("", 0), 1, NULL), QSR_OK);
    assert_int_equal(qsr_lines_next(&l, NULL), QSR_END);
    qsr_lines_close(&l);
}

/* Around the capacity that the buffer begins with and doubles to: a line of n bytes with room for as many, and for one less. */
static void lines_may_be_as_long_as_was_said(void **state)
{
    (void)state;
    static const size_t lengths[] = {1, 2, 4094, 4095, 4096, 4097, 8191, 8192, 100000};
    static const char *const ends[] = {"\n", "\r\n", ""};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t k = 0; k < 3; k++) {
            const size_t n = lengths[i], bytes = n + strlen(ends[k]);
            char *text = malloc(bytes + 1);
            memset(text, 'x', n);
            strcpy(text + n, ends[k]);
            const char *path = file_of(text, bytes);
            qsr_lines l;
            qsr_error e = {0};
            assert_int_equal(qsr_lines_open(&l, path, n, NULL), QSR_OK);
            if (qsr_lines_next(&l, &e)) fail_msg("%zu bytes: %s", n, e.text);
            assert_int_equal(l.length, n);
            assert_int_equal(strlen(l.text), n);
            qsr_lines_close(&l);
            assert_int_equal(qsr_lines_open(&l, path, n - 1, NULL), QSR_OK);
            assert_int_equal(qsr_lines_next(&l, &e), QSR_E_INPUT);
            assert_string_equal(e.text, qsr_arena_printf(&names, "%s:1: the line is longer than %zu bytes", path, n - 1));
            qsr_lines_close(&l);
            free(text);
        }
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    qsr_lines l;
    qsr_error e = {0};
    const char *pipe = qsr_path_join(&names, test_folder(), "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    const char *const paths[] = {test_folder(), pipe};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(qsr_lines_open(&l, paths[i], 9, &e), QSR_E_INPUT);
        assert_string_equal(e.text, qsr_arena_printf(&names, "cannot read %s: it is not a file", paths[i]));
        qsr_lines_close(&l);
    }
    assert_int_equal(qsr_lines_open(&l, "/nowhere/at/all", 9, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "cannot read /nowhere/at/all: No such file or directory");
    qsr_lines_close(&l);
}

static int clean(void **state)
{
    (void)state;
    qsr_arena_free(&names);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_taken_off),
        cmocka_unit_test(an_end_at_the_end_is_no_line),
        cmocka_unit_test(lines_may_be_as_long_as_was_said),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

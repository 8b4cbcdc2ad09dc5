/* Files: whole or not at all, on a full disk too; folders, paths, digests. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit.h"
#include "base/fs.h"

static qsr_arena names;

static const char *in_folder(const char *name) { return qsr_path_join(&names, test_folder(), name); }

static const char *text_of(const char *name)
{
    char *text = NULL;
    assert_int_equal(qsr_read_file(&names, in_folder(name), 1 << 20, &text, NULL, NULL), QSR_OK);
    return text;
}

/* How many names the folder holds, so that forgotten files aside are seen. */
static size_t entries(const char *folder)
{
    char command[600];
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *out = popen(command, "r");
    size_t n = 0;
    assert_int_equal(fscanf(out, "%zu", &n), 1);
    pclose(out);
    return n;
}

static void assert_error(const qsr_error *e, const char *fmt, const char *path)
{
    char expected[1024];
    snprintf(expected, sizeof expected, fmt, path);
    assert_string_equal(e->text, expected);
}

static void files_are_written_and_replaced(void **state)
{
    (void)state;
    size_t before = entries(test_folder());
    assert_int_equal(qsr_write_file(in_folder("a"), "one", 3, NULL), QSR_OK);
    assert_string_equal(text_of("a"), "one");
    assert_int_equal(qsr_write_file(in_folder("a"), "", 0, NULL), QSR_OK);
    assert_string_equal(text_of("a"), "");
    assert_int_equal(entries(test_folder()), before + 1);
}

static void a_file_appears_only_with_commit(void **state)
{
    (void)state;
    qsr_writer w;
    size_t before = entries(test_folder());
    assert_int_equal(qsr_writer_open(&w, in_folder("b"), NULL), QSR_OK);
    assert_int_equal(qsr_writer_put(&w, "half", 4, NULL), QSR_OK);
    assert_false(qsr_exists(in_folder("b")));
    qsr_writer_abort(&w);
    assert_int_equal(entries(test_folder()), before);
    qsr_writer_abort(&w);
    qsr_writer_abort(&(qsr_writer){.fd = -1});
    assert_int_equal(qsr_writer_open(&w, in_folder("b"), NULL), QSR_OK);
    assert_int_equal(qsr_writer_put(&w, "half ", 5, NULL), QSR_OK);
    assert_int_equal(qsr_writer_put(&w, "and half", 8, NULL), QSR_OK);
    assert_int_equal(qsr_writer_commit(&w, NULL), QSR_OK);
    assert_string_equal(text_of("b"), "half and half");
    qsr_writer_abort(&w);
    assert_true(qsr_exists(in_folder("b")));
}

static void a_failing_write_leaves_the_old_file_and_nothing_else(void **state)
{
    (void)state;
    qsr_error e = {0};
    assert_int_equal(qsr_write_file(in_folder("missing/c"), "x", 1, &e), QSR_E_IO);
    assert_error(&e, "cannot write %s: No such file or directory", in_folder("missing/c"));

    assert_int_equal(qsr_mkdirs(in_folder("taken/inside"), NULL), QSR_OK);
    assert_int_equal(qsr_write_file(in_folder("taken"), "x", 1, &e), QSR_E_IO);
    assert_error(&e, "cannot write %s: Is a directory", in_folder("taken"));
    assert_true(qsr_is_folder(in_folder("taken/inside")));

    /* A disk that is full, played by a limit on the size of files. */
    static char big[100000];
    struct rlimit old, small = {.rlim_cur = 50000};
    assert_int_equal(qsr_write_file(in_folder("d"), "old", 3, NULL), QSR_OK);
    size_t before = entries(test_folder());
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    qsr_status status = qsr_write_file(in_folder("d"), big, sizeof big, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, QSR_E_IO);
    assert_error(&e, "cannot write %s: File too large", in_folder("d"));
    assert_string_equal(text_of("d"), "old");
    assert_int_equal(entries(test_folder()), before);
}

static void maps_show_files_and_nothing_else(void **state)
{
    (void)state;
    qsr_map map = {0};
    qsr_error e = {0};
    assert_int_equal(qsr_write_file(in_folder("e"), "mapped", 6, NULL), QSR_OK);
    assert_int_equal(qsr_map_open(in_folder("e"), &map, NULL), QSR_OK);
    assert_int_equal(map.size, 6);
    assert_memory_equal(map.bytes, "mapped", 6);
    qsr_map_close(&map);
    assert_null(map.bytes);
    qsr_map_close(&map);
    assert_int_equal(qsr_write_file(in_folder("e"), "", 0, NULL), QSR_OK);
    assert_int_equal(qsr_map_open(in_folder("e"), &map, NULL), QSR_OK);
    assert_true(map.size == 0 && !map.bytes);
    qsr_map_close(&map);
    assert_int_equal(qsr_map_open(in_folder("none"), &map, &e), QSR_E_INPUT);
    assert_error(&e, "cannot read %s: No such file or directory", in_folder("none"));
    assert_int_equal(qsr_map_open(test_folder(), &map, &e), QSR_E_INPUT);
    assert_error(&e, "cannot read %s: it is a folder, not a file", test_folder());
    assert_int_equal(qsr_map_open("/dev/null", &map, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "cannot read /dev/null: it is a special file, not a file");
}

/* Opening a pipe that nobody writes to would wait for ever. */
static void pipes_are_refused_without_waiting(void **state)
{
    (void)state;
    qsr_map map = {0};
    qsr_error e = {0};
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(qsr_map_open(in_folder("pipe"), &map, &e), QSR_E_INPUT);
    assert_error(&e, "cannot read %s: it is a special file, not a file", in_folder("pipe"));
}

static void unreadable_files_say_so(void **state)
{
    (void)state;
    uid_t user = geteuid();
    qsr_map map = {0};
    qsr_error e = {0};
    assert_int_equal(qsr_write_file(in_folder("secret"), "x", 1, NULL), QSR_OK);
    assert_int_equal(chmod(in_folder("secret"), 0), 0);
    if (user == 0) assert_int_equal(seteuid(65534), 0); /* nothing is forbidden to root: be nobody meanwhile */
    qsr_status status = qsr_map_open(in_folder("secret"), &map, &e);
    assert_int_equal(seteuid(user), 0);
    assert_int_equal(status, QSR_E_INPUT);
    assert_error(&e, "cannot read %s: Permission denied", in_folder("secret"));
}

static void reading_has_a_limit(void **state)
{
    (void)state;
    qsr_error e = {0};
    char *text;
    size_t size;
    assert_int_equal(qsr_write_file(in_folder("f"), "12345", 5, NULL), QSR_OK);
    assert_int_equal(qsr_read_file(&names, in_folder("f"), 5, &text, &size, NULL), QSR_OK);
    assert_int_equal(size, 5);
    assert_string_equal(text, "12345");
    assert_int_equal(qsr_read_file(&names, in_folder("f"), 4, &text, &size, &e), QSR_E_INPUT);
    assert_error(&e, "%s is too large: 5 B, the limit is 4 B", in_folder("f"));
}

static void folders_are_made_replaced_and_removed(void **state)
{
    (void)state;
    qsr_error e = {0};
    assert_int_equal(qsr_mkdirs(in_folder("x/y/z"), NULL), QSR_OK);
    assert_int_equal(qsr_mkdirs(in_folder("x/y/z/"), NULL), QSR_OK);
    assert_true(qsr_is_folder(in_folder("x/y/z")));
    assert_int_equal(qsr_write_file(in_folder("x/file"), "x", 1, NULL), QSR_OK);
    assert_false(qsr_is_folder(in_folder("x/file")));
    assert_int_equal(qsr_mkdirs(in_folder("x/file/deeper"), &e), QSR_E_IO);
    assert_error(&e, "cannot create folder %s: there is a file of that name", in_folder("x/file"));

    assert_int_equal(qsr_mkdirs(in_folder("new"), NULL), QSR_OK);
    assert_int_equal(qsr_write_file(in_folder("new/only"), "1", 1, NULL), QSR_OK);
    assert_int_equal(qsr_replace_folder(in_folder("new"), in_folder("x"), NULL), QSR_OK); /* which is not empty */
    assert_true(qsr_exists(in_folder("x/only")) && !qsr_exists(in_folder("x/file")) && !qsr_exists(in_folder("new")));
    assert_int_equal(qsr_replace_folder(in_folder("new"), in_folder("x"), &e), QSR_E_IO); /* nothing to put there */
    assert_true(qsr_exists(in_folder("x/only")));

    assert_int_equal(symlink(in_folder("a"), in_folder("x/link")), 0);
    assert_int_equal(qsr_write_file(in_folder("a"), "kept", 4, NULL), QSR_OK);
    assert_int_equal(qsr_remove_tree(in_folder("x"), NULL), QSR_OK);
    assert_false(qsr_exists(in_folder("x")));
    assert_string_equal(text_of("a"), "kept"); /* links are removed, not followed */
    assert_int_equal(qsr_remove_tree(in_folder("x"), NULL), QSR_OK);
}

static void paths_are_taken_apart_and_joined(void **state)
{
    (void)state;
    assert_string_equal(qsr_path_base("a/b.yaml"), "b.yaml");
    assert_string_equal(qsr_path_base("b.yaml"), "b.yaml");
    assert_string_equal(qsr_path_folder(&names, "a/b/c"), "a/b");
    assert_string_equal(qsr_path_folder(&names, "c"), ".");
    assert_string_equal(qsr_path_folder(&names, "/c"), "/");
    assert_string_equal(qsr_path_join(&names, "a", "b"), "a/b");
    assert_string_equal(qsr_path_join(&names, "a/", "b"), "a/b");
    assert_string_equal(qsr_path_join(&names, "a", "/b"), "/b");
    assert_string_equal(qsr_path_join(&names, ".", "b"), "b");
    assert_string_equal(qsr_path_join(&names, "", "b"), "b");
    assert_string_equal(qsr_path_absolute(&names, "/nonexistent/x"), "/nonexistent/x");
    assert_int_equal(qsr_path_absolute(&names, "nonexistent")[0], '/');
    assert_true(qsr_exists(test_folder()) && !qsr_exists("/nonexistent/x"));
}

/* https://github.com/Cyan4973/xxHash, XXH3 with seed 0: the empty input's published values. */
static void digests_are_those_of_xxhash(void **state)
{
    (void)state;
    qsr_digest digest;
    assert_string_equal(qsr_digest_bytes("", 0).hex, "99aa06d3014798d86001c324468d497f");
    assert_true(qsr_checksum("", 0) == 0x2d06800538d394c2u);
    assert_int_equal(qsr_write_file(in_folder("g"), "quasar", 6, NULL), QSR_OK);
    assert_int_equal(qsr_digest_file(in_folder("g"), &digest, NULL), QSR_OK);
    assert_string_equal(digest.hex, qsr_digest_bytes("quasar", 6).hex);
    assert_string_not_equal(digest.hex, qsr_digest_bytes("quasaR", 6).hex);
    assert_int_equal(qsr_digest_file(in_folder("none"), &digest, NULL), QSR_E_INPUT);
}

static int clean(void **state)
{
    (void)state;
    qsr_arena_free(&names);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_written_and_replaced),
        cmocka_unit_test(a_file_appears_only_with_commit),
        cmocka_unit_test(a_failing_write_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(maps_show_files_and_nothing_else),
        cmocka_unit_test(pipes_are_refused_without_waiting),
        cmocka_unit_test(unreadable_files_say_so),
        cmocka_unit_test(reading_has_a_limit),
        cmocka_unit_test(folders_are_made_replaced_and_removed),
        cmocka_unit_test(paths_are_taken_apart_and_joined),
        cmocka_unit_test(digests_are_those_of_xxhash),
    };
    return cmocka_run_group_tests_name("fs", tests, NULL, clean);
}

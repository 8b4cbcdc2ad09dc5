/* Memory that dies together: zeroed, aligned, of any size; and what happens when the system has none. */
#include <sys/wait.h>
#include <unistd.h>

#include "../unit.h"
#include "base/arena.h"

static bool all_zero(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return false;
    return true;
}

static void allocations_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    unsigned char *kept[200];
    for (size_t i = 0; i < 200; i++) {
        size_t n = i * i * 3; /* from 0 to far beyond one chunk */
        kept[i] = qsr_arena_alloc(&arena, n, 1);
        assert_non_null(kept[i]);
        assert_int_equal((uintptr_t)kept[i] % 16, 0);
        assert_true(all_zero(kept[i], n));
        memset(kept[i], (int)i, n);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * i * 3; j++) assert_int_equal(kept[i][j], i);
    qsr_arena_free(&arena);
    assert_null(arena.chunks);
    assert_string_equal(qsr_arena_strdup(&arena, "usable again"), "usable again");
    qsr_arena_free(&arena);
    qsr_arena_free(&arena);
}

static void texts_are_copied(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char text[] = "changes later";
    char *copy = qsr_arena_strdup(&arena, text), *part = qsr_arena_strndup(&arena, text, 7);
    text[0] = 'X';
    assert_string_equal(copy, "changes later");
    assert_string_equal(part, "changes");
    assert_string_equal(qsr_arena_strdup(&arena, ""), "");
    assert_string_equal(qsr_arena_printf(&arena, "%s=%d", "k", 32), "k=32");
    assert_string_equal(qsr_arena_printf(&arena, "%s", ""), "");
    char *longer = qsr_arena_printf(&arena, "%050000d", 7);
    assert_int_equal(strlen(longer), 50000);
    qsr_arena_free(&arena);
}

static void blocks_are_aligned_and_may_be_refused(void **state)
{
    (void)state;
    for (size_t n = 0; n < 300; n += 37) {
        unsigned char *zeroed = qsr_block_alloc(n, 3), *raw = qsr_block_raw(n, 3);
        assert_true(zeroed && raw && (uintptr_t)zeroed % 64 == 0 && (uintptr_t)raw % 64 == 0);
        assert_true(all_zero(zeroed, n * 3));
        memset(raw, 1, n * 3);
        qsr_block_free(zeroed);
        qsr_block_free(raw);
    }
    volatile size_t most = SIZE_MAX; /* so that the compiler does not see, and warn of, what is asked for */
    assert_null(qsr_block_alloc(most, 2));
    assert_null(qsr_block_raw(most / 2 + 1, 2));
    assert_null(qsr_block_raw(most, 1));
    qsr_block_free(NULL);
}

/* Runs the body in a child and expects "quasar: out of memory" on its stderr and exit code 2. */
static void assert_stops(void (*body)(void))
{
    int ends[2];
    char text[256] = "";
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(n > 0);
    assert_string_equal(text, "quasar: out of memory\n");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
}

static volatile size_t most = SIZE_MAX;
static void overflow_in_arena(void)
{
    qsr_arena arena = {0};
    qsr_arena_alloc(&arena, most / 2, 3);
}
static void too_much_for_arena(void)
{
    qsr_arena arena = {0};
    qsr_arena_alloc(&arena, most, 1);
}
static void overflow_in_realloc(void) { free(qsr_xrealloc(NULL, most, 2)); }

static void small_memory_never_fails_but_stops_with_a_line(void **state)
{
    (void)state;
    assert_stops(overflow_in_arena);
    assert_stops(too_much_for_arena);
    assert_stops(overflow_in_realloc);
    free(qsr_xcalloc(0, 0)); /* nothing is something */
    char *p = qsr_xrealloc(qsr_xcalloc(2, 1), 0, 4);
    assert_non_null(p);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_zeroed_aligned_and_apart),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(blocks_are_aligned_and_may_be_refused),
        cmocka_unit_test(small_memory_never_fails_but_stops_with_a_line),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}

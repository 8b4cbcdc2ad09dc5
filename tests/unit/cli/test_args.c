/* cli/args: options by a table, operands, overrides, and what is refused. */
#include "../unit.h"

#include "cli/args.h"

static const qsr_arg_option table[] = {
    {"out", "DIR", "where"}, {"threads", "N", "how many"}, {"quiet", NULL, "less"}, {"plugin-dir", "DIR", "more"}, {0}};

static qsr_args parse(qsr_args_mode mode, const char *const *words)
{
    qsr_args args;
    qsr_error e = {0};
    int argc = 0;
    while (words[argc]) argc++;
    assert_int_equal(qsr_args_parse(argc, (char *const *)(uintptr_t)words, table, mode, &args, &e), QSR_OK);
    return args;
}
#define PARSE(mode_, ...) parse(mode_, (const char *const[]){__VA_ARGS__, NULL})

static void takes_options_in_both_spellings(void **state)
{
    (void)state;
    qsr_args args = PARSE(QSR_ARGS_PLAIN, "a", "--out", "x", "b", "--threads=3", "--quiet");
    assert_int_equal(args.n_words, 2);
    assert_string_equal(args.words[1], "b");
    assert_null(args.words[2]);
    assert_string_equal(qsr_args_value(&args, "out"), "x");
    assert_string_equal(qsr_args_value(&args, "threads"), "3");
    assert_true(qsr_args_has(&args, "quiet"));
    assert_false(qsr_args_has(&args, "plugin-dir"));
    assert_false(args.help);
    qsr_args_free(&args);
}

static void keeps_repeated_values_in_order_and_prefers_the_last(void **state)
{
    (void)state;
    qsr_args args = PARSE(QSR_ARGS_PLAIN, "--plugin-dir", "a", "--plugin-dir=b", "--out", "x", "--out=y=z");
    const char *const *folders = qsr_args_values(&args, "plugin-dir");
    assert_string_equal(folders[0], "a");
    assert_string_equal(folders[1], "b");
    assert_null(folders[2]);
    assert_string_equal(qsr_args_value(&args, "out"), "y=z");
    qsr_args_free(&args);
}

static void keeps_what_is_for_another_program(void **state)
{
    (void)state;
    qsr_args args = PARSE(QSR_ARGS_KEEP_REST, "spec.yaml", "seed=7", "--quiet", "--", "--time=5", "-p", "--", "k=1");
    assert_int_equal(args.n_words, 1);
    assert_int_equal(args.n_overrides, 1);
    assert_int_equal(args.n_rest, 4);
    assert_string_equal(args.rest[0], "--time=5");
    assert_string_equal(args.rest[2], "--");
    assert_string_equal(args.rest[3], "k=1");
    assert_null(args.rest[4]);
    qsr_args_free(&args);
}

static void splits_overrides_from_operands(void **state)
{
    (void)state;
    qsr_args args = PARSE(QSR_ARGS_SPLIT_OVERRIDES, "dir/a=b.yaml", "seed=7", "losses.auxk=off", "=x", "--", "--quiet", "k=1");
    assert_int_equal(args.n_words, 3);
    assert_string_equal(args.words[0], "dir/a=b.yaml");
    assert_string_equal(args.words[1], "=x");
    assert_string_equal(args.words[2], "--quiet");
    assert_int_equal(args.n_overrides, 3);
    assert_string_equal(args.overrides[2], "k=1");
    assert_null(args.overrides[3]);
    qsr_args_free(&args);
    args = PARSE(QSR_ARGS_PLAIN, "seed=7", "-");
    assert_int_equal(args.n_words, 2);
    assert_int_equal(args.n_overrides, 0);
    qsr_args_free(&args);
}

static void sees_help_anywhere(void **state)
{
    (void)state;
    qsr_args args = PARSE(QSR_ARGS_PLAIN, "a", "-h");
    assert_true(args.help);
    qsr_args_free(&args);
    args = PARSE(QSR_ARGS_PLAIN, "--help", "a");
    assert_true(args.help);
    qsr_args_free(&args);
    args = PARSE(QSR_ARGS_PLAIN, "--", "--help");
    assert_false(args.help);
    qsr_args_free(&args);
}

static void refuses_what_the_table_lacks(void **state)
{
    (void)state;
    static const struct {
        const char *word, *text;
    } cases[] = {{"--thread", "unknown option '--thread'; did you mean '--threads'?"},
                 {"--hlep", "unknown option '--hlep'; did you mean '--help'?"},
                 {"--entirely-else=4", "unknown option '--entirely-else'"},
                 {"-v", "unknown option '-v'"},
                 {"--out", "--out needs a value: --out DIR"},
                 {"--out=", "--out has an empty value; it takes DIR"},
                 {"--quiet=1", "--quiet takes no value"},
                 {"--help=1", "--help takes no value"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_args args;
        qsr_error e = {0};
        char *argv[] = {(char *)(uintptr_t)cases[i].word};
        assert_int_equal(qsr_args_parse(1, argv, table, QSR_ARGS_PLAIN, &args, &e), QSR_E_OPTION);
        assert_string_equal(e.text, cases[i].text);
    }
}

static void reads_counts_within_their_limits(void **state)
{
    (void)state;
    qsr_error e = {0};
    unsigned n;
    qsr_args args = PARSE(QSR_ARGS_PLAIN, "--threads", "12");
    assert_int_equal(qsr_args_count(&args, "threads", 1, 16, 0, &n, &e), QSR_OK);
    assert_int_equal(n, 12);
    assert_int_equal(qsr_args_count(&args, "threads", 1, 8, 0, &n, &e), QSR_E_OPTION);
    assert_string_equal(e.text, "--threads is '12', but must be a whole number from 1 to 8");
    assert_int_equal(qsr_args_count(&args, "out", 1, 8, 5, &n, &e), QSR_OK);
    assert_int_equal(n, 5);
    qsr_args_free(&args);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_options_in_both_spellings),
        cmocka_unit_test(keeps_repeated_values_in_order_and_prefers_the_last),
        cmocka_unit_test(keeps_what_is_for_another_program),
        cmocka_unit_test(splits_overrides_from_operands),
        cmocka_unit_test(sees_help_anywhere),
        cmocka_unit_test(refuses_what_the_table_lacks),
        cmocka_unit_test(reads_counts_within_their_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

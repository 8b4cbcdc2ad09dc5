#include "../unit.h"
#include "spec/experiment.h"
#include "spec/option.h"

struct values {
    int64_t whole;
    uint64_t natural;
    double real;
    bool flag;
    const char *word, *file;
    qsr_strings list;
};
static const char *const words[] = {"plain", "decoder", NULL};
static const qsr_option rows[] = {
    QSR_OPT(struct values, whole, .help = "h", .flags = QSR_OPT_RANGE, .min = -3, .max = 9007199254740992.0,
            .def = "1_000"),
    QSR_OPT(struct values, natural, .help = "h", .def = "7"),
    QSR_OPT(struct values, real, .help = "h", .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN, .min = 0, .max = 1, .def = "1/32"),
    QSR_OPT(struct values, flag, .help = "h", .def = "true"),
    QSR_OPT(struct values, word, .help = "h", .choices = words, .def = "plain"),
    QSR_OPT(struct values, file, .help = "h", .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT_NAMED(struct values, list, "shards.of.it", .alias = "shards", .help = "h",
                  .flags = QSR_OPT_REQUIRED | QSR_OPT_PATH),
};
static const qsr_option_table table = {rows, sizeof rows / sizeof rows[0], sizeof rows[0]};

static struct values values;
static qsr_arena arena;

static qsr_status store(const char *name, const char *text, qsr_error *e)
{
    return qsr_option_store(qsr_option_find(&table, name, NULL), &text, 1, "folder", &arena, &values, NULL, e);
}

static void assert_refused(const char *name, const char *text, const char *message)
{
    qsr_error e = {0};
    struct values before = values;
    assert_int_equal(store(name, text, &e), QSR_E_OPTION);
    assert_string_equal(e.text, message);
    assert_memory_equal(&before, &values, sizeof values);
}

static void reads_values_of_every_type(void **state)
{
    const char *two[] = {"a", "/b"};
    qsr_error e = {0};
    (void)state;
    assert_int_equal(store("whole", "-3", &e), QSR_OK);
    assert_int_equal(values.whole, -3);
    assert_int_equal(store("whole", "9_007_199_254_740_992", &e), QSR_OK);
    assert_true(values.whole == INT64_C(9007199254740992));
    assert_int_equal(store("natural", "18446744073709551615", &e), QSR_OK);
    assert_true(values.natural == UINT64_MAX);
    assert_int_equal(store("real", "1/3", &e), QSR_OK);
    assert_true(values.real == 1.0 / 3.0);
    assert_int_equal(store("flag", "false", &e), QSR_OK);
    assert_false(values.flag);
    assert_int_equal(store("word", "decoder", &e), QSR_OK);
    assert_string_equal(values.word, "decoder");
    assert_int_equal(store("file", "x/y", &e), QSR_OK);
    assert_string_equal(values.file, "folder/x/y");
    assert_int_equal(store("shards", "z", &e), QSR_OK);
    assert_int_equal(values.list.count, 1);
    assert_int_equal(qsr_option_store(&rows[6], two, 2, "folder", &arena, &values, NULL, &e), QSR_OK);
    assert_int_equal(values.list.count, 2);
    assert_string_equal(values.list.items[0], "folder/a");
    assert_string_equal(values.list.items[1], "/b");
}

static void refuses_with_value_and_limit(void **state)
{
    (void)state;
    assert_refused("whole", "-4", "-4 is below the minimum -3");
    assert_refused("whole", "9007199254740993", "9007199254740993 is above the maximum 9007199254740992");
    assert_refused("whole", "1.5", "'1.5' is not an integer");
    assert_refused("whole", "12_", "'12_' is not an integer");
    assert_refused("natural", "-1", "'-1' is negative: only integers from 0 are possible");
    assert_refused("natural", "18446744073709551616", "'18446744073709551616' does not fit into 64 bits");
    assert_refused("real", "0", "0 is not above 0");
    assert_refused("real", "33/32", "33/32 is above the maximum 1");
    assert_refused("real", "nan", "'nan' is not a finite number");
    assert_refused("real", "1e999", "'1e999' is not a finite number");
    assert_refused("flag", "True", "'True' is neither true nor false");
    assert_refused("word", "encoder", "'encoder' is not one of plain, decoder");
    assert_refused("file", "", "an empty path");
}

static void defaults_go_through_the_parser(void **state)
{
    qsr_error e = {0};
    (void)state;
    memset(&values, 0xff, sizeof values);
    for (size_t i = 0; i + 1 < table.count; i++)
        assert_int_equal(qsr_option_default(&rows[i], &arena, &values, &e), QSR_OK);
    assert_int_equal(values.whole, 1000);
    assert_true(values.real == 0.03125);
    assert_true(values.flag);
    assert_null(values.file);
    qsr_option wrong = rows[0];
    wrong.def = "-9";
    assert_int_equal(qsr_option_default(&wrong, &arena, &values, &e), QSR_E_OPTION);
}

static void texts_read_back_to_the_same_value(void **state)
{
    static const char *const reals[] = {"0.1", "1/3", "2e-300", "0.9999999999999999", "1"};
    const char *const *texts;
    qsr_error e = {0};
    (void)state;
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
        assert_int_equal(store("real", reals[i], &e), QSR_OK);
        double before = values.real;
        assert_int_equal(qsr_option_texts(&rows[2], &values, &arena, &texts), 1);
        assert_int_equal(store("real", texts[0], &e), QSR_OK);
        assert_true(values.real == before);
    }
    values.file = NULL;
    assert_int_equal(qsr_option_texts(&rows[5], &values, &arena, &texts), 0);
    values.natural = UINT64_MAX;
    assert_int_equal(qsr_option_texts(&rows[1], &values, &arena, &texts), 1);
    assert_string_equal(texts[0], "18446744073709551615");
}

static void numbers_of_schedules_are_rounded_and_bounded(void **state)
{
    (void)state;
    qsr_option_set_real(&rows[0], &values, 2.5);
    assert_int_equal(values.whole, 3);
    qsr_option_set_real(&rows[0], &values, 1e300);
    assert_true(values.whole == INT64_MAX);
    qsr_option_set_real(&rows[1], &values, -1);
    assert_int_equal(values.natural, 0);
    assert_true(qsr_option_real(&rows[1], &values) == 0);
}

/* ---- lint ------------------------------------------------------------------------------------------------------------ */

/* The only complaint about a table of two sound rows of which the second was changed. */
static void assert_complaint(qsr_option changed, const char *complaint)
{
    qsr_option two[] = {rows[0], changed};
    qsr_option_table small = {two, 2, sizeof two[0]};
    static const char *const reserved[] = {"plugin", NULL};
    qsr_text out = {0};
    size_t n = qsr_options_lint(&small, sizeof(struct values), reserved, &out);
    if (n != 1 || strcmp(out.bytes, complaint) != 0)
        fail_msg("%zu complaints:\n%sinstead of\n%s", n, out.bytes ? out.bytes : "", complaint);
    qsr_text_free(&out);
}

#define CHANGED(index_, ...)                                                                                               \
    do {                                                                                                                   \
        o = rows[index_];                                                                                                  \
        __VA_ARGS__;                                                                                                       \
    } while (0)

static void lint_finds_every_fault(void **state)
{
    qsr_option o;
    (void)state;
    CHANGED(1, o.name = "Natural");
    assert_complaint(o, "option Natural: its name must be made of words of a-z, 0-9 and _, joined by dots\n");
    CHANGED(1, o.name = "a..b");
    assert_complaint(o, "option a..b: its name must be made of words of a-z, 0-9 and _, joined by dots\n");
    CHANGED(1, o.alias = "7up");
    assert_complaint(o, "option natural: its alias is no good name: 7up\n");
    CHANGED(1, o.help = NULL);
    assert_complaint(o, "option natural: it has no help\n");
    CHANGED(1, o.name = "plugin");
    assert_complaint(o, "option plugin: the host reads this key itself\n");
    CHANGED(1, o.alias = "plugin");
    assert_complaint(o, "option natural: the host reads its alias itself: plugin\n");
    CHANGED(1, o.type = 99);
    assert_complaint(o, "option natural: it has an unknown type\n");
    CHANGED(1, o.size = 4);
    assert_complaint(o, "option natural: the size of its field is not that of its type\n");
    CHANGED(1, o.offset = sizeof(struct values));
    assert_complaint(o, "option natural: its field lies outside the options struct\n");
    CHANGED(1, o.offset = SIZE_MAX);
    assert_complaint(o, "option natural: its field lies outside the options struct\n");
    CHANGED(1, o.offset += 4);
    assert_complaint(o, "option natural: its field is not aligned\n");
    CHANGED(1, o.offset = rows[0].offset);
    assert_complaint(o, "option natural: its field overlaps that of option whole\n");
    CHANGED(1, o.name = "whole");
    assert_complaint(o, "option whole: its name or alias collides with option whole\n");
    CHANGED(1, o.alias = "whole.part");
    assert_complaint(o, "option natural: its name or alias collides with option whole\n");
    CHANGED(1, o.flags = QSR_OPT_REQUIRED);
    assert_complaint(o, "option natural: REQUIRED and OPTIONAL have no default, but it has 7\n");
    CHANGED(1, o.flags = QSR_OPT_REQUIRED | QSR_OPT_OPTIONAL; o.def = NULL);
    assert_complaint(o, "option natural: it cannot be both REQUIRED and OPTIONAL\n");
    CHANGED(1, o.def = NULL);
    assert_complaint(o, "option natural: without a default it must be REQUIRED or OPTIONAL\n");
    CHANGED(1, o.max = 3);
    assert_complaint(o, "option natural: it has limits but not the flag RANGE\n");
    CHANGED(1, o.def = "-7");
    assert_complaint(o, "option natural: its default is refused: '-7' is negative: only integers from 0 are possible\n");
    CHANGED(2, o.min = 2);
    qsr_text out = {0};
    qsr_option_table one = {&o, 1, sizeof o};
    assert_int_equal(qsr_options_lint(&one, sizeof(struct values), NULL, &out), 2);
    assert_string_equal(out.bytes, "option real: its range is empty: min is above max\n"
                                   "option real: its default is refused: 1/32 is not above 2\n");
    qsr_text_free(&out);
    CHANGED(3, o.flags = QSR_OPT_RANGE);
    assert_complaint(o, "option flag: only numbers have a RANGE\n");
    CHANGED(3, o.flags = QSR_OPT_PATH | QSR_OPT_OPTIONAL; o.def = NULL);
    assert_complaint(o, "option flag: only strings can be a PATH\n");
    CHANGED(3, o.flags = QSR_OPT_SCHEDULE);
    assert_complaint(o, "option flag: only numbers can have a SCHEDULE\n");
    CHANGED(3, o.choices = words);
    assert_complaint(o, "option flag: only a STRING has choices\n");
    CHANGED(4, o.flags = QSR_OPT_PATH);
    assert_complaint(o, "option word: a PATH has no default: it would depend on the folder\n");
    CHANGED(4, o.def = "encoder");
    assert_complaint(o, "option word: its default is refused: 'encoder' is not one of plain, decoder\n");
    static const char *const none[] = {NULL};
    CHANGED(4, o.choices = none; o.flags = QSR_OPT_OPTIONAL; o.def = NULL);
    assert_complaint(o, "option word: its list of choices is empty\n");
}

static void sound_tables_have_no_complaints(void **state)
{
    qsr_text out = {0};
    (void)state;
    size_t n = qsr_options_lint(&table, sizeof(struct values), NULL, &out);
    for (unsigned i = 0; i < QSR_PARTS; i++) {
        const qsr_part *part = qsr_experiment_part(i);
        n += qsr_options_lint(&part->options, part->size, NULL, &out);
    }
    if (n) fail_msg("%s", out.bytes);
}

static void dataset_keys_of_the_host_are_reserved(void **state)
{
    const char *const *reserved = qsr_experiment_reserved(QSR_DATASET);
    const qsr_part *part = qsr_experiment_part(QSR_PART_DATASET);
    size_t n = 0;
    (void)state;
    while (reserved[n]) n++;
    assert_int_equal(n, part->options.count + 1); /* and `plugin` */
    for (size_t i = 1; i < n; i++) assert_non_null(qsr_option_find(&part->options, reserved[i], NULL));
}

static void help_tells_all_and_fits(void **state)
{
    static const qsr_option shown[] = {
        QSR_OPT(struct values, whole, .alias = "w",
                .help = "a sentence that is long enough to be wrapped to another line of text", .unit = "rows",
                .cite = "Someone 2024", .min = 1, .max = 5, .def = "2",
                .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MAX | QSR_OPT_SCHEDULE | QSR_OPT_NO_ID),
        QSR_OPT_NAMED(struct values, word, "a.name.that.is.longer", .help = "which", .choices = words,
                      .flags = QSR_OPT_REQUIRED),
    };
    qsr_option_table small = {shown, 2, sizeof shown[0]};
    qsr_text out = {0};
    (void)state;
    qsr_options_help(&small, 80, &out);
    assert_string_equal(out.bytes, "  whole               integer, in rows, from 1 to below 5, default 2, also\n"
                                   "                      called w, or {from, to, over, shape}, not part of a run's\n"
                                   "                      identity\n"
                                   "                      a sentence that is long enough to be wrapped to another\n"
                                   "                      line of text\n"
                                   "                      Source: Someone 2024\n"
                                   "  a.name.that.is.longer\n"
                                   "                      word: plain | decoder, required\n"
                                   "                      which\n");
    qsr_text_free(&out);
    qsr_experiment_help(100, &out);
    for (const char *line = out.bytes; *line; line += strcspn(line, "\n") + 1) assert_true(strcspn(line, "\n") <= 100);
    assert_non_null(strstr(out.bytes, "checkpoint_every"));
    qsr_text_free(&out);
}

static int tear_down(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_values_of_every_type),
        cmocka_unit_test(refuses_with_value_and_limit),
        cmocka_unit_test(defaults_go_through_the_parser),
        cmocka_unit_test(texts_read_back_to_the_same_value),
        cmocka_unit_test(numbers_of_schedules_are_rounded_and_bounded),
        cmocka_unit_test(lint_finds_every_fault),
        cmocka_unit_test(sound_tables_have_no_complaints),
        cmocka_unit_test(dataset_keys_of_the_host_are_reserved),
        cmocka_unit_test(help_tells_all_and_fits),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

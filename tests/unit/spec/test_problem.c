#include "../unit.h"
#include "base/text.h"
#include "spec/problem.h"
#include "spec/utf8.h"

static void assert_written(qsr_problems *problems, const char *expected)
{
    qsr_text out = {0};
    qsr_problems_write(problems, &out);
    assert_string_equal(out.bytes, expected);
    qsr_text_free(&out);
    qsr_problems_free(problems);
}

static void outlives_its_source(void **state)
{
    char *text = strdup("one\n  k: 9\n"), *name = strdup("a.yaml");
    qsr_source source = {name, text, strlen(text), ".", false, 0};
    qsr_problems problems = {0};
    (void)state;
    qsr_problems_add(&problems, (qsr_mark){&source, 2, 6, 7}, "activation.k", NULL, "k=%d exceeds d_sae=%d", 9, 8);
    memset(text, 'x', strlen(text));
    free(text);
    free(name);
    assert_written(&problems, "a.yaml:2:6: activation.k: k=9 exceeds d_sae=8\n    k: 9\n       ^\n");
}

static void orders_by_source_then_place_and_drops_equals(void **state)
{
    static const char text[] = "aaa bbb\nccc\n";
    qsr_source second = {"b", text, sizeof text - 1, ".", false, 1}, first = {"a", text, sizeof text - 1, ".", false, 0};
    qsr_source argument = {"command line", "k=1", 3, ".", true, 64};
    qsr_problems problems = {0};
    (void)state;
    qsr_problems_add(&problems, (qsr_mark){&argument, 1, 3, 4}, "k", NULL, "last");
    qsr_problems_add(&problems, (qsr_mark){&second, 1, 1, 4}, "", NULL, "fourth");
    qsr_problems_add(&problems, (qsr_mark){&first, 0, 0, 0}, "x", NULL, "third: nowhere");
    qsr_problems_add(&problems, (qsr_mark){&first, 2, 1, 4}, "", NULL, "second");
    qsr_problems_add(&problems, (qsr_mark){&first, 1, 5, 8}, "", "a hint", "first");
    qsr_problems_add(&problems, (qsr_mark){&first, 1, 5, 8}, "", "a hint", "first");
    assert_int_equal(problems.n_sources, 3);
    assert_written(&problems, "a:1:5: first\n    aaa bbb\n        ^~~\n    (a hint)\n"
                              "a:2:1: second\n    ccc\n    ^~~\n"
                              "a: x: third: nowhere\n"
                              "b:1:1: fourth\n    aaa bbb\n    ^~~\n"
                              "command line: k: last\n    k=1\n      ^\n");
}

static void is_safe_on_a_terminal(void **state)
{
    static const char text[] = "k:\t\x1b[2J\xff \xe2\x80\xae v\n";
    qsr_source source = {"a\x1b]0;x\x07", text, sizeof text - 1, ".", false, 0};
    qsr_problems problems = {0};
    (void)state;
    qsr_problems_add(&problems, (qsr_mark){&source, 1, 12, 13}, "k\n", "\x7f",
                     "tab\t esc\x1b bad\xff bidi\xe2\x80\xae nel\xc2\x85");
    assert_written(&problems, "a\\x1b]0;x\\x07:1:12: k\\n: tab\\t esc\\x1b bad\\xff bidi\\u202e nel\\u0085\n"
                              "    k: ?[2J? ? v\n"
                              "               ^\n"
                              "    (\\x7f)\n");
}

static void caret_stands_right_in_any_line(void **state)
{
    static const char text[] = "\t\tdeep: v\r\ngröße: 1\rnach: 2";
    qsr_source source = {"a", text, sizeof text - 1, ".", false, 0};
    qsr_problems problems = {0};
    (void)state;
    qsr_problems_add(&problems, (qsr_mark){&source, 1, 9, 10}, NULL, NULL, "tabs");
    qsr_problems_add(&problems, (qsr_mark){&source, 2, 8, 9}, NULL, NULL, "characters");
    qsr_problems_add(&problems, (qsr_mark){&source, 3, 1, 5}, NULL, NULL, "breaks");
    qsr_problems_add(&problems, (qsr_mark){&source, 4, 1, 0}, NULL, NULL, "beyond the end");
    assert_written(&problems, "a:1:9: tabs\n    deep: v\n          ^\n"
                              "a:2:8: characters\n    größe: 1\n           ^\n"
                              "a:3:1: breaks\n    nach: 2\n    ^~~~\n"
                              "a:4:1: beyond the end\n");
}

static void long_lines_and_texts_are_cut(void **state)
{
    char text[1201];
    memset(text, 'a', 1200);
    memcpy(text + 600, "here", 4);
    text[1200] = 0;
    qsr_source source = {"a", text, 1200, ".", false, 0};
    qsr_problems problems = {0};
    qsr_text out = {0};
    (void)state;
    qsr_problems_add(&problems, (qsr_mark){&source, 1, 601, 605}, NULL, NULL, "%s", text);
    qsr_problems_add(&problems, (qsr_mark){&source, 1, 602, 1200}, NULL, NULL, "far");
    qsr_problems_write(&problems, &out);
    for (char *line = strtok(out.bytes, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(strlen(line) < 1100);
        const char *caret = strchr(line, '^');
        if (line[0] == ' ') assert_true(strlen(line) <= 112);
        if (caret && !strchr(line, 'a')) assert_true(caret - line > 20 && caret - line < 80);
    }
    qsr_text_free(&out);
    qsr_problems_free(&problems);
}

static void floods_are_counted_not_kept(void **state)
{
    qsr_problems problems = {0};
    qsr_text out = {0};
    (void)state;
    for (int i = 0; i < QSR_PROBLEMS_MOST + 7; i++) qsr_problems_add(&problems, (qsr_mark){0}, NULL, NULL, "problem %d", i);
    assert_int_equal(problems.count, QSR_PROBLEMS_MOST);
    qsr_problems_write(&problems, &out);
    assert_non_null(strstr(out.bytes, "problem 499\n... and 7 more problems\n"));
    qsr_text_free(&out);
    qsr_problems_free(&problems);
}

static void utf8_is_checked(void **state)
{
    static const char *const bad[] = {"\x80", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                      "\xf5", "\xe2\x82", "\xff"};
    uint32_t c;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) assert_int_equal(qsr_utf8_at(bad[i], strlen(bad[i]), &c), 0);
    assert_int_equal(qsr_utf8_at("\xf4\x8f\xbf\xbf", 4, &c), 4);
    assert_int_equal(c, 0x10ffff);
    assert_int_equal(qsr_utf8_at("\xe2\x82\xac", 3, &c), 3);
    assert_int_equal(c, 0x20ac);
    assert_int_equal(qsr_utf8_at("", 0, &c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outlives_its_source),
        cmocka_unit_test(orders_by_source_then_place_and_drops_equals),
        cmocka_unit_test(is_safe_on_a_terminal),
        cmocka_unit_test(caret_stands_right_in_any_line),
        cmocka_unit_test(long_lines_and_texts_are_cut),
        cmocka_unit_test(floods_are_counted_not_kept),
        cmocka_unit_test(utf8_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

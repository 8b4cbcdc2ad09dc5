/* Lines cut to a width: whole characters, whatever their bytes. */
#include "../unit.h"
#include "cli/screen.h"

static void lines_are_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *line, *cut;
        unsigned columns, width;
    } known[] = {{"abc", "abc", 5, 3},   {"abc", "ab", 2, 2}, {"▁▂█x", "▁▂", 2, 2},
                 {"▁▂█x", "▁▂█x", 4, 4}, {"é", "", 0, 0},     {"", "", 3, 0}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        qsr_text out = {0};
        qsr_text_puts(&out, "");
        assert_int_equal(qsr_screen_cut(known[i].line, strlen(known[i].line), known[i].columns, &out), known[i].width);
        assert_string_equal(out.bytes, known[i].cut);
        qsr_text_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lines_are_cut_between_characters)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

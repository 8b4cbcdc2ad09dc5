/* base/table: columns line up, also behind names that are not ASCII; numbers for people. */
#include "../unit.h"

#include "base/table.h"

static void aligns_columns(void **state)
{
    (void)state;
    qsr_table table = {.columns = 3, .right = 1u << 1};
    qsr_table_row(&table, (const char *[]){"name", "l0", "file"});
    qsr_table_row(&table, (const char *[]){"a", "16", "x"});
    qsr_table_row(&table, (const char *[]){"\303\244\303\266", "104.5", NULL});
    qsr_text text = {0};
    qsr_table_write(&table, 1, &text);
    assert_string_equal(text.bytes, " name     l0  file\n a        16  x\n \303\244\303\266    104.5\n");
    qsr_text_free(&text);
    qsr_table_free(&table);
}

static void writes_nothing_for_no_rows(void **state)
{
    (void)state;
    qsr_table table = {.columns = 2};
    qsr_text text = {0};
    qsr_table_write(&table, 0, &text);
    assert_int_equal(text.length, 0);
    qsr_table_row(&table, (const char *[]){NULL, NULL});
    qsr_table_write(&table, 4, &text);
    assert_string_equal(text.bytes, "\n");
    qsr_text_free(&text);
    qsr_table_free(&table);
}

static void writes_numbers_for_people(void **state)
{
    (void)state;
    char buf[32];
    assert_string_equal(qsr_number_text(16, buf, sizeof buf), "16");
    assert_string_equal(qsr_number_text(0.03125, buf, sizeof buf), "0.03125");
    assert_string_equal(qsr_number_text(2.39e-6, buf, sizeof buf), "2.39e-06");
    assert_string_equal(qsr_number_text(123456.789, buf, sizeof buf), "123457");
    assert_string_equal(qsr_number_text(NAN, buf, sizeof buf), "-");
    assert_string_equal(qsr_number_text(-INFINITY, buf, sizeof buf), "-inf");
}

/* What a foreign file says may hold anything. */
static void test_control_characters(void **state)
{
    (void)state;
    qsr_text text = {0};
    qsr_table table = {.columns = 1};
    qsr_table_row(&table, (const char *[]){"a\033[2Jb\nc\177"});
    qsr_table_write(&table, 0, &text);
    assert_string_equal(text.bytes, "a?[2Jb?c?\n");
    qsr_text_free(&text);
    qsr_table_free(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligns_columns),
        cmocka_unit_test(writes_nothing_for_no_rows),
        cmocka_unit_test(writes_numbers_for_people), cmocka_unit_test(test_control_characters)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Numbers as people read them, and words that must not break a table. */
#include "../unit.h"
#include "report/sheet.h"

static void check_real(double value, const char *expected)
{
    qsr_text text = {0};
    qsr_sheet_real(value, &text);
    assert_string_equal(text.bytes, expected);
    qsr_text_free(&text);
}

static void numbers_have_four_digits(void **state)
{
    (void)state;
    check_real(16, "16");
    check_real(-3, "-3");
    check_real(0, "0");
    check_real(0.03125, "0.03125");
    check_real(0.123456, "0.1235");
    check_real(2037.28759765625, "2037");
    check_real(123456.7, "123457");
    check_real(0.00016411065, "0.0001641");
    check_real(2.39e-6, "2.39e-06");
    check_real(-1.23456e9 - 0.5, "-1.235e+09");
    check_real(NAN, "-");
    check_real(INFINITY, "inf");
}

static void check_mean(double mean, double half, const char *expected)
{
    qsr_text text = {0};
    qsr_sheet_mean(mean, half, &text);
    assert_string_equal(text.bytes, expected);
    qsr_text_free(&text);
}

static void the_interval_decides_the_digits_of_the_mean(void **state)
{
    (void)state;
    check_mean(0.312345, 0.00234, "0.3123 ± 0.0023");
    check_mean(0.312345, 0.0996, "0.31 ± 0.10");
    check_mean(0.312345, 0.00996, "0.312 ± 0.010");
    check_mean(12.5, 3, "12.5 ± 3.0");
    check_mean(1205.5, 28.6, "1206 ± 29");
    check_mean(1205.5, 286.4, "1206 ± 286");
    check_mean(-0.5, 0.25, "-0.50 ± 0.25");
    check_mean(0, 0.01, "0.000 ± 0.010");
    check_mean(2.4e-6, 2.484e-7, "(2.40 ± 0.25)e-06");
    check_mean(1e-7, 3e-6, "(0.1 ± 3.0)e-06");
    check_mean(1.5e9, 2e7, "(1.500 ± 0.020)e+09");
    check_mean(16, 0, "16 ± 0");
    check_mean(0.3, NAN, "0.3");
    check_mean(NAN, NAN, "-");
    check_mean(0.5, 1e-9, "0.5 ± 1.0e-09");
}

/* A word with everything that is special somewhere. */
static qsr_sheet odd_sheet(void)
{
    qsr_sheet s = {0};
    qsr_sheet_column(&s, "a_b", QSR_COLUMN_WORD);
    qsr_sheet_column(&s, "n", QSR_COLUMN_COUNT);
    qsr_sheet_column(&s, "x", QSR_COLUMN_REAL);
    qsr_sheet_cell *row = qsr_sheet_row(&s);
    row[0].word = "|,\"\\&%$#_{}~^*<\033[31m";
    row[1].n = 3;
    row[2].value = 1.5e-7;
    row = qsr_sheet_row(&s);
    row[0].word = "\303\244";
    return s;
}

static void check_format(qsr_sheet_format format, const char *expected)
{
    qsr_sheet s = odd_sheet();
    qsr_text text = {0};
    qsr_sheet_write(&s, format, &text);
    assert_string_equal(text.bytes, expected);
    qsr_text_free(&text);
    qsr_sheet_free(&s);
}

static void odd_words_stay_in_their_cells(void **state)
{
    (void)state;
    check_format(QSR_FORMAT_TEXT, "a_b                   n        x\n"
                                  "|,\"\\&%$#_{}~^*<?[31m  3  1.5e-07\n"
                                  "\303\244                     0\n");
    check_format(QSR_FORMAT_MD, "| a_b | n | x |\n|---|--:|--:|\n"
                                "| \\|,\"\\\\&%$#_{}~^\\*\\<?[31m | 3 | 1.5e-07 |\n"
                                "| \303\244 | 0 |  |\n");
    check_format(QSR_FORMAT_LATEX,
                 "\\begin{tabular}{lrr}\n\\hline\na\\_b & n & x \\\\\n\\hline\n"
                 "|,\"\\textbackslash{}\\&\\%\\$\\#\\_\\{\\}\\textasciitilde{}\\textasciicircum{}*<?[31m & 3 & "
                 "$1.5\\times10^{-7}$ \\\\\n\303\244 & 0 &  \\\\\n\\hline\n\\end{tabular}\n");
    check_format(QSR_FORMAT_CSV, "a_b,n,x\n\"|,\"\"\\&%$#_{}~^*<\033[31m\",3,1.5e-07\n\303\244,0,\n");
    check_format(QSR_FORMAT_JSON,
                 "[\n  {\n    \"a_b\": \"|,\\\"\\\\&%$#_{}~^*<\\u001b[31m\",\n    \"n\": 3,\n    \"x\": 1.5e-07\n  },\n"
                 "  {\n    \"a_b\": \"\303\244\",\n    \"n\": 0,\n    \"x\": null\n  }\n]\n");
}

static void formats_have_names(void **state)
{
    (void)state;
    qsr_sheet_format format;
    assert_true(qsr_sheet_format_parse("latex", &format) && format == QSR_FORMAT_LATEX);
    assert_true(qsr_sheet_format_parse("json", &format) && format == QSR_FORMAT_JSON);
    assert_false(qsr_sheet_format_parse("html", &format));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_four_digits),
        cmocka_unit_test(the_interval_decides_the_digits_of_the_mean),
        cmocka_unit_test(odd_words_stay_in_their_cells),
        cmocka_unit_test(formats_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* CSV: fields in quotes, both line ends, errors with their line, and a writer whose output reads back. */
#include "../unit.h"
#include "format/csv.h"

static void reads_quotes_commas_and_line_ends(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf"
                               "\"a\",b,\"c \"\"d\"\"\"\r\n\n1,\"x,\ny\",\r\n\"\",,last";
    static const char *const expected[3][3] = {{"a", "b", "c \"d\""}, {"1", "x,\ny", ""}, {"", "", "last"}};
    static const unsigned lines[] = {1, 3, 5};
    qsr_csv csv;
    assert_int_equal(qsr_csv_parse("t", text, strlen(text), &csv, NULL), QSR_OK);
    assert_int_equal(csv.columns, 3);
    assert_int_equal(csv.count, 3);
    for (size_t r = 0; r < 3; r++) {
        assert_int_equal(csv.rows[r].line, lines[r]);
        for (size_t c = 0; c < 3; c++) assert_string_equal(csv.rows[r].fields[c], expected[r][c]);
    }
    qsr_csv_free(&csv);
}

static void refuses_what_is_no_csv(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t size;
        const char *error;
    } bad[] = {{"", 0, "t: the file is empty"},
               {"\n\r\n", 3, "t: the file is empty"},
               {"a,b\n1\n", 6, "t:2: 1 fields, but the first line has 2"},
               {"a\n\"x\ny", 6, "t:2: a quote is not closed"},
               {"a\n\"x\"y\n", 7, "t:2: a comma is expected after a closing quote"},
               {"a\nx\"y\n", 6, "t:2: a quote inside a field that does not begin with one"},
               {"a\nx\0y\n", 6, "t:2: a zero byte; this is no text"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_csv csv;
        qsr_error e = {0};
        assert_int_equal(qsr_csv_parse("t", bad[i].text, bad[i].size, &csv, &e), QSR_E_INPUT);
        assert_string_equal(e.text, bad[i].error);
    }
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    static const char *const fields[] = {"plain", "a,b", "say \"so\"", "two\nlines", "", " blanks ", "\r"};
    enum { N = sizeof fields / sizeof *fields };
    qsr_text text = {0};
    qsr_csv csv;
    for (size_t i = 0; i < N; i++) {
        qsr_text_puts(&text, i ? "," : "");
        qsr_csv_put(&text, fields[i]);
    }
    assert_true(qsr_starts_with(text.bytes, "plain,\"a,b\",\"say \"\"so\"\"\","));
    assert_int_equal(qsr_csv_parse("t", text.bytes, text.length, &csv, NULL), QSR_OK);
    assert_int_equal(csv.columns, N);
    for (size_t i = 0; i < N; i++) assert_string_equal(csv.rows[0].fields[i], fields[i]);
    qsr_csv_free(&csv);
    qsr_text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_quotes_commas_and_line_ends),
        cmocka_unit_test(refuses_what_is_no_csv),
        cmocka_unit_test(what_is_written_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

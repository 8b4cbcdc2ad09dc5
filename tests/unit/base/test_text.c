/* Text: numbers in one spelling whatever the locale, growing strings, near misses. */
#include <locale.h>

#include "../unit.h"
#include "base/rng.h"
#include "base/text.h"

static void assert_real(const char *text, double expected)
{
    double value = -77;
    if (!qsr_parse_real(text, &value)) fail_msg("'%s' is not read", text);
    if (memcmp(&value, &expected, sizeof value) != 0) fail_msg("'%s' gives %.17g", text, value);
}

static void reals_are_read(void **state)
{
    (void)state;
    assert_real("0", 0);
    assert_real("-0", -0.0);
    assert_real("1", 1);
    assert_real("+1.5", 1.5);
    assert_real("-2.5e-3", -2.5e-3);
    assert_real(".5", 0.5);
    assert_real("5.", 5);
    assert_real("1E4", 1e4);
    assert_real("1_000_000.25", 1000000.25);
    assert_real("1/32", 1.0 / 32);
    assert_real("-1/3", -1.0 / 3);
    assert_real("1_0/1e2", 0.1);
    assert_real("1.7976931348623157e308", 1.7976931348623157e308);
    assert_real("1e-400", 0);
}

static void what_is_no_real_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      " ",      "1 ",   " 1",   "nan",   "inf", "-inf",        "0x10",
                                      "1e999", "-1e999", "1e",   "1/0",  "1/",    "/2",  "1/2/3",       "_1",
                                      "1_",    "1__0",   "1_.5", "1._5", "1,5",   "--1", "+-1",         "1.2.3",
                                      "e5",    ".",      "-",    "1e_5", "1/0.0", "1f",  "1e308/1e-308"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        double value = 7;
        if (qsr_parse_real(bad[i], &value)) fail_msg("'%s' gives %g", bad[i], value);
        assert_true(value == 7);
    }
    char longer[300];
    memset(longer, '1', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    double value;
    assert_false(qsr_parse_real(longer, &value));
}

static void integers_are_read_in_their_whole_range(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-0", 0},
                {"+7", 7},
                {"007", 7},
                {"50_000", 50000},
                {"-1_0", -10},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN},
                {"9_223_372_036_854_775_807", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "1.0",
                                      "1e3",
                                      "--1",
                                      "-+1",
                                      "+-1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "_1",
                                      "1_",
                                      "1__2",
                                      "-_1",
                                      "1/2",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        int64_t value = 77;
        if (!qsr_parse_int(good[i].text, &value) || value != good[i].value) fail_msg("'%s'", good[i].text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t value = 77;
        if (qsr_parse_int(bad[i], &value)) fail_msg("'%s' gives %lld", bad[i], (long long)value);
        assert_true(value == 77);
    }
}

static void naturals_are_read_in_their_whole_range(void **state)
{
    (void)state;
    uint64_t value = 77;
    assert_true(qsr_parse_uint("18446744073709551615", &value) && value == UINT64_MAX);
    assert_true(qsr_parse_uint("18_446_744_073_709_551_615", &value) && value == UINT64_MAX);
    assert_true(qsr_parse_uint("+0", &value) && value == 0);
    assert_false(qsr_parse_uint("18446744073709551616", &value));
    assert_false(qsr_parse_uint("-1", &value));
    assert_false(qsr_parse_uint("-0", &value));
    assert_false(qsr_parse_uint("", &value));
}

static void assert_text(double value, const char *expected)
{
    char text[32];
    assert_string_equal(qsr_real_text(value, text, sizeof text), expected);
}

static void reals_are_written_as_short_as_possible(void **state)
{
    (void)state;
    assert_text(0.03125, "0.03125");
    assert_text(1e-5, "1e-05");
    assert_text(0.1, "0.1");
    assert_text(1.0 / 3, "0.3333333333333333");
    assert_text(1, "1");
    assert_text(-0.0, "-0");
    assert_text(1e15, "1e+15");
    assert_text(123456, "123456");
    assert_text(5e-324, "5e-324");
    assert_text(1.7976931348623157e308, "1.7976931348623157e+308");
    assert_text(0.1 + 0.2, "0.30000000000000004");
    assert_text(NAN, "nan");
    assert_text(INFINITY, "inf");
    assert_text(-INFINITY, "-inf");
    char text[32];
    assert_string_equal(qsr_float_text(0.1f, text, sizeof text), "0.1");
    assert_string_equal(qsr_float_text(1.0f / 3, text, sizeof text), "0.33333334");
    assert_string_equal(qsr_float_text(3.4028235e38f, text, sizeof text), "3.4028235e+38");
    assert_string_equal(qsr_float_text(1e-45f, text, sizeof text), "1e-45");
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(1, "text");
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t bits = qsr_rng_bits(&rng, i);
        double value, back;
        float single;
        char text[32];
        memcpy(&value, &bits, sizeof value);
        memcpy(&single, &bits, sizeof single);
        if (isfinite(value)) {
            assert_true(qsr_parse_real(qsr_real_text(value, text, sizeof text), &back));
            assert_true(back == value);
        }
        if (isfinite(single)) {
            assert_true(qsr_parse_real(qsr_float_text(single, text, sizeof text), &back));
            assert_true((float)back == single);
        }
    }
}

/* Run where a locale with a decimal comma exists; elsewhere it says so. */
static void the_locale_does_not_matter(void **state)
{
    (void)state;
    static const char *const commas[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "fr_FR.utf8", "nl_NL.UTF-8"};
    const char *found = NULL;
    for (size_t i = 0; !found && i < sizeof commas / sizeof commas[0]; i++) found = setlocale(LC_ALL, commas[i]);
    if (!found) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    assert_string_equal(localeconv()->decimal_point, ",");
    assert_real("1.5", 1.5);
    assert_text(0.25, "0.25");
    setlocale(LC_ALL, "C");
}

static void strings_grow(void **state)
{
    (void)state;
    qsr_text text = {0};
    qsr_text_puts(&text, "");
    assert_string_equal(text.bytes, "");
    for (int i = 0; i < 1000; i++) qsr_text_add(&text, "%d,", i);
    assert_int_equal(text.length, 3890);
    assert_int_equal(strlen(text.bytes), text.length);
    assert_true(qsr_starts_with(text.bytes, "0,1,2,3,"));
    assert_true(qsr_ends_with(text.bytes, ",998,999,"));
    qsr_text_append(&text, "\0x", 2);
    assert_int_equal(text.length, 3892);
    assert_int_equal(text.bytes[3891], 'x');
    qsr_text_append(&text, NULL, 0);
    qsr_text_add(&text, "%s", "");
    assert_int_equal(text.length, 3892);
    qsr_text_free(&text);
    assert_null(text.bytes);
    qsr_text_free(&text);
}

static void near_misses_are_found(void **state)
{
    (void)state;
    static const char *const words[] = {"activation", "dataset", "k", "lr", "losses", "seed", "seeds", NULL};
    assert_int_equal(qsr_edit_distance("", "abc"), 3);
    assert_int_equal(qsr_edit_distance("kitten", "sitting"), 3);
    assert_int_equal(qsr_edit_distance("teh", "the"), 1); /* neighbours swapped */
    assert_int_equal(qsr_edit_distance("ca", "abc"), 3);  /* optimal string alignment, not full Damerau */
    assert_int_equal(qsr_edit_distance("same", "same"), 0);
    assert_string_equal(qsr_nearest("actvation", words), "activation");
    assert_string_equal(qsr_nearest("datsaet", words), "dataset");
    assert_string_equal(qsr_nearest("loses", words), "losses");
    assert_string_equal(qsr_nearest("seed", words), "seed");
    assert_null(qsr_nearest("x", words));
    assert_null(qsr_nearest("wobble", words));
    assert_null(qsr_nearest("seed", NULL));
    char longer[1000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_null(qsr_nearest(longer, words));
    assert_int_equal(qsr_edit_distance(longer, "a"), 999); /* too long to compare: all of it */
}

static void beginnings_and_ends(void **state)
{
    (void)state;
    assert_true(qsr_starts_with("abc", "") && qsr_starts_with("abc", "ab") && !qsr_starts_with("abc", "b"));
    assert_true(!qsr_starts_with("ab", "abc") && qsr_ends_with("abc", "") && qsr_ends_with("abc", "bc"));
    assert_true(!qsr_ends_with("abc", "b") && !qsr_ends_with("bc", "abc"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reals_are_read),
        cmocka_unit_test(what_is_no_real_is_refused),
        cmocka_unit_test(integers_are_read_in_their_whole_range),
        cmocka_unit_test(naturals_are_read_in_their_whole_range),
        cmocka_unit_test(reals_are_written_as_short_as_possible),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(the_locale_does_not_matter),
        cmocka_unit_test(strings_grow),
        cmocka_unit_test(near_misses_are_found),
        cmocka_unit_test(beginnings_and_ends),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}

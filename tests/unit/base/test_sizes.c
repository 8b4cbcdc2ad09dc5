/* Sizes: overflow is seen, text for people reads well, and what people write is understood. */
#include "../unit.h"
#include "base/sizes.h"

static void overflow_is_seen(void **state)
{
    (void)state;
    size_t n = 7;
    assert_false(qsr_mul_size(SIZE_MAX / 2 + 1, 2, &n));
    assert_false(qsr_add_size(SIZE_MAX, 1, &n));
    assert_int_equal(n, 7);
    assert_true(qsr_mul_size(SIZE_MAX, 1, &n) && n == SIZE_MAX);
    assert_true(qsr_mul_size(SIZE_MAX, 0, &n) && n == 0);
    assert_true(qsr_add_size(SIZE_MAX - 1, 1, &n) && n == SIZE_MAX);
    n = 5;
    assert_true(qsr_mul_size(n, 3, &n) && n == 15); /* the result may be an operand */
}

static void rounding_goes_up(void **state)
{
    (void)state;
    assert_int_equal(qsr_round_up(0, 8), 0);
    assert_int_equal(qsr_round_up(1, 8), 8);
    assert_int_equal(qsr_round_up(16, 8), 16);
    assert_int_equal(qsr_div_up(0, 3), 0);
    assert_int_equal(qsr_div_up(7, 3), 3);
    assert_int_equal(qsr_div_up(6, 3), 2);
    assert_true(qsr_div_up(SIZE_MAX, 2) == SIZE_MAX / 2 + 1);
}

static void sizes_read_well(void **state)
{
    (void)state;
    static const struct {
        size_t bytes;
        const char *text;
    } table[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {1536, "1.5 KiB"},
                 {102400, "100 KiB"},
                 {(size_t)3 << 30, "3.0 GiB"},
                 {SIZE_MAX, "16.0 EiB"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[32];
        assert_string_equal(qsr_size_text(table[i].bytes, text, sizeof text), table[i].text);
    }
}

static void sizes_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
    } good[] = {{"4096", 4096}, {"8GiB", (size_t)8 << 30},  {"512 MB", 512000000},
                {"1.5k", 1536}, {"2 tib", (size_t)2 << 40}, {"1_000 B", 1000},
                {"0", 0}};
    static const char *const bad[] = {"",    "GiB", "-1", "1 XiB", "1 GiB x", "1..5 k", "1e3", "99999999999 TiB",
                                      "nan", "1/2"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t bytes = 77;
        if (!qsr_size_parse(good[i].text, &bytes) || bytes != good[i].bytes)
            fail_msg("'%s' gives %zu", good[i].text, bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        size_t bytes = 77;
        if (qsr_size_parse(bad[i], &bytes)) fail_msg("'%s' gives %zu", bad[i], bytes);
        assert_int_equal(bytes, 77);
    }
}

static void durations_read_well(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } table[] = {{0, "0.0 s"},         {9.94, "9.9 s"},          {12.3, "12 s"}, {100, "1 min 40 s"}, {3599, "59 min 59 s"},
                 {3720, "1 h 02 min"}, {360000, "100 h 00 min"}, {-1, "?"},      {NAN, "?"},          {INFINITY, "?"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char text[32];
        assert_string_equal(qsr_duration_text(table[i].seconds, text, sizeof text), table[i].text);
    }
}

/* Wherever a value crosses to the next unit, its text must be of the next unit too: never "60 min 00 s" or "10.0 s". */
static void units_change_where_the_text_would_overflow(void **state)
{
    (void)state;
    static const struct {
        double seconds;
        const char *text;
    } table[] = {{9.97, "10 s"}, {99.7, "1 min 40 s"}, {3599.7, "1 h 00 min"}};
    char text[32];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        assert_string_equal(qsr_duration_text(table[i].seconds, text, sizeof text), table[i].text);
    assert_string_equal(qsr_size_text(((size_t)1 << 20) - 1, text, sizeof text), "1.0 MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overflow_is_seen),    cmocka_unit_test(rounding_goes_up),
        cmocka_unit_test(sizes_read_well),     cmocka_unit_test(sizes_are_understood),
        cmocka_unit_test(durations_read_well), cmocka_unit_test(units_change_where_the_text_would_overflow),
    };
    return cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
}

/* cli/progress: the bar fits every terminal, and says the same in a file. */
#include "../unit.h"

#include "cli/progress.h"

static const qsr_progress_state half = {.name = "quickstart", .step = 937, .steps = 1875, .tokens_per_s = 61234,
                                        .seconds_left = 8, .loss = 0.31236, .l0 = 16, .dead = 12};

static qsr_text bar(const qsr_progress_state *s, unsigned width)
{
    qsr_text text = {0};
    qsr_text_puts(&text, "");
    qsr_progress_bar(s, width, &text);
    return text;
}

static void shows_everything_where_there_is_room(void **state)
{
    (void)state;
    qsr_text text = bar(&half, 132);
    assert_string_equal(text.bytes, "quickstart [===================>                    ] 937/1875  61.2k tokens/s  ETA 0:08  "
                                    "loss 0.3124  l0 16  dead 12");
    qsr_text_free(&text);
}

static void drops_the_least_first(void **state)
{
    (void)state;
    static const struct {
        unsigned width;
        const char *text;
    } cases[] = {
        {100, "quickstart [==========>           ] 937/1875  61.2k tokens/s  ETA 0:08  loss 0.3124  l0 16  dead 12"},
        {80, "[======>      ] 937/1875  61.2k tokens/s  ETA 0:08  loss 0.3124  l0 16  dead 12"},
        {70, "[=====>      ] 937/1875  61.2k tokens/s  ETA 0:08  loss 0.3124  l0 16"},
        {60, "[====>    ] 937/1875  61.2k tokens/s  ETA 0:08  loss 0.3124"},
        {50, "[=======>       ] 937/1875  ETA 0:08  loss 0.3124"},
        {30, "[===>    ] 937/1875  ETA 0:08"},
        {20, " 937/1875  ETA 0:08"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_text text = bar(&half, cases[i].width);
        assert_string_equal(text.bytes, cases[i].text);
        qsr_text_free(&text);
    }
}

static void never_reaches_the_last_column(void **state)
{
    (void)state;
    qsr_progress_state unknown = {.name = "a-rather-long-name-of-an-experiment", .steps = 10, .tokens_per_s = NAN,
                                  .seconds_left = NAN, .loss = NAN, .l0 = NAN, .dead = NAN};
    for (unsigned width = 0; width < 200; width++) {
        qsr_text a = bar(&half, width), b = bar(&unknown, width);
        assert_true(a.length < width || a.length == 0);
        assert_true(b.length < width || b.length == 0);
        qsr_text_free(&a);
        qsr_text_free(&b);
    }
}

static void says_the_same_in_a_file(void **state)
{
    (void)state;
    qsr_text text = {0};
    qsr_progress_line(&half, &text);
    assert_string_equal(text.bytes, "quickstart: step 937/1875  61.2k tokens/s  ETA 0:08  loss 0.3124  l0 16  dead 12");
    qsr_text_free(&text);
    qsr_progress_state long_run = half;
    long_run.seconds_left = 7384;
    long_run.l0 = 15.96;
    long_run.tokens_per_s = 2.5e6;
    text = (qsr_text){0};
    qsr_progress_line(&long_run, &text);
    assert_string_equal(text.bytes, "quickstart: step 937/1875  2.5M tokens/s  ETA 2:03:04  loss 0.3124  l0 16.0  dead 12");
    qsr_text_free(&text);
    qsr_progress_state judged = {.name = "a", .evaluating = true, .step = 512, .steps = 4096};
    text = (qsr_text){0};
    qsr_progress_line(&judged, &text);
    assert_string_equal(text.bytes, "a: 512/4096  tokens evaluated");
    qsr_text_free(&text);
}

static void fills_the_bar_with_the_run(void **state)
{
    (void)state;
    qsr_progress_state s = half;
    s.step = s.steps;
    qsr_text text = bar(&s, 132);
    assert_non_null(strstr(text.bytes, "[========================================]"));
    qsr_text_free(&text);
    s.step = 0;
    text = bar(&s, 132);
    assert_non_null(strstr(text.bytes, "[>                                       ]"));
    qsr_text_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_everything_where_there_is_room), cmocka_unit_test(drops_the_least_first),
        cmocka_unit_test(never_reaches_the_last_column),        cmocka_unit_test(says_the_same_in_a_file),
        cmocka_unit_test(fills_the_bar_with_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

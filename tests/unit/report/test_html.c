/* Text as HTML, gnuplot's pictures as part of a page, words of a shell. */
#include "../unit.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/svg.h"

static void check_text(const char *text, size_t n, bool visible, const char *expected)
{
    qsr_text out = {0};
    if (visible)
        qsr_html_visible(&out, text);
    else
        qsr_html_bytes(&out, text, n);
    assert_string_equal(out.bytes, expected);
    qsr_text_free(&out);
}

static void text_is_only_text(void **state)
{
    (void)state;
    check_text("a<b>&\"c'", 8, false, "a&lt;b&gt;&amp;&quot;c&#39;");
    check_text("x\ny\tz", 5, false, "x\ny\tz");
    check_text("x\ny\tz\r", 0, true, "x\xe2\x90\x8ay\xe2\x90\x89z\xe2\x90\x8d"); /* their pictures */
    check_text("\x1b[31m\x7f\0!", 6, false, "\xe2\x90\x9b[31m\xe2\x90\xa1");
    check_text("\0!", 2, false, "\xe2\x90\x80!");
    check_text("é€𝄞", 9, false, "é€𝄞");
    /* cut short, overlong, a surrogate, beyond Unicode, a stray continuation: a replacement for each byte */
    check_text("\xc3", 1, false, "\xef\xbf\xbd");
    check_text("\xc0\xbc", 2, false, "\xef\xbf\xbd\xef\xbf\xbd");
    check_text("\xed\xa0\x80", 3, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_text("\xf4\x90\x80\x80", 4, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    check_text("\x80z", 2, false, "\xef\xbf\xbdz");
    /* well-formed, but HTML forbids it, or it turns the line around */
    check_text("\xef\xbf\xbe", 3, false, "\xef\xbf\xbd");
    check_text("\xe2\x80\xae", 3, false, "\xef\xbf\xbd");
    check_text("\xc2\x85", 2, false, "\xef\xbf\xbd");
    check_text("", 0, false, "");
}

static void words_of_a_shell_are_words(void **state)
{
    (void)state;
    static const char *const known[][2] = {{"runs/a-b_c.yaml", "runs/a-b_c.yaml"},
                                           {"two words", "'two words'"},
                                           {"", "''"},
                                           {"it's", "'it'\\''s'"},
                                           {"$(x)`y`", "'$(x)`y`'"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        qsr_text out = {0};
        qsr_shell_word(&out, known[i][0]);
        assert_string_equal(out.bytes, known[i][1]);
        qsr_text_free(&out);
    }
}

static void strings_of_a_script_are_strings(void **state)
{
    (void)state;
    static const char *const known[][2] = {{"it's `date` \"x\" @m", "'it’s `date` \"x\" @m'"},
                                           {"a\nb\x1b", "'a b '"},
                                           {"\xff é", "'? é'"},
                                           {"\xc2\x85", "' '"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        qsr_text out = {0};
        qsr_gnuplot_quote(&out, known[i][0]);
        assert_string_equal(out.bytes, known[i][1]);
        qsr_text_free(&out);
    }
}

/* ---- pictures ------------------------------------------------------------------------------------------------------------ */

static void pictures_fit_into_a_page(void **state)
{
    (void)state;
    static const char svg[] =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE svg>\n<svg \n width=\"9\" viewBox=\"0 0 9 9\"\n "
        "xmlns=\"http://www.w3.org/2000/svg\">\n"
        "<title>Gnuplot</title>\n<desc>Produced by <b>GNUPLOT</b> </desc>\n<g id=\"canvas\">\n"
        "<g fill=\"none\" color=\"black\">\n<g>\n</g>\n</g>\n<defs><circle id='gpDot' r='1'/></defs>\n"
        "<use xlink:href='#gpDot' color='rgb(  0,   0,   0)'/>\n"
        "<polygon fill = 'rgb(136, 1, 0)' points='1,2' stroke='#000000' mask=\"url(#m)\"/>\n"
        "<g stroke=\"black\"><text>a &lt; b</text></g>\n</g>\n</svg>\n";
    qsr_text out = {0};
    assert_int_equal(qsr_svg_inline(svg, strlen(svg), "zf", "A \"plot\"", &out, NULL), QSR_OK);
    assert_string_equal(out.bytes,
                        "<svg viewBox=\"0 0 9 9\" role=\"img\" aria-label=\"A &quot;plot&quot;\"><g id=\"zf-canvas\">"
                        "<defs><circle id=\"zf-gpDot\" r='1'/></defs><use href=\"#zf-gpDot\" color=\"currentColor\"/>"
                        "<polygon fill='rgb(136, 1, 0)' points='1,2' stroke=\"currentColor\" mask=\"url(#zf-m)\"/>"
                        "<g stroke=\"currentColor\"><text>a &lt; b</text></g>\n</g>\n</svg>");
    qsr_text_free(&out);
}

static void pictures_lead_nowhere(void **state)
{
    (void)state;
    static const char *const bad[] = {"<svg><image href='http://x/y.png'/></svg>",
                                      "<svg><use xlink:href='other.svg#a'/></svg>", "no picture", "<svg viewBox='0 0 1 1'>",
                                      "<svg><g"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        qsr_text out = {0};
        qsr_text_puts(&out, "before");
        assert_int_equal(qsr_svg_inline(bad[i], strlen(bad[i]), "p", "l", &out, NULL), QSR_E_INTERNAL);
        assert_string_equal(out.bytes, "before");
        qsr_text_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_only_text),
        cmocka_unit_test(words_of_a_shell_are_words),
        cmocka_unit_test(strings_of_a_script_are_strings),
        cmocka_unit_test(pictures_fit_into_a_page),
        cmocka_unit_test(pictures_lead_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

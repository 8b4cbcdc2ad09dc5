/* Errors as values: one line each, context in front, and a code that survives without a text. */
#include <errno.h>

#include "../unit.h"
#include "base/error.h"

static void errors_hold_code_option_and_text(void **state)
{
    (void)state;
    qsr_error e = {0};
    assert_int_equal(qsr_fail(&e, QSR_E_INPUT, "%s has %d", "it", 3), QSR_E_INPUT);
    assert_int_equal(e.code, QSR_E_INPUT);
    assert_string_equal(e.text, "it has 3");
    assert_string_equal(e.option, "");
    assert_int_equal(qsr_fail_option(&e, QSR_E_OPTION, "hook.layer", "layer=%d", 13), QSR_E_OPTION);
    assert_string_equal(e.option, "hook.layer");
    assert_string_equal(e.text, "layer=13");
    qsr_fail(&e, QSR_E_IO, "later");
    assert_string_equal(e.option, ""); /* nothing of the one before is left */
}

static void the_code_survives_without_a_place_for_the_text(void **state)
{
    (void)state;
    assert_int_equal(qsr_fail(NULL, QSR_E_STATE, "x"), QSR_E_STATE);
    assert_int_equal(qsr_fail_option(NULL, QSR_E_OPTION, "k", "x"), QSR_E_OPTION);
    assert_int_equal(qsr_fail_errno(NULL, "read", "x"), QSR_E_IO);
    assert_int_equal(qsr_fail_nomem(NULL, "x", 1), QSR_E_NOMEM);
}

static void the_system_and_memory_have_their_texts(void **state)
{
    (void)state;
    qsr_error e = {0};
    errno = EACCES;
    assert_int_equal(qsr_fail_errno(&e, "write", "a/b"), QSR_E_IO);
    assert_string_equal(e.text, "cannot write a/b: Permission denied");
    assert_int_equal(qsr_fail_nomem(&e, "W_enc", (size_t)3 << 30), QSR_E_NOMEM);
    assert_string_equal(e.text, "out of memory: W_enc needs 3.0 GiB");
}

static void context_goes_in_front(void **state)
{
    (void)state;
    qsr_error e = {0};
    qsr_fail_option(&e, QSR_E_INPUT, "k", "broken");
    assert_int_equal(qsr_context(&e, "%s:%d", "file", 7), QSR_E_INPUT);
    assert_int_equal(qsr_context(&e, "run"), QSR_E_INPUT);
    assert_string_equal(e.text, "run: file:7: broken");
    assert_string_equal(e.option, "k");
    qsr_error none = {0};
    assert_int_equal(qsr_context(&none, "x"), QSR_OK); /* nothing happened, nothing is added */
    assert_string_equal(none.text, "");
}

static void a_text_stays_one_line(void **state)
{
    (void)state;
    qsr_error e = {0};
    qsr_fail(&e, QSR_E_INPUT, "a\nb\t\033[31mc\x7f \xc3\xa4");
    assert_string_equal(e.text, "a?b??[31mc? \xc3\xa4");
    qsr_context(&e, "evil\nname");
    assert_string_equal(e.text, "evil?name: a?b??[31mc? \xc3\xa4");
}

static void long_texts_are_cut_at_the_end(void **state)
{
    (void)state;
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    qsr_error e = {0};
    qsr_fail_option(&e, QSR_E_INPUT, longer, "why: %s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(strlen(e.option), sizeof e.option - 1);
    qsr_context(&e, "where");
    assert_true(strncmp(e.text, "where: why: xxx", 15) == 0);
    assert_true(strlen(e.text) < sizeof e.text);
    for (size_t room = sizeof e.text - 5; room < sizeof e.text + 5;
         room++) { /* around the edge, where off by one would show */
        qsr_error edge = {0};
        longer[room] = 0;
        qsr_fail(&edge, QSR_E_INPUT, "short");
        qsr_context(&edge, "%s", longer);
        assert_true(strlen(edge.text) < sizeof edge.text);
        longer[room] = 'x';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_hold_code_option_and_text),
        cmocka_unit_test(the_code_survives_without_a_place_for_the_text),
        cmocka_unit_test(the_system_and_memory_have_their_texts),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(a_text_stays_one_line),
        cmocka_unit_test(long_texts_are_cut_at_the_end),
    };
    return cmocka_run_group_tests_name("error", tests, NULL, NULL);
}

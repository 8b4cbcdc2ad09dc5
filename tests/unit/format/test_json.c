/* JSON: errors with their place, duplicate keys, and a spelling of numbers that reads back as the same number. */
#include <locale.h>
#include <unistd.h>

#include "../unit.h"
#include "base/fs.h"
#include "format/json.h"

static char path[256];

static void write_text(const char *text) { assert_int_equal(qsr_write_file(path, text, strlen(text), NULL), QSR_OK); }

static void errors_have_a_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place;
    } broken[] = {
        {"", ":1:0: "},
        {"{\n  \"a\": 1,\n  \"b\": }\n", ":3:8: "},
        {"{\"a\": 1, \"a\": 2}", ":1:12: duplicate object key"},
        {"{\"a\": [1, 2}", ":1:12: "},
        {"{\"a\": nan}", ":1:9: "},
        {"{\"a\": 01}", ":1:7: "},
        {"{\"a\": 1e999}", ":1:11: "},
        {"{\"a\": 1} x", ":1:10: "},
        {"7", ":1:1: "},
        {"{\"a\": \"\xff\"}", ":1:7: "},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        json_t *json = (void *)path;
        qsr_error e = {0};
        char expected[512];
        write_text(broken[i].text);
        snprintf(expected, sizeof expected, "%s%s", path, broken[i].place);
        assert_int_equal(qsr_json_read(path, 1000, &json, &e), QSR_E_INPUT);
        if (strncmp(e.text, expected, strlen(expected)) != 0) fail_msg("%s: %s, not %s", broken[i].text, e.text, expected);
        assert_null(json);
    }
}

static void files_have_a_limit(void **state)
{
    (void)state;
    json_t *json;
    qsr_error e = {0};
    char expected[512];
    write_text("[1, 2, 3]");
    assert_int_equal(qsr_json_read(path, 9, &json, &e), QSR_OK);
    assert_int_equal(json_array_size(json), 3);
    json_decref(json);
    assert_int_equal(qsr_json_read(path, 8, &json, &e), QSR_E_INPUT);
    snprintf(expected, sizeof expected, "%s is too large: 9 B, the limit is 8 B", path);
    assert_string_equal(e.text, expected);
    unlink(path);
    assert_int_equal(qsr_json_read(path, 8, &json, &e), QSR_E_INPUT);
    assert_null(json);
}

static json_t *sample(void)
{
    json_t *json = json_object();
    json_object_set_new(json, "z", json_integer(-3));
    json_object_set_new(json, "a", qsr_json_real(0.1));
    json_object_set_new(json, "whole", qsr_json_real(2));
    json_object_set_new(json, "small", qsr_json_real(-1e-300));
    json_object_set_new(json, "large", qsr_json_real(1e22));
    json_object_set_new(json, "nan", qsr_json_real(NAN));
    json_object_set_new(json, "inf", qsr_json_real(-INFINITY));
    json_object_set_new(json, "text", json_string("a\"\\\n\t\x01\x7f/\xc3\xa4"));
    json_object_set_new(json, "list", json_pack("[b, b, n, {}, []]", 1, 0));
    return json;
}

static void a_line_is_compact(void **state)
{
    (void)state;
    json_t *json = sample();
    qsr_text text = {0};
    qsr_json_line(json, &text);
    assert_string_equal(text.bytes,
                        "{\"z\":-3,\"a\":0.1,\"whole\":2.0,\"small\":-1e-300,\"large\":1e+22,\"nan\":null,\"inf\":null,"
                        "\"text\":\"a\\\"\\\\\\n\\t\\u0001\\u007f/\xc3\xa4\",\"list\":[true,false,null,{},[]]}");
    qsr_text_free(&text);
    json_decref(json);
}

static void a_file_is_indented(void **state)
{
    (void)state;
    json_t *json = json_pack("{s:i, s:[i, {s:f}], s:{}}", "b", 1, "a", 2, "c", 0.5, "e");
    qsr_arena arena = {0};
    char *text;
    assert_int_equal(qsr_json_write(path, json, NULL), QSR_OK);
    assert_int_equal(qsr_read_file(&arena, path, 1000, &text, NULL, NULL), QSR_OK);
    assert_string_equal(text, "{\n  \"b\": 1,\n  \"a\": [\n    2,\n    {\n      \"c\": 0.5\n    }\n  ],\n  \"e\": {}\n}\n");
    qsr_arena_free(&arena);
    json_decref(json);
}

static void what_is_written_is_read_back_as_the_same(void **state)
{
    (void)state;
    static const double values[] = {0.1,  1.0 / 3, 2,         1e15, 123456789012345678., 5e-324, 1.7976931348623157e308,
                                    -0.0, 1e-5,    0x1p-1074, 1e100};
    json_t *json = json_array(), *back;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) json_array_append_new(json, qsr_json_real(values[i]));
    json_array_append_new(json, json_integer(INT64_MAX));
    json_array_append_new(json, json_integer(INT64_MIN));
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it exists, its decimal comma must not matter */
    assert_int_equal(qsr_json_write(path, json, NULL), QSR_OK);
    assert_int_equal(qsr_json_read(path, 10000, &back, NULL), QSR_OK);
    setlocale(LC_ALL, "C");
    assert_true(json_equal(json, back));
    for (size_t i = 0; i < sizeof values / sizeof values[0];
         i++) { /* json_equal does not see the sign of zero, or the type */
        assert_true(json_is_real(json_array_get(back, i)));
        double value = json_real_value(json_array_get(back, i));
        assert_memory_equal(&value, &values[i], sizeof value);
    }
    json_decref(json);
    json_decref(back);
}

static void a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    json_t *json = sample();
    qsr_error e = {0};
    assert_int_equal(qsr_json_write("/nonexistent/x.json", json, &e), QSR_E_IO);
    assert_string_equal(e.text, "cannot write /nonexistent/x.json: No such file or directory");
    json_decref(json);
}

static int prepare(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.json", test_folder());
    return 0;
}

static int clean(void **state)
{
    (void)state;
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_have_a_place),
        cmocka_unit_test(files_have_a_limit),
        cmocka_unit_test(a_line_is_compact),
        cmocka_unit_test(a_file_is_indented),
        cmocka_unit_test(what_is_written_is_read_back_as_the_same),
        cmocka_unit_test(a_failed_write_leaves_nothing),
    };
    return cmocka_run_group_tests_name("json", tests, prepare, clean);
}

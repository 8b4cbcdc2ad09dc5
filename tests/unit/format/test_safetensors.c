/* safetensors: what is read back, what the writer lays out, and every lie a file can tell. */
#include <sys/stat.h>
#include <unistd.h>

#include "../unit.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/text.h"
#include "format/safetensors.h"

static char path[256];

/* A file of `length` as its first 8 bytes, then the header, then `data` bytes 0, 1, 2, ... */
static void write_raw(uint64_t length, const char *header, size_t data)
{
    qsr_text text = {0};
    qsr_text_append(&text, &length, sizeof length);
    qsr_text_puts(&text, header);
    for (size_t i = 0; i < data; i++) qsr_text_append(&text, &(unsigned char){(unsigned char)i}, 1);
    assert_int_equal(qsr_write_file(path, text.bytes, text.length, NULL), QSR_OK);
    qsr_text_free(&text);
}

static void write_header(const char *header, size_t data) { write_raw(strlen(header), header, data); }

/* An expected text that ends in "..." is a beginning: what follows is jansson's wording. */
static void assert_refused(const char *label, const char *expected)
{
    qsr_safetensors *st = (void *)path;
    qsr_error e = {0};
    qsr_status status = qsr_safetensors_open(path, &st, &e);
    size_t n = strlen(expected), prefix = strlen(path) + 2;
    bool beginning = qsr_ends_with(expected, "...");
    if (strncmp(e.text, path, prefix - 2) != 0 || strncmp(e.text + prefix - 2, ": ", 2) != 0 ||
        (beginning ? strncmp(e.text + prefix, expected, n - 3) != 0 : strcmp(e.text + prefix, expected) != 0))
        fail_msg("%s\n  gave     %s\n  expected %s", label, e.text, expected);
    assert_int_equal(status, QSR_E_INPUT);
    assert_null(st);
    assert_int_equal(qsr_safetensors_open(path, &st, NULL), QSR_E_INPUT); /* the code survives without a text */
}

#define F32(shape_, begin_, end_) "{\"dtype\":\"F32\",\"shape\":[" shape_ "],\"data_offsets\":[" begin_ "," end_ "]}"

static const struct {
    const char *header;
    size_t data;
    const char *text;
} broken[] = {
    /* the header as JSON */
    {"", 0, "header does not begin with '{'"},
    {" {}", 0, "header does not begin with '{'"},
    {"[]", 0, "header does not begin with '{'"},
    {"{", 0, "header:1:1: ..."},
    {"{\"a\":" F32("2", "0", "8"), 8, "header:1:53: ..."},
    {"{\"a\":1,}", 0, "header:1:8: ..."},
    {"{} {}", 0, "header:1:4: ..."},
    {"{\"a\":" F32("1", "0", "4") ",\"a\":" F32("1", "4", "8") "}", 8, "header:1:57: duplicate object key..."},
    {"{\"a\\u0000b\":" F32("2", "0", "8") "}", 8, "header:1:11: ..."},
    {"{\"\xff\":" F32("2", "0", "8") "}", 8, "header:1:2: ..."},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]}}", 8,
     "header:1:49: too big integer..."},
    /* an entry */
    {"{\"a\":7}", 0, "tensor 'a': not an object with dtype, shape and data_offsets"},
    {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor 'a': dtype is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "tensor 'a': shape is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "tensor 'a': data_offsets is missing"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"strides\":[1]}}", 8,
     "tensor 'a': holds more keys than dtype, shape and data_offsets"},
    {"{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "tensor 'a': dtype is not a string"},
    {"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[8],\"data_offsets\":[0,8]}}", 8,
     "tensor 'a': dtype 'F8_E4M3' is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
     "tensor 'a': dtype 'f32' is not one of F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL"},
    /* shapes */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "tensor 'a': shape is not a list"},
    {"{\"a\":" F32("1,1,1,1,1,1,1,1,2", "0", "8") "}", 8, "tensor 'a': shape has 9 numbers, the limit is 8"},
    {"{\"a\":" F32("-2", "0", "8") "}", 8, "tensor 'a': shape holds something else than whole numbers from 0"},
    {"{\"a\":" F32("2.0", "0", "8") "}", 8, "tensor 'a': shape holds something else than whole numbers from 0"},
    {"{\"a\":" F32("\"2\"", "0", "8") "}", 8, "tensor 'a': shape holds something else than whole numbers from 0"},
    {"{\"a\":" F32("4294967296,4294967296", "0", "8") "}", 8, "tensor 'a': shape is too large for any memory"},
    {"{\"a\":" F32("4611686018427387905", "0", "4") "}", 4, "tensor 'a': shape is too large for any memory"},
    {"{\"a\":" F32("0,4294967296,4294967296", "0", "0") "}", 0, "tensor 'a': shape is too large for any memory"},
    {"{\"a\":" F32("3", "0", "8") "}", 8, "tensor 'a': dtype and shape make 12 bytes, data_offsets span 8"},
    {"{\"a\":" F32("0", "0", "8") "}", 8, "tensor 'a': dtype and shape make 0 bytes, data_offsets span 8"},
    {"{\"a\":" F32("", "0", "8") "}", 8, "tensor 'a': dtype and shape make 4 bytes, data_offsets span 8"},
    /* offsets */
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":8}}", 8, "tensor 'a': data_offsets is not a list"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]}}", 8, "tensor 'a': data_offsets are not two numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4,8]}}", 8,
     "tensor 'a': data_offsets has 3 numbers, the limit is 2"},
    {"{\"a\":" F32("2", "-8", "0") "}", 8, "tensor 'a': data_offsets holds something else than whole numbers from 0"},
    {"{\"a\":" F32("2", "8", "0") "}", 8, "tensor 'a': data_offsets end (0) before they begin (8)"},
    {"{\"a\":" F32("2", "0", "8") "}", 7, "tensor 'a': data_offsets end at byte 8, the file has 7 bytes of data"},
    {"{\"a\":" F32("2", "9223372036854775800", "9223372036854775807") "}", 8,
     "tensor 'a': data_offsets end at byte 9223372036854775807, the file has 8 bytes of data"},
    {"{\"a\":" F32("2", "0", "8") ",\"b\":" F32("2", "4", "12") "}", 12,
     "tensors 'a' and 'b' overlap: one ends at byte 8, the other begins at 4"},
    {"{\"b\":" F32("2", "0", "8") ",\"a\":" F32("2", "0", "8") "}", 8,
     "tensors 'a' and 'b' overlap: one ends at byte 8, the other begins at 0"},
    {"{\"a\":" F32("1", "0", "4") ",\"b\":" F32("1", "8", "12") "}", 12, "bytes 4 to 8 of the data belong to no tensor"},
    {"{\"a\":" F32("1", "4", "8") "}", 8, "bytes 0 to 4 of the data belong to no tensor"},
    {"{\"a\":" F32("1", "0", "4") "}", 9, "bytes 4 to 9 of the data belong to no tensor"},
    {"{}", 1, "bytes 0 to 1 of the data belong to no tensor"},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"format\":1}}", 0, "__metadata__ 'format' is not a string"},
};

static void refuses_headers_that_lie(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_header(broken[i].header, broken[i].data);
        assert_refused(broken[i].header, broken[i].text);
    }
}

static void refuses_files_that_are_no_safetensors(void **state)
{
    (void)state;
    qsr_safetensors *st;
    qsr_error e = {0};
    assert_int_equal(qsr_write_file(path, "", 0, NULL), QSR_OK);
    assert_refused("empty", "too short for a safetensors file: 0 bytes, its header length alone has 8");
    assert_int_equal(qsr_write_file(path, "1234567", 7, NULL), QSR_OK);
    assert_refused("7 bytes", "too short for a safetensors file: 7 bytes, its header length alone has 8");
    write_raw(3, "{}", 0);
    assert_refused("length + 1",
                   "not a safetensors file, or a truncated one: a header of 3 bytes does not fit in 10 bytes");
    write_raw(UINT64_MAX, "{}", 0);
    assert_refused(
        "largest length",
        "not a safetensors file, or a truncated one: a header of 18446744073709551615 bytes does not fit in 10 bytes");
    write_raw(100000001, "{", 0);
    assert_int_equal(truncate(path, 100000009), 0); /* a hole: no disk is used */
    assert_refused("huge header", "header of 100000001 bytes, the limit is 100000000");
    unlink(path);
    assert_int_equal(qsr_safetensors_open(path, &st, &e), QSR_E_INPUT);
    char expected[512];
    snprintf(expected, sizeof expected, "cannot read %s: No such file or directory", path);
    assert_string_equal(e.text, expected);
    assert_int_equal(qsr_safetensors_open(test_folder(), &st, &e), QSR_E_INPUT);
    snprintf(expected, sizeof expected, "cannot read %s: it is a folder, not a file", test_folder());
    assert_string_equal(e.text, expected);
}

static void refuses_deep_nesting_without_harm(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    char *header = qsr_xcalloc(DEPTH + 8, 1);
    memcpy(header, "{\"a\":", 5);
    memset(header + 5, '[', DEPTH);
    write_header(header, 0);
    assert_refused("deep", "header:1:...");
    free(header);
}

static void tolerates_padding_any_order_and_metadata(void **state)
{
    (void)state;
    qsr_safetensors *st;
    write_header("{\"z\":" F32("1", "4", "8") ",\"__metadata__\":{\"format\":\"pt\",\"n\":\"\"},\"m\":" F32(
                     "", "0", "4") ",\"none\":" F32("0,3", "4", "4") ",\"\":" F32("1,1", "8", "12") "}   \n ",
                 12);
    assert_int_equal(qsr_safetensors_open(path, &st, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_count(st), 4);
    static const char *const sorted[] = {"", "m", "none", "z"};
    for (size_t i = 0; i < 4; i++) assert_string_equal(qsr_safetensors_at(st, i)->name, sorted[i]);
    const qsr_tensor *scalar = qsr_safetensors_find(st, "m"), *none = qsr_safetensors_find(st, "none");
    assert_true(scalar->rank == 0 && scalar->count == 1 && none->rank == 2 && none->count == 0 && none->shape[1] == 3);
    assert_memory_equal(scalar->data, "\0\1\2\3", 4);
    assert_memory_equal(qsr_safetensors_find(st, "z")->data, "\4\5\6\7", 4);
    assert_null(qsr_safetensors_find(st, "__metadata__"));
    assert_null(qsr_safetensors_find(st, "y"));
    assert_string_equal(qsr_safetensors_metadata(st, "format"), "pt");
    assert_string_equal(qsr_safetensors_metadata(st, "n"), "");
    assert_null(qsr_safetensors_metadata(st, "pt"));
    qsr_safetensors_close(st);
    write_header("{}", 0);
    assert_int_equal(qsr_safetensors_open(path, &st, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_count(st), 0);
    assert_null(qsr_safetensors_find(st, "a"));
    assert_null(qsr_safetensors_metadata(st, "a"));
    qsr_safetensors_close(st);
    qsr_safetensors_close(NULL);
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const float floats[6] = {0, 1, 2, 3, 4, 5};
static const double doubles[2] = {0.5, -1};
static const uint16_t halves[3] = {0x3c00, 0, 0x8000};
static const qsr_tensor some[] = {
    {"bytes", QSR_U8, 1, {3}, 3, "abc"},    {"W \"q\" \\ \n \xc3\xa4", QSR_F32, 2, {2, 3}, 6, floats},
    {"half", QSR_F16, 1, {3}, 3, halves},   {"b", QSR_F32, 0, {0}, 1, floats},
    {"empty", QSR_F64, 2, {0, 7}, 0, NULL}, {"double", QSR_F64, 1, {2}, 2, doubles},
};
enum { SOME = sizeof some / sizeof some[0] };

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    qsr_safetensors *st;
    static const char *const metadata[] = {"format", "pt", "b", "a\nb", NULL};
    assert_int_equal(qsr_safetensors_write(path, some, SOME, metadata, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_open(path, &st, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_count(st), SOME);
    for (size_t i = 0; i < SOME; i++) {
        const qsr_tensor *t = qsr_safetensors_find(st, some[i].name);
        assert_non_null(t);
        assert_true(t->dtype == some[i].dtype && t->rank == some[i].rank && t->count == some[i].count);
        for (size_t d = 0; d < t->rank; d++) assert_int_equal(t->shape[d], some[i].shape[d]);
        if (t->count) assert_memory_equal(t->data, some[i].data, t->count * qsr_dtype_size(t->dtype));
        assert_int_equal((uintptr_t)t->data % qsr_dtype_size(t->dtype), 0);
    }
    assert_string_equal(qsr_safetensors_metadata(st, "b"), "a\nb");
    qsr_safetensors_close(st);
}

static void the_layout_is_known_to_the_byte(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                 "\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                                 "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[16,20]},"
                                 "\"c\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[20,23]}}";
    const qsr_tensor tensors[] = {
        {"c", QSR_U8, 1, {3}, 3, "abc"}, {"a", QSR_F32, 0, {0}, 1, floats + 1}, {"d", QSR_F64, 1, {2}, 2, doubles}};
    static const char *const metadata[] = {"format", "pt", NULL};
    qsr_arena arena = {0};
    char *text;
    size_t size, padded = (sizeof header - 1 + 7) / 8 * 8;
    assert_int_equal(qsr_safetensors_write(path, tensors, 3, metadata, NULL), QSR_OK);
    assert_int_equal(qsr_read_file(&arena, path, 1 << 20, &text, &size, NULL), QSR_OK);
    assert_int_equal(size, 8 + padded + 23);
    assert_int_equal(*(uint64_t *)(void *)text, padded);
    assert_memory_equal(text + 8, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < padded; i++) assert_int_equal(text[8 + i], ' ');
    assert_memory_equal(text + 8 + padded, doubles, 16);
    assert_memory_equal(text + 8 + padded + 16, floats + 1, 4);
    assert_memory_equal(text + 8 + padded + 20, "abc", 3);
    qsr_arena_free(&arena);
}

static void bytes_do_not_depend_on_the_order_of_arguments(void **state)
{
    (void)state;
    qsr_tensor backwards[SOME];
    qsr_digest one, other;
    for (size_t i = 0; i < SOME; i++) backwards[i] = some[SOME - 1 - i];
    assert_int_equal(qsr_safetensors_write(path, some, SOME, NULL, NULL), QSR_OK);
    assert_int_equal(qsr_digest_file(path, &one, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_write(path, backwards, SOME, NULL, NULL), QSR_OK);
    assert_int_equal(qsr_digest_file(path, &other, NULL), QSR_OK);
    assert_string_equal(one.hex, other.hex);
}

static void assert_not_written(const qsr_tensor *tensors, size_t n, const char *const *metadata, const char *text)
{
    qsr_error e = {0};
    char expected[512];
    unlink(path);
    assert_int_equal(qsr_safetensors_write(path, tensors, n, metadata, &e), QSR_E_INTERNAL);
    snprintf(expected, sizeof expected, "cannot write %s: %s", path, text);
    assert_string_equal(e.text, expected);
    assert_false(qsr_exists(path));
}

static void refuses_to_write_what_it_would_not_read(void **state)
{
    (void)state;
    const qsr_tensor twice[] = {some[0], some[0]}, wrong = {"a", QSR_F32, 1, {2}, 3, floats},
                     latin = {"\xe4", QSR_F32, 0, {0}, 1, floats};
    const qsr_tensor huge = {"a", QSR_F32, 2, {SIZE_MAX, 2}, SIZE_MAX - 1, floats},
                     meta = {"__metadata__", QSR_F32, 0, {0}, 1, floats};
    assert_not_written(twice, 2, NULL, "tensor 'bytes': the name is taken");
    assert_not_written(&meta, 1, NULL, "tensor '__metadata__': the name is taken");
    assert_not_written(&wrong, 1, NULL, "tensor 'a': count does not match its shape, or both are too large");
    assert_not_written(&huge, 1, NULL, "tensor 'a': count does not match its shape, or both are too large");
    assert_not_written(&latin, 1, NULL, "tensor '\xe4': the name is not UTF-8");
    assert_not_written(some, 1, (const char *const[]){"key", "\xe4", NULL}, "metadata 'key' is not UTF-8");
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    char folder[300], inside[320];
    snprintf(folder, sizeof folder, "%s/locked", test_folder());
    snprintf(inside, sizeof inside, "%s/missing/x", folder);
    assert_int_equal(qsr_mkdirs(folder, NULL), QSR_OK);
    qsr_error e = {0};
    assert_int_equal(qsr_safetensors_write(inside, some, SOME, NULL, &e), QSR_E_IO);
    char expected[700];
    snprintf(expected, sizeof expected, "cannot write %s: No such file or directory", inside);
    assert_string_equal(e.text, expected);
    assert_int_equal(qsr_safetensors_write(folder, some, SOME, NULL, &e), QSR_E_IO); /* a folder is in the way */
    snprintf(expected, sizeof expected, "cannot write %s: Is a directory", folder);
    assert_string_equal(e.text, expected);
    assert_int_equal(rmdir(folder), 0); /* still there, and empty */
}

static int prepare(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.safetensors", test_folder());
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
        cmocka_unit_test(refuses_headers_that_lie),
        cmocka_unit_test(refuses_files_that_are_no_safetensors),
        cmocka_unit_test(refuses_deep_nesting_without_harm),
        cmocka_unit_test(tolerates_padding_any_order_and_metadata),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(the_layout_is_known_to_the_byte),
        cmocka_unit_test(bytes_do_not_depend_on_the_order_of_arguments),
        cmocka_unit_test(refuses_to_write_what_it_would_not_read),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
    };
    return cmocka_run_group_tests_name("safetensors", tests, prepare, clean);
}

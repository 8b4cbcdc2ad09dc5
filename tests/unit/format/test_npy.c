/* npy: what NumPy writes is read, what is written NumPy reads, and everything else is refused with a reason. */
#include <unistd.h>

#include "../unit.h"
#include "base/fs.h"
#include "base/text.h"
#include "format/npy.h"

static char path[256];

/* magic, version, header length (of `length_bytes` bytes), header, `data` bytes 0, 1, 2, ... */
static void write_raw(unsigned major, unsigned minor, uint32_t length, size_t length_bytes, const char *header, size_t data)
{
    qsr_text text = {0};
    qsr_text_append(&text, "\x93NUMPY", 6);
    qsr_text_append(&text, &(unsigned char[]){(unsigned char)major, (unsigned char)minor}, 2);
    qsr_text_append(&text, &length, length_bytes);
    qsr_text_puts(&text, header);
    for (size_t i = 0; i < data; i++) qsr_text_append(&text, &(unsigned char){(unsigned char)i}, 1);
    assert_int_equal(qsr_write_file(path, text.bytes, text.length, NULL), QSR_OK);
    qsr_text_free(&text);
}

static void write_header(const char *header, size_t data) { write_raw(1, 0, (uint32_t)strlen(header), 2, header, data); }

static void assert_refused(const char *label, const char *text)
{
    qsr_npy npy = {.count = 1};
    qsr_error e = {0};
    char expected[1024];
    qsr_status status = qsr_npy_open(path, &npy, &e);
    snprintf(expected, sizeof expected, "%s: %s", path, text);
    if (strcmp(e.text, expected) != 0) fail_msg("%s\n  gave     %s\n  expected %s", label, e.text, expected);
    assert_int_equal(status, QSR_E_INPUT);
    assert_true(npy.count == 0 && !npy.map.bytes);
    assert_int_equal(qsr_npy_open(path, &npy, NULL), QSR_E_INPUT);
}

#define HEADER(descr_, order_, shape_) "{'descr': " descr_ ", 'fortran_order': " order_ ", 'shape': " shape_ ", }\n"
#define PLAIN(shape_) HEADER("'<f4'", "False", shape_)

static const struct {
    const char *header;
    size_t data;
    const char *text;
} broken[] = {
    /* the dictionary */
    {"", 0, "bad header: expected '{' at its byte 0"},
    {"[1]", 0, "bad header: expected '{' at its byte 0"},
    {"{", 0, "bad header: expected a key at its byte 1"},
    {"{descr: 1}", 0, "bad header: expected a key at its byte 1"},
    {"{'descr", 0, "bad header: expected a key at its byte 1"},
    {"{'de\\x73cr': '<f4'}", 0, "bad header: expected a key at its byte 1"},
    {"{'descr' '<f4'}", 0, "bad header: expected ':' at its byte 9"},
    {"{'descr': '<f4' 'shape': ()}", 0, "bad header: expected ',' or '}' at its byte 16"},
    {"{'descr': '<f4', 'order': 1}", 0, "bad header: unknown key 'order'"},
    {"{'descr': '<f4', 'descr': '<f4'}", 0, "bad header: 'descr' twice"},
    {"{}", 0, "bad header: 'descr' is missing"},
    {"{'descr': '<f4', 'shape': (1,)}", 4, "bad header: 'fortran_order' is missing"},
    {"{'descr': '<f4', 'fortran_order': False}", 4, "bad header: 'shape' is missing"},
    {HEADER("'<f4'", "0", "(1,)"), 4, "bad header: expected True or False at its byte 34"},
    {PLAIN("(1,)") "x", 4, "bad header: expected nothing more at its byte 58"},
    /* shapes */
    {PLAIN("1"), 4, "bad header: expected a shape such as (3, 4) at its byte 50"},
    {PLAIN("(1)"), 4, "bad header: expected ',' or ')' at its byte 52"},
    {PLAIN("(1 2)"), 4, "bad header: expected ',' or ')' at its byte 53"},
    {PLAIN("(1,, 2)"), 4, "bad header: expected a whole number from 0 at its byte 53"},
    {PLAIN("(-1, 2)"), 4, "bad header: expected a whole number from 0 at its byte 51"},
    {"{'descr': '<f4', 'shape': (1,", 4, "bad header: expected a whole number from 0 at its byte 29"},
    {PLAIN("(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 4, "shape has more than 8 dimensions"},
    {PLAIN("(99999999999999999999,)"), 4, "shape is too large for any memory"},
    {PLAIN("(4294967296, 4294967296)"), 4, "shape is too large for any memory"},
    {PLAIN("(4611686018427387905,)"), 4, "shape is too large for any memory"},
    {PLAIN("(0, 4294967296, 4294967296)"), 0, "shape is too large for any memory"},
    /* types */
    {HEADER("'>f4'", "False", "(1,)"), 4, "big-endian numbers ('>f4'); save array.astype('<f4')"},
    {HEADER("'>u2'", "False", "(2,)"), 4, "big-endian numbers ('>u2'); save array.astype('<u2')"},
    {HEADER("'|O'", "False", "(1,)"), 4, "an array of Python objects (pickle), which is never read; save plain numbers"},
    {HEADER("[('x', '<f4')]", "False", "(1,)"), 4, "a structured array; save one plain array of numbers"},
    {HEADER("'<c8'", "False", "(1,)"), 8, "dtype '<c8' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("'|V2'", "False", "(1,)"), 2, "dtype '|V2' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("'<U4'", "False", "(1,)"), 16, "dtype '<U4' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("'|f4'", "False", "(1,)"), 4, "dtype '|f4' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("'f4'", "False", "(1,)"), 4, "dtype 'f4' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("''", "False", "(1,)"), 4, "dtype '' is not one of f8 f4 f2 i8 i4 i2 i1 u8 u4 u2 u1 b1"},
    {HEADER("4", "False", "(1,)"), 4, "bad header: expected a dtype such as '<f4' at its byte 10"},
    {HEADER("'<f4'", "True", "(2, 2)"), 16, "Fortran order; save numpy.ascontiguousarray(array)"},
    /* data */
    {PLAIN("(2, 3)"), 23, "truncated: dtype and shape make 24 bytes, the file has 23"},
    {PLAIN("(2, 3)"), 25, "dtype and shape make 24 bytes, the file has 25"},
    {PLAIN("()"), 0, "truncated: dtype and shape make 4 bytes, the file has 0"},
    {PLAIN("(0, 3)"), 4, "dtype and shape make 0 bytes, the file has 4"},
};

static void refuses_broken_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_header(broken[i].header, broken[i].data);
        assert_refused(broken[i].header, broken[i].text);
    }
}

static void refuses_broken_files(void **state)
{
    (void)state;
    qsr_npy npy;
    qsr_error e = {0};
    assert_int_equal(qsr_write_file(path, "", 0, NULL), QSR_OK);
    assert_refused("empty", "not a .npy file: it does not begin with \\x93NUMPY");
    assert_int_equal(qsr_write_file(path, "PK\3\4 a .npz archive", 18, NULL), QSR_OK);
    assert_refused("npz", "not a .npy file: it does not begin with \\x93NUMPY");
    assert_int_equal(qsr_write_file(path, "\x93NUMPY", 6, NULL), QSR_OK);
    assert_refused("magic alone", "truncated: 6 bytes end inside the header");
    assert_int_equal(qsr_write_file(path, "\x93NUMPY\1\0\1", 9, NULL), QSR_OK);
    assert_refused("half a length", "truncated: 9 bytes end inside the header");
    write_raw(4, 0, 2, 4, "{}", 0);
    assert_refused("version", "version 4.0 of the .npy format; 1.0, 2.0 and 3.0 are known");
    write_raw(1, 1, 2, 2, "{}   ", 0);
    assert_refused("version", "version 1.1 of the .npy format; 1.0, 2.0 and 3.0 are known");
    write_raw(0, 0, 2, 4, "{}", 0);
    assert_refused("version", "version 0.0 of the .npy format; 1.0, 2.0 and 3.0 are known");
    write_raw(1, 0, 3, 2, "{}", 0);
    assert_refused("length", "truncated: a header of 3 bytes does not fit in 12 bytes");
    write_raw(2, 0, UINT32_MAX, 4, "{}", 0);
    assert_refused("length", "truncated: a header of 4294967295 bytes does not fit in 14 bytes");
    unlink(path);
    assert_int_equal(qsr_npy_open(path, &npy, &e), QSR_E_INPUT);
    qsr_npy_close(&npy);
}

/* Headers as NumPy and others spell them, each for 24 bytes of data. */
static void reads_every_version_type_and_spelling(void **state)
{
    (void)state;
    static const struct {
        unsigned version;
        const char *header;
        qsr_dtype dtype;
        size_t rank, first;
    } good[] = {
        {1, PLAIN("(2, 3)"), QSR_F32, 2, 2},
        {2, PLAIN("(6,)"), QSR_F32, 1, 6},
        {3, PLAIN("(1, 2, 3)"), QSR_F32, 3, 1},
        {1, "{\"shape\":(6L,),\"fortran_order\":True,\"descr\":\"<u4\"}", QSR_U32, 1, 6},
        {1, HEADER("'<f8'", "False", "(3,)"), QSR_F64, 1, 3},
        {1, HEADER("'<f2'", "False", "(12,)"), QSR_F16, 1, 12},
        {1, HEADER("'<i8'", "False", "(3,)"), QSR_I64, 1, 3},
        {1, HEADER("'<i4'", "False", "(6,)"), QSR_I32, 1, 6},
        {1, HEADER("'<i2'", "False", "(12,)"), QSR_I16, 1, 12},
        {1, HEADER("'|i1'", "False", "(24,)"), QSR_I8, 1, 24},
        {1, HEADER("'<u8'", "False", "(3,)"), QSR_U64, 1, 3},
        {1, HEADER("'<u2'", "False", "(12,)"), QSR_U16, 1, 12},
        {1, HEADER("'|u1'", "False", "(24,)"), QSR_U8, 1, 24},
        {1, HEADER("'|b1'", "False", "(24,)"), QSR_BOOL, 1, 24},
        {1, PLAIN("(1, 1, 1, 1, 1, 1, 1, 6)"), QSR_F32, 8, 1},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        qsr_npy npy;
        qsr_error e = {0};
        write_raw(good[i].version, 0, (uint32_t)strlen(good[i].header), good[i].version == 1 ? 2 : 4, good[i].header, 24);
        if (qsr_npy_open(path, &npy, &e)) fail_msg("%s: %s", good[i].header, e.text);
        assert_true(npy.dtype == good[i].dtype && npy.rank == good[i].rank && npy.shape[0] == good[i].first);
        assert_int_equal(npy.count * qsr_dtype_size(npy.dtype), 24);
        assert_memory_equal(npy.data, "\0\1\2\3\4\5\6\7", 8);
        qsr_npy_close(&npy);
    }
}

static void scalars_and_empty_arrays_are_arrays(void **state)
{
    (void)state;
    qsr_npy npy;
    write_header(PLAIN("()"), 4);
    assert_int_equal(qsr_npy_open(path, &npy, NULL), QSR_OK);
    assert_true(npy.rank == 0 && npy.count == 1);
    qsr_npy_close(&npy);
    write_header(PLAIN("(0, 768)"), 0);
    assert_int_equal(qsr_npy_open(path, &npy, NULL), QSR_OK);
    assert_true(npy.rank == 2 && npy.count == 0 && npy.shape[1] == 768);
    qsr_npy_close(&npy);
    qsr_npy_close(&npy); /* closing an empty one is fine */
}

static void writes_what_numpy_would_write(void **state)
{
    (void)state;
    static const char header[] = "\x93NUMPY\1\0\x76\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    const float values[6] = {0, 1, 2, 3, 4, 5};
    qsr_arena arena = {0};
    char *text;
    size_t size;
    assert_int_equal(qsr_npy_write(path, QSR_F32, 2, (const size_t[]){2, 3}, values, NULL), QSR_OK);
    assert_int_equal(qsr_read_file(&arena, path, 1 << 20, &text, &size, NULL), QSR_OK);
    assert_int_equal(size, 128 + 24);
    assert_memory_equal(text, header, sizeof header - 1);
    for (size_t i = sizeof header - 1; i < 127; i++) assert_int_equal(text[i], ' ');
    assert_int_equal(text[127], '\n');
    assert_memory_equal(text + 128, values, 24);
    qsr_arena_free(&arena);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const unsigned char bytes[8 * 24];
    const qsr_dtype types[] = {QSR_F64, QSR_F32, QSR_F16, QSR_I64, QSR_I32, QSR_I16,
                               QSR_I8,  QSR_U64, QSR_U32, QSR_U16, QSR_U8,  QSR_BOOL};
    const size_t shape[] = {2, 3, 1, 4, 1, 1, 1, 1};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        for (size_t rank = 0; rank <= 8; rank++) {
            qsr_npy npy;
            assert_int_equal(qsr_npy_write(path, types[i], rank, shape, bytes, NULL), QSR_OK);
            assert_int_equal(qsr_npy_open(path, &npy, NULL), QSR_OK);
            assert_true(npy.dtype == types[i] && npy.rank == rank && memcmp(npy.shape, shape, rank * sizeof *shape) == 0);
            assert_int_equal((uintptr_t)npy.data % 64, 0);
            qsr_npy_close(&npy);
        }
}

static void refuses_to_write_what_numpy_has_not(void **state)
{
    (void)state;
    qsr_error e = {0};
    char expected[512];
    const size_t shape[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, huge[2] = {SIZE_MAX, 2};
    unlink(path);
    assert_int_equal(qsr_npy_write(path, QSR_BF16, 1, shape, "ab", &e), QSR_E_UNSUPPORTED);
    snprintf(expected, sizeof expected, "cannot write %s: NumPy has no BF16", path);
    assert_string_equal(e.text, expected);
    assert_int_equal(qsr_npy_write(path, QSR_U8, 9, shape, "a", &e), QSR_E_INTERNAL);
    snprintf(expected, sizeof expected, "cannot write %s: 9 dimensions, the limit is 8", path);
    assert_string_equal(e.text, expected);
    assert_int_equal(qsr_npy_write(path, QSR_U8, 2, huge, "a", &e), QSR_E_INPUT);
    snprintf(expected, sizeof expected, "cannot write %s: shape is too large for any memory", path);
    assert_string_equal(e.text, expected);
    assert_false(qsr_exists(path));
    assert_int_equal(qsr_npy_write("/nonexistent/x.npy", QSR_U8, 1, shape, "a", &e), QSR_E_IO);
    assert_string_equal(e.text, "cannot write /nonexistent/x.npy: No such file or directory");
}

static int prepare(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "%s/x.npy", test_folder());
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
        cmocka_unit_test(refuses_broken_headers),
        cmocka_unit_test(refuses_broken_files),
        cmocka_unit_test(reads_every_version_type_and_spelling),
        cmocka_unit_test(scalars_and_empty_arrays_are_arrays),
        cmocka_unit_test(writes_what_numpy_would_write),
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(refuses_to_write_what_numpy_has_not),
    };
    return cmocka_run_group_tests_name("npy", tests, prepare, clean);
}

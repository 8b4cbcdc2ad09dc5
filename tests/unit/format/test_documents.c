/* documents: what a text file holds, plain and compressed, and what is said of damaged ones. */
#include "../unit.h"

#include <zlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/text.h"
#include "format/documents.h"

static qsr_arena arena;

static const char *put_file(const char *name, const void *bytes, size_t n)
{
    const char *path = qsr_path_join(&arena, test_folder(), name);
    assert_int_equal(qsr_write_file(path, bytes, n, NULL), QSR_OK);
    return path;
}

/* Every document in brackets, one after the other; what stopped it, without the folder, after a '!'. */
static const char *read_all(const char *path)
{
    qsr_documents *d;
    qsr_error e = {0};
    qsr_text out = {0};
    qsr_status status = qsr_documents_open(path, &d, &e);
    const bool open = !status;
    while (!status && !(status = qsr_documents_next(d, &e))) {
        const char *bytes;
        size_t n = 1;
        qsr_text_puts(&out, "[");
        while (n && !(status = qsr_documents_read(d, &bytes, &n, &e))) qsr_text_append(&out, bytes, n);
        qsr_text_puts(&out, "]");
    }
    if (status == QSR_END) assert_int_equal(e.code, QSR_OK);
    else assert_int_equal(status, QSR_E_INPUT);
    if (status != QSR_END) {
        const char *text = strstr(e.text, test_folder());
        qsr_text_add(&out, "!%s", text ? text + strlen(test_folder()) + 1 : e.text);
    }
    if (open) qsr_documents_close(d);
    const char *copy = out.bytes ? qsr_arena_strndup(&arena, out.bytes, out.length) : "";
    qsr_text_free(&out);
    return copy;
}

/* ---- plain ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *content, *documents;
} plain[] = {
    {"a.txt", "", "[]"},
    {"a.txt", "one\r\ntwo", "[one\r\ntwo]"},
    {"a.txt", "\xef\xbb\xbfx\xff\n", "[\xef\xbb\xbfx\xff\n]"},
    {"a.jsonl", "", ""},
    {"a.jsonl", "\n \r\n\t\n", ""},
    {"a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n\n{\"id\": 123456789012345678901234567890, \"text\": \"b\\nc\"}", "[a][][b\nc]"},
    {"a.jsonl", "{\"text\": \"a\"}\r\n{\"text\": \"\\u00e9\\ud83d\\ude00\"}\r\n", "[a][\xc3\xa9\xf0\x9f\x98\x80]"},
    {"a.jsonl", "\xef\xbb\xbf{\"text\": \"a\"}\n", "[a]"},
    {"a.jsonl", "{\"text\": \"a\"}\nnonsense\n", "[a]!a.jsonl:2:8: invalid token near 'nonsense'"},
    {"a.jsonl", "{\"text\": \"a\"}\n\n{\"txt\": \"a\"}\n", "[a]!a.jsonl:3: there is no \"text\""},
    {"a.jsonl", "{\"text\": 5}\n", "!a.jsonl:1: \"text\" is not a string"},
    {"a.jsonl", "{\"text\": null}\n", "!a.jsonl:1: \"text\" is not a string"},
    {"a.jsonl", "[\"text\"]\n", "!a.jsonl:1: the line is not an object"},
    {"a.jsonl", "5\n", "!a.jsonl:1: the line is not an object"},
    {"a.jsonl", "{\"text\": \"a\"", "!a.jsonl:1:12: '}' expected near end of file"},
    {"a.jsonl", "{\"text\": \"a\"} {\"text\": \"b\"}\n", "!a.jsonl:1:15: end of file expected near '{'"},
    {"a.jsonl", "{\"text\": \"\\ud800\"}\n", "!a.jsonl:1:17: invalid Unicode '\\uD800' near '\"\\ud800\"'"},
    {"a.csv", "x", "!a.csv: a text is called .txt or .jsonl, and .gz or .zst after that where it is compressed"},
    {"a.gz", "x", "!a.gz: a text is called .txt or .jsonl, and .gz or .zst after that where it is compressed"},
    {"txt", "x", "!txt: a text is called .txt or .jsonl, and .gz or .zst after that where it is compressed"},
    {"a.txt.gz", "", "[]!a.txt.gz: the file is empty, not gzip data"},
    {"a.txt.gz", "plain text", "[]!a.txt.gz: damaged gzip data near byte 2: incorrect header check"},
    {"a.txt.zst", "", "[]!a.txt.zst: the file is empty, not zstd data"},
    {"a.txt.zst", "plain text", "[]!a.txt.zst: damaged zstd data near byte 0: Unknown frame descriptor"},
};

static void reads_documents_and_says_where_they_are_wrong(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        const char *got = read_all(put_file(plain[i].name, plain[i].content, strlen(plain[i].content)));
        if (strcmp(got, plain[i].documents)) fail_msg("case %zu gave\n  %s\nexpected\n  %s", i, got, plain[i].documents);
    }
    assert_string_equal(read_all(qsr_path_join(&arena, test_folder(), "none.txt")), "!none.txt: No such file or directory");
}

static void zero_bytes_are_text(void **state)
{
    (void)state;
    static const char record[] = "{\"text\": \"a\\u0000b\"}\n";
    qsr_documents *d;
    const char *bytes;
    size_t n;
    for (int lines = 0; lines < 2; lines++) {
        const char *path = lines ? put_file("z.jsonl", record, sizeof record - 1) : put_file("z.txt", "a\0b", 3);
        assert_int_equal(qsr_documents_open(path, &d, NULL), QSR_OK);
        assert_int_equal(qsr_documents_next(d, NULL), QSR_OK);
        assert_int_equal(qsr_documents_read(d, &bytes, &n, NULL), QSR_OK);
        assert_int_equal(n, 3);
        assert_memory_equal(bytes, "a\0b", 3);
        qsr_documents_close(d);
    }
    const char *got = read_all(put_file("z.jsonl", "{\"text\": \"a\"}\n\0\n", 16));
    assert_string_equal(got, "[a]!z.jsonl:2:1: invalid token near end of file");
}

/* Lines longer than any buffer at the start, and a text that ends with its file. */
static void lines_may_be_long(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    char *line = qsr_xcalloc(BYTES + 64, 1);
    size_t n = (size_t)sprintf(line, "{\"text\": \"");
    memset(line + n, 'x', BYTES);
    n += BYTES;
    n += (size_t)sprintf(line + n, "\"}\n{\"text\": \"y\"}");
    qsr_documents *d;
    const char *bytes;
    size_t got, read, size;
    assert_int_equal(qsr_documents_open(put_file("long.jsonl", line, n), &d, NULL), QSR_OK);
    assert_int_equal(qsr_documents_next(d, NULL), QSR_OK);
    assert_int_equal(qsr_documents_read(d, &bytes, &got, NULL), QSR_OK);
    assert_int_equal(got, BYTES);
    assert_int_equal(qsr_documents_next(d, NULL), QSR_OK);
    assert_int_equal(qsr_documents_read(d, &bytes, &got, NULL), QSR_OK);
    assert_int_equal(got, 1);
    assert_int_equal(qsr_documents_next(d, NULL), QSR_END);
    qsr_documents_position(d, &read, &size);
    assert_true(read == n && size == n);
    qsr_documents_close(d);
    free(line);
}

/* ---- compressed -------------------------------------------------------------------------------------------------- */

static void add_gzip(qsr_text *out, const char *text, size_t n)
{
    z_stream z = {0};
    unsigned char *bytes = qsr_xcalloc(n + 1024, 1);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)text, z.avail_in = (unsigned)n;
    z.next_out = bytes, z.avail_out = (unsigned)n + 1024;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    qsr_text_append(out, bytes, z.total_out);
    deflateEnd(&z);
    free(bytes);
}

static void add_zstd(qsr_text *out, const char *text, size_t n)
{
    unsigned char *bytes = qsr_xcalloc(n + 1024, 1);
    const size_t made = ZSTD_compress(bytes, n + 1024, text, n, 3);
    assert_false(ZSTD_isError(made));
    qsr_text_append(out, bytes, made);
    free(bytes);
}

static void (*const squeeze[])(qsr_text *, const char *, size_t) = {add_gzip, add_zstd};
static const char *const names[] = {"c.jsonl.gz", "c.jsonl.zst"};

static void several_members_are_one_text(void **state)
{
    (void)state;
    static const char *const parts[] = {"{\"text\": \"on", "", "e\"}\n{\"text\": \"two\"}", "\n"};
    for (int k = 0; k < 2; k++) {
        qsr_text file = {0};
        for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) squeeze[k](&file, parts[i], strlen(parts[i]));
        assert_string_equal(read_all(put_file(names[k], file.bytes, file.length)), "[one][two]");
        if (k == 0) qsr_text_append(&file, "\0\0\0\0\0", 5); /* padding */
        assert_string_equal(read_all(put_file(names[k], file.bytes, file.length)), "[one][two]");
        qsr_text_append(&file, "garbage", 7);
        const char *got = read_all(put_file(names[k], file.bytes, file.length));
        assert_true(strstr(got, "!") && strstr(got, names[k]) && strstr(got, "damaged"));
        qsr_text_free(&file);
    }
}

/* Whatever is cut off, and whatever byte is wrong: an error, or (a wrong byte in a header's name) the same text. */
static void truncated_and_damaged_files_are_refused(void **state)
{
    (void)state;
    static const char text[] = "{\"text\": \"one of a few words, and one of a few more words\"}\n";
    for (int k = 0; k < 2; k++) {
        qsr_text file = {0};
        squeeze[k](&file, text, sizeof text - 1);
        const char *whole = read_all(put_file(names[k], file.bytes, file.length));
        assert_string_equal(whole, "[one of a few words, and one of a few more words]");
        for (size_t n = 1; n < file.length; n++) {
            const char *got = read_all(put_file(names[k], file.bytes, n));
            if (!strstr(got, "truncated: ")) fail_msg("%zu of %zu bytes: %s", n, file.length, got);
        }
        size_t refused = 0;
        for (size_t i = 0; i < file.length; i++) {
            file.bytes[i] = (char)(file.bytes[i] ^ 0x10);
            const char *got = read_all(put_file(names[k], file.bytes, file.length));
            file.bytes[i] = (char)(file.bytes[i] ^ 0x10);
            refused += strchr(got, '!') != NULL;
            if (k == 0 && !strchr(got, '!')) assert_string_equal(got, whole); /* zstd's frames need no checksum */
        }
        assert_true(refused > file.length / 4);
        qsr_text_free(&file);
    }
}

static void big_compressed_texts_come_in_pieces(void **state)
{
    (void)state;
    enum { BYTES = 2000000 };
    char *text = qsr_xcalloc(BYTES, 1);
    for (size_t i = 0; i < BYTES; i++) text[i] = (char)(i * i >> 7);
    for (int k = 0; k < 2; k++) {
        qsr_text file = {0};
        qsr_documents *d;
        const char *bytes;
        size_t n = 1, at = 0;
        squeeze[k](&file, text, BYTES);
        assert_int_equal(qsr_documents_open(put_file(k ? "big.txt.zst" : "big.txt.gz", file.bytes, file.length), &d, NULL), QSR_OK);
        assert_int_equal(qsr_documents_next(d, NULL), QSR_OK);
        for (; n; at += n) {
            assert_int_equal(qsr_documents_read(d, &bytes, &n, NULL), QSR_OK);
            assert_true(n <= BYTES - at && n <= 1 << 20);
            assert_memory_equal(bytes, text + at, n);
        }
        assert_int_equal(at, BYTES);
        assert_int_equal(qsr_documents_next(d, NULL), QSR_END);
        qsr_documents_close(d);
        qsr_text_free(&file);
    }
    free(text);
}

static int tear_down(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_documents_and_says_where_they_are_wrong), cmocka_unit_test(zero_bytes_are_text),
        cmocka_unit_test(lines_may_be_long),                             cmocka_unit_test(several_members_are_one_text),
        cmocka_unit_test(truncated_and_damaged_files_are_refused),       cmocka_unit_test(big_compressed_texts_come_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

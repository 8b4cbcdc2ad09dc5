/* tokens: files of ids of every kind as one sequence, what is said of lying ones, and files that are written piece by piece. */
#include "../unit.h"

#include "base/arena.h"
#include "base/fs.h"
#include "base/text.h"
#include "format/npy.h"
#include "format/tokens-out.h"
#include "format/tokens.h"

static qsr_arena arena;

static const char *in_folder(const char *name) { return qsr_path_join(&arena, test_folder(), name); }

static const char *put_file(const char *name, const void *bytes, size_t n)
{
    assert_int_equal(qsr_write_file(in_folder(name), bytes, n, NULL), QSR_OK);
    return in_folder(name);
}

/* A header of llm.c and what follows it. */
static const char *put_llmc(const char *name, uint32_t magic, uint32_t version, uint32_t count, const void *data, size_t n)
{
    uint32_t header[256] = {magic, version, count};
    qsr_text file = {0};
    qsr_text_append(&file, header, sizeof header);
    qsr_text_append(&file, data, n);
    put_file(name, file.bytes, file.length);
    qsr_text_free(&file);
    return in_folder(name);
}

static qsr_token_files *open_good(const char *const *names, size_t n, size_t vocabulary)
{
    qsr_token_files *t;
    qsr_error e = {0};
    if (qsr_token_files_open(names, n, vocabulary, &t, &e)) fail_msg("%s", e.text);
    return t;
}

static void assert_refused(const char *path, size_t vocabulary, const char *text)
{
    qsr_token_files *t;
    qsr_error e = {0};
    assert_int_equal(qsr_token_files_open(&path, 1, vocabulary, &t, &e), QSR_E_INPUT);
    assert_string_equal(e.text, qsr_arena_printf(&arena, "%s%s", path, text));
}

static const uint16_t narrow[] = {5, 6, 7, 65535, 0};
static const uint32_t wide[] = {70000, 1, 2, 100000};
static const int64_t longs[] = {8, 9, 10};

static void reads_files_of_every_kind_as_one_sequence(void **state)
{
    (void)state;
    const char *names[] = {put_file("a.bin", narrow, sizeof narrow), put_llmc("b.bin", 20240520, 1, 5, narrow, sizeof narrow),
                           put_llmc("c.bin", 20240801, 7, 4, wide, sizeof wide), put_file("empty.bin", "", 0), in_folder("d.npy")};
    assert_int_equal(qsr_npy_write(names[4], QSR_I64, 1, &(size_t){3}, longs, NULL), QSR_OK);
    static const int64_t wanted[] = {5, 6, 7, 65535, 0, 5, 6, 7, 65535, 0, 70000, 1, 2, 100000, 8, 9, 10};
    qsr_token_files *t = open_good(names, 5, 100001);
    int64_t ids[17];
    assert_int_equal(qsr_token_files_count(t), 17);
    for (size_t begin = 0; begin <= 17; begin++)
        for (size_t n = 0; n <= 17 - begin; n++) {
            qsr_token_files_read(t, begin, n, ids);
            if (n) assert_memory_equal(ids, wanted + begin, n * sizeof *ids);
        }
    for (size_t n = 0; n <= 17; n++) {
        size_t sevens = 0;
        for (size_t i = 0; i < n; i++) sevens += wanted[i] == 7;
        assert_int_equal(qsr_token_files_rank(t, 7, n), sevens);
    }
    qsr_token_files_close(t);
    const char *pattern = in_folder("[ab].bin");
    t = open_good(&pattern, 1, 65536);
    assert_int_equal(qsr_token_files_count(t), 10);
    qsr_token_files_close(t);
}

static void counts_over_many_blocks(void **state)
{
    (void)state;
    enum { N = 300000 };
    uint16_t *ids = qsr_xcalloc(N, sizeof *ids);
    for (size_t i = 0; i < N; i++) ids[i] = i % 101 == 0;
    const char *path = put_file("many.bin", ids, N * sizeof *ids);
    qsr_token_files *t = open_good(&path, 1, 2);
    for (size_t n = 0; n <= N; n += 4999) assert_int_equal(qsr_token_files_rank(t, 1, n), (n + 100) / 101);
    assert_int_equal(qsr_token_files_rank(t, 1, N), (N + 100) / 101);
    assert_int_equal(qsr_token_files_rank(t, 1, 65536), (65536 + 100) / 101);
    qsr_token_files_close(t);
    free(ids);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    uint32_t other[256] = {20240326, 3};
    assert_refused(put_file("odd.bin", "abc", 3), 65536, ": 3 bytes are an odd number: neither uint16 tokens nor a file of llm.c");
    assert_refused(put_file("big.bin", narrow, sizeof narrow), 100,
                   ": token 3 is 65535, outside the model's vocabulary of 100: were these tokens made for another model?");
    assert_refused(put_llmc("v.bin", 20240520, 2, 5, narrow, sizeof narrow), 65536,
                   ": version 2 of llm.c's token files with magic 20240520; version 1 is known");
    assert_refused(put_llmc("v.bin", 20240801, 1, 4, wide, sizeof wide), 1 << 20,
                   ": version 1 of llm.c's token files with magic 20240801; version 7 is known");
    assert_refused(put_llmc("n.bin", 20240520, 1, 6, narrow, sizeof narrow), 65536,
                   ": the header says 6 tokens of 2 bytes, but 10 bytes follow it");
    assert_refused(put_llmc("n.bin", 20240520, 1, 0xffffffff, narrow, sizeof narrow), 65536,
                   ": the header says 4294967295 tokens of 2 bytes, but 10 bytes follow it");
    assert_refused(put_llmc("n.bin", 20240801, 7, 4, wide, sizeof wide - 1), 1 << 20,
                   ": the header says 4 tokens of 4 bytes, but 15 bytes follow it");
    assert_refused(put_llmc("n.bin", 20240801, 7, 3, wide, sizeof wide), 1 << 20,
                   ": the header says 3 tokens of 4 bytes, but 16 bytes follow it");
    assert_refused(put_file("cut.bin", (uint32_t[]){20240520, 1, 5}, 12), 65536, ": truncated: 12 bytes end inside llm.c's header of 1024");
    assert_refused(put_file("model.bin", other, sizeof other), 65536, ": magic 20240326: this is a model's weights of llm.c, not tokens");
    assert_refused(put_file("x.txt", "hello", 5), 65536, ": not a .npy file: it does not begin with \\x93NUMPY");
    const char *twice[] = {put_file("a.bin", narrow, sizeof narrow), in_folder("a.bin")};
    qsr_token_files *t;
    qsr_error e = {0};
    assert_int_equal(qsr_token_files_open(twice, 2, 65536, &t, &e), QSR_E_INPUT);
    assert_non_null(strstr(e.text, "is listed twice"));
    assert_int_equal(qsr_token_files_open(twice, 0, 65536, &t, &e), QSR_E_INPUT);
}

/* What is written piece by piece is, for .npy, what qsr_npy_write writes at once. */
static void writes_what_is_read(void **state)
{
    (void)state;
    enum { N = 50000 };
    const char *npy = in_folder("out.npy"), *bin = in_folder("out.bin"), *whole = in_folder("whole.npy");
    uint32_t *ids = qsr_xcalloc(N, sizeof *ids);
    uint16_t *small = qsr_xcalloc(N, sizeof *small);
    for (uint32_t i = 0; i < N; i++) ids[i] = i % 60000, small[i] = (uint16_t)ids[i];
    for (int kind = 0; kind < 3; kind++) {
        const char *path = kind == 1 ? bin : npy;
        qsr_tokens_out out;
        qsr_error e = {0};
        assert_int_equal(qsr_tokens_out_open(&out, path, kind == 2 ? 65536 : 65535, &e), QSR_OK);
        for (size_t at = 0, n; at < N; at += n) {
            n = 1 + at % 20011 < N - at ? 1 + at % 20011 : N - at;
            assert_int_equal(qsr_tokens_out_put(&out, ids + at, n, &e), QSR_OK);
        }
        assert_false(qsr_exists(path) && kind < 2);
        assert_int_equal(qsr_tokens_out_commit(&out, &e), QSR_OK);
        qsr_digest got, wanted;
        if (kind == 1) wanted = qsr_digest_bytes(small, N * sizeof *small);
        else {
            assert_int_equal(qsr_npy_write(whole, kind ? QSR_U32 : QSR_U16, 1, &(size_t){N}, kind ? (void *)ids : small, &e), QSR_OK);
            assert_int_equal(qsr_digest_file(whole, &wanted, &e), QSR_OK);
        }
        assert_int_equal(qsr_digest_file(path, &got, &e), QSR_OK);
        assert_string_equal(got.hex, wanted.hex);
    }
    free(ids), free(small);
}

static void refuses_what_a_file_cannot_hold(void **state)
{
    (void)state;
    qsr_tokens_out out;
    qsr_error e = {0};
    assert_int_equal(qsr_tokens_out_open(&out, "x.bin", 65536, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "x.bin: a .bin holds ids up to 65535, this vocabulary has 65536: write a .npy");
    assert_int_equal(qsr_tokens_out_open(&out, "x.csv", 5, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "x.csv: tokens are written as .npy or as .bin (nanoGPT's uint16)");
    assert_int_equal(qsr_tokens_out_open(&out, in_folder("none/x.npy"), 5, &e), QSR_E_IO);
    assert_int_equal(qsr_tokens_out_open(&out, in_folder("gone.npy"), 5, &e), QSR_OK);
    qsr_tokens_out_abort(&out);
    assert_false(qsr_exists(in_folder("gone.npy")));
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
        cmocka_unit_test(reads_files_of_every_kind_as_one_sequence), cmocka_unit_test(counts_over_many_blocks),
        cmocka_unit_test(says_what_is_wrong),                        cmocka_unit_test(writes_what_is_read),
        cmocka_unit_test(refuses_what_a_file_cannot_hold),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

/* What the rows of the gpt2 plugin stand for ("quasar.tokens/1"), from files of tokens and from texts. */
#include "../unit.h"
#include "gpt2-fixture.h"

#include "base/fs.h"
#include "format/npy.h"

enum { CONTEXT = 16, UNITS = 40, COUNT = CONTEXT * UNITS, END = 2047 };

static qsr_arena arena;

static const char *work(const char *name) { return qsr_path_join(&arena, test_folder(), name); }

static const char *model(void)
{
    return qsr_arena_printf(&arena, "%s/experiments/data/tiny-gpt2", getenv("QUASAR_SOURCE"));
}

static void open_with(const char *folder, const char *option, const char *first, const char *second, opened *ret)
{
    const setting s[] = {
        {"model", folder}, {"hook.layer", "0"}, {"context", "16"}, {option, first}, {second ? option : NULL, second},
        {NULL, NULL}};
    qsr_error e = {0};
    if (open_dataset(s, 0, ret, &e)) fail_msg("%s: %s", e.option, e.text);
}

static const qsr_tokens_ops *ops_of(const opened *o)
{
    const qsr_tokens_ops *ops = o->plugin->extension(QSR_EXT_TOKENS);
    assert_non_null(ops);
    return ops;
}

/* A text begins every few tokens; the first token is its begin or not. */
static void make_ids(uint16_t *ids, bool begins)
{
    for (size_t i = 0; i < COUNT; i++) ids[i] = (uint16_t)(i * i % 53 == 4 ? END : i % 2000);
    ids[0] = begins ? END : 5;
}

static void assert_numbered(const opened *o, const uint16_t *ids)
{
    static const uint64_t order[] = {39, 0, 1, 17, 17, 5};
    enum { N = sizeof order / sizeof *order };
    int64_t token[N * CONTEXT];
    uint64_t document[N * CONTEXT];
    assert_int_equal(o->info.units, UNITS);
    assert_int_equal(ops_of(o)->tokens(o->instance, order, N, token, document), QSR_OK);
    for (size_t i = 0; i < N * CONTEXT; i++) {
        const size_t at = (size_t)order[i / CONTEXT] * CONTEXT + i % CONTEXT;
        uint64_t wanted = 0; /* texts that have begun, less the first */
        for (size_t k = 1; k <= at; k++) wanted += ids[k] == END;
        assert_int_equal(token[i], ids[at]);
        assert_int_equal(document[i], wanted);
    }
    assert_int_equal(ops_of(o)->tokens(o->instance, order, N, NULL, document), QSR_OK);
    assert_int_equal(ops_of(o)->tokens(o->instance, order, N, token, NULL), QSR_OK);
}

static void documents_are_numbered_by_the_tokens_that_begin_them(void **state)
{
    (void)state;
    uint16_t ids[COUNT];
    opened o;
    for (int begins = 0; begins < 2; begins++) {
        make_ids(ids, begins);
        assert_int_equal(qsr_npy_write(work("t.npy"), QSR_U16, 1, &(size_t){COUNT}, ids, NULL), QSR_OK);
        open_with(model(), "tokens", work("t.npy"), NULL, &o);
        assert_numbered(&o, ids);
        close_dataset(&o);
    }
}

/* Cut within a context. */
static void several_files_are_one_sequence(void **state)
{
    (void)state;
    uint16_t ids[COUNT];
    opened o;
    make_ids(ids, true);
    assert_int_equal(qsr_write_file(work("part1.bin"), ids, 199 * sizeof *ids, NULL), QSR_OK);
    assert_int_equal(qsr_npy_write(work("part2.npy"), QSR_U16, 1, &(size_t){COUNT - 199}, ids + 199, NULL), QSR_OK);
    open_with(model(), "tokens", work("part1.bin"), work("part2.npy"), &o);
    assert_numbered(&o, ids);
    close_dataset(&o);
    open_with(model(), "tokens", work("part[12].*"), NULL, &o);
    assert_numbered(&o, ids);
    close_dataset(&o);
}

static void a_text_is_its_tokens(void **state)
{
    (void)state;
    opened o;
    qsr_text text = {0}, back = {0};
    for (int i = 0; i < 60; i++) qsr_text_add(&text, "the %d. beginning of\xc3\xa9 \xff the earth\n", i);
    assert_int_equal(qsr_write_file(work("x.txt"), text.bytes, text.length, NULL), QSR_OK);
    assert_int_equal(setenv("QUASAR_CACHE", work("cache"), 1), 0);
    open_with(model(), "text", work("x.txt"), NULL, &o);
    for (uint64_t unit = 0; unit < o.info.units; unit++) {
        int64_t token[CONTEXT];
        uint64_t document[CONTEXT];
        assert_int_equal(ops_of(&o)->tokens(o.instance, &unit, 1, token, document), QSR_OK);
        for (size_t i = 0; i < CONTEXT; i++) {
            size_t n = 0;
            const char *bytes = ops_of(&o)->text(o.instance, token[i], &n);
            assert_non_null(bytes);
            assert_int_equal(document[i], 0);
            qsr_text_append(&back, bytes, n);
        }
    }
    static const char end[] = "<|endoftext|>";
    const size_t n = back.length - (sizeof end - 1); /* all but the last part of a context */
    assert_memory_equal(back.bytes, end, sizeof end - 1);
    assert_true(n > text.length / 2 && n <= text.length);
    assert_memory_equal(back.bytes + sizeof end - 1, text.bytes, n);
    close_dataset(&o);
    qsr_text_free(&text), qsr_text_free(&back);
}

/* Tokens alone are enough to train; then there are no texts, and the config says what ends one. */
static void without_a_vocabulary_there_are_no_texts(void **state)
{
    (void)state;
    random_model m;
    opened o;
    uint16_t ids[COUNT];
    int64_t token[CONTEXT];
    uint64_t unit = UNITS - 1, document[CONTEXT];
    size_t n;
    const shape s = {.d = 8, .layers = 1, .heads = 2, .positions = CONTEXT, .vocabulary = 2048, .inner = 32};
    make_model(s, QSR_F32, &m);
    write_model(&m, work("bare"), QSR_F32, "");
    free_model(&m);
    make_ids(ids, true);
    assert_int_equal(qsr_npy_write(work("t.npy"), QSR_U16, 1, &(size_t){COUNT}, ids, NULL), QSR_OK);
    open_with(work("bare"), "tokens", work("t.npy"), NULL, &o);
    assert_int_equal(ops_of(&o)->tokens(o.instance, &unit, 1, token, document), QSR_OK);
    assert_null(ops_of(&o)->text(o.instance, 5, &n));
    for (size_t i = 0; i < CONTEXT; i++) assert_int_equal(document[i], 0);
    close_dataset(&o);
}

static int clean_up(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_numbered_by_the_tokens_that_begin_them),
        cmocka_unit_test(several_files_are_one_sequence),
        cmocka_unit_test(a_text_is_its_tokens),
        cmocka_unit_test(without_a_vocabulary_there_are_no_texts),
    };
    return cmocka_run_group_tests(tests, NULL, clean_up);
}

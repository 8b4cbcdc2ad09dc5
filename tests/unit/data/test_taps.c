/* data/dataset: experiments that share one dataset, and taps, whose bytes are those of datasets opened alone. */
#include "fake-data.h"

#include "plugin/registry.h"

enum { MOST = 8 };

/* Several experiments on one dataset. */
typedef struct {
    qsr_spec *specs[MOST];
    size_t n, tap[MOST];
    qsr_dataset data;
} shared;

static const qsr_spec *const *specs_of(const shared *s) { return (const qsr_spec *const *)s->specs; }

/* `places` is "3 1 3": one experiment each. */
static void load_all(const char *plugin, const char *dataset, const char *places, int eval_tokens, shared *s)
{
    *s = (shared){0};
    for (const char *at = places; *at; at += strcspn(at, " "), at += *at == ' ') {
        char block[200];
        snprintf(block, sizeof block, "place: %d%s%s", atoi(at), *dataset ? ", " : "", dataset);
        s->specs[s->n++] = fake_spec_in("dir", plugin, block, eval_tokens);
    }
}

static void open_all(const char *dataset, const char *places, int eval_tokens, qsr_pool *pool, shared *s)
{
    qsr_error e = {0};
    load_all("tapped", dataset, places, eval_tokens, s);
    if (qsr_dataset_open_many(specs_of(s), s->n, pool, &s->data, s->tap, NULL, &e)) fail_msg("%s", e.text);
    atomic_store(&fake_units_read, 0);
}

static void free_specs(shared *s)
{
    for (size_t i = 0; i < s->n; i++) qsr_spec_free(s->specs[i]);
}

static void close_all(shared *s)
{
    qsr_dataset_close(&s->data);
    free_specs(s);
}

/* ---- sharing ----------------------------------------------------------------------------------------------------- */

static void equal_tap_options_share_a_tap(void **state)
{
    (void)state;
    shared s;
    open_all("", "3 1 3 7 1", 8, NULL, &s);
    static const size_t want[] = {0, 1, 0, 2, 1};
    assert_memory_equal(s.tap, want, sizeof want);
    assert_int_equal(s.data.n_taps, 3);
    close_all(&s);
    open_all("", "3 3", 8, NULL, &s);
    assert_int_equal(s.data.n_taps, 1);
    close_all(&s);
}

static void without_the_extension_only_one_tap_can_be_shared(void **state)
{
    (void)state;
    shared s;
    size_t blame;
    qsr_error e = {0};
    load_all("plain", "", "5 5", 8, &s);
    assert_false(qsr_dataset_has_taps(s.specs[0]));
    assert_int_equal(qsr_dataset_open_many(specs_of(&s), 2, NULL, &s.data, s.tap, &blame, &e), QSR_OK);
    close_all(&s);
    load_all("plain", "", "5 6", 8, &s);
    assert_int_equal(qsr_dataset_open_many(specs_of(&s), 2, NULL, &s.data, s.tap, &blame, &e), QSR_E_UNSUPPORTED);
    assert_string_equal(e.text, "dataset plain cannot read several taps in one pass: it has no \"quasar.taps/1\"");
    free_specs(&s);
    load_all("tapped", "", "5", 8, &s);
    assert_true(qsr_dataset_has_taps(s.specs[0]));
    free_specs(&s);
}

static void the_spec_at_fault_is_blamed(void **state)
{
    (void)state;
    static const struct {
        const char *places;
        size_t blame;
    } cases[] = {{"99", 0}, {"1 1 99", 2}, {"1 2 1 99 99", 3}, {"99 1", 0}};
    for (size_t i = 0; i < FAKE_COUNT(cases); i++) {
        shared s;
        size_t blame = MOST;
        qsr_error e = {0};
        load_all("tapped", "", cases[i].places, 8, &s);
        assert_int_equal(qsr_dataset_open_many(specs_of(&s), s.n, NULL, &s.data, s.tap, &blame, &e), QSR_E_OPTION);
        assert_int_equal(blame, cases[i].blame);
        assert_string_equal(e.option, "place");
        assert_string_equal(e.text, "place=99 is refused");
        assert_null(s.data.made);
        free_specs(&s);
    }
}

static void other_streams_are_refused(void **state)
{
    (void)state;
    shared s = {.n = 3, .specs = {fake_spec("place: 1", 8), fake_spec("place: 2", 8), fake_spec("place: 1, seed: 1", 8)}};
    size_t blame = MOST;
    qsr_error e = {0};
    assert_int_equal(qsr_dataset_open_many(specs_of(&s), 3, NULL, &s.data, s.tap, &blame, &e), QSR_E_INTERNAL);
    assert_int_equal(blame, 2);
    free_specs(&s);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static bool equal_keys(qsr_spec *a, qsr_spec *b)
{
    qsr_arena arena = {0};
    bool equal = strcmp(qsr_dataset_stream_key(a, &arena), qsr_dataset_stream_key(b, &arena)) == 0;
    qsr_arena_free(&arena);
    qsr_spec_free(a);
    qsr_spec_free(b);
    return equal;
}

static void everything_that_decides_the_stream_is_in_the_key(void **state)
{
    (void)state;
    static const char *const other[] = {"units: 11",   "rows: 5",   "per_read: 4", "nan_place: 3",  "file: a",
                                        "word: a",     "list: [a]", "seed: 1",     "skip_first: 1", "shuffle: false",
                                        "buffer: 100", "epochs: 1", "word: \"\"",  "list: [\"\"]"};
    for (size_t i = 0; i < FAKE_COUNT(other); i++)
        if (equal_keys(fake_spec("", 8), fake_spec(other[i], 8))) fail_msg("%s is not in the key", other[i]);
    assert_false(equal_keys(fake_spec("", 8), fake_spec("", 9)));
    assert_false(equal_keys(fake_spec("", 8), fake_spec_in("dir", "plain", "", 8)));
    static const char *const same[] = {"place: 7", "free: 1", "units: 1_0", "seed: 0, shuffle: true", "buffer: 65536"};
    for (size_t i = 0; i < FAKE_COUNT(same); i++)
        if (!equal_keys(fake_spec("", 8), fake_spec(same[i], 8))) fail_msg("%s is in the key", same[i]);
}

/* One value must not read like several, nor like another option. */
static void keys_cannot_be_forged(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"list: [a, b]", "list: [\"a b\"]"},
                                           {"list: [a, \"\"]", "list: [a]"},
                                           {"word: \"a, list=[b]\"", "word: a, list: [b]"},
                                           {"word: \"a\\\"\"", "word: \"a\\\\\\\"\""},
                                           {"word: \"a\\nb\"", "word: \"a\\\\x0Ab\""}};
    for (size_t i = 0; i < FAKE_COUNT(pairs); i++)
        if (equal_keys(fake_spec(pairs[i][0], 8), fake_spec(pairs[i][1], 8))) fail_msg("%s, %s", pairs[i][0], pairs[i][1]);
}

static void paths_in_keys_are_absolute(void **state)
{
    (void)state;
    assert_false(equal_keys(fake_spec_in("one", "tapped", "file: a", 8), fake_spec_in("two", "tapped", "file: a", 8)));
    assert_true(
        equal_keys(fake_spec_in("/one", "tapped", "file: a", 8), fake_spec_in("/two", "tapped", "file: /one/a", 8)));
    assert_true(equal_keys(fake_spec_in("/dev", "tapped", "file: ./null", 8),
                           fake_spec_in("/", "tapped", "file: dev/../dev/null", 8)));
}

static void keys_can_be_read(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_spec *spec = fake_spec("place: 7, file: /x, word: two words, epochs: 3", 8);
    assert_string_equal(qsr_dataset_tap_key(spec, &arena), "place=7");
    assert_string_equal(
        qsr_dataset_stream_key(spec, &arena),
        "plugin=tapped, version=1, units=10, rows=4, per_read=3, nan_place=-1, file=/x, word=\"two words\", "
        "list=[], seed=0, skip_first=0, shuffle=true, buffer=65536, epochs=3, eval.tokens=8");
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Row `row` of a unit, after `skip` rows. */
static void check_unit(const float *rows, int64_t place, uint64_t unit, size_t n_rows, size_t skip)
{
    for (size_t r = 0; r < n_rows; r++)
        for (size_t i = 0; i < FAKE_WIDTH; i++)
            assert_true(rows[r * FAKE_WIDTH + i] == fake_value(place, unit, r + skip, i));
}

static void check_reading(size_t skip, qsr_pool *pool)
{
    static const uint64_t units[] = {4, 9, 0, 7, 7, 2, 5};
    static const int64_t places[] = {3, 1, 7};
    enum { N = 7 };
    char dataset[40];
    snprintf(dataset, sizeof dataset, "skip_first: %zu", skip);
    shared s;
    open_all(dataset, "3 1 7", 4, pool, &s);
    const size_t rows = 4 - skip;
    for (unsigned wanted = 0; wanted < 8; wanted++) {
        float block[3][N * 4 * FAKE_WIDTH], *out[3];
        for (size_t t = 0; t < 3; t++) out[t] = wanted >> t & 1 ? block[t] : NULL;
        assert_int_equal(qsr_dataset_read_taps(&s.data, units, N, out, NULL), QSR_OK);
        for (size_t t = 0; t < 3; t++)
            for (size_t u = 0; out[t] && u < N; u++)
                check_unit(block[t] + u * rows * FAKE_WIDTH, places[t], units[u], rows, skip);
    }
    assert_int_equal(qsr_dataset_reads(&s.data), 7 * 3); /* groups of 3, 3 and 1 unit; none when nobody wants anything */
    for (size_t t = 0; t < 3; t++) {
        const qsr_dataset view = qsr_dataset_view(&s.data, t);
        float block[N * 4 * FAKE_WIDTH];
        assert_int_equal(view.n_taps, 1);
        assert_int_equal(qsr_dataset_read(&view, units, N, block, NULL), QSR_OK);
        for (size_t u = 0; u < N; u++) check_unit(block + u * rows * FAKE_WIDTH, places[t], units[u], rows, skip);
    }
    assert_int_equal(qsr_dataset_reads(&s.data), 10 * 3);
    close_all(&s);
}

static void taps_give_their_own_rows(void **state)
{
    (void)state;
    qsr_pool *pool;
    assert_int_equal(qsr_pool_create(4, &pool, NULL), QSR_OK);
    for (size_t skip = 0; skip < 4; skip++) {
        check_reading(skip, NULL);
        check_reading(skip, pool);
    }
    qsr_pool_free(pool);
}

static void a_value_that_is_not_finite_names_its_tap(void **state)
{
    (void)state;
    shared s;
    float block[2][3 * 4 * FAKE_WIDTH];
    static const uint64_t units[] = {1, 2, 3};
    qsr_error e = {0};
    open_all("nan_place: 5", "1 5", 4, NULL, &s);
    assert_int_equal(qsr_dataset_read_taps(&s.data, units, 3, (float *[]){block[0], block[1]}, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "unit 2 of tapped (place=5) has nan in row 1, column 2: data must be finite");
    assert_int_equal(qsr_dataset_read_taps(&s.data, units, 3, (float *[]){block[0], NULL}, &e), QSR_OK);
    close_all(&s);
    open_all("nan_place: 5", "5", 4, NULL, &s);
    assert_int_equal(qsr_dataset_read(&s.data, units, 3, block[0], &e), QSR_E_INPUT);
    assert_string_equal(e.text, "unit 2 of tapped has nan in row 1, column 2: data must be finite");
    close_all(&s);
}

/* ---- cursors ----------------------------------------------------------------------------------------------------- */

static qsr_cursor *new_cursor(const qsr_dataset *data, const qsr_spec *spec)
{
    qsr_cursor *cursor;
    qsr_error e = {0};
    if (qsr_cursor_create(data, &spec->data, &cursor, &e)) fail_msg("%s", e.text);
    return cursor;
}

/* Row after row, the taps of one cursor are what cursors of datasets opened alone give, whatever the pieces. */
static void compare_cursors(const shared *s, size_t n, qsr_pool *pool)
{
    const size_t d = s->data.d_in, pieces[] = {1, 13, 64, n};
    float *all[MOST], *alone = qsr_xcalloc(n * d, sizeof *alone);
    qsr_cursor *many = new_cursor(&s->data, s->specs[0]);
    for (size_t t = 0; t < s->data.n_taps; t++) all[t] = qsr_xcalloc(n * d, sizeof **all);
    for (size_t done = 0, i = 0, got; done < n; done += got, i++) {
        float *out[MOST];
        for (size_t t = 0; t < s->data.n_taps; t++) out[t] = all[t] + done * d;
        const size_t piece = pieces[i % 4] < n - done ? pieces[i % 4] : n - done;
        assert_int_equal(qsr_cursor_next_taps(many, piece, out, &got, NULL), QSR_OK);
    }
    const uint64_t reads = qsr_dataset_reads(&s->data);
    for (size_t i = 0; i < s->n; i++) {
        qsr_dataset data;
        size_t got;
        assert_int_equal(qsr_dataset_open(s->specs[i], pool, &data, NULL), QSR_OK);
        qsr_cursor *cursor = new_cursor(&data, s->specs[i]);
        assert_int_equal(qsr_cursor_next(cursor, n, alone, &got, NULL), QSR_OK);
        if (memcmp(alone, all[s->tap[i]], n * d * sizeof *alone)) fail_msg("experiment %zu has other rows alone", i);
        if (data.info.rows_per_unit > 1)
            assert_int_equal(reads, qsr_dataset_reads(&data)); /* one pass, however many taps */
        qsr_cursor_free(cursor);
        const qsr_dataset view = qsr_dataset_view(&s->data, s->tap[i]);
        cursor = new_cursor(&view, s->specs[i]);
        memset(alone, 0, n * d * sizeof *alone);
        assert_int_equal(qsr_cursor_next(cursor, n, alone, &got, NULL), QSR_OK);
        assert_memory_equal(alone, all[s->tap[i]], n * d * sizeof *alone);
        qsr_cursor_free(cursor);
        qsr_dataset_close(&data);
    }
    for (size_t t = 0; t < s->data.n_taps; t++) free(all[t]);
    free(alone);
    qsr_cursor_free(many);
}

static void cursors_over_taps_equal_single_ones(void **state)
{
    (void)state;
    static const char *const datasets[] = {"units: 20, buffer: 21", "units: 20, buffer: 1000, skip_first: 3",
                                           "units: 20, buffer: 21, shuffle: false", "units: 80, rows: 1, buffer: 21",
                                           "units: 80, rows: 1, buffer: 21, shuffle: false"};
    qsr_pool *pool;
    assert_int_equal(qsr_pool_create(3, &pool, NULL), QSR_OK);
    for (size_t i = 0; i < FAKE_COUNT(datasets); i++) {
        shared s;
        open_all(datasets[i], "3 1 3 7", 4, pool, &s);
        compare_cursors(&s, 170, pool);
        close_all(&s);
    }
    qsr_pool_free(pool);
}

static void unwanted_taps_are_passed_over(void **state)
{
    (void)state;
    shared s;
    size_t got;
    float a[40 * FAKE_WIDTH], b[40 * FAKE_WIDTH], c[20 * FAKE_WIDTH];
    static const char *const datasets[] = {"units: 20, buffer: 21", "units: 80, rows: 1, buffer: 21"};
    for (size_t i = 0; i < 2; i++) {
        open_all(datasets[i], "3 1", 4, NULL, &s);
        qsr_cursor *cursor = new_cursor(&s.data, s.specs[0]), *other = new_cursor(&s.data, s.specs[0]);
        assert_int_equal(qsr_cursor_next_taps(cursor, 40, (float *[]){a, b}, &got, NULL), QSR_OK);
        assert_int_equal(qsr_cursor_next_taps(other, 20, (float *[]){NULL, NULL}, &got, NULL), QSR_OK);
        assert_int_equal(qsr_cursor_next_taps(other, 10, (float *[]){NULL, c}, &got, NULL), QSR_OK);
        assert_memory_equal(c, b + 20 * FAKE_WIDTH, 10 * FAKE_WIDTH * sizeof *c);
        assert_int_equal(qsr_cursor_next(other, 10, c, &got, NULL), QSR_OK); /* the first tap */
        assert_memory_equal(c, a + 30 * FAKE_WIDTH, 10 * FAKE_WIDTH * sizeof *c);
        qsr_cursor_free(cursor);
        qsr_cursor_free(other);
        close_all(&s);
    }
}

static void buffers_of_all_taps_are_counted(void **state)
{
    (void)state;
    shared s;
    open_all("units: 20, buffer: 21", "3 1", 4, NULL, &s);
    qsr_cursor *cursor = new_cursor(&s.data, s.specs[0]);
    assert_int_equal(qsr_cursor_bytes(cursor), 2 * 20 * FAKE_WIDTH * sizeof(float) + 20 * sizeof(uint32_t));
    qsr_cursor_free(cursor);
    close_all(&s);
}

/* ---- a model ----------------------------------------------------------------------------------------------------- */

static qsr_spec *model_spec(qsr_registry *registry, const char *hook, int context, int skip_first)
{
    const qsr_spec_env env = qsr_registry_env(registry);
    qsr_text text = {0}, wrong = {0};
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    const char *source = getenv("QUASAR_SOURCE");
    qsr_text_add(&text,
                 "dataset: {plugin: gpt2, model: %s/experiments/data/tiny-gpt2, tokens: %s/tests/golden/gpt2/tokens.npy, "
                 "hook: %s, context: %d, forward_contexts: 3, buffer: 100, skip_first: %d}\nsae: {d_sae: 8}\n"
                 "activation: {plugin: topk, k: 2}\ntrain: {tokens: 100, batch: 10}\neval: {tokens: 20}\n",
                 source, source, hook, context, skip_first);
    qsr_spec_load_text("test.yaml", text.bytes, text.length, NULL, 0, &env, &spec, &problems);
    qsr_problems_write(&problems, &wrong);
    if (!spec) fail_msg("%s", wrong.bytes);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
    qsr_text_free(&wrong);
    return spec;
}

static void layers_of_a_model_come_from_one_pass(void **state)
{
    (void)state;
    static const char *const hooks[] = {"{layer: 4}", "{layer: 0}", "{site: resid_post, layer: 1}", "{layer: 4}",
                                        "{layer: 2}"};
    qsr_registry *registry = qsr_registry_create(NULL);
    qsr_pool *pool;
    assert_int_equal(qsr_pool_create(2, &pool, NULL), QSR_OK);
    for (int context = 1; context <= 16; context += 15) {
        shared s = {.n = FAKE_COUNT(hooks)};
        qsr_error e = {0};
        for (size_t i = 0; i < s.n; i++) s.specs[i] = model_spec(registry, hooks[i], context, context > 1);
        if (qsr_dataset_open_many(specs_of(&s), s.n, pool, &s.data, s.tap, NULL, &e)) fail_msg("%s", e.text);
        assert_int_equal(s.data.n_taps, 4);
        compare_cursors(&s, 300, pool);
        close_all(&s);
    }
    qsr_pool_free(pool);
    qsr_registry_free(registry);
}

static void a_layer_that_does_not_exist_is_blamed(void **state)
{
    (void)state;
    qsr_registry *registry = qsr_registry_create(NULL);
    shared s = {.n = 3};
    size_t blame = MOST;
    qsr_error e = {0};
    static const char *const hooks[] = {"{layer: 4}", "{layer: 6}", "{layer: 7}"};
    for (size_t i = 0; i < s.n; i++) s.specs[i] = model_spec(registry, hooks[i], 16, 0);
    assert_int_equal(qsr_dataset_open_many(specs_of(&s), s.n, NULL, &s.data, s.tap, &blame, &e), QSR_E_OPTION);
    assert_int_equal(blame, 1);
    assert_string_equal(e.option, "hook.layer");
    free_specs(&s);
    qsr_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_tap_options_share_a_tap),
        cmocka_unit_test(without_the_extension_only_one_tap_can_be_shared),
        cmocka_unit_test(the_spec_at_fault_is_blamed),
        cmocka_unit_test(other_streams_are_refused),
        cmocka_unit_test(everything_that_decides_the_stream_is_in_the_key),
        cmocka_unit_test(keys_cannot_be_forged),
        cmocka_unit_test(paths_in_keys_are_absolute),
        cmocka_unit_test(keys_can_be_read),
        cmocka_unit_test(taps_give_their_own_rows),
        cmocka_unit_test(a_value_that_is_not_finite_names_its_tap),
        cmocka_unit_test(cursors_over_taps_equal_single_ones),
        cmocka_unit_test(unwanted_taps_are_passed_over),
        cmocka_unit_test(buffers_of_all_taps_are_counted),
        cmocka_unit_test(layers_of_a_model_come_from_one_pass),
        cmocka_unit_test(a_layer_that_does_not_exist_is_blamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

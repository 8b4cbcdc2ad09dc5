/* relu, topk, batchtopk: their laws, and batchtopk's selection against a full sort. */
#include "../unit.h"

#include "../fake_host.h"

enum { D_IN = 8 };

static fake_made make(const char *name, size_t d_sae, size_t batch_rows, const char *k)
{
    const qsr_plugin *plugin = fake_plugin("activations", name);
    const qsr_shape shape = {.struct_size = sizeof shape, .d_in = D_IN, .d_sae = d_sae, .batch_rows = batch_rows};
    return fake_make(plugin, &shape, k ? fake_options(plugin, "k", k, NULL) : fake_options(plugin, NULL));
}

/* Normal numbers; `levels` > 0 rounds them to so many steps per unit, which makes ties. */
static float *numbers(uint64_t seed, size_t n, double levels)
{
    float *v = malloc(n * sizeof *v);
    assert_non_null(v);
    for (size_t i = 0; i < n; i++) {
        const double x = fake_normal(seed, i);
        v[i] = (float)(levels > 0 ? round(levels * x) / levels : x);
    }
    return v;
}

static qsr_code *forward(fake_made *made, uint32_t mode, const float *pre, size_t rows, size_t d_sae, size_t row0,
                         size_t batch_rows)
{
    const qsr_activation_ops *ops = made->ops;
    qsr_code *code = fake_code_create(rows, d_sae, 0);
    const qsr_rows in = {.struct_size = sizeof in,
                         .mode = mode,
                         .rows = rows,
                         .d_sae = d_sae,
                         .d_in = D_IN,
                         .row0 = row0,
                         .batch_rows = batch_rows,
                         .pre = pre,
                         .ld_pre = d_sae};
    assert_int_equal(ops->forward(made->instance, &in, code), QSR_OK);
    fake_host_end_call(made->host);
    return code;
}

static void assert_same_code(const qsr_code *a, const qsr_code *b)
{
    assert_memory_equal(a->row_begin, b->row_begin, (a->rows + 1) * sizeof *a->row_begin);
    const size_t n = a->row_begin[a->rows];
    assert_memory_equal(a->latent, b->latent, n * sizeof *a->latent);
    assert_memory_equal(a->value, b->value, n * sizeof *a->value);
}

/* ---- relu and topk ---- */

static void relu_keeps_exactly_the_positive(void **state)
{
    (void)state;
    fake_made relu = make("relu", 5, 2, NULL);
    const float pre[] = {1, -2, 0, -0.0f, 1e-45f, NAN, 3, -INFINITY, INFINITY, 2};
    qsr_code *code = forward(&relu, QSR_TRAIN, pre, 2, 5, 0, 2);
    const size_t begin[] = {0, 2, 5};
    const uint32_t latent[] = {0, 4, 1, 3, 4};
    const float value[] = {1, 1e-45f, 3, INFINITY, 2};
    assert_memory_equal(code->row_begin, begin, sizeof begin);
    assert_memory_equal(code->latent, latent, sizeof latent);
    assert_memory_equal(code->value, value, sizeof value);
    fake_code_free(code);
    fake_unmake(&relu);
}

static void topk_of_all_equals_relu(void **state)
{
    (void)state;
    fake_made relu = make("relu", 40, 6, NULL), topk = make("topk", 40, 6, "40");
    float *pre = numbers(1, 6 * 40, 0);
    for (uint32_t mode = QSR_TRAIN; mode <= QSR_EVAL; mode++) {
        qsr_code *a = forward(&relu, mode, pre, 6, 40, 0, 6), *b = forward(&topk, mode, pre, 6, 40, 0, 6);
        assert_true(a->row_begin[6] > 0);
        assert_same_code(a, b);
        fake_code_free(a);
        fake_code_free(b);
    }
    free(pre);
    fake_unmake(&relu);
    fake_unmake(&topk);
}

static void topk_keeps_the_largest_and_fewer_when_fewer_are_positive(void **state)
{
    (void)state;
    fake_made topk = make("topk", 5, 2, "2");
    const float pre[] = {1, 3, 2, 3, 3, -1, -1, 0, 0.5f, -1};
    qsr_code *code = forward(&topk, QSR_TRAIN, pre, 2, 5, 0, 2);
    const size_t begin[] = {0, 2, 3};
    const uint32_t latent[] = {1, 3, 3};
    assert_memory_equal(code->row_begin, begin, sizeof begin);
    assert_memory_equal(code->latent, latent, sizeof latent);
    assert_close(code->value[2], 0.5, 0);
    fake_code_free(code);
    fake_unmake(&topk);
}

static void k_beyond_the_width_is_refused(void **state)
{
    (void)state;
    const qsr_shape shape = {.struct_size = sizeof shape, .d_in = D_IN, .d_sae = 8, .batch_rows = 4};
    static const char *const names[] = {"topk", "batchtopk"};
    for (size_t i = 0; i < 2; i++) {
        const qsr_plugin *plugin = fake_plugin("activations", names[i]);
        fake_refuse(plugin, &shape, fake_options(plugin, "k", "9", NULL), QSR_E_OPTION, "k", "k=9 exceeds d_sae=8");
    }
}

static void create_survives_refused_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"relu", "topk", "batchtopk", "topafa", "jumprelu"};
    const qsr_shape shape = {.struct_size = sizeof shape, .d_in = D_IN, .d_sae = 8, .batch_rows = 4};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const qsr_plugin *plugin = fake_plugin("activations", names[i]);
        void *options = strstr(names[i], "topk") ? fake_options(plugin, "k", "2", NULL) : fake_options(plugin, NULL);
        size_t refused = 0;
        for (bool done = false; !done;) {
            fake_host *host = fake_host_create();
            qsr_instance *instance = NULL;
            host->refuse_alloc = ++refused;
            const qsr_status status = plugin->create(&host->host, &shape, options, &instance);
            done = host->allocs < refused;
            assert_int_equal(status, done ? QSR_OK : QSR_E_NOMEM);
            fake_host_free(host);
        }
        assert_true(refused > 1);
        free(options);
    }
}

/* ---- batchtopk ---- */

struct batch {
    size_t rows, d_sae;
    uint32_t *row, *latent;
    float *value;
    size_t count;
};

static struct batch batch_create(size_t rows, size_t d_sae)
{
    const size_t n = rows * d_sae;
    struct batch b = {rows, d_sae, malloc(n * sizeof *b.row), malloc(n * sizeof *b.latent), malloc(n * sizeof *b.value), 0};
    assert_true(b.row && b.latent && b.value);
    return b;
}

static void batch_free(struct batch *b)
{
    free(b->row);
    free(b->latent);
    free(b->value);
}

static void batch_prune(struct batch *b, fake_made *made, bool final)
{
    const qsr_activation_ops *ops = made->ops;
    uint8_t *keep = malloc(b->count + 1);
    assert_non_null(keep);
    memset(keep, 7, b->count + 1);
    const qsr_candidates candidates = {.struct_size = sizeof candidates,
                                       .count = b->count,
                                       .final = final,
                                       .batch_rows = b->rows,
                                       .d_sae = b->d_sae,
                                       .row = b->row,
                                       .latent = b->latent,
                                       .value = b->value,
                                       .keep = keep};
    assert_int_equal(ops->prune(made->instance, &candidates), QSR_OK);
    fake_host_end_call(made->host);
    size_t n = 0;
    for (size_t i = 0; i < b->count; i++) {
        assert_true(keep[i] <= 1);
        if (!keep[i]) continue;
        b->row[n] = b->row[i], b->latent[n] = b->latent[i], b->value[n++] = b->value[i];
    }
    assert_int_equal(keep[b->count], 7);
    b->count = n;
    free(keep);
}

/* Adds a block's entries in front of what is there, or behind it. */
static void batch_add(struct batch *b, const qsr_code *code, size_t row0, bool in_front)
{
    const size_t n = code->row_begin[code->rows];
    size_t to = in_front ? 0 : b->count;
    if (in_front) {
        memmove(b->row + n, b->row, b->count * sizeof *b->row);
        memmove(b->latent + n, b->latent, b->count * sizeof *b->latent);
        memmove(b->value + n, b->value, b->count * sizeof *b->value);
    }
    b->count += n;
    for (size_t r = 0; r < code->rows; r++) {
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++, to++) {
            b->row[to] = (uint32_t)(row0 + r);
            b->latent[to] = code->latent[i];
            b->value[to] = code->value[i];
        }
    }
}

/* A training batch as the host runs it: blocks of `block` rows, in either order, pruned whenever more than `bound` candidates are
 * there. */
static struct batch train(fake_made *made, const float *pre, size_t rows, size_t d_sae, size_t block, size_t bound,
                          bool backwards)
{
    const qsr_activation_ops *ops = made->ops;
    const qsr_batch info = {.struct_size = sizeof info, .mode = QSR_TRAIN, .rows = rows, .d_in = D_IN, .d_sae = d_sae};
    assert_int_equal(ops->begin_batch(made->instance, &info), QSR_OK);
    struct batch b = batch_create(rows, d_sae);
    const size_t blocks = (rows + block - 1) / block;
    for (size_t i = 0; i < blocks; i++) {
        const size_t row0 = (backwards ? blocks - 1 - i : i) * block, n = rows - row0 < block ? rows - row0 : block;
        qsr_code *code = forward(made, QSR_TRAIN, pre + row0 * d_sae, n, d_sae, row0, rows);
        batch_add(&b, code, row0, backwards);
        fake_code_free(code);
        if (b.count > bound) batch_prune(&b, made, false);
    }
    batch_prune(&b, made, true);
    assert_int_equal(ops->end_batch(made->instance, &info), QSR_OK);
    return b;
}

struct candidate {
    float value;
    size_t place;
};

static int larger_first(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* The definition by a full sort: kept[rows * d_sae]; returns the smallest kept value or 0. */
static float sorted_selection(const float *pre, size_t n, size_t limit, uint8_t *kept)
{
    struct candidate *c = malloc(n * sizeof *c);
    assert_non_null(c);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (pre[i] > 0) c[m++] = (struct candidate){pre[i], i};
    qsort(c, m, sizeof *c, larger_first);
    memset(kept, 0, n);
    float least = 0;
    for (size_t i = 0; i < m && i < limit; i++) kept[c[i].place] = 1, least = c[i].value;
    free(c);
    return least;
}

static void assert_selection(const struct batch *b, const uint8_t *kept)
{
    size_t n = 0, expected = 0;
    for (size_t i = 0; i < b->rows * b->d_sae; i++) expected += kept[i];
    assert_int_equal(b->count, expected);
    for (size_t i = 0; i < b->count; i++) {
        const size_t place = b->row[i] * b->d_sae + b->latent[i];
        assert_true(i == 0 || place > n);
        assert_true(kept[place]);
        n = place;
    }
}

static double threshold_of(fake_made *made)
{
    const qsr_metrics_ops *metrics = made->plugin->extension(QSR_EXT_METRICS);
    const char *name = NULL;
    double value = 0;
    metrics->get(made->instance, 0, &name, &value);
    assert_string_equal(name, "threshold");
    return value;
}

static void batchtopk_of_one_row_equals_topk(void **state)
{
    (void)state;
    fake_made batchtopk = make("batchtopk", 60, 1, "7"), topk = make("topk", 60, 1, "7");
    for (uint64_t seed = 0; seed < 20; seed++) {
        float *pre = numbers(seed, 60, seed % 2 ? 2 : 0);
        struct batch b = train(&batchtopk, pre, 1, 60, 1, SIZE_MAX, false);
        qsr_code *code = forward(&topk, QSR_TRAIN, pre, 1, 60, 0, 1);
        assert_int_equal(b.count, code->row_begin[1]);
        assert_memory_equal(b.latent, code->latent, b.count * sizeof *b.latent);
        assert_memory_equal(b.value, code->value, b.count * sizeof *b.value);
        fake_code_free(code);
        batch_free(&b);
        free(pre);
    }
    fake_unmake(&batchtopk);
    fake_unmake(&topk);
}

static void batchtopk_equals_a_full_sort_however_it_is_pruned(void **state)
{
    (void)state;
    enum { ROWS = 23, WIDTH = 97 };
    static const size_t bounds[] = {SIZE_MAX, 1, 150, 700};
    fake_made made = make("batchtopk", WIDTH, ROWS, "5");
    uint8_t kept[ROWS * WIDTH];
    for (uint64_t seed = 0; seed < 24; seed++) { /* levels: without ties, with some, with hardly anything else */
        float *pre = numbers(100 + seed, ROWS * WIDTH, (double)(seed % 3) * (seed % 3 == 1 ? 20 : 0.75));
        sorted_selection(pre, ROWS * WIDTH, 5 * ROWS, kept);
        for (size_t i = 0; i < 4; i++) {
            struct batch b = train(&made, pre, ROWS, WIDTH, i == 2 ? 1 : 4, bounds[i], seed & 1);
            assert_selection(&b, kept);
            batch_free(&b);
        }
        free(pre);
    }
    fake_unmake(&made);
}

static void batchtopk_keeps_all_when_few_are_positive(void **state)
{
    (void)state;
    fake_made made = make("batchtopk", 10, 3, "4");
    float pre[30];
    for (size_t i = 0; i < 30; i++) pre[i] = i % 7 ? -1 : 0x1p-140f * (float)(i + 1); /* subnormal */
    struct batch b = train(&made, pre, 3, 10, 3, SIZE_MAX, false);
    assert_int_equal(b.count, 5);
    assert_true(threshold_of(&made) == 0x1p-140);
    batch_free(&b);
    fake_unmake(&made);
}

static void batchtopk_bounds_what_later_blocks_append(void **state)
{
    (void)state;
    fake_made made = make("batchtopk", 100, 50, "2");
    const qsr_activation_ops *ops = made.ops;
    const qsr_batch info = {.struct_size = sizeof info, .mode = QSR_TRAIN, .rows = 50, .d_in = D_IN, .d_sae = 100};
    assert_int_equal(ops->keep_limit(made.instance, 50), 100);
    assert_true(ops->keep_limit(made.instance, SIZE_MAX - 1) == SIZE_MAX);
    float *pre = numbers(5, 50 * 100, 0);
    struct batch b = batch_create(50, 100);
    assert_int_equal(ops->begin_batch(made.instance, &info), QSR_OK);
    qsr_code *first = forward(&made, QSR_TRAIN, pre, 25, 100, 0, 50);
    batch_add(&b, first, 0, false);
    batch_prune(&b, &made, false);
    assert_int_equal(b.count, 100);
    qsr_code *second = forward(&made, QSR_TRAIN, pre + 2500, 25, 100, 25, 50);
    assert_true(second->row_begin[25] < first->row_begin[25] / 5);
    fake_code_free(first);
    fake_code_free(second);
    batch_free(&b);
    free(pre);
    fake_unmake(&made);
}

static void batchtopk_moves_its_threshold_and_evaluates_with_it(void **state)
{
    (void)state;
    enum { ROWS = 9, WIDTH = 50 };
    fake_made made = make("batchtopk", WIDTH, ROWS, "3"), relu = make("relu", WIDTH, ROWS, NULL);
    float *held_out = numbers(77, ROWS * WIDTH, 0);
    qsr_code *all = forward(&relu, QSR_EVAL, held_out, ROWS, WIDTH, 0, ROWS);
    qsr_code *unset = forward(&made, QSR_EVAL, held_out, ROWS, WIDTH, 0, ROWS);
    assert_same_code(all, unset);
    assert_true(isnan(threshold_of(&made)));
    uint8_t kept[ROWS * WIDTH];
    double threshold = 0;
    for (uint64_t step = 0; step < 6; step++) {
        float *pre = numbers(200 + step, ROWS * WIDTH, 0);
        if (step == 3)
            for (size_t i = 0; i < ROWS * WIDTH; i++) pre[i] = -1; /* nothing kept: the threshold stays */
        const float least = sorted_selection(pre, ROWS * WIDTH, 3 * ROWS, kept);
        if (step == 0)
            threshold = least;
        else if (step != 3)
            threshold = 0.99 * threshold + 0.01 * least;
        struct batch b = train(&made, pre, ROWS, WIDTH, 4, 40, false);
        assert_true(threshold_of(&made) == threshold);
        batch_free(&b);
        free(pre);
    }
    qsr_code *code = forward(&made, QSR_EVAL, held_out, ROWS, WIDTH, 0, ROWS);
    size_t n = 0;
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        if (!(held_out[i] > (float)threshold)) continue;
        assert_int_equal(code->latent[n], i % WIDTH);
        assert_true(code->value[n++] == held_out[i]);
    }
    assert_int_equal(code->row_begin[ROWS], n);
    assert_true(n > 0 && n < all->row_begin[ROWS]);
    fake_code_free(all);
    fake_code_free(unset);
    fake_code_free(code);
    free(held_out);
    fake_unmake(&made);
    fake_unmake(&relu);
}

static void batchtopk_state_survives_a_round_trip_and_corrupt_state_is_refused(void **state)
{
    (void)state;
    fake_made a = make("batchtopk", 20, 4, "2"), b = make("batchtopk", 20, 4, "2");
    const qsr_state_ops *ops = a.plugin->extension(QSR_EXT_STATE);
    float *pre = numbers(8, 80, 0);
    struct batch batch = train(&a, pre, 4, 20, 2, SIZE_MAX, false);
    fake_stream stream;
    fake_stream_init(&stream);
    assert_int_equal(ops->save(a.instance, &stream.stream), QSR_OK);
    assert_int_equal(ops->load(b.instance, &stream.stream, ops->state_version), QSR_OK);
    assert_int_equal(stream.read, stream.written);
    assert_true(threshold_of(&a) == threshold_of(&b));

    stream.read = 0;
    assert_int_equal(ops->load(b.instance, &stream.stream, 2), QSR_E_STATE);
    assert_string_equal(b.host->error, "state version 2 is unknown, 1 is");
    stream.read = 1; /* truncated */
    assert_int_equal(ops->load(b.instance, &stream.stream, 1), QSR_E_STATE);
    static const double wrong[] = {-1, NAN, INFINITY};
    for (size_t i = 0; i < 3; i++) {
        fake_stream_init(&stream);
        assert_int_equal(stream.stream.write(&stream.stream, &wrong[i], sizeof wrong[i]), QSR_OK);
        assert_int_equal(ops->load(b.instance, &stream.stream, 1), QSR_E_STATE);
    }
    assert_true(threshold_of(&a) == threshold_of(&b));
    batch_free(&batch);
    free(pre);
    fake_unmake(&a);
    fake_unmake(&b);
}

static void batchtopk_exports_and_imports_its_threshold(void **state)
{
    (void)state;
    fake_made a = make("batchtopk", 4, 4, "2"), b = make("batchtopk", 4, 4, "2");
    const qsr_export_ops *ops = a.plugin->extension(QSR_EXT_EXPORT);
    const qsr_selector_ops *selector = a.plugin->extension(QSR_EXT_SELECTOR);
    const float wanted[] = {0.3f, 0.3f, 0.3f, 0.3f}, uneven[] = {0.3f, 0.3f, 0.25f, 0.3f}, negative[] = {-1, -1, -1, -1};
    qsr_export_tensor tensor;
    assert_int_equal(ops->import(a.instance, "threshold", wanted, 4), QSR_OK);
    assert_string_equal(ops->architecture(a.instance), "jumprelu");
    assert_null(ops->key);
    assert_int_equal(ops->tensor(a.instance, 0, &tensor), QSR_OK);
    assert_string_equal(tensor.name, "threshold");
    assert_memory_equal(tensor.data, wanted, sizeof wanted);
    assert_int_equal(ops->tensor(a.instance, 1, &tensor), QSR_END);
    qsr_selection selection;
    assert_int_equal(selector->get(a.instance, QSR_EVAL, &selection), QSR_OK);
    assert_true(selection.rule == QSR_SELECT_BATCH && selection.k == 2 && selection.scalar == 0.3f);

    assert_int_equal(ops->import(b.instance, "log_threshold", wanted, 4), QSR_END);
    assert_int_equal(ops->import(b.instance, "threshold", wanted, 3), QSR_E_INPUT);
    assert_string_equal(b.host->error, "threshold has 3 values, d_sae=4 are needed");
    assert_int_equal(ops->import(b.instance, "threshold", uneven, 4), QSR_E_INPUT);
    assert_string_equal(b.host->error,
                        "threshold differs between latents (0.3 at 0, 0.25 at 2), but batchtopk has one for all");
    assert_int_equal(ops->import(b.instance, "threshold", negative, 4), QSR_E_INPUT);
    assert_true(isnan(threshold_of(&b)));
    fake_unmake(&a);
    fake_unmake(&b);
}

/* ---- what the host is told ---- */

static void selectors_and_exports_describe_the_rule(void **state)
{
    (void)state;
    fake_made relu = make("relu", 8, 4, NULL), topk = make("topk", 8, 4, "3");
    qsr_selection selection;
    double k = 0;
    assert_int_equal(
        ((const qsr_selector_ops *)relu.plugin->extension(QSR_EXT_SELECTOR))->get(relu.instance, 0, &selection), 0);
    assert_true(selection.rule == QSR_SELECT_ABOVE && !selection.threshold && selection.scalar == 0);
    assert_int_equal(
        ((const qsr_selector_ops *)topk.plugin->extension(QSR_EXT_SELECTOR))->get(topk.instance, 1, &selection), 0);
    assert_true(selection.rule == QSR_SELECT_ROW && selection.k == 3);
    const qsr_export_ops *export_relu = relu.plugin->extension(QSR_EXT_EXPORT);
    const qsr_export_ops *export_topk = topk.plugin->extension(QSR_EXT_EXPORT);
    assert_string_equal(export_relu->architecture(relu.instance), "standard");
    assert_string_equal(export_topk->architecture(topk.instance), "topk");
    assert_string_equal(export_topk->key(topk.instance, 0, &k), "k");
    assert_close(k, 3, 0);
    assert_null(export_topk->key(topk.instance, 1, &k));
    assert_null(topk.plugin->extension("quasar.unknown/1"));
    fake_unmake(&relu);
    fake_unmake(&topk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_keeps_exactly_the_positive),
        cmocka_unit_test(topk_of_all_equals_relu),
        cmocka_unit_test(topk_keeps_the_largest_and_fewer_when_fewer_are_positive),
        cmocka_unit_test(k_beyond_the_width_is_refused),
        cmocka_unit_test(create_survives_refused_memory),
        cmocka_unit_test(batchtopk_of_one_row_equals_topk),
        cmocka_unit_test(batchtopk_equals_a_full_sort_however_it_is_pruned),
        cmocka_unit_test(batchtopk_keeps_all_when_few_are_positive),
        cmocka_unit_test(batchtopk_bounds_what_later_blocks_append),
        cmocka_unit_test(batchtopk_moves_its_threshold_and_evaluates_with_it),
        cmocka_unit_test(batchtopk_state_survives_a_round_trip_and_corrupt_state_is_refused),
        cmocka_unit_test(batchtopk_exports_and_imports_its_threshold),
        cmocka_unit_test(selectors_and_exports_describe_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Activations that use a host's passes over rows give the same bytes without: relu, topafa, jumprelu. */
#include "../unit.h"

#include "../fake_host.h"
#include "math/prefix.h"
#include "math/select.h"

static size_t above(const qsr_host *host, const float *v, const float *threshold, float scalar, size_t n, uint32_t *index,
                    float *value)
{
    (void)host;
    return qsr_select_above(v, threshold, scalar, n, index, value);
}

static qsr_status nearest_norm(const qsr_host *host, const float *v, const float *weight, size_t n, double target,
                               float *guess, uint32_t *index, float *value, size_t *ret_count)
{
    *ret_count = qsr_prefix(v, weight, n, target, guess, host->scratch(host, qsr_prefix_scratch(n), 1), index, value);
    return *ret_count == SIZE_MAX ? QSR_E_NUMERIC : QSR_OK;
}

static const qsr_host_passes passes = {.struct_size = sizeof passes, .above = above, .nearest_norm = nearest_norm};

static const struct {
    const char *plugin, *key, *text;
} cases[] = {
    {"relu", NULL, NULL},
    {"topafa", NULL, NULL},
    {"jumprelu", "init_threshold", "0.5"},
    {"jumprelu", "gradient", "released"}, /* with this bandwidth every latent that is off lies in its window */
    {"jumprelu", "bandwidth", "1.5"},
};

static qsr_code *forward(fake_made *made, const qsr_rows *in)
{
    const qsr_activation_ops *ops = made->ops;
    qsr_code *code = fake_code_create(in->rows, in->d_sae, ops->planes);
    assert_int_equal(ops->forward(made->instance, in, code), QSR_OK);
    fake_host_end_call(made->host);
    return code;
}

static void assert_same(const qsr_code *a, const qsr_code *b)
{
    const size_t n = a->row_begin[a->rows];
    assert_memory_equal(a->row_begin, b->row_begin, (a->rows + 1) * sizeof *a->row_begin);
    assert_memory_equal(a->latent, b->latent, n * sizeof *a->latent);
    assert_memory_equal(a->value, b->value, n * sizeof *a->value);
    for (uint32_t p = 0; p < a->planes; p++) assert_memory_equal(a->plane[p], b->plane[p], n * sizeof *a->value);
}

static void compare(size_t c, size_t rows, size_t d_sae, uint32_t mode)
{
    const qsr_plugin *plugin = fake_plugin("activations", cases[c].plugin);
    const qsr_shape shape = {.struct_size = sizeof shape, .d_in = 4, .d_sae = d_sae, .batch_rows = rows};
    fake_made plain = fake_make(plugin, &shape, fake_options(plugin, cases[c].key, cases[c].text, NULL));
    fake_made fast = fake_make_with(plugin, &shape, fake_options(plugin, cases[c].key, cases[c].text, NULL), &passes);
    float *pre = calloc(rows * d_sae, sizeof *pre), *norm = calloc(d_sae, sizeof *norm);
    double *target = calloc(rows, sizeof *target);
    assert_true(pre && norm && target);
    for (size_t i = 0; i < rows * d_sae; i++) pre[i] = i % 19 ? (float)fake_normal(c, i) : i % 38 ? 0 : 0.5f;
    for (size_t j = 0; j < d_sae; j++) norm[j] = (float)(0.5 + fake_uniform(d_sae, j));
    for (size_t r = 0; r < rows; r++) target[r] = sqrt((double)d_sae) * 0.1 * (double)(r % 9);
    const qsr_rows in = {.struct_size = sizeof in,
                         .mode = mode,
                         .rows = rows,
                         .d_sae = d_sae,
                         .d_in = 4,
                         .batch_rows = rows,
                         .pre = pre,
                         .ld_pre = d_sae,
                         .input_norm = target,
                         .dec_norm = norm};
    qsr_code *a = forward(&plain, &in), *b = forward(&fast, &in);
    assert_same(a, b);
    if (d_sae > 100) assert_true(a->row_begin[rows] > rows && a->row_begin[rows] <= rows * d_sae);
    fake_code_free(a);
    fake_code_free(b);
    free(pre);
    free(norm);
    free(target);
    fake_unmake(&plain);
    fake_unmake(&fast);
}

static void change_nothing(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 9, 16, 100, 1000};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
            for (uint32_t mode = QSR_TRAIN; mode <= QSR_EVAL; mode++) compare(c, 23, widths[w], mode);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(change_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

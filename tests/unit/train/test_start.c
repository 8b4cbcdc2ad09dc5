/* Where training starts from: what is estimated from the first rows, against the same estimated plainly; initial weights. */
#include "../unit.h"

#include "../bench.h"
#include "base/arena.h"
#include "math/rows.h"

enum { UNITS = 120, D = 3 };

static qsr_learner *start(qsr_dataset *data, qsr_spec **spec, const char *dataset, const char *sae, unsigned threads)
{
    *spec = bench_spec("name: start\nseed: 3\ndataset: {plugin: counted, units: %d, index: false, d_in: %d, %s}\n"
                       "activation: {plugin: topk, k: 2}\nsae: {d_sae: 40, %s}\n"
                       "train: {tokens: 100, batch: 10}\neval: {tokens: 7}\n",
                       UNITS, D, dataset, sae);
    qsr_learner *l;
    qsr_error e = {0};
    assert_ok(qsr_dataset_open(*spec, bench_pool(threads), data, NULL));
    assert_ok(qsr_learner_create(*spec, data->d_in, bench_pool(threads), &l, NULL, NULL));
    if (qsr_learner_start(l, data, &e)) fail_msg("%s", e.text);
    return l;
}

static void stop(qsr_dataset *data, qsr_spec *spec, qsr_learner *l)
{
    qsr_learner_free(l);
    qsr_dataset_close(data);
    qsr_spec_free(spec);
}

/* All training rows, normalised. */
static double (*training_rows(const qsr_dataset *data, const qsr_learner *l, size_t *ret_n))[D]
{
    size_t per_unit = data->rows_per_unit, n = (size_t)data->train_units * per_unit;
    float *rows = calloc(n * D, sizeof *rows);
    double(*out)[D] = calloc(n, sizeof *out);
    for (uint64_t u = 0; u < data->train_units; u++)
        assert_ok(qsr_dataset_read(data, &u, 1, rows + u * per_unit * D, NULL));
    qsr_normalise_rows(&l->sae.normalise, rows, n, D, rows, NULL);
    for (size_t i = 0; i < n * D; i++) out[i / D][i % D] = rows[i];
    free(rows);
    *ret_n = n;
    return out;
}

static void the_mean_is_over_training_rows_alone(void **state)
{
    (void)state;
    static const char *const datasets[] = {"rows_per_unit: 1", "rows_per_unit: 4, skip_first: 1, shuffle: false"};
    static const char *const saes[] = {"normalize: none", "normalize: token", "normalize: dataset"};
    for (size_t c = 0; c < 6; c++) {
        qsr_dataset data;
        qsr_spec *spec;
        qsr_learner *l = start(&data, &spec, datasets[c % 2], saes[c / 2], 2);
        size_t n;
        double(*rows)[D] = training_rows(&data, l, &n), mean[D] = {0};
        assert_int_equal(n, c % 2 ? (UNITS - 3) * 3 : UNITS - 7);
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < D; i++) mean[i] += rows[r][i] / (double)n;
        for (size_t i = 0; i < D; i++) assert_close(l->sae.params.b_dec[i], mean[i], 1e-7);
        free(rows);
        stop(&data, spec, l);
    }
}

static double distance_sum(double (*rows)[D], size_t n, const double *to)
{
    double sum = 0;
    for (size_t r = 0; r < n; r++) {
        double squares = 0;
        for (size_t i = 0; i < D; i++) squares += (rows[r][i] - to[i]) * (rows[r][i] - to[i]);
        sum += sqrt(squares);
    }
    return sum;
}

/* Steps along the axes, halved when none of them helps: slow, but sure for a convex function. */
static void minimise(double (*rows)[D], size_t n, double *at)
{
    for (double step = 1; step > 1e-7; step /= 2)
        for (bool better = true; better;) {
            better = false;
            for (size_t i = 0; i < 2 * D; i++) {
                double old = at[i / 2], now = distance_sum(rows, n, at);
                at[i / 2] += i % 2 ? step : -step;
                if (distance_sum(rows, n, at) < now)
                    better = true;
                else
                    at[i / 2] = old;
            }
        }
}

static void the_geometric_median_is_the_minimum(void **state)
{
    (void)state;
    static const char *const saes[] = {"normalize: none, b_dec_init: geometric_median",
                                       "normalize: dataset, b_dec_init: geometric_median"};
    for (size_t c = 0; c < 2; c++) {
        qsr_dataset data;
        qsr_spec *spec;
        qsr_learner *l = start(&data, &spec, "rows_per_unit: 1", saes[c], 1);
        size_t n;
        double(*rows)[D] = training_rows(&data, l, &n), best[D] = {0}, got[D];
        minimise(rows, n, best);
        for (size_t i = 0; i < D; i++) got[i] = l->sae.params.b_dec[i];
        double least = distance_sum(rows, n, best), value = distance_sum(rows, n, got);
        assert_true(value <= least * (1 + 1e-8)); /* it stops when a round moves it by less than 1e-5: quadratically near */
        for (size_t i = 0; i < D; i++) assert_close(got[i], best[i], 2e-4);
        free(rows);
        stop(&data, spec, l);
    }
}

static void the_dataset_scale_brings_the_mean_norm_to_the_root_of_d(void **state)
{
    (void)state;
    qsr_dataset data;
    qsr_spec *spec;
    qsr_learner *l = start(&data, &spec, "rows_per_unit: 2", "normalize: dataset, b_dec_init: zero", 1);
    size_t n;
    double(*rows)[D] = training_rows(&data, l, &n), zero[D] = {0};
    assert_close(distance_sum(rows, n, zero) / (double)n, sqrt(D), 1e-7);
    for (size_t i = 0; i < D; i++) assert_true(l->sae.params.b_dec[i] == 0);
    free(rows);
    stop(&data, spec, l);
}

static void rows_that_are_all_zero_have_no_scale(void **state)
{
    (void)state;
    qsr_spec *spec = bench_spec("name: zero\ndataset: {plugin: synthetic, d_in: 4, magnitude: 0, magnitude_std: 0}\n"
                                "activation: {plugin: topk, k: 2}\nsae: {d_sae: 8, normalize: dataset}\n"
                                "train: {tokens: 100, batch: 10}\neval: {tokens: 0}\n");
    qsr_dataset data;
    qsr_learner *l;
    qsr_error e = {0};
    assert_ok(qsr_dataset_open(spec, bench_pool(1), &data, NULL));
    assert_ok(qsr_learner_create(spec, data.d_in, bench_pool(1), &l, NULL, NULL));
    assert_int_equal(qsr_learner_start(l, &data, &e), QSR_E_INPUT);
    assert_string_equal(e.text, "dataset cannot scale rows that are all zero");
    assert_string_equal(e.option, "sae.normalize");
    stop(&data, spec, l);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    static const char *const inits[] = {"init: tied", "init: released, init_scale: 2.5", "b_dec_init: geometric_median"};
    for (size_t c = 0; c < 3; c++) {
        qsr_dataset data[2];
        qsr_spec *specs[2];
        qsr_learner *l[2];
        for (unsigned i = 0; i < 2; i++) l[i] = start(&data[i], &specs[i], "rows_per_unit: 3", inits[c], 2 * i + 1);
        assert_memory_equal(l[0]->sae.params.w_enc, l[1]->sae.params.w_enc, 40 * D * sizeof(float));
        assert_memory_equal(l[0]->sae.params.w_dec, l[1]->sae.params.w_dec, 40 * D * sizeof(float));
        assert_memory_equal(l[0]->sae.params.b_dec, l[1]->sae.params.b_dec, D * sizeof(float));
        for (int i = 0; i < 2; i++) stop(&data[i], specs[i], l[i]);
    }
}

static void init_from_replaces_weights_biases_and_thresholds(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char *path = qsr_path_join(&arena, test_folder(), "init.safetensors");
    qsr_dataset data;
    for (int log_theta = 0; log_theta < 2; log_theta++) {
        qsr_spec *from_spec = bench_spec("name: from\ndataset: {plugin: synthetic, d_in: %d}\nsae: {d_sae: 40}\n"
                                         "activation: {plugin: jumprelu, parametrization: %s, init_threshold: 0.25}\n"
                                         "train: {tokens: 100, batch: 10}\n",
                                         D, log_theta ? "log" : "raw");
        qsr_learner *from = bench_learner(from_spec, D, bench_pool(1)), *l;
        for (size_t j = 0; j < 40; j++) from->param[0].value[j] += (float)j / 64;
        assert_ok(qsr_params_save(&from->sae.params, path, from->sae.activation, NULL));
        qsr_spec *spec = bench_spec("name: to\ndataset: {plugin: counted, d_in: %d}\nsae: {d_sae: 40, init_from: %s}\n"
                                    "activation: {plugin: jumprelu}\ntrain: {tokens: 100, batch: 10}\n",
                                    D, path);
        assert_ok(qsr_dataset_open(spec, bench_pool(1), &data, NULL));
        assert_ok(qsr_learner_create(spec, D, bench_pool(1), &l, NULL, NULL));
        assert_ok(qsr_learner_start(l, &data, NULL));
        assert_memory_equal(l->sae.params.w_enc, from->sae.params.w_enc, 40 * D * sizeof(float));
        assert_memory_equal(l->sae.params.w_dec, from->sae.params.w_dec, 40 * D * sizeof(float));
        assert_memory_equal(l->sae.params.b_enc, from->sae.params.b_enc, 40 * sizeof(float));
        assert_memory_equal(l->sae.params.b_dec, from->sae.params.b_dec, D * sizeof(float));
        for (size_t j = 0; j < 40; j++) {
            double theta = from->param[0].value[j];
            assert_close(l->param[0].value[j], log_theta ? exp(theta) : theta, log_theta ? 1e-7 : 0);
        }
        qsr_learner_free(from);
        qsr_spec_free(from_spec);
        stop(&data, spec, l);
    }
    qsr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mean_is_over_training_rows_alone),
        cmocka_unit_test(the_geometric_median_is_the_minimum),
        cmocka_unit_test(the_dataset_scale_brings_the_mean_norm_to_the_root_of_d),
        cmocka_unit_test(rows_that_are_all_zero_have_no_scale),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(init_from_replaces_weights_biases_and_thresholds),
    };
    int failures = cmocka_run_group_tests_name("the start of training", tests, NULL, NULL);
    bench_end();
    return failures;
}

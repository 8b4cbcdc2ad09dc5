/* Weights: initial distributions, files in every real type, thresholds, and a dataset scale folded away. */
#include "../unit.h"

#include "../bench.h"
#include "base/arena.h"
#include "format/safetensors.h"
#include "math/rows.h"
#include "model/params.h"

enum { D = 5, N = 12 };

static char *file_named(qsr_arena *arena, const char *name) { return qsr_path_join(arena, test_folder(), name); }

/* ---- init -------------------------------------------------------------------------------------------------------- */

/* Mean, second and fourth moment of n numbers. */
static void moments(const float *v, size_t n, double *ret)
{
    ret[0] = ret[1] = ret[2] = 0;
    for (size_t i = 0; i < n; i++) {
        double square = (double)v[i] * v[i];
        ret[0] += v[i] / (double)n;
        ret[1] += square / (double)n;
        ret[2] += square * square / (double)n;
    }
}

static void tied_rows_are_uniform_on_the_sphere(void **state)
{
    (void)state;
    enum { WIDTH = 8, LATENTS = 5000 };
    qsr_params p;
    assert_ok(qsr_params_alloc(WIDTH, LATENTS, &p, NULL));
    qsr_params_init(&p, "tied", 0.5, 7, bench_pool(2));
    for (size_t j = 0; j < LATENTS; j++) assert_close(qsr_row_norm(p.w_dec + j * WIDTH, WIDTH), 1, 2e-7);
    for (size_t i = 0; i < LATENTS * WIDTH; i++) assert_true(p.w_enc[i] == 0.5f * p.w_dec[i]);
    double m[3], d = WIDTH, products = 0;
    moments(p.w_dec, LATENTS * WIDTH, m);
    for (size_t j = 0; j < LATENTS; j++) products += p.w_dec[j * WIDTH] * p.w_dec[j * WIDTH + 1] / LATENTS;
    /* on the sphere E w^2 = 1/d, exactly in the mean over a row; E w^4 = 3 / (d (d + 2)); five standard errors each */
    assert_true(fabs(m[0]) < 5 * sqrt(1 / d / (LATENTS * d)));
    assert_close(m[1], 1 / d, 1e-6);
    assert_true(fabs(m[2] - 3 / (d * (d + 2))) < 5 * 0.1 / sqrt(LATENTS * d));
    assert_true(fabs(products) < 5 / (d * sqrt(LATENTS)));
    qsr_params_free(&p);
}

static void released_is_uniform_with_unit_decoder_rows(void **state)
{
    (void)state;
    enum { WIDTH = 8, LATENTS = 5000 };
    const double scale = 2, bound = sqrt(6.0 / LATENTS) * scale;
    qsr_params p;
    assert_ok(qsr_params_alloc(WIDTH, LATENTS, &p, NULL));
    qsr_params_init(&p, "released", scale, 7, bench_pool(2));
    double m[3], most = 0;
    for (size_t i = 0; i < LATENTS * WIDTH; i++) most = fmax(most, fabs(p.w_enc[i]));
    assert_true(most <= bound * (1 + 1e-6) && most > 0.999 * bound);
    moments(p.w_enc, LATENTS * WIDTH, m);
    assert_true(fabs(m[0]) < 5 * bound / sqrt(3.0 * LATENTS * WIDTH));
    assert_close(m[1] / (bound * bound), 1.0 / 3, 5 * sqrt(4.0 / 45 / (LATENTS * WIDTH)));
    assert_close(m[2] / pow(bound, 4), 1.0 / 5, 5 * sqrt(16.0 / 225 / (LATENTS * WIDTH)));
    for (size_t j = 0; j < LATENTS; j++) {
        const float *enc = p.w_enc + j * WIDTH, *dec = p.w_dec + j * WIDTH;
        assert_close(qsr_row_norm(dec, WIDTH), 1, 2e-7);
        assert_close(qsr_row_dot(enc, dec, WIDTH) / qsr_row_norm(enc, WIDTH), 1, 1e-6); /* the same direction */
    }
    qsr_params_free(&p);
}

static void weights_are_a_function_of_the_seed(void **state)
{
    (void)state;
    static const char *const words[] = {"tied", "released"};
    qsr_params p[3];
    for (size_t w = 0; w < 2; w++) {
        for (unsigned i = 0; i < 3; i++) {
            assert_ok(qsr_params_alloc(24, 301, &p[i], NULL));
            qsr_params_init(&p[i], words[w], 1, i == 2 ? 8 : 7, bench_pool(i + 1));
        }
        assert_memory_equal(p[0].w_enc, p[1].w_enc, 24 * 301 * sizeof(float));
        assert_memory_equal(p[0].w_dec, p[1].w_dec, 24 * 301 * sizeof(float));
        size_t same = 0;
        for (size_t i = 0; i < 24 * 301; i++) same += p[0].w_enc[i] == p[2].w_enc[i];
        assert_true(same < 5);
        for (int i = 0; i < 3; i++) qsr_params_free(&p[i]);
    }
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static qsr_params random_params(void)
{
    qsr_params p;
    assert_ok(qsr_params_alloc(D, N, &p, NULL));
    bench_normal(p.w_enc, D * N, 1, 1);
    bench_normal(p.w_dec, D * N, 2, 1);
    bench_normal(p.b_enc, N, 3, 1);
    bench_normal(p.b_dec, D, 4, 1e-30); /* also what only float32 can hold */
    return p;
}

static void assert_same_params(const qsr_params *a, const qsr_params *b)
{
    assert_memory_equal(a->w_enc, b->w_enc, D * N * sizeof(float));
    assert_memory_equal(a->w_dec, b->w_dec, D * N * sizeof(float));
    assert_memory_equal(a->b_enc, b->b_enc, N * sizeof(float));
    assert_memory_equal(a->b_dec, b->b_dec, D * sizeof(float));
}

static void what_is_saved_is_loaded_to_the_bit(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char *path = file_named(&arena, "params.safetensors");
    qsr_params p = random_params(), back;
    assert_ok(qsr_params_alloc(D, N, &back, NULL));
    assert_ok(qsr_params_save(&p, path, NULL, NULL));
    assert_ok(qsr_params_load(&back, path, NULL, NULL));
    assert_same_params(&p, &back);
    qsr_safetensors *file;
    assert_ok(qsr_safetensors_open(path, &file, NULL));
    assert_int_equal(qsr_safetensors_count(file), 4);
    const qsr_tensor *w = qsr_safetensors_find(file, "W_enc"); /* [d_in, d_sae] in the file, latent-major here */
    assert_true(w->rank == 2 && w->shape[0] == D && w->shape[1] == N);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < N; j++)
            assert_memory_equal((const char *)w->data + 4 * (i * N + j), &p.w_enc[j * D + i], sizeof(float));
    qsr_safetensors_close(file);
    qsr_params_free(&p);
    qsr_params_free(&back);
    qsr_arena_free(&arena);
}

/* The four tensors in another type, all from the same bytes. */
static void write_as(const char *path, qsr_dtype dtype, const unsigned char *bytes)
{
    const qsr_tensor tensors[] = {{"W_enc", dtype, 2, {D, N}, D * N, bytes},
                                  {"W_dec", dtype, 2, {N, D}, D * N, bytes},
                                  {"b_enc", dtype, 1, {N}, N, bytes},
                                  {"b_dec", dtype, 1, {D}, D, bytes}};
    qsr_error e = {0};
    if (qsr_safetensors_write(path, tensors, 4, NULL, &e)) fail_msg("%s", e.text);
}

static void every_real_type_is_read(void **state)
{
    (void)state;
    static const struct {
        qsr_dtype dtype;
        uint64_t from, step;
    } types[] = {{QSR_F16, 0x3001, 151},
                 {QSR_BF16, 0x3f01, 3},
                 {QSR_F32, 0x3f800001, 77777},
                 {QSR_F64, 0x3ff0000000000001, 0x123456789}};
    qsr_arena arena = {0};
    for (size_t t = 0; t < 4; t++) {
        char *path = file_named(&arena, "typed.safetensors");
        size_t size = qsr_dtype_size(types[t].dtype);
        unsigned char bytes[D * N * 8];
        float plain[D * N];
        for (size_t i = 0; i < D * N; i++) {
            uint64_t bits = types[t].from + i * types[t].step;
            memcpy(bytes + i * size, &bits, size);
        }
        write_as(path, types[t].dtype, bytes);
        qsr_to_float(types[t].dtype, bytes, D * N, plain);
        qsr_params p;
        qsr_error e = {0};
        assert_ok(qsr_params_alloc(D, N, &p, NULL));
        if (qsr_params_load(&p, path, NULL, &e)) fail_msg("%s", e.text);
        for (size_t j = 0; j < N; j++)
            for (size_t i = 0; i < D; i++) assert_true(p.w_enc[j * D + i] == plain[i * N + j] && plain[i * N + j] != 0);
        assert_memory_equal(p.w_dec, plain, sizeof plain);
        assert_memory_equal(p.b_enc, plain, N * sizeof(float));
        assert_memory_equal(p.b_dec, plain, D * sizeof(float));
        qsr_params_free(&p);
    }
    qsr_arena_free(&arena);
}

static void unusable_files_are_named(void **state)
{
    (void)state;
    static const float zeros[D * N];
    static const float nan_last[N] = {[N - 1] = NAN};
    const qsr_tensor w_enc = {"W_enc", QSR_F32, 2, {D, N}, D * N, zeros},
                     w_dec = {"W_dec", QSR_F32, 2, {N, D}, D * N, zeros};
    const qsr_tensor b_enc = {"b_enc", QSR_F32, 1, {N}, N, zeros}, b_dec = {"b_dec", QSR_F32, 1, {D}, D, zeros};
    const qsr_tensor turned = {"W_enc", QSR_F32, 2, {N, D}, D * N, zeros},
                     flat = {"W_dec", QSR_F32, 1, {N * D}, D * N, zeros};
    const qsr_tensor whole = {"b_dec", QSR_I32, 1, {D}, D, zeros}, bad = {"b_enc", QSR_F32, 1, {N}, N, nan_last};
    const struct {
        qsr_tensor tensors[4];
        size_t n;
        const char *text;
    } cases[] = {
        {{w_enc, w_dec, b_enc}, 3, " has no tensor 'b_dec'"},
        {{w_dec, b_enc, b_dec}, 3, " has no tensor 'W_enc'"},
        {{turned, w_dec, b_enc, b_dec}, 4, ": tensor 'W_enc' has shape [12, 5], expected [5, 12]"},
        {{w_enc, flat, b_enc, b_dec}, 4, ": tensor 'W_dec' has shape [60], expected [12, 5]"},
        {{w_enc, w_dec, b_enc, whole}, 4, ": tensor 'b_dec' is I32, expected real numbers"},
        {{w_enc, w_dec, bad, b_dec}, 4, ": tensor 'b_enc' holds nan at index 11: weights must be finite"},
    };
    qsr_arena arena = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = file_named(&arena, "bad.safetensors");
        qsr_params p;
        qsr_error e = {0};
        assert_ok(qsr_params_alloc(D, N, &p, NULL));
        assert_ok(qsr_safetensors_write(path, cases[i].tensors, cases[i].n, NULL, NULL));
        assert_int_equal(qsr_params_load(&p, path, NULL, &e), QSR_E_INPUT);
        assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
        assert_string_equal(e.text + strlen(path), cases[i].text);
        qsr_params_free(&p);
    }
    qsr_arena_free(&arena);
}

static void a_product_of_sizes_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    qsr_params p;
    qsr_error e = {0};
    assert_int_equal(qsr_params_alloc(SIZE_MAX / 4, 8, &p, &e), QSR_E_OPTION);
    assert_non_null(strstr(e.text, "is too large"));
}

/* ---- thresholds -------------------------------------------------------------------------------------------------- */

static qsr_spec *spec_with(const char *activation, const char *sae)
{
    return bench_spec("name: params\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\nsae: {d_sae: %d, %s}\n"
                      "train: {tokens: 100, batch: 10}\n",
                      activation, N, sae);
}

static void thresholds_survive_a_file(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char *path = file_named(&arena, "thresholds.safetensors");
    static const char *const activations[] = {"jumprelu, init_threshold: 0.3", "jumprelu, parametrization: log"};
    for (size_t from = 0; from < 2; from++)
        for (size_t to = 0; to < 2; to++) {
            qsr_spec *specs[] = {spec_with(activations[from], "normalize: none"),
                                 spec_with(activations[to], "normalize: none")};
            qsr_learner *a = bench_learner(specs[0], D, bench_pool(1)), *b = bench_learner(specs[1], D, bench_pool(1));
            for (size_t j = 0; j < N; j++) a->param[0].value[j] += (float)j * 0.07f;
            assert_ok(qsr_params_save(&a->sae.params, path, a->sae.activation, NULL));
            assert_ok(qsr_params_load(&b->sae.params, path, b->sae.activation, NULL));
            for (size_t j = 0; j < N; j++) {
                double theta_a = from ? exp(a->param[0].value[j]) : a->param[0].value[j];
                double theta_b = to ? exp(b->param[0].value[j]) : b->param[0].value[j];
                assert_close(theta_a, theta_b, 3e-7);
                if (!from && !to) assert_true(a->param[0].value[j] == b->param[0].value[j]);
            }
            for (int i = 0; i < 2; i++) qsr_learner_free(i ? a : b), qsr_spec_free(specs[i]);
        }
    qsr_arena_free(&arena);
}

/* An activation whose tensors all lie in one place, as the contract allows: "valid until the next call". `first` and `second`
 * are [N] of 1 and of 2. */
static float shared[N];

static qsr_status shared_tensor(qsr_instance *self, uint32_t index, qsr_export_tensor *ret_tensor)
{
    (void)self;
    for (size_t j = 0; j < N; j++) shared[j] = (float)index + 1;
    if (index > 1) return QSR_END;
    *ret_tensor = (qsr_export_tensor){.name = index ? "second" : "first", .data = shared};
    return QSR_OK;
}

static const void *shared_extension(const char *id)
{
    static const qsr_export_ops ops = {.struct_size = sizeof ops, .tensor = shared_tensor};
    return strcmp(id, QSR_EXT_EXPORT) == 0 ? &ops : NULL;
}

static qsr_status shared_create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape, (void)options;
    *ret_instance = host->alloc(host, 1, 1);
    return QSR_OK;
}

static void tensors_of_an_activation_may_share_memory(void **state)
{
    (void)state;
    static const qsr_plugin plugin = {.abi = QSR_ABI(QSR_ACTIVATION), .name = "shared", .create = shared_create,
                                      .extension = shared_extension};
    const qsr_shape shape = {.struct_size = sizeof shape, .d_in = D, .d_sae = N};
    qsr_arena arena = {0};
    char *path = file_named(&arena, "shared.safetensors");
    qsr_made *made;
    qsr_safetensors *file;
    qsr_params p = random_params();
    assert_ok(qsr_made_create(&plugin, &shape, NULL, 0, NULL, &made, NULL));
    assert_ok(qsr_params_save(&p, path, made, NULL));
    assert_ok(qsr_safetensors_open(path, &file, NULL));
    for (size_t t = 0; t < 2; t++) {
        const qsr_tensor *tensor = qsr_safetensors_find(file, t ? "second" : "first");
        for (size_t j = 0; j < N; j++) assert_float_equal(((const float *)tensor->data)[j], t + 1, 0);
    }
    qsr_safetensors_close(file);
    qsr_made_free(made);
    qsr_params_free(&p);
    qsr_arena_free(&arena);
}

/* ---- a dataset scale, folded ------------------------------------------------------------------------------------- */

static void reconstruct(const qsr_sae *sae, const float *raw, size_t rows, float *out, qsr_code *code)
{
    float x[20 * D], xc[20 * D];
    qsr_row_scale scale[20];
    qsr_encoder encoder;
    assert_ok(qsr_encoder_create(sae, rows, &encoder, NULL));
    assert_ok(qsr_code_alloc(rows, N, rows * N, sae->ops->planes, code, NULL));
    qsr_normalise_rows(&sae->normalise, raw, rows, D, x, scale);
    qsr_sae_centre(sae, x, rows, xc);
    assert_ok(qsr_sae_encode(sae, QSR_EVAL, xc, rows, 0, rows, &encoder, code, NULL));
    qsr_sae_decode(sae, code, out, NULL);
    qsr_denormalise_rows(scale, out, rows, D, out);
    qsr_encoder_free(&encoder);
}

static void a_folded_scale_gives_the_same_reconstruction(void **state)
{
    (void)state;
    static const char *const activations[] = {"relu", "topk, k: 3", "batchtopk, k: 3", "topafa", "jumprelu"};
    static const double scales[] = {0.01, 0.25, 30};
    qsr_arena arena = {0};
    char *path = file_named(&arena, "folded.safetensors");
    for (size_t c = 0; c < 15; c++) {
        const double s = scales[c % 3];
        qsr_spec *scaled_spec = spec_with(activations[c / 3], "normalize: dataset");
        qsr_spec *folded_spec = spec_with(activations[c / 3], "normalize: none");
        qsr_learner *scaled = bench_learner(scaled_spec, D, bench_pool(1)),
                    *folded = bench_learner(folded_spec, D, bench_pool(1));
        scaled->sae.normalise.scale = s;
        float raw[20 * D], want[20 * D], got[20 * D];
        bench_normal(raw, 20 * D, 8, 2 / s); /* so that thresholds matter */
        qsr_code a, b;
        assert_ok(qsr_sae_save(&scaled->sae, path, NULL));
        assert_ok(qsr_params_load(&folded->sae.params, path, folded->sae.activation, NULL));
        qsr_sae_refresh(&folded->sae);
        reconstruct(&scaled->sae, raw, 20, want, &a);
        reconstruct(&folded->sae, raw, 20, got, &b);
        assert_int_equal(a.row_begin[20], b.row_begin[20]);
        assert_true(a.row_begin[20] > 20);
        assert_memory_equal(a.latent, b.latent, a.row_begin[20] * sizeof *a.latent);
        for (size_t i = 0; i < a.row_begin[20]; i++) assert_close(a.value[i], b.value[i], 2e-6);
        for (size_t i = 0; i < 20 * D; i++) assert_close(want[i] * s, got[i] * s, 5e-6);
        qsr_code_free(&a);
        qsr_code_free(&b);
        qsr_learner_free(scaled);
        qsr_learner_free(folded);
        qsr_spec_free(scaled_spec);
        qsr_spec_free(folded_spec);
    }
    qsr_arena_free(&arena);
}

static void without_a_scale_nothing_is_folded(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char *path = file_named(&arena, "plain.safetensors");
    static const char *const modes[] = {"normalize: none", "normalize: token"};
    for (size_t i = 0; i < 2; i++) {
        qsr_spec *spec = spec_with("topk, k: 3", modes[i]);
        qsr_learner *l = bench_learner(spec, D, bench_pool(1));
        qsr_params back;
        assert_ok(qsr_params_alloc(D, N, &back, NULL));
        assert_ok(qsr_sae_save(&l->sae, path, NULL));
        assert_ok(qsr_params_load(&back, path, NULL, NULL));
        assert_same_params(&l->sae.params, &back);
        qsr_params_free(&back);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
    qsr_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tied_rows_are_uniform_on_the_sphere),
        cmocka_unit_test(released_is_uniform_with_unit_decoder_rows),
        cmocka_unit_test(weights_are_a_function_of_the_seed),
        cmocka_unit_test(what_is_saved_is_loaded_to_the_bit),
        cmocka_unit_test(every_real_type_is_read),
        cmocka_unit_test(unusable_files_are_named),
        cmocka_unit_test(a_product_of_sizes_that_does_not_fit_is_refused),
        cmocka_unit_test(thresholds_survive_a_file),
        cmocka_unit_test(tensors_of_an_activation_may_share_memory),
        cmocka_unit_test(a_folded_scale_gives_the_same_reconstruction),
        cmocka_unit_test(without_a_scale_nothing_is_folded),
    };
    int failures = cmocka_run_group_tests_name("weights", tests, NULL, NULL);
    bench_end();
    return failures;
}

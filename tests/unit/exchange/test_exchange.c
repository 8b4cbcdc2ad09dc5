/* SAEs of other tools: files written here from the descriptions of the formats, in every architecture and type, compute what the formulas
 * of docs/SAES.md say, in double, over the tensors as they stand in the file. */
#include <unistd.h>

#include "../unit.h"
#include "../zip-fixture.h"
#include "base/fs.h"
#include "base/rng.h"
#include "exchange/fold.h"
#include "exchange/probe.h"
#include "exchange/write.h"
#include "format/npy.h"

enum { D = 6, N = 11, ROWS = 24, K = 3 };

/* ---- an SAE in double, by the formats' formulas ---------------------------------------------------------------------- */

typedef struct {
    const char *architecture; /* "gated", "topk", "jumprelu", "standard" */
    const char *normalize;
    bool pre_bias, rescale, finetuned;
    double scale;
    float w_enc[D * N], w_dec[N * D], b_enc[N], b_dec[D], threshold[N], b_gate[N], b_mag[N], r_mag[N], factor[N]; /* as in the file */
} model;

/* Multiples of 1/64 below 2: exact in F32, F16 and BF16. */
static void fill(float *v, size_t n, const char *stream, double low, double high)
{
    qsr_rng rng = qsr_rng_make(5, stream);
    for (size_t i = 0; i < n; i++) v[i] = (float)(floor(64 * (low + (high - low) * qsr_rng_unit(&rng, i))) / 64);
}

static model make_model(const char *architecture, const char *normalize, bool pre_bias, bool rescale, bool finetuned)
{
    model m = {.architecture = architecture, .normalize = normalize, .pre_bias = pre_bias, .rescale = rescale, .finetuned = finetuned,
               .scale = 1};
    fill(m.w_enc, D * N, "W_enc", -1, 1);
    fill(m.w_dec, D * N, "W_dec", -1, 1);
    fill(m.b_enc, N, "b_enc", -0.5, 0.5);
    fill(m.b_dec, D, "b_dec", -0.5, 0.5);
    fill(m.threshold, N, "threshold", -0.1, 0.7);
    fill(m.b_gate, N, "b_gate", -0.5, 0.5);
    fill(m.b_mag, N, "b_mag", -0.5, 0.5);
    fill(m.r_mag, N, "r_mag", -0.5, 0.5);
    fill(m.factor, N, "factor", 0.5, 1.5);
    return m;
}

/* x = (raw - mean) / spread */
static void normalise(const model *m, const float *raw, double *x, double *mean, double *spread)
{
    double sum = 0, squares = 0, deviation = 0;
    for (int i = 0; i < D; i++) sum += raw[i], squares += (double)raw[i] * raw[i];
    for (int i = 0; i < D; i++) deviation += pow(raw[i] - sum / D, 2);
    *mean = 0;
    *spread = 1;
    if (!strcmp(m->normalize, "layer_norm")) *mean = sum / D, *spread = sqrt(deviation / (D - 1)) + 1e-5;
    if (!strcmp(m->normalize, "constant_norm_rescale")) *spread = sqrt(squares) / sqrt(D);
    if (!strcmp(m->normalize, "expected_average_only_in")) *spread = 1 / m->scale;
    for (int i = 0; i < D; i++) x[i] = (raw[i] - *mean) / *spread;
}

static double norm_of(const model *m, int j)
{
    double squares = 0;
    for (int i = 0; i < D; i++) squares += (double)m->w_dec[j * D + i] * m->w_dec[j * D + i];
    return sqrt(squares);
}

static bool among_largest(const double *p, int j)
{
    int before = 0;
    for (int i = 0; i < N; i++) before += p[i] > p[j] || (p[i] == p[j] && i < j);
    return before < K;
}

static void expected(const model *m, const float *raw, double *f, double *hat)
{
    double x[D], mean, spread, p[N], q[N];
    normalise(m, raw, x, &mean, &spread);
    for (int j = 0; j < N; j++) {
        bool gated = !strcmp(m->architecture, "gated");
        p[j] = gated ? m->b_gate[j] : m->b_enc[j];
        q[j] = m->b_mag[j];
        for (int i = 0; i < D; i++) {
            double in = x[i] - (m->pre_bias ? m->b_dec[i] : 0);
            p[j] += in * m->w_enc[i * N + j];
            q[j] += in * m->w_enc[i * N + j] * exp(m->r_mag[j]);
        }
        if (m->rescale) p[j] *= norm_of(m, j);
    }
    for (int j = 0; j < N; j++) {
        f[j] = fmax(p[j], 0);
        if (!strcmp(m->architecture, "topk") && !among_largest(p, j)) f[j] = 0;
        if (!strcmp(m->architecture, "jumprelu") && !(p[j] > m->threshold[j])) f[j] = 0;
        if (!strcmp(m->architecture, "gated")) f[j] = p[j] > 0 ? fmax(q[j], 0) : 0;
    }
    for (int i = 0; i < D; i++) {
        double sum = m->b_dec[i];
        for (int j = 0; j < N; j++)
            sum += f[j] * (m->finetuned ? m->factor[j] : 1) * m->w_dec[j * D + i] / (m->rescale && f[j] > 0 ? norm_of(m, j) : 1);
        hat[i] = sum * spread + mean;
    }
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static char folder[256];

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void fresh_folder(const char *name)
{
    snprintf(folder, sizeof folder, "%s/%s", test_folder(), name);
    assert_int_equal(qsr_remove_tree(folder, NULL), QSR_OK);
    assert_int_equal(qsr_mkdirs(folder, NULL), QSR_OK);
}

static void write_text(const char *name, const char *text)
{
    assert_int_equal(qsr_write_file(in_folder(name), text, strlen(text), NULL), QSR_OK);
}

typedef struct {
    qsr_tensor items[12];
    size_t n;
    qsr_dtype dtype;
} tensors;

static void add(tensors *t, const char *name, const float *values, size_t rows, size_t cols)
{
    size_t count = rows * (cols ? cols : 1);
    void *bytes = malloc(8 * count);
    qsr_from_float(t->dtype, values, count, bytes);
    t->items[t->n++] = (qsr_tensor){name, t->dtype, cols ? 2 : 1, {rows, cols}, count, bytes};
}

static void finish(tensors *t, const char *name)
{
    assert_int_equal(qsr_safetensors_write(in_folder(name), t->items, t->n, NULL, NULL), QSR_OK);
    for (size_t i = 0; i < t->n; i++) free((void *)(uintptr_t)t->items[i].data);
}

/* In the words of SAELens 6, or of before where there is such a word. */
static void write_saelens(const model *m, const char *word, qsr_dtype dtype, bool old)
{
    char cfg[1024], scaler[64];
    const char *k = "";
    if (!strcmp(m->architecture, "topk")) k = old ? ", \"activation_fn_str\": \"topk\", \"activation_fn_kwargs\": {\"k\": 3}" : ", \"k\": 3.0";
    snprintf(cfg, sizeof cfg,
             "{\"d_in\": %d, \"d_sae\": %d, \"apply_b_dec_to_input\": %s, \"normalize_activations\": \"%s\"%s%s%s%s%s%s}", D, N,
             m->pre_bias ? "true" : "false", m->normalize, word ? ", \"architecture\": \"" : "", word ? word : "", word ? "\"" : "", k,
             m->rescale ? ", \"rescale_acts_by_decoder_norm\": true" : "", m->finetuned ? ", \"finetuning_scaling_factor\": true" : "");
    write_text("cfg.json", cfg);
    if (!strcmp(m->normalize, "expected_average_only_in")) {
        snprintf(scaler, sizeof scaler, "{\"scaling_factor\": %.17g}", m->scale);
        write_text("activation_scaler.json", scaler);
    }
    tensors t = {.dtype = dtype};
    bool gated = !strcmp(m->architecture, "gated");
    add(&t, "W_enc", m->w_enc, D, N);
    add(&t, "W_dec", m->w_dec, N, D);
    add(&t, "b_dec", m->b_dec, D, 0);
    if (!gated) add(&t, "b_enc", m->b_enc, N, 0);
    if (gated) add(&t, "b_gate", m->b_gate, N, 0);
    if (gated) add(&t, "b_mag", m->b_mag, N, 0);
    if (gated) add(&t, "r_mag", m->r_mag, N, 0);
    if (word && strstr(word, "batchtopk")) add(&t, "topk_threshold", m->threshold, 1, 0);
    else if (!strcmp(m->architecture, "jumprelu")) add(&t, "threshold", m->threshold, N, 0);
    if (m->finetuned) add(&t, "finetuning_scaling_factor", m->factor, N, 0);
    finish(&t, "sae_weights.safetensors");
}

/* ---- comparing ------------------------------------------------------------------------------------------------------- */

static void run_sae(const qsr_sae *sae, const float *raw, float *f, float *hat)
{
    float x[ROWS * D], xc[ROWS * D];
    qsr_row_scale scale[ROWS];
    qsr_encoder encoder;
    qsr_code code;
    assert_int_equal(qsr_encoder_create(sae, ROWS, &encoder, NULL), QSR_OK);
    assert_int_equal(qsr_code_alloc(ROWS, N, ROWS * N, 0, &code, NULL), QSR_OK);
    qsr_normalise_rows(&sae->normalise, raw, ROWS, D, x, scale);
    qsr_sae_centre(sae, x, ROWS, xc);
    assert_int_equal(qsr_sae_encode(sae, QSR_EVAL, xc, ROWS, 0, ROWS, &encoder, &code, NULL), QSR_OK);
    qsr_sae_decode(sae, &code, hat, NULL);
    qsr_denormalise_rows(scale, hat, ROWS, D, hat);
    memset(f, 0, ROWS * N * sizeof *f);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = code.row_begin[r]; i < code.row_begin[r + 1]; i++) f[r * N + code.latent[i]] = code.value[i];
    qsr_encoder_free(&encoder);
    qsr_code_free(&code);
}

static void make_rows(float *raw)
{
    qsr_rng rng = qsr_rng_make(7, "rows");
    for (size_t i = 0; i < ROWS * D; i++) raw[i] = (float)qsr_rng_normal(&rng, i);
}

/* Sums of at most D + N products in float32 of terms of size 1 to 10: 17 roundings of 2^-24 each, some grown by exp and 1/norm. */
#define TOLERANCE 4e-6

static void assert_computes(const qsr_sae *sae, const model *m, const char *label)
{
    float raw[ROWS * D], f[ROWS * N], hat[ROWS * D];
    size_t active = 0;
    make_rows(raw);
    run_sae(sae, raw, f, hat);
    for (size_t r = 0; r < ROWS; r++) {
        double want_f[N], want_hat[D];
        expected(m, raw + r * D, want_f, want_hat);
        for (int j = 0; j < N; j++) {
            if (fabs(f[r * N + (size_t)j] - want_f[j]) > TOLERANCE * fmax(1, fabs(want_f[j])))
                fail_msg("%s: row %zu, latent %d: %.9g, expected %.9g", label, r, j, (double)f[r * N + (size_t)j], want_f[j]);
            active += want_f[j] != 0;
        }
        for (int i = 0; i < D; i++)
            if (fabs(hat[r * D + (size_t)i] - want_hat[i]) > 4 * TOLERANCE * fmax(1, fabs(want_hat[i])))
                fail_msg("%s: row %zu, column %d: %.9g, expected %.9g", label, r, i, (double)hat[r * D + (size_t)i], want_hat[i]);
    }
    assert_true(active > ROWS && active < ROWS * N); /* otherwise it shows nothing */
}

static qsr_pretrained opened(const char *path)
{
    qsr_pretrained p;
    qsr_error e = {0};
    if (qsr_pretrained_open(path, &p, &e)) fail_msg("%s", e.text);
    return p;
}

static void check_file(const char *path, const model *m, const char *label)
{
    qsr_pretrained p = opened(path);
    qsr_sae sae;
    qsr_error e = {0};
    if (qsr_pretrained_make(&p, NULL, &sae, &e)) fail_msg("%s: %s", label, e.text);
    assert_computes(&sae, m, label);
    qsr_sae_free(&sae);
    qsr_pretrained_free(&p);
}

/* ---- tests ----------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word, *architecture; /* in the file; what it computes */
    bool old, one_threshold;
} kinds[] = {{"standard", "standard", false, false},
             {NULL, "standard", true, false},
             {"topk", "topk", false, false},
             {NULL, "topk", true, false},
             {"standard", "topk", true, false},
             {"jumprelu", "jumprelu", false, false},
             {"gated", "gated", false, false},
             {"batchtopk", "jumprelu", false, true},
             {"matryoshka_batchtopk", "jumprelu", false, true}};
static const char *const norms[] = {"none", "layer_norm", "constant_norm_rescale", "expected_average_only_in"};
static const qsr_dtype dtypes[] = {QSR_F32, QSR_F16, QSR_BF16, QSR_F64};

static void saelens_files_compute_their_formulas(void **state)
{
    (void)state;
    size_t n = 0;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (size_t norm = 0; norm < 4; norm++)
            for (unsigned bits = 0; bits < 8; bits++) {
                bool rescale = bits & 2 && strcmp(kinds[kind].architecture, "gated") != 0;
                model m = make_model(kinds[kind].architecture, norms[norm], bits & 1, rescale, bits & 4);
                char label[128];
                if (norm == 3) m.scale = 0.7;
                for (int j = 0; kinds[kind].one_threshold && j < N; j++) m.threshold[j] = 0.25f;
                snprintf(label, sizeof label, "%s of %s, %s, bits %u", m.architecture, kinds[kind].word ? kinds[kind].word : "old", m.normalize,
                         bits);
                fresh_folder("saelens");
                write_saelens(&m, kinds[kind].word, dtypes[n++ % 4], kinds[kind].old);
                check_file(folder, &m, label);
            }
}

static void sparsify_files_compute_their_formula(void **state)
{
    (void)state;
    model m = make_model("topk", "none", true, false, false);
    float encoder[N * D];
    for (int i = 0; i < D; i++)
        for (int j = 0; j < N; j++) encoder[j * D + i] = m.w_enc[i * N + j];
    for (size_t type = 0; type < 3; type++) {
        fresh_folder("sparsify");
        write_text("cfg.json", type ? "{\"activation\": \"topk\", \"num_latents\": 11, \"expansion_factor\": 32, \"normalize_decoder\": true, "
                                      "\"k\": 3, \"multi_topk\": true, \"d_in\": 6}"
                                    : "{\"num_latents\": 11, \"k\": 3, \"d_in\": 6}");
        tensors t = {.dtype = dtypes[type]};
        add(&t, "encoder.weight", encoder, N, D);
        add(&t, "encoder.bias", m.b_enc, N, 0);
        add(&t, "W_dec", m.w_dec, N, D);
        add(&t, "b_dec", m.b_dec, D, 0);
        finish(&t, "sae.safetensors");
        check_file(folder, &m, "sparsify");
    }
}

/* An array as .npy bytes; turned: in Fortran order, in version 2.0 of the format. */
static void array_of(const float *v, size_t rows, size_t cols, bool turned, qsr_text *out)
{
    size_t shape[] = {rows, cols};
    qsr_npy_header(QSR_F32, cols ? 2 : 1, shape, out);
    if (turned) {
        qsr_text second = {0};
        memcpy(strstr(out->bytes + 10, "False"), " True", 5);
        qsr_text_append(&second, "\x93NUMPY\2\0", 8);
        qsr_text_append(&second, out->bytes + 8, 2);
        qsr_text_append(&second, "\0", 2);
        qsr_text_append(&second, out->bytes + 10, out->length - 10);
        qsr_text_free(out);
        *out = second;
    }
    for (size_t i = 0; i < rows * (cols ? cols : 1); i++) {
        size_t at = turned && cols ? i % rows * cols + i / rows : i;
        qsr_text_append(out, &v[at], sizeof v[at]);
    }
}

static void gemma_scope_files_compute_their_formula(void **state)
{
    (void)state;
    model m = make_model("jumprelu", "none", false, false, false);
    static const char *const names[] = {"W_enc.npy", "W_dec.npy", "b_enc.npy", "b_dec.npy", "threshold.npy"};
    const float *values[] = {m.w_enc, m.w_dec, m.b_enc, m.b_dec, m.threshold};
    static const size_t rows[] = {D, N, N, D, N}, cols[] = {N, D, 0, 0, 0};
    for (unsigned bits = 0; bits < 4; bits++) {
        qsr_text arrays[5] = {{0}}, out = {0};
        zip_member members[5];
        for (int i = 0; i < 5; i++) {
            array_of(values[i], rows[i], cols[i], bits & 2, &arrays[i]);
            members[i] = (zip_member){names[i], arrays[i].bytes, arrays[i].length, bits & 1, -1, -1, 0, -1};
        }
        zip_fixture(members, 5, &out);
        fresh_folder("gemma");
        assert_int_equal(qsr_write_file(in_folder("params.npz"), out.bytes, out.length, NULL), QSR_OK);
        check_file(folder, &m, bits & 1 ? "deflated" : "stored");
        for (int i = 0; i < 5; i++) qsr_text_free(&arrays[i]);
        qsr_text_free(&out);
    }
    fresh_folder("gemma");
    tensors t = {.dtype = QSR_F32};
    add(&t, "w_enc", m.w_enc, D, N);
    add(&t, "w_dec", m.w_dec, N, D);
    add(&t, "b_enc", m.b_enc, N, 0);
    add(&t, "b_dec", m.b_dec, D, 0);
    add(&t, "threshold", m.threshold, N, 0);
    finish(&t, "params.safetensors");
    check_file(folder, &m, "params.safetensors");
}

/* Each tensor of `a` is in `b`, byte for byte, and there are no others. */
static void assert_same_tensors(const char *a, const char *b)
{
    qsr_safetensors *x, *y;
    assert_int_equal(qsr_safetensors_open(a, &x, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_open(b, &y, NULL), QSR_OK);
    assert_int_equal(qsr_safetensors_count(x), qsr_safetensors_count(y));
    for (size_t i = 0; i < qsr_safetensors_count(x); i++) {
        const qsr_tensor *s = qsr_safetensors_at(x, i), *t = qsr_safetensors_find(y, s->name);
        if (!t || s->dtype != t->dtype || s->rank != t->rank || s->shape[0] != t->shape[0]) fail_msg("%s differs", s->name);
        assert_memory_equal(s->data, t->data, s->count * qsr_dtype_size(s->dtype));
    }
    qsr_safetensors_close(x);
    qsr_safetensors_close(y);
}

static void export_after_import_is_the_same_bytes(void **state)
{
    (void)state;
    static const char *const words[] = {"standard", "topk", "jumprelu", "gated"};
    for (size_t kind = 0; kind < 4; kind++)
        for (size_t type = 0; type < 3; type++)
            for (int norm = 0; norm < 4; norm++) {
                model m = make_model(words[kind], norms[norm], true, kind == 1 && type == 0, type == 1);
                char source[512], copy[512], there[600];
                fresh_folder("source");
                write_saelens(&m, words[kind], dtypes[type], false);
                snprintf(source, sizeof source, "%s/sae_weights.safetensors", folder);
                snprintf(copy, sizeof copy, "%s/copy", test_folder());
                snprintf(there, sizeof there, "%s/sae_weights.safetensors", copy);
                qsr_pretrained p = opened(folder);
                qsr_error e = {0};
                if (qsr_pretrained_write(&p, QSR_TO_SAELENS, copy, NULL, &e)) fail_msg("%s", e.text);
                qsr_pretrained_free(&p);
                assert_same_tensors(source, there);
                check_file(copy, &m, "copied");
                assert_int_equal(qsr_remove_tree(copy, NULL), QSR_OK);
            }
}

static void sparsify_and_back_is_the_same_bytes(void **state)
{
    (void)state;
    model m = make_model("topk", "none", true, false, false);
    char source[512], away[512], back[512], there[600];
    fresh_folder("source");
    write_saelens(&m, "topk", QSR_BF16, false);
    snprintf(source, sizeof source, "%s/sae_weights.safetensors", folder);
    snprintf(away, sizeof away, "%s/away", test_folder());
    snprintf(back, sizeof back, "%s/back", test_folder());
    snprintf(there, sizeof there, "%s/sae_weights.safetensors", back);
    qsr_pretrained p = opened(folder);
    assert_int_equal(qsr_pretrained_write(&p, QSR_TO_SPARSIFY, away, NULL, NULL), QSR_OK);
    qsr_pretrained_free(&p);
    check_file(away, &m, "as sparsify");
    p = opened(away);
    assert_string_equal(p.format, "sparsify");
    assert_int_equal(qsr_pretrained_write(&p, QSR_TO_SAELENS, back, NULL, NULL), QSR_OK);
    qsr_pretrained_free(&p);
    assert_same_tensors(source, there);
}

static void what_a_format_cannot_say_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *architecture, *normalize, *text;
        bool pre_bias, rescale;
    } refused[] = {{"standard", "none", "sparsify knows topk alone", true, false},
                   {"topk", "layer_norm", "wants them normalised (layer_norm)", true, false},
                   {"topk", "none", "--fold bias", false, false},
                   {"topk", "none", "--fold norms", true, true}};
    for (size_t i = 0; i < 4; i++) {
        model m = make_model(refused[i].architecture, refused[i].normalize, refused[i].pre_bias, refused[i].rescale, false);
        char away[512];
        qsr_error e = {0};
        fresh_folder("source");
        write_saelens(&m, refused[i].architecture, QSR_F32, false);
        snprintf(away, sizeof away, "%s/refused", test_folder());
        qsr_pretrained p = opened(folder);
        assert_int_equal(qsr_pretrained_write(&p, QSR_TO_SPARSIFY, away, NULL, &e), QSR_E_UNSUPPORTED);
        assert_non_null(strstr(e.text, refused[i].text));
        assert_false(qsr_exists(away));
        qsr_pretrained_free(&p);
    }
}

static qsr_pretrained written(const char *architecture, bool rescale, model *m)
{
    *m = make_model(architecture, "none", true, rescale, false);
    fresh_folder("fold");
    write_saelens(m, architecture, QSR_F32, false);
    return opened(folder);
}

static void folding_and_unfolding_are_inverses(void **state)
{
    (void)state;
    static const char *const words[] = {"standard", "topk", "jumprelu", "gated"};
    for (size_t kind = 0; kind < 4; kind++)
        for (int exact = 0; exact < 2; exact++) {
            model m;
            qsr_pretrained p = written(words[kind], kind == 2, &m), q = opened(folder);
            double s = exact ? 4 : 3.7, nu[N], inverse[N];
            for (int j = 0; j < N; j++) nu[j] = exact ? ldexp(1, j - 5) : 0.3 + j, inverse[j] = 1 / nu[j];
            qsr_fold_scale(&p, s);
            qsr_fold_latents(&p, nu);
            assert_memory_not_equal(p.weights[QSR_W_ENC].data, q.weights[QSR_W_ENC].data, D * N * sizeof(float));
            qsr_fold_latents(&p, inverse);
            qsr_fold_scale(&p, 1 / s);
            for (int i = 0; i < QSR_WEIGHTS; i++)
                for (size_t at = 0; at < p.weights[i].count; at++) /* four roundings of half an ulp when factors are no powers of two */
                    if (exact) assert_true(p.weights[i].data[at] == q.weights[i].data[at]);
                    else assert_true(fabs(p.weights[i].data[at] - q.weights[i].data[at]) <= 2.5 * 0x1p-23 * fabs(q.weights[i].data[at]));
            qsr_pretrained_free(&p);
            qsr_pretrained_free(&q);
        }
}

static void folded_saes_compute_the_same(void **state)
{
    (void)state;
    static const char *const words[] = {"standard", "jumprelu", "gated", "topk"};
    for (size_t kind = 0; kind < 4; kind++) {
        model m;
        qsr_pretrained p = written(words[kind], kind == 3, &m);
        qsr_sae sae;
        float raw[ROWS * D], f[ROWS * N], hat[ROWS * D];
        double nu[N], want_f[N], want_hat[D];
        assert_int_equal(qsr_fold_norms(&p, nu, NULL), QSR_OK);
        p.rescale = false;
        assert_int_equal(qsr_pretrained_make(&p, NULL, &sae, NULL), QSR_OK);
        make_rows(raw);
        run_sae(&sae, raw, f, hat);
        for (size_t r = 0; r < ROWS; r++) {
            expected(&m, raw + r * D, want_f, want_hat);
            for (int i = 0; i < D; i++) assert_close(hat[r * D + (size_t)i], want_hat[i], 4 * TOLERANCE);
            for (int j = 0; j < N; j++) /* with rescaling the norms were in f already */
                assert_close(f[r * N + (size_t)j], want_f[j] * (kind == 3 ? 1 : nu[j]), TOLERANCE);
        }
        qsr_sae_free(&sae);
        qsr_pretrained_free(&p);
    }
}

/* Norm 0 times whatever p is: not among the k largest, though p alone would be. */
static void rescaled_latents_without_a_decoder_row_never_fire(void **state)
{
    (void)state;
    static const char *const words[] = {"standard", "topk", "jumprelu"};
    for (size_t kind = 0; kind < 3; kind++) {
        model m = make_model(words[kind], "none", true, true, false);
        for (int i = 0; i < D; i++) m.w_dec[4 * D + i] = 0;
        m.b_enc[4] = 60;
        fresh_folder("empty");
        write_saelens(&m, words[kind], QSR_F32, false);
        check_file(folder, &m, words[kind]);
        qsr_pretrained p = opened(folder);
        qsr_sae sae;
        assert_int_equal(qsr_fold_norms(&p, NULL, NULL), QSR_OK);
        p.rescale = false;
        assert_int_equal(qsr_pretrained_make(&p, NULL, &sae, NULL), QSR_OK);
        assert_computes(&sae, &m, "folded");
        qsr_sae_free(&sae);
        qsr_pretrained_free(&p);
    }
}

static void norms_do_not_fold_into_a_plain_topk(void **state)
{
    (void)state;
    model m;
    qsr_pretrained p = written("topk", false, &m);
    assert_int_equal(qsr_fold_norms(&p, NULL, NULL), QSR_E_UNSUPPORTED);
    qsr_pretrained_free(&p);
}

static void the_input_bias_moves_into_the_encoder(void **state)
{
    (void)state;
    model m;
    qsr_pretrained p = written("topk", false, &m);
    qsr_sae sae;
    qsr_fold_pre_bias(&p, false);
    assert_false(p.pre_bias);
    assert_int_equal(qsr_pretrained_make(&p, NULL, &sae, NULL), QSR_OK);
    assert_computes(&sae, &m, "without input bias");
    qsr_sae_free(&sae);
    qsr_pretrained_free(&p);
}

/* A probe recorded for one description refuses every other one of the same tensors. */
static void probes_tell_architectures_apart(void **state)
{
    (void)state;
    const struct {
        qsr_rule rule;
        bool pre_bias;
        qsr_normalise_mode mode;
        size_t k;
    } ways[] = {{QSR_RULE_RELU, true, QSR_NORMALISE_NONE, 0},  {QSR_RULE_TOPK, true, QSR_NORMALISE_NONE, K},
                {QSR_RULE_TOPK, true, QSR_NORMALISE_NONE, K + 1}, {QSR_RULE_RELU, true, QSR_NORMALISE_TOKEN, 0},
                {QSR_RULE_TOPK, true, QSR_NORMALISE_TOKEN, K}};
    enum { WAYS = sizeof ways / sizeof *ways };
    qsr_probe probes[WAYS];
    for (size_t i = 0; i < WAYS; i++) {
        model m;
        qsr_sae sae;
        qsr_pretrained p = written("standard", false, &m);
        p.rule = ways[i].rule, p.pre_bias = ways[i].pre_bias, p.normalise.mode = ways[i].mode, p.k = ways[i].k;
        assert_int_equal(qsr_pretrained_make(&p, NULL, &sae, NULL), QSR_OK);
        assert_int_equal(qsr_probe_run(&sae, &probes[i], NULL), QSR_OK);
        qsr_sae_free(&sae);
        qsr_pretrained_free(&p);
    }
    for (size_t i = 0; i < WAYS; i++)
        for (size_t j = 0; j < WAYS; j++) {
            json_t *recorded = qsr_probe_json(&probes[j]);
            qsr_status wanted = i == j ? QSR_OK : QSR_E_INPUT;
            if (qsr_probe_compare(&probes[i], recorded, "x", "y", NULL) != wanted) fail_msg("ways %zu and %zu", i, j);
            json_decref(recorded);
        }
}

static void older_words_are_understood(void **state)
{
    (void)state;
    model m = make_model("standard", "none", true, false, false);
    fresh_folder("old");
    write_saelens(&m, NULL, QSR_F32, true);
    write_text("cfg.json", "{\"hook_point\": \"blocks.7.attn.hook_z\", \"hook_point_head_index\": null, \"model_name\": \"gpt2-small\", "
                           "\"normalize_activations\": false, \"prepend_bos\": true, \"scaling_factor\": 1}");
    qsr_pretrained p = opened(folder);
    assert_string_equal(p.format, "saelens");
    assert_string_equal(p.hook_name, "blocks.7.attn.hook_z");
    assert_string_equal(p.hook_site, "z");
    assert_string_equal(p.model_name, "gpt2-small");
    assert_int_equal(p.hook_layer, 7);
    assert_int_equal(p.d_in, D);
    assert_int_equal(p.d_sae, N);
    assert_true(p.pre_bias && p.n_notes == 1);
    qsr_pretrained_free(&p);
    check_file(folder, &m, "old");
}

static int remove_folders(void **state)
{
    (void)state;
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(saelens_files_compute_their_formulas),
        cmocka_unit_test(sparsify_files_compute_their_formula),
        cmocka_unit_test(gemma_scope_files_compute_their_formula),
        cmocka_unit_test(export_after_import_is_the_same_bytes),
        cmocka_unit_test(sparsify_and_back_is_the_same_bytes),
        cmocka_unit_test(what_a_format_cannot_say_is_refused),
        cmocka_unit_test(folding_and_unfolding_are_inverses),
        cmocka_unit_test(folded_saes_compute_the_same),
        cmocka_unit_test(rescaled_latents_without_a_decoder_row_never_fire),
        cmocka_unit_test(norms_do_not_fold_into_a_plain_topk),
        cmocka_unit_test(the_input_bias_moves_into_the_encoder),
        cmocka_unit_test(probes_tell_architectures_apart),
        cmocka_unit_test(older_words_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, remove_folders);
}

#include "model/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/safetensors.h"
#include "math/rows.h"

enum { LATENTS_PER_CHUNK = 64 };

qsr_status qsr_params_alloc(size_t d_in, size_t d_sae, qsr_params *ret, qsr_error *e)
{
    size_t n;
    if (!qsr_mul_size(d_in, d_sae, &n) || n > SIZE_MAX / 64)
        return qsr_fail(e, QSR_E_OPTION, "d_in %zu times d_sae %zu is too large", d_in, d_sae);
    *ret = (qsr_params){.d_in = d_in, .d_sae = d_sae};
    ret->w_enc = qsr_block_alloc(n, sizeof(float));
    ret->w_dec = qsr_block_alloc(n, sizeof(float));
    ret->b_enc = qsr_block_alloc(d_sae, sizeof(float));
    ret->b_dec = qsr_block_alloc(d_in, sizeof(float));
    if (ret->w_enc && ret->w_dec && ret->b_enc && ret->b_dec) return QSR_OK;
    qsr_params_free(ret);
    return qsr_fail_nomem(e, "the SAE's weights", 2 * n * sizeof(float));
}

void qsr_params_free(qsr_params *p)
{
    qsr_block_free(p->w_enc);
    qsr_block_free(p->w_dec);
    qsr_block_free(p->b_enc);
    qsr_block_free(p->b_dec);
    *p = (qsr_params){0};
}

/* ---- init -------------------------------------------------------------------------------------------------------- */

struct init {
    qsr_params *p;
    bool released;
    float scale, bound;
    qsr_rng rng;
};

static void unit(float *row, const float *from, size_t d)
{
    double norm = qsr_row_norm(from, d);
    if (!(norm > 0)) norm = 1;
    for (size_t i = 0; i < d; i++) row[i] = (float)(from[i] / norm);
}

static qsr_status init_latents(void *arg, size_t begin, size_t end)
{
    const struct init *in = arg;
    size_t d = in->p->d_in;
    for (size_t j = begin; j < end; j++) {
        float *enc = in->p->w_enc + j * d, *dec = in->p->w_dec + j * d;
        for (size_t i = 0; i < d; i++) {
            uint64_t index = (uint64_t)j * d + i;
            enc[i] = (float)(in->released ? in->bound * (2 * qsr_rng_unit(&in->rng, index) - 1) : qsr_rng_normal(&in->rng, index));
        }
        unit(dec, enc, d);
        for (size_t i = 0; i < d; i++) enc[i] = in->scale * (in->released ? enc[i] : dec[i]);
    }
    return QSR_OK;
}

void qsr_params_init(qsr_params *p, const char *init, double scale, uint64_t seed, qsr_pool *pool)
{
    struct init in = {p, strcmp(init, "released") == 0, (float)scale, sqrtf(6.0f / (float)p->d_sae),
                      qsr_rng_make(seed, "init.weights")};
    qsr_pool_run(pool, p->d_sae, LATENTS_PER_CHUNK, init_latents, &in);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static qsr_status expect(const qsr_safetensors *file, const char *path, const char *name, size_t rank, size_t n0, size_t n1,
                         const qsr_tensor **ret, qsr_error *e)
{
    const qsr_tensor *t = qsr_safetensors_find(file, name);
    if (!t) return qsr_fail(e, QSR_E_INPUT, "%s has no tensor '%s'", path, name);
    if (!qsr_dtype_is_real(t->dtype))
        return qsr_fail(e, QSR_E_INPUT, "%s: tensor '%s' is %s, expected real numbers", path, name, qsr_dtype_name(t->dtype));
    if (t->rank == rank && t->shape[0] == n0 && (rank == 1 || t->shape[1] == n1)) {
        *ret = t;
        return QSR_OK;
    }
    qsr_text has = {0};
    for (size_t i = 0; i < t->rank; i++) qsr_text_add(&has, "%s%zu", i ? ", " : "", t->shape[i]);
    char wants[64];
    snprintf(wants, sizeof wants, rank == 1 ? "%zu" : "%zu, %zu", n0, n1);
    qsr_fail(e, QSR_E_INPUT, "%s: tensor '%s' has shape [%s], expected [%s]", path, name, has.bytes ? has.bytes : "", wants);
    qsr_text_free(&has);
    return QSR_E_INPUT;
}

static qsr_status read_finite(const qsr_tensor *t, const char *path, float *out, qsr_error *e)
{
    qsr_to_float(t->dtype, t->data, t->count, out);
    size_t bad = qsr_row_not_finite(out, t->count);
    if (bad == t->count) return QSR_OK;
    char value[32];
    return qsr_fail(e, QSR_E_INPUT, "%s: tensor '%s' holds %s%s at index %zu: weights must be finite", path, t->name,
                    qsr_float_text(out[bad], value, sizeof value), t->dtype == QSR_F64 ? " (as float32)" : "", bad);
}

static qsr_status load_encoder(qsr_params *p, const qsr_tensor *t, const char *path, qsr_error *e)
{
    float *plain = qsr_block_raw(t->count, sizeof(float));
    if (!plain) return qsr_fail_nomem(e, "reading W_enc", t->count * sizeof(float));
    qsr_status status = read_finite(t, path, plain, e);
    if (!status) qsr_rows_transpose(plain, p->d_in, p->d_sae, p->w_enc);
    qsr_block_free(plain);
    return status;
}

static bool is_own(const char *name)
{
    return !strcmp(name, "W_enc") || !strcmp(name, "W_dec") || !strcmp(name, "b_enc") || !strcmp(name, "b_dec");
}

/* Hands a vector of the file to the activation, which knows whether it wants it and of which length. */
static qsr_status offer(const qsr_tensor *t, const char *path, qsr_made *activation, const qsr_export_ops *ops, bool *ret_taken,
                        qsr_error *e)
{
    float *data = qsr_block_raw(t->count, sizeof(float));
    if (!data) return qsr_fail_nomem(e, "reading thresholds", t->count * sizeof(float));
    qsr_to_float(t->dtype, t->data, t->count, data);
    qsr_status status = qsr_made_finish(activation, ops->import(activation->instance, t->name, data, t->count), e);
    if (status == QSR_OK) status = read_finite(t, path, data, e), *ret_taken = true;
    else if (status != QSR_END) qsr_context(e, "%s", path);
    qsr_block_free(data);
    return status == QSR_END ? QSR_OK : status; /* the end: a tensor of someone else's */
}

/* What the activation learns must be there: thresholds at their initial value beside trained weights make another SAE. */
static qsr_status check_learned(const char *path, qsr_made *activation, size_t d_sae, qsr_error *e)
{
    const qsr_params_ops *ops = qsr_made_extension(activation, QSR_EXT_PARAMS);
    qsr_param param = {.struct_size = sizeof param};
    if (!ops || !ops->count) return QSR_OK;
    qsr_status status = qsr_made_finish(activation, ops->get(activation->instance, 0, &param), e);
    if (status) return status;
    return qsr_fail(e, QSR_E_INPUT, "%s has no tensor '%s' [%zu], which %s needs beside the weights", path, param.name, d_sae,
                    activation->plugin->name);
}

static qsr_status load_activation(const qsr_safetensors *file, const char *path, size_t d_sae, qsr_made *activation, qsr_error *e)
{
    const qsr_export_ops *ops = activation ? qsr_made_extension(activation, QSR_EXT_EXPORT) : NULL;
    if (!ops || !ops->import) return QSR_OK;
    bool taken = false;
    for (size_t i = 0; i < qsr_safetensors_count(file); i++) {
        const qsr_tensor *t = qsr_safetensors_at(file, i);
        if (t->rank != 1 || !qsr_dtype_is_real(t->dtype) || is_own(t->name)) continue;
        qsr_status status = offer(t, path, activation, ops, &taken, e);
        if (status) return status;
    }
    return taken ? QSR_OK : check_learned(path, activation, d_sae, e);
}

qsr_status qsr_params_load(qsr_params *p, const char *path, qsr_made *activation, qsr_error *e)
{
    qsr_safetensors *file;
    qsr_status status = qsr_safetensors_open(path, &file, e);
    if (status) return status;
    const qsr_tensor *w_enc, *w_dec, *b_enc, *b_dec;
    status = expect(file, path, "W_enc", 2, p->d_in, p->d_sae, &w_enc, e);
    if (!status) status = expect(file, path, "W_dec", 2, p->d_sae, p->d_in, &w_dec, e);
    if (!status) status = expect(file, path, "b_enc", 1, p->d_sae, 0, &b_enc, e);
    if (!status) status = expect(file, path, "b_dec", 1, p->d_in, 0, &b_dec, e);
    if (!status) status = load_encoder(p, w_enc, path, e);
    if (!status) status = read_finite(w_dec, path, p->w_dec, e);
    if (!status) status = read_finite(b_enc, path, p->b_enc, e);
    if (!status) status = read_finite(b_dec, path, p->b_dec, e);
    if (!status) status = load_activation(file, path, p->d_sae, activation, e);
    qsr_safetensors_close(file);
    return status;
}

/* The activation's tensors, appended to out[*n ..most) as copies, since each is valid only until the next call. */
static qsr_status own_tensors(qsr_made *activation, size_t d_sae, qsr_tensor *out, size_t *n, size_t most, qsr_error *e)
{
    const qsr_export_ops *ops = activation ? qsr_made_extension(activation, QSR_EXT_EXPORT) : NULL;
    if (!ops || !ops->tensor) return QSR_OK;
    for (uint32_t i = 0;; i++) {
        qsr_export_tensor t = {0};
        qsr_status status = qsr_made_finish(activation, ops->tensor(activation->instance, i, &t), e);
        if (status) return status == QSR_END ? QSR_OK : status;
        if (*n == most)
            return qsr_fail(e, QSR_E_UNSUPPORTED, "activation %s has more than %u tensors to save", activation->plugin->name,
                            (unsigned)i);
        float *copy = qsr_block_raw(d_sae, sizeof(float));
        if (!copy) return qsr_fail_nomem(e, "writing thresholds", d_sae * sizeof(float));
        memcpy(copy, t.data, d_sae * sizeof(float));
        out[(*n)++] = (qsr_tensor){t.name, QSR_F32, 1, {d_sae}, d_sae, copy};
    }
}

qsr_status qsr_params_save(const qsr_params *p, const char *path, qsr_made *activation, qsr_error *e)
{
    enum { WEIGHTS = 4, MOST = 12 };
    size_t weights = p->d_in * p->d_sae, n = WEIGHTS;
    float *w_enc = qsr_block_raw(weights, sizeof(float));
    if (!w_enc) return qsr_fail_nomem(e, "writing W_enc", weights * sizeof(float));
    qsr_rows_transpose(p->w_enc, p->d_sae, p->d_in, w_enc);
    qsr_tensor tensors[MOST] = {{"W_enc", QSR_F32, 2, {p->d_in, p->d_sae}, weights, w_enc},
                                {"W_dec", QSR_F32, 2, {p->d_sae, p->d_in}, weights, p->w_dec},
                                {"b_enc", QSR_F32, 1, {p->d_sae}, p->d_sae, p->b_enc},
                                {"b_dec", QSR_F32, 1, {p->d_in}, p->d_in, p->b_dec}};
    qsr_status status = own_tensors(activation, p->d_sae, tensors, &n, MOST, e);
    if (!status) status = qsr_safetensors_write(path, tensors, n, NULL, e);
    for (size_t i = WEIGHTS; i < n; i++) qsr_block_free((void *)(uintptr_t)tensors[i].data);
    qsr_block_free(w_enc);
    return status;
}

/* ---- norms ------------------------------------------------------------------------------------------------------- */

struct norms {
    const qsr_params *p;
    float *norm;
};

static qsr_status norm_latents(void *arg, size_t begin, size_t end)
{
    const struct norms *in = arg;
    for (size_t j = begin; j < end; j++) in->norm[j] = (float)qsr_row_norm(in->p->w_dec + j * in->p->d_in, in->p->d_in);
    return QSR_OK;
}

void qsr_params_decoder_norms(const qsr_params *p, float *norm, qsr_pool *pool)
{
    struct norms in = {p, norm};
    qsr_pool_run(pool, p->d_sae, LATENTS_PER_CHUNK, norm_latents, &in);
}

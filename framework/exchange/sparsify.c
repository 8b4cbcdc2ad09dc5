/* exchange/sparsify: cfg.json + sae.safetensors of EleutherAI's sparsify, by its own module: encoder.weight [d_sae, d_in], W_dec
 * [d_sae, d_in], top-k of relu((x - b_dec) encoder.weight^T + encoder.bias). SAELens's loader of these files transposes W_dec and makes
 * the input bias depend on normalize_decoder; the module does neither. */
#include <math.h>
#include <string.h>

#include "exchange/formats.h"
#include "exchange/write.h"
#include "math/rows.h"

bool qsr_sparsify_is(const json_t *cfg)
{
    return !json_object_get(cfg, "architecture") && !json_object_get(cfg, "d_sae") &&
           (json_object_get(cfg, "num_latents") || json_object_get(cfg, "expansion_factor"));
}

static qsr_status refuse_flag(const qsr_pretrained *p, const char *key, const char *why, qsr_error *e)
{
    bool flag = false;
    qsr_status status = qsr_cfg_flag(p, p->cfg, key, &flag, e);
    return status || !flag ? status : qsr_fail(e, QSR_E_INPUT, "%s says %s: %s", p->cfg_path, key, why);
}

static qsr_status read_description(qsr_pretrained *p, qsr_error *e)
{
    size_t expansion = 0;
    const char *activation = "topk", *transcoder = "only autoencoders are read, no transcoders";
    qsr_status status = qsr_cfg_word(p, p->cfg, "activation", &activation, e);
    if (!status && strcmp(activation, "topk") != 0)
        status = qsr_fail(e, QSR_E_INPUT, "%s says activation %s; only topk is known", p->cfg_path, activation);
    if (!status) status = refuse_flag(p, "transcode", transcoder, e);
    if (!status) status = refuse_flag(p, "skip_connection", transcoder, e);
    if (!status) status = refuse_flag(p, "signed", "its top-k is by magnitude, which Quasar has no rule for", e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "d_in", &p->d_in, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "num_latents", &p->d_sae, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "expansion_factor", &expansion, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "k", &p->k, e);
    if (status) return status;
    if (!p->d_in) return qsr_fail(e, QSR_E_INPUT, "%s says no d_in above 0", p->cfg_path);
    if (!p->d_sae && !__builtin_mul_overflow(p->d_in, expansion, &p->d_sae) && !p->d_sae)
        return qsr_fail(e, QSR_E_INPUT, "%s says neither num_latents nor expansion_factor above 0", p->cfg_path);
    if (!p->k || p->k > p->d_sae)
        return qsr_fail(e, QSR_E_INPUT, "%s says k %zu, expected 1 to the %zu latents", p->cfg_path, p->k, p->d_sae);
    return QSR_OK;
}

qsr_status qsr_sparsify_read(qsr_pretrained *p, qsr_error *e)
{
    qsr_tensor_file f;
    p->format = "sparsify";
    p->architecture = "topk";
    p->rule = QSR_RULE_TOPK;
    p->pre_bias = true;
    qsr_status status = read_description(p, e);
    if (!status) status = qsr_tensor_file_open(p->weights_path, &f, e);
    if (status) return status;
    qsr_tensor_file_matrix(&f, "encoder.weight", p->d_sae, p->d_in, false, &p->weights[QSR_W_ENC]);
    qsr_tensor_file_vector(&f, "encoder.bias", p->d_sae, &p->weights[QSR_B_ENC]);
    qsr_tensor_file_matrix(&f, "W_dec", p->d_sae, p->d_in, false, &p->weights[QSR_W_DEC]);
    qsr_tensor_file_vector(&f, "b_dec", p->d_in, &p->weights[QSR_B_DEC]);
    if (qsr_tensor_file_find(&f, "W_skip")) qsr_tensor_file_blame(&f, "tensor 'W_skip' makes it a transcoder; only autoencoders are read");
    status = qsr_tensor_file_verdict(&f, e);
    qsr_tensor_file_close(&f);
    return status;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

static qsr_status check_sayable(const qsr_pretrained *p, qsr_error *e)
{
    if (p->rule != QSR_RULE_TOPK)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: sparsify knows topk alone, not %s; --as topk converts it and measures what that costs",
                        p->path, p->plugin ? p->plugin : p->architecture);
    if (p->normalise.mode != QSR_NORMALISE_NONE)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: sparsify gives rows to the SAE as they are, and this one wants them normalised (%s)%s",
                        p->path, qsr_normalise_saelens(p->normalise.mode),
                        p->normalise.mode == QSR_NORMALISE_DATASET ? "; --fold scale puts a scale into the weights" : "");
    if (p->rescale || p->weights[QSR_FINETUNING].data)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: sparsify has no %s; --fold norms puts that into the weights", p->path,
                        p->rescale ? "rescale_acts_by_decoder_norm" : "finetuning factors");
    if (!p->pre_bias)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: sparsify always subtracts b_dec from the input, and this SAE does not; --fold bias puts "
                        "the difference into b_enc", p->path);
    return QSR_OK;
}

static bool is_unit(const qsr_pretrained *p)
{
    for (size_t j = 0; j < p->d_sae; j++) {
        double norm = qsr_row_norm(p->weights[QSR_W_DEC].data + j * p->d_in, p->d_in);
        if (fabs(norm - 1) > 1e-3) return false;
    }
    return true;
}

static qsr_status write_cfg(const qsr_pretrained *p, const char *path, qsr_error *e)
{
    json_t *cfg = json_object();
    bool whole = p->d_sae % p->d_in == 0;
    json_object_set_new(cfg, "activation", json_string("topk"));
    json_object_set_new(cfg, "expansion_factor", json_integer((json_int_t)(whole ? p->d_sae / p->d_in : 1)));
    json_object_set_new(cfg, "normalize_decoder", json_boolean(is_unit(p)));
    json_object_set_new(cfg, "num_latents", json_integer((json_int_t)p->d_sae));
    json_object_set_new(cfg, "k", json_integer((json_int_t)p->k));
    json_object_set_new(cfg, "multi_topk", json_false());
    json_object_set_new(cfg, "skip_connection", json_false());
    json_object_set_new(cfg, "transcode", json_false());
    json_object_set_new(cfg, "d_in", json_integer((json_int_t)p->d_in));
    qsr_status status = qsr_json_write(path, cfg, e);
    json_decref(cfg);
    return status;
}

static qsr_status write_tensors(const qsr_pretrained *p, const char *path, qsr_error *e)
{
    enum { TENSORS = 4 };
    static const char *const names[TENSORS] = {"encoder.weight", "W_dec", "encoder.bias", "b_dec"};
    static const int from[TENSORS] = {QSR_W_ENC, QSR_W_DEC, QSR_B_ENC, QSR_B_DEC};
    qsr_tensor tensors[TENSORS];
    size_t n = 0;
    qsr_status status = QSR_OK;
    for (; !status && n < TENSORS; n += !status)
        status = qsr_outgoing(&p->weights[from[n]], names[n], n < 2 ? 2 : 1, n == 3 ? p->d_in : p->d_sae, n < 2 ? p->d_in : 0, false,
                              &tensors[n], e);
    if (!status) status = qsr_safetensors_write(path, tensors, n, NULL, e);
    for (size_t i = 0; i < n; i++) qsr_block_free((void *)(uintptr_t)tensors[i].data);
    return status;
}

qsr_status qsr_sparsify_write(const qsr_pretrained *p, const char *folder, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_status status = check_sayable(p, e);
    if (!status) status = write_tensors(p, qsr_path_join(&arena, folder, "sae.safetensors"), e);
    if (!status) status = write_cfg(p, qsr_path_join(&arena, folder, "cfg.json"), e);
    qsr_arena_free(&arena);
    return status;
}

/* exchange/saelens: cfg.json + sae_weights.safetensors of SAELens 3 to 6 and of Quasar (docs/SAES.md has the rules and where they come
 * from). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "exchange/formats.h"
#include "exchange/write.h"

typedef struct {
    qsr_pretrained *p;
    const json_t *metadata; /* or NULL */
    const char *activation; /* pre-6.0: "relu", "topk" */
    bool finetuned;         /* cfg.json says that f has factors of its own */
    bool batch_rule;        /* a training checkpoint of BatchTopK: its threshold is one number */
} reading;

/* ---- which rule? ------------------------------------------------------------------------------------------------------ */

static const char *const known[] = {"standard",  "topk",  "batchtopk", "matryoshka_batchtopk", "jumprelu",
                                    "gated",     NULL};

static qsr_status set_plugin(reading *r, const json_t *origin, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    p->rule = QSR_RULE_PLUGIN;
    if (p->plugin && p->spec && json_is_object(origin)) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "%s has architecture %s, but not the metadata.quasar that says its options", p->cfg_path,
                    p->architecture);
}

static qsr_status set_rule(reading *r, const json_t *origin, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    const char *word = p->architecture;
    static const qsr_rule rules[] = {QSR_RULE_RELU, QSR_RULE_TOPK, QSR_RULE_THRESHOLD, QSR_RULE_THRESHOLD, QSR_RULE_THRESHOLD,
                                     QSR_RULE_GATED};
    if (qsr_starts_with(word, "quasar/")) return set_plugin(r, origin, e);
    if (strstr(word, "transcoder") || json_object_get(p->cfg, "d_out"))
        return qsr_fail(e, QSR_E_INPUT, "%s describes a transcoder (%s), which reads one place of a model and writes another; only "
                        "autoencoders are read", p->cfg_path, word);
    for (size_t i = 0; known[i]; i++) {
        if (strcmp(word, known[i]) != 0) continue;
        p->rule = rules[i];
        r->batch_rule = i == 2 || i == 3;
        if (i == 0 && r->activation && strcmp(r->activation, "topk") == 0) p->rule = QSR_RULE_TOPK;
        return QSR_OK;
    }
    const char *near = qsr_nearest(word, known);
    return qsr_fail(e, QSR_E_INPUT, "%s says architecture %s%s%s%s; known are standard, topk, batchtopk, matryoshka_batchtopk, "
                    "jumprelu, gated and Quasar's own", p->cfg_path, word, near ? " (did you mean " : "", near ? near : "",
                    near ? "?)" : "");
}

static qsr_status read_activation(reading *r, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    qsr_status status = qsr_cfg_word(p, p->cfg, "activation_fn_str", &r->activation, e);
    if (!status) status = qsr_cfg_word(p, p->cfg, "activation_fn", &r->activation, e);
    if (status || !r->activation || !strcmp(r->activation, "relu") || !strcmp(r->activation, "topk")) return status;
    return qsr_fail(e, QSR_E_INPUT, "%s says activation_fn %s; known are relu and topk", p->cfg_path, r->activation);
}

/* k stands at the top, or before 6.0 among the arguments of the activation. */
static qsr_status read_k(reading *r, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    if (p->rule != QSR_RULE_TOPK) return QSR_OK;
    qsr_status status = qsr_cfg_count(p, json_object_get(p->cfg, "activation_fn_kwargs"), "k", &p->k, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "k", &p->k, e);
    if (!status && p->k == 0) status = qsr_fail(e, QSR_E_INPUT, "%s says no k, which topk needs", p->cfg_path);
    if (!status && p->d_sae && p->k > p->d_sae)
        status = qsr_fail(e, QSR_E_INPUT, "%s says k %zu, more than d_sae %zu", p->cfg_path, p->k, p->d_sae);
    return status;
}

/* ---- normalisation ---------------------------------------------------------------------------------------------------- */

/* The scale of a training checkpoint stands in a file of its own. */
static qsr_status read_scaler(qsr_pretrained *p, qsr_error *e)
{
    json_t *scaler = NULL;
    const char *path = qsr_path_join(&p->arena, qsr_path_folder(&p->arena, p->cfg_path), "activation_scaler.json");
    p->normalise = (qsr_normalise){QSR_NORMALISE_DATASET, NAN};
    if (!qsr_exists(path)) return QSR_OK;
    qsr_status status = qsr_json_read(path, 1 << 16, &scaler, e);
    if (status) return status;
    const json_t *factor = json_object_get(scaler, "scaling_factor");
    double scale = json_number_value(factor);
    if (json_is_null(factor))
        p->normalise.mode = QSR_NORMALISE_NONE, p->normalise.scale = 1;
    else if (!json_is_number(factor) || !(scale > 0) || !isfinite(scale))
        status = qsr_fail(e, QSR_E_INPUT, "%s says no scaling_factor above 0", path);
    else
        p->normalise.scale = scale;
    json_decref(scaler);
    return status;
}

static qsr_status read_normalisation(qsr_pretrained *p, qsr_error *e)
{
    const json_t *value = json_object_get(p->cfg, "normalize_activations");
    const char *word = "none";
    if (json_is_boolean(value)) /* before 3.0 */
        word = json_is_true(value) ? "expected_average_only_in" : "none";
    else if (qsr_cfg_word(p, p->cfg, "normalize_activations", &word, e))
        return QSR_E_INPUT;
    if (strcmp(word, "none") == 0) return QSR_OK;
    if (strcmp(word, "layer_norm") == 0)
        p->normalise.mode = QSR_NORMALISE_TOKEN;
    else if (strcmp(word, "constant_norm_rescale") == 0)
        p->normalise.mode = QSR_NORMALISE_NORM;
    else if (strcmp(word, "expected_average_only_in") == 0)
        return read_scaler(p, e);
    else
        return qsr_fail(e, QSR_E_INPUT, "%s says normalize_activations %s; known are none, layer_norm, constant_norm_rescale and "
                        "expected_average_only_in", p->cfg_path, word);
    return QSR_OK;
}

/* ---- where it was trained --------------------------------------------------------------------------------------------- */

/* "blocks.4.hook_resid_pre", "blocks.4.attn.hook_z" */
static void parse_hook(qsr_pretrained *p)
{
    int layer, end = 0;
    if (!p->hook_name || sscanf(p->hook_name, "blocks.%d.%n", &layer, &end) != 1 || !end || layer < 0) return;
    const char *site = strstr(p->hook_name + end, "hook_");
    p->hook_layer = layer;
    if (site) p->hook_site = qsr_arena_strdup(&p->arena, site + 5);
}

static qsr_status read_place(reading *r, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    const json_t *places[] = {p->cfg, r->metadata};
    size_t layer = SIZE_MAX;
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < 2; i++) {
        status = qsr_cfg_word(p, places[i], "model_name", &p->model_name, e);
        if (!status) status = qsr_cfg_word(p, places[i], "hook_point", &p->hook_name, e);
        if (!status) status = qsr_cfg_word(p, places[i], "hook_name", &p->hook_name, e);
        if (!status) status = qsr_cfg_count(p, places[i], "hook_point_layer", &layer, e);
        if (!status) status = qsr_cfg_count(p, places[i], "hook_layer", &layer, e);
    }
    parse_hook(p);
    if (!status && p->hook_layer < 0 && layer != SIZE_MAX) p->hook_layer = (int64_t)layer;
    const json_t *l0 = json_object_get(r->metadata, "l0");
    if (json_is_number(l0)) p->recorded_l0 = json_number_value(l0);
    return status;
}

static qsr_status read_origin(reading *r, const json_t *origin, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    if (!json_is_object(origin)) return QSR_OK;
    p->format = "quasar";
    p->folded_scale = json_number_value(json_object_get(origin, "folded_scale"));
    qsr_status status = qsr_cfg_word(p, origin, "activation", &p->plugin, e);
    if (!status) status = qsr_cfg_word(p, origin, "spec", &p->spec, e);
    return status;
}

static qsr_status read_description(reading *r, qsr_error *e)
{
    qsr_pretrained *p = r->p;
    r->metadata = json_object_get(p->cfg, "metadata");
    const json_t *origin = json_object_get(r->metadata, "quasar");
    p->format = "saelens";
    p->architecture = "standard"; /* before 3.0 there was no other */
    p->pre_bias = true;
    qsr_status status = qsr_cfg_word(p, p->cfg, "architecture", &p->architecture, e);
    if (!status) status = read_origin(r, origin, e);
    if (!status) status = read_activation(r, e);
    if (!status) status = set_rule(r, origin, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "d_in", &p->d_in, e);
    if (!status) status = qsr_cfg_count(p, p->cfg, "d_sae", &p->d_sae, e);
    if (!status) status = read_k(r, e);
    if (!status) status = qsr_cfg_flag(p, p->cfg, "apply_b_dec_to_input", &p->pre_bias, e);
    if (!status) status = qsr_cfg_flag(p, p->cfg, "rescale_acts_by_decoder_norm", &p->rescale, e);
    if (!status) status = qsr_cfg_flag(p, p->cfg, "finetuning_scaling_factor", &r->finetuned, e);
    if (!status) status = read_normalisation(p, e);
    if (!status) status = read_place(r, e);
    if (!status && !json_object_get(p->cfg, "apply_b_dec_to_input"))
        qsr_pretrained_note(p, "cfg.json does not say apply_b_dec_to_input; true, SAELens's default, was taken");
    return status;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------------- */

/* Older files leave d_in or d_sae out: the encoder's shape tells. */
static void fill_shape(qsr_pretrained *p, qsr_tensor_file *f)
{
    const qsr_tensor *w = qsr_tensor_file_find(f, "W_enc");
    if (!w || w->rank != 2) return;
    if (!p->d_in) p->d_in = w->shape[0];
    if (!p->d_sae) p->d_sae = w->shape[1];
}

/* One threshold for all latents: "topk_threshold" of a training checkpoint. */
static void take_one_threshold(qsr_pretrained *p, qsr_tensor_file *f)
{
    qsr_taken one, *all = &p->weights[QSR_THRESHOLD];
    qsr_tensor_file_scalar(f, "topk_threshold", &one);
    if (!one.data || !p->weights[QSR_W_ENC].data) { /* without the encoder d_sae is but what cfg.json says: nothing is allocated by that */
        qsr_taken_free(&one);
        return;
    }
    *all = (qsr_taken){qsr_block_raw(p->d_sae, sizeof(float)), p->d_sae, QSR_F32, one.not_finite ? p->d_sae : 0, 0, one.bad};
    if (!all->data) qsr_fail_nomem(&f->refused, "thresholds", p->d_sae * sizeof(float));
    for (size_t j = 0; all->data && j < p->d_sae; j++) all->data[j] = one.data[0];
    qsr_taken_free(&one);
}

static void take_threshold(reading *r, qsr_tensor_file *f)
{
    qsr_pretrained *p = r->p;
    qsr_taken *t = &p->weights[QSR_THRESHOLD];
    if (r->batch_rule && !qsr_tensor_file_find(f, "threshold")) {
        take_one_threshold(p, f);
    } else if (!qsr_tensor_file_find(f, "threshold") && qsr_tensor_file_find(f, "log_threshold")) {
        qsr_tensor_file_vector(f, "log_threshold", p->d_sae, t);
        for (size_t j = 0; t->data && j < p->d_sae; j++) t->data[j] = expf(t->data[j]);
        qsr_pretrained_note(p, "thresholds are stored as logarithms");
    } else {
        qsr_tensor_file_vector(f, "threshold", p->d_sae, t);
    }
}

/* Factors on f before it is decoded. All 1 is what training without finetuning leaves behind (SAELens ignores it as well). */
static void take_finetuning(reading *r, qsr_tensor_file *f)
{
    static const char *const names[] = {"finetuning_scaling_factor", "scaling_factor"};
    qsr_taken *t = &r->p->weights[QSR_FINETUNING];
    bool ones = true;
    for (size_t i = 0; i < 2 && !t->data; i++) {
        if (!qsr_tensor_file_find(f, names[i])) continue;
        qsr_tensor_file_vector(f, names[i], r->p->d_sae, t);
        for (size_t j = 0; t->data && j < t->count; j++) ones = ones && t->data[j] == 1;
        if (t->data && !ones && !r->finetuned)
            qsr_tensor_file_blame(f, "tensor '%s' is not all 1, but cfg.json does not say finetuning_scaling_factor true", names[i]);
    }
    if (r->finetuned && !t->data) qsr_tensor_file_blame(f, "there is no tensor 'finetuning_scaling_factor', which cfg.json promises");
    if (ones) qsr_taken_free(t);
}

static void take_zeros(qsr_pretrained *p, qsr_tensor_file *f)
{
    qsr_taken *t = &p->weights[QSR_B_ENC];
    if (!p->weights[QSR_W_ENC].data) return;
    *t = (qsr_taken){.data = qsr_block_alloc(p->d_sae, sizeof(float)), .count = p->d_sae, .dtype = QSR_F32};
    if (!t->data) qsr_fail_nomem(&f->refused, "b_enc", p->d_sae * sizeof(float));
}

static void take_tensors(reading *r, qsr_tensor_file *f)
{
    qsr_pretrained *p = r->p;
    size_t d = p->d_in, n = p->d_sae;
    if (qsr_tensor_file_find(f, "W_skip")) qsr_tensor_file_blame(f, "tensor 'W_skip' makes it a transcoder; only autoencoders are read");
    qsr_tensor_file_matrix(f, "W_enc", n, d, true, &p->weights[QSR_W_ENC]);
    qsr_tensor_file_matrix(f, "W_dec", n, d, false, &p->weights[QSR_W_DEC]);
    if (p->rule == QSR_RULE_GATED)
        take_zeros(p, f);
    else
        qsr_tensor_file_vector(f, "b_enc", n, &p->weights[QSR_B_ENC]);
    qsr_tensor_file_vector(f, "b_dec", d, &p->weights[QSR_B_DEC]);
    if (p->rule == QSR_RULE_THRESHOLD) take_threshold(r, f);
    for (size_t i = QSR_B_GATE; p->rule == QSR_RULE_GATED && i <= QSR_R_MAG; i++)
        qsr_tensor_file_vector(f, qsr_weight_names[i], n, &p->weights[i]);
    take_finetuning(r, f);
}

/* A file that has what only another architecture needs was most likely given the wrong cfg.json. */
static void doubt(const qsr_pretrained *p, qsr_tensor_file *f)
{
    bool thresholds = qsr_tensor_file_find(f, "threshold") || qsr_tensor_file_find(f, "topk_threshold");
    if (thresholds && p->rule != QSR_RULE_THRESHOLD && p->rule != QSR_RULE_PLUGIN)
        qsr_tensor_file_blame(f, "it has thresholds, which architecture %s does not use: is it jumprelu or batchtopk?", p->architecture);
    if (qsr_tensor_file_find(f, "r_mag") && p->rule != QSR_RULE_GATED)
        qsr_tensor_file_blame(f, "it has 'r_mag', which architecture %s does not use: is it gated?", p->architecture);
}

qsr_status qsr_saelens_read(qsr_pretrained *p, qsr_error *e)
{
    reading r = {.p = p};
    qsr_tensor_file f;
    qsr_status status = read_description(&r, e);
    if (!status) status = qsr_tensor_file_open(p->weights_path, &f, e);
    if (status) return status;
    fill_shape(p, &f);
    if (p->d_in && p->d_sae) {
        take_tensors(&r, &f);
        doubt(p, &f);
    } else {
        qsr_tensor_file_blame(&f, "neither cfg.json nor a tensor 'W_enc' [d_in, d_sae] tells d_in and d_sae above 0");
    }
    if (p->rule == QSR_RULE_TOPK && p->k > p->d_sae) qsr_tensor_file_blame(&f, "k %zu is more than d_sae %zu", p->k, p->d_sae);
    status = qsr_tensor_file_verdict(&f, e);
    qsr_tensor_file_close(&f);
    return status;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */

static const char *dtype_word(qsr_dtype dtype)
{
    return dtype == QSR_F16 ? "float16" : dtype == QSR_BF16 ? "bfloat16" : "float32";
}

/* Keys that stood at the top before 6.0. */
static const char *const metadata_keys[] = {"model_name",       "hook_name",        "hook_layer",        "hook_head_index", "context_size",
                                            "prepend_bos",      "dataset_path",     "model_class_name",  "seqpos_slice",    "neuronpedia_id",
                                            "sae_lens_version", "sae_lens_training_version", "model_from_pretrained_kwargs", NULL};

static json_t *metadata_of(const qsr_pretrained *p, json_t *extra)
{
    json_t *metadata = json_deep_copy(json_object_get(p->cfg, "metadata"));
    if (!json_is_object(metadata)) {
        json_decref(metadata);
        metadata = json_object();
    }
    for (size_t i = 0; metadata_keys[i]; i++) {
        json_t *value = json_object_get(p->cfg, metadata_keys[i]);
        if (value && !json_object_get(metadata, metadata_keys[i])) json_object_set(metadata, metadata_keys[i], value);
    }
    if (p->hook_name && !json_object_get(metadata, "hook_name")) json_object_set_new(metadata, "hook_name", json_string(p->hook_name));
    if (extra) json_object_set(metadata, "quasar_export", extra);
    return metadata;
}

static json_t *cfg_of(const qsr_pretrained *p, json_t *extra)
{
    const json_t *reshape = json_object_get(p->cfg, "reshape_activations");
    json_t *cfg = json_object();
    json_object_set_new(cfg, "architecture", json_string(qsr_rule_architecture(p->rule)));
    json_object_set_new(cfg, "d_in", json_integer((json_int_t)p->d_in));
    json_object_set_new(cfg, "d_sae", json_integer((json_int_t)p->d_sae));
    json_object_set_new(cfg, "dtype", json_string(dtype_word(p->weights[QSR_W_ENC].dtype)));
    json_object_set_new(cfg, "device", json_string("cpu"));
    json_object_set_new(cfg, "apply_b_dec_to_input", json_boolean(p->pre_bias));
    json_object_set_new(cfg, "normalize_activations", json_string(qsr_normalise_saelens(p->normalise.mode)));
    json_object_set_new(cfg, "reshape_activations", json_string(json_is_string(reshape) ? json_string_value(reshape) : "none"));
    if (p->rule == QSR_RULE_TOPK) json_object_set_new(cfg, "k", json_integer((json_int_t)p->k));
    if (p->rule == QSR_RULE_TOPK || p->rescale) json_object_set_new(cfg, "rescale_acts_by_decoder_norm", json_boolean(p->rescale));
    if (p->weights[QSR_FINETUNING].data) json_object_set_new(cfg, "finetuning_scaling_factor", json_true());
    json_object_set_new(cfg, "metadata", metadata_of(p, extra));
    return cfg;
}

static qsr_status write_tensors(const qsr_pretrained *p, const char *path, qsr_error *e)
{
    qsr_tensor tensors[QSR_WEIGHTS];
    size_t n = 0;
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < QSR_WEIGHTS; i++) {
        const qsr_taken *t = &p->weights[i];
        const char *name = i == QSR_FINETUNING ? "finetuning_scaling_factor" : qsr_weight_names[i];
        if (!t->data || (i == QSR_B_ENC && p->rule == QSR_RULE_GATED)) continue;
        if (i == QSR_W_ENC)
            status = qsr_outgoing(t, name, 2, p->d_in, p->d_sae, true, &tensors[n], e);
        else if (i == QSR_W_DEC)
            status = qsr_outgoing(t, name, 2, p->d_sae, p->d_in, false, &tensors[n], e);
        else
            status = qsr_outgoing(t, name, 1, t->count, 0, false, &tensors[n], e);
        n += !status;
    }
    if (!status) status = qsr_safetensors_write(path, tensors, n, NULL, e);
    for (size_t i = 0; i < n; i++) qsr_block_free((void *)(uintptr_t)tensors[i].data);
    return status;
}

static qsr_status write_scaler(const qsr_pretrained *p, const char *path, qsr_error *e)
{
    if (p->normalise.mode != QSR_NORMALISE_DATASET || isnan(p->normalise.scale)) return QSR_OK;
    json_t *scaler = json_object();
    json_object_set_new(scaler, "scaling_factor", json_real(p->normalise.scale));
    qsr_status status = qsr_json_write(path, scaler, e);
    json_decref(scaler);
    return status;
}

qsr_status qsr_saelens_write(const qsr_pretrained *p, const char *folder, json_t *extra, qsr_error *e)
{
    qsr_arena arena = {0};
    if (!qsr_rule_architecture(p->rule))
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: SAELens does not know the activation %s; --as jumprelu or --as topk converts it and "
                        "measures what that costs", p->path, p->plugin ? p->plugin : p->architecture);
    json_t *cfg = cfg_of(p, extra);
    qsr_status status = write_tensors(p, qsr_path_join(&arena, folder, "sae_weights.safetensors"), e);
    if (!status) status = write_scaler(p, qsr_path_join(&arena, folder, "activation_scaler.json"), e);
    if (!status) status = qsr_json_write(qsr_path_join(&arena, folder, "cfg.json"), cfg, e);
    json_decref(cfg);
    qsr_arena_free(&arena);
    return status;
}

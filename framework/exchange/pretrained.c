#include "exchange/pretrained.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdarg.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"
#include "exchange/fold.h"
#include "exchange/formats.h"
#include "exchange/rule.h"

enum { CFG_BYTES = 16 << 20 };

const char *const qsr_weight_names[QSR_WEIGHTS] = {"W_enc",  "W_dec", "b_enc", "b_dec",         "threshold",
                                                   "b_gate", "b_mag", "r_mag", "scaling_factor"};

const char *qsr_rule_architecture(qsr_rule rule)
{
    static const char *const names[] = {NULL, "standard", "topk", "jumprelu", "gated", NULL};
    return names[rule];
}

void qsr_pretrained_note(qsr_pretrained *p, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->n_notes < sizeof p->notes / sizeof *p->notes) p->notes[p->n_notes++] = qsr_arena_strdup(&p->arena, qsr_one_line(text));
}

void qsr_pretrained_free(qsr_pretrained *p)
{
    for (size_t i = 0; i < QSR_WEIGHTS; i++) qsr_taken_free(&p->weights[i]);
    json_decref(p->cfg);
    qsr_arena_free(&p->arena);
    *p = (qsr_pretrained){0};
}

qsr_status qsr_pretrained_copy(const qsr_pretrained *p, qsr_pretrained *ret, qsr_error *e)
{
    *ret = *p;
    ret->arena = (qsr_arena){0};
    ret->cfg = json_incref(p->cfg);
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < QSR_WEIGHTS; i++) {
        qsr_taken *t = &ret->weights[i];
        if (!t->data) continue;
        t->data = status ? NULL : qsr_block_raw(t->count, sizeof(float));
        if (t->data) memcpy(t->data, p->weights[i].data, t->count * sizeof(float));
        else if (!status) status = qsr_fail_nomem(e, "a copy of the SAE", t->count * sizeof(float));
    }
    if (status) qsr_pretrained_free(ret);
    return status;
}

/* ---- values of cfg.json --------------------------------------------------------------------------------------------- */

static qsr_status bad_value(const qsr_pretrained *p, const char *key, const json_t *value, const char *wanted, qsr_error *e)
{
    qsr_text text = {0};
    qsr_json_line(value, &text);
    qsr_fail(e, QSR_E_INPUT, "%s says %s %.60s, expected %s", p->cfg_path, key, text.bytes ? text.bytes : "?", wanted);
    qsr_text_free(&text);
    return QSR_E_INPUT;
}

/* Whole numbers that someone wrote as 32.0 count as well (SAELens #547). */
qsr_status qsr_cfg_count(const qsr_pretrained *p, const json_t *object, const char *key, size_t *ret, qsr_error *e)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return QSR_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0) || number > 0x1p31 || number != floor(number))
        return bad_value(p, key, value, "a whole number from 0", e);
    *ret = (size_t)number;
    return QSR_OK;
}

qsr_status qsr_cfg_flag(const qsr_pretrained *p, const json_t *object, const char *key, bool *ret, qsr_error *e)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return QSR_OK;
    if (!json_is_boolean(value)) return bad_value(p, key, value, "true or false", e);
    *ret = json_is_true(value);
    return QSR_OK;
}

qsr_status qsr_cfg_word(qsr_pretrained *p, const json_t *object, const char *key, const char **ret, qsr_error *e)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return QSR_OK;
    if (!json_is_string(value)) return bad_value(p, key, value, "a text", e);
    *ret = qsr_arena_strdup(&p->arena, json_string_value(value));
    return QSR_OK;
}

/* ---- what lies at a path? --------------------------------------------------------------------------------------------- */

static bool has(qsr_arena *arena, const char *folder, const char *name)
{
    const char *path = qsr_path_join(arena, folder, name);
    return qsr_exists(path) && !qsr_is_folder(path);
}

bool qsr_pretrained_here(const char *folder)
{
    static const char *const signs[] = {"sae_weights.safetensors", "sae.safetensors", "params.npz", "params.safetensors"};
    qsr_arena arena = {0};
    bool found = false;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        found = found || (has(&arena, folder, signs[i]) && (i > 1 || has(&arena, folder, "cfg.json")));
    found = found || has(&arena, qsr_path_join(&arena, folder, "sae"), "cfg.json");
    qsr_arena_free(&arena);
    return found;
}

/* A folder in which nothing was found may hold what is never read. */
static qsr_status refuse_folder(qsr_pretrained *p, const char *folder, qsr_error *e)
{
    struct dirent *entry;
    qsr_status status = QSR_OK;
    DIR *dir = opendir(folder);
    while (dir && !status && (entry = readdir(dir)))
        status = qsr_pickle_refuse(qsr_path_join(&p->arena, folder, entry->d_name), e);
    if (dir) closedir(dir);
    if (status) return status;
    return qsr_fail(e, QSR_E_INPUT,
                    "%s is neither a completed run nor an SAE: there is no cfg.json, params.npz or params.safetensors", folder);
}

static qsr_status read_cfg(qsr_pretrained *p, const char *path, qsr_error *e)
{
    p->cfg_path = path;
    qsr_status status = qsr_json_read(path, CFG_BYTES, &p->cfg, e);
    if (!status && !json_is_object(p->cfg)) status = qsr_fail(e, QSR_E_INPUT, "%s is not a JSON object", path);
    return status;
}

static qsr_status open_described(qsr_pretrained *p, const char *folder, qsr_error *e)
{
    qsr_status status = read_cfg(p, qsr_path_join(&p->arena, folder, "cfg.json"), e);
    if (status) return status;
    bool saelens = has(&p->arena, folder, "sae_weights.safetensors"), other = has(&p->arena, folder, "sae.safetensors");
    bool sparsify = !saelens && (other || qsr_sparsify_is(p->cfg));
    p->weights_path = qsr_path_join(&p->arena, folder, sparsify ? "sae.safetensors" : "sae_weights.safetensors");
    if (!saelens && !other && (status = refuse_folder(p, folder, e)) && e && strstr(e->text, "pickle")) return status;
    return sparsify ? qsr_sparsify_read(p, e) : qsr_saelens_read(p, e);
}

static qsr_status open_folder(qsr_pretrained *p, const char *folder, qsr_error *e)
{
    const char *inside = qsr_path_join(&p->arena, folder, "sae");
    if (has(&p->arena, inside, "cfg.json")) return open_described(p, inside, e);
    if (has(&p->arena, folder, "cfg.json")) return open_described(p, folder, e);
    if (has(&p->arena, folder, "params.npz"))
        p->weights_path = qsr_path_join(&p->arena, folder, "params.npz");
    else if (has(&p->arena, folder, "params.safetensors"))
        p->weights_path = qsr_path_join(&p->arena, folder, "params.safetensors");
    else
        return refuse_folder(p, folder, e);
    return qsr_gemma_read(p, e);
}

/* A file that stands beside a description is read with it. */
static qsr_status open_file(qsr_pretrained *p, const char *path, qsr_error *e)
{
    const char *folder = qsr_path_folder(&p->arena, path), *base = qsr_path_base(path);
    bool described = !strcmp(base, "cfg.json") || !strcmp(base, "sae_weights.safetensors") || !strcmp(base, "sae.safetensors");
    if (described && has(&p->arena, folder, "cfg.json")) return open_described(p, folder, e);
    qsr_status status = qsr_pickle_refuse(path, e);
    if (status) return status;
    if (!qsr_ends_with(path, ".npz") && !qsr_ends_with(path, ".safetensors"))
        return qsr_fail(e, QSR_E_INPUT, "%s is no SAE: expected a folder, or a file that ends in .safetensors or .npz", path);
    p->weights_path = path;
    return qsr_gemma_read(p, e);
}

qsr_status qsr_pretrained_open(const char *path, qsr_pretrained *ret, qsr_error *e)
{
    *ret = (qsr_pretrained){.hook_layer = -1, .recorded_l0 = NAN, .normalise = {QSR_NORMALISE_NONE, 1}, .architecture = "unknown"};
    ret->path = qsr_arena_strdup(&ret->arena, path);
    qsr_status status;
    if (!qsr_exists(path))
        status = qsr_fail(e, QSR_E_INPUT, "there is no folder or file %s", path);
    else
        status = qsr_is_folder(path) ? open_folder(ret, ret->path, e) : open_file(ret, ret->path, e);
    if (status) qsr_pretrained_free(ret);
    return status;
}

/* ---- can it be run? --------------------------------------------------------------------------------------------------- */

qsr_status qsr_pretrained_finite(const qsr_pretrained *p, qsr_error *e)
{
    for (size_t i = 0; i < QSR_WEIGHTS; i++) {
        const qsr_taken *t = &p->weights[i];
        char value[32];
        if (t->not_finite)
            return qsr_fail(e, QSR_E_INPUT, "%s: tensor '%s' holds %s%s at index %zu: weights must be finite", p->weights_path,
                            qsr_weight_names[i], qsr_float_text(t->bad, value, sizeof value),
                            t->dtype == QSR_F64 ? " (as float32)" : "", t->first_bad);
    }
    return QSR_OK;
}

qsr_status qsr_pretrained_usable(const qsr_pretrained *p, qsr_error *e)
{
    if (p->rule == QSR_RULE_UNKNOWN)
        return qsr_fail(e, QSR_E_INPUT, "%s says nothing of its activation: put a cfg.json beside it, such as "
                        "{\"architecture\": \"topk\", \"k\": 32, \"apply_b_dec_to_input\": true}, and name it sae_weights.safetensors",
                        p->weights_path);
    if (isnan(p->normalise.scale))
        return qsr_fail(e, QSR_E_INPUT,
                        "%s says normalize_activations expected_average_only_in, so inputs are scaled by a factor that is not in "
                        "the files: put it into activation_scaler.json beside it, as {\"scaling_factor\": sqrt(d_in) / mean norm}",
                        p->cfg_path);
    return qsr_pretrained_finite(p, e);
}

const json_t *qsr_pretrained_probe(const qsr_pretrained *p)
{
    const json_t *metadata = json_object_get(p->cfg, "metadata");
    const json_t *of_export = json_object_get(json_object_get(metadata, "quasar_export"), "probe");
    return of_export ? of_export : json_object_get(json_object_get(metadata, "quasar"), "probe");
}

static bool any_nonzero(const float *v, size_t n)
{
    for (size_t i = 0; v && i < n; i++)
        if (v[i] != 0) return true;
    return false;
}

static void move_in(qsr_taken *from, float *to)
{
    memcpy(to, from->data, from->count * sizeof *to);
    qsr_taken_free(from);
}

qsr_status qsr_pretrained_make(qsr_pretrained *p, qsr_pool *pool, qsr_sae *ret, qsr_error *e)
{
    qsr_status status = qsr_pretrained_usable(p, e);
    if (status) return status;
    qsr_rule_options options = {.rule = p->rule, .k = p->k, .threshold = p->weights[QSR_THRESHOLD].data,
                                .b_gate = p->weights[QSR_B_GATE].data, .b_mag = p->weights[QSR_B_MAG].data,
                                .r_mag = p->weights[QSR_R_MAG].data};
    if (p->rescale) qsr_fold_rescaling(p); /* first: the other changes decoder norms */
    if (p->weights[QSR_FINETUNING].data) qsr_fold_finetuning(p);
    status = qsr_sae_assemble(&qsr_rule_plugin, &options, p->normalise, p->d_in, p->d_sae, pool, ret, e);
    if (status) return status;
    move_in(&p->weights[QSR_W_ENC], ret->params.w_enc);
    move_in(&p->weights[QSR_W_DEC], ret->params.w_dec);
    move_in(&p->weights[QSR_B_ENC], ret->params.b_enc);
    move_in(&p->weights[QSR_B_DEC], ret->params.b_dec);
    ret->params.pre_bias = p->pre_bias;
    ret->params.encoder_bias = any_nonzero(ret->params.b_enc, p->d_sae);
    qsr_sae_refresh(ret);
    return QSR_OK;
}

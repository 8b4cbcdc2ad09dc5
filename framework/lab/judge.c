#include "lab/judge.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "lab/cell.h"
#include "lab/manifest.h"
#include "lab/store.h"

enum { CFG_BYTES = 16 << 20 };

typedef struct {
    const qsr_spec *spec;
    const char *sae_folder, *cfg_path;
    json_t *cfg, *manifest; /* manifest: NULL for an SAE without a run around it */
    qsr_dataset data;
    qsr_sae sae;
    qsr_arena arena;
} judge_state;

/* ---- does cfg.json describe what the spec describes? ------------------------------------------------------------------ */

static qsr_status differs(const judge_state *j, const char *key, const char *theirs, const char *option, const char *ours,
                          qsr_error *e)
{
    return qsr_fail(e, QSR_E_INPUT, "%s says %s %s, but the spec has %s %s", j->cfg_path, key, theirs, option, ours);
}

static qsr_status compare_count(const judge_state *j, const char *key, const char *option, size_t ours, qsr_error *e)
{
    const json_t *value = json_object_get(j->cfg, key);
    if (!value || json_is_null(value)) return QSR_OK;
    char theirs[32], mine[32];
    snprintf(theirs, sizeof theirs, "%" PRIdMAX, (intmax_t)json_integer_value(value));
    snprintf(mine, sizeof mine, "%zu", ours);
    if (json_is_integer(value) && strcmp(theirs, mine) == 0) return QSR_OK;
    return differs(j, key, json_is_integer(value) ? theirs : "something that is not an integer", option, mine, e);
}

static qsr_status compare_text(const judge_state *j, const json_t *in, const char *key, const char *option, const char *ours,
                               qsr_error *e)
{
    const char *theirs = json_string_value(json_object_get(in, key));
    return !theirs || strcmp(theirs, ours) == 0 ? QSR_OK : differs(j, key, theirs, option, ours, e);
}

static qsr_status compare_flag(const judge_state *j, const char *key, const char *option, bool ours, qsr_error *e)
{
    const json_t *value = json_object_get(j->cfg, key);
    if (!json_is_boolean(value) || json_is_true(value) == ours) return QSR_OK;
    return differs(j, key, ours ? "false" : "true", option, ours ? "true" : "false", e);
}

/* What the activation would export (k, a threshold's form) against what stands there. */
static qsr_status compare_activation(const judge_state *j, qsr_error *e)
{
    const qsr_export_ops *ops = qsr_made_extension(j->sae.activation, QSR_EXT_EXPORT);
    const qsr_instance *instance = j->sae.activation->instance;
    const char *name = j->spec->activation.plugin->name;
    const char *known = ops && ops->architecture ? ops->architecture(instance) : NULL;
    char own[128];
    snprintf(own, sizeof own, "quasar/%s", name);
    qsr_status status = compare_text(j, j->cfg, "architecture", "an activation exported as", known ? known : own, e);
    for (uint32_t i = 0; !status && ops && ops->key; i++) {
        double ours;
        const char *key = ops->key(instance, i, &ours);
        const json_t *value = key ? json_object_get(j->cfg, key) : NULL;
        if (!key) break;
        if (!json_is_number(value) || json_number_value(value) == ours) continue;
        char theirs[32], mine[32];
        qsr_real_text(json_number_value(value), theirs, sizeof theirs);
        status = differs(j, key, theirs, key, qsr_real_text(ours, mine, sizeof mine), e);
    }
    return status;
}

/* A dataset's scale is folded into exported weights, so raw rows go in: then nothing is left to normalise. */
static qsr_status compare_normalisation(judge_state *j, const json_t *origin, qsr_error *e)
{
    static const char *const names[] = {"none", "layer_norm", "none"};
    qsr_status status = compare_text(j, j->cfg, "normalize_activations", "sae.normalize", names[j->sae.normalise.mode], e);
    if (!status) status = compare_text(j, origin, "normalize", "sae.normalize", j->spec->sae.normalize, e);
    if (status || j->sae.normalise.mode != QSR_NORMALISE_DATASET) return status;
    if (!json_is_number(json_object_get(origin, "folded_scale")))
        return qsr_fail(e, QSR_E_INPUT, "%s does not say that a scale was folded in, but the spec has sae.normalize dataset; use none",
                        j->cfg_path);
    j->sae.normalise.mode = QSR_NORMALISE_NONE;
    return QSR_OK;
}

static qsr_status compare(judge_state *j, qsr_error *e)
{
    const json_t *origin = json_object_get(json_object_get(j->cfg, "metadata"), "quasar");
    qsr_status status = compare_count(j, "d_sae", "sae.d_sae", j->sae.params.d_sae, e);
    if (!status) status = compare_count(j, "d_in", "a dataset of width", j->sae.params.d_in, e);
    if (!status) status = compare_text(j, origin, "activation", "activation.plugin", j->spec->activation.plugin->name, e);
    if (!status) status = compare_activation(j, e);
    if (!status) status = compare_flag(j, "apply_b_dec_to_input", "sae.pre_bias", j->sae.params.pre_bias, e);
    if (!status) status = compare_normalisation(j, origin, e);
    return status;
}

/* ---- loading ------------------------------------------------------------------------------------------------------- */

static qsr_status find_folder(judge_state *j, const char *folder, qsr_error *e)
{
    const char *inside = qsr_path_join(&j->arena, folder, "sae");
    j->sae_folder = qsr_is_folder(inside) ? inside : folder;
    j->cfg_path = qsr_path_join(&j->arena, j->sae_folder, "cfg.json");
    if (!qsr_is_folder(folder)) return qsr_fail(e, QSR_E_INPUT, "%s is not a folder", folder);
    if (!qsr_exists(j->cfg_path))
        return qsr_fail(e, QSR_E_INPUT, "%s is neither a completed run nor an SAE: there is no cfg.json", folder);
    qsr_status status = qsr_json_read(j->cfg_path, CFG_BYTES, &j->cfg, e);
    if (status) return status;
    if (!json_is_object(j->cfg)) return qsr_fail(e, QSR_E_INPUT, "%s is not a JSON object", j->cfg_path);
    const char *manifest = qsr_path_join(&j->arena, folder, "manifest.json");
    return qsr_exists(manifest) ? qsr_json_read(manifest, CFG_BYTES, &j->manifest, e) : QSR_OK;
}

static bool any_nonzero(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] != 0) return true;
    return false;
}

static qsr_status open_all(judge_state *j, const qsr_judge_options *o, qsr_problems *problems, qsr_error *e)
{
    const qsr_spec *spec = j->spec;
    qsr_status status = qsr_dataset_open(spec, o->pool, &j->data, e);
    if (status) {
        qsr_cell_blame(spec, &spec->dataset, e, problems);
        return status;
    }
    status = qsr_sae_create(spec, j->data.d_in, 0, false, o->pool, &j->sae, e);
    if (status) {
        qsr_cell_blame(spec, &spec->activation, e, problems);
        return status;
    }
    status = compare(j, e);
    if (!status)
        status = qsr_params_load(&j->sae.params, qsr_path_join(&j->arena, j->sae_folder, "sae_weights.safetensors"),
                                 j->sae.activation, e);
    /* Whoever trained it, a bias that is there is meant. */
    if (!status && any_nonzero(j->sae.params.b_enc, j->sae.params.d_sae)) j->sae.params.encoder_bias = true;
    if (!status) qsr_sae_refresh(&j->sae);
    return status;
}

static void close_all(judge_state *j)
{
    json_decref(j->cfg);
    json_decref(j->manifest);
    qsr_sae_free(&j->sae);
    qsr_dataset_close(&j->data);
    qsr_arena_free(&j->arena);
}

/* ---- held out? ----------------------------------------------------------------------------------------------------- */

/* Whether each file of `a` is among those of `b`, whatever its path: the digests decide. */
static bool all_among(json_t *a, json_t *b)
{
    const char *path, *other;
    json_t *x, *y;
    json_object_foreach(a, path, x)
    {
        bool found = false;
        json_object_foreach(b, other, y) found = found || json_equal(x, y);
        if (!found) return false;
    }
    return true;
}

/* Rows of other files than those it was trained on are held out, and so are units beyond the trained ones of the same files;
 * what is held out of data without end lies beyond what any training reaches. */
static qsr_status ask_manifest(const judge_state *j, qsr_held_out *ret, qsr_error *e)
{
    *ret = QSR_HELD_OUT_UNKNOWN;
    if (!j->manifest) return QSR_OK;
    json_t *inputs = json_object(), *split = json_object_get(j->manifest, "split");
    const json_t *units = json_object_get(split, "train_units"), *rows = json_object_get(split, "rows_per_unit");
    qsr_status status = qsr_manifest_inputs(&j->spec->dataset, inputs, e);
    if (!status && (json_is_null(units) || !all_among(inputs, json_object_get(j->manifest, "inputs"))))
        *ret = QSR_HELD_OUT_YES;
    else if (!status && json_is_integer(units) && json_integer_value(rows) == (json_int_t)j->data.rows_per_unit)
        *ret = j->data.held_first >= (uint64_t)json_integer_value(units) ? QSR_HELD_OUT_YES : QSR_HELD_OUT_NO;
    json_decref(inputs);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

static qsr_status write_result(const judge_state *j, const char *folder, const char *out, const qsr_judgement *judgement,
                               qsr_error *e)
{
    json_t *root = json_object(), *eval = json_object();
    json_object_set_new(root, "status", json_string("evaluated"));
    json_object_set_new(root, "sae", json_string(folder));
    json_object_set_new(root, "spec", json_string(j->spec->path));
    qsr_store_put_evaluation(root, &judgement->evaluation);
    const bool scored = judgement->evaluation.scored;
    json_object_set_new(eval, "tokens", json_integer((json_int_t)(scored ? j->data.held_kept : 0)));
    if (scored && j->data.masked)
        json_object_set_new(eval, "excluded", json_integer((json_int_t)(j->data.held_rows - j->data.held_kept)));
    json_object_set_new(eval, "held_out", judgement->held_out == QSR_HELD_OUT_UNKNOWN ? json_null()
                                          : json_boolean(judgement->held_out == QSR_HELD_OUT_YES));
    json_object_set_new(root, "eval", eval);
    qsr_arena arena = {0};
    qsr_status status = qsr_json_write(qsr_path_join(&arena, out, "result.json"), root, e);
    qsr_arena_free(&arena);
    json_decref(root);
    return status;
}

/* Bytes of the longest part of the path that exists. */
static size_t existing_part(const char *path)
{
    qsr_arena arena = {0};
    char *part = qsr_arena_strdup(&arena, path), *slash;
    while (!qsr_exists(part) && (slash = strrchr(part, '/'))) *slash = 0;
    size_t n = qsr_exists(part) ? strlen(part) : 0;
    qsr_arena_free(&arena);
    return n;
}

/* Takes back the folders of `path` beyond its first `existed` bytes, as far as they are empty. */
static void remove_folders(const char *path, size_t existed)
{
    qsr_arena arena = {0};
    char *part = qsr_arena_strdup(&arena, path), *slash;
    while (strlen(part) > existed && rmdir(part) == 0 && (slash = strrchr(part, '/'))) *slash = 0;
    qsr_arena_free(&arena);
}

static qsr_status evaluate(judge_state *j, const qsr_judge_options *o, qsr_judgement *ret, qsr_error *e)
{
    double start = qsr_clock();
    qsr_judged judged = {.sae = &j->sae, .layer = qsr_cell_layer(j->spec), .ce_tokens = (uint64_t)j->spec->eval.ce_tokens};
    qsr_evaluate_options options = {o->ctx, o->progress};
    if (o->out && j->data.held_rows) judged.tokens_csv = qsr_path_join(&j->arena, o->out, "tokens.csv");
    if (o->out) judged.latents = qsr_cell_latent_files(j->spec, o->out, &j->arena);
    size_t existed = o->out ? existing_part(o->out) : 0;
    qsr_status status = o->out ? qsr_mkdirs(o->out, e) : QSR_OK;
    if (!status) status = qsr_evaluate(&judged, 1, &j->data, &options, e);
    if (!status && judged.error.code) {
        *e = judged.error;
        status = judged.error.code;
    }
    if (status && o->out) remove_folders(o->out, existed);
    ret->evaluation = judged.evaluation;
    ret->seconds = qsr_clock() - start;
    return status;
}

qsr_status qsr_lab_judge(const char *folder, const qsr_spec *spec, const qsr_judge_options *o, qsr_judgement *ret,
                         qsr_problems *problems, qsr_error *e)
{
    *ret = (qsr_judgement){0};
    judge_state j = {.spec = spec};
    qsr_status status = find_folder(&j, folder, e);
    if (!status) status = open_all(&j, o, problems, e);
    if (!status) status = ask_manifest(&j, &ret->held_out, e);
    if (!status && (status = evaluate(&j, o, ret, e)) == QSR_E_INPUT) qsr_cell_blame(spec, &spec->dataset, e, problems);
    if (!status && o->out) status = write_result(&j, folder, o->out, ret, e);
    close_all(&j);
    return status;
}

#include "lab/describe.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "exchange/probe.h"
#include "lab/origin.h"

static void put_count(json_t *object, const char *key, uint64_t n) { json_object_set_new(object, key, json_integer((json_int_t)n)); }
static void put_text(json_t *object, const char *key, const char *text) { json_object_set_new(object, key, json_string(text)); }

/* ---- SAELens's keys --------------------------------------------------------------------------------------------------- */

static void put_plugin_keys(json_t *cfg, const qsr_export_ops *ops, qsr_instance *instance)
{
    for (uint32_t i = 0; ops && ops->key; i++) {
        double value;
        const char *key = ops->key(instance, i, &value);
        if (!key) break;
        if (value == floor(value) && fabs(value) < 0x1p53) json_object_set_new(cfg, key, json_integer((json_int_t)value));
        else json_object_set_new(cfg, key, qsr_json_real(value));
    }
}

static json_t *describe_architecture(const qsr_learner *l)
{
    const qsr_params *p = &l->sae.params;
    const qsr_export_ops *ops = qsr_made_extension(l->sae.activation, QSR_EXT_EXPORT);
    qsr_instance *instance = l->sae.activation->instance;
    const char *known = ops && ops->architecture ? ops->architecture(instance) : NULL;
    bool folded = l->sae.normalise.mode == QSR_NORMALISE_DATASET; /* into the weights: raw rows go in */
    char own[128];
    snprintf(own, sizeof own, "quasar/%s", l->spec->activation.plugin->name);
    json_t *cfg = json_object();
    put_text(cfg, "architecture", known ? known : own);
    put_count(cfg, "d_in", p->d_in);
    put_count(cfg, "d_sae", p->d_sae);
    put_text(cfg, "dtype", "float32");
    put_text(cfg, "device", "cpu");
    json_object_set_new(cfg, "apply_b_dec_to_input", json_boolean(p->pre_bias));
    put_text(cfg, "normalize_activations", folded ? "none" : qsr_normalise_saelens(l->sae.normalise.mode));
    put_text(cfg, "reshape_activations", "none");
    put_plugin_keys(cfg, ops, instance);
    if (known && strcmp(known, "topk") == 0) json_object_set_new(cfg, "rescale_acts_by_decoder_norm", json_false());
    return cfg;
}

/* ---- where its rows came from ------------------------------------------------------------------------------------------- */

/* The last part of a path: where a folder lies on this machine is nobody's business. */
static void put_base(json_t *metadata, const char *key, const char *path)
{
    qsr_arena arena = {0};
    char *copy = path ? qsr_arena_strdup(&arena, path) : NULL;
    for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--) copy[n - 1] = 0;
    if (copy) put_text(metadata, key, qsr_path_base(copy));
    qsr_arena_free(&arena);
}

/* TransformerLens gives states less their mean unless told otherwise. */
static void put_convention(json_t *metadata, const char *convention)
{
    static const char *const off[] = {"fold_ln", "center_writing_weights", "center_unembed"};
    json_t *arguments = json_object();
    for (size_t i = 0; strcmp(convention, "raw") == 0 && i < 3; i++) json_object_set_new(arguments, off[i], json_false());
    json_object_set_new(metadata, "model_from_pretrained_kwargs", arguments);
}

static void put_place(json_t *metadata, const qsr_origin *o)
{
    const char *site = qsr_origin_text(o, "hook.site"), *convention = qsr_origin_text(o, "convention");
    const int64_t layer = qsr_origin_count(o, "hook.layer"), context = qsr_origin_count(o, "context");
    char hook[160];
    put_base(metadata, "model_name", qsr_origin_text(o, "model"));
    if (site && layer >= 0) {
        snprintf(hook, sizeof hook, "blocks.%" PRId64 ".hook_%s", layer, site);
        put_text(metadata, "hook_name", hook);
        put_text(metadata, "model_class_name", "HookedTransformer");
        json_object_set_new(metadata, "hook_head_index", json_null());
    }
    if (context > 0) {
        put_count(metadata, "context_size", (uint64_t)context);
        json_object_set_new(metadata, "prepend_bos", json_false()); /* contexts are cut from the tokens as they are */
        json_object_set_new(metadata, "seqpos_slice", json_pack("[I, n]", (json_int_t)o->spec->data.skip_first));
    }
    put_base(metadata, "dataset_path", qsr_origin_text(o, "tokens") ? qsr_origin_text(o, "tokens") : qsr_origin_text(o, "text"));
    if (convention) put_convention(metadata, convention);
}

/* ---- what Quasar needs, where SAELens ignores it ------------------------------------------------------------------------- */

/* The spec is text, so that options keep their spelling. */
static json_t *describe_origin(const qsr_learner *l)
{
    json_t *quasar = json_object();
    qsr_text text = {0};
    qsr_spec_dump_identity(l->spec, &text); /* log_every and the like must not show in sae/ */
    put_text(quasar, "version", PACKAGE_VERSION);
    put_text(quasar, "cell", l->spec->id);
    put_text(quasar, "activation", l->spec->activation.plugin->name);
    put_text(quasar, "activation_version", l->spec->activation.plugin->version);
    put_text(quasar, "normalize", l->spec->sae.normalize);
    if (l->sae.normalise.mode == QSR_NORMALISE_DATASET)
        json_object_set_new(quasar, "folded_scale", qsr_json_real(l->sae.normalise.scale));
    json_object_set_new(quasar, "encoder_bias", json_boolean(l->sae.params.encoder_bias));
    put_text(quasar, "spec", text.bytes);
    qsr_text_free(&text);
    return quasar;
}

qsr_status qsr_describe_sae(const qsr_learner *l, const qsr_dataset *data, size_t tap, json_t **ret, qsr_error *e)
{
    const qsr_origin o = qsr_origin_of(l->spec, data, tap);
    qsr_probe probe;
    qsr_status status = qsr_probe_run(&l->sae, &probe, e);
    if (status) return status;
    json_t *metadata = json_object(), *quasar = describe_origin(l);
    put_place(metadata, &o);
    json_object_set_new(quasar, "probe", qsr_probe_json(&probe));
    json_object_set_new(metadata, "quasar", quasar);
    *ret = describe_architecture(l);
    json_object_set_new(*ret, "metadata", metadata);
    return QSR_OK;
}

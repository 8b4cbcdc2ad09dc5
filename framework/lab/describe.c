#include "lab/describe.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/fs.h"
#include "exchange/probe.h"

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

/* The spec's own dataset options, or where rows were stored, those of the dataset that made them. */
typedef struct {
    const qsr_spec *spec;
    const qsr_dataset *data;
    size_t tap;
    const qsr_source_ops *source; /* or NULL */
} origin;

static const void *option_of(const qsr_spec *spec, const char *name, uint32_t type)
{
    const qsr_plugin *plugin = spec->dataset.plugin;
    for (size_t i = 0; i < plugin->n_options; i++)
        if (plugin->options[i].type == type && strcmp(plugin->options[i].name, name) == 0)
            return (const char *)spec->dataset.values + plugin->options[i].offset;
    return NULL;
}

static const char *source_text(const origin *o, const char *name)
{
    return o->source ? o->source->option(o->data->made->instance, o->data->first_tap + o->tap, name) : NULL;
}

static const char *text_of(const origin *o, const char *name)
{
    const char *told = source_text(o, name);
    const char *const *text = option_of(o->spec, name, QSR_OPT_STRING);
    const qsr_strings *texts = option_of(o->spec, name, QSR_OPT_STRINGS);
    if (told) return told;
    if (text) return *text;
    return texts && texts->count == 1 ? texts->items[0] : NULL;
}

/* -1: not known. */
static int64_t count_of(const origin *o, const char *name)
{
    const char *told = source_text(o, name);
    const int64_t *value = option_of(o->spec, name, QSR_OPT_INT);
    int64_t n = value ? *value : -1;
    return told && !qsr_parse_int(told, &n) ? -1 : n;
}

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

static void put_place(json_t *metadata, const origin *o)
{
    const char *site = text_of(o, "hook.site"), *convention = text_of(o, "convention");
    const int64_t layer = count_of(o, "hook.layer"), context = count_of(o, "context");
    char hook[160];
    put_base(metadata, "model_name", text_of(o, "model"));
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
    put_base(metadata, "dataset_path", text_of(o, "tokens") ? text_of(o, "tokens") : text_of(o, "text"));
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
    const origin o = {l->spec, data, tap, qsr_made_extension(data->made, QSR_EXT_SOURCE)};
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

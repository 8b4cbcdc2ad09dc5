/* lab/judge-spec: the spec of an evaluation as each SAE needs it: with its own place in the model, and checked against it. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lab/judge-parts.h"
#include "lab/manifest.h"
#include "spec/load.h"
#include "spec/option.h"

/* ---- where the SAE was trained ------------------------------------------------------------------------------------------ */

/* The dataset plugin that the spec names, or NULL: loading it will say why. */
static const qsr_plugin *dataset_of(const qsr_judge_options *o)
{
    qsr_arena arena = {0};
    qsr_problems problems = {0};
    qsr_overrides laid;
    bool whole;
    const char *near;
    qsr_error e = {0};
    const qsr_node *root = qsr_spec_read(&arena, o->spec, NULL, 0, o->overrides, o->n_overrides, o->env, &whole, &laid, &problems);
    const qsr_entry *entry = root ? qsr_node_at(root, "dataset.plugin") : NULL;
    const qsr_node *word = entry ? qsr_node_plain(entry->value) : NULL;
    const qsr_plugin *plugin =
        word && word->kind == QSR_SCALAR ? o->env->find(o->env->ctx, QSR_DATASET, word->text, &near, &e) : NULL;
    qsr_problems_free(&problems);
    qsr_arena_free(&arena);
    return plugin;
}

static bool has_tap(const qsr_plugin *plugin, const char *name)
{
    for (size_t i = 0; plugin && i < plugin->n_options; i++)
        if (strcmp(plugin->options[i].name, name) == 0) return plugin->options[i].flags & QSR_OPT_TAP;
    return false;
}

static bool is_overridden(const qsr_judge_options *o, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < o->n_overrides; i++)
        if (strncmp(o->overrides[i], key, n) == 0 && o->overrides[i][n] == '=') return true;
    return false;
}

/* "dataset.hook.layer=4" and the like for what the SAE's files say of its place; what the command line says stands. */
static void own_place(const qsr_judge_options *o, const qsr_plugin *plugin, const qsr_pretrained *p, qsr_arena *arena,
                      const char *ret[3])
{
    size_t n = 0;
    ret[0] = ret[1] = ret[2] = NULL;
    if (o->spec_hook) return;
    if (p->hook_layer >= 0 && has_tap(plugin, "hook.layer") && !is_overridden(o, "dataset.hook.layer"))
        ret[n++] = qsr_arena_printf(arena, "dataset.hook.layer=%" PRId64, p->hook_layer);
    if (p->hook_site && has_tap(plugin, "hook.site") && !is_overridden(o, "dataset.hook.site"))
        ret[n++] = qsr_arena_printf(arena, "dataset.hook.site=%s", p->hook_site);
}

/* ---- loading, once for each place ---------------------------------------------------------------------------------------- */

static judge_spec *load(judge_specs *all, const qsr_judge_options *o, const char *key, const char *const place[3])
{
    all->items = qsr_xrealloc(all->items, all->count + 1, sizeof *all->items);
    judge_spec *s = all->items[all->count++] = qsr_xcalloc(1, sizeof **all->items);
    const char **words = qsr_arena_alloc(&all->arena, o->n_overrides + 3, sizeof *words);
    size_t n = 0;
    for (; n < o->n_overrides; n++) words[n] = o->overrides[n];
    for (size_t i = 0; place[i]; i++) words[n++] = place[i];
    qsr_spec_env env = *o->env;
    env.data_only = true;
    s->key = key;
    s->status = qsr_spec_load(o->spec, words, n, &env, &s->spec, &s->problems);
    s->inputs = json_object();
    if (!s->status && (s->status = qsr_manifest_inputs(&s->spec->dataset, s->inputs, &s->error)))
        qsr_spec_blame(s->spec, &s->spec->dataset, &s->error, &s->problems);
    return s;
}

judge_spec *qsr_judge_spec_for(judge_specs *all, const qsr_judge_options *o, const qsr_pretrained *p)
{
    const char *place[3];
    if (!all->looked) all->plugin = dataset_of(o);
    all->looked = true;
    own_place(o, all->plugin, p, &all->arena, place);
    const char *key = qsr_arena_printf(&all->arena, "%s%s%s", place[0] ? place[0] + strlen("dataset.") : "", place[1] ? " " : "",
                                       place[1] ? place[1] + strlen("dataset.") : "");
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->items[i]->key, key) == 0) return all->items[i];
    return load(all, o, key, place);
}

void qsr_judge_specs_free(judge_specs *all)
{
    for (size_t i = 0; i < all->count; i++) {
        qsr_spec_free(all->items[i]->spec);
        qsr_problems_free(&all->items[i]->problems);
        json_decref(all->items[i]->inputs);
        free(all->items[i]);
    }
    free(all->items);
    qsr_arena_free(&all->arena);
    *all = (judge_specs){0};
}

/* ---- does the SAE match what a whole spec describes? --------------------------------------------------------------------- */

typedef struct {
    const qsr_pretrained *p;
    const qsr_spec *spec;
    const char *where;
} comparison;

static qsr_status differs(const comparison *c, const char *key, const char *theirs, const char *option, const char *ours, qsr_error *e)
{
    return qsr_fail(e, QSR_E_INPUT, "%s says %s %s, but the spec has %s %s", c->where, key, theirs, option, ours);
}

static qsr_status compare_number(const comparison *c, const char *key, double theirs, const char *option, double ours, qsr_error *e)
{
    char a[32], b[32];
    if (theirs == ours) return QSR_OK;
    return differs(c, key, qsr_real_text(theirs, a, sizeof a), option, qsr_real_text(ours, b, sizeof b), e);
}

static qsr_status compare_text(const comparison *c, const char *key, const char *theirs, const char *option, const char *ours,
                               qsr_error *e)
{
    return !theirs || strcmp(theirs, ours) == 0 ? QSR_OK : differs(c, key, theirs, option, ours, e);
}

/* What the activation would export (architecture, k) against what the file says. */
static qsr_status compare_activation(const comparison *c, qsr_error *e)
{
    const qsr_pretrained *p = c->p;
    const qsr_plugin *plugin = c->spec->activation.plugin;
    const char *rule = qsr_rule_architecture(p->rule);
    qsr_shape shape = {.struct_size = sizeof shape, .d_in = p->d_in, .d_sae = p->d_sae};
    qsr_made *made;
    char own[128];
    qsr_status status = qsr_made_create(plugin, &shape, c->spec->activation.values, 0, NULL, &made, e);
    if (status) return status;
    const qsr_export_ops *ops = qsr_made_extension(made, QSR_EXT_EXPORT);
    const char *known = ops && ops->architecture ? ops->architecture(made->instance) : NULL;
    snprintf(own, sizeof own, "quasar/%s", plugin->name);
    status = compare_text(c, "activation", p->plugin, "activation.plugin", plugin->name, e);
    if (!status) status = compare_text(c, "architecture", rule ? rule : p->architecture, "an activation exported as", known ? known : own, e);
    for (uint32_t i = 0; !status && ops && ops->key; i++) {
        double ours;
        const char *key = ops->key(made->instance, i, &ours);
        if (!key) break;
        if (strcmp(key, "k") == 0) status = compare_number(c, "k", (double)p->k, "k", ours, e);
    }
    qsr_made_free(made);
    return status;
}

static qsr_status compare_bias(const comparison *c, qsr_error *e)
{
    const char *word = c->spec->sae.pre_bias;
    bool ours = strcmp(word, "auto") == 0 ? c->spec->activation.plugin->caps & QSR_CAP_PRE_BIAS : strcmp(word, "true") == 0;
    if (c->p->pre_bias == ours) return QSR_OK;
    return differs(c, "apply_b_dec_to_input", ours ? "false" : "true", "sae.pre_bias", ours ? "true" : "false", e);
}

/* A dataset's scale is folded into exported weights, so raw rows go in: then nothing is left to normalise. */
static qsr_status compare_normalisation(const comparison *c, qsr_error *e)
{
    const qsr_pretrained *p = c->p;
    qsr_normalise_mode ours = qsr_normalise_parse(c->spec->sae.normalize);
    if (ours == QSR_NORMALISE_DATASET && p->normalise.mode == QSR_NORMALISE_NONE && !(p->folded_scale > 0))
        return qsr_fail(e, QSR_E_INPUT, "%s does not say that a scale was folded in, but the spec has sae.normalize dataset; use none",
                        c->where);
    if (ours == p->normalise.mode || (ours == QSR_NORMALISE_DATASET && p->normalise.mode == QSR_NORMALISE_NONE)) return QSR_OK;
    return differs(c, "normalize_activations", qsr_normalise_saelens(p->normalise.mode), "sae.normalize", c->spec->sae.normalize, e);
}

qsr_status qsr_judge_compare(const qsr_pretrained *p, const qsr_spec *spec, qsr_error *e)
{
    comparison c = {p, spec, p->cfg_path ? p->cfg_path : p->weights_path};
    if (!spec->activation.plugin || spec->of_several) return QSR_OK;
    qsr_status status = QSR_OK;
    if (spec->sae.d_sae) status = compare_number(&c, "d_sae", (double)p->d_sae, "sae.d_sae", (double)spec->sae.d_sae, e);
    if (!status) status = compare_activation(&c, e);
    if (!status) status = compare_bias(&c, e);
    if (!status) status = compare_normalisation(&c, e);
    return status;
}

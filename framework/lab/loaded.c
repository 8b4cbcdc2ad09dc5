#include "lab/loaded.h"

#include <string.h>

#include "base/fs.h"
#include "exchange/probe.h"

enum { MANIFEST_BYTES = 16 << 20 };

const char *qsr_loaded_folder(const qsr_pretrained *p, qsr_arena *arena)
{
    const char *files = qsr_path_folder(arena, p->weights_path);
    const char *above = strcmp(qsr_path_base(files), "sae") == 0 ? qsr_path_folder(arena, files) : NULL;
    return above && qsr_exists(qsr_path_join(arena, above, "manifest.json")) ? above : files;
}

/* The activation of an SAE that only Quasar's own plugins know, with the options of the spec it was trained with at their last values. */
static qsr_status make_with_plugin(qsr_loaded *l, const qsr_spec_env *env, qsr_pool *pool, qsr_error *e)
{
    const qsr_pretrained *p = &l->about;
    qsr_problems problems = {0};
    qsr_spec_env whole = *env;
    whole.data_only = false;
    qsr_status status = qsr_spec_load_text(p->cfg_path, p->spec, strlen(p->spec), NULL, 0, &whole, &l->spec, &problems);
    if (status)
        status = qsr_fail(e, QSR_E_INPUT, "%s: the spec in it, at %s: %s", p->cfg_path,
                          problems.count ? problems.items[0].path : "?", problems.count ? problems.items[0].text : "it cannot be read");
    qsr_problems_free(&problems);
    if (!status && (size_t)l->spec->sae.d_sae != p->d_sae)
        status = qsr_fail(e, QSR_E_INPUT, "%s says d_sae %zu, and %lld in its spec", p->cfg_path, p->d_sae, (long long)l->spec->sae.d_sae);
    if (!status) status = qsr_pretrained_usable(p, e);
    if (status) return status;
    qsr_spec_schedule(&l->spec->activation, 1, 1);
    status = qsr_sae_create(l->spec, p->d_in, 0, false, pool, &l->sae, e);
    if (!status) status = qsr_params_load(&l->sae.params, p->weights_path, l->sae.activation, e);
    if (status) return status;
    l->sae.normalise = p->normalise;
    l->sae.params.pre_bias = p->pre_bias;
    for (size_t j = 0; j < p->d_sae; j++) /* whoever trained it, a bias that is there is meant */
        if (l->sae.params.b_enc[j] != 0) l->sae.params.encoder_bias = true;
    qsr_sae_refresh(&l->sae);
    return QSR_OK;
}

static qsr_status check_probe(const qsr_loaded *l, qsr_error *e)
{
    const json_t *recorded = qsr_pretrained_probe(&l->about);
    qsr_probe probe;
    if (!recorded) return QSR_OK;
    qsr_status status = qsr_probe_run(&l->sae, &probe, e);
    return status ? status : qsr_probe_compare(&probe, recorded, l->about.weights_path, l->about.architecture, e);
}

static qsr_status read_manifest(qsr_loaded *l, qsr_error *e)
{
    l->folder = qsr_loaded_folder(&l->about, &l->about.arena);
    const char *path = qsr_path_join(&l->about.arena, l->folder, "manifest.json");
    return qsr_exists(path) ? qsr_json_read(path, MANIFEST_BYTES, &l->manifest, e) : QSR_OK;
}

qsr_status qsr_loaded_open(const char *path, const qsr_spec_env *env, qsr_pool *pool, qsr_loaded *ret, qsr_error *e)
{
    *ret = (qsr_loaded){0};
    qsr_status status = qsr_pretrained_open(path, &ret->about, e);
    if (status) return status;
    status = ret->about.rule == QSR_RULE_PLUGIN ? make_with_plugin(ret, env, pool, e)
                                                : qsr_pretrained_make(&ret->about, pool, &ret->sae, e);
    if (!status) status = check_probe(ret, e);
    if (!status) status = read_manifest(ret, e);
    for (size_t i = 0; i < QSR_WEIGHTS; i++) qsr_taken_free(&ret->about.weights[i]);
    if (status) qsr_loaded_free(ret);
    return status;
}

void qsr_loaded_free(qsr_loaded *l)
{
    qsr_sae_free(&l->sae);
    qsr_spec_free(l->spec);
    json_decref(l->manifest);
    qsr_pretrained_free(&l->about);
    *l = (qsr_loaded){0};
}

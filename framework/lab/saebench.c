#include "lab/saebench.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "format/json.h"

static void put_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_string(text ? text : ""));
}

static void put_real(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_real(isfinite(value) ? value : -1));
}

static void put_metric(json_t *object, const char *key, const qsr_saebench *s, const char *name)
{
    put_real(object, key, qsr_evaluation_get(s->evaluation, name));
}

/* A number option of the dataset plugin by its name, such as "context"; 0: it has none. */
static int64_t dataset_count(const qsr_spec *spec, const char *name)
{
    const qsr_plugin *plugin = spec->dataset.plugin;
    int64_t value = 0;
    for (size_t i = 0; i < plugin->n_options; i++)
        if (plugin->options[i].type == QSR_OPT_INT && strcmp(plugin->options[i].name, name) == 0)
            memcpy(&value, (const char *)spec->dataset.values + plugin->options[i].offset, sizeof value);
    return value;
}

static json_t *config_of(const qsr_saebench *s)
{
    json_t *config = json_object();
    put_text(config, "model_name", s->sae->model_name);
    put_text(config, "llm_dtype", "float32");
    json_object_set_new(config, "batch_size_prompts", json_integer(1));
    json_object_set_new(config, "n_eval_reconstruction_batches", json_integer((json_int_t)s->rows));
    json_object_set_new(config, "n_eval_sparsity_variance_batches", json_integer((json_int_t)s->rows));
    put_text(config, "dataset", s->spec->name);
    json_object_set_new(config, "context_size", json_integer(dataset_count(s->spec, "context")));
    json_object_set_new(config, "exclude_special_tokens_from_reconstruction", json_boolean(s->spec->data.skip_first > 0));
    return config;
}

static json_t *behaviour_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    double kl = qsr_evaluation_get(s->evaluation, "kl"), zero = qsr_evaluation_get(s->evaluation, "kl_zero");
    put_real(category, "kl_div_score", (zero - kl) / zero);
    put_real(category, "kl_div_with_ablation", zero);
    put_real(category, "kl_div_with_sae", kl);
    return category;
}

static json_t *performance_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    put_metric(category, "ce_loss_score", s, "ce_recovered_zero");
    put_metric(category, "ce_loss_with_ablation", s, "ce_zero");
    put_metric(category, "ce_loss_with_sae", s, "ce_sae");
    put_metric(category, "ce_loss_without_sae", s, "ce_clean");
    return category;
}

static json_t *reconstruction_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    put_metric(category, "explained_variance", s, "explained_variance");
    put_real(category, "explained_variance_legacy", NAN);
    put_metric(category, "mse", s, "mse");
    put_metric(category, "cossim", s, "cosine");
    return category;
}

static json_t *shrinkage_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    put_real(category, "l2_norm_in", NAN);
    put_real(category, "l2_norm_out", NAN);
    put_metric(category, "l2_ratio", s, "l2_ratio");
    put_metric(category, "relative_reconstruction_bias", s, "relative_reconstruction_bias");
    return category;
}

static json_t *counts_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    json_object_set_new(category, "total_tokens_eval_reconstruction", json_integer((json_int_t)s->rows));
    json_object_set_new(category, "total_tokens_eval_sparsity_variance", json_integer((json_int_t)s->rows));
    return category;
}

/* Latents that fire on at least 10^log10_frequency of the tokens, over all: a bin of the histogram begins there. */
static double fraction_from(const qsr_saebench *s, double log10_frequency)
{
    const qsr_metrics *m = &s->evaluation->metrics;
    size_t first = (size_t)lround((log10_frequency - QSR_FIRING_LOW) / QSR_FIRING_WIDTH);
    uint64_t n = 0;
    for (size_t i = first; i < QSR_FIRING_BINS; i++) n += m->firing[i];
    return (double)n / (double)s->sae->d_sae;
}

static json_t *various_of(const qsr_saebench *s)
{
    json_t *category = json_object();
    put_real(category, "freq_over_1_percent", fraction_from(s, -2));
    put_real(category, "freq_over_10_percent", fraction_from(s, -1));
    put_real(category, "normalized_freq_over_1_percent", NAN);
    put_real(category, "normalized_freq_over_10_percent", NAN);
    put_real(category, "average_max_encoder_cosine_sim", NAN);
    put_real(category, "average_max_decoder_cosine_sim", NAN);
    put_real(category, "frac_alive", 1 - qsr_evaluation_get(s->evaluation, "silent_fraction"));
    return category;
}

static json_t *metrics_of(const qsr_saebench *s)
{
    json_t *metrics = json_object(), *sparsity = json_object();
    put_metric(sparsity, "l0", s, "l0");
    put_metric(sparsity, "l1", s, "l1");
    json_object_set_new(metrics, "model_behavior_preservation", behaviour_of(s));
    json_object_set_new(metrics, "model_performance_preservation", performance_of(s));
    json_object_set_new(metrics, "reconstruction_quality", reconstruction_of(s));
    json_object_set_new(metrics, "shrinkage", shrinkage_of(s));
    json_object_set_new(metrics, "sparsity", sparsity);
    json_object_set_new(metrics, "token_stats", counts_of(s));
    json_object_set_new(metrics, "misc_metrics", various_of(s));
    return metrics;
}

/* The digest of the metrics, written as a UUID of version 8 (RFC 9562: custom). */
static void put_id(json_t *root, const json_t *metrics)
{
    qsr_text text = {0};
    char id[64];
    qsr_json_line(metrics, &text);
    const char *h = NULL;
    qsr_digest digest = qsr_digest_bytes(text.bytes, text.length);
    h = digest.hex;
    snprintf(id, sizeof id, "%.8s-%.4s-8%.3s-a%.3s-%.12s", h, h + 8, h + 13, h + 17, h + 20);
    put_text(root, "eval_id", id);
    qsr_text_free(&text);
}

static json_t *describe(const qsr_saebench *s)
{
    const qsr_pretrained *p = s->sae;
    json_t *cfg = p->cfg ? json_deep_copy(p->cfg) : json_object();
    json_object_set_new(cfg, "d_in", json_integer((json_int_t)p->d_in));
    json_object_set_new(cfg, "d_sae", json_integer((json_int_t)p->d_sae));
    put_text(cfg, "architecture", p->architecture);
    if (p->model_name) put_text(cfg, "model_name", p->model_name);
    if (p->hook_name) put_text(cfg, "hook_name", p->hook_name);
    if (p->hook_layer >= 0) json_object_set_new(cfg, "hook_layer", json_integer(p->hook_layer));
    return cfg;
}

qsr_status qsr_saebench_write(const qsr_saebench *s, const char *path, qsr_error *e)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    json_t *root = json_object(), *metrics = metrics_of(s);
    put_text(root, "eval_type_id", "core");
    json_object_set_new(root, "eval_config", config_of(s));
    put_id(root, metrics);
    json_object_set_new(root, "datetime_epoch_millis", json_integer((json_int_t)now.tv_sec * 1000 + now.tv_nsec / 1000000));
    json_object_set_new(root, "eval_result_metrics", metrics);
    json_object_set_new(root, "eval_result_details", json_array());
    put_text(root, "sae_bench_commit_hash", "quasar " PACKAGE_VERSION);
    put_text(root, "sae_lens_id", "custom_sae");
    put_text(root, "sae_lens_release_id", s->sae->path);
    put_text(root, "sae_lens_version", "quasar " PACKAGE_VERSION);
    json_object_set_new(root, "sae_cfg_dict", describe(s));
    json_object_set_new(root, "eval_result_unstructured", json_null());
    qsr_status status = qsr_json_write(path, root, e);
    json_decref(root);
    return status;
}

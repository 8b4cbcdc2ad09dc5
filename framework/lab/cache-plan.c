/* lab/cache-plan: what a cache will be, as its cache.json says from the beginning. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/sizes.h"
#include "lab/cache.h"
#include "lab/manifest.h"
#include "math/blas.h"
#include "math/kernel.h"
#include "spec/option.h"

static void put_text(json_t *o, const char *key, const char *text) { json_object_set_new(o, key, json_string(text)); }
static void put_count(json_t *o, const char *key, uint64_t n) { json_object_set_new(o, key, json_integer((json_int_t)n)); }

/* An option's value as text, that of a list as a list; paths absolute. */
static json_t *option_value(const qsr_option *o, const void *values)
{
    qsr_arena arena = {0};
    const char *const *texts;
    const size_t n = qsr_option_texts(o, values, &arena, &texts);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_string(o->flags & QSR_OPT_PATH ? qsr_path_absolute(&arena, texts[i]) : texts[i]));
    qsr_arena_free(&arena);
    if (o->type == QSR_OPT_STRINGS) return list;
    json_t *one = n ? json_incref(json_array_get(list, 0)) : json_null();
    json_decref(list);
    return one;
}

/* Options of the dataset; paths: those that name files, or the others. */
static json_t *options_of(const qsr_spec *spec, bool paths)
{
    const qsr_option_table table = qsr_plugin_options(spec->dataset.plugin);
    json_t *options = json_object();
    for (size_t i = 0; i < table.count; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        if ((o->flags & QSR_OPT_NO_ID) || !(o->flags & QSR_OPT_PATH) == paths) continue;
        json_object_set_new(options, o->name, option_value(o, spec->dataset.values));
    }
    return options;
}

static json_t *special_tokens(const qsr_dataset *data)
{
    static const char *const names[] = {"bos", "eot"};
    json_t *special = json_object();
    for (size_t i = 0; data->tokens && data->tokens->special && i < 2; i++) {
        const int64_t id = data->tokens->special(data->made->instance, names[i]);
        if (id >= 0) put_count(special, names[i], (uint64_t)id);
    }
    return special;
}

/* Whether the dataset says what rows stand for. */
static bool has_tokens(const qsr_dataset *data)
{
    const qsr_made *made = data->made;
    const uint64_t unit = 0;
    if (!data->tokens) return false;
    return qsr_made_finish(made, data->tokens->tokens(made->instance, &unit, 0, NULL, NULL), NULL) == QSR_OK;
}

/* How rows are cut into shards: as many units as fit into shard_bytes. */
static void put_sizes(json_t *root, const qsr_cache_job *job)
{
    const qsr_dataset_info *info = &job->data.info;
    const qsr_cache_options *o = job->options;
    uint64_t units = info->units, rows = o->rows / info->rows_per_unit + (o->rows % info->rows_per_unit != 0);
    if (o->rows && rows < units) units = rows;
    const size_t unit_bytes = info->rows_per_unit * info->d_in * qsr_dtype_size(o->dtype);
    uint64_t per_shard = qsr_max_size(o->shard_bytes / unit_bytes, 1);
    if (per_shard > units) per_shard = units;
    put_count(root, "units", units);
    put_count(root, "rows_per_unit", info->rows_per_unit);
    put_count(root, "d_in", info->d_in);
    put_text(root, "dtype", qsr_dtype_name(o->dtype));
    put_count(root, "units_per_shard", per_shard);
    put_count(root, "shards", units / per_shard + (units % per_shard != 0));
}

/* All that decides the bytes, without paths: a model that has moved is the same model. */
static qsr_digest identity(const json_t *root, const qsr_spec *spec)
{
    static const char *const keys[] = {"seed", "isa",   "blas_kernel", "skip_first",      "units", "rows_per_unit",
                                       "d_in", "dtype", "tokens",      "units_per_shard", NULL};
    const json_t *inputs = json_object_get(root, "inputs"), *dataset = json_object_get(root, "dataset");
    json_t *what = json_object(), *digests = json_array(), *digest;
    const char *path;
    json_object_set(what, "plugin", json_object_get(dataset, "plugin"));
    json_object_set(what, "version", json_object_get(dataset, "version"));
    json_object_set_new(what, "options", options_of(spec, false));
    json_object_foreach((json_t *)(uintptr_t)inputs, path, digest) json_array_append(digests, digest);
    json_object_set_new(what, "inputs", digests);
    for (size_t i = 0; keys[i]; i++) json_object_set(what, keys[i], json_object_get(root, keys[i]));
    qsr_text text = {0};
    qsr_json_line(what, &text);
    const qsr_digest id = qsr_digest_bytes(text.bytes, text.length);
    qsr_text_free(&text);
    json_decref(what);
    return id;
}

static json_t *describe_source(const qsr_spec *spec)
{
    json_t *dataset = json_object(), *options = options_of(spec, true), *others = options_of(spec, false);
    json_object_update(options, others);
    json_decref(others);
    put_text(dataset, "plugin", spec->dataset.plugin->name);
    put_text(dataset, "version", spec->dataset.plugin->version);
    json_object_set_new(dataset, "options", options);
    return dataset;
}

qsr_status qsr_cache_plan(const qsr_cache_job *job, const qsr_spec *spec, json_t **ret, qsr_error *e)
{
    json_t *inputs = json_object();
    qsr_status status = qsr_manifest_inputs(&spec->dataset, inputs, e);
    if (status) {
        json_decref(inputs);
        return status;
    }
    qsr_blas_info blas;
    qsr_blas_describe(&blas);
    json_t *root = *ret = json_object();
    put_text(root, "format", "quasar.cache");
    put_count(root, "version", 1);
    put_text(root, "id", "");
    put_text(root, "quasar", PACKAGE_VERSION);
    put_text(root, "isa", qsr_kernels_get()->isa);
    put_text(root, "blas_kernel", blas.core);
    json_object_set_new(root, "dataset", describe_source(spec));
    json_object_set_new(root, "inputs", inputs);
    json_object_set_new(root, "special_tokens", special_tokens(&job->data));
    put_count(root, "seed", spec->data.seed);
    put_count(root, "skip_first", (uint64_t)spec->data.skip_first);
    put_text(root, "order", "units");
    put_sizes(root, job);
    json_object_set_new(root, "tokens", json_boolean(has_tokens(&job->data)));
    json_object_set_new(root, "complete", json_false());
    json_object_set_new(root, "shard_list", json_array());
    put_text(root, "id", identity(root, spec).hex);
    return QSR_OK;
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static const char *text_of(qsr_arena *arena, const json_t *value)
{
    qsr_text text = {0};
    if (!value) return "nothing";
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_object(value) || json_is_array(value))
        qsr_json_line(value, &text);
    else if (json_is_integer(value))
        qsr_text_add(&text, "%lld", (long long)json_integer_value(value));
    else
        qsr_text_puts(&text, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "nothing");
    const char *kept = qsr_arena_strdup(arena, text.bytes);
    qsr_text_free(&text);
    return kept;
}

static const char *differ_at(qsr_arena *arena, const char *key, const json_t *there, const json_t *now)
{
    if (there && now && json_equal((json_t *)(uintptr_t)there, (json_t *)(uintptr_t)now)) return NULL;
    return qsr_arena_printf(arena, "%s=%.80s there, %.80s here", key, text_of(arena, there), text_of(arena, now));
}

/* Files may have moved, so only their contents count. */
static const char *inputs_differ(qsr_arena *arena, const json_t *there, const json_t *now)
{
    const char *path, *other;
    json_t *digest, *theirs;
    json_object_foreach((json_t *)(uintptr_t)now, path, digest)
    {
        bool found = false;
        json_object_foreach((json_t *)(uintptr_t)there, other, theirs) found = found || json_equal(digest, theirs);
        if (!found) return qsr_arena_printf(arena, "it was made from other contents of %s", path);
    }
    return NULL;
}

const char *qsr_cache_plan_difference(qsr_arena *arena, const json_t *there, const json_t *now)
{
    static const char *const keys[] = {"dtype",  "units", "rows_per_unit", "d_in",       "units_per_shard",
                                       "tokens", "isa",   "blas_kernel",   "skip_first", "seed",
                                       NULL};
    const json_t *a = json_object_get(there, "dataset"), *b = json_object_get(now, "dataset");
    const char *key, *found = differ_at(arena, "plugin", json_object_get(a, "plugin"), json_object_get(b, "plugin"));
    json_t *value;
    if (!found) found = differ_at(arena, "version", json_object_get(a, "version"), json_object_get(b, "version"));
    json_object_foreach(json_object_get(b, "options"), key, value)
    {
        const json_t *old = json_object_get(json_object_get(a, "options"), key);
        const char *text = json_string_value(value);
        const bool is_path = json_is_array(value) || (text && text[0] == '/');
        if (!found && !(is_path && old && json_typeof(old) == json_typeof(value)))
            found = differ_at(arena, key, old, value);
    }
    if (!found) found = inputs_differ(arena, json_object_get(there, "inputs"), json_object_get(now, "inputs"));
    for (size_t i = 0; !found && keys[i]; i++)
        found = differ_at(arena, keys[i], json_object_get(there, keys[i]), json_object_get(now, keys[i]));
    return found ? found : "its files are not the same";
}

const char *qsr_cache_tap_folder(qsr_arena *arena, const qsr_spec *spec)
{
    const qsr_option_table table = qsr_plugin_options(spec->dataset.plugin);
    char *name = qsr_arena_strdup(arena, "");
    for (size_t i = 0; i < table.count; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        const char *const *texts;
        if (!(o->flags & QSR_OPT_TAP)) continue;
        const size_t n = qsr_option_texts(o, spec->dataset.values, arena, &texts);
        for (size_t k = 0; k < n; k++) name = qsr_arena_printf(arena, "%s%s%s", name, *name ? "-" : "", texts[k]);
    }
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("._-", *c)) *c = '_';
    return name;
}

qsr_status qsr_cache_plan_save(const qsr_cache_part *p, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_status status = qsr_json_write(qsr_cache_file(&arena, p->folder), p->cache.root, e);
    qsr_arena_free(&arena);
    return status;
}

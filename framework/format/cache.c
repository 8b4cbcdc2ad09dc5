#include "format/cache.h"

#include <inttypes.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"

enum { LARGEST_JSON = 256 << 20, MOST_SHARDS = 10000000 };

char *qsr_cache_file(qsr_arena *arena, const char *folder) { return qsr_path_join(arena, folder, "cache.json"); }

char *qsr_cache_shard_file(qsr_arena *arena, const char *folder, uint64_t shard)
{
    return qsr_path_join(arena, folder, qsr_arena_printf(arena, "shard-%06" PRIu64 ".safetensors", shard));
}

bool qsr_cache_exists(const char *folder)
{
    qsr_arena arena = {0};
    const bool there = qsr_exists(qsr_cache_file(&arena, folder));
    qsr_arena_free(&arena);
    return there;
}

/* ---- cache.json -------------------------------------------------------------------------------------------------- */

static qsr_status read_count(const json_t *root, const char *key, uint64_t most, uint64_t *ret, qsr_error *e)
{
    const json_t *value = json_object_get(root, key);
    if (!value) return qsr_fail(e, QSR_E_INPUT, "%s is missing", key);
    if (!json_is_integer(value)) return qsr_fail(e, QSR_E_INPUT, "%s is no whole number", key);
    const json_int_t n = json_integer_value(value);
    if (n < 1 || (uint64_t)n > most)
        return qsr_fail(e, QSR_E_INPUT, "%s=%lld is outside 1..%" PRIu64, key, (long long)n, most);
    *ret = (uint64_t)n;
    return QSR_OK;
}

static qsr_status read_flag(const json_t *root, const char *key, bool *ret, qsr_error *e)
{
    const json_t *value = json_object_get(root, key);
    if (!json_is_boolean(value)) return qsr_fail(e, QSR_E_INPUT, "%s is neither true nor false", key);
    *ret = json_is_true(value);
    return QSR_OK;
}

static qsr_status read_dtype(const json_t *root, qsr_dtype *ret, qsr_error *e)
{
    const char *name = json_string_value(json_object_get(root, "dtype"));
    if (name && qsr_dtype_parse(name, ret) && qsr_dtype_is_real(*ret)) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "dtype '%.32s' is not one of F64 F32 F16 BF16", name ? name : "");
}

static qsr_status check_sizes(const qsr_cache *c, qsr_error *e)
{
    size_t bytes;
    if (c->shards != c->units / c->units_per_shard + (c->units % c->units_per_shard != 0))
        return qsr_fail(e, QSR_E_INPUT, "shards=%" PRIu64 " of units_per_shard=%" PRIu64 " are not those of units=%" PRIu64,
                        c->shards, c->units_per_shard, c->units);
    if (!qsr_mul_size(c->units, c->rows_per_unit, &bytes) || !qsr_mul_size(bytes, c->d_in, &bytes) ||
        !qsr_mul_size(bytes, sizeof(double), &bytes))
        return qsr_fail(e, QSR_E_INPUT, "units, rows_per_unit and d_in are too large for any disk");
    return QSR_OK;
}

static qsr_status read_root(qsr_cache *c, qsr_error *e)
{
    uint64_t version, rows = 0, d_in = 0;
    const char *format = json_string_value(json_object_get(c->root, "format"));
    if (!format || strcmp(format, "quasar.cache") != 0) return qsr_fail(e, QSR_E_INPUT, "this is no cache of Quasar's (format is not quasar.cache)");
    qsr_status status = read_count(c->root, "version", INT64_MAX, &version, e);
    if (!status && version > 1)
        status = qsr_fail(e, QSR_E_INPUT, "written by a later Quasar: version %" PRIu64 " of the format, this one knows 1", version);
    c->id = json_string_value(json_object_get(c->root, "id"));
    if (!status && !c->id) status = qsr_fail(e, QSR_E_INPUT, "id is missing");
    if (!status) status = read_count(c->root, "units", INT64_MAX, &c->units, e);
    if (!status) status = read_count(c->root, "rows_per_unit", UINT32_MAX, &rows, e);
    if (!status) status = read_count(c->root, "d_in", UINT32_MAX, &d_in, e);
    if (!status) status = read_count(c->root, "units_per_shard", INT64_MAX, &c->units_per_shard, e);
    if (!status) status = read_count(c->root, "shards", MOST_SHARDS, &c->shards, e);
    if (!status) status = read_dtype(c->root, &c->dtype, e);
    if (!status) status = read_flag(c->root, "tokens", &c->tokens, e);
    if (!status) status = read_flag(c->root, "complete", &c->complete, e);
    c->rows_per_unit = (size_t)rows;
    c->d_in = (size_t)d_in;
    return status ? status : check_sizes(c, e);
}

qsr_status qsr_cache_from(const char *folder, json_t *root, qsr_cache *ret, qsr_error *e)
{
    *ret = (qsr_cache){.root = root};
    ret->folder = qsr_arena_strdup(&ret->arena, folder);
    qsr_status status = json_is_object(root) ? read_root(ret, e) : qsr_fail(e, QSR_E_INPUT, "not an object");
    if (!status) return QSR_OK;
    qsr_context(e, "%s", qsr_cache_file(&ret->arena, folder));
    qsr_cache_close(ret);
    return status;
}

qsr_status qsr_cache_open(const char *folder, qsr_cache *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    json_t *root;
    *ret = (qsr_cache){0};
    qsr_status status = qsr_json_read(qsr_cache_file(&arena, folder), LARGEST_JSON, &root, e);
    qsr_arena_free(&arena);
    return status ? status : qsr_cache_from(folder, root, ret, e);
}

void qsr_cache_close(qsr_cache *c)
{
    json_decref(c->root);
    qsr_arena_free(&c->arena);
    *c = (qsr_cache){0};
}

const char *qsr_cache_option(const qsr_cache *c, const char *name)
{
    const json_t *options = json_object_get(json_object_get(c->root, "dataset"), "options");
    return json_string_value(json_object_get(options, name));
}

int64_t qsr_cache_special(const qsr_cache *c, const char *name)
{
    const json_t *id = json_object_get(json_object_get(c->root, "special_tokens"), name);
    return json_is_integer(id) && json_integer_value(id) >= 0 ? json_integer_value(id) : -1;
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

size_t qsr_cache_shard_units(const qsr_cache *c, uint64_t shard)
{
    const uint64_t left = c->units - shard * c->units_per_shard;
    return (size_t)(left < c->units_per_shard ? left : c->units_per_shard);
}

static qsr_status find_tensor(const qsr_cache *c, const qsr_safetensors *file, const char *name, qsr_dtype dtype,
                              size_t rank, size_t rows, const qsr_tensor **ret, qsr_error *e)
{
    const qsr_tensor *t = *ret = qsr_safetensors_find(file, name);
    if (!t) return qsr_fail(e, QSR_E_INPUT, "the tensor %s is missing", name);
    if (t->dtype != dtype)
        return qsr_fail(e, QSR_E_INPUT, "%s is %s, the cache has %s", name, qsr_dtype_name(t->dtype),
                        qsr_dtype_name(dtype));
    if (t->rank != rank || t->shape[0] != rows || (rank == 2 && t->shape[1] != c->d_in))
        return qsr_fail(e, QSR_E_INPUT, "%s has %zu numbers in rank %zu instead of %zu row%s%s", name, t->count, t->rank,
                        rows, rows == 1 ? "" : "s", rank == 2 ? " of the cache's width" : "");
    return QSR_OK;
}

static qsr_status check_shard(const qsr_cache *c, uint64_t shard, qsr_cache_shard *s, qsr_error *e)
{
    const size_t rows = qsr_cache_shard_units(c, shard) * c->rows_per_unit;
    const char *id = qsr_safetensors_metadata(s->file, "cache"), *number = qsr_safetensors_metadata(s->file, "shard");
    char expected[24];
    snprintf(expected, sizeof expected, "%" PRIu64, shard);
    if (!id || strcmp(id, c->id) != 0)
        return qsr_fail(e, QSR_E_INPUT, "a shard of another cache (id %.32s, this one is %.32s)", id ? id : "unknown",
                        c->id);
    if (!number || strcmp(number, expected) != 0)
        return qsr_fail(e, QSR_E_INPUT, "holds shard %.24s under the name of shard %s", number ? number : "unknown",
                        expected);
    qsr_status status = find_tensor(c, s->file, "activation", c->dtype, 2, rows, &s->activation, e);
    if (!status && c->tokens) status = find_tensor(c, s->file, "tokens", QSR_I32, 1, rows, &s->tokens, e);
    if (!status && c->tokens) status = find_tensor(c, s->file, "documents", QSR_I64, 1, rows, &s->documents, e);
    return status;
}

qsr_status qsr_cache_shard_open(const qsr_cache *c, uint64_t shard, qsr_cache_shard *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    *ret = (qsr_cache_shard){0};
    const char *path = qsr_cache_shard_file(&arena, c->folder, shard);
    qsr_status status = qsr_safetensors_open(path, &ret->file, e);
    if (!status && (status = check_shard(c, shard, ret, e))) {
        qsr_context(e, "%s", path);
        qsr_cache_shard_close(ret);
    }
    qsr_arena_free(&arena);
    return status;
}

void qsr_cache_shard_close(qsr_cache_shard *s)
{
    qsr_safetensors_close(s->file);
    *s = (qsr_cache_shard){0};
}

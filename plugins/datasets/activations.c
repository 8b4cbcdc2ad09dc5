/* activations: rows that somebody has stored, mapped, converted on reading. Either a cache that `quasar cache` wrote (cached.c), or
 * .npy and .safetensors files of any real type: then a unit is one row, and rows are numbered through the files in the order of
 * the list, and by name within a pattern. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <quasar/plugin.h>

#include "base/paths.h"
#include "base/text.h"
#include "cached.h"
#include "format/npy.h"
#include "format/safetensors.h"

enum { UNITS_PER_READ = 4096 };

struct activations_options {
    qsr_strings path, exclude;
    const char *tensor, *cache, *model, *site, *convention;
    int64_t layer, context;
};

typedef struct {
    char *path;
    qsr_npy npy; /* one of these two holds the map */
    qsr_safetensors *st;
    qsr_dtype dtype;
    const unsigned char *data; /* [end - begin][d_in], maybe unaligned */
    uint64_t begin, end;       /* its rows in the numbering of all */
} shard;

struct qsr_instance {
    const qsr_host *host;
    const struct activations_options *options;
    size_t n_taps;
    cached *cached; /* or NULL, and then: */
    shard *shards;
    size_t n_shards;
    size_t d_in;
};

/* ---- which files ------------------------------------------------------------------------------------------------- */

static void add_path(qsr_instance *self, const char *path)
{
    self->shards = qsr_xrealloc(self->shards, self->n_shards + 1, sizeof *self->shards);
    shard *s = &self->shards[self->n_shards++];
    *s = (shard){.path = qsr_xcalloc(strlen(path) + 1, 1)};
    strcpy(s->path, path);
}

static qsr_status add_paths(qsr_instance *self)
{
    const qsr_strings *list = &self->options->path;
    qsr_arena arena = {0};
    qsr_strings files = {0};
    qsr_error e = {0};
    qsr_status status = qsr_paths_expand(&arena, list->items, list->count, &files, &e);
    if (status) status = self->host->fail(self->host, e.code, "path", "%s", e.text);
    for (size_t i = 0; i < files.count; i++) add_path(self, files.items[i]);
    qsr_arena_free(&arena);
    return status;
}

/* ---- what is in them --------------------------------------------------------------------------------------------- */

static bool has_rows(const qsr_tensor *t) { return qsr_dtype_is_real(t->dtype) && (t->rank == 2 || t->rank == 3); }

static qsr_status no_choice(const qsr_instance *self, const shard *s, const char *what)
{
    qsr_text names = {0};
    for (size_t i = 0; i < qsr_safetensors_count(s->st); i++) {
        const qsr_tensor *t = qsr_safetensors_at(s->st, i);
        qsr_text_add(&names, "%s%s %s[", i ? ", " : "", t->name, qsr_dtype_name(t->dtype));
        for (size_t d = 0; d < t->rank; d++) qsr_text_add(&names, "%s%zu", d ? "," : "", t->shape[d]);
        qsr_text_puts(&names, "]");
    }
    qsr_status status = self->host->fail(self->host, QSR_E_INPUT, "tensor", "%s: %s; the file has %s", s->path, what,
                                         names.bytes ? names.bytes : "none");
    qsr_text_free(&names);
    return status;
}

/* The tensor called "activation" or "activations"; else the only one that could hold rows. Right if it is the only one. */
static const qsr_tensor *guess(const shard *s, size_t *ret_candidates)
{
    static const char *const usual[] = {"activation", "activations"};
    const qsr_tensor *found = NULL, *t;
    size_t candidates = 0;
    for (size_t i = 0; i < 2; i++)
        if ((t = qsr_safetensors_find(s->st, usual[i]))) found = t, candidates++;
    for (size_t i = 0, named = candidates; !named && i < qsr_safetensors_count(s->st); i++)
        if (has_rows(t = qsr_safetensors_at(s->st, i))) found = t, candidates++;
    *ret_candidates = candidates;
    return found;
}

static qsr_status choose(const qsr_instance *self, const shard *s, const qsr_tensor **ret)
{
    size_t candidates;
    if (self->options->tensor) {
        *ret = qsr_safetensors_find(s->st, self->options->tensor);
        return *ret ? QSR_OK : no_choice(self, s, "no tensor of that name");
    }
    *ret = guess(s, &candidates);
    if (candidates == 1) return QSR_OK;
    return no_choice(self, s, candidates ? "several tensors could be meant, choose one" : "no tensor could hold rows");
}

/* Takes an array as a shard: shape [rows][d_in] or [a][b][d_in]. */
static qsr_status take_array(qsr_instance *self, shard *s, qsr_dtype dtype, size_t rank, const size_t *shape,
                             const void *data)
{
    const qsr_host *host = self->host;
    if (!qsr_dtype_is_real(dtype))
        return host->fail(host, QSR_E_INPUT, "path", "%s: dtype %s; rows are F64, F32, F16 or BF16", s->path,
                          qsr_dtype_name(dtype));
    if (rank != 2 && rank != 3)
        return host->fail(host, QSR_E_INPUT, "path", "%s: rank %zu; rows are [rows][d_in] or [a][b][d_in]", s->path, rank);
    size_t d_in = shape[rank - 1], rows = rank == 2 ? shape[0] : shape[0] * shape[1]; /* format/ has checked the product */
    if (!d_in) return host->fail(host, QSR_E_INPUT, "path", "%s: rows of width 0", s->path);
    if (self->d_in && d_in != self->d_in)
        return host->fail(host, QSR_E_INPUT, "path", "%s: rows of width %zu, those of %s have %zu", s->path, d_in,
                          self->shards[0].path, self->d_in);
    self->d_in = d_in;
    s->dtype = dtype;
    s->data = data;
    s->begin = s == self->shards ? 0 : s[-1].end;
    s->end = s->begin + rows;
    return QSR_OK;
}

static qsr_status open_npy(qsr_instance *self, shard *s)
{
    qsr_error e = {0};
    if (self->options->tensor)
        return self->host->fail(self->host, QSR_E_OPTION, "tensor", "%s: a .npy file holds one array without a name",
                                s->path);
    if (qsr_npy_open(s->path, &s->npy, &e)) return self->host->fail(self->host, e.code, "path", "%s", e.text);
    return take_array(self, s, s->npy.dtype, s->npy.rank, s->npy.shape, s->npy.data);
}

static qsr_status open_safetensors(qsr_instance *self, shard *s)
{
    qsr_error e = {0};
    const qsr_tensor *t;
    if (qsr_safetensors_open(s->path, &s->st, &e)) return self->host->fail(self->host, e.code, "path", "%s", e.text);
    qsr_status status = choose(self, s, &t);
    return status ? status : take_array(self, s, t->dtype, t->rank, t->shape, t->data);
}

static qsr_status open_shards(qsr_instance *self)
{
    for (size_t i = 0; i < self->n_shards; i++) {
        shard *s = &self->shards[i];
        qsr_status status;
        if (qsr_ends_with(s->path, ".npy"))
            status = open_npy(self, s);
        else if (qsr_ends_with(s->path, ".safetensors"))
            status = open_safetensors(self, s);
        else
            status = self->host->fail(self->host, QSR_E_INPUT, "path", "%s: neither .npy nor .safetensors", s->path);
        if (status) return status;
    }
    if (self->shards[self->n_shards - 1].end == 0)
        return self->host->fail(self->host, QSR_E_INPUT, "path", "%s%s: no rows at all", self->shards[0].path,
                                self->n_shards > 1 ? " and the others" : "");
    return QSR_OK;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static const shard *shard_of(const qsr_instance *self, uint64_t unit)
{
    size_t low = 0, high = self->n_shards - 1;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (unit < self->shards[middle].end)
            high = middle;
        else
            low = middle + 1;
    }
    return &self->shards[low];
}

/* Rows that follow one another in a shard are converted in one go. */
static qsr_status read_units(const qsr_instance *self, const uint64_t *units, size_t n, float *out)
{
    if (self->cached) return cached_read(self->cached, units, n, &out);
    for (size_t i = 0, run; i < n; i += run, out += run * self->d_in) {
        const shard *s = shard_of(self, units[i]);
        if (units[i] >= s->end)
            return self->host->fail(self->host, QSR_E_INTERNAL, NULL, "unit %" PRIu64 " of %" PRIu64, units[i], s->end);
        for (run = 1; i + run < n && units[i + run] == units[i] + run && units[i + run] < s->end;) run++;
        size_t row = (size_t)(units[i] - s->begin);
        qsr_to_float(s->dtype, s->data + row * self->d_in * qsr_dtype_size(s->dtype), run * self->d_in, out);
    }
    return QSR_OK;
}

static qsr_status describe(const qsr_instance *self, qsr_dataset_info *ret_info)
{
    if (self->cached) {
        cached_describe(self->cached, ret_info);
        return QSR_OK;
    }
    *ret_info = (qsr_dataset_info){.struct_size = sizeof *ret_info,
                                   .d_in = self->d_in,
                                   .units = self->shards[self->n_shards - 1].end,
                                   .rows_per_unit = 1,
                                   .units_per_read = UNITS_PER_READ};
    return QSR_OK;
}

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

static void destroy(qsr_instance *self)
{
    if (!self) return;
    for (size_t i = 0; i < self->n_shards; i++) {
        qsr_npy_close(&self->shards[i].npy);
        qsr_safetensors_close(self->shards[i].st);
        free(self->shards[i].path);
    }
    free(self->shards);
    cached_close(self->cached);
    self->cached = NULL;
    self->shards = NULL;
    self->n_shards = 0;
}

/* One of the two ways, and no option of the other. */
static qsr_status check_way(const qsr_host *host, const struct activations_options *o)
{
    const struct {
        const char *name;
        bool given;
    } cache_only[] = {{"model", o->model},         {"hook.site", o->site},        {"hook.layer", o->layer >= 0},
                      {"context", o->context > 0}, {"convention", o->convention}, {"exclude", o->exclude.count > 0}};
    if (!o->cache && !o->path.count)
        return host->fail(host, QSR_E_OPTION, "path",
                          "needs `path`, files with rows, or `cache`, a folder that `quasar cache` wrote");
    if (o->cache && o->path.count) return host->fail(host, QSR_E_OPTION, "path", "path and cache exclude each other");
    if (o->cache && o->tensor)
        return host->fail(host, QSR_E_OPTION, "tensor", "a cache has its own tensors: leave `tensor` out");
    for (size_t i = 0; !o->cache && i < sizeof cache_only / sizeof *cache_only; i++)
        if (cache_only[i].given)
            return host->fail(host, QSR_E_OPTION, cache_only[i].name,
                              "%s goes with `cache`: files do not say what their rows are", cache_only[i].name);
    return QSR_OK;
}

static qsr_status open_cache(qsr_instance *self, const void *const *options, size_t n, size_t *ret_tap)
{
    cached_wish *wishes = self->host->scratch(self->host, n, sizeof *wishes);
    if (!wishes) return QSR_E_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct activations_options *o = options[i];
        wishes[i] = (cached_wish){o->cache, o->model, o->site, o->convention, o->layer, o->context};
    }
    return cached_open(self->host, wishes, n, &self->options->exclude, ret_tap, &self->cached);
}

static qsr_status create_taps(const qsr_host *host, const qsr_shape *shape, const void *const *options, size_t n,
                              size_t *ret_tap, qsr_instance **ret_instance)
{
    (void)shape;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .options = options[0], .n_taps = n};
    qsr_status status = check_way(host, self->options);
    if (!status && self->options->cache) {
        status = open_cache(self, options, n, ret_tap);
    } else if (!status) {
        status = add_paths(self);
        if (!status) status = open_shards(self);
    }
    if (status)
        destroy(self);
    else
        *ret_instance = self;
    return status;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    size_t tap;
    return create_taps(host, shape, &options, 1, &tap, ret_instance);
}

/* Files have no hooks: all taps are the same. */
static qsr_status read_taps(const qsr_instance *self, const uint64_t *units, size_t n, float *const *out)
{
    if (self->cached) return cached_read(self->cached, units, n, out);
    qsr_status status = QSR_OK;
    for (size_t tap = 0; !status && tap < self->n_taps; tap++)
        if (out[tap]) status = read_units(self, units, n, out[tap]);
    return status;
}

static qsr_status tokens(const qsr_instance *self, const uint64_t *units, size_t n, int64_t *ret_token,
                         uint64_t *ret_document)
{
    return self->cached ? cached_tokens(self->cached, units, n, ret_token, ret_document) : QSR_E_UNSUPPORTED;
}

static const char *text(const qsr_instance *self, int64_t token, size_t *ret_bytes)
{
    return self->cached ? cached_text(self->cached, token, ret_bytes) : NULL;
}

static qsr_status mask(const qsr_instance *self, const uint64_t *units, size_t n, uint8_t *ret_keep)
{
    return self->cached ? cached_mask(self->cached, units, n, ret_keep) : QSR_END;
}

static int64_t special(const qsr_instance *self, const char *name)
{
    return self->cached ? cached_special(self->cached, name) : -1;
}

static const char *source_option(const qsr_instance *self, size_t tap, const char *name)
{
    return self->cached ? cached_option(self->cached, tap, name) : NULL;
}

static const qsr_option options_table[] = {
    QSR_OPT(
        struct activations_options, path,
        .help =
            "file, list of files, or pattern such as acts/shard-*.npy (its files in byte order of their names); .npy or "
            ".safetensors, F64, F32, F16 or BF16, shape [rows][d_in] or [a][b][d_in]; or use `cache`",
        .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT(struct activations_options, tensor,
            .help =
                "name of the tensor in .safetensors files; left out: activation or activations, else the only real tensor "
                "of rank 2 or 3",
            .flags = QSR_OPT_OPTIONAL),
    QSR_OPT(struct activations_options, cache,
            .help = "folder that `quasar cache` wrote, or is writing: units, and so all else, are those of the dataset it "
                    "was filled from; with the caches of several hooks, `hook` says which",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT_NAMED(struct activations_options, site, "hook.site",
                  .help = "site of the hook in a cache of several; else a check: it must be the cache's",
                  .flags = QSR_OPT_OPTIONAL | QSR_OPT_TAP),
    QSR_OPT_NAMED(struct activations_options, layer, "hook.layer",
                  .help = "layer of the hook in a cache of several, else a check; -1: whatever the cache has",
                  .flags = QSR_OPT_TAP | QSR_OPT_RANGE, .min = -1, .max = 4095, .def = "-1"),
    QSR_OPT(struct activations_options, model,
            .help = "a check: the model folder whose config.json and weights the cache must have been filled with",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_PATH),
    QSR_OPT(struct activations_options, context, .help = "a check: tokens of a context of the cache; 0: any",
            .unit = "tokens", .flags = QSR_OPT_RANGE, .min = 0, .max = 1 << 20, .def = "0"),
    QSR_OPT(struct activations_options, convention, .help = "a check: the cache's convention, raw or centered",
            .flags = QSR_OPT_OPTIONAL),
    QSR_OPT(struct activations_options, exclude, .help = EXCLUDE_HELP "; of a cache that knows its tokens",
            .flags = QSR_OPT_OPTIONAL),
};

static const qsr_dataset_ops ops = {.struct_size = sizeof ops, .describe = describe, .read = read_units};

static const qsr_taps_ops taps_ops = {.struct_size = sizeof taps_ops, .create = create_taps, .read = read_taps};
static const qsr_tokens_ops tokens_ops = {
    .struct_size = sizeof tokens_ops, .tokens = tokens, .text = text, .mask = mask, .special = special};
static const qsr_source_ops source_ops = {.struct_size = sizeof source_ops, .option = source_option};

static const void *extension(const char *id)
{
    if (strcmp(id, QSR_EXT_TAPS) == 0) return &taps_ops;
    if (strcmp(id, QSR_EXT_TOKENS) == 0) return &tokens_ops;
    return strcmp(id, QSR_EXT_SOURCE) == 0 ? &source_ops : NULL;
}

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_DATASET),
    .name = "activations",
    .version = "1",
    .summary = "stored hidden states: a cache that `quasar cache` wrote, or .npy and .safetensors files",
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct activations_options),
    .create = create,
    .destroy = destroy,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

/* activations: rows that somebody has stored: .npy and .safetensors files of any real type, mapped, converted on reading.
 * A unit is one row; rows are numbered through the files in the order of the list, and by name within a pattern. */
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <quasar/plugin.h>

#include "base/text.h"
#include "format/npy.h"
#include "format/safetensors.h"

enum { UNITS_PER_READ = 4096 };

struct activations_options {
    qsr_strings path;
    const char *tensor;
};

typedef struct {
    char *path;
    dev_t device;
    ino_t inode;
    qsr_npy npy; /* one of these two holds the map */
    qsr_safetensors *st;
    qsr_dtype dtype;
    const unsigned char *data; /* [end - begin][d_in], maybe unaligned */
    uint64_t begin, end;       /* its rows in the numbering of all */
} shard;

struct qsr_instance {
    const qsr_host *host;
    const struct activations_options *options;
    shard *shards;
    size_t n_shards;
    size_t d_in;
};

/* ---- which files ------------------------------------------------------------------------------------------------- */

/* A file twice in the data would count double, and a held-out row would be trained on. */
static qsr_status add_path(qsr_instance *self, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return self->host->fail(self->host, QSR_E_INPUT, "path", "cannot read %s: %s", path, strerror(errno));
    for (size_t i = 0; i < self->n_shards; i++)
        if (self->shards[i].device == about.st_dev && self->shards[i].inode == about.st_ino)
            return self->host->fail(self->host, QSR_E_INPUT, "path", "%s is listed twice (also as %s)", path,
                                    self->shards[i].path);
    self->shards = qsr_xrealloc(self->shards, self->n_shards + 1, sizeof *self->shards);
    shard *s = &self->shards[self->n_shards++];
    *s = (shard){.path = qsr_xcalloc(strlen(path) + 1, 1), .device = about.st_dev, .inode = about.st_ino};
    strcpy(s->path, path);
    return QSR_OK;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* glob(3) sorts by the locale's rules, so the sorting is done here. */
static qsr_status add_pattern(qsr_instance *self, const char *pattern)
{
    glob_t found = {0};
    int failure = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    qsr_status status = QSR_OK;
    if (failure == GLOB_NOMATCH)
        status = self->host->fail(self->host, QSR_E_INPUT, "path", "no file matches %s", pattern);
    else if (failure)
        status = self->host->fail(self->host, QSR_E_INPUT, "path", "cannot look for %s: %s", pattern, strerror(errno));
    else
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
    for (size_t i = 0; !failure && !status && i < found.gl_pathc; i++) status = add_path(self, found.gl_pathv[i]);
    globfree(&found);
    return status;
}

static qsr_status add_paths(qsr_instance *self)
{
    const qsr_strings *list = &self->options->path;
    if (!list->count)
        return self->host->fail(self->host, QSR_E_OPTION, "path", "the list is empty: name a file or a pattern");
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < list->count && !status; i++) {
        struct stat about; /* a file whose name holds a '[' is a file first */
        bool pattern = strpbrk(list->items[i], "*?[") && stat(list->items[i], &about) != 0;
        status = pattern ? add_pattern(self, list->items[i]) : add_path(self, list->items[i]);
    }
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
    self->shards = NULL;
    self->n_shards = 0;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .options = options};
    qsr_status status = add_paths(self);
    if (!status) status = open_shards(self);
    if (status) {
        destroy(self);
        return status;
    }
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(
        struct activations_options, path,
        .help =
            "file, list of files, or pattern such as acts/shard-*.npy (its files in byte order of their names); .npy or "
            ".safetensors, F64, F32, F16 or BF16, shape [rows][d_in] or [a][b][d_in]",
        .flags = QSR_OPT_REQUIRED | QSR_OPT_PATH),
    QSR_OPT(struct activations_options, tensor,
            .help =
                "name of the tensor in .safetensors files; left out: activation or activations, else the only real tensor "
                "of rank 2 or 3",
            .flags = QSR_OPT_OPTIONAL),
};

static const qsr_dataset_ops ops = {.struct_size = sizeof ops, .describe = describe, .read = read_units};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_DATASET),
    .name = "activations",
    .version = "1",
    .summary = "stored hidden states from .npy and .safetensors files",
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct activations_options),
    .create = create,
    .destroy = destroy,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

#include "lab/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sizes.h"
#include "lab/cell.h"
#include "math/rows.h"

/* ---- what is there already --------------------------------------------------------------------------------------- */

static bool is_empty(const char *folder)
{
    DIR *entries = opendir(folder);
    const struct dirent *it;
    bool empty = true;
    while (entries && (it = readdir(entries))) empty &= strcmp(it->d_name, ".") == 0 || strcmp(it->d_name, "..") == 0;
    if (entries) closedir(entries);
    return empty;
}

/* Shards that cache.json lists and that are what they should be; others are written again. */
static void find_shards(qsr_cache_part *p, bool tell)
{
    const json_t *list = json_object_get(p->cache.root, "shard_list");
    p->kept = 0;
    for (uint64_t s = 0; s < p->cache.shards; s++) {
        qsr_cache_shard shard;
        qsr_error e = {0};
        p->there[s] = json_is_object(json_array_get(list, s)) && !qsr_cache_shard_open(&p->cache, s, &shard, &e);
        if (p->there[s]) qsr_cache_shard_close(&shard);
        if (e.code && tell) qsr_log(QSR_LOG_WARNING, "%s: it is written again", e.text);
        p->kept += p->there[s];
    }
}

/* The part's cache is the plan, until a cache.json with the same id is found. */
static qsr_status look_at(qsr_cache_part *p, bool tell, qsr_error *e)
{
    qsr_cache old;
    if (!qsr_cache_exists(p->folder)) {
        if (qsr_is_folder(p->folder) && !is_empty(p->folder))
            return qsr_fail(e, QSR_E_INPUT, "%s is not empty and no cache: choose another folder", p->folder);
        if (!qsr_is_folder(p->folder) && qsr_exists(p->folder))
            return qsr_fail(e, QSR_E_INPUT, "%s is a file: choose another folder", p->folder);
        return QSR_OK;
    }
    qsr_status status = qsr_cache_open(p->folder, &old, e);
    if (status) return status;
    if (strcmp(old.id, p->cache.id) != 0) {
        qsr_arena arena = {0};
        const char *why = qsr_cache_plan_difference(&arena, old.root, p->cache.root);
        status =
            qsr_fail(e, QSR_E_INPUT, "%s holds another cache (%s): choose another folder, or delete it", p->folder, why);
        qsr_arena_free(&arena);
        qsr_cache_close(&old);
        return status;
    }
    qsr_cache_close(&p->cache);
    p->cache = old;
    find_shards(p, tell);
    return QSR_OK;
}

/* ---- planning ---------------------------------------------------------------------------------------------------- */

/* Where two stream keys part, as "key=value". */
static const char *parting(qsr_arena *arena, const char *a, const char *b)
{
    size_t same = 0, start = 0;
    for (; a[same] && a[same] == b[same]; same++)
        if (strncmp(a + same, ", ", 2) == 0) start = same + 2;
    const char *end = strstr(a + start, ", ");
    return qsr_arena_strndup(arena, a + start, end ? (size_t)(end - a) - start : strlen(a + start));
}

static qsr_status check_streams(qsr_cache_job *job, const qsr_spec *const *specs, size_t n, qsr_error *e)
{
    for (size_t i = 1; i < n; i++) {
        const char *a = qsr_dataset_stream_key(specs[0], &job->arena), *b = qsr_dataset_stream_key(specs[i], &job->arena);
        if (specs[i]->dataset.plugin == specs[0]->dataset.plugin && strcmp(a, b) == 0) continue;
        return qsr_fail(e, QSR_E_OPTION,
                        "the cells of the spec read different data (one %s, another %s): a cache is one stream, of which "
                        "only the hook may vary",
                        parting(&job->arena, a, b), parting(&job->arena, b, a));
    }
    return QSR_OK;
}

/* Several taps, and taps that join others, get a folder each below `out`. */
static bool holds_caches(const char *out)
{
    qsr_arena arena = {0};
    DIR *entries = opendir(out);
    const struct dirent *it;
    bool found = false;
    while (entries && (it = readdir(entries)))
        found |= strcmp(it->d_name, "..") != 0 && strcmp(it->d_name, ".") != 0 &&
                 qsr_cache_exists(qsr_path_join(&arena, out, it->d_name));
    if (entries) closedir(entries);
    qsr_arena_free(&arena);
    return found;
}

static qsr_status plan_part(qsr_cache_job *job, const qsr_spec *spec, bool below, qsr_cache_part *p, qsr_error *e)
{
    json_t *root;
    const char *tap = qsr_cache_tap_folder(&job->arena, spec);
    p->folder = below ? qsr_path_join(&job->arena, job->options->out, tap) : job->options->out;
    p->name = qsr_arena_strdup(&job->arena, qsr_dataset_tap_key(spec, &job->arena));
    qsr_status status = qsr_cache_plan(job, spec, &root, e);
    if (!status) status = qsr_cache_from(p->folder, root, &p->cache, e);
    if (status) return status;
    p->there = qsr_arena_alloc(&job->arena, (size_t)p->cache.shards, sizeof *p->there);
    return look_at(p, true, e);
}

static qsr_status plan_parts(qsr_cache_job *job, const qsr_spec *const *specs, size_t n, const size_t *taps, qsr_error *e)
{
    const bool below = job->n > 1 || holds_caches(job->options->out);
    qsr_status status = QSR_OK;
    if (below && qsr_cache_exists(job->options->out))
        return qsr_fail(e, QSR_E_INPUT, "%s is the cache of one hook: choose another folder for several",
                        job->options->out);
    for (size_t tap = 0; !status && tap < job->n; tap++) {
        size_t first = 0;
        while (first < n && taps[first] != tap) first++;
        status = plan_part(job, specs[first], below, &job->parts[tap], e);
    }
    return status;
}

static uint64_t shard_bytes(const qsr_cache *c, uint64_t shard)
{
    const uint64_t rows = qsr_cache_shard_units(c, shard) * c->rows_per_unit;
    return rows * (c->d_in * qsr_dtype_size(c->dtype) + (c->tokens ? 12 : 0)) + 512;
}

static void measure_disk(qsr_cache_job *job)
{
    struct statvfs about;
    const char *folder = job->options->out;
    job->bytes_left = 0;
    for (size_t i = 0; i < job->n; i++)
        for (uint64_t s = 0; s < job->parts[i].cache.shards; s++)
            if (!job->parts[i].there[s]) job->bytes_left += shard_bytes(&job->parts[i].cache, s);
    while (!qsr_exists(folder) && strcmp(folder, ".") != 0 && strcmp(folder, "/") != 0)
        folder = qsr_path_folder(&job->arena, folder);
    job->bytes_free = UINT64_MAX;
    if (statvfs(folder, &about) == 0) job->bytes_free = (uint64_t)about.f_bavail * about.f_frsize;
}

static qsr_status check_disk(const qsr_cache_job *job, qsr_error *e)
{
    char need[32], has[32];
    if (job->bytes_left <= job->bytes_free) return QSR_OK;
    return qsr_fail(e, QSR_E_IO, "the cache needs %s, the disk of %s has %s: use --rows, a smaller --dtype or another disk",
                    qsr_size_text(job->bytes_left, need, sizeof need), job->options->out,
                    qsr_size_text(job->bytes_free, has, sizeof has));
}

qsr_status qsr_cache_job_open(const qsr_spec *const *specs, size_t n, const qsr_cache_options *options, qsr_cache_job *ret,
                              qsr_problems *problems, qsr_error *e)
{
    size_t guilty = 0, *taps = qsr_xcalloc(n, sizeof *taps);
    *ret = (qsr_cache_job){.options = options};
    qsr_status status = check_streams(ret, specs, n, e);
    if (!status && (status = qsr_dataset_open_many(specs, n, options->pool, &ret->data, taps, &guilty, e)))
        qsr_cell_blame(specs[guilty], &specs[guilty]->dataset, e, problems);
    if (!status && ret->data.info.units == UINT64_MAX && !options->rows)
        status = qsr_fail(e, QSR_E_OPTION, "dataset %s has no end: say with --rows how much of it",
                          specs[0]->dataset.plugin->name);
    if (!status) {
        ret->n = ret->data.n_taps;
        ret->whole = ret->data;
        ret->whole.skip_first = 0;
        ret->whole.rows_per_unit = ret->data.info.rows_per_unit;
        ret->parts = qsr_arena_alloc(&ret->arena, ret->n, sizeof *ret->parts);
        for (size_t i = 0; i < ret->n; i++) ret->parts[i].lock = -1;
        status = plan_parts(ret, specs, n, taps, e);
    }
    if (!status) {
        measure_disk(ret);
        status = check_disk(ret, e);
    }
    free(taps);
    if (status) qsr_cache_job_close(ret);
    return status;
}

void qsr_cache_job_close(qsr_cache_job *job)
{
    for (size_t i = 0; i < job->n; i++) {
        qsr_cache_close(&job->parts[i].cache);
        if (job->parts[i].lock >= 0) close(job->parts[i].lock);
    }
    if (job->data.made) qsr_dataset_close(&job->data);
    qsr_arena_free(&job->arena);
    *job = (qsr_cache_job){0};
}

/* ---- opening for writing ----------------------------------------------------------------------------------------- */

/* What a killed writer left aside. Only the holder of the lock may. */
static void sweep(const char *folder)
{
    qsr_arena arena = {0};
    DIR *entries = opendir(folder);
    const struct dirent *it;
    while (entries && (it = readdir(entries)))
        if (strstr(it->d_name, ".tmp-")) unlink(qsr_path_join(&arena, folder, it->d_name));
    if (entries) closedir(entries);
    qsr_arena_free(&arena);
}

static qsr_status save_plan(const qsr_cache_part *p, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_status status = qsr_json_write(qsr_cache_file(&arena, p->folder), p->cache.root, e);
    qsr_arena_free(&arena);
    return status;
}

/* A reader that tests the lock holds it for a moment. */
static int lock_patiently(int fd)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
    int failed = flock(fd, LOCK_EX | LOCK_NB);
    for (int i = 0; failed && errno == EWOULDBLOCK && i < 20; i++) {
        nanosleep(&moment, NULL);
        failed = flock(fd, LOCK_EX | LOCK_NB);
    }
    return failed;
}

/* The lock is on the folder itself and dies with the process; readers test it to learn whether somebody still writes. */
static qsr_status claim(qsr_cache_part *p, qsr_error *e)
{
    qsr_status status = qsr_mkdirs(p->folder, e);
    if (status) return status;
    p->lock = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->lock < 0) return qsr_fail_errno(e, "read", p->folder);
    if (lock_patiently(p->lock) != 0)
        return errno == EWOULDBLOCK ? qsr_fail(e, QSR_E_INPUT, "another process writes %s", p->folder)
                                    : qsr_fail_errno(e, "lock", p->folder);
    sweep(p->folder);
    status = look_at(p, false, e); /* once more: somebody may have been faster */
    if (status || qsr_cache_exists(p->folder)) return status;
    return save_plan(p, e);
}

/* ---- one shard --------------------------------------------------------------------------------------------------- */

enum { PIECE_ROWS = 4096, TENSORS = 3 };

/* A shard of every part that lacks it, being written in one pass. */
typedef struct {
    qsr_cache_job *job;
    uint64_t shard, first; /* its number, its first unit */
    size_t units, rows;
    size_t piece;   /* units read at once */
    uint64_t *unit; /* [units] their numbers */
    uint8_t *keep;  /* [piece][rows per unit]: of the rows that the spec would train on */
    int32_t *token; /* [rows], or NULL */
    int64_t *document;
    bool *wanted;          /* [n] parts that lack the shard */
    float **at;            /* [n] rows of a piece, or NULL */
    unsigned char *packed; /* a piece in the cache's dtype */
    qsr_writer *writer;    /* [n] */
    double *norms;         /* [n] sums over rows that are kept */
    uint64_t kept;         /* how many those are */
    uint64_t done, before; /* units that are on disk, and those that were when this began: for the progress */
} shard_job;

static qsr_status read_tokens(shard_job *s, qsr_error *e)
{
    const qsr_dataset *data = &s->job->whole;
    const qsr_made *made = data->made;
    const size_t per_unit = data->rows_per_unit;
    int64_t *token = qsr_xcalloc(s->piece * per_unit, sizeof *token);
    uint64_t *document = qsr_xcalloc(s->piece * per_unit, sizeof *document);
    qsr_status status = QSR_OK;
    for (size_t at = 0; !status && at < s->units; at += s->piece) {
        const size_t n = qsr_min_size(s->piece, s->units - at);
        status = qsr_made_finish(made, data->tokens->tokens(made->instance, s->unit + at, n, token, document), e);
        for (size_t r = 0; !status && r < n * per_unit; r++) {
            s->token[at * per_unit + r] = (int32_t)token[r];
            s->document[at * per_unit + r] = (int64_t)document[r];
            if (token[r] < 0 || token[r] > INT32_MAX)
                status = qsr_fail(e, QSR_E_UNSUPPORTED, "token id %" PRId64 " does not fit into 32 bits", token[r]);
        }
    }
    free(token);
    free(document);
    return status;
}

/* Where the first infinite value of n is among 16-bit ones; n: none. */
static size_t find_infinite(qsr_dtype dtype, const unsigned char *packed, size_t n)
{
    const unsigned infinite = dtype == QSR_F16 ? 0x7c00 : 0x7f80;
    if (qsr_dtype_size(dtype) != 2) return n;
    size_t i = 0;
    for (; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, packed + 2 * i, sizeof bits);
        if ((bits & 0x7fff) == infinite) break;
    }
    return i;
}

/* Values are finite when they are read, so an infinite one has been made by rounding. */
static qsr_status check_range(const shard_job *s, size_t part, size_t unit, size_t values, qsr_error *e)
{
    const qsr_cache *c = &s->job->parts[part].cache;
    const size_t bad = find_infinite(c->dtype, s->packed, values);
    if (bad == values) return QSR_OK;
    char value[32];
    return qsr_fail(
        e, QSR_E_INPUT, "unit %" PRIu64 ", row %zu, column %zu of %s is %s, more than %s can hold (%s): use --dtype %s",
        s->unit[unit + bad / (c->rows_per_unit * c->d_in)], bad / c->d_in % c->rows_per_unit, bad % c->d_in,
        s->job->parts[part].folder, qsr_float_text(s->at[part][bad], value, sizeof value), qsr_dtype_name(c->dtype),
        c->dtype == QSR_F16 ? "65504" : "3.39e38", c->dtype == QSR_F16 ? "bf16 or f32" : "f32");
}

/* keep is [n][kept rows per unit], as the dataset cuts them after skip_first. */
static void add_norms(shard_job *s, size_t part, size_t n)
{
    const qsr_dataset *data = &s->job->data, *whole = &s->job->whole;
    const size_t d = data->d_in;
    for (size_t u = 0; u < n; u++)
        for (size_t r = 0; r < data->rows_per_unit; r++)
            if (s->keep[u * data->rows_per_unit + r])
                s->norms[part] += qsr_row_norm(s->at[part] + (u * whole->rows_per_unit + data->skip_first + r) * d, d);
}

static qsr_status write_piece(shard_job *s, size_t unit, size_t n, qsr_error *e)
{
    const qsr_dataset *whole = &s->job->whole;
    const qsr_dtype dtype = s->job->options->dtype;
    const size_t values = n * whole->rows_per_unit * whole->d_in;
    qsr_status status = qsr_dataset_read_taps(whole, s->unit + unit, n, s->at, e);
    if (!status) status = qsr_dataset_mask(&s->job->data, s->unit + unit, n, s->keep, e);
    for (size_t r = 0; !status && r < n * s->job->data.rows_per_unit; r++) s->kept += s->keep[r];
    for (size_t part = 0; !status && part < s->job->n; part++) {
        if (!s->wanted[part]) continue;
        add_norms(s, part, n);
        qsr_from_float(dtype, s->at[part], values, s->packed);
        status = check_range(s, part, unit, values, e);
        if (!status) status = qsr_writer_put(&s->writer[part], s->packed, values * qsr_dtype_size(dtype), e);
    }
    return status;
}

static qsr_status write_rows(shard_job *s, qsr_error *e)
{
    const qsr_cache_options *o = s->job->options;
    qsr_status status = QSR_OK;
    for (size_t at = 0; !status && at < s->units; at += s->piece) {
        const size_t n = qsr_min_size(s->piece, s->units - at);
        if (o->stop && *o->stop) return QSR_END;
        status = write_piece(s, at, n, e);
        s->done += n;
        if (!status && o->progress)
            o->progress(o->ctx, s->done, s->job->parts[0].cache.units, (s->done - s->before) * s->job->whole.rows_per_unit);
    }
    return status;
}

static size_t list_tensors(const shard_job *s, qsr_tensor *tensors)
{
    const qsr_cache *c = &s->job->parts[0].cache;
    tensors[0] = (qsr_tensor){
        .name = "activation", .dtype = c->dtype, .rank = 2, .shape = {s->rows, c->d_in}, .count = s->rows * c->d_in};
    tensors[1] =
        (qsr_tensor){.name = "tokens", .dtype = QSR_I32, .rank = 1, .shape = {s->rows}, .count = s->rows, .data = s->token};
    tensors[2] = (qsr_tensor){
        .name = "documents", .dtype = QSR_I64, .rank = 1, .shape = {s->rows}, .count = s->rows, .data = s->document};
    return c->tokens ? TENSORS : 1;
}

static qsr_status begin_files(shard_job *s, const qsr_tensor *tensors, size_t n, const qsr_tensor **order, qsr_error *e)
{
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, s->shard);
    qsr_status status = QSR_OK;
    for (size_t part = 0; !status && part < s->job->n; part++) {
        const qsr_cache_part *p = &s->job->parts[part];
        const char *const metadata[] = {"cache", p->cache.id, "shard", number, NULL};
        if (!s->wanted[part]) continue;
        status = qsr_safetensors_begin(&s->writer[part], qsr_cache_shard_file(&s->job->arena, p->folder, s->shard), tensors,
                                       n, metadata, order, e);
    }
    return status;
}

/* The tensors of all parts have the same order, so one pass over the data serves them all. */
static qsr_status write_files(shard_job *s, qsr_error *e)
{
    qsr_tensor tensors[TENSORS];
    const qsr_tensor *order[TENSORS];
    const size_t n = list_tensors(s, tensors);
    qsr_status status = begin_files(s, tensors, n, order, e);
    for (size_t i = 0; !status && i < n; i++) {
        if (order[i] == &tensors[0]) status = write_rows(s, e);
        for (size_t part = 0; !status && order[i] != &tensors[0] && part < s->job->n; part++)
            if (s->wanted[part])
                status =
                    qsr_writer_put(&s->writer[part], order[i]->data, order[i]->count * qsr_dtype_size(order[i]->dtype), e);
    }
    for (size_t part = 0; part < s->job->n; part++) {
        if (!status && s->wanted[part]) status = qsr_writer_commit(&s->writer[part], e);
        qsr_writer_abort(&s->writer[part]);
    }
    return status;
}

/* A shard counts once cache.json lists it, with what the mean norm is made of. */
static qsr_status list_shard(const shard_job *s, qsr_cache_part *p, double norms, qsr_error *e)
{
    json_t *list = json_object_get(p->cache.root, "shard_list"), *entry = json_object();
    qsr_arena arena = {0};
    json_object_set_new(entry, "file", json_string(qsr_path_base(qsr_cache_shard_file(&arena, p->folder, s->shard))));
    json_object_set_new(entry, "units", json_integer((json_int_t)s->units));
    json_object_set_new(entry, "rows_kept", json_integer((json_int_t)s->kept));
    json_object_set_new(entry, "norm_sum", qsr_json_real(norms));
    qsr_arena_free(&arena);
    if (!json_is_array(list)) json_object_set_new(p->cache.root, "shard_list", list = json_array());
    while (json_array_size(list) <= s->shard) json_array_append_new(list, json_null());
    json_array_set_new(list, (size_t)s->shard, entry);
    return save_plan(p, e);
}

/* Everything that a shard is written through, of the size of the largest one. */
static qsr_status allocate(shard_job *s, qsr_error *e)
{
    const qsr_cache_job *job = s->job;
    const qsr_dataset *whole = &job->whole;
    const qsr_cache *c = &job->parts[0].cache;
    const size_t per_unit = whole->rows_per_unit, most = qsr_cache_shard_units(c, 0);
    const size_t readers = whole->info.rows_per_unit > 1 ? whole->info.units_per_read * qsr_pool_threads(whole->pool) : 1;
    s->piece = qsr_min_size(most, qsr_max_size(readers, qsr_div_up(PIECE_ROWS, per_unit)));
    s->unit = qsr_xcalloc(most, sizeof *s->unit);
    s->keep = qsr_xcalloc(s->piece, per_unit);
    s->wanted = qsr_xcalloc(job->n, sizeof *s->wanted);
    s->at = qsr_xcalloc(job->n, sizeof *s->at);
    s->norms = qsr_xcalloc(job->n, sizeof *s->norms);
    s->writer = qsr_xcalloc(job->n, sizeof *s->writer);
    for (size_t i = 0; i < job->n; i++) s->writer[i].fd = -1;
    if (c->tokens) {
        s->token = qsr_xcalloc(most * per_unit, sizeof *s->token);
        s->document = qsr_xcalloc(most * per_unit, sizeof *s->document);
    }
    s->packed = qsr_block_raw(s->piece * per_unit, whole->d_in * qsr_dtype_size(c->dtype));
    return s->packed ? QSR_OK : qsr_fail_nomem(e, "rows of a shard", s->piece * per_unit * whole->d_in * sizeof(float));
}

/* Rows of a piece, for the parts that lack the shard alone. */
static qsr_status allocate_rows(shard_job *s, float **blocks, qsr_error *e)
{
    const qsr_dataset *whole = &s->job->whole;
    for (size_t part = 0; part < s->job->n; part++) {
        if (s->wanted[part] && !blocks[part])
            blocks[part] = qsr_block_raw(s->piece * whole->rows_per_unit, whole->d_in * sizeof(float));
        if (s->wanted[part] && !blocks[part])
            return qsr_fail_nomem(e, "rows of a shard", s->piece * whole->rows_per_unit * whole->d_in * sizeof(float));
        s->at[part] = s->wanted[part] ? blocks[part] : NULL;
    }
    return QSR_OK;
}

static qsr_status write_shard(shard_job *s, uint64_t shard, float **blocks, qsr_error *e)
{
    qsr_cache_job *job = s->job;
    const qsr_cache *c = &job->parts[0].cache;
    s->shard = shard;
    s->first = shard * c->units_per_shard;
    s->units = qsr_cache_shard_units(c, shard);
    s->rows = s->units * c->rows_per_unit;
    s->kept = 0;
    for (size_t u = 0; u < s->units; u++) s->unit[u] = s->first + u;
    for (size_t part = 0; part < job->n; part++) {
        s->wanted[part] = !job->parts[part].there[shard];
        s->norms[part] = 0;
    }
    qsr_status status = allocate_rows(s, blocks, e);
    if (!status && c->tokens) status = read_tokens(s, e);
    if (!status) status = write_files(s, e);
    for (size_t part = 0; !status && part < job->n; part++)
        if (s->wanted[part]) status = list_shard(s, &job->parts[part], s->norms[part], e);
    return status;
}

static bool is_wanted(const qsr_cache_job *job, uint64_t shard)
{
    for (size_t part = 0; part < job->n; part++)
        if (!job->parts[part].there[shard]) return true;
    return false;
}

/* The i-th shard in the order of writing: those with held-out units come first, so that who reads a growing cache from the beginning
 * need not wait for its end. */
static uint64_t shard_in_turn(const qsr_cache_job *job, uint64_t i)
{
    const qsr_cache *c = &job->parts[0].cache;
    const uint64_t held = job->data.held_units < c->units ? job->data.held_units : c->units;
    const uint64_t first = held ? (c->units - held) / c->units_per_shard : c->shards, n = c->shards - first;
    return i < n ? first + i : i - n;
}

static qsr_status write_shards(qsr_cache_job *job, qsr_error *e)
{
    shard_job s = {.job = job};
    float **blocks = qsr_xcalloc(job->n, sizeof *blocks);
    const uint64_t shards = job->parts[0].cache.shards;
    qsr_status status = allocate(&s, e);
    for (uint64_t i = 0; i < shards; i++)
        if (!is_wanted(job, i)) s.before += qsr_cache_shard_units(&job->parts[0].cache, i);
    s.done = s.before;
    for (uint64_t i = 0; !status && i < shards; i++)
        if (is_wanted(job, shard_in_turn(job, i))) status = write_shard(&s, shard_in_turn(job, i), blocks, e);
    for (size_t i = 0; i < job->n; i++) qsr_block_free(blocks[i]);
    void *small[] = {blocks, s.unit, s.keep, s.wanted, s.at, s.norms, s.writer, s.token, s.document};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) free(small[i]);
    qsr_block_free(s.packed);
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* The largest token id of the cache. */
static qsr_status last_token(const qsr_cache_job *job, int64_t *ret, qsr_error *e)
{
    const qsr_dataset *data = &job->whole;
    const size_t per_unit = data->rows_per_unit, piece = qsr_max_size(PIECE_ROWS / per_unit, 1);
    int64_t *token = qsr_xcalloc(piece * per_unit, sizeof *token);
    uint64_t *unit = qsr_xcalloc(piece, sizeof *unit);
    qsr_status status = QSR_OK;
    *ret = -1;
    for (uint64_t at = 0; !status && at < job->parts[0].cache.units; at += piece) {
        const size_t n = qsr_min_size(piece, (size_t)(job->parts[0].cache.units - at));
        for (size_t u = 0; u < n; u++) unit[u] = at + u;
        status = qsr_made_finish(data->made, data->tokens->tokens(data->made->instance, unit, n, token, NULL), e);
        for (size_t r = 0; !status && r < n * per_unit; r++)
            if (token[r] > *ret) *ret = token[r];
    }
    free(token);
    free(unit);
    return status;
}

/* The texts of all ids up to the largest: then a cache needs nothing else to show what its rows stand for. */
static qsr_status write_vocabulary(const qsr_cache_job *job, qsr_error *e)
{
    const qsr_dataset *data = &job->whole;
    int64_t last;
    if (!job->parts[0].cache.tokens || !data->tokens->text) return QSR_OK;
    qsr_status status = last_token(job, &last, e);
    if (status || last < 0) return status;
    qsr_text bytes = {0};
    int64_t *ends = qsr_xcalloc((size_t)last + 1, sizeof *ends);
    for (int64_t id = 0; id <= last; id++) {
        size_t n = 0;
        const char *text = data->tokens->text(data->made->instance, id, &n);
        if (text) qsr_text_append(&bytes, text, n);
        ends[id] = (int64_t)bytes.length;
    }
    const qsr_tensor tensors[] = {
        {.name = "bytes", .dtype = QSR_U8, .rank = 1, .shape = {bytes.length}, .count = bytes.length, .data = bytes.bytes},
        {.name = "ends",
         .dtype = QSR_I64,
         .rank = 1,
         .shape = {(size_t)last + 1},
         .count = (size_t)last + 1,
         .data = ends}};
    for (size_t i = 0; bytes.length && !status && i < job->n; i++) {
        qsr_arena arena = {0};
        status = qsr_safetensors_write(qsr_path_join(&arena, job->parts[i].folder, "vocabulary.safetensors"), tensors, 2,
                                       NULL, e);
        qsr_arena_free(&arena);
    }
    qsr_text_free(&bytes);
    free(ends);
    return status;
}

/* Sums in the order of shards, so that an interrupted cache ends with the same bytes. */
static qsr_status conclude(qsr_cache_part *p, qsr_error *e)
{
    json_t *root = p->cache.root, *list = json_object_get(root, "shard_list"), *entry;
    double norms = 0;
    uint64_t kept = 0;
    size_t i;
    json_array_foreach(list, i, entry)
    {
        norms += json_number_value(json_object_get(entry, "norm_sum"));
        kept += (uint64_t)json_integer_value(json_object_get(entry, "rows_kept"));
    }
    json_object_set_new(root, "rows", json_integer((json_int_t)(p->cache.units * p->cache.rows_per_unit)));
    json_object_set_new(root, "rows_kept", json_integer((json_int_t)kept));
    json_object_set_new(root, "mean_norm", kept ? qsr_json_real(norms / (double)kept) : json_null());
    json_object_set_new(root, "complete", json_true());
    p->cache.complete = true;
    return save_plan(p, e);
}

static bool all_complete(const qsr_cache_job *job)
{
    for (size_t i = 0; i < job->n; i++)
        if (!job->parts[i].cache.complete || job->parts[i].kept < job->parts[i].cache.shards) return false;
    return true;
}

qsr_status qsr_cache_job_run(qsr_cache_job *job, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < job->n; i++) status = claim(&job->parts[i], e);
    if (status || all_complete(job)) return status;
    status = write_shards(job, e);
    if (!status) status = write_vocabulary(job, e);
    for (size_t i = 0; !status && i < job->n; i++) status = conclude(&job->parts[i], e);
    return status;
}

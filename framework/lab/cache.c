#include "lab/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sizes.h"
#include "lab/cell.h"

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
    return qsr_cache_plan_save(p, e);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

enum { PIECE_ROWS = 4096 }; /* whose tokens are read at once */

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
    return qsr_cache_plan_save(p, e);
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
    status = qsr_cache_write_shards(job, e);
    if (!status) status = write_vocabulary(job, e);
    for (size_t i = 0; !status && i < job->n; i++) status = conclude(&job->parts[i], e);
    return status;
}

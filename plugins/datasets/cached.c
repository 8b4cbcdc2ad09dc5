#include "cached.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sizes.h"

enum { ROWS_PER_READ = 4096, DROP_BYTES = 1 << 16 };

typedef struct {
    qsr_cache cache;
    _Atomic(qsr_cache_shard *) *shards; /* [cache.shards]; NULL: not opened yet */
} tap;

struct cached {
    const qsr_host *host;
    tap *taps;
    size_t n_taps;
    exclude_set exclude;
    qsr_safetensors *vocabulary; /* or NULL */
    const qsr_tensor *bytes, *ends;
    pthread_mutex_t opening;
    qsr_arena arena;
};

/* ---- finding the cache ------------------------------------------------------------------------------------------- */

static qsr_status pass_on(const qsr_host *host, const char *option, const qsr_error *e)
{
    return host->fail(host, e->code, option, "%s", e->text);
}

static bool is_named(const cached_wish *w, const char *site, const char *layer)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, w->layer);
    if (w->site && (!site || strcmp(site, w->site) != 0)) return false;
    return w->layer < 0 || (layer && strcmp(layer, text) == 0);
}

static int by_bytes(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* The one cache below the folder that has the wished hook. `hooks` gathers what there is, for messages. */
static qsr_status choose_below(const qsr_host *host, const cached_wish *w, qsr_arena *arena, qsr_text *hooks,
                               const char **ret_folder)
{
    struct dirent **entries;
    size_t matches = 0, caches = 0;
    qsr_status status = QSR_OK;
    int n = scandir(w->cache, &entries, NULL, by_bytes);
    if (n < 0) return host->fail(host, QSR_E_INPUT, "cache", "cannot read %s: %s", w->cache, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *folder = qsr_path_join(arena, w->cache, entries[i]->d_name);
        const bool up = strcmp(entries[i]->d_name, "..") == 0;
        qsr_cache c;
        qsr_error e = {0};
        free(entries[i]);
        if (status || up || !qsr_cache_exists(folder)) continue;
        if (qsr_cache_open(folder, &c, &e)) {
            status = pass_on(host, "cache", &e);
            continue;
        }
        const char *site = qsr_cache_option(&c, "hook.site"), *layer = qsr_cache_option(&c, "hook.layer");
        qsr_text_add(hooks, "%s%s of layer %s", caches++ ? ", " : "", site ? site : "rows", layer ? layer : "?");
        if (is_named(w, site, layer)) {
            *ret_folder = folder;
            matches++;
        }
        qsr_cache_close(&c);
    }
    free(entries);
    if (status || matches == 1) return status;
    if (!caches)
        return host->fail(host, QSR_E_INPUT, "cache", "%s holds no cache: there is no cache.json in it or below", w->cache);
    const char *option = w->layer >= 0 ? "hook.layer" : w->site ? "hook.site" : "cache";
    return host->fail(host, QSR_E_OPTION, option, "%s caches below %s fit: there are %s",
                      matches ? "several" : "none of the", w->cache, hooks->bytes);
}

static qsr_status find_folder(const qsr_host *host, const cached_wish *w, qsr_arena *arena, const char **ret)
{
    *ret = w->cache;
    if (qsr_cache_exists(w->cache)) return QSR_OK;
    qsr_text hooks = {0};
    qsr_status status = choose_below(host, w, arena, &hooks, ret);
    qsr_text_free(&hooks);
    return status;
}

/* ---- is it the right one ----------------------------------------------------------------------------------------- */

static qsr_status check_text(const qsr_host *host, const qsr_cache *c, const char *option, const char *wish)
{
    const char *is = qsr_cache_option(c, option);
    if (!wish || (is && strcmp(is, wish) == 0)) return QSR_OK;
    if (!is)
        return host->fail(host, QSR_E_OPTION, option, "%s=%s, but the dataset that filled %s has no %s", option, wish,
                          c->folder, option);
    return host->fail(host, QSR_E_OPTION, option, "%s=%s, but %s was filled with %s=%s", option, wish, c->folder, option,
                      is);
}

static qsr_status check_number(const qsr_host *host, const qsr_cache *c, const char *option, int64_t wish, int64_t none)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, wish);
    return check_text(host, c, option, wish == none ? NULL : text);
}

/* The digest that a file of that name had when the cache was written; NULL: it was not read. */
static const char *digest_of(const qsr_cache *c, const char *name)
{
    const char *path;
    json_t *digest;
    json_object_foreach(json_object_get(c->root, "inputs"), path,
                        digest) if (strcmp(qsr_path_base(path), name) == 0) return json_string_value(digest);
    return NULL;
}

static qsr_status check_model_file(const qsr_host *host, const qsr_cache *c, const char *folder, const char *name)
{
    qsr_arena arena = {0};
    qsr_digest digest;
    qsr_error e = {0};
    const char *path = qsr_path_join(&arena, folder, name), *was = digest_of(c, name);
    qsr_status status = qsr_digest_file(path, &digest, &e);
    if (status)
        status = pass_on(host, "model", &e);
    else if (!was || strcmp(digest.hex, was) != 0)
        status = host->fail(host, QSR_E_INPUT, "model", "%s is not what %s was filled with (digest %.12s, there %.12s)",
                            path, c->folder, digest.hex, was ? was : "none");
    qsr_arena_free(&arena);
    return status;
}

/* Configuration and weights; other files of the folder decide nothing. */
static qsr_status check_model(const qsr_host *host, const qsr_cache *c, const char *folder)
{
    struct dirent **entries;
    qsr_status status = QSR_OK;
    if (!folder) return QSR_OK;
    int n = scandir(folder, &entries, NULL, by_bytes), looked = 0;
    if (n < 0) return host->fail(host, QSR_E_INPUT, "model", "cannot read %s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (!status && (strcmp(name, "config.json") == 0 || qsr_ends_with(name, ".safetensors"))) {
            status = check_model_file(host, c, folder, name);
            looked++;
        }
        free(entries[i]);
    }
    free(entries);
    if (!status && !looked) return host->fail(host, QSR_E_INPUT, "model", "%s holds no model", folder);
    return status;
}

static qsr_status check_wish(const qsr_host *host, const cached_wish *w, const qsr_cache *c)
{
    qsr_status status = check_text(host, c, "hook.site", w->site);
    if (!status) status = check_number(host, c, "hook.layer", w->layer, -1);
    if (!status) status = check_number(host, c, "context", w->context, 0);
    if (!status) status = check_text(host, c, "convention", w->convention);
    return status ? status : check_model(host, c, w->model);
}

/* Rows of taps must be rows of the same places. */
static qsr_status check_agreement(const qsr_host *host, const qsr_cache *a, const qsr_cache *b)
{
    const char *differs = NULL;
    if (a->units != b->units) differs = "the number of units";
    if (a->rows_per_unit != b->rows_per_unit) differs = "the rows of a unit";
    if (a->d_in != b->d_in) differs = "their width";
    if (!json_equal(json_object_get(a->root, "inputs"), json_object_get(b->root, "inputs"))) differs = "model or tokens";
    if (!differs) return QSR_OK;
    return host->fail(host, QSR_E_INPUT, "cache", "%s and %s cannot be read together: they differ in %s", a->folder,
                      b->folder, differs);
}

/* ---- shards ------------------------------------------------------------------------------------------------------ */

/* A writer holds the folder locked. Where folders cannot be locked (some network file systems) nobody could hold it. */
static bool is_being_written(const char *folder)
{
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    const bool busy = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return busy;
}

static bool shard_exists(const qsr_cache *c, uint64_t shard)
{
    qsr_arena arena = {0};
    const bool there = qsr_exists(qsr_cache_shard_file(&arena, c->folder, shard));
    qsr_arena_free(&arena);
    return there;
}

static uint64_t count_shards(const qsr_cache *c)
{
    uint64_t n = 0;
    for (uint64_t s = 0; s < c->shards; s++) n += shard_exists(c, s);
    return n;
}

static qsr_status incomplete(const qsr_host *host, const qsr_cache *c)
{
    return host->fail(host, QSR_E_INPUT, "cache",
                      "%s is not complete (%" PRIu64 " of %" PRIu64
                      " shards) and nobody writes it: finish it with the command that "
                      "began it, `quasar cache`",
                      c->folder, count_shards(c), c->shards);
}

static qsr_status open_shard(const qsr_host *host, tap *t, uint64_t shard)
{
    qsr_cache_shard s, *kept;
    qsr_error e = {0};
    if (qsr_cache_shard_open(&t->cache, shard, &s, &e)) return pass_on(host, "cache", &e);
    posix_madvise((void *)((uintptr_t)s.activation->data & ~(uintptr_t)4095),
                  s.activation->count * qsr_dtype_size(t->cache.dtype), POSIX_MADV_SEQUENTIAL);
    kept = qsr_xcalloc(1, sizeof *kept);
    *kept = s;
    atomic_store(&t->shards[shard], kept);
    return QSR_OK;
}

/* A shard of a cache that is still written appears whole; until then this sleeps. */
static qsr_status wait_for_shard(const qsr_host *host, tap *t, uint64_t shard)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
    bool told = false;
    const qsr_host_stop *stop = host->extension(host, QSR_HOST_STOP);
    while (!t->cache.complete && !shard_exists(&t->cache, shard)) {
        if (stop && stop->asked(host))
            return host->fail(host, QSR_E_IO, "cache", "interrupted while waiting for shard %" PRIu64 " of %s", shard, t->cache.folder);
        if (!is_being_written(t->cache.folder) && !shard_exists(&t->cache, shard)) return incomplete(host, &t->cache);
        if (!told) host->log(host, QSR_LOG_INFO, "waiting for shard %" PRIu64 " of %s", shard, t->cache.folder);
        told = true;
        nanosleep(&moment, NULL);
    }
    return open_shard(host, t, shard);
}

static qsr_status get_shard(const cached *c, size_t which, uint64_t shard, const qsr_cache_shard **ret)
{
    tap *t = &c->taps[which];
    qsr_status status = QSR_OK;
    if ((*ret = atomic_load(&t->shards[shard]))) return QSR_OK;
    pthread_mutex_t *opening = (pthread_mutex_t *)(uintptr_t)&c->opening;
    pthread_mutex_lock(opening);
    if (!atomic_load(&t->shards[shard])) status = wait_for_shard(c->host, t, shard);
    pthread_mutex_unlock(opening);
    *ret = atomic_load(&t->shards[shard]);
    return status;
}

/* What is there is opened at once, so that what is wrong with it shows before the first step. */
static qsr_status open_shards(const qsr_host *host, tap *t)
{
    const qsr_cache *c = &t->cache;
    qsr_status status = QSR_OK;
    uint64_t missing = 0;
    for (uint64_t s = 0; !status && s < c->shards; s++) {
        const bool there = c->complete || shard_exists(c, s);
        missing += !there;
        if (there) status = open_shard(host, t, s);
    }
    if (status || !missing) return status;
    if (!is_being_written(c->folder) && count_shards(c) < c->shards) return incomplete(host, c);
    host->log(host, QSR_LOG_INFO, "%s is still being written, %" PRIu64 " of %" PRIu64 " shards are there", c->folder,
              c->shards - missing, c->shards);
    return QSR_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static qsr_status open_tap(cached *c, const cached_wish *w, size_t which)
{
    const qsr_host *host = c->host;
    tap *t = &c->taps[which];
    const char *folder = NULL;
    qsr_error e = {0};
    qsr_status status = find_folder(host, w, &c->arena, &folder);
    if (!status && qsr_cache_open(folder, &t->cache, &e)) status = pass_on(host, "cache", &e);
    if (!status) status = check_wish(host, w, &t->cache);
    if (!status && which) status = check_agreement(host, &c->taps[0].cache, &t->cache);
    if (status) return status;
    t->shards = qsr_xcalloc((size_t)t->cache.shards, sizeof *t->shards);
    return open_shards(host, t);
}

static qsr_status open_exclude(cached *c, const qsr_strings *list)
{
    const qsr_cache *cache = &c->taps[0].cache;
    const exclude_name names[] = {
        {"bos", qsr_cache_special(cache, "bos"), "the cache does not know its id: give the id as a number"},
        {"eot", qsr_cache_special(cache, "eot"), "the cache does not know its id: give the id as a number"},
    };
    if (list->count && !cache->tokens)
        return c->host->fail(c->host, QSR_E_OPTION, "exclude", "%s does not know the tokens of its rows", cache->folder);
    return exclude_create(c->host, list, names, sizeof names / sizeof *names, 0, &c->exclude);
}

/* A cache without a vocabulary is fine, one with a damaged vocabulary is not. */
static qsr_status open_vocabulary(cached *c)
{
    const char *path = qsr_path_join(&c->arena, c->taps[0].cache.folder, "vocabulary.safetensors");
    qsr_error e = {0};
    if (!qsr_exists(path)) return QSR_OK;
    if (qsr_safetensors_open(path, &c->vocabulary, &e)) return pass_on(c->host, "cache", &e);
    c->bytes = qsr_safetensors_find(c->vocabulary, "bytes");
    c->ends = qsr_safetensors_find(c->vocabulary, "ends");
    if (c->bytes && c->ends && c->bytes->dtype == QSR_U8 && c->ends->dtype == QSR_I64) return QSR_OK;
    return c->host->fail(c->host, QSR_E_INPUT, "cache", "%s: not a vocabulary: it needs `bytes` U8 and `ends` I64", path);
}

qsr_status cached_open(const qsr_host *host, const cached_wish *wishes, size_t n, const qsr_strings *exclude,
                       size_t *ret_tap, cached **ret)
{
    cached *c = qsr_xcalloc(1, sizeof *c);
    *c = (cached){.host = host, .taps = qsr_xcalloc(n, sizeof *c->taps), .n_taps = n};
    pthread_mutex_init(&c->opening, NULL);
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < n; i++)
        if ((status = open_tap(c, &wishes[i], i))) *ret_tap = i;
    if (!status) status = open_exclude(c, exclude);
    if (!status) status = open_vocabulary(c);
    if (status)
        cached_close(c);
    else
        *ret = c;
    return status;
}

void cached_close(cached *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n_taps; i++) {
        tap *t = &c->taps[i];
        for (uint64_t s = 0; t->shards && s < t->cache.shards; s++) {
            qsr_cache_shard *shard = atomic_load(&t->shards[s]);
            if (shard) qsr_cache_shard_close(shard);
            free(shard);
        }
        free(t->shards);
        qsr_cache_close(&t->cache);
    }
    qsr_safetensors_close(c->vocabulary);
    pthread_mutex_destroy(&c->opening);
    qsr_arena_free(&c->arena);
    free(c->taps);
    free(c);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

void cached_describe(const cached *c, qsr_dataset_info *ret_info)
{
    const qsr_cache *cache = &c->taps[0].cache;
    *ret_info = (qsr_dataset_info){.struct_size = sizeof *ret_info,
                                   .d_in = cache->d_in,
                                   .units = cache->units,
                                   .rows_per_unit = cache->rows_per_unit,
                                   .units_per_read = qsr_max_size(ROWS_PER_READ / cache->rows_per_unit, 1)};
}

static qsr_status check_unit(const cached *c, uint64_t unit)
{
    const uint64_t units = c->taps[0].cache.units;
    if (unit < units) return QSR_OK;
    return c->host->fail(c->host, QSR_E_INTERNAL, NULL, "read of unit %" PRIu64 ", the last one is %" PRIu64, unit,
                         units - 1);
}

/* What has been read is not needed in this process's memory any more; it stays in the system's cache as long as that likes. */
static void drop_pages(const unsigned char *data, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = ((uintptr_t)data + page - 1) / page * page,
                    end = ((uintptr_t)data + bytes) / page * page;
    if (bytes >= DROP_BYTES && end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* Units that follow one another in a shard are converted in one go. */
static qsr_status read_tap(const cached *c, size_t which, const uint64_t *units, size_t n, float *out)
{
    const qsr_cache *cache = &c->taps[which].cache;
    const size_t values = cache->rows_per_unit * cache->d_in, bytes = values * qsr_dtype_size(cache->dtype);
    qsr_status status = QSR_OK;
    for (size_t i = 0, run; !status && i < n; i += run, out += run * values) {
        const uint64_t shard = units[i] / cache->units_per_shard;
        const qsr_cache_shard *s = NULL;
        for (run = 1; i + run < n && units[i + run] == units[i] + run && units[i + run] / cache->units_per_shard == shard;)
            run++;
        status = check_unit(c, units[i + run - 1]);
        if (!status) status = get_shard(c, which, shard, &s);
        if (status) break;
        const unsigned char *from =
            (const unsigned char *)s->activation->data + (size_t)(units[i] % cache->units_per_shard) * bytes;
        qsr_to_float(cache->dtype, from, run * values, out);
        drop_pages(from, run * bytes);
    }
    return status;
}

qsr_status cached_read(const cached *c, const uint64_t *units, size_t n, float *const *out)
{
    qsr_status status = QSR_OK;
    for (size_t t = 0; !status && t < c->n_taps; t++)
        if (out[t]) status = read_tap(c, t, units, n, out[t]);
    return status;
}

qsr_status cached_tokens(const cached *c, const uint64_t *units, size_t n, int64_t *ret_token, uint64_t *ret_document)
{
    const qsr_cache *cache = &c->taps[0].cache;
    const size_t rows = cache->rows_per_unit;
    if (!cache->tokens) return QSR_E_UNSUPPORTED;
    for (size_t i = 0; i < n; i++) {
        const qsr_cache_shard *s = NULL;
        qsr_status status = check_unit(c, units[i]);
        if (!status) status = get_shard(c, 0, units[i] / cache->units_per_shard, &s);
        if (status) return status;
        const size_t row = (size_t)(units[i] % cache->units_per_shard) * rows;
        if (ret_token) qsr_to_int(QSR_I32, (const char *)s->tokens->data + 4 * row, rows, ret_token + i * rows);
        if (ret_document) memcpy(ret_document + i * rows, (const char *)s->documents->data + 8 * row, 8 * rows);
    }
    return QSR_OK;
}

static int64_t end_of(const cached *c, int64_t token)
{
    int64_t end = 0;
    if (token >= 0) qsr_to_int(QSR_I64, (const char *)c->ends->data + 8 * (size_t)token, 1, &end);
    return end;
}

const char *cached_text(const cached *c, int64_t token, size_t *ret_bytes)
{
    if (!c->ends || token < 0 || (uint64_t)token >= c->ends->count) return NULL;
    const int64_t begin = end_of(c, token - 1), end = end_of(c, token);
    if (begin < 0 || end <= begin || (uint64_t)end > c->bytes->count) return NULL;
    *ret_bytes = (size_t)(end - begin);
    return (const char *)c->bytes->data + begin;
}

qsr_status cached_mask(const cached *c, const uint64_t *units, size_t n, uint8_t *ret_keep)
{
    const size_t rows = c->taps[0].cache.rows_per_unit;
    if (!c->exclude.count) return QSR_END;
    int64_t *token = c->host->scratch(c->host, qsr_max_size(n, 1) * rows, sizeof *token);
    if (!token) return QSR_E_NOMEM;
    qsr_status status = cached_tokens(c, units, n, token, NULL);
    if (!status) exclude_mask(&c->exclude, token, n * rows, ret_keep);
    return status;
}

int64_t cached_special(const cached *c, const char *name) { return qsr_cache_special(&c->taps[0].cache, name); }

const char *cached_option(const cached *c, size_t which, const char *name)
{
    return which < c->n_taps ? qsr_cache_option(&c->taps[which].cache, name) : NULL;
}

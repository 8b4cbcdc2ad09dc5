#include "format/tokens.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/paths.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/npy.h"

enum { CHUNK = 4096, BLOCK = 1 << 16 };
enum { LLMC_HEADER = 1024, LLMC_GPT2 = 20240520, LLMC_LLAMA3 = 20240801 };

typedef struct {
    const char *path;
    qsr_npy npy; /* one of these two holds the map */
    qsr_map map;
    qsr_dtype dtype;
    const char *data;
    size_t begin, count; /* its place among all tokens */
} part;

struct qsr_token_files {
    qsr_arena arena;
    part *parts;
    size_t n_parts, count;
    pthread_mutex_t lock;
    uint64_t *before; /* [count / BLOCK + 1] how often the counted id stands before each block; NULL: not counted yet */
};

/* ---- files ------------------------------------------------------------------------------------------------------- */

static uint32_t read_u32(const unsigned char *bytes)
{
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

/* What other .bin files of llm.c are: a mix-up that a message can name. */
static const char *llmc_other(uint32_t magic)
{
    static const char *const names[] = {"a model's weights", "a debugging state", "a tokenizer"};
    return magic >= 20240326 && magic <= 20240328 ? names[magic - 20240326] : magic == 20240522 ? "an evaluation" : NULL;
}

static qsr_status take_llmc(part *p, uint32_t magic, qsr_error *e)
{
    const size_t width = magic == LLMC_GPT2 ? 2 : 4;
    const uint32_t version = magic == LLMC_GPT2 ? 1 : 7;
    if (p->map.size < LLMC_HEADER)
        return qsr_fail(e, QSR_E_INPUT, "truncated: %zu bytes end inside llm.c's header of %d", p->map.size, LLMC_HEADER);
    const uint32_t has = read_u32(p->map.bytes + 4), count = read_u32(p->map.bytes + 8);
    if (has != version)
        return qsr_fail(e, QSR_E_INPUT, "version %u of llm.c's token files with magic %u; version %u is known", has, magic,
                        version);
    if ((p->map.size - LLMC_HEADER) / width != count || (p->map.size - LLMC_HEADER) % width)
        return qsr_fail(e, QSR_E_INPUT, "the header says %u tokens of %zu bytes, but %zu bytes follow it", count, width,
                        p->map.size - LLMC_HEADER);
    p->dtype = width == 2 ? QSR_U16 : QSR_U32;
    p->data = (const char *)p->map.bytes + LLMC_HEADER;
    p->count = count;
    return QSR_OK;
}

static qsr_status take_bin(part *p, qsr_error *e)
{
    const uint32_t magic = p->map.size >= 4 ? read_u32(p->map.bytes) : 0;
    if (magic == LLMC_GPT2 || magic == LLMC_LLAMA3) return take_llmc(p, magic, e);
    if (llmc_other(magic) && p->map.size >= LLMC_HEADER)
        return qsr_fail(e, QSR_E_INPUT, "magic %u: this is %s of llm.c, not tokens", magic, llmc_other(magic));
    if (p->map.size % 2)
        return qsr_fail(e, QSR_E_INPUT, "%zu bytes are an odd number: neither uint16 tokens nor a file of llm.c",
                        p->map.size);
    p->dtype = QSR_U16;
    p->data = (const char *)p->map.bytes;
    p->count = p->map.size / 2;
    return QSR_OK;
}

static qsr_status open_bin(part *p, qsr_error *e)
{
    qsr_status status = qsr_map_open(p->path, &p->map, e);
    if (status) return status;
    status = take_bin(p, e);
    return status ? qsr_context(e, "%s", p->path), status : QSR_OK;
}

static qsr_status open_npy(part *p, qsr_error *e)
{
    qsr_status status = qsr_npy_open(p->path, &p->npy, e);
    if (status) return status;
    p->dtype = p->npy.dtype;
    p->data = p->npy.data;
    p->count = p->npy.count;
    if (p->dtype == QSR_U16 || p->dtype == QSR_U32 || p->dtype == QSR_I32 || p->dtype == QSR_I64) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "%s: holds %s, expected token ids as uint16, uint32, int32 or int64", p->path,
                    qsr_dtype_name(p->dtype));
}

static void read_part(const part *p, size_t begin, size_t n, int64_t *ids)
{
    qsr_to_int(p->dtype, p->data + begin * qsr_dtype_size(p->dtype), n, ids);
}

/* One pass over the whole file, so that a bad id is found before the first step and not hours later. Types that cannot hold
 * an id outside the vocabulary need none. */
static qsr_status check_ids(const part *p, size_t vocabulary, qsr_error *e)
{
    int64_t ids[CHUNK];
    if (p->dtype == QSR_U16 && vocabulary > UINT16_MAX) return QSR_OK;
    for (size_t at = 0; at < p->count; at += CHUNK) {
        const size_t n = qsr_min_size(CHUNK, p->count - at);
        read_part(p, at, n, ids);
        uint64_t most = 0;
        for (size_t i = 0; i < n; i++) most = (uint64_t)ids[i] > most ? (uint64_t)ids[i] : most;
        if (most < vocabulary) continue;
        size_t i = 0;
        while ((uint64_t)ids[i] < vocabulary) i++;
        return qsr_fail(e, QSR_E_INPUT,
                        "%s: token %zu is %lld, outside the model's vocabulary of %zu: were these tokens made "
                        "for another model?",
                        p->path, at + i, (long long)ids[i], vocabulary);
    }
    return QSR_OK;
}

static qsr_status open_part(part *p, size_t vocabulary, qsr_error *e)
{
    qsr_status status = qsr_ends_with(p->path, ".bin") ? open_bin(p, e) : open_npy(p, e);
    return status ? status : check_ids(p, vocabulary, e);
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

qsr_status qsr_token_files_open(const char *const *names, size_t n, size_t vocabulary, qsr_token_files **ret, qsr_error *e)
{
    qsr_token_files *t = qsr_xcalloc(1, sizeof *t);
    qsr_strings paths = {0};
    pthread_mutex_init(&t->lock, NULL);
    qsr_status status = qsr_paths_expand(&t->arena, names, n, &paths, e);
    if (!status) t->parts = qsr_arena_alloc(&t->arena, paths.count, sizeof *t->parts);
    for (size_t i = 0; i < paths.count && !status; i++) {
        part *p = &t->parts[t->n_parts++];
        *p = (part){.path = paths.items[i], .begin = t->count};
        status = open_part(p, vocabulary, e);
        if (!status && !qsr_add_size(t->count, p->count, &t->count))
            status = qsr_fail(e, QSR_E_INPUT, "%s: more tokens than any memory", p->path);
    }
    if (status)
        qsr_token_files_close(t);
    else
        *ret = t;
    return status;
}

void qsr_token_files_close(qsr_token_files *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n_parts; i++) {
        qsr_npy_close(&t->parts[i].npy);
        qsr_map_close(&t->parts[i].map);
    }
    pthread_mutex_destroy(&t->lock);
    free(t->before);
    qsr_arena_free(&t->arena);
    free(t);
}

size_t qsr_token_files_count(const qsr_token_files *t) { return t->count; }

/* The last part that begins at or before token `at`. */
static size_t part_of(const qsr_token_files *t, size_t at)
{
    size_t low = 0, high = t->n_parts;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (t->parts[middle].begin <= at)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void qsr_token_files_read(const qsr_token_files *t, size_t begin, size_t n, int64_t *ids)
{
    for (size_t i = n ? part_of(t, begin) : 0; n; i++) {
        const part *p = &t->parts[i];
        const size_t from = begin - p->begin, some = qsr_min_size(n, p->count - from);
        read_part(p, from, some, ids);
        begin += some;
        ids += some;
        n -= some;
    }
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static size_t count_in(const qsr_token_files *t, int64_t id, size_t begin, size_t end)
{
    int64_t ids[CHUNK];
    size_t found = 0;
    for (size_t at = begin; at < end; at += CHUNK) {
        const size_t n = qsr_min_size(CHUNK, end - at);
        qsr_token_files_read(t, at, n, ids);
        for (size_t i = 0; i < n; i++) found += ids[i] == id;
    }
    return found;
}

size_t qsr_token_files_rank(const qsr_token_files *t, int64_t id, size_t n)
{
    qsr_token_files *own = (qsr_token_files *)(uintptr_t)t;
    const size_t block = n / BLOCK;
    pthread_mutex_lock(&own->lock);
    if (!own->before) {
        own->before = qsr_xcalloc(t->count / BLOCK + 1, sizeof *own->before);
        for (size_t i = 1; i <= t->count / BLOCK; i++)
            own->before[i] = own->before[i - 1] + count_in(t, id, (i - 1) * BLOCK, i * BLOCK);
    }
    const size_t before = (size_t)own->before[block];
    pthread_mutex_unlock(&own->lock);
    return before + count_in(t, id, block * BLOCK, n);
}

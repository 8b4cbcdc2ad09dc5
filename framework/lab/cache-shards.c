/* lab/cache-shards: the shards of a cache, each written for several taps in one pass over the data. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "lab/cache.h"
#include "math/rows.h"

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
    return qsr_cache_plan_save(p, e);
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

/* ---- all of them -------------------------------------------------------------------------------------------------- */

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

qsr_status qsr_cache_write_shards(qsr_cache_job *job, qsr_error *e)
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

#include "train/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/kernel.h"
#include "math/rows.h"

enum { PANEL = 256, LATENTS_PER_CHUNK = 64, COLUMNS_PER_CHUNK = 16 };

qsr_status qsr_gradient_create(const qsr_params *p, unsigned params, bool norms, qsr_gradient *ret, qsr_error *e)
{
    size_t d = p->d_in, n = p->d_sae;
    *ret = (qsr_gradient){.d_in = d, .d_sae = n};
    bool ok = (ret->w_enc = qsr_block_alloc(n, d * sizeof(float))) && (ret->w_dec = qsr_block_alloc(n, d * sizeof(float))) &&
              (ret->b_enc = qsr_block_alloc(n, sizeof(float))) && (ret->b_dec = qsr_block_alloc(d, sizeof(float))) &&
              (ret->d_pre = qsr_block_alloc(n, sizeof(double))) && (ret->d_bias = qsr_block_alloc(d, sizeof(double)));
    if (ok && norms) ok = (ret->d_norm = qsr_block_alloc(n, sizeof(double))) != NULL;
    for (unsigned i = 0; ok && i < params; i++)
        ok = (ret->param[i] = qsr_block_alloc(n, sizeof(float))) && (ret->d_param[i] = qsr_block_alloc(n, sizeof(double)));
    if (ok) return QSR_OK;
    qsr_gradient_free(ret);
    return qsr_fail_nomem(e, "gradients", 2 * n * d * sizeof(float));
}

void qsr_gradient_free(qsr_gradient *g)
{
    void *blocks[] = {g->w_enc, g->w_dec, g->b_enc, g->b_dec, g->d_pre, g->d_bias, g->d_norm, g->param[0], g->param[1],
                      g->d_param[0], g->d_param[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    *g = (qsr_gradient){0};
}

static qsr_status clear_latents(void *arg, size_t begin, size_t end)
{
    qsr_gradient *g = arg;
    size_t n = end - begin, d = g->d_in;
    memset(g->w_enc + begin * d, 0, n * d * sizeof(float));
    memset(g->w_dec + begin * d, 0, n * d * sizeof(float));
    memset(g->d_pre + begin, 0, n * sizeof(double));
    if (g->d_norm) memset(g->d_norm + begin, 0, n * sizeof(double));
    for (int p = 0; p < 2; p++)
        if (g->d_param[p]) memset(g->d_param[p] + begin, 0, n * sizeof(double));
    return QSR_OK;
}

void qsr_gradient_clear(qsr_gradient *g, qsr_pool *pool)
{
    memset(g->d_bias, 0, g->d_in * sizeof(double));
    qsr_pool_run(pool, g->d_sae, LATENTS_PER_CHUNK, clear_latents, g);
}

/* ---- adding blocks: each task owns a panel of latents and walks all rows ------------------------------------------ */

enum { TILE = 4, STRIP = 384, MANY = 8 };

struct adding {
    qsr_gradient *g;
    const qsr_block_work *blocks;
    size_t n;
    bool merged; /* one stream per block, and their rows follow each other in memory */
    qsr_first_error failed;
};

/* Rows of one stream in which some latents of a panel are used: the code in latent order. A slot is a latent, or TILE of them that
 * share their rows, with zeros filled in. */
struct lists {
    size_t begin, end;      /* latents */
    size_t per_slot;        /* 1 or TILE */
    size_t at[PANEL + 1];   /* slot s has the items at[s] <= i < at[s + 1] */
    size_t next[PANEL];     /* where the next item of a slot goes */
    uint32_t *row;          /* per item: row, counted from the first row of the blocks */
    float *value, *d_pre;   /* [item][per_slot] */
};

/* One stream of some blocks that follow each other. */
struct source {
    const qsr_block_work *blocks;
    size_t n, stream, block_rows;
};

/* Calls `body` with (b, s, r, e) for every entry with begin <= latent < end, in block, row and latent order. */
#define FOR_ENTRIES(source_, begin_, end_, body_)                                                                                   \
    for (size_t i_ = 0; i_ < (source_)->n; i_++) {                                                                                  \
        const qsr_block_work *b = &(source_)->blocks[i_];                                                                           \
        const qsr_use_stream *s = &b->stream[(source_)->stream];                                                                    \
        size_t from_ = qsr_max_size(begin_, s->begin), to_ = qsr_min_size(end_, s->end);                                            \
        const uint32_t *latent = s->code->latent;                                                                                   \
        for (size_t r = 0; from_ < to_ && r < s->code->rows; r++)                                                                   \
            for (size_t e = qsr_code_find(s->code, r, from_), last_ = s->code->row_begin[r + 1]; e < last_ && latent[e] < to_; e++) \
                body_;                                                                                                              \
    }

static void sum_entry(qsr_gradient *g, const qsr_use_stream *s, size_t e)
{
    size_t j = s->code->latent[e];
    if (s->d_pre) g->d_pre[j] += s->d_pre[e];
    if (s->d_norm) g->d_norm[j] += s->d_norm[e];
    for (int p = 0; p < 2; p++)
        if (s->d_param[p]) g->d_param[p][j] += s->d_param[p][e];
}

static size_t count_entries(const struct source *in, struct lists *l)
{
    memset(l->at, 0, sizeof l->at);
    FOR_ENTRIES(in, l->begin, l->end, { l->at[latent[e] - l->begin + 1]++; })
    for (size_t j = 0; j < PANEL; j++) l->at[j + 1] += l->at[j];
    return l->at[PANEL];
}

static void place_one_by_one(const struct source *in, qsr_gradient *g, struct lists *l)
{
    memcpy(l->next, l->at, sizeof l->next);
    FOR_ENTRIES(in, l->begin, l->end, {
        size_t item = l->next[latent[e] - l->begin]++;
        l->row[item] = (uint32_t)(i_ * in->block_rows + r);
        l->value[item] = s->code->value[e];
        l->d_pre[item] = s->d_pre ? s->d_pre[e] : 0;
        sum_entry(g, s, e);
    })
}

/* Slots of TILE latents have room for every row. */
static void place_in_tiles(const struct source *in, qsr_gradient *g, struct lists *l, size_t rows)
{
    size_t slots = qsr_div_up(l->end - l->begin, TILE);
    for (size_t t = 0; t < slots; t++) l->next[t] = l->at[t] = t * rows;
    memset(l->value, 0, slots * rows * TILE * sizeof *l->value);
    memset(l->d_pre, 0, slots * rows * TILE * sizeof *l->d_pre);
    FOR_ENTRIES(in, l->begin, l->end, {
        size_t j = latent[e] - l->begin;
        size_t t = j / TILE;
        uint32_t row = (uint32_t)(i_ * in->block_rows + r);
        if (l->next[t] == l->at[t] || l->row[l->next[t] - 1] != row) l->row[l->next[t]++] = row;
        size_t item = (l->next[t] - 1) * TILE + j % TILE;
        l->value[item] = s->code->value[e];
        l->d_pre[item] = s->d_pre ? s->d_pre[e] : 0;
        sum_entry(g, s, e);
    })
}

/* sums[latents of the panel][d] += the items times the rows of m, a strip at a time so that the rows stay in the L2 cache. */
static void add_lists(const struct lists *l, const float *factor, const float *m, size_t d, float *sums)
{
    const qsr_sparse_kernels *k = qsr_kernels_get()->sparse;
    size_t latents = l->end - l->begin;
    for (size_t c = 0; c < d; c += STRIP) {
        size_t width = qsr_min_size(STRIP, d - c);
        for (size_t j = 0; j < latents; j += l->per_slot) {
            size_t slot = j / l->per_slot, from = l->at[slot], n = l->next[slot] - from;
            if (n == 0) continue;
            qsr_gather *gather = l->per_slot == 1 ? k->gather_1 : k->gather_4;
            gather(l->row + from, factor + from * l->per_slot, n, m + c, d, width, sums + j * d + c, d);
        }
    }
}

static bool allocate_lists(struct lists *l, size_t items)
{
    l->row = qsr_block_raw(items, sizeof *l->row);
    l->value = qsr_block_raw(items, l->per_slot * sizeof *l->value);
    l->d_pre = qsr_block_raw(items, l->per_slot * sizeof *l->d_pre);
    return l->row && l->value && l->d_pre;
}

static void free_lists(struct lists *l)
{
    qsr_block_free(l->row);
    qsr_block_free(l->value);
    qsr_block_free(l->d_pre);
}

static size_t rows_of(const struct source *in)
{
    return (in->n - 1) * in->block_rows + in->blocks[in->n - 1].rows;
}

static bool add_source(const struct source *in, qsr_gradient *g, size_t begin, size_t end)
{
    struct lists l = {.begin = begin, .end = end, .per_slot = 1};
    size_t entries = count_entries(in, &l), d = g->d_in, rows = rows_of(in);
    if (entries == 0) return true;
    bool tiles = (end - begin) % TILE == 0 && qsr_sparse_is_dense(entries, rows, end - begin);
    if (tiles) l.per_slot = TILE;
    bool ok = allocate_lists(&l, tiles ? (end - begin) / TILE * rows : entries);
    if (ok) {
        if (tiles) place_in_tiles(in, g, &l, rows);
        else place_one_by_one(in, g, &l);
        const qsr_use_stream *s = &in->blocks->stream[in->stream];
        add_lists(&l, l.value, s->d_out, d, g->w_dec + begin * d);
        if (s->d_pre) add_lists(&l, l.d_pre, in->blocks->xc, d, g->w_enc + begin * d);
    }
    free_lists(&l);
    return ok;
}

static qsr_status add_panel(void *arg, size_t begin, size_t end)
{
    struct adding *in = arg;
    bool ok = true;
    if (in->merged) ok = add_source(&(struct source){in->blocks, in->n, 0, in->blocks->rows}, in->g, begin, end);
    for (size_t i = 0; !in->merged && i < in->n; i++)
        for (size_t s = 0; ok && s < in->blocks[i].n_streams; s++)
            ok = add_source(&(struct source){&in->blocks[i], 1, s, in->blocks[i].rows}, in->g, begin, end);
    if (ok) return QSR_OK;
    qsr_error e = {0};
    qsr_fail_nomem(&e, "ordering a code by latent", PANEL * sizeof(float));
    return qsr_first_error_note(&in->failed, begin, &e);
}

/* Sparse codes of all blocks are walked as one, so that a latent's gradients are fetched once; dense ones block by block, so that
 * the rows stay in the cache. */
static bool can_merge(const qsr_gradient *g, const qsr_block_work *blocks, size_t n)
{
    size_t entries = 0, rows = n ? blocks->rows : 0;
    for (size_t i = 0; i < n; i++) {
        const qsr_block_work *b = &blocks[i];
        bool alone = b->n_streams == 1 && b->stream->d_out == b->d_xhat && b->stream->d_pre;
        if (!alone || (i && (b->xc != blocks->xc + i * rows * g->d_in || b->d_xhat != blocks->d_xhat + i * rows * g->d_in)))
            return false;
        entries += b->stream->code->row_begin[b->stream->code->rows];
    }
    return n > 1 && entries < MANY * n * g->d_sae;
}

qsr_status qsr_gradient_add(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    struct adding in = {.g = g, .blocks = blocks, .n = n, .merged = can_merge(g, blocks, n)};
    qsr_first_error_init(&in.failed);
    qsr_status status = qsr_pool_run(pool, g->d_sae, PANEL, add_panel, &in);
    if (status && e) *e = in.failed.error;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < g->d_in; c++) g->d_bias[c] += blocks[i].d_bias[c];
    return status;
}

/* ---- finishing --------------------------------------------------------------------------------------------------- */

struct finishing {
    qsr_gradient *g;
    const qsr_params *p;
    double *squares; /* one per chunk */
};

static qsr_status finish_latents(void *arg, size_t begin, size_t end)
{
    const struct finishing *in = arg;
    qsr_gradient *g = in->g;
    size_t d = g->d_in;
    for (size_t j = begin; j < end; j++) {
        g->b_enc[j] = in->p->encoder_bias ? (float)g->d_pre[j] : 0;
        for (int p = 0; p < 2; p++)
            if (g->param[p]) g->param[p][j] = (float)g->d_param[p][j];
        if (!g->d_norm || g->d_norm[j] == 0) continue;
        const float *row = in->p->w_dec + j * d;
        double norm = qsr_row_norm(row, d); /* d||w|| / dw = w / ||w|| */
        for (size_t i = 0; norm > 0 && i < d; i++) g->w_dec[j * d + i] += (float)(g->d_norm[j] / norm * row[i]);
    }
    return QSR_OK;
}

static qsr_status finish_columns(void *arg, size_t begin, size_t end)
{
    const struct finishing *in = arg;
    double sum[COLUMNS_PER_CHUNK] = {0};
    size_t n = end - begin;
    for (size_t j = 0; in->p->pre_bias && j < in->g->d_sae; j++) {
        double d_pre = in->g->d_pre[j];
        if (d_pre == 0) continue;
        const float *row = in->p->w_enc + j * in->g->d_in + begin;
        for (size_t i = 0; i < n; i++) sum[i] += d_pre * row[i];
    }
    for (size_t i = 0; i < n; i++) in->g->b_dec[begin + i] = (float)(in->g->d_bias[begin + i] - sum[i]);
    return QSR_OK;
}

void qsr_gradient_finish(qsr_gradient *g, const qsr_params *p, qsr_pool *pool)
{
    struct finishing in = {.g = g, .p = p};
    qsr_pool_run(pool, g->d_sae, LATENTS_PER_CHUNK, finish_latents, &in);
    qsr_pool_run(pool, g->d_in, COLUMNS_PER_CHUNK, finish_columns, &in);
}

static qsr_status square_latents(void *arg, size_t begin, size_t end)
{
    const struct finishing *in = arg;
    size_t d = in->g->d_in, n = (end - begin) * d;
    in->squares[begin / LATENTS_PER_CHUNK] =
        qsr_row_squares(in->g->w_enc + begin * d, n) + qsr_row_squares(in->g->w_dec + begin * d, n);
    return QSR_OK;
}

double qsr_gradient_norm(const qsr_gradient *g, const qsr_params *p, qsr_pool *pool)
{
    size_t chunks = qsr_div_up(g->d_sae, LATENTS_PER_CHUNK);
    qsr_gradient copy = *g;
    struct finishing in = {&copy, p, qsr_xcalloc(chunks, sizeof(double))};
    qsr_pool_run(pool, g->d_sae, LATENTS_PER_CHUNK, square_latents, &in);
    double sum = 0;
    for (size_t i = 0; i < chunks; i++) sum += in.squares[i];
    free(in.squares);
    sum += qsr_row_squares(g->b_dec, g->d_in);
    if (p->encoder_bias) sum += qsr_row_squares(g->b_enc, g->d_sae);
    for (int i = 0; i < 2; i++)
        if (g->param[i]) sum += qsr_row_squares(g->param[i], g->d_sae);
    return sqrt(sum);
}

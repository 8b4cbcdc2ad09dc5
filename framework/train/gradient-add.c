/* Adds the outer products of blocks to the gradients of both matrices. A latent's rows are always one thread's. */
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/kernel.h"
#include "train/gradient.h"
#include "train/latent-order.h"

enum { PANEL = 256 };

/* Before something is added to the rows of a latent. */
static void use_rows(qsr_gradient *g, size_t j)
{
    if (g->rows[j] == QSR_ROWS_STALE) qsr_gradient_zero_rows(g, j);
    g->rows[j] = QSR_ROWS_SUMS;
}

/* ---- a block at a time: each task owns a panel of latents and walks some rows ------------------------------------- */

enum { ROWS = 256, STRIP = 384 }; /* ROWS times STRIP floats are 384 KiB */

struct adding {
    qsr_gradient *g;
    const qsr_block_work *blocks;
    size_t n;
    qsr_first_error failed;
};

/* Some rows of a stream in which latents of a panel are used: the entries of row r are from[r - row0] <= e < to[r - row0]. */
typedef struct {
    const qsr_block_work *block;
    const qsr_use_stream *stream;
    qsr_gradient *g;
    size_t begin, end; /* latents of the panel */
    size_t row0, rows;
    size_t from[ROWS], to[ROWS], entries;
} part;

static void take_part(part *p)
{
    const qsr_use_stream *s = p->stream;
    size_t begin = qsr_max_size(p->begin, s->begin), end = qsr_min_size(p->end, s->end);
    p->entries = 0;
    for (size_t r = 0; r < p->rows; r++) {
        size_t e = begin < end ? qsr_code_find(s->code, p->row0 + r, begin) : 0, stop = s->code->row_begin[p->row0 + r + 1];
        p->from[r] = e;
        while (begin < end && e < stop && s->code->latent[e] < end) e++;
        p->to[r] = e;
        p->entries += e - p->from[r];
    }
}

static void sum_entry(const part *p, size_t e)
{
    const qsr_use_stream *s = p->stream;
    qsr_gradient *g = p->g;
    size_t j = s->code->latent[e];
    if (s->d_pre) g->d_pre[j] += s->d_pre[e];
    if (s->d_norm) g->d_norm[j] += s->d_norm[e];
    for (int i = 0; i < 2; i++)
        if (s->d_param[i]) g->d_param[i][j] += s->d_param[i][e];
}

static const float *outputs_of(const part *p) { return p->stream->d_out + p->row0 * p->g->d_in; }
static const float *inputs_of(const part *p) { return p->block->xc + p->row0 * p->g->d_in; }

/* ---- in quartets of latents */

static void put_row(const part *p, size_t row, qsr_quartets *t)
{
    const qsr_use_stream *s = p->stream;
    size_t panel = row / QSR_QUARTET_PANEL, item = row % QSR_QUARTET_PANEL;
    uint8_t *restrict mask = qsr_quartets_mask(t, panel, 0) + item;
    float *restrict value = qsr_quartets_value(t, 0, panel, 0) + QSR_QUARTET * item;
    float *restrict d_pre = qsr_quartets_value(t, 1, panel, 0) + QSR_QUARTET * item;
    for (size_t e = p->from[row]; e < p->to[row]; e++) {
        size_t j = s->code->latent[e] - p->begin, q = j / QSR_QUARTET, o = j % QSR_QUARTET;
        mask[q * QSR_QUARTET_PANEL] |= (uint8_t)(1u << o);
        value[q * QSR_QUARTET_STRIDE + o] = s->code->value[e];
        d_pre[q * QSR_QUARTET_STRIDE + o] = s->d_pre ? s->d_pre[e] : 0;
        sum_entry(p, e);
    }
}

static void add_quartets(const part *p)
{
    size_t d = p->g->d_in;
    qsr_quartets t;
    qsr_quartets_create((p->end - p->begin) / QSR_QUARTET, p->rows, 2, &t);
    for (size_t j = p->begin; j < p->end; j++) use_rows(p->g, j);
    for (size_t r = 0; r < p->rows; r++) put_row(p, r, &t);
    qsr_quartets_sort(&t);
    qsr_quartets_gather(&t, t.value[0], outputs_of(p), d, d, p->g->w_dec + p->begin * d, d);
    if (p->stream->d_pre) qsr_quartets_gather(&t, t.value[1], inputs_of(p), d, d, p->g->w_enc + p->begin * d, d);
    qsr_quartets_free(&t);
}

/* ---- latent by latent */

/* The part in latent order: latent begin + j has the items at[j] <= i < at[j + 1]. */
struct lists {
    size_t at[PANEL + 1];
    size_t next[PANEL]; /* where the next item of a latent goes */
    uint32_t *row;      /* per item: counted from the part's first */
    float *value, *d_pre;
};

static void count_entries(struct lists *l, const part *p)
{
    for (size_t r = 0; r < p->rows; r++)
        for (size_t e = p->from[r]; e < p->to[r]; e++) l->at[p->stream->code->latent[e] - p->begin + 1]++;
    for (size_t j = 0; j < PANEL; j++) l->at[j + 1] += l->at[j];
    memcpy(l->next, l->at, sizeof l->next);
}

static void place_entry(struct lists *l, const part *p, size_t row, size_t e)
{
    size_t item = l->next[p->stream->code->latent[e] - p->begin]++;
    l->row[item] = (uint32_t)row;
    l->value[item] = p->stream->code->value[e];
    l->d_pre[item] = p->stream->d_pre ? p->stream->d_pre[e] : 0;
    sum_entry(p, e);
}

/* sums[latents of the panel][d] += the items times the rows of m, a strip at a time so that the rows stay in the L2 cache. */
static void add_lists(const struct lists *l, size_t latents, const float *factor, const float *m, size_t d, float *sums)
{
    const qsr_sparse_kernels *k = qsr_kernels_get()->sparse;
    for (size_t c = 0; c < d; c += STRIP)
        for (size_t j = 0; j < latents; j++) {
            size_t from = l->at[j], n = l->at[j + 1] - from;
            if (n) k->gather(l->row + from, factor + from, n, m + c, d, qsr_min_size(STRIP, d - c), sums + j * d + c);
        }
}

static bool add_latents(const part *p)
{
    struct lists l = {.row = qsr_block_raw(p->entries, sizeof *l.row),
                      .value = qsr_block_raw(p->entries, sizeof *l.value),
                      .d_pre = qsr_block_raw(p->entries, sizeof *l.d_pre)};
    size_t d = p->g->d_in, latents = p->end - p->begin;
    bool ok = l.row && l.value && l.d_pre;
    if (ok) {
        count_entries(&l, p);
        for (size_t j = 0; j < latents; j++)
            if (l.at[j] < l.at[j + 1]) use_rows(p->g, p->begin + j);
        for (size_t r = 0; r < p->rows; r++)
            for (size_t e = p->from[r]; e < p->to[r]; e++) place_entry(&l, p, r, e);
        add_lists(&l, latents, l.value, outputs_of(p), d, p->g->w_dec + p->begin * d);
        if (p->stream->d_pre) add_lists(&l, latents, l.d_pre, inputs_of(p), d, p->g->w_enc + p->begin * d);
    }
    qsr_block_free(l.row);
    qsr_block_free(l.value);
    qsr_block_free(l.d_pre);
    return ok;
}

/* ---- panels */

static bool add_part(part *p)
{
    take_part(p);
    if (p->entries == 0) return true;
    size_t latents = p->end - p->begin;
    if (latents % QSR_QUARTET || !qsr_quartet_pays(p->entries, p->rows, latents)) return add_latents(p);
    add_quartets(p);
    return true;
}

static bool add_stream(const qsr_block_work *b, const qsr_use_stream *s, qsr_gradient *g, size_t begin, size_t end)
{
    part p = {.block = b, .stream = s, .g = g, .begin = begin, .end = end};
    bool ok = true;
    for (; ok && p.row0 < s->code->rows; p.row0 += ROWS) {
        p.rows = qsr_min_size(ROWS, s->code->rows - p.row0);
        ok = add_part(&p);
    }
    return ok;
}

static qsr_status add_panel(void *arg, size_t begin, size_t end)
{
    struct adding *in = arg;
    bool ok = true;
    for (size_t i = 0; i < in->n; i++)
        for (size_t s = 0; ok && s < in->blocks[i].n_streams; s++)
            ok = add_stream(&in->blocks[i], &in->blocks[i].stream[s], in->g, begin, end);
    if (ok) return QSR_OK;
    qsr_error e = {0};
    qsr_fail_nomem(&e, "ordering a code by latent", PANEL * sizeof(float));
    return qsr_first_error_note(&in->failed, begin, &e);
}

static qsr_status add_in_panels(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    struct adding in = {.g = g, .blocks = blocks, .n = n};
    qsr_first_error_init(&in.failed);
    qsr_status status = qsr_pool_run(pool, g->d_sae, PANEL, add_panel, &in);
    if (status && e) *e = in.failed.error;
    return status;
}

/* ---- adding sparse codes: all blocks at once, in latent order ----------------------------------------------------- */

/* A task owns a strip of NARROW columns of one of the matrices, of which the rows of all blocks fit into the L2 cache. */
enum { NARROW = 32, MANY = 20 };

struct ordered {
    qsr_gradient *g;
    qsr_latent_order order;
    const float *xc, *d_out; /* [rows][d_in] */
    size_t rows, strips;
};

static void pack_strip(const float *from, size_t rows, size_t d, size_t width, float *to)
{
    for (size_t r = 0; r < rows; r++) memcpy(to + r * NARROW, from + r * d, width * sizeof *to);
}

static qsr_status add_strips(void *arg, size_t begin, size_t end)
{
    const struct ordered *in = arg;
    const qsr_latent_order *o = &in->order;
    const qsr_sparse_kernels *k = qsr_kernels_get()->sparse;
    size_t d = in->g->d_in;
    float *packed = qsr_block_raw(in->rows, NARROW * sizeof *packed);
    if (!packed) return QSR_E_NOMEM;
    for (size_t t = begin; t < end; t++) {
        bool dec = t < in->strips;
        size_t c = t % in->strips * NARROW, width = qsr_min_size(NARROW, d - c);
        pack_strip((dec ? in->d_out : in->xc) + c, in->rows, d, width, packed);
        const float *factor = dec ? o->value : o->d_pre;
        float *sums = (dec ? in->g->w_dec : in->g->w_enc) + c;
        for (size_t j = 0; j < o->d_sae; j++) {
            size_t from = o->at[j], n = o->at[j + 1] - from;
            if (n == 0) continue;
            if (in->g->rows[j] == QSR_ROWS_STALE) memset(sums + j * d, 0, width * sizeof *sums);
            k->gather(o->row + from, factor + from, n, packed, NARROW, width, sums + j * d);
        }
    }
    qsr_block_free(packed);
    return QSR_OK;
}

static qsr_status sum_latents(void *arg, size_t begin, size_t end)
{
    const struct ordered *in = arg;
    const qsr_latent_order *o = &in->order;
    qsr_gradient *g = in->g;
    for (size_t j = begin; j < end; j++) {
        for (size_t i = o->at[j]; i < o->at[j + 1]; i++) {
            g->d_pre[j] += o->d_pre[i];
            if (o->d_norm) g->d_norm[j] += o->d_norm[i];
            for (int p = 0; p < 2; p++)
                if (o->d_param[p]) g->d_param[p][j] += o->d_param[p][i];
        }
        if (o->at[j] < o->at[j + 1]) g->rows[j] = QSR_ROWS_SUMS;
    }
    return QSR_OK;
}

static qsr_status add_in_latent_order(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    struct ordered in = {.g = g,
                         .xc = blocks->xc,
                         .d_out = blocks->d_xhat,
                         .rows = (n - 1) * blocks->rows + blocks[n - 1].rows,
                         .strips = qsr_div_up(g->d_in, NARROW)};
    qsr_status status = qsr_latent_order_make(blocks, n, g->d_sae, pool, &in.order, e);
    if (status) return status;
    status = qsr_pool_run(pool, 2 * in.strips, 1, add_strips, &in);
    if (status)
        qsr_fail_nomem(e, "a strip of rows", in.rows * NARROW * sizeof(float));
    else
        qsr_pool_run(pool, g->d_sae, PANEL, sum_latents, &in);
    qsr_latent_order_free(&in.order);
    return status;
}

/* ---- which way --------------------------------------------------------------------------------------------------- */

/* Whether a block is sparse and has one stream, of which everything is used. Such blocks are put into latent order, the more of them together
 * the better: a latent's gradients are fetched once. Of others the rows stay in the cache, block by block. Decided for each block alone,
 * because the order of additions may differ; together or not, each latent's sums go on from block to block. */
static bool is_sparse(const qsr_gradient *g, const qsr_block_work *b)
{
    const qsr_use_stream *s = b->stream;
    bool whole = b->n_streams == 1 && s->begin == 0 && s->end == g->d_sae && s->d_pre && s->d_out == b->d_xhat;
    return whole && s->code->row_begin[s->code->rows] * MANY < b->rows * g->d_sae;
}

/* How many of n blocks go the way of the first. The rows of sparse ones must follow each other in memory. */
static size_t count_alike(const qsr_gradient *g, const qsr_block_work *blocks, size_t n)
{
    bool sparse = is_sparse(g, blocks);
    size_t i = 1;
    for (; i < n && is_sparse(g, &blocks[i]) == sparse; i++) {
        size_t at = i * blocks->rows * g->d_in;
        if (sparse && (blocks[i].xc != blocks->xc + at || blocks[i].d_xhat != blocks->d_xhat + at)) break;
    }
    return i;
}

qsr_status qsr_gradient_add(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0, alike; !status && i < n; i += alike) {
        alike = count_alike(g, blocks + i, n - i);
        status = (is_sparse(g, &blocks[i]) ? add_in_latent_order : add_in_panels)(g, blocks + i, alike, pool, e);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < g->d_in; c++) g->d_bias[c] += blocks[i].d_bias[c];
    return status;
}

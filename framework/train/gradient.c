#include "train/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/kernel.h"
#include "math/rows.h"
#include "train/latent-order.h"

enum { PANEL = 256, LATENTS_PER_CHUNK = 64, LATENTS_PER_SHARE = 512 };

qsr_status qsr_gradient_create(const qsr_params *p, unsigned params, bool norms, qsr_gradient *ret, qsr_error *e)
{
    size_t d = p->d_in, n = p->d_sae;
    *ret = (qsr_gradient){.d_in = d, .d_sae = n};
    bool ok = (ret->rows = qsr_block_alloc(n, 1)) && (ret->w_enc = qsr_block_alloc(n, d * sizeof(float))) && (ret->w_dec = qsr_block_alloc(n, d * sizeof(float))) &&
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
    void *blocks[] = {g->rows,   g->w_enc,  g->w_dec,    g->b_enc,    g->b_dec,      g->d_pre,
                      g->d_bias, g->d_norm, g->param[0], g->param[1], g->d_param[0], g->d_param[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    *g = (qsr_gradient){0};
}

/* The matrices are not written: their rows are when they are first used. */
void qsr_gradient_clear(qsr_gradient *g)
{
    size_t n = g->d_sae * sizeof(double);
    memset(g->d_bias, 0, g->d_in * sizeof(double));
    memset(g->d_pre, 0, n);
    if (g->d_norm) memset(g->d_norm, 0, n);
    for (int p = 0; p < 2; p++)
        if (g->d_param[p]) memset(g->d_param[p], 0, n);
    for (size_t j = 0; j < g->d_sae; j++)
        if (g->rows[j] == QSR_ROWS_SUMS) g->rows[j] = QSR_ROWS_STALE;
}

static void clear_rows(qsr_gradient *g, size_t j)
{
    memset(g->w_enc + j * g->d_in, 0, g->d_in * sizeof(float));
    memset(g->w_dec + j * g->d_in, 0, g->d_in * sizeof(float));
}

/* Before something is added to the rows of a latent. */
static void use_rows(qsr_gradient *g, size_t j)
{
    if (g->rows[j] == QSR_ROWS_STALE) clear_rows(g, j);
    g->rows[j] = QSR_ROWS_SUMS;
}

/* ---- adding blocks: each task owns a panel of latents and walks all rows ------------------------------------------ */

enum { TILE = 4, ROWS = 256, STRIP = 384 }; /* ROWS times STRIP floats are 384 KiB */

struct adding {
    qsr_gradient *g;
    const qsr_block_work *blocks;
    size_t n;
    qsr_first_error failed;
};

/* Rows of one stream in which some latents of a panel are used: the code in latent order. A slot is a latent, or TILE of them that
 * share their rows, with zeros filled in. */
struct lists {
    size_t begin, end;    /* latents */
    size_t row0, row1;    /* rows of the block */
    size_t per_slot;      /* 1 or TILE */
    size_t at[PANEL + 1]; /* slot s has the items at[s] <= i < at[s + 1] */
    size_t next[PANEL];   /* where the next item of a slot goes */
    uint32_t *row;        /* per item: row, counted from the first row of the blocks */
    float *value, *d_pre; /* [item][per_slot] */
};

/* Calls `visit`, which is meant to be inlined, with every entry of a stream whose latent is in the lists, in row and latent order. */
typedef void (*entry_visitor)(struct lists *, qsr_gradient *, const qsr_use_stream *, size_t row, size_t entry);

static inline __attribute__((always_inline)) void walk(const qsr_use_stream *s, struct lists *l, qsr_gradient *g,
                                                       entry_visitor visit)
{
    size_t from = qsr_max_size(l->begin, s->begin), to = qsr_min_size(l->end, s->end);
    for (size_t r = l->row0; from < to && r < l->row1; r++)
        for (size_t e = qsr_code_find(s->code, r, from); e < s->code->row_begin[r + 1] && s->code->latent[e] < to; e++)
            visit(l, g, s, r, e);
}

static void sum_entry(qsr_gradient *g, const qsr_use_stream *s, size_t e)
{
    size_t j = s->code->latent[e];
    if (s->d_pre) g->d_pre[j] += s->d_pre[e];
    if (s->d_norm) g->d_norm[j] += s->d_norm[e];
    for (int p = 0; p < 2; p++)
        if (s->d_param[p]) g->d_param[p][j] += s->d_param[p][e];
}

static void count_entry(struct lists *l, qsr_gradient *g, const qsr_use_stream *s, size_t row, size_t e)
{
    (void)g, (void)row;
    l->at[s->code->latent[e] - l->begin + 1]++;
}

static void put(struct lists *l, const qsr_use_stream *s, size_t at, size_t e)
{
    l->value[at] = s->code->value[e];
    l->d_pre[at] = s->d_pre ? s->d_pre[e] : 0;
}

static void place_entry(struct lists *l, qsr_gradient *g, const qsr_use_stream *s, size_t row, size_t e)
{
    size_t item = l->next[s->code->latent[e] - l->begin]++;
    l->row[item] = (uint32_t)row;
    put(l, s, item, e);
    sum_entry(g, s, e);
}

static void place_in_tile(struct lists *l, qsr_gradient *g, const qsr_use_stream *s, size_t row, size_t e)
{
    size_t j = s->code->latent[e] - l->begin, t = j / TILE;
    if (l->next[t] == l->at[t] || l->row[l->next[t] - 1] != row) l->row[l->next[t]++] = (uint32_t)row;
    put(l, s, (l->next[t] - 1) * TILE + j % TILE, e);
    sum_entry(g, s, e);
}

static size_t count_entries(const qsr_use_stream *s, struct lists *l)
{
    walk(s, l, NULL, count_entry);
    for (size_t j = 0; j < PANEL; j++) l->at[j + 1] += l->at[j];
    return l->at[PANEL];
}

/* Slots of TILE latents have room for every row. */
static void make_tiles(struct lists *l, size_t rows)
{
    size_t slots = (l->end - l->begin) / TILE, floats = slots * rows * TILE;
    for (size_t t = 0; t < slots; t++) l->next[t] = l->at[t] = t * rows;
    memset(l->value, 0, floats * sizeof *l->value);
    memset(l->d_pre, 0, floats * sizeof *l->d_pre);
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

/* Some rows of a stream. */
static bool add_rows(const qsr_block_work *b, const qsr_use_stream *s, qsr_gradient *g, size_t row0, size_t row1,
                     size_t begin, size_t end)
{
    struct lists l = {.begin = begin, .end = end, .row0 = row0, .row1 = row1, .per_slot = 1};
    size_t entries = count_entries(s, &l), d = g->d_in, rows = row1 - row0;
    if (entries == 0) return true;
    bool tiles = (end - begin) % TILE == 0 && qsr_sparse_is_dense(entries, rows, end - begin);
    if (tiles) l.per_slot = TILE;
    bool ok = allocate_lists(&l, tiles ? (end - begin) / TILE * rows : entries);
    if (ok) {
        for (size_t j = begin; j < end; j++)
            if (tiles || l.at[j - begin] < l.at[j - begin + 1]) use_rows(g, j);
        if (tiles)
            make_tiles(&l, rows);
        else
            memcpy(l.next, l.at, sizeof l.next);
        if (tiles)
            walk(s, &l, g, place_in_tile);
        else
            walk(s, &l, g, place_entry);
        add_lists(&l, l.value, s->d_out, d, g->w_dec + begin * d);
        if (s->d_pre) add_lists(&l, l.d_pre, b->xc, d, g->w_enc + begin * d);
    }
    free_lists(&l);
    return ok;
}

static bool add_stream(const qsr_block_work *b, const qsr_use_stream *s, qsr_gradient *g, size_t begin, size_t end)
{
    bool ok = true;
    for (size_t r = 0; ok && r < s->code->rows; r += ROWS)
        ok = add_rows(b, s, g, r, qsr_min_size(r + ROWS, s->code->rows), begin, end);
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
            k->gather_1(o->row + from, factor + from, n, packed, NARROW, width, sums + j * d, d);
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

/* Whether the blocks are sparse, have one stream each, and their rows follow each other in memory. The sums are the same either way:
 * in latent order a latent's gradients are fetched once, block by block the rows of a dense code stay in the cache. */
static bool is_sparse(const qsr_gradient *g, const qsr_block_work *blocks, size_t n)
{
    size_t entries = 0, rows = 0;
    for (size_t i = 0; i < n; i++) {
        const qsr_block_work *b = &blocks[i];
        size_t at = i * blocks->rows * g->d_in;
        bool whole = b->n_streams == 1 && b->stream->begin == 0 && b->stream->end == g->d_sae && b->stream->d_pre;
        if (!whole || b->stream->d_out != b->d_xhat || b->xc != blocks->xc + at || b->d_xhat != blocks->d_xhat + at)
            return false;
        entries += b->stream->code->row_begin[b->stream->code->rows];
        rows += b->rows;
    }
    return n > 0 && entries * MANY < rows * g->d_sae;
}

qsr_status qsr_gradient_add(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    qsr_status status;
    if (is_sparse(g, blocks, n)) {
        status = add_in_latent_order(g, blocks, n, pool, e);
    } else {
        struct adding in = {.g = g, .blocks = blocks, .n = n};
        qsr_first_error_init(&in.failed);
        status = qsr_pool_run(pool, g->d_sae, PANEL, add_panel, &in);
        if (status && e) *e = in.failed.error;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < g->d_in; c++) g->d_bias[c] += blocks[i].d_bias[c];
    return status;
}

/* ---- finishing --------------------------------------------------------------------------------------------------- */

struct finishing {
    qsr_gradient *g;
    const qsr_params *p;
    double *squares; /* one per chunk */
    double *shares;  /* [chunks][d_in] */
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
        if (g->rows[j] == QSR_ROWS_STALE) {
            clear_rows(g, j);
            g->rows[j] = QSR_ROWS_ZERO;
        }
        if (!g->d_norm || g->d_norm[j] == 0) continue;
        g->rows[j] = QSR_ROWS_SUMS;
        const float *row = in->p->w_dec + j * d;
        double norm = qsr_row_norm(row, d); /* d||w|| / dw = w / ||w|| */
        for (size_t i = 0; norm > 0 && i < d; i++) g->w_dec[j * d + i] += (float)(g->d_norm[j] / norm * row[i]);
    }
    return QSR_OK;
}

/* shares[chunk][d_in] = the chunk's part of sum_j d_pre_j W_enc,j. */
static qsr_status pull_latents(void *arg, size_t begin, size_t end)
{
    const struct finishing *in = arg;
    size_t d = in->g->d_in;
    double *sum = in->shares + begin / LATENTS_PER_SHARE * d;
    memset(sum, 0, d * sizeof *sum);
    for (size_t j = begin; j < end; j++) {
        double d_pre = in->g->d_pre[j];
        if (d_pre == 0) continue;
        const float *row = in->p->w_enc + j * d;
        for (size_t i = 0; i < d; i++) sum[i] += d_pre * row[i];
    }
    return QSR_OK;
}

/* The gradient of b_dec: as an output bias, and through x - b_dec. */
static qsr_status finish_b_dec(qsr_gradient *g, const qsr_params *p, qsr_pool *pool, qsr_error *e)
{
    size_t d = g->d_in, chunks = p->pre_bias ? qsr_div_up(g->d_sae, LATENTS_PER_SHARE) : 0;
    struct finishing in = {.g = g, .p = p, .shares = qsr_block_raw(chunks * d, sizeof(double))};
    if (!in.shares) return qsr_fail_nomem(e, "a bias's gradient", chunks * d * sizeof(double));
    if (chunks) qsr_pool_run(pool, g->d_sae, LATENTS_PER_SHARE, pull_latents, &in);
    for (size_t i = 0; i < d; i++) {
        double pull = 0;
        for (size_t c = 0; c < chunks; c++) pull += in.shares[c * d + i];
        g->b_dec[i] = (float)(g->d_bias[i] - pull);
    }
    qsr_block_free(in.shares);
    return QSR_OK;
}

qsr_status qsr_gradient_finish(qsr_gradient *g, const qsr_params *p, qsr_pool *pool, qsr_error *e)
{
    struct finishing in = {.g = g, .p = p};
    qsr_pool_run(pool, g->d_sae, LATENTS_PER_CHUNK, finish_latents, &in);
    return finish_b_dec(g, p, pool, e);
}

static qsr_status square_latents(void *arg, size_t begin, size_t end)
{
    const struct finishing *in = arg;
    size_t d = in->g->d_in;
    double sum = 0;
    for (size_t j = begin; j < end; j++)
        if (in->g->rows[j] != QSR_ROWS_ZERO)
            sum += qsr_row_squares(in->g->w_enc + j * d, d) + qsr_row_squares(in->g->w_dec + j * d, d);
    in->squares[begin / LATENTS_PER_CHUNK] = sum;
    return QSR_OK;
}

double qsr_gradient_norm(const qsr_gradient *g, const qsr_params *p, qsr_pool *pool)
{
    size_t chunks = qsr_div_up(g->d_sae, LATENTS_PER_CHUNK);
    qsr_gradient copy = *g;
    struct finishing in = {&copy, p, qsr_xcalloc(chunks, sizeof(double)), NULL};
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

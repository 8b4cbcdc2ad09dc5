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

struct adding {
    qsr_gradient *g;
    const qsr_block_work *blocks;
    size_t n;
    qsr_first_error failed;
};

/* Calls `visit` for every entry with begin <= latent < end, in block, stream, row and latent order. */
typedef void (*entry_visitor)(void *arg, const qsr_block_work *, const qsr_use_stream *, size_t row, size_t entry);

static void walk_stream(const qsr_block_work *b, const qsr_use_stream *s, size_t begin, size_t end, entry_visitor visit, void *arg)
{
    size_t from = qsr_max_size(begin, s->begin), to = qsr_min_size(end, s->end);
    if (from >= to) return;
    for (size_t r = 0; r < s->code->rows; r++)
        for (size_t e = qsr_code_find(s->code, r, from); e < s->code->row_begin[r + 1] && s->code->latent[e] < to; e++)
            visit(arg, b, s, r, e);
}

static void walk(const struct adding *in, size_t begin, size_t end, entry_visitor visit, void *arg)
{
    for (size_t i = 0; i < in->n; i++)
        for (size_t s = 0; s < in->blocks[i].n_streams; s++)
            walk_stream(&in->blocks[i], &in->blocks[i].stream[s], begin, end, visit, arg);
}

struct panel {
    qsr_gradient *g;
    size_t begin;
    size_t at[PANEL + 1]; /* first a count per latent, then where its next use goes */
    qsr_use *use;
};

static void count_entry(void *arg, const qsr_block_work *b, const qsr_use_stream *s, size_t row, size_t e)
{
    struct panel *panel = arg;
    (void)b, (void)row;
    panel->at[s->code->latent[e] - panel->begin + 1]++;
}

static void place_entry(void *arg, const qsr_block_work *b, const qsr_use_stream *s, size_t row, size_t e)
{
    struct panel *panel = arg;
    qsr_gradient *g = panel->g;
    size_t j = s->code->latent[e];
    float d_pre = s->d_pre ? s->d_pre[e] : 0;
    panel->use[panel->at[j - panel->begin]++] =
        (qsr_use){s->d_out + row * g->d_in, b->xc + row * g->d_in, s->code->value[e], d_pre};
    g->d_pre[j] += d_pre;
    if (s->d_norm) g->d_norm[j] += s->d_norm[e];
    for (int p = 0; p < 2; p++)
        if (s->d_param[p]) g->d_param[p][j] += s->d_param[p][e];
}

static qsr_status add_panel(void *arg, size_t begin, size_t end)
{
    struct adding *in = arg;
    struct panel panel = {.g = in->g, .begin = begin};
    walk(in, begin, end, count_entry, &panel);
    for (size_t j = 0; j < end - begin; j++) panel.at[j + 1] += panel.at[j];
    size_t total = panel.at[end - begin];
    if (total == 0) return QSR_OK;
    panel.use = qsr_block_raw(total, sizeof *panel.use);
    if (!panel.use) {
        qsr_error e = {0};
        qsr_fail_nomem(&e, "ordering a code by latent", total * sizeof *panel.use);
        return qsr_first_error_note(&in->failed, begin, &e);
    }
    walk(in, begin, end, place_entry, &panel);
    const qsr_kernels *k = qsr_kernels_get();
    size_t d = in->g->d_in, from = 0; /* after placing, at[j] is the end of latent j's uses */
    for (size_t j = begin; j < end; j++) {
        size_t to = panel.at[j - begin];
        if (to > from) k->latent_gradients(panel.use + from, to - from, d, in->g->w_dec + j * d, in->g->w_enc + j * d);
        from = to;
    }
    qsr_block_free(panel.use);
    return QSR_OK;
}

qsr_status qsr_gradient_add(qsr_gradient *g, const qsr_block_work *blocks, size_t n, qsr_pool *pool, qsr_error *e)
{
    struct adding in = {.g = g, .blocks = blocks, .n = n};
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

#include "train/gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/rows.h"

enum { LATENTS_PER_CHUNK = 64, LATENTS_PER_SHARE = 512 };

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

void qsr_gradient_zero_rows(qsr_gradient *g, size_t j)
{
    memset(g->w_enc + j * g->d_in, 0, g->d_in * sizeof(float));
    memset(g->w_dec + j * g->d_in, 0, g->d_in * sizeof(float));
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
            qsr_gradient_zero_rows(g, j);
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

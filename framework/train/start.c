#include "train/start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/rows.h"

enum { SAMPLE_ROWS = 65536, ROWS_AT_ONCE = 4096, MEDIAN_ROUNDS = 100 };

/* Calls `take` for the sample's rows, a piece at a time, normalised or raw. */
typedef void (*row_taker)(void *arg, const float *rows, size_t n, size_t d);

static qsr_status sample(const qsr_learner *l, const qsr_dataset *data, bool normalised, row_taker take, void *arg, qsr_error *e)
{
    size_t d = l->d_in;
    qsr_cursor *cursor;
    qsr_status status = qsr_cursor_create(data, &l->spec->data, &cursor, e);
    if (status) return status;
    uint64_t left = qsr_cursor_epoch_rows(cursor);
    if (left > SAMPLE_ROWS) left = SAMPLE_ROWS;
    float *rows = qsr_block_raw(ROWS_AT_ONCE, d * sizeof(float));
    if (!rows) status = qsr_fail_nomem(e, "the sample of rows", ROWS_AT_ONCE * d * sizeof(float));
    while (!status && left) {
        size_t n = qsr_min_size((size_t)left, ROWS_AT_ONCE), got;
        status = qsr_cursor_next(cursor, n, rows, &got, e);
        if (status) break;
        if (normalised) qsr_normalise_rows(&l->sae.normalise, rows, got, d, rows, NULL);
        take(arg, rows, got, d);
        left -= got;
    }
    qsr_block_free(rows);
    qsr_cursor_free(cursor);
    return status == QSR_END ? QSR_OK : status;
}

/* ---- the dataset's scale ----------------------------------------------------------------------------------------- */

struct norm_sum {
    double sum;
    uint64_t rows;
};

static void take_norms(void *arg, const float *rows, size_t n, size_t d)
{
    struct norm_sum *s = arg;
    for (size_t r = 0; r < n; r++) s->sum += qsr_row_norm(rows + r * d, d);
    s->rows += n;
}

static qsr_status estimate_scale(qsr_learner *l, const qsr_dataset *data, qsr_error *e)
{
    if (l->sae.normalise.mode != QSR_NORMALISE_DATASET) return QSR_OK;
    struct norm_sum s = {0};
    qsr_status status = sample(l, data, false, take_norms, &s, e);
    if (status) return status;
    if (!(s.sum > 0)) return qsr_fail(e, QSR_E_INPUT, "sae.normalize: dataset cannot scale rows that are all zero");
    l->sae.normalise.scale = sqrt((double)l->d_in) / (s.sum / (double)s.rows);
    return QSR_OK;
}

/* ---- the initial b_dec ------------------------------------------------------------------------------------------- */

struct mean {
    double *sum;
    uint64_t rows;
};

static void take_mean(void *arg, const float *rows, size_t n, size_t d)
{
    struct mean *m = arg;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < d; i++) m->sum[i] += rows[r * d + i];
    m->rows += n;
}

static qsr_status start_at_mean(qsr_learner *l, const qsr_dataset *data, qsr_error *e)
{
    struct mean m = {qsr_xcalloc(l->d_in, sizeof(double)), 0};
    qsr_status status = sample(l, data, true, take_mean, &m, e);
    for (size_t i = 0; !status && i < l->d_in; i++) l->sae.params.b_dec[i] = (float)(m.sum[i] / (double)m.rows);
    free(m.sum);
    return status;
}

struct collected {
    float *rows;
    size_t n;
};

static void take_rows(void *arg, const float *rows, size_t n, size_t d)
{
    struct collected *c = arg;
    memcpy(c->rows + c->n * d, rows, n * d * sizeof *rows);
    c->n += n;
}

/* next = the mean of rows weighted by 1 / distance to `at`; returns how far it moved. */
static double weiszfeld_round(const struct collected *c, size_t d, double *at, double *next)
{
    double weights = 0, moved = 0;
    memset(next, 0, d * sizeof *next);
    for (size_t r = 0; r < c->n; r++) {
        const float *row = c->rows + r * d;
        double squares = 0;
        for (size_t i = 0; i < d; i++) squares += (row[i] - at[i]) * (row[i] - at[i]);
        double weight = 1 / fmax(sqrt(squares), 1e-12);
        weights += weight;
        for (size_t i = 0; i < d; i++) next[i] += weight * row[i];
    }
    for (size_t i = 0; i < d; i++) {
        next[i] /= weights;
        moved += (next[i] - at[i]) * (next[i] - at[i]);
        at[i] = next[i];
    }
    return sqrt(moved);
}

/* The geometric median by Weiszfeld's iteration from the mean: at most 100 rounds, until a round moves less than 1e-5 (as in
 * Gao et al. 2024, arXiv 2406.04093, and dictionary_learning). */
static qsr_status start_at_median(qsr_learner *l, const qsr_dataset *data, qsr_error *e)
{
    size_t d = l->d_in;
    qsr_status status = start_at_mean(l, data, e);
    struct collected c = {qsr_block_raw(SAMPLE_ROWS, d * sizeof(float)), 0};
    double *at = qsr_xcalloc(2 * d, sizeof(double));
    if (!status && !c.rows) status = qsr_fail_nomem(e, "the sample for geometric_median", SAMPLE_ROWS * d * sizeof(float));
    if (!status) status = sample(l, data, true, take_rows, &c, e);
    for (size_t i = 0; !status && i < d; i++) at[i] = l->sae.params.b_dec[i];
    for (int round = 0; !status && round < MEDIAN_ROUNDS; round++)
        if (weiszfeld_round(&c, d, at, at + d) < 1e-5) break;
    for (size_t i = 0; !status && i < d; i++) l->sae.params.b_dec[i] = (float)at[i];
    qsr_block_free(c.rows);
    free(at);
    return status;
}

qsr_status qsr_learner_start(qsr_learner *l, const qsr_dataset *data, qsr_error *e)
{
    const qsr_sae_options *o = &l->spec->sae;
    qsr_status status = estimate_scale(l, data, e);
    if (status) return status;
    if (o->init_from) {
        status = qsr_params_load(&l->sae.params, o->init_from, l->sae.activation, e);
    } else {
        qsr_params_init(&l->sae.params, o->init, o->init_scale, l->spec->seed, l->pool);
        if (strcmp(o->b_dec_init, "mean") == 0) status = start_at_mean(l, data, e);
        else if (strcmp(o->b_dec_init, "geometric_median") == 0) status = start_at_median(l, data, e);
    }
    if (!status) qsr_sae_refresh(&l->sae);
    return status;
}

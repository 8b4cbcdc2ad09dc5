#include "train/start.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/rows.h"

enum { ROWS_AT_ONCE = 4096, MEDIAN_ROUNDS = 100 };

/* A dataset scale s is known only at the end, but the mean of s * raw is s times the mean of raw: one pass serves both. */
struct qsr_starter {
    qsr_learner *learner;
    bool mean, median, scale; /* what is wanted of the rows */
    double *sum;              /* [d_in] of rows, normalised unless by the dataset's scale */
    double norms;             /* sum of ||raw|| */
    uint64_t rows;
    float *kept;              /* [QSR_START_ROWS][d_in] the rows that went into sum, for the median */
    float *buffer;            /* [ROWS_AT_ONCE][d_in] */
};

static qsr_status first_weights(qsr_learner *l, qsr_error *e)
{
    const qsr_sae_options *o = &l->spec->sae;
    if (o->init_from) {
        qsr_status status = qsr_params_load(&l->sae.params, o->init_from, l->sae.activation, e);
        if (status && e) snprintf(e->option, sizeof e->option, "sae.init_from");
        return status;
    }
    qsr_params_init(&l->sae.params, o->init, o->init_scale, l->spec->seed, l->pool);
    return QSR_OK;
}

qsr_status qsr_starter_create(qsr_learner *l, qsr_starter **ret, qsr_error *e)
{
    const qsr_sae_options *o = &l->spec->sae;
    qsr_status status = first_weights(l, e);
    if (status) return status;
    qsr_starter *s = qsr_xcalloc(1, sizeof *s);
    *s = (qsr_starter){.learner = l, .scale = l->sae.normalise.mode == QSR_NORMALISE_DATASET};
    s->median = !o->init_from && strcmp(o->b_dec_init, "geometric_median") == 0;
    s->mean = s->median || (!o->init_from && strcmp(o->b_dec_init, "mean") == 0);
    s->sum = qsr_xcalloc(l->d_in, sizeof(double));
    s->buffer = qsr_block_raw(ROWS_AT_ONCE, l->d_in * sizeof(float));
    if (s->median) s->kept = qsr_block_raw(QSR_START_ROWS, l->d_in * sizeof(float));
    if (s->buffer && (!s->median || s->kept)) {
        *ret = s;
        return QSR_OK;
    }
    qsr_starter_free(s);
    return qsr_fail_nomem(e, "the first rows", QSR_START_ROWS * l->d_in * sizeof(float));
}

void qsr_starter_free(qsr_starter *s)
{
    if (!s) return;
    free(s->sum);
    qsr_block_free(s->kept);
    qsr_block_free(s->buffer);
    free(s);
}

bool qsr_starter_wants_rows(const qsr_starter *s) { return s->mean || s->scale; }

static void take_piece(qsr_starter *s, const float *raw, size_t n)
{
    size_t d = s->learner->d_in;
    const float *rows = raw;
    for (size_t r = 0; s->scale && r < n; r++) s->norms += qsr_row_norm(raw + r * d, d);
    if (!s->scale) {
        qsr_normalise_rows(&s->learner->sae.normalise, raw, n, d, s->buffer, NULL);
        rows = s->buffer;
    }
    for (size_t r = 0; s->mean && r < n; r++)
        for (size_t i = 0; i < d; i++) s->sum[i] += rows[r * d + i];
    if (s->kept) memcpy(s->kept + s->rows * d, rows, n * d * sizeof *rows);
    s->rows += n;
}

void qsr_starter_take(qsr_starter *s, const float *raw, size_t n)
{
    for (size_t at = 0; at < n; at += ROWS_AT_ONCE)
        take_piece(s, raw + at * s->learner->d_in, qsr_min_size(ROWS_AT_ONCE, n - at));
}

/* next = the mean of rows weighted by 1 / distance to `at`; returns how far it moved. */
static double weiszfeld_round(const qsr_starter *s, double *at, double *next)
{
    size_t d = s->learner->d_in;
    double weights = 0, moved = 0;
    memset(next, 0, d * sizeof *next);
    for (size_t r = 0; r < s->rows; r++) {
        const float *row = s->kept + r * d;
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
 * Gao et al. 2024, arXiv 2406.04093, and dictionary_learning). `at` holds the mean and becomes the median. */
static void find_median(const qsr_starter *s, double *at)
{
    double *next = qsr_xcalloc(s->learner->d_in, sizeof *next);
    for (int round = 0; round < MEDIAN_ROUNDS; round++)
        if (weiszfeld_round(s, at, next) < 1e-5) break;
    free(next);
}

qsr_status qsr_starter_finish(qsr_starter *s, qsr_error *e)
{
    qsr_learner *l = s->learner;
    double factor = 1;
    if (s->scale) {
        if (!(s->norms > 0))
            return qsr_fail_option(e, QSR_E_INPUT, "sae.normalize", "dataset cannot scale rows that are all zero");
        factor = l->sae.normalise.scale = sqrt((double)l->d_in) / (s->norms / (double)s->rows);
    }
    if (s->mean) {
        for (size_t i = 0; i < l->d_in; i++) s->sum[i] /= (double)s->rows;
        if (s->median) find_median(s, s->sum);
        for (size_t i = 0; i < l->d_in; i++) l->sae.params.b_dec[i] = (float)(factor * s->sum[i]);
    }
    qsr_sae_refresh(&l->sae);
    return QSR_OK;
}

static void take_rows(void *arg, float *const *rows, size_t n) { qsr_starter_take(arg, rows[0], n); }

qsr_status qsr_learner_start(qsr_learner *l, const qsr_dataset *data, qsr_error *e)
{
    qsr_starter *s;
    qsr_cursor *cursor = NULL;
    qsr_status status = qsr_starter_create(l, &s, e);
    if (status) return status;
    if (qsr_starter_wants_rows(s)) {
        status = qsr_cursor_create(data, &l->spec->data, &cursor, e);
        if (!status) status = qsr_cursor_sample(cursor, QSR_START_ROWS, take_rows, s, e);
        qsr_cursor_free(cursor);
    }
    if (!status) status = qsr_starter_finish(s, e);
    qsr_starter_free(s);
    return status;
}

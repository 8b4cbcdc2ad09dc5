#include "eval/metric.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "eval/statistics.h"

enum { LANES = 4 };

/* ---- one tile ---------------------------------------------------------------------------------------------------- */

typedef struct {
    double error, square, square_hat, product;
} row_products;

static double add_lanes(const double s[LANES]) { return (s[0] + s[2]) + (s[1] + s[3]); }

/* Several running sums in a fixed order: a single one would wait for each addition. */
static row_products products_of(const float *x, const float *x_hat, size_t d)
{
    double error[LANES] = {0}, square[LANES] = {0}, square_hat[LANES] = {0}, product[LANES] = {0};
    for (size_t i = 0; i < d; i++) {
        double a = x[i], b = x_hat[i], off = a - b;
        size_t lane = i % LANES;
        error[lane] += off * off;
        square[lane] += a * a;
        square_hat[lane] += b * b;
        product[lane] += a * b;
    }
    return (row_products){add_lanes(error), add_lanes(square), add_lanes(square_hat), add_lanes(product)};
}

static void add_row(qsr_space_sums *s, row_products row)
{
    s->error += row.error;
    s->square += row.square;
    s->square_hat += row.square_hat;
    s->product += row.product;
    if (row.square == 0) return;
    s->nonzero++;
    if (row.square_hat == 0) return;
    s->cosine += row.product / sqrt(row.square) / sqrt(row.square_hat);
    s->ratio += sqrt(row.square_hat) / sqrt(row.square);
}

/* The mean row and the squared distances to it, in two passes and from the first row on: a mean that is large beside the
 * spread costs no digits, and equal rows have exactly no spread. */
static void center_rows(qsr_space_sums *s, const float *x, size_t rows, size_t d)
{
    memset(s->center, 0, d * sizeof *s->center);
    for (size_t r = 1; r < rows; r++)
        for (size_t i = 0; i < d; i++) s->center[i] += (double)x[r * d + i] - x[i];
    for (size_t i = 0; i < d; i++) s->center[i] = x[i] + s->center[i] / (double)rows;
    for (size_t r = 0; r < rows; r++) {
        double lanes[LANES] = {0};
        for (size_t i = 0; i < d; i++) {
            double off = x[r * d + i] - s->center[i];
            lanes[i % LANES] += off * off;
        }
        s->scatter += add_lanes(lanes);
    }
}

static void copy_space(qsr_space_sums *to, const qsr_space_sums *from, size_t d)
{
    double *center = to->center;
    memcpy(center, from->center, d * sizeof *center);
    *to = *from;
    to->center = center;
}

static void clear_space(qsr_space_sums *s) { *s = (qsr_space_sums){.center = s->center}; }

/* Returns how many latents are active. */
static uint32_t count_row(qsr_tile_sums *sums, const qsr_code *code, size_t row)
{
    uint64_t before = sums->active;
    for (size_t i = code->row_begin[row]; i < code->row_begin[row + 1]; i++) {
        if (code->value[i] == 0) continue;
        sums->active++;
        sums->magnitude += fabs((double)code->value[i]);
        sums->fired[code->latent[i]]++;
    }
    return (uint32_t)(sums->active - before);
}

static qsr_afa_token token_of(const qsr_metric_tile *tile, size_t row, row_products model, row_products training)
{
    size_t begin = tile->code->row_begin[row], n = tile->code->row_begin[row + 1] - begin;
    qsr_afa_features f =
        qsr_afa_features_of(tile->code->latent + begin, tile->code->value + begin, n, tile->dec_norm, tile->b_dec_norm);
    qsr_row_scale scale = tile->scale ? tile->scale[row] : (qsr_row_scale){.mean = 0, .spread = 1};
    return (qsr_afa_token){.ztz = model.square,
                           .ftf = scale.spread * scale.spread * f.square + scale.mean * scale.mean * (double)tile->d_in,
                           .norm_z_hat = sqrt(model.square_hat),
                           .l_recon = model.error,
                           .coherence_lb = qsr_afa_coherence_lb(training.square_hat, f)};
}

void qsr_metric_tile_sums(const qsr_metric_tile *tile, qsr_tile_sums *sums)
{
    size_t d = tile->d_in;
    bool one_space = tile->raw == tile->x && tile->raw_hat == tile->x_hat;
    assert(tile->rows && tile->rows <= QSR_METRIC_TILE_ROWS && d == sums->d_in && tile->d_sae == sums->d_sae);
    sums->rows = tile->rows;
    sums->active = 0;
    sums->magnitude = 0;
    memset(sums->fired, 0, sums->d_sae * sizeof *sums->fired);
    clear_space(&sums->model);
    clear_space(&sums->training);
    for (size_t r = 0; r < tile->rows; r++) {
        row_products training = products_of(tile->x + r * d, tile->x_hat + r * d, d);
        row_products model = one_space ? training : products_of(tile->raw + r * d, tile->raw_hat + r * d, d);
        add_row(&sums->training, training);
        add_row(&sums->model, model);
        sums->tokens[r] = token_of(tile, r, model, training);
        sums->tokens[r].l0 = count_row(sums, tile->code, r);
    }
    center_rows(&sums->training, tile->x, tile->rows, d);
    if (one_space)
        copy_space(&sums->model, &sums->training, d);
    else
        center_rows(&sums->model, tile->raw, tile->rows, d);
}

qsr_status qsr_tile_sums_create(size_t d_in, size_t d_sae, qsr_tile_sums **ret, qsr_error *e)
{
    qsr_tile_sums *sums = qsr_xcalloc(1, sizeof *sums);
    sums->d_in = d_in;
    sums->d_sae = d_sae;
    sums->model.center = qsr_block_alloc(d_in, sizeof(double));
    sums->training.center = qsr_block_alloc(d_in, sizeof(double));
    sums->fired = qsr_block_alloc(d_sae, sizeof *sums->fired);
    sums->tokens = qsr_block_alloc(QSR_METRIC_TILE_ROWS, sizeof *sums->tokens);
    *ret = sums;
    if (sums->model.center && sums->training.center && sums->fired && sums->tokens) return QSR_OK;
    qsr_tile_sums_free(sums);
    *ret = NULL;
    return qsr_fail(e, QSR_E_NOMEM, "out of memory: the sums of an evaluation tile of %zu dimensions and %zu latents", d_in,
                    d_sae);
}

void qsr_tile_sums_free(qsr_tile_sums *sums)
{
    if (!sums) return;
    qsr_block_free(sums->model.center);
    qsr_block_free(sums->training.center);
    qsr_block_free(sums->fired);
    qsr_block_free(sums->tokens);
    free(sums);
}

/* ---- all tiles --------------------------------------------------------------------------------------------------- */

/* Values of one diagnostic, for its median. */
typedef struct {
    double *at;
    size_t n, capacity;
} column;

struct qsr_metric {
    size_t d_in, d_sae;
    uint64_t tiles, tokens, active, epsilon_infinite;
    bool last_was_short;
    double magnitude, epsilon_sum;
    qsr_space_sums model, training;
    uint64_t *fired; /* [d_sae] */
    uint64_t l0[QSR_L0_BINS];
    column epsilon, norm_ratio, coherence_lb, token_nmse;
};

qsr_status qsr_metric_create(size_t d_in, size_t d_sae, qsr_metric **ret, qsr_error *e)
{
    qsr_metric *m = qsr_xcalloc(1, sizeof *m);
    m->d_in = d_in;
    m->d_sae = d_sae;
    m->model.center = qsr_block_alloc(d_in, sizeof(double));
    m->training.center = qsr_block_alloc(d_in, sizeof(double));
    m->fired = qsr_block_alloc(d_sae, sizeof *m->fired);
    *ret = m;
    if (m->model.center && m->training.center && m->fired) return QSR_OK;
    qsr_metric_free(m);
    *ret = NULL;
    return qsr_fail(e, QSR_E_NOMEM, "out of memory: metrics of %zu dimensions and %zu latents", d_in, d_sae);
}

void qsr_metric_free(qsr_metric *m)
{
    if (!m) return;
    qsr_block_free(m->model.center);
    qsr_block_free(m->training.center);
    qsr_block_free(m->fired);
    free(m->epsilon.at);
    free(m->norm_ratio.at);
    free(m->coherence_lb.at);
    free(m->token_nmse.at);
    free(m);
}

static qsr_status reserve(column *c, size_t more, qsr_error *e)
{
    size_t need = c->n + more, capacity = qsr_max_size(c->capacity, 4096), bytes;
    if (need <= c->capacity) return QSR_OK;
    while (capacity < need) capacity *= 2;
    double *at = qsr_mul_size(capacity, sizeof *at, &bytes) ? realloc(c->at, bytes) : NULL;
    if (!at)
        return qsr_fail(e, QSR_E_NOMEM, "out of memory: diagnostics of %zu tokens for their median; lower eval.tokens",
                        need);
    c->at = at;
    c->capacity = capacity;
    return QSR_OK;
}

static void keep_finite(column *c, double value)
{
    if (isfinite(value)) c->at[c->n++] = value;
}

static qsr_status add_tokens(qsr_metric *m, const qsr_afa_token *tokens, size_t n, qsr_error *e)
{
    qsr_status status = reserve(&m->epsilon, n, e);
    if (!status) status = reserve(&m->norm_ratio, n, e);
    if (!status) status = reserve(&m->coherence_lb, n, e);
    if (!status) status = reserve(&m->token_nmse, n, e);
    for (size_t i = 0; i < n && !status; i++) {
        const qsr_afa_token *t = &tokens[i];
        double epsilon = qsr_afa_epsilon_lbo(t->ztz, t->ftf, m->d_sae);
        m->l0[qsr_min_size(t->l0, QSR_L0_BINS - 1)]++;
        if (isfinite(epsilon)) m->epsilon_sum += epsilon;
        m->epsilon_infinite += isinf(epsilon) != 0;
        keep_finite(&m->epsilon, epsilon);
        keep_finite(&m->norm_ratio, qsr_afa_norm_ratio(t->ztz, t->ftf));
        keep_finite(&m->coherence_lb, t->coherence_lb);
        keep_finite(&m->token_nmse, qsr_afa_token_nmse(t->l_recon, t->ztz));
    }
    return status;
}

/* Means and scatters of two sets of n and more rows become those of their union: T. Chan, G. Golub, R. LeVeque, "Updating
 * formulae and a pairwise algorithm for computing sample variances", 1979. */
static void add_space(qsr_space_sums *s, uint64_t n, const qsr_space_sums *tile, uint64_t more, size_t d)
{
    double apart = 0, share = (double)more / (double)(n + more);
    for (size_t i = 0; i < d; i++) {
        double off = tile->center[i] - s->center[i];
        apart += off * off;
        s->center[i] += off * share;
    }
    s->scatter += tile->scatter;
    if (n) s->scatter += apart * (double)n * share;
    s->error += tile->error;
    s->square += tile->square;
    s->square_hat += tile->square_hat;
    s->product += tile->product;
    s->cosine += tile->cosine;
    s->ratio += tile->ratio;
    s->nonzero += tile->nonzero;
}

qsr_status qsr_metric_add(qsr_metric *m, uint64_t tile, const qsr_tile_sums *sums, qsr_error *e)
{
    if (tile != m->tiles || m->last_was_short)
        return qsr_fail(e, QSR_E_INTERNAL, "evaluation tile %llu arrived where %llu was due, or after a short one",
                        (unsigned long long)tile, (unsigned long long)m->tiles);
    qsr_status status = add_tokens(m, sums->tokens, sums->rows, e);
    if (status) return status;
    add_space(&m->model, m->tokens, &sums->model, sums->rows, m->d_in);
    add_space(&m->training, m->tokens, &sums->training, sums->rows, m->d_in);
    for (size_t j = 0; j < m->d_sae; j++) m->fired[j] += sums->fired[j];
    m->active += sums->active;
    m->magnitude += sums->magnitude;
    m->tokens += sums->rows;
    m->tiles++;
    m->last_was_short = sums->rows < QSR_METRIC_TILE_ROWS;
    return QSR_OK;
}

uint64_t qsr_metric_tokens(const qsr_metric *m) { return m->tokens; }
const uint64_t *qsr_metric_fired(const qsr_metric *m) { return m->fired; }

/* ---- results ----------------------------------------------------------------------------------------------------- */

enum { SPACE_VALUES = 7 };
static const char *const value_names[QSR_METRIC_VALUES] = {
    "tokens", "l0", "l1", "mdl_bits_naive", "silent_fraction",
    /* model space */
    "mse", "nmse", "fvu", "explained_variance", "cosine", "l2_ratio", "relative_reconstruction_bias",
    /* training space */
    "mse_norm", "nmse_norm", "fvu_norm", "explained_variance_norm", "cosine_norm", "l2_ratio_norm",
    "relative_reconstruction_bias_norm",
    "epsilon_lbo_median", "epsilon_lbo_mean", "epsilon_lbo_infinite", "norm_ratio_median", "coherence_lb_median",
    "token_nmse_median"};

const char *qsr_metric_name(size_t index) { return index < QSR_METRIC_VALUES ? value_names[index] : NULL; }

static double quotient(double a, double b) { return b != 0 ? a / b : NAN; }

static size_t put(qsr_metrics *ret, size_t at, double value)
{
    assert(at < QSR_METRIC_VALUES);
    ret->items[at] = (qsr_named_value){value_names[at], value};
    return at + 1;
}

static size_t put_space(qsr_metrics *ret, size_t at, const qsr_metric *m, const qsr_space_sums *s)
{
    double fvu = quotient(s->error, s->scatter), nonzero = (double)s->nonzero;
    double values[SPACE_VALUES] = {quotient(s->error, (double)m->tokens * (double)m->d_in),
                                   quotient(s->error, s->square),
                                   fvu,
                                   1 - fvu,
                                   quotient(s->cosine, nonzero),
                                   quotient(s->ratio, nonzero),
                                   quotient(s->square_hat, s->product)};
    for (size_t i = 0; i < SPACE_VALUES; i++) at = put(ret, at, values[i]);
    return at;
}

static void count_firing(const qsr_metric *m, qsr_metrics *ret)
{
    for (size_t j = 0; j < m->d_sae; j++) {
        if (!m->fired[j]) {
            ret->silent++;
            continue;
        }
        double place = (log10((double)m->fired[j] / (double)m->tokens) - QSR_FIRING_LOW) / QSR_FIRING_WIDTH;
        ret->firing[place < 0 ? 0 : qsr_min_size((size_t)place, QSR_FIRING_BINS - 1)]++;
    }
}

void qsr_metric_finish(qsr_metric *m, qsr_metrics *ret)
{
    *ret = (qsr_metrics){0};
    count_firing(m, ret);
    memcpy(ret->l0, m->l0, sizeof ret->l0);
    double tokens = (double)m->tokens, l0 = quotient((double)m->active, tokens);
    size_t at = put(ret, 0, tokens);
    at = put(ret, at, l0);
    at = put(ret, at, quotient(m->magnitude, tokens));
    at = put(ret, at, l0 * (7 + log2((double)m->d_sae)));
    at = put(ret, at, m->tokens ? quotient((double)ret->silent, (double)m->d_sae) : NAN);
    at = put_space(ret, at, m, &m->model);
    at = put_space(ret, at, m, &m->training);
    double epsilon_mean = quotient(m->epsilon_sum, (double)m->epsilon.n);
    at = put(ret, at, qsr_median(m->epsilon.at, m->epsilon.n));
    at = put(ret, at, epsilon_mean);
    at = put(ret, at, (double)m->epsilon_infinite);
    at = put(ret, at, qsr_median(m->norm_ratio.at, m->norm_ratio.n));
    at = put(ret, at, qsr_median(m->coherence_lb.at, m->coherence_lb.n));
    at = put(ret, at, qsr_median(m->token_nmse.at, m->token_nmse.n));
    assert(at == QSR_METRIC_VALUES);
    (void)at;
}

double qsr_metrics_get(const qsr_metrics *metrics, const char *name)
{
    for (size_t i = 0; i < QSR_METRIC_VALUES; i++)
        if (metrics->items[i].name && strcmp(metrics->items[i].name, name) == 0) return metrics->items[i].value;
    return NAN;
}

#include "eval/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "eval/tokens-csv.h"
#include "math/rows.h"

enum { TILE = QSR_METRIC_TILE_ROWS };

/* What one tile in flight works in. */
typedef struct {
    qsr_encoder encoder;
    qsr_code code;
    float *x, *xc, *xhat, *raw_hat; /* [TILE][d_in] */
    qsr_row_scale scale[TILE];
    qsr_tile_sums *sums;
} tile_work;

typedef struct {
    const qsr_sae *sae;
    const qsr_dataset *data;
    float *dec_norm; /* [d_sae] */
    double b_dec_norm;
    size_t n_work;
    tile_work *work;
    float *rows;     /* rows read and not yet scored, from the front */
    size_t room, have;
    uint64_t next_unit; /* among the held-out ones */
    uint64_t rows_read, tiles;
    qsr_metric *metric;
    qsr_tokens_csv csv;
    qsr_first_error failed;
    size_t rows_now; /* of the group of tiles being scored */
} evaluation_run;

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static qsr_status create_tile(const qsr_sae *sae, tile_work *w, qsr_error *e)
{
    size_t d = sae->params.d_in, d_sae = sae->params.d_sae;
    qsr_status status = qsr_encoder_create(sae, TILE, &w->encoder, e);
    if (!status) status = qsr_code_alloc(TILE, d_sae, TILE * d_sae, sae->ops->planes, &w->code, e);
    if (!status) status = qsr_tile_sums_create(d, d_sae, &w->sums, e);
    if (status) return status;
    float **blocks[] = {&w->x, &w->xc, &w->xhat, &w->raw_hat};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        if (!(*blocks[i] = qsr_block_raw(TILE, d * sizeof(float)))) return qsr_fail_nomem(e, "a tile of rows", TILE * d * 4);
    return QSR_OK;
}

static void free_tile(tile_work *w)
{
    qsr_encoder_free(&w->encoder);
    qsr_code_free(&w->code);
    qsr_tile_sums_free(w->sums);
    void *blocks[] = {w->x, w->xc, w->xhat, w->raw_hat};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
}

/* Units are read in groups that fill all tiles in flight, and every reader of the pool. */
static size_t units_at_once(const evaluation_run *run)
{
    const qsr_dataset *data = run->data;
    size_t for_tiles = qsr_div_up(run->n_work * TILE, data->rows_per_unit);
    return qsr_max_size(for_tiles, data->info.rows_per_unit > 1 ? data->info.units_per_read * run->n_work : 1);
}

static qsr_status create(evaluation_run *run, qsr_error *e)
{
    const qsr_params *p = &run->sae->params;
    run->n_work = qsr_pool_threads(run->sae->pool);
    run->work = qsr_xcalloc(run->n_work, sizeof *run->work);
    run->dec_norm = qsr_block_raw(p->d_sae, sizeof(float));
    run->room = run->n_work * TILE + units_at_once(run) * run->data->rows_per_unit;
    run->rows = qsr_block_raw(run->room, p->d_in * sizeof(float));
    if (!run->dec_norm || !run->rows) return qsr_fail_nomem(e, "evaluation rows", run->room * p->d_in * sizeof(float));
    qsr_params_decoder_norms(p, run->dec_norm, run->sae->pool);
    run->b_dec_norm = qsr_row_norm(p->b_dec, p->d_in);
    for (size_t i = 0; i < run->n_work; i++) {
        qsr_status status = create_tile(run->sae, &run->work[i], e);
        if (status) return status;
    }
    return qsr_metric_create(p->d_in, p->d_sae, &run->metric, e);
}

static void destroy(evaluation_run *run)
{
    for (size_t i = 0; run->work && i < run->n_work; i++) free_tile(&run->work[i]);
    free(run->work);
    qsr_block_free(run->dec_norm);
    qsr_block_free(run->rows);
    qsr_metric_free(run->metric);
    qsr_tokens_csv_abort(&run->csv);
}

/* ---- scoring ----------------------------------------------------------------------------------------------------- */

static qsr_status score_tile(evaluation_run *run, size_t index, qsr_error *e)
{
    const qsr_sae *sae = run->sae;
    tile_work *w = &run->work[index];
    size_t d = sae->params.d_in, rows = qsr_min_size(TILE, run->rows_now - index * TILE);
    const float *raw = run->rows + index * TILE * d;
    qsr_normalise_rows(&sae->normalise, raw, rows, d, w->x, w->scale);
    qsr_sae_centre(sae, w->x, rows, w->xc);
    qsr_status status = qsr_sae_encode(sae, QSR_EVAL, w->xc, rows, 0, rows, &w->encoder, &w->code, e);
    if (status) return status;
    qsr_sae_decode(sae, &w->code, w->xhat);
    qsr_denormalise_rows(w->scale, w->xhat, rows, d, w->raw_hat);
    qsr_metric_tile tile = {.rows = rows, .d_in = d, .d_sae = sae->params.d_sae, .raw = raw, .raw_hat = w->raw_hat, .x = w->x,
                            .x_hat = w->xhat, .scale = w->scale, .code = &w->code, .dec_norm = run->dec_norm,
                            .b_dec_norm = run->b_dec_norm};
    qsr_metric_tile_sums(&tile, w->sums);
    return QSR_OK;
}

static qsr_status score_task(void *arg, size_t begin, size_t end)
{
    evaluation_run *run = arg;
    qsr_error e = {0};
    for (size_t i = begin; i < end; i++)
        if (score_tile(run, i, &e)) return qsr_first_error_note(&run->failed, i, &e);
    return QSR_OK;
}

/* Scores the first `rows` rows at hand, which are whole tiles unless they are the last. */
static qsr_status score(evaluation_run *run, size_t rows, qsr_error *e)
{
    size_t tiles = qsr_div_up(rows, TILE), d = run->sae->params.d_in;
    run->rows_now = rows;
    qsr_status status = qsr_pool_run(run->sae->pool, tiles, 1, score_task, run);
    if (status) {
        if (e) *e = run->failed.error;
        return status;
    }
    for (size_t i = 0; !status && i < tiles; i++) {
        const qsr_tile_sums *sums = run->work[i].sums;
        status = qsr_metric_add(run->metric, run->tiles++, sums, e);
        if (!status && run->csv.writer.fd >= 0) status = qsr_tokens_csv_add(&run->csv, sums->tokens, sums->rows, e);
    }
    run->have -= rows;
    memmove(run->rows, run->rows + rows * d, run->have * d * sizeof(float));
    return status;
}

/* Reads as many units as fit, and forgets rows beyond the last that counts. */
static qsr_status read_more(evaluation_run *run, qsr_error *e)
{
    const qsr_dataset *data = run->data;
    size_t n = qsr_min_size((size_t)(data->held_units - run->next_unit), units_at_once(run));
    uint64_t *units = qsr_xcalloc(n, sizeof *units);
    for (size_t i = 0; i < n; i++) units[i] = data->held_first + run->next_unit + i;
    qsr_status status = qsr_dataset_read(data, units, n, run->rows + run->have * data->d_in, e);
    free(units);
    run->next_unit += n;
    uint64_t left = data->held_rows - run->rows_read, got = (uint64_t)n * data->rows_per_unit;
    if (got > left) got = left;
    run->rows_read += got;
    run->have += (size_t)got;
    return status;
}

static qsr_status score_all(evaluation_run *run, const qsr_evaluate_options *options, qsr_error *e)
{
    qsr_status status = QSR_OK;
    size_t group = run->n_work * TILE;
    while (!status && run->rows_read < run->data->held_rows) {
        status = read_more(run, e);
        while (!status && run->have >= group) status = score(run, group, e);
        if (options->progress) options->progress(options->ctx, run->rows_read, run->data->held_rows);
    }
    if (!status && run->have) status = score(run, run->have, e);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static qsr_status judge_weights(const qsr_sae *sae, const qsr_dataset *data, qsr_evaluation *ret, qsr_error *e)
{
    const qsr_params *p = &sae->params;
    qsr_status status = qsr_coherence_of(sae->pool, p->w_dec, p->d_sae, p->d_in, &ret->coherence, e);
    const qsr_truth_ops *truth = qsr_made_extension(data->made, QSR_EXT_TRUTH);
    if (status || !truth) return status;
    const float *features;
    size_t n, d;
    status = qsr_made_finish(data->made, truth->get(data->made->instance, &features, &n, &d), e);
    if (!status && d != p->d_in)
        status = qsr_fail(e, QSR_E_INTERNAL, "dataset %s: its features have %zu dimensions, its rows %zu", data->made->plugin->name,
                          d, p->d_in);
    if (!status) status = qsr_match_of(sae->pool, features, n, p->w_dec, p->d_sae, d, &ret->match, NULL, e);
    ret->has_truth = !status;
    return status;
}

qsr_status qsr_evaluate(const qsr_sae *sae, const qsr_dataset *data, const qsr_evaluate_options *options, qsr_evaluation *ret,
                        qsr_error *e)
{
    *ret = (qsr_evaluation){0};
    evaluation_run run = {.sae = sae, .data = data, .csv = {.writer = {.fd = -1}}};
    qsr_first_error_init(&run.failed);
    qsr_status status = judge_weights(sae, data, ret, e);
    if (!status && data->held_rows) {
        status = create(&run, e);
        if (!status && options->tokens_csv) status = qsr_tokens_csv_open(&run.csv, options->tokens_csv, options->layer, e);
        if (!status) status = score_all(&run, options, e);
        if (!status && options->tokens_csv) status = qsr_tokens_csv_commit(&run.csv, e);
        if (!status) qsr_metric_finish(run.metric, &ret->metrics);
        ret->scored = !status;
    }
    destroy(&run);
    return status;
}

const char *qsr_evaluation_value(const qsr_evaluation *v, size_t index, double *ret_value)
{
    if (v->scored) {
        if (index < QSR_METRIC_VALUES) {
            *ret_value = v->metrics.items[index].value;
            return v->metrics.items[index].name;
        }
        index -= QSR_METRIC_VALUES;
    }
    const qsr_named_value more[] = {{"coherence_max", v->coherence.coherence_max}, {"coherence_mean", v->coherence.coherence_mean},
                                    {"epsilon_max", v->coherence.epsilon_max},     {"epsilon_mean", v->coherence.epsilon_mean},
                                    {"mmcs", v->match.mmcs},                       {"mcc", v->match.mcc}};
    if (index >= (v->has_truth ? 6 : 4)) return NULL;
    *ret_value = more[index].value;
    return more[index].name;
}

double qsr_evaluation_get(const qsr_evaluation *v, const char *name)
{
    double value;
    const char *at;
    for (size_t i = 0; (at = qsr_evaluation_value(v, i, &value)); i++)
        if (strcmp(at, name) == 0) return value;
    return NAN;
}

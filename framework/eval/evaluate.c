#include "eval/evaluate.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
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

/* One SAE being judged. */
typedef struct {
    qsr_judged *judged;
    const qsr_sae *sae;
    float *dec_norm; /* [d_sae] */
    double b_dec_norm;
    size_t n_work;
    tile_work *work;
    uint64_t tiles;
    qsr_metric *metric;
    qsr_tokens_csv csv;
    qsr_latents *latents;     /* NULL: not asked for */
    qsr_neighbour *neighbour; /* [d_sae], likewise */
    qsr_first_error failed;
    const float *rows; /* of the group of tiles being scored */
    size_t rows_now;
} scorer;

/* The held-out rows, read once for everybody. */
typedef struct {
    const qsr_dataset *data;
    size_t group;       /* rows scored at once: whole tiles */
    float **rows;       /* [n_taps] rows read and not yet scored, from the front */
    qsr_place *place;   /* where each of them stands in the data */
    size_t room, have;
    uint64_t next_unit; /* among the held-out ones */
    uint64_t rows_read;
    double scoring;     /* seconds */
} reader;

/* Rows are told of twice: scored, and replaced in the model. */
typedef struct {
    const qsr_evaluate_options *options;
    uint64_t before, all;
} both_progress;

static void pass_progress(void *ctx, uint64_t rows)
{
    const both_progress *p = ctx;
    if (p->options->progress) p->options->progress(p->options->ctx, p->before + rows, p->all);
}

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

static qsr_status create_scorer(qsr_judged *judged, scorer *s)
{
    const qsr_params *p = &judged->sae->params;
    qsr_error *e = &judged->error;
    *s = (scorer){.judged = judged, .sae = judged->sae, .csv = {.writer = {.fd = -1}}, .neighbour = s->neighbour};
    s->n_work = qsr_pool_threads(s->sae->pool);
    s->work = qsr_xcalloc(s->n_work, sizeof *s->work);
    s->dec_norm = qsr_block_raw(p->d_sae, sizeof(float));
    if (!s->dec_norm) return qsr_fail_nomem(e, "decoder norms", p->d_sae * sizeof(float));
    qsr_params_decoder_norms(p, s->dec_norm, s->sae->pool);
    s->b_dec_norm = qsr_row_norm(p->b_dec, p->d_in);
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < s->n_work; i++) status = create_tile(s->sae, &s->work[i], e);
    if (!status) status = qsr_metric_create(p->d_in, p->d_sae, &s->metric, e);
    if (!status && judged->tokens_csv) status = qsr_tokens_csv_open(&s->csv, judged->tokens_csv, judged->layer, e);
    if (!status && judged->latents.csv)
        status = qsr_latents_create(p->d_sae, judged->latents.contexts ? judged->latents.top : 0, &s->latents, e);
    return status;
}

static void destroy_scorer(scorer *s)
{
    for (size_t i = 0; s->work && i < s->n_work; i++) free_tile(&s->work[i]);
    free(s->work);
    qsr_block_free(s->dec_norm);
    qsr_block_free(s->neighbour);
    qsr_latents_free(s->latents);
    qsr_metric_free(s->metric);
    if (s->judged) qsr_tokens_csv_abort(&s->csv);
}

/* Units are read in groups that fill all tiles in flight, and every reader of the pool. */
static size_t units_at_once(const reader *r, size_t threads)
{
    size_t for_tiles = qsr_div_up(r->group, r->data->rows_per_unit);
    return qsr_max_size(for_tiles, r->data->info.rows_per_unit > 1 ? r->data->info.units_per_read * threads : 1);
}

static qsr_status create_reader(const qsr_dataset *data, reader *r, qsr_error *e)
{
    size_t threads = qsr_pool_threads(data->pool);
    *r = (reader){.data = data, .group = threads * TILE, .rows = qsr_xcalloc(data->n_taps, sizeof *r->rows)};
    r->room = r->group + units_at_once(r, threads) * data->rows_per_unit;
    r->place = qsr_block_raw(r->room, sizeof *r->place);
    if (!r->place) return qsr_fail_nomem(e, "places of evaluation rows", r->room * sizeof *r->place);
    for (size_t tap = 0; tap < data->n_taps; tap++) {
        r->rows[tap] = qsr_block_raw(r->room, data->d_in * sizeof(float));
        if (!r->rows[tap]) return qsr_fail_nomem(e, "evaluation rows", r->room * data->d_in * sizeof(float));
    }
    return QSR_OK;
}

static void destroy_reader(reader *r)
{
    for (size_t tap = 0; r->rows && tap < r->data->n_taps; tap++) qsr_block_free(r->rows[tap]);
    free(r->rows);
    qsr_block_free(r->place);
}

/* ---- scoring ----------------------------------------------------------------------------------------------------- */

static qsr_status score_tile(scorer *s, size_t index, qsr_error *e)
{
    const qsr_sae *sae = s->sae;
    tile_work *w = &s->work[index];
    size_t d = sae->params.d_in, rows = qsr_min_size(TILE, s->rows_now - index * TILE);
    const float *raw = s->rows + index * TILE * d;
    qsr_normalise_rows(&sae->normalise, raw, rows, d, w->x, w->scale);
    qsr_sae_centre(sae, w->x, rows, w->xc);
    qsr_status status = qsr_sae_encode(sae, QSR_EVAL, w->xc, rows, 0, rows, &w->encoder, &w->code, e);
    if (status) return status;
    qsr_sae_decode(sae, &w->code, w->xhat, NULL);
    qsr_denormalise_rows(w->scale, w->xhat, rows, d, w->raw_hat);
    qsr_metric_tile tile = {.rows = rows, .d_in = d, .d_sae = sae->params.d_sae, .raw = raw, .raw_hat = w->raw_hat, .x = w->x,
                            .x_hat = w->xhat, .scale = w->scale, .code = &w->code, .dec_norm = s->dec_norm,
                            .b_dec_norm = s->b_dec_norm};
    qsr_metric_tile_sums(&tile, w->sums);
    return QSR_OK;
}

static qsr_status score_task(void *arg, size_t begin, size_t end)
{
    scorer *s = arg;
    qsr_error e = {0};
    for (size_t i = begin; i < end; i++)
        if (score_tile(s, i, &e)) return qsr_first_error_note(&s->failed, i, &e);
    return QSR_OK;
}

static void add_latents(const scorer *s, const qsr_place *place, size_t tiles)
{
    const qsr_code **codes = qsr_xcalloc(tiles, sizeof *codes);
    const qsr_place **places = qsr_xcalloc(tiles, sizeof *places);
    for (size_t i = 0; i < tiles; i++) {
        codes[i] = &s->work[i].code;
        places[i] = place + i * TILE;
    }
    qsr_latents_add(s->latents, s->sae->pool, codes, places, tiles);
    free(codes);
    free(places);
}

/* The rows of a group for one SAE: whole tiles unless they are the last. */
static void score(scorer *s, const float *rows, const qsr_place *place, size_t n)
{
    if (s->judged->error.code) return;
    size_t tiles = qsr_div_up(n, TILE);
    s->rows = rows;
    s->rows_now = n;
    qsr_first_error_init(&s->failed);
    qsr_status status = qsr_pool_run(s->sae->pool, tiles, 1, score_task, s);
    if (status) s->judged->error = s->failed.error;
    else if (s->latents) add_latents(s, place, tiles);
    for (size_t i = 0; !status && i < tiles; i++) {
        const qsr_tile_sums *sums = s->work[i].sums;
        status = qsr_metric_add(s->metric, s->tiles++, sums, &s->judged->error);
        if (!status && s->judged->tokens_csv) status = qsr_tokens_csv_add(&s->csv, sums->tokens, sums->rows, &s->judged->error);
    }
}

static void score_everybody(scorer *scorers, size_t n, reader *r, size_t rows)
{
    size_t d = r->data->d_in;
    double start = qsr_clock();
    for (size_t i = 0; i < n; i++) score(&scorers[i], r->rows[scorers[i].judged->tap], r->place, rows);
    r->have -= rows;
    memmove(r->place, r->place + rows, r->have * sizeof *r->place);
    for (size_t tap = 0; tap < r->data->n_taps; tap++)
        memmove(r->rows[tap], r->rows[tap] + rows * d, r->have * d * sizeof(float));
    r->scoring += qsr_clock() - start;
}

static void note_places(reader *r, const uint64_t *units, size_t n)
{
    size_t per_unit = r->data->rows_per_unit;
    for (size_t i = 0; i < n * per_unit; i++)
        r->place[r->have + i] = (qsr_place){units[i / per_unit], (uint32_t)(r->data->skip_first + i % per_unit)};
}

/* Of `rows` new rows behind those in the buffers, closes the gaps of those that a mask leaves out. */
static qsr_status leave_out(reader *r, const uint64_t *units, size_t n, size_t *rows, qsr_error *e)
{
    const qsr_dataset *data = r->data;
    const size_t d = data->d_in;
    if (!data->masked) return QSR_OK;
    uint8_t *keep = qsr_xcalloc(n, data->rows_per_unit);
    size_t kept = 0;
    qsr_status status = qsr_dataset_mask(data, units, n, keep, e);
    for (size_t i = 0; !status && i < *rows; i++) {
        for (size_t tap = 0; keep[i] && tap < data->n_taps; tap++)
            memmove(r->rows[tap] + (r->have + kept) * d, r->rows[tap] + (r->have + i) * d, d * sizeof(float));
        if (keep[i]) r->place[r->have + kept] = r->place[r->have + i];
        kept += keep[i];
    }
    free(keep);
    *rows = kept;
    return status;
}

/* Reads as many units as fit, and forgets rows beyond the last that counts. */
static qsr_status read_more(reader *r, qsr_error *e)
{
    const qsr_dataset *data = r->data;
    size_t n = qsr_min_size((size_t)(data->held_units - r->next_unit), units_at_once(r, qsr_pool_threads(data->pool)));
    uint64_t *units = qsr_xcalloc(n, sizeof *units);
    float **out = qsr_xcalloc(data->n_taps, sizeof *out);
    for (size_t i = 0; i < n; i++) units[i] = data->held_first + r->next_unit + i;
    for (size_t tap = 0; tap < data->n_taps; tap++) out[tap] = r->rows[tap] + r->have * data->d_in;
    qsr_status status = qsr_dataset_read_taps(data, units, n, out, e);
    note_places(r, units, n);
    r->next_unit += n;
    uint64_t left = data->held_rows - r->rows_read;
    size_t got = n * data->rows_per_unit;
    if (got > left) got = (size_t)left;
    r->rows_read += got;
    if (!status) status = leave_out(r, units, n, &got, e);
    r->have += got;
    free(units);
    free(out);
    return status;
}

static qsr_status score_rows(scorer *scorers, size_t n, const qsr_dataset *data, both_progress *progress, qsr_error *e)
{
    reader r;
    qsr_status status = create_reader(data, &r, e);
    while (!status && r.rows_read < data->held_rows) {
        status = read_more(&r, e);
        while (!status && r.have >= r.group) score_everybody(scorers, n, &r, r.group);
        pass_progress(progress, r.rows_read);
    }
    if (!status && r.have) score_everybody(scorers, n, &r, r.have);
    if (progress->options->scoring_seconds) *progress->options->scoring_seconds += r.scoring;
    destroy_reader(&r);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static qsr_status judge_weights(const qsr_sae *sae, const qsr_dataset *data, qsr_evaluation *ret, qsr_neighbour *ret_neighbour,
                                qsr_error *e)
{
    const qsr_params *p = &sae->params;
    qsr_status status = qsr_coherence_of(sae->pool, p->w_dec, p->d_sae, p->d_in, &ret->coherence, ret_neighbour, e);
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

static uint64_t most_loss_rows(const qsr_judged *judged, size_t n, const qsr_dataset *data)
{
    uint64_t most = 0;
    for (size_t i = 0; i < n && qsr_splice_possible(data); i++)
        if (judged[i].ce_tokens > most) most = judged[i].ce_tokens;
    return most < data->held_rows ? most : data->held_rows;
}

/* The model's loss, for those who ask for it and have not failed. */
static qsr_status judge_losses(qsr_judged *judged, size_t n, const qsr_dataset *data, both_progress *progress, qsr_error *e)
{
    qsr_spliced *spliced = qsr_xcalloc(n, sizeof *spliced);
    size_t *of = qsr_xcalloc(n, sizeof *of), asked = 0;
    for (size_t i = 0; i < n; i++) {
        if (!judged[i].ce_tokens || judged[i].error.code) continue;
        of[asked] = i;
        spliced[asked++] = (qsr_spliced){.sae = judged[i].sae, .tap = judged[i].tap, .tokens = judged[i].ce_tokens};
    }
    qsr_status status = asked ? qsr_splice_judge(spliced, asked, data, pass_progress, progress, e) : QSR_OK;
    for (size_t i = 0; !status && i < asked; i++) {
        qsr_judged *one = &judged[of[i]];
        one->error = spliced[i].error;
        one->evaluation.loss = spliced[i].metrics;
        one->evaluation.has_loss = !one->error.code;
    }
    free(spliced);
    free(of);
    return status;
}

static qsr_status write_latents(const scorer *s, const qsr_dataset *data, qsr_error *e)
{
    const qsr_latent_files *files = &s->judged->latents;
    const qsr_sae *sae = s->sae;
    qsr_status status = qsr_latents_write(s->latents, files->csv, qsr_metric_tokens(s->metric), &sae->params, s->dec_norm,
                                          s->neighbour, sae->pool, e);
    if (status || !files->contexts) return status;
    return qsr_contexts_write(s->latents, files->contexts, data, files->width, e);
}

static void conclude(scorer *s, const qsr_dataset *data)
{
    qsr_judged *judged = s->judged;
    if (!judged->error.code && judged->tokens_csv) qsr_tokens_csv_commit(&s->csv, &judged->error);
    if (!judged->error.code && s->latents) write_latents(s, data, &judged->error);
    if (judged->error.code) return;
    qsr_metric_finish(s->metric, &judged->evaluation.metrics);
    judged->evaluation.scored = true;
}

static void judge_without_rows(qsr_judged *judged, scorer *s, const qsr_dataset *data, const qsr_evaluate_options *options)
{
    size_t d_sae = judged->sae->params.d_sae;
    judged->evaluation = (qsr_evaluation){0};
    judged->error = (qsr_error){0};
    if (judged->latents.csv && data->held_rows && !(s->neighbour = qsr_block_raw(d_sae, sizeof *s->neighbour)))
        qsr_fail_nomem(&judged->error, "nearest latents", d_sae * sizeof *s->neighbour);
    else if (!options->rows_alone)
        judge_weights(judged->sae, data, &judged->evaluation, s->neighbour, &judged->error);
}

qsr_status qsr_evaluate(qsr_judged *judged, size_t n, const qsr_dataset *data, const qsr_evaluate_options *options, qsr_error *e)
{
    scorer *scorers = qsr_xcalloc(n, sizeof *scorers);
    both_progress progress = {options, 0, data->held_rows + most_loss_rows(judged, n, data)};
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < n; i++) judge_without_rows(&judged[i], &scorers[i], data, options);
    if (data->held_rows) {
        for (size_t i = 0; i < n; i++) create_scorer(&judged[i], &scorers[i]);
        status = score_rows(scorers, n, data, &progress, e);
        for (size_t i = 0; !status && i < n; i++) conclude(&scorers[i], data);
        for (size_t i = 0; i < n; i++) destroy_scorer(&scorers[i]);
    }
    progress.before = data->held_rows;
    if (!status && progress.all > progress.before) status = judge_losses(judged, n, data, &progress, e);
    free(scorers);
    return status;
}

/* The values beside the metrics of scored rows: the model's loss, what the weights alone tell, what the truth does. */
typedef enum { OF_LOSS, OF_WEIGHTS, OF_TRUTH } value_source;
typedef struct {
    const char *name;
    size_t offset;
    value_source source;
} other_value;
#define LOSS_VALUE(name_) {#name_, offsetof(qsr_evaluation, loss.name_), OF_LOSS}
static const other_value other_values[] = {
    LOSS_VALUE(ce_clean),
    LOSS_VALUE(ce_sae),
    LOSS_VALUE(ce_zero),
    LOSS_VALUE(ce_mean),
    LOSS_VALUE(ce_recovered_zero),
    LOSS_VALUE(ce_recovered_mean),
    LOSS_VALUE(kl),
    LOSS_VALUE(kl_zero),
    LOSS_VALUE(ce_tokens),
    {"coherence_max", offsetof(qsr_evaluation, coherence.coherence_max), OF_WEIGHTS},
    {"coherence_mean", offsetof(qsr_evaluation, coherence.coherence_mean), OF_WEIGHTS},
    {"epsilon_max", offsetof(qsr_evaluation, coherence.epsilon_max), OF_WEIGHTS},
    {"epsilon_mean", offsetof(qsr_evaluation, coherence.epsilon_mean), OF_WEIGHTS},
    {"mmcs", offsetof(qsr_evaluation, match.mmcs), OF_TRUTH},
    {"mcc", offsetof(qsr_evaluation, match.mcc), OF_TRUTH},
};
enum { OTHER_VALUES = sizeof other_values / sizeof *other_values };

static bool has_source(const qsr_evaluation *v, value_source source)
{
    return source == OF_LOSS ? v->has_loss : source == OF_TRUTH ? v->has_truth : true;
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
    for (size_t i = 0; i < OTHER_VALUES; i++) {
        if (!has_source(v, other_values[i].source) || index--) continue;
        memcpy(ret_value, (const char *)v + other_values[i].offset, sizeof *ret_value);
        return other_values[i].name;
    }
    return NULL;
}

void qsr_evaluation_put(qsr_evaluation *v, const char *name, double value)
{
    for (size_t i = 0; i < OTHER_VALUES; i++) {
        if (strcmp(name, other_values[i].name) != 0) continue;
        memcpy((char *)v + other_values[i].offset, &value, sizeof value);
        v->has_truth |= other_values[i].source == OF_TRUTH;
        v->has_loss |= other_values[i].source == OF_LOSS;
        return;
    }
    for (size_t i = 0; i < QSR_METRIC_VALUES; i++) {
        if (strcmp(name, qsr_metric_name(i)) != 0) continue;
        v->metrics.items[i] = (qsr_named_value){qsr_metric_name(i), value};
        v->scored = true;
    }
}

double qsr_evaluation_get(const qsr_evaluation *v, const char *name)
{
    double value;
    const char *at;
    for (size_t i = 0; (at = qsr_evaluation_value(v, i, &value)); i++)
        if (at && strcmp(at, name) == 0) return value;
    return NAN;
}

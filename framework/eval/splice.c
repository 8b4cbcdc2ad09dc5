#include "eval/splice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"

enum { TILE = 256 };

/* What stands in place of the rows of a tap. */
typedef struct {
    enum { ZEROS, MEANS, RECONSTRUCTIONS } what;
    size_t tap, index; /* index: of the SAE */
} variant;

typedef struct {
    double clean, sae, zero, mean, kl, kl_zero;
    uint64_t tokens;
} loss_sums;

/* One call of the plugin: some consecutive units. Several at once, one for each thread. */
typedef struct {
    struct judging *of;
    uint64_t first; /* among the held-out units */
    size_t n;
    uint8_t *keep;     /* [units_per_read][rows_per_unit] */
    double *loss, *kl; /* [1 + variants][units_per_read][rows per unit of the plugin], [variants][same] */
    loss_sums *sums;   /* [n_spliced] */
} piece;

typedef struct judging {
    const qsr_dataset *data;
    const qsr_splice_ops *ops;
    qsr_spliced *spliced;
    size_t n_spliced;
    float **means;                      /* [n_taps][d_in]; NULL where nobody looks */
    variant *variants;                  /* [n_variants]: those of the present round */
    size_t *taps;                       /* [n_variants] their taps, as the plugin counts */
    size_t *zero_at, *mean_at, *sae_at; /* [n_taps], [n_taps], [n_spliced] places among the variants */
    size_t n_variants, most;
    piece *pieces;
    size_t n_pieces;
    loss_sums *sums;                     /* [n_spliced] */
    qsr_first_error failed, *sae_failed; /* [n_spliced] */
} judging;

bool qsr_splice_possible(const qsr_dataset *data) { return qsr_made_extension(data->made, QSR_EXT_SPLICE) != NULL; }

/* ---- means of training ------------------------------------------------------------------------------------------- */

static void add_rows(const qsr_dataset *data, const float *rows, const uint8_t *keep, size_t n, double *sum)
{
    const size_t d = data->d_in;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; keep[r] && i < d; i++) sum[i] += rows[r * d + i];
}

/* Adds the rows of n units to sums[n_taps][d_in]. */
static qsr_status add_units(const judging *j, const uint64_t *units, size_t n, uint64_t *rows, double *sums, qsr_error *e)
{
    const qsr_dataset *data = j->data;
    const size_t d = data->d_in, each = n * data->rows_per_unit;
    uint8_t *keep = qsr_xcalloc(each, 1);
    float **out = qsr_xcalloc(data->n_taps, sizeof *out);
    qsr_status status = qsr_dataset_mask(data, units, n, keep, e);
    for (size_t tap = 0; !status && tap < data->n_taps; tap++)
        if (j->means[tap] && !(out[tap] = qsr_block_raw(each, d * sizeof(float))))
            status = qsr_fail_nomem(e, "rows for the mean of training", each * d * sizeof(float));
    if (!status) status = qsr_dataset_read_taps(data, units, n, out, e);
    for (size_t tap = 0; !status && tap < data->n_taps; tap++)
        if (out[tap]) add_rows(data, out[tap], keep, each, sums + tap * d);
    for (size_t i = 0; !status && i < each; i++) *rows += keep[i];
    for (size_t tap = 0; tap < data->n_taps; tap++) qsr_block_free(out[tap]);
    free(out);
    free(keep);
    return status;
}

/* Unit i of n, spread over the training units. */
static uint64_t spread(uint64_t i, uint64_t n, uint64_t units)
{
    return units == UINT64_MAX ? i : units / n * i + units % n * i / n;
}

static qsr_status find_means(judging *j, qsr_error *e)
{
    enum { AT_ONCE = 64 };
    const qsr_dataset *data = j->data;
    const uint64_t wanted = qsr_div_up(QSR_MEAN_ROWS, data->rows_per_unit),
                   n = data->train_units < wanted ? data->train_units : wanted;
    const size_t some = qsr_min_size(data->info.units_per_read * qsr_pool_threads(data->pool), AT_ONCE);
    double *sums = qsr_xcalloc(data->n_taps * data->d_in, sizeof *sums);
    uint64_t units[AT_ONCE], rows = 0;
    qsr_status status = QSR_OK;
    for (uint64_t i = 0; !status && i < n;) {
        size_t now = 0;
        for (; now < some && i < n; i++) units[now++] = spread(i, n, data->train_units);
        status = add_units(j, units, now, &rows, sums, e);
    }
    for (size_t tap = 0; !status && rows && tap < data->n_taps; tap++)
        for (size_t i = 0; j->means[tap] && i < data->d_in; i++)
            j->means[tap][i] = (float)(sums[tap * data->d_in + i] / (double)rows);
    free(sums);
    return status;
}

/* ---- reconstructions --------------------------------------------------------------------------------------------- */

typedef struct {
    const qsr_sae *sae;
    qsr_encoder encoder;
    qsr_code code;
    float *x, *xc; /* [TILE][d_in] */
    qsr_row_scale scale[TILE];
} workspace;

static qsr_status begin_work(const qsr_sae *sae, workspace *w, qsr_error *e)
{
    const size_t d = sae->params.d_in, d_sae = sae->params.d_sae;
    *w = (workspace){.sae = sae};
    qsr_status status = qsr_encoder_create(sae, TILE, &w->encoder, e);
    if (!status) status = qsr_code_alloc(TILE, d_sae, TILE * d_sae, sae->ops->planes, &w->code, e);
    w->x = qsr_block_raw(TILE, d * sizeof(float));
    w->xc = qsr_block_raw(TILE, d * sizeof(float));
    return status || (w->x && w->xc) ? status : qsr_fail_nomem(e, "a tile of rows", 2 * TILE * d * sizeof(float));
}

static void end_work(workspace *w)
{
    qsr_encoder_free(&w->encoder);
    qsr_code_free(&w->code);
    qsr_block_free(w->x);
    qsr_block_free(w->xc);
}

/* rows[n][d_in], n <= TILE, become their reconstructions. */
static qsr_status reconstruct(workspace *w, float *rows, size_t n, qsr_error *e)
{
    const qsr_sae *sae = w->sae;
    qsr_normalise_rows(&sae->normalise, rows, n, sae->params.d_in, w->x, w->scale);
    qsr_sae_centre(sae, w->x, n, w->xc);
    qsr_status status = qsr_sae_encode(sae, QSR_EVAL, w->xc, n, 0, n, &w->encoder, &w->code, e);
    if (status) return status;
    qsr_sae_decode(sae, &w->code, w->x, NULL);
    qsr_denormalise_rows(w->scale, w->x, n, sae->params.d_in, rows);
    return QSR_OK;
}

/* The rows at `at`, gathered tile by tile, so that nothing else is in their products. */
static qsr_status replace_rows(const qsr_sae *sae, float *const *at, size_t n, qsr_error *e)
{
    const size_t bytes = sae->params.d_in * sizeof(float);
    workspace w;
    float *tile = qsr_block_raw(TILE, bytes);
    qsr_status status = begin_work(sae, &w, e);
    if (!status && !tile) status = qsr_fail_nomem(e, "a tile of rows", TILE * bytes);
    for (size_t begin = 0; !status && begin < n; begin += TILE) {
        const size_t now = qsr_min_size(TILE, n - begin);
        for (size_t r = 0; r < now; r++) memcpy(tile + r * sae->params.d_in, at[begin + r], bytes);
        status = reconstruct(&w, tile, now, e);
        for (size_t r = 0; !status && r < now; r++) memcpy(at[begin + r], tile + r * sae->params.d_in, bytes);
    }
    end_work(&w);
    qsr_block_free(tile);
    return status;
}

/* ---- replacing, called back by the plugin ------------------------------------------------------------------------ */

/* at[] = the rows that take part, in order; returns how many. */
static size_t rows_that_count(const piece *p, size_t first, size_t n, float *rows, float **at)
{
    const qsr_dataset *data = p->of->data;
    const uint8_t *keep = p->keep + first * data->rows_per_unit;
    size_t count = 0;
    for (size_t u = 0; u < n; u++)
        for (size_t r = 0; r < data->rows_per_unit; r++)
            if (keep[u * data->rows_per_unit + r])
                at[count++] = rows + (u * data->info.rows_per_unit + data->skip_first + r) * data->d_in;
    return count;
}

/* This runs inside a call of the plugin, and an activation is another: its scratch is nested. An SAE that fails keeps the model's
 * rows; the others go on. */
static qsr_status replace(void *ctx, size_t index, size_t first, size_t n, float *rows)
{
    const piece *p = ctx;
    judging *j = p->of;
    const variant *v = &j->variants[index];
    const size_t bytes = j->data->d_in * sizeof(float);
    float **at = qsr_xcalloc(n * j->data->rows_per_unit, sizeof *at);
    const size_t count = rows_that_count(p, first, n, rows, at);
    for (size_t r = 0; v->what == ZEROS && r < count; r++) memset(at[r], 0, bytes);
    for (size_t r = 0; v->what == MEANS && r < count; r++) memcpy(at[r], j->means[v->tap], bytes);
    if (v->what == RECONSTRUCTIONS) {
        qsr_error e = {0};
        const size_t nest = qsr_host_nest();
        if (replace_rows(j->spliced[v->index].sae, at, count, &e))
            qsr_first_error_note(&j->sae_failed[v->index], (size_t)p->first + first, &e);
        qsr_host_unnest(nest);
    }
    free(at);
    return QSR_OK;
}

/* ---- one piece --------------------------------------------------------------------------------------------------- */

static void add_losses(const piece *p, size_t index)
{
    const judging *j = p->of;
    const qsr_dataset *data = j->data;
    const qsr_spliced *one = &j->spliced[index];
    const size_t whole = data->info.rows_per_unit, each = p->n * whole, v = j->sae_at[index];
    loss_sums *s = &p->sums[index];
    *s = (loss_sums){0};
    if (v == SIZE_MAX) return;
    const double *zero = p->loss + (1 + j->zero_at[one->tap]) * each, *mean = p->loss + (1 + j->mean_at[one->tap]) * each;
    for (size_t u = 0; u < p->n; u++)
        for (size_t r = 0; data->skip_first + r + 1 < whole; r++) {
            const size_t at = u * whole + data->skip_first + r;
            const uint64_t place = (p->first + u) * data->rows_per_unit + r;
            if (!p->keep[u * data->rows_per_unit + r] || place >= one->tokens) continue;
            s->clean += p->loss[at];
            s->sae += p->loss[(1 + v) * each + at];
            s->zero += zero[at];
            s->mean += mean[at];
            s->kl += p->kl[v * each + at];
            s->kl_zero += p->kl[j->zero_at[one->tap] * each + at];
            s->tokens++;
        }
}

static qsr_status run_piece(piece *p, qsr_error *e)
{
    judging *j = p->of;
    const qsr_dataset *data = j->data;
    uint64_t *units = qsr_xcalloc(p->n, sizeof *units);
    for (size_t i = 0; i < p->n; i++) units[i] = data->held_first + p->first + i;
    const qsr_splice splice = {.struct_size = sizeof splice,
                               .ctx = p,
                               .n_variants = j->n_variants,
                               .tap = j->taps,
                               .replace = replace,
                               .loss = p->loss,
                               .kl = p->kl};
    qsr_status status = qsr_dataset_mask(data, units, p->n, p->keep, e);
    if (!status) status = qsr_made_finish(data->made, j->ops->run(data->made->instance, units, p->n, &splice), e);
    if (status == QSR_END)
        status =
            qsr_fail(e, QSR_E_INTERNAL, "dataset %s: run of %s returned QSR_END", data->made->plugin->name, QSR_EXT_SPLICE);
    free(units);
    for (size_t i = 0; !status && i < j->n_spliced; i++) add_losses(p, i);
    return status;
}

static qsr_status run_pieces(void *arg, size_t begin, size_t end)
{
    judging *j = arg;
    qsr_error e = {0};
    for (size_t i = begin; i < end; i++)
        if (run_piece(&j->pieces[i], &e)) return qsr_first_error_note(&j->failed, i, &e);
    return QSR_OK;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

static void add_variant(judging *j, variant v, size_t *ret_at)
{
    j->variants[j->n_variants] = v;
    j->taps[j->n_variants] = j->data->first_tap + v.tap;
    *ret_at = j->n_variants++;
}

/* Zeros and means for every tap that is looked at, and the SAEs that still want tokens from `rows` on. */
static void choose_variants(judging *j, uint64_t rows)
{
    j->n_variants = 0;
    for (size_t tap = 0; tap < j->data->n_taps; tap++) {
        bool wanted = false;
        for (size_t i = 0; i < j->n_spliced; i++) wanted |= j->spliced[i].tap == tap && j->spliced[i].tokens > rows;
        if (!wanted) continue;
        add_variant(j, (variant){ZEROS, tap, 0}, &j->zero_at[tap]);
        add_variant(j, (variant){MEANS, tap, 0}, &j->mean_at[tap]);
    }
    for (size_t i = 0; i < j->n_spliced; i++) {
        j->sae_at[i] = SIZE_MAX;
        if (j->spliced[i].tokens > rows) add_variant(j, (variant){RECONSTRUCTIONS, j->spliced[i].tap, i}, &j->sae_at[i]);
    }
}

static void add_sums(loss_sums *to, const loss_sums *s)
{
    to->clean += s->clean;
    to->sae += s->sae;
    to->zero += s->zero;
    to->mean += s->mean;
    to->kl += s->kl;
    to->kl_zero += s->kl_zero;
    to->tokens += s->tokens;
}

/* Pieces are units_per_read units whatever the number of threads, and their sums are added in order. */
static qsr_status run_round(judging *j, uint64_t *next, uint64_t end, qsr_error *e)
{
    const size_t at_once = j->data->info.units_per_read;
    size_t n = 0;
    choose_variants(j, *next * j->data->rows_per_unit);
    for (; n < j->n_pieces && *next < end; n++) {
        piece *p = &j->pieces[n];
        p->first = *next;
        p->n = end - *next < at_once ? (size_t)(end - *next) : at_once;
        *next += p->n;
    }
    qsr_first_error_init(&j->failed);
    qsr_status status = qsr_pool_run(j->data->pool, n, 1, run_pieces, j);
    if (status) *e = j->failed.error;
    for (size_t k = 0; !status && k < n; k++)
        for (size_t i = 0; i < j->n_spliced; i++) add_sums(&j->sums[i], &j->pieces[k].sums[i]);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static qsr_status begin_pieces(judging *j, qsr_error *e)
{
    const qsr_dataset *data = j->data;
    const size_t units = data->info.units_per_read, each = units * data->info.rows_per_unit,
                 bytes = (2 * j->most + 1) * each * sizeof(double);
    j->n_pieces = qsr_pool_threads(data->pool);
    j->pieces = qsr_xcalloc(j->n_pieces, sizeof *j->pieces);
    for (size_t i = 0; i < j->n_pieces; i++) {
        piece *p = &j->pieces[i];
        *p = (piece){
            .of = j, .keep = qsr_xcalloc(units, data->rows_per_unit), .sums = qsr_xcalloc(j->n_spliced, sizeof *p->sums)};
        p->loss = qsr_block_raw((j->most + 1) * each, sizeof(double));
        p->kl = qsr_block_raw(j->most * each, sizeof(double));
        if (!p->loss || !p->kl) return qsr_fail_nomem(e, "losses of the model", bytes);
    }
    return QSR_OK;
}

static qsr_status begin_judging(judging *j, qsr_error *e)
{
    const qsr_dataset *data = j->data;
    j->most = 2 * data->n_taps + j->n_spliced;
    j->variants = qsr_xcalloc(j->most, sizeof *j->variants);
    j->taps = qsr_xcalloc(j->most, sizeof *j->taps);
    j->zero_at = qsr_xcalloc(data->n_taps, sizeof *j->zero_at);
    j->mean_at = qsr_xcalloc(data->n_taps, sizeof *j->mean_at);
    j->sae_at = qsr_xcalloc(j->n_spliced, sizeof *j->sae_at);
    j->sums = qsr_xcalloc(j->n_spliced, sizeof *j->sums);
    j->sae_failed = qsr_xcalloc(j->n_spliced, sizeof *j->sae_failed);
    j->means = qsr_xcalloc(data->n_taps, sizeof *j->means);
    for (size_t i = 0; i < j->n_spliced; i++) {
        float **mean = &j->means[j->spliced[i].tap];
        qsr_first_error_init(&j->sae_failed[i]);
        if (!*mean) *mean = qsr_xcalloc(data->d_in, sizeof **mean);
    }
    return begin_pieces(j, e);
}

static void end_judging(judging *j)
{
    for (size_t i = 0; j->pieces && i < j->n_pieces; i++) {
        free(j->pieces[i].keep);
        free(j->pieces[i].sums);
        qsr_block_free(j->pieces[i].loss);
        qsr_block_free(j->pieces[i].kl);
    }
    for (size_t tap = 0; j->means && tap < j->data->n_taps; tap++) free(j->means[tap]);
    void *blocks[] = {j->pieces, j->variants, j->taps, j->zero_at, j->mean_at, j->sae_at, j->sums, j->sae_failed, j->means};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
}

static void conclude(const judging *j, size_t index)
{
    const loss_sums *s = &j->sums[index];
    qsr_spliced *one = &j->spliced[index];
    const double n = (double)s->tokens;
    one->error = j->sae_failed[index].error;
    qsr_loss_metrics *m = &one->metrics;
    *m = (qsr_loss_metrics){.ce_clean = s->clean / n,
                            .ce_sae = s->sae / n,
                            .ce_zero = s->zero / n,
                            .ce_mean = s->mean / n,
                            .kl = s->kl / n,
                            .kl_zero = s->kl_zero / n,
                            .ce_tokens = n};
    m->ce_recovered_zero = (m->ce_zero - m->ce_sae) / (m->ce_zero - m->ce_clean);
    m->ce_recovered_mean = (m->ce_mean - m->ce_sae) / (m->ce_mean - m->ce_clean);
}

qsr_status qsr_splice_judge(qsr_spliced *spliced, size_t n, const qsr_dataset *data,
                            void (*progress)(void *ctx, uint64_t rows), void *ctx, qsr_error *e)
{
    judging j = {.data = data, .ops = qsr_made_extension(data->made, QSR_EXT_SPLICE), .spliced = spliced, .n_spliced = n};
    uint64_t rows = 0, next = 0;
    for (size_t i = 0; i < n; i++) {
        if (spliced[i].tokens > data->held_rows) spliced[i].tokens = data->held_rows;
        if (spliced[i].tokens > rows) rows = spliced[i].tokens;
    }
    const uint64_t end = rows / data->rows_per_unit + (rows % data->rows_per_unit != 0);
    if (!end) return QSR_OK;
    qsr_status status = begin_judging(&j, e);
    if (!status) status = find_means(&j, e);
    while (!status && next < end) {
        status = run_round(&j, &next, end, e);
        if (progress) progress(ctx, next < end ? next * data->rows_per_unit : rows);
    }
    for (size_t i = 0; !status && i < n; i++) conclude(&j, i);
    end_judging(&j);
    return status;
}

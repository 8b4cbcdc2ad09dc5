#include "lab/forecast.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "train/schedule.h"

/* ---- speed ------------------------------------------------------------------------------------------------------- */

enum { ROWS = 256, LATENTS = 512, WIDTH = 256, ROUNDS = 4 };

typedef struct {
    float *a, *b, *c; /* c: one for each thread */
} products;

static qsr_status multiply(void *arg, size_t begin, size_t end)
{
    const products *p = arg;
    float *c = p->c + (size_t)qsr_pool_worker() * ROWS * LATENTS;
    for (size_t i = begin; i < end; i++) qsr_gemm(false, true, ROWS, LATENTS, WIDTH, 1, p->a, WIDTH, p->b, WIDTH, 0, c, LATENTS);
    return QSR_OK;
}

/* Operations per second in products as the encoder's, on all threads: the best of a few rounds of some milliseconds. */
static double measure_flops(qsr_pool *pool)
{
    unsigned threads = qsr_pool_threads(pool);
    size_t count = (size_t)threads * 32;
    double best = 0;
    products p = {qsr_block_alloc(ROWS * WIDTH, sizeof(float)), qsr_block_alloc(LATENTS * WIDTH, sizeof(float)),
                  qsr_block_alloc((size_t)threads * ROWS * LATENTS, sizeof(float))};
    for (int round = 0; p.a && p.b && p.c && round < ROUNDS; round++) {
        double start = qsr_clock();
        qsr_pool_run(pool, count, 1, multiply, &p);
        double speed = 2.0 * ROWS * LATENTS * WIDTH * (double)count / (qsr_clock() - start + 1e-9);
        if (speed > best) best = speed;
    }
    qsr_block_free(p.a);
    qsr_block_free(p.b);
    qsr_block_free(p.c);
    return best;
}

/* ---- one cell ---------------------------------------------------------------------------------------------------- */

enum { METRICS_LINE = 150, LOSS_KEY = 36, TIMING_LINE = 310, TOKEN_LINE = 64, LATENT_LINE = 75, CONTEXTS_LINE = 32,
       CONTEXT = 64, CONTEXT_TEXT = 48, TOKEN_TEXT = 5, REST = 8192 /* spec, manifest, result, cfg */ };

static size_t log_bytes(const qsr_spec *spec)
{
    size_t lines = (size_t)(qsr_training_steps(&spec->train) / (uint64_t)spec->train.log_every + 1);
    return lines * (METRICS_LINE + LOSS_KEY * spec->n_losses + TIMING_LINE);
}

/* latents.csv and top_contexts.jsonl */
static size_t latent_bytes(const qsr_spec *spec)
{
    const qsr_eval_options *o = &spec->eval;
    const qsr_plugin *data = spec->dataset.plugin;
    if (!o->latents || !o->tokens) return 0;
    bool has_tokens = data->extension && data->extension(QSR_EXT_TOKENS);
    size_t window = (size_t)(o->context_before + 1 + o->context_after);
    size_t context = CONTEXT + (has_tokens ? CONTEXT_TEXT + window * TOKEN_TEXT : 0);
    size_t contexts = o->top_contexts ? CONTEXTS_LINE + (size_t)o->top_contexts * context : 0;
    return (size_t)spec->sae.d_sae * (LATENT_LINE + contexts);
}

static void foresee_disk(const qsr_spec *spec, qsr_forecast_cell *c)
{
    size_t d_sae = (size_t)spec->sae.d_sae, weights = (2 * c->d_in * d_sae + c->d_in + d_sae) * sizeof(float);
    uint64_t written = qsr_training_steps(&spec->train) / (uint64_t)spec->train.checkpoint_every + 1;
    c->checkpoint = 3 * weights + 16 * d_sae; /* with both moments, counters, a plugin's vectors */
    c->left = weights + (size_t)spec->eval.tokens * TOKEN_LINE + latent_bytes(spec) + log_bytes(spec) + REST;
    c->disk = c->left + c->checkpoint * (written < 2 ? 1 : 2);
}

static qsr_would decide(const qsr_survey_cell *c, unsigned rerun)
{
    switch (c->state) {
    case QSR_CELL_RUNNING: return QSR_WOULD_SKIP;
    case QSR_CELL_DONE: return rerun & QSR_RERUN_ALL ? QSR_WOULD_TRAIN : QSR_WOULD_SKIP;
    case QSR_CELL_FAILED: return rerun & (QSR_RERUN_ALL | QSR_RERUN_FAILED) ? QSR_WOULD_TRAIN : QSR_WOULD_SKIP;
    case QSR_CELL_STALE: return rerun & (QSR_RERUN_ALL | QSR_RERUN_STALE) ? QSR_WOULD_TRAIN : QSR_WOULD_SKIP;
    case QSR_CELL_INTERRUPTED: return c->step && !(rerun & QSR_RERUN_ALL) ? QSR_WOULD_RESUME : QSR_WOULD_TRAIN;
    default: return QSR_WOULD_TRAIN;
    }
}

double qsr_forecast_products(const qsr_spec *spec, size_t d_in)
{
    double d_sae = (double)spec->sae.d_sae, kept = (double)qsr_plan_kept(spec, d_in);
    if (kept == 0) kept = d_sae / 4;
    return 1 + 12 * kept / d_sae + 80 / (double)qsr_max_size(d_in, 1) + 128 / (double)spec->train.batch;
}

/* What `steps` more of it take. */
static void foresee_cost(qsr_forecast *f, size_t index, const qsr_spec *spec, uint64_t steps, unsigned threads)
{
    qsr_forecast_cell *c = &f->cells[index];
    c->d_in = f->plan.d_in[index];
    c->memory = qsr_plan_cell_bytes(spec, c->d_in, threads);
    foresee_disk(spec, c);
    c->steps = steps;
    double product = 2.0 * (double)spec->train.batch * (double)c->d_in * (double)spec->sae.d_sae;
    c->products = qsr_forecast_products(spec, c->d_in);
    c->seconds = f->flops > 0 ? (double)steps * product * c->products / f->flops : 0;
}

static void foresee(qsr_forecast *f, size_t index, const qsr_spec *spec, const qsr_run_options *o)
{
    qsr_forecast_cell *c = &f->cells[index];
    const qsr_survey_cell *found = &f->survey.cells[index];
    uint64_t steps = qsr_training_steps(&spec->train);
    c->would = c->group ? decide(found, o->rerun) : QSR_WOULD_NOTHING;
    if (c->would == QSR_WOULD_RESUME) steps -= qsr_min_size((size_t)found->step, (size_t)steps);
    foresee_cost(f, index, spec, steps, qsr_pool_threads(o->pool));
    if (c->would == QSR_WOULD_SKIP || c->would == QSR_WOULD_NOTHING) {
        c->disk = c->left = 0;
        c->steps = 0;
        c->seconds = 0;
    }
}

static void sum_up(qsr_forecast *f)
{
    size_t largest = 0;
    double steps = 0;
    for (size_t i = 0; i < f->n; i++) {
        const qsr_forecast_cell *c = &f->cells[i];
        if (c->would != QSR_WOULD_TRAIN && c->would != QSR_WOULD_RESUME) continue;
        f->trained++;
        f->disk += c->disk;
        f->left += c->left;
        f->seconds += c->seconds;
        f->products += c->products * (double)c->steps;
        steps += (double)c->steps;
        largest = qsr_max_size(largest, c->checkpoint);
    }
    if (steps > 0) f->products /= steps;
    f->disk += largest;
}

static void number_groups(qsr_forecast *f)
{
    for (size_t g = 0; g < f->plan.n; g++)
        for (size_t i = 0; i < f->plan.groups[g].n; i++) f->cells[f->plan.groups[g].cells[i]].group = g + 1;
}

void qsr_forecast_outline(const qsr_spec *const *cells, size_t n, qsr_pool *pool, qsr_forecast *ret)
{
    const qsr_run_options options = {.pool = pool};
    *ret = (qsr_forecast){.n = n, .cells = qsr_xcalloc(n, sizeof *ret->cells)};
    qsr_plan_make(cells, n, &options, true, &ret->plan);
    ret->flops = measure_flops(pool);
    number_groups(ret);
    for (size_t i = 0; i < n; i++) foresee_cost(ret, i, cells[i], qsr_training_steps(&cells[i]->train), qsr_pool_threads(pool));
    sum_up(ret);
}

qsr_status qsr_forecast_make(const qsr_spec *const *cells, size_t n, const qsr_run_options *o, qsr_forecast *ret,
                             qsr_problems *problems, qsr_error *e)
{
    *ret = (qsr_forecast){.n = n, .cells = qsr_xcalloc(n, sizeof *ret->cells)};
    qsr_plan_make(cells, n, o, true, &ret->plan);
    qsr_status status = qsr_plan_check(&ret->plan, cells, o, problems, e);
    if (status) return status;
    qsr_survey_spec(cells, n, o->out, o->registry, &ret->survey);
    ret->flops = measure_flops(o->pool);
    number_groups(ret);
    for (size_t i = 0; i < n; i++) foresee(ret, i, cells[i], o);
    sum_up(ret);
    return QSR_OK;
}

void qsr_forecast_free(qsr_forecast *f)
{
    qsr_survey_free(&f->survey);
    qsr_plan_free(&f->plan);
    free(f->cells);
    *f = (qsr_forecast){0};
}

#include "lab/group.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sizes.h"
#include "data/feed.h"
#include "lab/origin.h"

typedef struct {
    const qsr_run_options *options;
    qsr_dataset data;
    size_t n;
    qsr_cell *cells;
    qsr_cursor *cursor;
    qsr_feed *feed;
    float *const *rows; /* [n_taps][have][d_in], the feed's */
    uint64_t at;        /* rows of the stream before those in `rows` */
    size_t have;        /* rows in `rows` */
    double waited;      /* seconds, for them: once for all cells */
} group;

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static qsr_status open_data(group *g, const qsr_spec *const *specs, size_t n, size_t *taps, qsr_problems *problems,
                            qsr_error *e)
{
    size_t guilty = 0;
    qsr_status status = qsr_dataset_open_many(specs, n, g->options->pool, &g->data, taps, &guilty, e);
    if (status) qsr_cell_blame(specs[guilty], &specs[guilty]->dataset, e, problems);
    return status;
}

static qsr_status prepare_cells(group *g, const qsr_spec *const *specs, qsr_run_summary *const *summaries,
                                const size_t *taps, qsr_problems *problems, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < g->n; i++) {
        status = qsr_cell_prepare(&g->cells[i], specs[i], g->options, summaries[i], &g->data, taps[i], problems, e);
        if (!status) status = qsr_cell_look(&g->cells[i], e);
        if (status == QSR_E_STATE) { /* this one cannot go on; the others can */
            g->cells[i].over = true;
            summaries[i]->outcome = QSR_RUN_STALE;
            snprintf(summaries[i]->reason, sizeof summaries[i]->reason, "%s", e->text);
            *e = (qsr_error){0};
            status = QSR_OK;
        }
        if (!status && g->cells[i].over) qsr_cell_close(&g->cells[i]); /* its memory is not needed */
    }
    return status;
}

static size_t count_active(const group *g)
{
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) n += !g->cells[i].over;
    return n;
}

/* ---- starting fresh cells: the first rows of the stream, once for all -------------------------------------------- */

static bool is_fresh(const qsr_cell *c) { return !c->over && !c->summary->resumed; }

static bool wants_rows(const qsr_cell *c) { return c->starter && qsr_starter_wants_rows(c->starter); }

static void feed_starters(void *arg, float *const *rows, size_t n)
{
    group *g = arg;
    for (size_t i = 0; i < g->n; i++)
        if (wants_rows(&g->cells[i])) qsr_starter_take(g->cells[i].starter, rows[g->cells[i].tap], n);
}

/* From the training cursor, which keeps what it read: the first window is not read twice. */
static qsr_status read_first_rows(group *g, qsr_error *e)
{
    for (size_t i = 0; i < g->n; i++)
        if (wants_rows(&g->cells[i])) return qsr_cursor_sample(g->cursor, QSR_START_ROWS, feed_starters, g, e);
    return QSR_OK;
}

/* What is wrong with the first rows is told of the first cell's dataset: it is everybody's. */
static qsr_status start_fresh_cells(group *g, const qsr_spec *spec, qsr_problems *problems, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < g->n; i++)
        if (is_fresh(&g->cells[i]) && (status = qsr_starter_create(g->cells[i].learner, &g->cells[i].starter, e)))
            spec = g->cells[i].spec;
    if (!status) status = read_first_rows(g, e);
    for (size_t i = 0; !status && i < g->n; i++)
        if (g->cells[i].starter) {
            status = qsr_starter_finish(g->cells[i].starter, e);
            if (status) spec = g->cells[i].spec;
            qsr_starter_free(g->cells[i].starter);
            g->cells[i].starter = NULL;
        }
    if (status) qsr_cell_blame(spec, &spec->dataset, e, problems);
    return status;
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* Rows read at once: no more than anybody's batch needs. Not part of the arithmetic. */
static size_t chunk_rows(const group *g)
{
    size_t rows = 1;
    for (size_t i = 0; i < g->n; i++)
        if (!g->cells[i].over) rows = qsr_max_size(rows, qsr_min_size(g->cells[i].learner->batch, QSR_ROWS_AT_ONCE));
    return rows;
}

/* How far the stream is needed, and where it must begin. */
static uint64_t rows_needed(const group *g)
{
    uint64_t most = 0;
    for (size_t i = 0; i < g->n; i++) {
        uint64_t need = g->cells[i].over ? 0 : g->cells[i].learner->steps * g->cells[i].learner->batch;
        if (need > most) most = need;
    }
    return most;
}

static uint64_t earliest(const group *g)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < g->n; i++)
        if (!g->cells[i].over && g->cells[i].seen < least) least = g->cells[i].seen;
    return least;
}

/* The next rows, none when the stream is over or somebody wants to stop. */
static qsr_status read_rows(group *g, qsr_error *e)
{
    double start = qsr_clock();
    qsr_status status = qsr_feed_next(g->feed, g->options->stop, &g->rows, &g->have, e);
    g->waited += qsr_clock() - start;
    return status;
}

static qsr_status create_cursor(group *g, const qsr_spec *spec, qsr_problems *problems, qsr_error *e)
{
    qsr_status status = qsr_cursor_create(&g->data, &spec->data, &g->cursor, e);
    if (status) qsr_cell_blame(spec, &spec->dataset, e, problems);
    return status;
}

/* The training cursor at the earliest cell's place, and the first rows: most of what can be wrong with data shows here. */
static qsr_status open_stream(group *g, const qsr_spec *spec, qsr_problems *problems, qsr_error *e)
{
    g->at = earliest(g);
    qsr_position at;
    qsr_status status = qsr_cursor_position_of(g->cursor, g->at, &at, e);
    if (!status) {
        qsr_cursor_seek(g->cursor, at);
        status = qsr_feed_create(g->cursor, &g->data, chunk_rows(g), rows_needed(g) - g->at, !g->options->read_in_turn,
                                 &g->feed, e);
    }
    if (!status) status = read_rows(g, e);
    if (!status && !g->have && g->at < rows_needed(g)) return qsr_fail(e, QSR_E_IO, "interrupted while the first rows were read");
    if (status) qsr_cell_blame(spec, &spec->dataset, e, problems);
    return status;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static bool stopped(const group *g) { return g->options->stop && *g->options->stop; }

static bool somebody_failed(const group *g)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->cells[i].summary && g->cells[i].summary->outcome == QSR_RUN_FAILED) return true;
    return false;
}

static void fail_everybody(group *g, const qsr_error *why)
{
    for (size_t i = 0; i < g->n; i++)
        if (!g->cells[i].over && !qsr_cell_trained(&g->cells[i])) qsr_cell_fail(&g->cells[i], why);
}

static void announce(const group *g)
{
    const qsr_run_watcher *w = &g->options->watcher;
    uint64_t steps = 0, done = 0, tokens = 0;
    size_t active = 0;
    const char *name = "";
    for (size_t i = 0; i < g->n; i++) {
        if (g->cells[i].over) continue;
        const qsr_learner *l = g->cells[i].learner;
        steps += l->steps;
        done += l->step;
        tokens += l->step * l->batch;
        name = g->cells[i].spec->name;
        active++;
    }
    if (w->begin) w->begin(w->ctx, name, active, steps, done, tokens);
}

static void train(group *g)
{
    while (g->have && !stopped(g)) {
        for (size_t i = 0; i < g->n; i++)
            if (!g->cells[i].over) qsr_cell_feed(&g->cells[i], g->at, g->rows[g->cells[i].tap], g->have);
        g->at += g->have;
        g->have = 0;
        if (g->at >= rows_needed(g) || count_active(g) == 0) break;
        if (g->options->stop_at_failure && somebody_failed(g)) break;
        qsr_error e = {0};
        if (!stopped(g) && read_rows(g, &e) && !stopped(g)) fail_everybody(g, &e);
    }
    for (size_t i = 0; i < g->n; i++) qsr_cell_pause(&g->cells[i]);
}

/* ---- afterwards: everybody is judged in one more pass ------------------------------------------------------------ */

/* A function of how many rows the cell was trained on, not of when anybody read them. */
static void count_excluded(group *g, qsr_cell *c, qsr_error *e)
{
    qsr_cursor_excluded(g->cursor, c->learner->steps * c->learner->batch, &c->excluded, e);
}

static void evaluate(group *g)
{
    const qsr_run_watcher *w = &g->options->watcher;
    qsr_judged *judged = qsr_xcalloc(g->n, sizeof *judged);
    qsr_cell **cell = qsr_xcalloc(g->n, sizeof *cell);
    size_t n = 0;
    for (size_t i = 0; i < g->n; i++) {
        qsr_cell *c = &g->cells[i];
        if (c->over || !qsr_cell_trained(c)) continue;
        const qsr_origin origin = qsr_origin_of(c->spec, &g->data, c->tap);
        cell[n] = c;
        judged[n++] = (qsr_judged){.sae = &c->learner->sae,
                                   .tap = c->tap,
                                   .layer = qsr_origin_count(&origin, "hook.layer"),
                                   .ce_tokens = (uint64_t)c->spec->eval.ce_tokens,
                                   .tokens_csv = g->data.held_rows ? qsr_store_path(&c->store, "tokens.csv") : NULL,
                                   .latents = qsr_cell_latent_files(c->spec, c->store.folder, &c->store.arena)};
    }
    qsr_error e = {0};
    double start = qsr_clock();
    qsr_evaluate_options options = {.ctx = w->ctx, .progress = w->evaluating};
    qsr_status status = n ? qsr_evaluate(judged, n, &g->data, &options, &e) : QSR_OK;
    for (size_t i = 0; i < n; i++) {
        const qsr_error *why = status ? &e : &judged[i].error;
        if (why->code && stopped(g)) continue; /* trained, and judged the next time */
        cell[i]->summary->eval_seconds = qsr_clock() - start;
        cell[i]->summary->evaluation = judged[i].evaluation;
        if (!why->code) count_excluded(g, cell[i], &judged[i].error);
        if (why->code)
            qsr_cell_fail(cell[i], why);
        else
            qsr_cell_finish(cell[i]);
    }
    free(judged);
    free(cell);
}

/* What keeps every cell from being opened is returned; what keeps some, fails them alone. */
static qsr_status open_cells(group *g, qsr_error *e)
{
    qsr_error *why = qsr_xcalloc(g->n, sizeof *why);
    size_t opened = 0;
    for (size_t i = 0; i < g->n; i++) {
        g->cells[i].data_seconds = &g->waited;
        if (!g->cells[i].over && !qsr_cell_open(&g->cells[i], &why[i])) opened++;
    }
    for (size_t i = 0; i < g->n; i++) {
        if (!why[i].code) continue;
        if (opened)
            qsr_cell_fail(&g->cells[i], &why[i]);
        else if (!e->code)
            *e = why[i];
    }
    free(why);
    return e->code;
}

static void close_group(group *g)
{
    for (size_t i = 0; i < g->n; i++) qsr_cell_close(&g->cells[i]);
    free(g->cells);
    qsr_feed_free(g->feed);
    qsr_cursor_free(g->cursor);
    qsr_dataset_close(&g->data);
}

qsr_status qsr_group_run(const qsr_spec *const *specs, qsr_run_summary *const *summaries, size_t n,
                         const qsr_run_options *options, qsr_problems *problems, qsr_error *e)
{
    group g = {.options = options, .n = n, .cells = qsr_xcalloc(n, sizeof(qsr_cell))};
    size_t *taps = qsr_xcalloc(n, sizeof *taps);
    for (size_t i = 0; i < n; i++) g.cells[i] = (qsr_cell){.lock = -1, .over = true};
    qsr_status status = open_data(&g, specs, n, taps, problems, e);
    g.data.stop = options->stop; /* until training ends: an evaluation that began is finished */
    if (!status) status = prepare_cells(&g, specs, summaries, taps, problems, e);
    if (!status && count_active(&g)) {
        status = create_cursor(&g, specs[0], problems, e);
        if (!status) status = start_fresh_cells(&g, specs[0], problems, e);
        if (!status) status = open_stream(&g, specs[0], problems, e);
        if (!status) status = open_cells(&g, e);
        if (!status) {
            announce(&g);
            train(&g);
            qsr_feed_free(g.feed);
            g.feed = NULL;
            g.data.stop = NULL;
            if (!stopped(&g)) evaluate(&g);
            if (options->watcher.end) options->watcher.end(options->watcher.ctx);
        }
    }
    close_group(&g);
    free(taps);
    return status;
}

qsr_status qsr_group_check(const qsr_spec *const *specs, size_t n, const qsr_run_options *options, qsr_problems *problems,
                           qsr_error *e)
{
    group g = {.options = options};
    size_t *taps = qsr_xcalloc(n, sizeof *taps);
    qsr_status status = open_data(&g, specs, n, taps, problems, e), first = status;
    for (size_t i = 0; !status && i < n; i++) {
        const qsr_block *guilty = NULL;
        qsr_error why = {0};
        qsr_status refused = qsr_learner_check(specs[i], g.data.d_in, &guilty, &why);
        if (refused && guilty) qsr_cell_blame(specs[i], guilty, &why, problems);
        if (refused && !first) first = refused, *e = why;
    }
    if (!status) qsr_dataset_close(&g.data);
    free(taps);
    return first;
}

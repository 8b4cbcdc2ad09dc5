#include "lab/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sizes.h"
#include "data/cursor.h"
#include "lab/manifest.h"
#include "lab/store.h"
#include "math/blas.h"
#include "math/kernel.h"
#include "train/start.h"

/* Everything one run holds. */
typedef struct {
    const qsr_spec *spec;
    const qsr_run_options *options;
    qsr_run_summary *summary;
    qsr_dataset data;
    qsr_learner *learner;
    qsr_cursor *cursor;
    float *rows; /* [batch][d_in] raw */
    qsr_manifest manifest;
    qsr_store store;
} run_state;

/* ---- before anything is on disk ---------------------------------------------------------------------------------- */

static qsr_status blame(run_state *r, const qsr_block *block, const qsr_error *e, qsr_problems *problems)
{
    qsr_spec_blame(r->spec, block, e, problems);
    return e->code;
}

static qsr_status check_length(const run_state *r, qsr_error *e)
{
    const qsr_data_options *d = &r->spec->data;
    uint64_t rows = qsr_cursor_epoch_rows(r->cursor), tokens = r->learner->steps * r->learner->batch;
    if (r->learner->steps == 0)
        return qsr_fail(e, QSR_E_OPTION, "train.tokens=%" PRId64 " is less than one batch of %zu", r->spec->train.tokens,
                        r->learner->batch);
    if (d->epochs == 0 || rows == UINT64_MAX || rows * (uint64_t)d->epochs >= tokens) return QSR_OK;
    return qsr_fail(e, QSR_E_OPTION, "train.tokens=%" PRId64 " asks for more than the %" PRIu64 " rows of dataset.epochs=%" PRId64,
                    r->spec->train.tokens, rows * (uint64_t)d->epochs, d->epochs);
}

static qsr_status open_all(run_state *r, qsr_problems *problems, qsr_error *e)
{
    const qsr_spec *spec = r->spec;
    const qsr_block *guilty = NULL;
    qsr_status status = qsr_blas_verify(e);
    if (!status) status = qsr_kernels_verify(e);
    if (status) return status;
    status = qsr_dataset_open(spec, r->options->pool, &r->data, e);
    if (status) return blame(r, &spec->dataset, e, problems);
    status = qsr_learner_create(spec, r->data.d_in, r->options->pool, &r->learner, &guilty, e);
    if (status && guilty) return blame(r, guilty, e, problems);
    if (!status) status = qsr_cursor_create(&r->data, &spec->data, &r->cursor, e);
    if (!status) status = check_length(r, e);
    return status;
}

static qsr_status read_batch(run_state *r, qsr_error *e)
{
    size_t got;
    qsr_status status = qsr_cursor_next(r->cursor, r->learner->batch, r->rows, &got, e);
    if (status == QSR_END) return qsr_fail(e, QSR_E_INTERNAL, "the data ended early");
    return status;
}

/* Weights, and the first batch: most of what can be wrong with the data shows here. */
static qsr_status prepare(run_state *r, qsr_error *e)
{
    qsr_status status = qsr_learner_start(r->learner, &r->data, e);
    if (status) return status;
    r->rows = qsr_block_raw(r->learner->batch, r->data.d_in * sizeof(float));
    if (!r->rows) return qsr_fail_nomem(e, "a batch of rows", r->learner->batch * r->data.d_in * sizeof(float));
    return read_batch(r, e);
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

static bool stopped(const run_state *r) { return r->options->stop && *r->options->stop; }

static bool is_logged(const qsr_learner *l)
{
    return l->report.step % (uint64_t)l->spec->train.log_every == 0 || l->report.step + 1 == l->steps;
}

static qsr_status log_timing(run_state *r, double since, uint64_t steps, qsr_error *e)
{
    json_t *line = json_object(), *phases = json_object();
    const qsr_learner *l = r->learner;
    double seconds = qsr_clock() - since;
    json_object_set_new(line, "step", json_integer((json_int_t)l->report.step));
    json_object_set_new(line, "seconds", qsr_json_real(seconds));
    json_object_set_new(line, "tokens_per_second", qsr_json_real((double)(steps * l->batch) / seconds));
    for (int p = 0; p < QSR_PHASES; p++) json_object_set_new(phases, qsr_phase_names[p], qsr_json_real(l->phase[p]));
    json_object_set_new(line, "phases", phases);
    return qsr_store_timing(&r->store, line, e);
}

static qsr_status train(run_state *r, qsr_error *e)
{
    qsr_learner *l = r->learner;
    const qsr_run_watcher *w = &r->options->watcher;
    double start = qsr_clock();
    uint64_t first = l->step;
    qsr_status status = QSR_OK;
    while (!status && l->step < l->steps && !stopped(r)) {
        if (l->step > first) status = read_batch(r, e);
        if (!status) status = qsr_learner_step(l, r->rows, e);
        if (status) break;
        if (is_logged(l)) status = qsr_store_step(&r->store, l, e);
        if (!status && is_logged(l)) status = log_timing(r, start, l->step - first, e);
        if (w->step) w->step(w->ctx, &l->report);
    }
    r->summary->steps = l->step;
    r->summary->tokens = l->step * l->batch;
    r->summary->train_seconds = qsr_clock() - start;
    r->summary->tokens_per_second = (double)((l->step - first) * l->batch) / r->summary->train_seconds;
    return status;
}

/* ---- afterwards -------------------------------------------------------------------------------------------------- */

int64_t qsr_lab_layer(const qsr_spec *spec)
{
    for (size_t i = 0; i < spec->dataset.plugin->n_options; i++) {
        const qsr_option *o = &spec->dataset.plugin->options[i];
        int64_t layer;
        if (o->type != QSR_OPT_INT || strcmp(o->name, "hook.layer") != 0) continue;
        memcpy(&layer, (const char *)spec->dataset.values + o->offset, sizeof layer);
        return layer;
    }
    return -1;
}

static qsr_status evaluate(run_state *r, qsr_error *e)
{
    const qsr_run_watcher *w = &r->options->watcher;
    double start = qsr_clock();
    qsr_evaluate_options options = {.tokens_csv = r->data.held_rows ? qsr_store_path(&r->store, "tokens.csv") : NULL,
                                    .layer = qsr_lab_layer(r->spec), .ctx = w->ctx, .progress = w->evaluating};
    qsr_status status = qsr_evaluate(&r->learner->sae, &r->data, &options, &r->summary->evaluation, e);
    r->summary->eval_seconds = qsr_clock() - start;
    r->summary->evaluated = !status;
    return status;
}

static qsr_status finish(run_state *r, qsr_error *e)
{
    qsr_status status = qsr_store_sae(&r->store, r->learner, e);
    if (!status) status = evaluate(r, e);
    qsr_result result = {"completed", NULL, r->learner, &r->data, &r->summary->evaluation};
    if (!status) status = qsr_store_result(&r->store, &result, e);
    if (!status) status = qsr_manifest_write(&r->manifest, &r->store, true, e);
    return status;
}

/* A cell that failed after its first step leaves its reason; the status of the run is then fine. */
static void record_failure(run_state *r, const qsr_error *why)
{
    qsr_error second = {0};
    snprintf(r->summary->reason, sizeof r->summary->reason, "%s", why->text);
    r->summary->outcome = QSR_RUN_FAILED;
    qsr_result result = {"failed", r->summary->reason, r->learner, &r->data, NULL};
    if (qsr_store_result(&r->store, &result, &second))
        qsr_log(QSR_LOG_WARNING, "the reason of the failure could not be written: %s", second.text);
}

static void run_on_disk(run_state *r, qsr_error *e)
{
    const qsr_run_watcher *w = &r->options->watcher;
    if (w->begin) w->begin(w->ctx, r->spec, r->store.folder, r->learner->steps, r->learner->step);
    qsr_status status = train(r, e);
    if (!status && stopped(r) && r->learner->step < r->learner->steps) {
        r->summary->outcome = QSR_RUN_INTERRUPTED;
    } else {
        if (!status) status = finish(r, e);
        if (status) record_failure(r, e);
        else r->summary->outcome = QSR_RUN_COMPLETED;
    }
    if (w->end) w->end(w->ctx);
    *e = (qsr_error){0};
}

/* ---- what is already there --------------------------------------------------------------------------------------- */

/* Whether the folder holds this very cell, completed under the same inputs, plugins and Quasar. */
static bool already_done(run_state *r)
{
    json_t *result = NULL, *manifest = NULL;
    qsr_error ignored = {0};
    bool done = !r->options->rerun &&
                !qsr_json_read(qsr_store_path(&r->store, "result.json"), 64 << 20, &result, &ignored) &&
                !qsr_json_read(qsr_store_path(&r->store, "manifest.json"), 64 << 20, &manifest, &ignored);
    const char *status = json_string_value(json_object_get(result, "status"));
    done = done && status && strcmp(status, "completed") == 0;
    if (done) {
        const char *stale = qsr_manifest_stale(&r->store.arena, manifest, r->manifest.root);
        if (stale) qsr_log(QSR_LOG_WARNING, "%s: training again, since %s", r->spec->id, stale);
        done = !stale;
    }
    json_decref(result);
    json_decref(manifest);
    return done;
}

static void close_all(run_state *r)
{
    qsr_store_close(&r->store);
    if (r->manifest.root) qsr_manifest_free(&r->manifest);
    qsr_block_free(r->rows);
    qsr_cursor_free(r->cursor);
    qsr_learner_free(r->learner);
    qsr_dataset_close(&r->data);
}

qsr_status qsr_lab_run(const qsr_spec *spec, const qsr_run_options *options, qsr_run_summary *ret, qsr_problems *problems,
                       qsr_error *e)
{
    *ret = (qsr_run_summary){0};
    run_state r = {.spec = spec, .options = options, .summary = ret};
    qsr_store_name(&r.store, options->out, spec);
    snprintf(ret->folder, sizeof ret->folder, "%s", r.store.folder);
    qsr_status status = open_all(&r, problems, e);
    if (!status) status = qsr_manifest_make(spec, options, &r.data, &r.manifest, e);
    if (!status && already_done(&r)) {
        ret->outcome = QSR_RUN_SKIPPED;
        snprintf(ret->reason, sizeof ret->reason, "already complete; --rerun trains it again");
        close_all(&r);
        return QSR_OK;
    }
    if (!status) status = prepare(&r, e);
    if (!status) status = qsr_store_create(&r.store, spec, e);
    if (!status) status = qsr_manifest_write(&r.manifest, &r.store, false, e);
    if (!status) run_on_disk(&r, e);
    close_all(&r);
    return status;
}

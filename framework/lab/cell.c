#include "lab/cell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sizes.h"
#include "base/text.h"
#include "lab/kept.h"
#include "math/blas.h"
#include "math/kernel.h"

enum { LARGEST_JSON = 64 << 20, KEPT_CHECKPOINTS = 2 };

/* ---- preparation: nothing on disk -------------------------------------------------------------------------------- */

void qsr_cell_blame(const qsr_spec *spec, const qsr_block *block, const qsr_error *e, qsr_problems *problems)
{
    if (e->code != QSR_E_NOMEM && e->code != QSR_E_INTERNAL) qsr_spec_blame(spec, block, e, problems);
}

static qsr_status check_length(const qsr_cell *c, qsr_error *e)
{
    const qsr_spec *spec = c->spec;
    uint64_t tokens = c->learner->steps * c->learner->batch, epochs = (uint64_t)spec->data.epochs, per_epoch = 0;
    qsr_status status = epochs ? qsr_dataset_train_rows(c->data, &per_epoch, e) : QSR_OK;
    if (status || epochs == 0 || per_epoch == UINT64_MAX) return status;
    if (per_epoch && (tokens - 1) / per_epoch < epochs) return QSR_OK;
    return qsr_fail_option(e, QSR_E_OPTION, "train.tokens",
                           "%" PRId64 " are more than dataset.epochs=%" PRIu64 " times the %" PRIu64
                           " rows for training: lower it, or raise dataset.epochs",
                           spec->train.tokens, epochs, per_epoch);
}

qsr_status qsr_cell_prepare(qsr_cell *c, const qsr_spec *spec, const qsr_run_options *options, qsr_run_summary *summary,
                            const qsr_dataset *data, size_t tap, qsr_problems *problems, qsr_error *e)
{
    const qsr_block *guilty = NULL;
    *c = (qsr_cell){.spec = spec, .options = options, .summary = summary, .data = data, .tap = tap, .lock = -1};
    qsr_store_name(&c->store, options->out, spec);
    snprintf(summary->folder, sizeof summary->folder, "%s", c->store.folder);
    qsr_status status = qsr_learner_create(spec, data->d_in, options->pool, &c->learner, &guilty, e);
    if (status && guilty) qsr_cell_blame(spec, guilty, e, problems);
    if (status) return status;
    status = check_length(c, e);
    if (!status) status = qsr_manifest_make(spec, options, data, &c->manifest, e);
    if (!status)
        json_object_set_new(json_object_get(c->manifest.root, "machine"), "screen", json_string(qsr_sae_screen_name(&c->learner->sae)));
    if (status) {
        qsr_cell_blame(spec, &spec->dataset, e, problems);
        return status;
    }
    c->rows = qsr_block_raw(c->learner->batch, data->d_in * sizeof(float));
    return c->rows ? QSR_OK : qsr_fail_nomem(e, "a batch of rows (train.batch)", c->learner->batch * data->d_in * sizeof(float));
}

/* ---- what is already there --------------------------------------------------------------------------------------- */

static void leave(qsr_cell *c, qsr_run_outcome outcome, const char *reason)
{
    c->summary->outcome = outcome;
    snprintf(c->summary->reason, sizeof c->summary->reason, "%s", reason);
    c->over = true;
}

/* `quasar status` holds a shared lock for a moment; that is no reason to give up. */
static bool take_lock(int fd)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    for (int tries = 0; tries < 20; tries++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* The lock is on the folder itself and dies with the process. Returns false when another process has it. */
static bool lock_folder(qsr_cell *c)
{
    c->lock = open(c->store.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0 || take_lock(c->lock)) return true;
    close(c->lock);
    c->lock = -1;
    leave(c, QSR_RUN_BUSY, "another process is training it");
    return false;
}

static json_t *read_json(qsr_cell *c, const char *file)
{
    json_t *json = NULL;
    if (!qsr_exists(qsr_store_path(&c->store, file))) return NULL;
    qsr_json_read(qsr_store_path(&c->store, file), LARGEST_JSON, &json, NULL);
    return json;
}

static int newest_first(const struct dirent **a, const struct dirent **b) { return -strcmp((*a)->d_name, (*b)->d_name); }

static int is_checkpoint(const struct dirent *entry)
{
    return qsr_starts_with(entry->d_name, "step-") && qsr_ends_with(entry->d_name, ".safetensors");
}

/* Paths of the checkpoints, newest first, in the store's arena; returns how many. */
static size_t list_checkpoints(qsr_cell *c, const char ***ret_paths)
{
    struct dirent **entries;
    const char *folder = qsr_store_path(&c->store, "checkpoint");
    int n = scandir(folder, &entries, is_checkpoint, newest_first);
    *ret_paths = qsr_arena_alloc(&c->store.arena, n > 0 ? (size_t)n : 1, sizeof **ret_paths);
    for (int i = 0; i < n; i++) {
        (*ret_paths)[i] = qsr_path_join(&c->store.arena, folder, entries[i]->d_name);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    return n > 0 ? (size_t)n : 0;
}

static qsr_status check_machine(const qsr_cell *c, const qsr_checkpoint_note *note, qsr_error *e)
{
    qsr_blas_info blas;
    qsr_blas_describe(&blas);
    const char *isa = qsr_kernels_get()->isa, *screen = qsr_sae_screen_name(&c->learner->sae);
    if (strcmp(note->isa, isa) == 0 && strcmp(note->kernel, blas.core) == 0 && strcmp(note->screen, screen) == 0) return QSR_OK;
    if (c->options->force) {
        qsr_log(QSR_LOG_WARNING, "%s: resumed under %s, BLAS kernel %s and screening %s, begun under %s, %s and %s", c->spec->id,
                isa, blas.core, screen, note->isa, note->kernel, note->screen);
        json_object_set_new(c->manifest.root, "forced", json_true());
        return QSR_OK;
    }
    return qsr_fail(e, QSR_E_STATE,
                    "%s was begun with instruction set %s, BLAS kernel %s and sae.screen %s; here they are %s, %s and %s, and a run "
                    "has one of each: go on there, force it with --force, or begin anew with --rerun all",
                    c->spec->id, note->isa, note->kernel, note->screen, isa, blas.core, screen);
}

/* A log shorter than its checkpoint says was cut or lost: going on would leave a hole. */
static qsr_status check_log(qsr_cell *c, const qsr_checkpoint_note *note, const char *path, qsr_error *e)
{
    struct stat about;
    const char *log = qsr_store_path(&c->store, "metrics.jsonl");
    if (stat(log, &about) == 0 && (uint64_t)about.st_size >= note->metrics_bytes) return QSR_OK;
    return qsr_fail(e, QSR_E_STATE, "%s is shorter than %s says", log, path);
}

/* A learner that a damaged checkpoint may have filled in part is made anew. */
static qsr_status begin_anew(qsr_cell *c, qsr_error *e)
{
    qsr_log(QSR_LOG_WARNING, "%s: no checkpoint is sound; it begins anew", c->spec->id);
    qsr_learner_free(c->learner);
    c->learner = NULL;
    return qsr_learner_create(c->spec, c->data->d_in, c->options->pool, &c->learner, NULL, e);
}

/* The newest checkpoint that is sound; those that are not are named in warnings. */
static qsr_status resume(qsr_cell *c, const json_t *manifest, qsr_error *e)
{
    const char **paths;
    size_t n = list_checkpoints(c, &paths);
    const char *stale = manifest ? qsr_manifest_stale(&c->store.arena, manifest, c->manifest.root) : "its manifest is missing";
    if (n && stale)
        return qsr_fail(e, QSR_E_STATE, "%s cannot go on where it was interrupted, since %s; --rerun stale begins anew", c->spec->id,
                        stale);
    for (size_t i = 0; i < n; i++) {
        qsr_error why = {0};
        qsr_checkpoint_note note;
        if (qsr_checkpoint_read(c->learner, &note, paths[i], &why) || check_log(c, &note, paths[i], &why)) {
            qsr_log(QSR_LOG_WARNING, i + 1 < n ? "%s; trying the one before" : "%s", why.text);
            continue;
        }
        qsr_status status = check_machine(c, &note, e);
        if (status) return status;
        if (json_is_true(json_object_get(manifest, "forced"))) json_object_set_new(c->manifest.root, "forced", json_true());
        c->store.metrics_bytes = note.metrics_bytes;
        c->store.resumed = c->summary->resumed = true;
        c->first_step = c->learner->step;
        c->seen = c->first_step * c->learner->batch;
        return QSR_OK;
    }
    return n ? begin_anew(c, e) : QSR_OK;
}

/* The metrics of a finished cell, for tables that show it beside new ones. */
static void recall_metrics(qsr_cell *c, const json_t *result)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(result, "metrics"), name, value)
        if (json_is_number(value)) qsr_evaluation_put(&c->summary->evaluation, name, json_number_value(value));
    c->summary->evaluated = true;
}

/* One that failed for want of room or memory goes on from its checkpoint; after any other failure it begins anew. */
static qsr_status look_at_failure(qsr_cell *c, const json_t *result, const json_t *manifest, qsr_error *e)
{
    const char *reason = json_string_value(json_object_get(result, "reason"));
    if (!(c->options->rerun & QSR_RERUN_FAILED)) {
        leave(c, QSR_RUN_FAILED, qsr_arena_printf(&c->store.arena, "%s (earlier; --rerun failed tries again)", reason ? reason : "?"));
        return QSR_OK;
    }
    if (!json_is_true(json_object_get(result, "resumable"))) return QSR_OK;
    if (!manifest || qsr_manifest_stale(&c->store.arena, manifest, c->manifest.root)) return QSR_OK;
    return resume(c, manifest, e);
}

/* Finished cells: over, unless asked to be trained again. */
static qsr_status look_at_result(qsr_cell *c, const json_t *result, const json_t *manifest, qsr_error *e)
{
    const char *status = json_string_value(json_object_get(result, "status"));
    if (status && strcmp(status, "failed") == 0) return look_at_failure(c, result, manifest, e);
    const char *stale = manifest ? qsr_manifest_stale(&c->store.arena, manifest, c->manifest.root) : "its manifest is missing";
    if (!stale) stale = qsr_kept_lost(&c->store.arena, c->store.folder, manifest, result);
    if (!stale) {
        recall_metrics(c, result);
        leave(c, QSR_RUN_SKIPPED, "");
    } else if (!(c->options->rerun & QSR_RERUN_STALE)) {
        leave(c, QSR_RUN_STALE, qsr_arena_printf(&c->store.arena, "%s; --rerun stale trains it again", stale));
    }
    return QSR_OK;
}

qsr_status qsr_cell_look(qsr_cell *c, qsr_error *e)
{
    if (!qsr_is_folder(c->store.folder) || !lock_folder(c)) return QSR_OK;
    if (c->options->rerun & QSR_RERUN_ALL) return QSR_OK;
    json_t *result = read_json(c, "result.json"), *manifest = read_json(c, "manifest.json");
    qsr_status status = result ? look_at_result(c, result, manifest, e) : resume(c, manifest, e);
    if (status == QSR_E_STATE && c->options->rerun & QSR_RERUN_STALE) status = QSR_OK;
    json_decref(result);
    json_decref(manifest);
    return status;
}

/* The folder was not there when we looked. Somebody else may have made it since, and even have finished. */
static qsr_status claim(qsr_cell *c, qsr_error *e)
{
    qsr_status status = qsr_mkdirs(c->store.folder, e);
    if (status || !lock_folder(c)) return status;
    if (qsr_exists(qsr_store_path(&c->store, "manifest.json"))) leave(c, QSR_RUN_BUSY, "another process has trained it meanwhile");
    return QSR_OK;
}

qsr_status qsr_cell_open(qsr_cell *c, qsr_error *e)
{
    qsr_status status = c->lock < 0 ? claim(c, e) : QSR_OK;
    if (status || c->over) return status;
    status = c->store.resumed ? qsr_store_resume(&c->store, e) : qsr_store_create(&c->store, c->spec, e);
    if (!status) status = qsr_manifest_write(&c->manifest, &c->store, false, e);
    c->begun = qsr_clock();
    return status;
}

/* ---- training ---------------------------------------------------------------------------------------------------- */

void qsr_cell_fail(qsr_cell *c, const qsr_error *why)
{
    qsr_error second = {0};
    leave(c, QSR_RUN_FAILED, why->text);
    if (!c->store.open) return;
    bool resumable = why->code == QSR_E_IO || why->code == QSR_E_NOMEM;
    qsr_result result = {"failed", c->summary->reason, resumable, c->learner, c->data, NULL, 0};
    qsr_store_release(&c->store);
    if (qsr_store_result(&c->store, &result, &second))
        qsr_log(QSR_LOG_WARNING, "%s failed (%s), and the reason could not be written: %s", c->spec->id, why->text, second.text);
}

static bool is_logged(const qsr_learner *l)
{
    return l->report.step % (uint64_t)l->spec->train.log_every == 0 || l->report.step + 1 == l->steps;
}

/* What screening has taken since the process began: rows, those of them that had a product in bfloat16 after integers and those that had the
 * full one, bounds in bfloat16 and pre-activations computed one by one. */
static void put_screening(json_t *line, const qsr_learner *l)
{
    if (!l->sae.sieve.on) return;
    qsr_sift_count count = qsr_learner_sifted(l);
    json_t *screening = json_object();
    json_object_set_new(screening, "rows", json_integer((json_int_t)count.rows));
    json_object_set_new(screening, "bf16_rows", json_integer((json_int_t)count.bf16));
    json_object_set_new(screening, "full_rows", json_integer((json_int_t)count.full));
    json_object_set_new(screening, "bounds", json_integer((json_int_t)count.bounds));
    json_object_set_new(screening, "pairs", json_integer((json_int_t)count.pairs));
    json_object_set_new(line, "screening", screening);
}

static qsr_status log_timing(qsr_cell *c, qsr_error *e)
{
    const qsr_learner *l = c->learner;
    json_t *line = json_object(), *phases = json_object();
    double tokens = (double)((l->step - c->first_step) * l->batch);
    json_object_set_new(line, "step", json_integer((json_int_t)l->report.step));
    json_object_set_new(line, "wall_seconds", qsr_json_real(qsr_clock() - c->begun));
    json_object_set_new(line, "step_seconds", qsr_json_real(c->seconds));
    json_object_set_new(line, "tokens_per_second", qsr_json_real(tokens / c->seconds));
    if (c->data_seconds) json_object_set_new(line, "data_seconds", qsr_json_real(*c->data_seconds));
    json_object_set_new(line, "read_seconds", qsr_json_real(qsr_dataset_read_seconds(c->data)));
    json_object_set_new(line, "data_reads", json_integer((json_int_t)qsr_dataset_reads(c->data)));
    for (int p = 0; p < QSR_PHASES; p++) json_object_set_new(phases, qsr_phase_names[p], qsr_json_real(l->watch.seconds[p]));
    json_object_set_new(line, "phases", phases);
    put_screening(line, l);
    if (c->options->profile)
        qsr_profile_put(&c->profile, l, c->seconds, c->data_seconds ? *c->data_seconds : 0, qsr_dataset_read_seconds(c->data), line);
    return qsr_store_timing(&c->store, line, e);
}

static qsr_status take_step(qsr_cell *c, qsr_error *e)
{
    qsr_learner *l = c->learner;
    const qsr_run_watcher *w = &c->options->watcher;
    double start = qsr_clock();
    qsr_status status = qsr_learner_step(l, c->rows, e);
    c->seconds += qsr_clock() - start;
    if (status) return status;
    qsr_profile_step(&c->profile, l);
    if (is_logged(l)) status = qsr_store_step(&c->store, l, e);
    if (!status && is_logged(l)) status = log_timing(c, e);
    if (!status && l->step < l->steps && l->step % (uint64_t)c->spec->train.checkpoint_every == 0)
        status = qsr_cell_checkpoint(c, e);
    if (w->step) w->step(w->ctx, c->spec, &l->report);
    return status;
}

void qsr_cell_feed(qsr_cell *c, uint64_t at, const float *rows, size_t n)
{
    size_t d = c->learner->d_in, skip = 0;
    if (at < c->seen) skip = (size_t)(c->seen - at < n ? c->seen - at : n); /* a resumed cell is ahead of the stream */
    while (!c->over && skip < n && c->learner->step < c->learner->steps) {
        size_t take = qsr_min_size(n - skip, c->learner->batch - c->have);
        memcpy(c->rows + c->have * d, rows + skip * d, take * d * sizeof *rows);
        c->have += take;
        skip += take;
        c->seen += take;
        if (c->have < c->learner->batch) break;
        c->have = 0;
        qsr_error e = {0};
        if (take_step(c, &e)) qsr_cell_fail(c, &e);
    }
}

bool qsr_cell_trained(const qsr_cell *c) { return !c->over && c->learner->step == c->learner->steps; }

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

qsr_status qsr_cell_checkpoint(qsr_cell *c, qsr_error *e)
{
    char file[64];
    qsr_blas_info blas;
    qsr_checkpoint_note note = {0};
    qsr_blas_describe(&blas);
    snprintf(note.isa, sizeof note.isa, "%s", qsr_kernels_get()->isa);
    snprintf(note.kernel, sizeof note.kernel, "%s", blas.core);
    snprintf(note.screen, sizeof note.screen, "%s", qsr_sae_screen_name(&c->learner->sae));
    qsr_status status = qsr_store_sync(&c->store, &note.metrics_bytes, e);
    if (!status) status = qsr_mkdirs(qsr_store_path(&c->store, "checkpoint"), e);
    snprintf(file, sizeof file, "checkpoint/step-%012" PRIu64 ".safetensors", c->learner->step);
    if (!status) status = qsr_checkpoint_write(c->learner, &note, qsr_store_path(&c->store, file), e);
    if (status) return status;
    const char **paths;
    size_t n = list_checkpoints(c, &paths);
    for (size_t i = KEPT_CHECKPOINTS; i < n; i++) unlink(paths[i]);
    return QSR_OK;
}

void qsr_cell_pause(qsr_cell *c)
{
    qsr_error e = {0};
    qsr_learner *l = c->learner;
    if (c->over) return;
    qsr_status status = qsr_cell_checkpoint(c, &e);
    if (!status && l->step == l->steps) {
        qsr_learner_retire(l); /* first, since writing takes a transposed copy of a matrix */
        status = qsr_store_sae(&c->store, l, c->data, c->tap, &e);
    }
    if (status) {
        qsr_cell_fail(c, &e);
        return;
    }
    c->summary->steps = l->step;
    c->summary->tokens = l->step * l->batch;
    c->summary->train_seconds = c->seconds;
    c->summary->data_seconds = c->data_seconds ? *c->data_seconds : 0;
    c->summary->tokens_now = (l->step - c->first_step) * l->batch;
    if (l->step == l->steps) {
        c->summary->outcome = QSR_RUN_INTERRUPTED; /* unless it is evaluated, which comes next */
        snprintf(c->summary->reason, sizeof c->summary->reason, "trained, but not evaluated; the same command goes on");
    } else {
        char reason[128];
        snprintf(reason, sizeof reason, "stopped after step %" PRIu64 " of %" PRIu64 "; the same command goes on", l->step, l->steps);
        leave(c, QSR_RUN_INTERRUPTED, reason);
    }
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

void qsr_cell_finish(qsr_cell *c)
{
    qsr_error e = {0};
    c->summary->evaluated = true;
    qsr_result result = {"completed", NULL, false, c->learner, c->data, &c->summary->evaluation,
                         c->excluded};
    json_object_set_new(c->manifest.root, "files", qsr_kept_note(c->store.folder));
    qsr_status status = qsr_manifest_write(&c->manifest, &c->store, true, &e);
    if (!status) status = qsr_store_result(&c->store, &result, &e); /* the last thing that can fail the cell */
    if (status) {
        qsr_cell_fail(c, &e);
        return;
    }
    leave(c, QSR_RUN_COMPLETED, "");
    if (qsr_remove_tree(qsr_store_path(&c->store, "checkpoint"), &e))
        qsr_log(QSR_LOG_WARNING, "%s is complete, but its checkpoints stay: %s", c->spec->id, e.text);
}

void qsr_cell_close(qsr_cell *c)
{
    qsr_starter_free(c->starter);
    qsr_store_close(&c->store);
    if (c->manifest.root) qsr_manifest_free(&c->manifest);
    qsr_block_free(c->rows);
    qsr_learner_free(c->learner);
    if (c->lock >= 0) close(c->lock);
    *c = (qsr_cell){.lock = -1, .over = true};
}

qsr_latent_files qsr_cell_latent_files(const qsr_spec *spec, const char *folder, qsr_arena *arena)
{
    const qsr_eval_options *o = &spec->eval;
    qsr_latent_files files = {.top = (size_t)o->top_contexts, .width = {(size_t)o->context_before, (size_t)o->context_after}};
    if (o->latents) files.csv = qsr_path_join(arena, folder, "latents.csv");
    if (o->latents && files.top) files.contexts = qsr_path_join(arena, folder, "top_contexts.jsonl");
    return files;
}

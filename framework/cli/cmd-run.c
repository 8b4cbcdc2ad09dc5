/* `quasar run`: specs trained and evaluated in turn. All of them are read first, so that a mistake in the last one does not
 * surface after hours. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sizes.h"
#include "cli/cells.h"
#include "cli/command.h"
#include "cli/forecast.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "math/kernel.h"
#include "math/pool.h"

/* ---- what the run tells while it works */

typedef struct {
    bool quiet;
    uint64_t steps, done, tokens;
    qsr_progress_display *display;
} watch;

static void watch_plan(void *ctx, const qsr_plan *plan, const qsr_spec *const *cells, size_t n)
{
    const watch *w = ctx;
    if (!w->quiet) qsr_forecast_print_plan(plan, cells, n, stderr);
}

static void watch_begin(void *ctx, const char *name, size_t cells, uint64_t steps, uint64_t done, uint64_t tokens)
{
    watch *w = ctx;
    char title[256];
    w->steps = steps;
    w->done = done;
    w->tokens = tokens;
    if (cells > 1) snprintf(title, sizeof title, "%s: %zu cells", name, cells);
    else snprintf(title, sizeof title, "%s", name);
    w->display = qsr_progress_open(title, tokens, w->quiet);
}

/* Loss, l0 and dead latents are those of whichever cell stepped last; steps and tokens are everybody's. */
static void watch_step(void *ctx, const qsr_spec *spec, const qsr_step_report *r)
{
    watch *w = ctx;
    w->done++;
    w->tokens += (uint64_t)spec->train.batch;
    qsr_progress_update(w->display, w->done, w->steps, w->tokens, r->loss, r->l0, (double)r->dead);
}

static void watch_evaluating(void *ctx, uint64_t rows, uint64_t of)
{
    watch *w = ctx;
    qsr_progress_evaluating(w->display, rows, of);
}

static void watch_end(void *ctx)
{
    watch *w = ctx;
    qsr_progress_close(w->display);
    w->display = NULL;
}

/* ---- running */

/* One spec file on the command line: the cells it stands for. */
typedef struct {
    qsr_cli_cells of;
    qsr_run_summary *done; /* [of.n] */
} spec_file;

static void free_file(spec_file *f)
{
    qsr_cli_cells_free(&f->of);
    free(f->done);
}

/* Reads all specs; QSR_EXIT_USAGE after telling the problems of each. */
static int load_all(spec_file *files, const qsr_args *args, qsr_registry *registry)
{
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    bool failed = false;
    for (size_t i = 0; i < args->n_words; i++)
        if (qsr_cli_cells_load(args->words[i], args, &env, &files[i].of, &problems)) failed = true;
        else files[i].done = qsr_xcalloc(files[i].of.n, sizeof *files[i].done);
    if (failed) qsr_cli_problems(&problems);
    qsr_problems_free(&problems);
    return failed ? QSR_EXIT_USAGE : QSR_EXIT_OK;
}

static int exit_code_of(const qsr_run_summary *run)
{
    switch (run->outcome) {
    case QSR_RUN_PENDING: return qsr_interrupted && !run->elsewhere ? QSR_EXIT_INTERRUPTED : QSR_EXIT_OK;
    case QSR_RUN_INTERRUPTED: return qsr_interrupted ? QSR_EXIT_INTERRUPTED : QSR_EXIT_FAILED; /* by --keep-going=no */
    case QSR_RUN_FAILED:
    case QSR_RUN_STALE:
    case QSR_RUN_BUSY: return QSR_EXIT_FAILED;
    default: return QSR_EXIT_OK;
    }
}

static int tell(const spec_file *f)
{
    int worst = QSR_EXIT_OK;
    if (f->of.n == 1 && !f->done[0].elsewhere) qsr_results_run(f->of.cells[0], &f->done[0]);
    else qsr_results_table(f->of.cells, f->done, f->of.n);
    for (size_t i = 0; i < f->of.n; i++) {
        if (f->done[i].outcome == QSR_RUN_FAILED)
            fprintf(stderr, "quasar: %s %s failed: %s\n", f->of.cells[i]->name, f->of.cells[i]->id, f->done[i].reason);
        if (f->done[i].outcome == QSR_RUN_STALE)
            fprintf(stderr, "quasar: %s %s is stale: %s\n", f->of.cells[i]->name, f->of.cells[i]->id, f->done[i].reason);
        if (f->done[i].outcome == QSR_RUN_INTERRUPTED && f->of.n > 1) printf("%s interrupted: %s\n", f->of.cells[i]->id, f->done[i].reason);
        int code = exit_code_of(&f->done[i]);
        if (code > worst) worst = code;
    }
    fflush(stdout);
    return worst;
}

static int run_file(spec_file *f, const qsr_run_options *options)
{
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_status status = qsr_lab_run((const qsr_spec *const *)f->of.cells, f->of.n, options, f->done, &problems, &e);
    watch_end(options->watcher.ctx); /* a refusal after begin leaves it open */
    int code;
    if (status && problems.count) code = qsr_cli_problems(&problems);
    else code = status ? qsr_cli_report(&e) : tell(f);
    qsr_problems_free(&problems);
    return code;
}

/* ---- --dry-run */

static int foresee_file(const spec_file *f, const qsr_run_options *options)
{
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_forecast forecast;
    const qsr_spec *const *cells = (const qsr_spec *const *)f->of.cells;
    qsr_status status = qsr_forecast_make(cells, f->of.n, options, &forecast, &problems, &e);
    int code = QSR_EXIT_OK;
    if (status) code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    else qsr_forecast_print(&forecast, cells, options);
    qsr_forecast_free(&forecast);
    qsr_problems_free(&problems);
    return code;
}

static int foresee_all(const spec_file *files, size_t n, const qsr_run_options *options)
{
    int worst = QSR_EXIT_OK;
    for (size_t i = 0; i < n; i++) {
        if (i > 0) puts("");
        int code = foresee_file(&files[i], options);
        if (code > worst) worst = code;
    }
    return worst;
}

/* ---- several files */

/* All cells of all files side by side. */
static void tell_together(const spec_file *files, size_t n)
{
    size_t total = 0, at = 0;
    for (size_t i = 0; i < n; i++) total += files[i].of.n;
    qsr_spec **cells = qsr_xcalloc(total, sizeof *cells);
    qsr_run_summary *done = qsr_xcalloc(total, sizeof *done);
    for (size_t i = 0; i < n; i++) {
        memcpy(cells + at, files[i].of.cells, files[i].of.n * sizeof *cells);
        memcpy(done + at, files[i].done, files[i].of.n * sizeof *done);
        at += files[i].of.n;
    }
    puts("");
    qsr_results_table(cells, done, total);
    free(cells);
    free(done);
}

/* One that fails does not keep the others from running; the worst exit code is the program's. */
static int run_all(spec_file *files, size_t n, const qsr_run_options *options)
{
    int worst = QSR_EXIT_OK;
    for (size_t i = 0; i < n && worst != QSR_EXIT_INTERRUPTED; i++) {
        if (i > 0) puts("");
        int code = run_file(&files[i], options);
        if (code > worst) worst = code;
        if (worst == QSR_EXIT_FAILED && options->stop_at_failure) break;
    }
    if (n > 1) tell_together(files, n);
    return worst;
}

/* ---- options */

static const char *const rerun_words[] = {"failed", "stale", "all", NULL};

static int read_rerun(const qsr_args *args, unsigned *ret)
{
    const char *word = qsr_args_value(args, "rerun");
    for (unsigned i = 0; word && rerun_words[i]; i++)
        if (strcmp(word, rerun_words[i]) == 0) {
            *ret = 1u << i;
            return 0;
        }
    return word ? qsr_command_misused(&qsr_cmd_run, "--rerun takes failed, stale or all, not '%s'", word) : 0;
}

/* Whether the option says no; yes is the default. */
static int read_refusal(const qsr_args *args, const char *option, bool *ret_no)
{
    const char *word = qsr_args_value(args, option);
    if (!word || strcmp(word, "yes") == 0) return 0;
    *ret_no = true;
    return strcmp(word, "no") == 0 ? 0 : qsr_command_misused(&qsr_cmd_run, "--%s takes yes or no, not '%s'", option, word);
}

static int read_memory(const qsr_args *args, size_t *ret)
{
    const char *word = qsr_args_value(args, "memory");
    if (!word || (qsr_size_parse(word, ret) && *ret > 0)) return 0;
    return qsr_command_misused(&qsr_cmd_run, "--memory takes a size such as 8GiB, not '%s'", word);
}

static int read_shard(const qsr_args *args, qsr_run_options *o)
{
    const char *word = qsr_args_value(args, "shard");
    char rest;
    if (!word) return 0;
    if (sscanf(word, "%u/%u%c", &o->shard, &o->shards, &rest) == 2 && o->shard >= 1 && o->shard <= o->shards) return 0;
    return qsr_command_misused(&qsr_cmd_run, "--shard takes I/N with I from 1 to N, not '%s'", word);
}

static int read_options(const qsr_args *args, qsr_run_options *o)
{
    int code = read_rerun(args, &o->rerun);
    if (!code) code = read_refusal(args, "keep-going", &o->stop_at_failure);
    if (!code) code = read_refusal(args, "read-ahead", &o->read_in_turn);
    if (!code) code = read_memory(args, &o->memory);
    if (!code) code = read_shard(args, o);
    const char *out = qsr_args_value(args, "out");
    o->out = out ? out : "runs";
    o->force = qsr_args_has(args, "force");
    o->profile = qsr_args_has(args, "profile");
    return code;
}

static int run_with_pool(spec_file *files, const qsr_args *args, qsr_registry *registry, unsigned threads)
{
    qsr_error e = {0};
    watch w = {.quiet = qsr_args_has(args, "quiet")};
    qsr_log_without_notices(w.quiet);
    qsr_run_options options = {.registry = registry, .stop = &qsr_interrupted,
                               .watcher = {&w, watch_plan, watch_begin, watch_step, watch_evaluating, watch_end}};
    int code = read_options(args, &options);
    if (code) return code;
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &options.pool, &e)) return qsr_cli_report(&e);
    qsr_interrupt_listen();
    if (qsr_args_has(args, "dry-run")) code = foresee_all(files, args->n_words, &options);
    else code = run_all(files, args->n_words, &options);
    if (code && qsr_interrupted) code = QSR_EXIT_INTERRUPTED;
    qsr_pool_free(options.pool);
    return code;
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    if (!args->n_words) return qsr_command_misused(&qsr_cmd_run, "needs a spec");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_run, "%s", e.text);
    spec_file *files = qsr_xcalloc(args->n_words, sizeof *files);
    qsr_registry *registry = qsr_cli_registry(args);
    int code = load_all(files, args, registry);
    if (!code) code = run_with_pool(files, args, registry, threads);
    for (size_t i = 0; i < args->n_words; i++) free_file(&files[i]);
    free(files);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_run = {
    .name = "run",
    .synopsis = "SPEC... [key=value...] [--out DIR] [options]",
    .summary = "train and evaluate what the specs say",
    .help = "Trains and evaluates each spec and leaves everything in DIR/NAME/ID/. Words of the form\n"
            "key=value override what the specs say: train.tokens=400_000, losses.auxk=off. All specs\n"
            "are checked before the first one runs. What is complete already is skipped, what was\n"
            "interrupted goes on where it stopped and ends with the same bytes. `quasar status` says how\n"
            "each cell stands.",
    .options = (const qsr_arg_option[]){
        {"out", "DIR", "where run folders go (default: runs)"},
        QSR_ARG_THREADS,
        {"memory", "SIZE", "what cells trained together may hold, such as 8GiB (default: 70 % of what is free)"},
        {"rerun", "WHICH", "train again what is failed, stale (inputs or plugins changed, files gone), or all"},
        {"keep-going", "YESNO", "no: stop at the first cell that fails (default: yes)"},
        {"read-ahead", "YESNO", "no: read data between steps, not while they run (default: yes); results do not depend on it"},
        {"shard", "I/N", "train the I-th of N equal parts of the cells"},
        {"dry-run", NULL, "say what would be done, and what it would take; create nothing"},
        {"force", NULL, "resume under another instruction set or BLAS kernel, which may change the last bits"},
        {"profile", NULL, "timing.jsonl also says what each phase took per step, as `quasar bench` does"},
        {"quiet", NULL, "show no progress, only results"},
        QSR_ARG_PLUGIN_DIR,
        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

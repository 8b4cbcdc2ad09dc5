/* `quasar run`: specs trained and evaluated in turn. All of them are read first, so that a mistake in the last one does not
 * surface after hours. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "math/kernel.h"
#include "math/pool.h"

/* ---- interruption: the first Ctrl-C ends the run in order, the second at once */

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static void listen_for_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- what the run tells while it works */

typedef struct {
    bool quiet;
    uint64_t steps;
    qsr_progress_display *display;
} watch;

static void watch_begin(void *ctx, const qsr_spec *spec, const char *folder, uint64_t steps, uint64_t first_step)
{
    (void)folder;
    watch *w = ctx;
    w->steps = steps;
    w->display = qsr_progress_open(spec->name, first_step * (uint64_t)spec->train.batch, w->quiet);
}

static void watch_step(void *ctx, const qsr_step_report *r)
{
    watch *w = ctx;
    qsr_progress_update(w->display, r->step + 1, w->steps, r->tokens, r->loss, r->l0, (double)r->dead);
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

typedef struct {
    size_t n;
    qsr_spec **specs;
    const char **names;
    qsr_run_summary *done; /* [n_done] */
    size_t n_done;
} batch;

static void free_batch(batch *b)
{
    for (size_t i = 0; i < b->n; i++) qsr_spec_free(b->specs[i]);
    free(b->specs);
    free(b->names);
    free(b->done);
}

/* Reads all specs; QSR_EXIT_USAGE after telling the problems of each. */
static int load_all(batch *b, const qsr_args *args, qsr_registry *registry)
{
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    bool failed = false;
    for (size_t i = 0; i < b->n; i++)
        if (qsr_spec_load(args->words[i], args->overrides, args->n_overrides, &env, &b->specs[i], &problems)) failed = true;
    if (failed) qsr_cli_problems(&problems);
    qsr_problems_free(&problems);
    return failed ? QSR_EXIT_USAGE : QSR_EXIT_OK;
}

static int exit_code_of(const qsr_run_summary *run)
{
    switch (run->outcome) {
    case QSR_RUN_COMPLETED:
    case QSR_RUN_SKIPPED: return QSR_EXIT_OK;
    case QSR_RUN_INTERRUPTED: return QSR_EXIT_INTERRUPTED;
    case QSR_RUN_FAILED: break;
    }
    return QSR_EXIT_FAILED;
}

static int run_one(batch *b, const qsr_spec *spec, const qsr_run_options *options)
{
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_run_summary *run = &b->done[b->n_done];
    qsr_status status = qsr_lab_run(spec, options, run, &problems, &e);
    watch_end(options->watcher.ctx); /* a refusal after begin leaves it open */
    int code;
    if (status && problems.count) {
        code = qsr_cli_problems(&problems);
    } else if (status) {
        code = qsr_cli_report(&e);
    } else {
        b->names[b->n_done++] = spec->name;
        qsr_results_run(spec, run);
        if (run->outcome == QSR_RUN_FAILED) fprintf(stderr, "quasar: %s failed: %s\n", spec->name, run->reason);
        code = exit_code_of(run);
    }
    fflush(stdout);
    qsr_problems_free(&problems);
    return code;
}

/* One that fails does not keep the others from running; the worst exit code is the program's. */
static int run_all(batch *b, const qsr_run_options *options)
{
    int worst = QSR_EXIT_OK;
    for (size_t i = 0; i < b->n && worst != QSR_EXIT_INTERRUPTED; i++) {
        int code = run_one(b, b->specs[i], options);
        if (code > worst) worst = code;
        if (b->n > 1) puts("");
    }
    if (b->n > 1) qsr_results_table(b->names, b->done, b->n_done);
    return worst;
}

static int run_with_pool(batch *b, const qsr_args *args, qsr_registry *registry, unsigned threads)
{
    qsr_error e = {0};
    qsr_pool *pool;
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &pool, &e)) return qsr_cli_report(&e);
    watch w = {.quiet = qsr_args_has(args, "quiet")};
    const char *out = qsr_args_value(args, "out");
    qsr_run_options options = {
        .out = out ? out : "runs",
        .pool = pool,
        .registry = registry,
        .watcher = {&w, watch_begin, watch_step, watch_evaluating, watch_end},
        .stop = &interrupted,
        .rerun = qsr_args_has(args, "rerun"),
    };
    listen_for_interrupts();
    int code = run_all(b, &options);
    qsr_pool_free(pool);
    return code;
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    if (!args->n_words) return qsr_command_misused(&qsr_cmd_run, "needs a spec");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_run, "%s", e.text);
    batch b = {.n = args->n_words};
    b.specs = qsr_xcalloc(b.n, sizeof *b.specs);
    b.names = qsr_xcalloc(b.n, sizeof *b.names);
    b.done = qsr_xcalloc(b.n, sizeof *b.done);
    qsr_registry *registry = qsr_cli_registry(args);
    int code = load_all(&b, args, registry);
    if (!code) code = run_with_pool(&b, args, registry, threads);
    free_batch(&b);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_run = {
    .name = "run",
    .synopsis = "SPEC... [key=value...] [--out DIR] [--threads N] [--quiet] [--rerun]",
    .summary = "train and evaluate the specs, one after the other",
    .help = "Trains and evaluates each spec and leaves everything in DIR/NAME/ID/. Words of the form\n"
            "key=value override what the specs say: train.tokens=400_000, losses.auxk=off. All specs\n"
            "are checked before the first one runs. A run that is complete already is not repeated\n"
            "unless its inputs or plugins have changed.",
    .options = (const qsr_arg_option[]){{"out", "DIR", "where run folders go (default: runs)"},
                                        QSR_ARG_THREADS,
                                        {"quiet", NULL, "show no progress, only results"},
                                        {"rerun", NULL, "train again what is complete already"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

/* `quasar eval`: an autoencoder from disk judged on the held-out rows of a spec's dataset. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "lab/judge.h"
#include "math/kernel.h"

static void show_progress(void *ctx, uint64_t rows, uint64_t of) { qsr_progress_evaluating(ctx, rows, of); }

static void print_judgement(const char *folder, const qsr_spec *spec, const qsr_judgement *judgement, const char *out)
{
    static const char *const held[] = {"whether it was trained on these rows is not known", "on rows it was not trained on",
                                       "ON ROWS IT WAS TRAINED ON (held_out: false)"};
    printf("%s on %s, %s\n", folder, spec->name, held[judgement->held_out]);
    qsr_results_evaluation(&judgement->evaluation);
    if (out) printf("files in %s: result.json%s\n", out, judgement->evaluation.scored ? ", tokens.csv" : "");
}

static int judge(const qsr_spec *spec, const qsr_args *args, unsigned threads)
{
    qsr_error e = {0};
    qsr_problems problems = {0};
    qsr_pool *pool;
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &pool, &e)) return qsr_cli_report(&e);
    const char *folder = args->words[0], *out = qsr_args_value(args, "out");
    qsr_progress_display *display = qsr_progress_open(spec->name, 0, qsr_args_has(args, "quiet"));
    qsr_judge_options options = {.out = out, .pool = pool, .ctx = display, .progress = show_progress};
    qsr_judgement judgement;
    qsr_status status = qsr_lab_judge(folder, spec, &options, &judgement, &problems, &e);
    qsr_progress_close(display);
    int code = QSR_EXIT_OK;
    if (!status)
        print_judgement(folder, spec, &judgement, out);
    else
        code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    qsr_problems_free(&problems);
    qsr_pool_free(pool);
    return code;
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    const char *path = qsr_args_value(args, "spec");
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_eval, "needs one folder, of a run or an SAE");
    if (!path) return qsr_command_misused(&qsr_cmd_eval, "needs --spec SPEC");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_eval, "%s", e.text);
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_spec *spec;
    int code;
    if (qsr_spec_load(path, args->overrides, args->n_overrides, &env, &spec, &problems))
        code = qsr_cli_problems(&problems);
    else
        code = judge(spec, args, threads);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_eval = {
    .name = "eval",
    .synopsis = "RUN_OR_SAE_DIR --spec SPEC [key=value...] [--out DIR] [--threads N] [--quiet]",
    .summary = "evaluate a trained autoencoder on the dataset of a spec",
    .help = "Evaluates an autoencoder, given as a run's folder or as a folder with cfg.json and\n"
            "sae_weights.safetensors in the layout of SAELens, on the held-out rows of the spec's\n"
            "dataset. The spec also says which activation and normalisation it is to have; where\n"
            "cfg.json disagrees, nothing is evaluated.",
    .options = (const qsr_arg_option[]){{"spec", "SPEC", "whose dataset, activation and evaluation to use; required"},
                                        {"out", "DIR", "also write result.json and tokens.csv to DIR"},
                                        QSR_ARG_THREADS,
                                        {"quiet", NULL, "show no progress, only results"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

/* `quasar eval`: autoencoders from disk judged on the held-out rows of a spec's dataset. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"
#include "base/table.h"
#include "cli/command.h"
#include "cli/progress.h"
#include "cli/results.h"
#include "lab/judge.h"
#include "math/kernel.h"

static void show_progress(void *ctx, uint64_t rows, uint64_t of) { qsr_progress_evaluating(ctx, rows, of); }

/* ---- what came of it ---------------------------------------------------------------------------------------------------- */

static void print_place(const qsr_judgement *item)
{
    if (item->hook[0]) printf("rows from %s, where it was trained (--hook spec takes the spec's place)\n", item->hook);
}

static void print_if_there(const char *folder, const char *file)
{
    qsr_arena arena = {0};
    if (qsr_exists(qsr_path_join(&arena, folder, file))) printf(", %s", file);
    qsr_arena_free(&arena);
}

static void print_one(const qsr_judgements *all, const qsr_judgement *item)
{
    static const char *const held[] = {"whether it was trained on these rows is not known", "on rows it was not trained on",
                                       "ON ROWS IT WAS TRAINED ON (held_out: false)"};
    if (item->outcome != QSR_JUDGED_DONE) {
        printf("%s: %s: %s\n", item->path, qsr_judged_outcome_names[item->outcome], item->reason);
        return;
    }
    printf("%s on %s, %s\n", item->path, all->spec_name, held[item->held_out]);
    print_place(item);
    qsr_results_evaluation(&item->evaluation);
    printf("files in %s: result.json%s%s", item->out, item->evaluation.scored ? ", tokens.csv" : "",
           item->saebench ? ", saebench-core.json" : "");
    print_if_there(item->out, "latents.csv");
    print_if_there(item->out, "top_contexts.jsonl");
    puts("");
}

static const char *metric_cell(const qsr_judgement *item, const char *name, char *buf, size_t n)
{
    return item->outcome == QSR_JUDGED_DONE ? qsr_number_text(qsr_evaluation_get(&item->evaluation, name), buf, n) : NULL;
}

static void print_table(const qsr_judgements *all)
{
    static const char *const held[] = {"?", "yes", "NO"};
    qsr_table t = {.columns = 8, .right = 0x7c};
    qsr_table_row(&t, (const char *const[]){"SAE", "outcome", "l0", "nmse", "fvu", "silent", "ce rec. zero", "held out"});
    for (size_t i = 0; i < all->count; i++) {
        const qsr_judgement *item = &all->items[i];
        char l0[32], nmse[32], fvu[32], silent[32], recovered[32];
        qsr_table_row(&t, (const char *const[]){item->path, qsr_judged_outcome_names[item->outcome], metric_cell(item, "l0", l0, sizeof l0),
                                                metric_cell(item, "nmse", nmse, sizeof nmse), metric_cell(item, "fvu", fvu, sizeof fvu),
                                                metric_cell(item, "silent_fraction", silent, sizeof silent),
                                                metric_cell(item, "ce_recovered_zero", recovered, sizeof recovered),
                                                item->outcome == QSR_JUDGED_DONE ? held[item->held_out] : NULL});
    }
    qsr_table_print(&t, 0, stdout);
    qsr_table_free(&t);
}

static void print_reasons(const qsr_judgements *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].outcome == QSR_JUDGED_FAILED || all->items[i].outcome == QSR_JUDGED_STALE)
            printf("%s: %s: %s\n", all->items[i].path, qsr_judged_outcome_names[all->items[i].outcome], all->items[i].reason);
}

static void print_several(const qsr_judgements *all, const char *out)
{
    char seconds[64];
    size_t n[QSR_JUDGED_OUTCOMES] = {0};
    for (size_t i = 0; i < all->count; i++) n[all->items[i].outcome]++;
    print_table(all);
    print_reasons(all);
    printf("%zu of %zu evaluated on %s in %s, %zu had a result already; results in %s\n", n[QSR_JUDGED_DONE], all->count,
           all->spec_name ? all->spec_name : "?", qsr_duration_text(all->seconds, seconds, sizeof seconds), n[QSR_JUDGED_SKIPPED],
           out ? out : "eval/NAME beside each");
}

/* Failures are failures; a result of something else that stays in place is one too, since what was asked for is not there. */
static int code_of(const qsr_judgements *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->items[i].outcome == QSR_JUDGED_FAILED || all->items[i].outcome == QSR_JUDGED_STALE) return QSR_EXIT_FAILED;
    return QSR_EXIT_OK;
}

/* ---- the command -------------------------------------------------------------------------------------------------------- */

static int judge(qsr_judgements *all, qsr_judge_options *o, bool quiet)
{
    qsr_error e = {0};
    qsr_problems problems = {0};
    qsr_progress_display *display = qsr_progress_open(all->count == 1 ? qsr_path_base(all->items[0].path) : "eval", 0, quiet);
    o->ctx = display;
    o->progress = show_progress;
    qsr_status status = qsr_lab_judge(all, o, &problems, &e);
    qsr_progress_close(display);
    int code = QSR_EXIT_OK;
    if (status) {
        code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    } else {
        if (all->count == 1) print_one(all, &all->items[0]);
        else print_several(all, o->out);
        code = code_of(all);
    }
    qsr_problems_free(&problems);
    return code;
}

static bool is_name(const char *name)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n <= 100 && name[0] != '.' && strspn(name, legal) == n;
}

static int read_options(qsr_args *args, qsr_judge_options *o, unsigned *ret_threads)
{
    qsr_error e = {0};
    const char *hook = qsr_args_value(args, "hook"), *memory = qsr_args_value(args, "memory");
    *o = (qsr_judge_options){.spec = qsr_args_value(args, "spec"), .overrides = args->overrides, .n_overrides = args->n_overrides,
                             .name = qsr_args_value(args, "name"), .out = qsr_args_value(args, "out"),
                             .rerun = qsr_args_has(args, "rerun"), .spec_hook = hook && strcmp(hook, "spec") == 0};
    if (args->n_words == 0) return qsr_command_misused(&qsr_cmd_eval, "needs a run, an SAE, or a folder of them");
    if (!o->spec) return qsr_command_misused(&qsr_cmd_eval, "needs --spec SPEC");
    if (o->name && !is_name(o->name))
        return qsr_command_misused(&qsr_cmd_eval, "--name %s cannot name a folder: use up to 100 of A-Z a-z 0-9 . _ - and no dot in front",
                                   o->name);
    if (hook && strcmp(hook, "spec") != 0 && strcmp(hook, "sae") != 0)
        return qsr_command_misused(&qsr_cmd_eval, "--hook takes sae or spec, not '%s'", hook);
    if (memory && !qsr_size_parse(memory, &o->memory))
        return qsr_command_misused(&qsr_cmd_eval, "--memory takes a size such as 8GiB, not '%s'", memory);
    if (qsr_args_count(args, "threads", 1, 1024, 0, ret_threads, &e)) return qsr_command_misused(&qsr_cmd_eval, "%s", e.text);
    return QSR_EXIT_OK;
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    qsr_judge_options o;
    qsr_judgements all;
    int code = read_options(args, &o, &threads);
    if (code) return code;
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &o.pool, &e)) return qsr_cli_report(&e);
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    o.env = &env;
    if (qsr_judge_find(args->words, args->n_words, &all, &e)) {
        code = qsr_cli_report(&e);
    } else {
        code = judge(&all, &o, qsr_args_has(args, "quiet"));
        qsr_judgements_free(&all);
    }
    qsr_registry_free(registry);
    qsr_pool_free(o.pool);
    return code;
}

const qsr_command qsr_cmd_eval = {
    .name = "eval",
    .synopsis = "PATH... --spec SPEC [key=value...] [--name NAME] [--out DIR] [--rerun] [--hook sae|spec] [--memory SIZE] [--threads N] "
                "[--quiet]",
    .summary = "evaluate autoencoders on the dataset of a spec",
    .help = "Evaluates autoencoders on the held-out rows of the spec's dataset. PATH is a run, an\n"
            "SAE in the format of Quasar, SAELens, sparsify or Gemma Scope, or a folder below which\n"
            "there are some, such as a grid. Activation and normalisation are those of the SAE's own\n"
            "files, so the spec needs no more than `dataset` and `eval`; if it describes an\n"
            "activation too and one SAE is evaluated, the two must agree (activation=off leaves that\n"
            "part of the spec aside).\n"
            "Results go to eval/NAME in each run or beside each SAE: result.json, tokens.csv, and\n"
            "saebench-core.json for the tools of SAEBench. What is there already is not done again.\n"
            "All SAEs that fit in memory share one pass of the model over the data, each at the\n"
            "layer and site where it was trained.",
    .options = (const qsr_arg_option[]){
        {"spec", "SPEC", "whose dataset and eval to use; required"},
        {"name", "NAME", "of the evaluation and of its folder (default: the spec's name)"},
        {"out", "DIR", "results of one SAE to DIR itself, of several to a folder each below it"},
        {"rerun", NULL, "evaluate anew what has a result already"},
        {"hook", "WHICH", "sae (default): rows from where each SAE was trained, if its files say so; spec: from the spec's hook"},
        {"memory", "SIZE", "what SAEs evaluated in one pass may hold, such as 8GiB (default: 70 % of what is free)"},
        QSR_ARG_THREADS,
        {"quiet", NULL, "show no progress, only results"},
        QSR_ARG_PLUGIN_DIR,
        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

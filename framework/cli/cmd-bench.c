/* `quasar bench`: the time of a training step, phase by phase, against the one dense product it cannot avoid. */
#include "base/text.h"
#include "cli/bench-print.h"
#include "cli/bench-table.h"
#include "cli/command.h"
#include "math/kernel.h"

/* The paper's shape on GPT-2 small. The data is synthetic and shows in the times through which latents are active alone. */
static const char default_spec[] = "name: bench\n"
                                   "dataset: { plugin: synthetic, d_in: 768, features: 4096, l0: 32, noise: 0.05 }\n"
                                   "sae: { d_sae: 12288, b_dec_init: zero }\n"
                                   "activation: { plugin: topk, k: 32 }\n"
                                   "losses: { mse: {}, auxk: {} }\n"
                                   "train: { tokens: 100_000_000, batch: 4096 }\n"
                                   "eval: { tokens: 0 }\n";

/* ---- the command */

static int measure(const qsr_spec *spec, qsr_pool *pool, const qsr_bench_options *options, qsr_bench *ret)
{
    qsr_error e = {0};
    qsr_problems problems = {0};
    int code = QSR_EXIT_OK;
    if (qsr_bench_run(spec, pool, options, ret, &problems, &e))
        code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    qsr_problems_free(&problems);
    return code;
}

/* The same on one thread first. */
static int compare_threads(const qsr_spec *spec, qsr_pool *pool, const qsr_bench_options *options)
{
    qsr_error e = {0};
    qsr_pool *single;
    qsr_bench one, many;
    if (qsr_pool_create(1, &single, &e)) return qsr_cli_report(&e);
    int code = measure(spec, single, options, &one);
    qsr_pool_free(single);
    if (!code) code = measure(spec, pool, options, &many);
    if (!code) qsr_bench_print_scaling(spec, &one, &many);
    return code;
}

static int bench(const qsr_spec *spec, const qsr_args *args, qsr_pool *pool, const qsr_bench_options *options)
{
    qsr_bench result;
    if (qsr_args_has(args, "scaling")) return compare_threads(spec, pool, options);
    int code = measure(spec, pool, options, &result);
    if (!code && qsr_args_has(args, "json"))
        qsr_bench_print_json(&result);
    else if (!code)
        qsr_bench_print(spec, &result);
    return code;
}

static qsr_status load(const qsr_args *args, const qsr_spec_env *env, qsr_spec **ret, qsr_problems *problems)
{
    if (args->n_words) return qsr_spec_load(args->words[0], args->overrides, args->n_overrides, env, ret, problems);
    return qsr_spec_load_text("the built-in spec of quasar bench", default_spec, sizeof default_spec - 1, args->overrides,
                              args->n_overrides, env, ret, problems);
}

static int run_on(qsr_pool *pool, qsr_args *args, const qsr_bench_options *options)
{
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    int code;
    if (qsr_args_has(args, "table"))
        code = qsr_bench_table(default_spec, args, &env, pool, options->repeats);
    else if (load(args, &env, &spec, &problems))
        code = qsr_cli_problems(&problems);
    else
        code = bench(spec, args, pool, options);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

/* The share of dead latents: 0 without the option. */
static bool read_dead(const qsr_args *args, double *ret)
{
    const char *word = qsr_args_value(args, "dead");
    *ret = 0;
    return !word || (qsr_parse_real(word, ret) && *ret >= 0 && *ret <= 1);
}

static int run(qsr_args *args)
{
    unsigned threads, repeats;
    qsr_error e = {0};
    qsr_bench_options options = {0};
    bool table = qsr_args_has(args, "table"), scaling = qsr_args_has(args, "scaling");
    if (args->n_words > 1) return qsr_command_misused(&qsr_cmd_bench, "takes one spec at most");
    if (table && (args->n_words || scaling || qsr_args_has(args, "json") || qsr_args_has(args, "dead")))
        return qsr_command_misused(&qsr_cmd_bench,
                                   "--table has its own specs, and goes with overrides, --threads and --repeats alone");
    if (scaling && qsr_args_has(args, "json")) return qsr_command_misused(&qsr_cmd_bench, "--scaling has no JSON");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_bench, "%s", e.text);
    if (qsr_args_count(args, "repeats", 1, 200, 0, &repeats, &e)) return qsr_command_misused(&qsr_cmd_bench, "%s", e.text);
    if (!read_dead(args, &options.dead))
        return qsr_command_misused(&qsr_cmd_bench, "--dead=%s: not a share between 0 and 1", qsr_args_value(args, "dead"));
    options.repeats = repeats;
    qsr_pool *pool;
    if (scaling && threads == 1) return qsr_command_misused(&qsr_cmd_bench, "--scaling compares one thread with more: not with --threads 1");
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &pool, &e)) return qsr_cli_report(&e);
    int code = run_on(pool, args, &options);
    qsr_pool_free(pool);
    return code;
}

const qsr_command qsr_cmd_bench = {
    .name = "bench",
    .synopsis = "[SPEC] [key=value...] [--threads N] [--repeats N] [--dead SHARE] [--json | --scaling | --table]",
    .summary = "time a training step, phase by phase, against one dense product",
    .help = "Times training steps of the spec's shapes (without one: d_in 768, d_sae 12288, batch 4096,\n"
            "topk with k 32, on synthetic data) in turn with T, one single-precision product of the\n"
            "batch with the encoder through OpenBLAS with the same number of threads. Medians and\n"
            "quartiles; nothing is written.",
    .options =
        (const qsr_arg_option[]){QSR_ARG_THREADS,
                                 {"repeats", "N", "timed steps (default: as many as fit in ten seconds, at least 5)"},
                                 {"dead", "SHARE", "let this share of the latents be dead, for losses such as auxk"},
                                 {"json", NULL, "one line of JSON instead of the table"},
                                 {"scaling", NULL, "measure with one thread too, and print what more threads gain"},
                                 {"table", NULL, "measure the built-in cases against their targets (two minutes)"},
                                 QSR_ARG_PLUGIN_DIR,
                                 {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

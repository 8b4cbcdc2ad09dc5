/* `quasar bench`: the time of a training step, phase by phase, against the one dense product it cannot avoid. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sizes.h"
#include "base/table.h"
#include "cli/command.h"
#include "format/json.h"
#include "lab/bench.h"
#include "math/blas.h"
#include "math/kernel.h"

/* The paper's shape on GPT-2 small. The data is synthetic and shows in the times through which latents are active alone. */
static const char default_spec[] = "name: bench\n"
                                   "dataset: { plugin: synthetic, d_in: 768, features: 4096, l0: 32, noise: 0.05 }\n"
                                   "sae: { d_sae: 12288, b_dec_init: zero }\n"
                                   "activation: { plugin: topk, k: 32 }\n"
                                   "losses: { mse: {}, auxk: {} }\n"
                                   "train: { tokens: 100_000_000, batch: 4096 }\n"
                                   "eval: { tokens: 0 }\n";

/* Operations per second of the model over those of T. */
static double model_share(const qsr_bench *b) { return b->model_flops / b->model.median / 1e6 / b->gemm_gflops; }

/* ---- as a table */

static void add_row(qsr_table *table, const char *name, const qsr_bench_time *t, const qsr_bench *b, double flops, double bytes)
{
    char ms[48], spread[48], over[32], gflops[32] = "", gbps[32] = "";
    snprintf(ms, sizeof ms, "%.2f", t->median);
    snprintf(spread, sizeof spread, "%.2f .. %.2f", t->low, t->high);
    snprintf(over, sizeof over, "%.3f", t->median / b->t.median);
    if (flops > 0 && t->median > 0) snprintf(gflops, sizeof gflops, "%.1f", flops / t->median / 1e6);
    if (bytes > 0 && t->median > 0) snprintf(gbps, sizeof gbps, "%.1f", bytes / t->median / 1e6);
    qsr_table_row(table, (const char *[]){name, ms, spread, over, gflops, gbps});
}

static void print_table(const qsr_spec *spec, const qsr_bench *b)
{
    qsr_table table = {.columns = 6, .right = 0x3e};
    char peak[32];
    printf("%s: d_in %zu, d_sae %zu, batch %zu, %s, l0 %.5g, %u thread%s, %s\n", spec->name, b->d_in, b->d_sae, b->batch,
           spec->activation.plugin->name, b->l0, b->threads, b->threads == 1 ? "" : "s", qsr_kernels_get()->isa);
    qsr_table_row(&table, (const char *[]){"PHASE", "ms", "quartiles", "over T", "GFLOP/s", "GB/s"});
    for (int p = 0; p < QSR_PHASES; p++) add_row(&table, qsr_phase_names[p], &b->phase[p], b, b->flops[p], b->bytes[p]);
    add_row(&table, "step", &b->step, b, 0, 0);
    add_row(&table, "T", &b->t, b, b->gemm_gflops * b->t.median * 1e6, 0);
    add_row(&table, "data", &b->data, b, 0, 0);
    if (b->model_rows) add_row(&table, "model", &b->model, b, b->model_flops, 0);
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
    printf("step = %.3f T, %.0f tokens/s without data, medians of %zu; peak memory %s\n", b->step.median / b->t.median,
           1e3 * (double)b->batch / b->step.median, b->repeats, qsr_size_text(b->peak_bytes, peak, sizeof peak));
    if (b->model_rows)
        printf("model: %zu rows at once, %.0f tokens/s, %.0f %% of the rate of T over the counted operations\n", b->model_rows,
               1e3 * (double)b->model_rows / b->model.median, 100 * model_share(b));
    printf("this machine: %.1f GFLOP/s in T, %.1f GB/s in a copy\n", b->gemm_gflops, b->copy_gbps);
}

/* ---- as JSON */

static json_t *phase_json(const char *name, const qsr_bench_time *t, const qsr_bench *b, double flops, double bytes)
{
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(name));
    json_object_set_new(o, "ms", qsr_json_real(t->median));
    json_object_set_new(o, "over_T", qsr_json_real(t->median / b->t.median));
    json_object_set_new(o, "gflops", qsr_json_real(flops > 0 ? flops / t->median / 1e6 : NAN));
    json_object_set_new(o, "gbps", qsr_json_real(bytes > 0 ? bytes / t->median / 1e6 : NAN));
    return o;
}

static void print_json(const qsr_bench *b)
{
    json_t *root = json_object(), *phases = json_array();
    qsr_blas_info blas;
    qsr_text text = {0};
    qsr_blas_describe(&blas);
    json_object_set_new(root, "d_in", json_integer((json_int_t)b->d_in));
    json_object_set_new(root, "d_sae", json_integer((json_int_t)b->d_sae));
    json_object_set_new(root, "batch", json_integer((json_int_t)b->batch));
    json_object_set_new(root, "l0", qsr_json_real(b->l0));
    json_object_set_new(root, "T_ms", qsr_json_real(b->t.median));
    json_object_set_new(root, "step_ms", qsr_json_real(b->step.median));
    json_object_set_new(root, "step_over_T", qsr_json_real(b->step.median / b->t.median));
    json_object_set_new(root, "data_ms", qsr_json_real(b->data.median));
    json_object_set_new(root, "tokens_per_second", qsr_json_real(1e3 * (double)b->batch / b->step.median));
    json_object_set_new(root, "peak_bytes", json_integer((json_int_t)b->peak_bytes));
    json_object_set_new(root, "repeats", json_integer((json_int_t)b->repeats));
    json_object_set_new(root, "threads", json_integer((json_int_t)b->threads));
    json_object_set_new(root, "isa", json_string(qsr_kernels_get()->isa));
    json_object_set_new(root, "blas", json_string(blas.core));
    json_object_set_new(root, "gemm_gflops", qsr_json_real(b->gemm_gflops));
    json_object_set_new(root, "copy_gbps", qsr_json_real(b->copy_gbps));
    if (b->model_rows) {
        json_object_set_new(root, "model_rows", json_integer((json_int_t)b->model_rows));
        json_object_set_new(root, "model_ms", qsr_json_real(b->model.median));
        json_object_set_new(root, "model_gflops", qsr_json_real(b->model_flops / b->model.median / 1e6));
        json_object_set_new(root, "model_share_of_T", qsr_json_real(model_share(b)));
    }
    for (int p = 0; p < QSR_PHASES; p++)
        json_array_append_new(phases, phase_json(qsr_phase_names[p], &b->phase[p], b, b->flops[p], b->bytes[p]));
    json_object_set_new(root, "phases", phases);
    qsr_json_line(root, &text);
    puts(text.bytes);
    qsr_text_free(&text);
    json_decref(root);
}

/* ---- the command */

static int bench(const qsr_spec *spec, const qsr_args *args, unsigned threads, unsigned repeats)
{
    qsr_error e = {0};
    qsr_problems problems = {0};
    qsr_pool *pool;
    qsr_bench result;
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &pool, &e)) return qsr_cli_report(&e);
    int code = QSR_EXIT_OK;
    if (qsr_bench_run(spec, pool, repeats, &result, &problems, &e))
        code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    else if (qsr_args_has(args, "json")) print_json(&result);
    else print_table(spec, &result);
    qsr_problems_free(&problems);
    qsr_pool_free(pool);
    return code;
}

static qsr_status load(const qsr_args *args, const qsr_spec_env *env, qsr_spec **ret, qsr_problems *problems)
{
    if (args->n_words) return qsr_spec_load(args->words[0], args->overrides, args->n_overrides, env, ret, problems);
    return qsr_spec_load_text("the built-in spec of quasar bench", default_spec, sizeof default_spec - 1, args->overrides,
                              args->n_overrides, env, ret, problems);
}

static int run(qsr_args *args)
{
    unsigned threads, repeats;
    qsr_error e = {0};
    if (args->n_words > 1) return qsr_command_misused(&qsr_cmd_bench, "takes one spec at most");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_bench, "%s", e.text);
    if (qsr_args_count(args, "repeats", 1, 200, 0, &repeats, &e)) return qsr_command_misused(&qsr_cmd_bench, "%s", e.text);
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_spec *spec;
    int code = load(args, &env, &spec, &problems) ? qsr_cli_problems(&problems) : bench(spec, args, threads, repeats);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_bench = {
    .name = "bench",
    .synopsis = "[SPEC] [key=value...] [--threads N] [--repeats N] [--json]",
    .summary = "time a training step, phase by phase, against one dense product",
    .help = "Times training steps of the spec's shapes (without one: d_in 768, d_sae 12288, batch 4096,\n"
            "topk with k 32, on synthetic data) in turn with T, one single-precision product of the\n"
            "batch with the encoder through OpenBLAS with the same number of threads. Medians and\n"
            "quartiles; nothing is written.",
    .options = (const qsr_arg_option[]){QSR_ARG_THREADS,
                                        {"repeats", "N", "timed steps (default: as many as fit in ten seconds, at least 5)"},
                                        {"json", NULL, "one line of JSON instead of the table"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

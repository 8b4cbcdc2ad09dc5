#include "cli/bench-print.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sizes.h"
#include "base/table.h"
#include "format/json.h"
#include "math/blas.h"
#include "math/kernel.h"

/* Operations per second of the model over those of T. */
static double model_share(const qsr_bench *b) { return b->model_flops / b->model.median / 1e6 / b->gemm_gflops; }

/* ---- as a table */

static void add_row(qsr_table *table, const char *name, const qsr_bench_time *t, const qsr_bench *b, double flops,
                    double bytes)
{
    char ms[48], spread[48], over[32], gflops[32] = "", gbps[32] = "";
    snprintf(ms, sizeof ms, "%.2f", t->median);
    snprintf(spread, sizeof spread, "%.2f .. %.2f", t->low, t->high);
    snprintf(over, sizeof over, "%.3f", t->median / b->t.median);
    if (flops > 0 && t->median > 0) snprintf(gflops, sizeof gflops, "%.1f", flops / t->median / 1e6);
    if (bytes > 0 && t->median > 0) snprintf(gbps, sizeof gbps, "%.1f", bytes / t->median / 1e6);
    qsr_table_row(table, (const char *[]){name, ms, spread, over, gflops, gbps});
}

static void print_screening(const qsr_bench *b)
{
    const qsr_sift_count *c = &b->sifted;
    const double rows = (double)c->rows;
    const bool integers = strcmp(b->screen, "int8") == 0;
    if (!c->rows) {
        printf("not screened (sae.screen)\n");
        return;
    }
    printf("screened by %s: of a row ", b->screen);
    if (integers) printf("%.1f latents bound again in bfloat16, ", (double)c->bounds / rows);
    printf("%.1f pre-activations computed; of %llu rows ", (double)c->pairs / rows, (unsigned long long)c->rows);
    if (integers) printf("%llu had the product in bfloat16, ", (unsigned long long)c->bf16);
    printf("%llu the full one; encode's GFLOP/s are of rounded numbers\n", (unsigned long long)c->full);
}

/* What the rules on counts and the screening came to, per step. */
static void print_ways(const qsr_bench *b)
{
    printf("sparse products: %zu stretches of a code row by row, %zu in panels, %zu in quartets\n", b->walked.by_row,
           b->walked.in_panels, b->walked.in_quartets);
    print_screening(b);
}

void qsr_bench_print(const qsr_spec *spec, const qsr_bench *b)
{
    qsr_table table = {.columns = 6, .right = 0x3e};
    char peak[32];
    printf("%s: d_in %zu, d_sae %zu, batch %zu, %s, l0 %.5g, %u thread%s, %s\n", spec->name, b->d_in, b->d_sae, b->batch,
           spec->activation.plugin->name, b->l0, b->threads, b->threads == 1 ? "" : "s", qsr_kernels_get()->isa);
    qsr_table_row(&table, (const char *[]){"PHASE", "ms", "quartiles", "over T", "GFLOP/s", "GB/s"});
    add_row(&table, "data", &b->data, b, 0, (double)b->batch * (double)b->d_in * 4);
    for (int p = 0; p < QSR_PHASES; p++) add_row(&table, qsr_phase_names[p], &b->phase[p], b, b->counts.flops[p], b->counts.bytes[p]);
    add_row(&table, "step", &b->step, b, 0, 0);
    add_row(&table, "T", &b->t, b, b->gemm_gflops * b->t.median * 1e6, 0);
    if (b->model_rows) add_row(&table, "model", &b->model, b, b->model_flops, 0);
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
    printf("step = %.3f T, %.0f tokens/s without data, medians of %zu; peak memory %s\n", b->step.median / b->t.median,
           1e3 * (double)b->batch / b->step.median, b->repeats, qsr_size_text(b->peak_bytes, peak, sizeof peak));
    if (b->model_rows)
        printf("model: %zu rows at once, %.0f tokens/s, %.0f %% of the rate of T over the counted operations\n",
               b->model_rows, 1e3 * (double)b->model_rows / b->model.median, 100 * model_share(b));
    print_ways(b);
    printf("this machine: %.1f GFLOP/s in T, %.1f in multiply-adds on registers, %.1f GB/s in a copy\n", b->gemm_gflops,
           b->fma_gflops, b->copy_gbps);
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

void qsr_bench_print_json(const qsr_bench *b)
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
    json_object_set_new(root, "fma_gflops", qsr_json_real(b->fma_gflops));
    json_object_set_new(root, "by_row", json_integer((json_int_t)b->walked.by_row));
    json_object_set_new(root, "in_panels", json_integer((json_int_t)b->walked.in_panels));
    json_object_set_new(root, "in_quartets", json_integer((json_int_t)b->walked.in_quartets));
    json_object_set_new(root, "screen", json_string(b->screen));
    json_object_set_new(root, "screened_rows", json_integer((json_int_t)b->sifted.rows));
    json_object_set_new(root, "screened_in_bf16", json_integer((json_int_t)b->sifted.bf16));
    json_object_set_new(root, "screened_bounds", json_integer((json_int_t)b->sifted.bounds));
    json_object_set_new(root, "screened_in_full", json_integer((json_int_t)b->sifted.full));
    json_object_set_new(root, "screened_pairs", json_integer((json_int_t)b->sifted.pairs));
    if (b->model_rows) {
        json_object_set_new(root, "model_rows", json_integer((json_int_t)b->model_rows));
        json_object_set_new(root, "model_ms", qsr_json_real(b->model.median));
        json_object_set_new(root, "model_gflops", qsr_json_real(b->model_flops / b->model.median / 1e6));
        json_object_set_new(root, "model_share_of_T", qsr_json_real(model_share(b)));
    }
    json_array_append_new(phases, phase_json("data", &b->data, b, 0, (double)b->batch * (double)b->d_in * 4));
    for (int p = 0; p < QSR_PHASES; p++)
        json_array_append_new(phases, phase_json(qsr_phase_names[p], &b->phase[p], b, b->counts.flops[p], b->counts.bytes[p]));
    json_object_set_new(root, "phases", phases);
    qsr_json_line(root, &text);
    puts(text.bytes);
    qsr_text_free(&text);
    json_decref(root);
}

/* ---- scaling */

static void add_scaling(qsr_table *table, const char *name, double one, double many, double ideal)
{
    char cells[4][32];
    if (!(one > 0) || !(many > 0)) return;
    snprintf(cells[0], sizeof cells[0], "%.2f", one);
    snprintf(cells[1], sizeof cells[1], "%.2f", many);
    snprintf(cells[2], sizeof cells[2], "%.2f", one / many);
    snprintf(cells[3], sizeof cells[3], "%.2f", one / many / ideal);
    qsr_table_row(table, (const char *[]){name, cells[0], cells[1], cells[2], cells[3]});
}

void qsr_bench_print_scaling(const qsr_spec *spec, const qsr_bench *one, const qsr_bench *many)
{
    qsr_table table = {.columns = 5, .right = 0x1e};
    double ideal = many->fma_gflops / one->fma_gflops;
    char title[32];
    snprintf(title, sizeof title, "ms, %u threads", many->threads);
    printf("%s: d_in %zu, d_sae %zu, batch %zu, %s, l0 %.5g: 1 and %u threads\n", spec->name, many->d_in, many->d_sae,
           many->batch, spec->activation.plugin->name, many->l0, many->threads);
    qsr_table_row(&table, (const char *[]){"PHASE", "ms, 1 thread", title, "faster", "of multiply-adds"});
    for (int p = 0; p < QSR_PHASES; p++)
        add_scaling(&table, qsr_phase_names[p], one->phase[p].median, many->phase[p].median, ideal);
    add_scaling(&table, "step", one->step.median, many->step.median, ideal);
    add_scaling(&table, "T", one->t.median, many->t.median, ideal);
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
    printf("multiply-adds on registers: %.2f times as fast; a copy: %.2f times (phases bound by memory cannot do better)\n",
           ideal, many->copy_gbps / one->copy_gbps);
}

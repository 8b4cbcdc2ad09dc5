#include "cli/results.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"
#include "base/table.h"

/* The metrics that tell a run in a few lines; result.json has all. mmcs and mcc exist where the truth is known. */
static const char *const headline[] = {"l0",   "nmse", "fvu", "explained_variance", "silent_fraction", "ce_recovered_zero", "epsilon_lbo_median",
                                       "mmcs", "mcc",  NULL};

static const char *outcome_text(qsr_run_outcome outcome)
{
    return outcome == QSR_RUN_SKIPPED ? "already complete" : qsr_run_outcome_names[outcome];
}

static void add_value(qsr_table *table, const char *name, double value)
{
    char text[32];
    qsr_table_row(table, (const char *[]){name, qsr_number_text(value, text, sizeof text)});
}

/* Only metrics that this evaluation has. */
static void add_headline(qsr_table *table, const qsr_evaluation *evaluation)
{
    double value;
    const char *name;
    for (const char *const *wanted = headline; *wanted; wanted++)
        for (size_t i = 0; (name = qsr_evaluation_value(evaluation, i, &value)); i++)
            if (strcmp(name, *wanted) == 0) add_value(table, name, value);
}

static void print_files(const char *folder)
{
    static const struct {
        const char *name, *what;
    } files[] = {{"result.json", "how it ended, all metrics"},
                 {"sae", "the autoencoder: cfg.json, sae_weights.safetensors"},
                 {"metrics.jsonl", "a line per logged step"},
                 {"timing.jsonl", "where the time went"},
                 {"tokens.csv", "diagnostics per evaluated token"},
                 {"latents.csv", "numbers of every latent"},
                 {"top_contexts.jsonl", "where each latent was most active"},
                 {"spec.yaml", "the resolved spec"},
                 {"manifest.json", "versions, machine, digests of inputs"},
                 {"checkpoint", "to go on from here"}};
    qsr_table table = {.columns = 2};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        qsr_arena arena = {0};
        if (qsr_exists(qsr_path_join(&arena, folder, files[i].name)))
            qsr_table_row(&table, (const char *[]){files[i].name, files[i].what});
        qsr_arena_free(&arena);
    }
    printf("files in %s\n", folder);
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
}

/* Steps and waiting for data take turns, so their sum is what training took. */
static void print_time(const qsr_run_summary *run)
{
    char trained[32], steps[32], data[32], evaluated[32], speed[32];
    const double seconds = run->train_seconds + run->data_seconds;
    if (run->outcome == QSR_RUN_SKIPPED || !run->tokens) return;
    printf("  %llu steps, %llu tokens in %s (%s tokens/s): %s in steps, %s waiting for data", (unsigned long long)run->steps,
           (unsigned long long)run->tokens, qsr_duration_text(seconds, trained, sizeof trained),
           qsr_number_text(seconds > 0 ? floor((double)run->tokens_now / seconds) : 0, speed, sizeof speed),
           qsr_duration_text(run->train_seconds, steps, sizeof steps), qsr_duration_text(run->data_seconds, data, sizeof data));
    if (run->evaluated && run->evaluation.scored)
        printf("; evaluated in %s", qsr_duration_text(run->eval_seconds, evaluated, sizeof evaluated));
    puts("");
}

void qsr_results_run(const qsr_spec *spec, const qsr_run_summary *run)
{
    const char *id = run->folder[0] ? qsr_path_base(run->folder) : spec->id;
    printf("%s  %s  %s%s%s\n", spec->name, id, outcome_text(run->outcome), run->reason[0] ? ": " : "",
           run->reason);
    if (run->evaluated) {
        qsr_table table = {.columns = 2, .right = 1u << 1};
        add_headline(&table, &run->evaluation);
        qsr_table_print(&table, 2, stdout);
        qsr_table_free(&table);
    }
    print_time(run);
    if (run->folder[0]) print_files(run->folder);
}

void qsr_results_table(qsr_spec *const *specs, const qsr_run_summary *runs, size_t n)
{
    enum { FIRST = 6, COLUMNS = FIRST + 4 };
    qsr_table table = {.columns = COLUMNS, .right = ((1u << COLUMNS) - 1) & ~7u};
    qsr_table_row(&table, (const char *[]){"NAME", "RUN", "STATUS", "l0", "nmse", "fvu", "explained_variance", "silent_fraction",
                                           "epsilon_lbo_median", "seconds"});
    static const char *const values[] = {"l0", "nmse", "fvu", "explained_variance", "silent_fraction", "epsilon_lbo_median"};
    size_t elsewhere = 0;
    for (size_t r = 0; r < n; r++) {
        if (runs[r].elsewhere) {
            elsewhere++;
            continue;
        }
        char texts[7][32];
        for (size_t i = 0; i < 6; i++) {
            double value = runs[r].evaluated ? qsr_evaluation_get(&runs[r].evaluation, values[i]) : NAN;
            qsr_number_text(value, texts[i], sizeof texts[i]);
        }
        snprintf(texts[6], sizeof texts[6], "%.1f", runs[r].train_seconds + runs[r].eval_seconds);
        qsr_table_row(&table, (const char *[]){specs[r]->name, specs[r]->id, outcome_text(runs[r].outcome), texts[0],
                                               texts[1], texts[2], texts[3], texts[4], texts[5], texts[6]});
    }
    if (elsewhere < n) qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
    if (elsewhere) printf("%zu more cell%s to other shards\n", elsewhere, elsewhere == 1 ? " belongs" : "s belong");
}

void qsr_results_evaluation(const qsr_evaluation *evaluation)
{
    qsr_table table = {.columns = 2, .right = 1u << 1};
    double value;
    const char *name;
    for (size_t i = 0; (name = qsr_evaluation_value(evaluation, i, &value)); i++) add_value(&table, name, value);
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
}

/* `quasar show`: a spec as the program understands it, with nothing created and nothing trained. */
#include <stdio.h>
#include <string.h>

#include "base/sizes.h"
#include "base/table.h"
#include "cli/command.h"
#include "lab/forecast.h"
#include "spec/grid.h"
#include "spec/node.h"

static void print_spec(const qsr_spec *spec, const qsr_args *args)
{
    qsr_text text = {0};
    qsr_spec_dump(spec, qsr_args_has(args, "canonical"), &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
}

/* ---- grids ----------------------------------------------------------------------------------------------------------- */

static const char *plural(size_t n) { return n == 1 ? "" : "s"; }

/* "gpt2-small: 69 cells, 3 more are equal to one of them" */
static void print_count(const qsr_grid *grid, const char *before)
{
    printf("%s%s: %zu cell%s", before, grid->name, grid->n, plural(grid->n));
    if (grid->n_merged) printf(", %zu more %s equal to one of them", grid->n_merged, grid->n_merged == 1 ? "is" : "are");
    puts("");
}

/* The base with every default; as it was written where it is no experiment by itself. */
static void print_base(const qsr_grid *grid, const qsr_args *args)
{
    if (grid->base) {
        print_spec(grid->base, args);
    } else {
        qsr_text text = {0};
        for (size_t i = 0; i < grid->tree->count; i++) {
            qsr_text_add(&text, "%s: ", grid->tree->entries[i].key);
            qsr_node_write(grid->tree->entries[i].value, &text);
            qsr_text_puts(&text, "\n");
        }
        fputs(text.bytes ? text.bytes : "", stdout);
        qsr_text_free(&text);
        puts("# This is the base as it was written: only the blocks of its grid make experiments of it.");
    }
    print_count(grid, "# ");
    puts("# `quasar show` lists them with --cells, tells where they come from with --explain, and shows one with --cell "
         "ID.");
}

/* What a cell would take, as texts; "-" where its data could not be opened. */
typedef struct {
    char memory[32], time[32];
} cost_text;

static cost_text describe_cost(const qsr_forecast_cell *c)
{
    cost_text t = {"-", "-"};
    if (!c->d_in) return t;
    qsr_size_text(c->memory, t.memory, sizeof t.memory);
    qsr_duration_text(c->seconds, t.time, sizeof t.time);
    return t;
}

/* The row of cell i, or the headings for i == n. */
static void put_row(const qsr_grid *grid, const qsr_forecast *forecast, size_t i, qsr_table *table, const char **row)
{
    const bool heads = i == grid->n;
    const cost_text cost = heads ? (cost_text){"MEMORY", "TIME"} : describe_cost(&forecast->cells[i]);
    char equal[32] = "";
    size_t c = 0;
    row[c++] = heads ? "ID" : grid->cells[i]->id;
    for (size_t k = 0; k < grid->n_keys; k++) {
        if (!qsr_grid_differs(grid, k)) continue;
        const char *value = heads ? grid->keys[k] : grid->values[i * grid->n_keys + k];
        row[c++] = value ? value : "-";
    }
    if (!heads && grid->merged[i]) snprintf(equal, sizeof equal, "+%zu", grid->merged[i]);
    if (grid->n_merged) row[c++] = heads ? "EQUAL" : equal;
    row[c++] = cost.memory;
    row[c] = cost.time;
    qsr_table_row(table, row);
}

static void print_costs(const qsr_forecast *f)
{
    char size[32], time[32];
    size_t most = 0, unknown = 0;
    for (size_t g = 0; g < f->plan.n; g++) most = qsr_max_size(most, f->plan.groups[g].bytes);
    for (size_t i = 0; i < f->n; i++) unknown += !f->cells[i].d_in;
    if (unknown == f->n) {
        puts("no estimate of memory and time: the data cannot be opened here (`quasar run --dry-run` says why)");
        return;
    }
    printf("%zu group%s, of up to %s each; about %s in steps, roughly, at %.0f GFLOP/s now, and what the dataset takes%s\n", f->plan.n,
           plural(f->plan.n), qsr_size_text(most, size, sizeof size), qsr_duration_text(f->seconds, time, sizeof time),
           f->flops / 1e9, unknown ? "; without those whose data cannot be opened here" : "");
}

/* A row for each cell: its id, what it has at the keys that are not the same everywhere, and what it would take. */
static void print_cells(const qsr_grid *grid, const qsr_forecast *forecast)
{
    qsr_table table = {.columns = 3 + (grid->n_merged > 0)};
    qsr_arena arena = {0};
    for (size_t k = 0; k < grid->n_keys; k++) table.columns += qsr_grid_differs(grid, k);
    for (size_t c = table.columns - 2; c < table.columns && c < 8 * sizeof table.right; c++) table.right |= 1u << c;
    const char **row = qsr_arena_alloc(&arena, table.columns, sizeof *row);
    print_count(grid, "");
    put_row(grid, forecast, grid->n, &table, row);
    for (size_t i = 0; i < grid->n; i++) put_row(grid, forecast, i, &table, row);
    qsr_table_print(&table, 0, stdout);
    print_costs(forecast);
    qsr_table_free(&table);
    qsr_arena_free(&arena);
}

static int show_cells(const qsr_grid *grid)
{
    qsr_pool *pool;
    qsr_error e = {0};
    if (qsr_pool_create(0, &pool, &e)) return qsr_cli_report(&e);
    qsr_forecast forecast;
    qsr_forecast_outline((const qsr_spec *const *)grid->cells, grid->n, pool, &forecast);
    print_cells(grid, &forecast);
    qsr_forecast_free(&forecast);
    qsr_pool_free(pool);
    return QSR_EXIT_OK;
}

/* ---- where cells come from */

static void put_place(qsr_text *out, const qsr_mark *mark)
{
    if (!mark->source || !mark->line) return;
    qsr_text_puts(out, mark->source->name);
    if (!mark->source->argument) qsr_text_add(out, ":%u:%u", (unsigned)mark->line, (unsigned)mark->col);
}

static void put_values(qsr_text *out, const qsr_axis *axis)
{
    for (size_t i = 0; i < axis->n; i++) {
        qsr_text_puts(out, i ? ", " : "");
        qsr_node_write(axis->values[i], out);
    }
}

static void print_axes(const qsr_axes *axes)
{
    qsr_table table = {.columns = 4, .right = 1 << 1};
    for (size_t i = 0; i < axes->n; i++) {
        qsr_text place = {0}, values = {0};
        char count[24];
        snprintf(count, sizeof count, "%zu", axes->items[i].n);
        put_place(&place, &axes->items[i].mark);
        put_values(&values, &axes->items[i]);
        qsr_table_row(&table, (const char *[]){axes->items[i].key, count, values.bytes, place.bytes});
        qsr_text_free(&place);
        qsr_text_free(&values);
    }
    qsr_table_print(&table, 4, stdout);
    qsr_table_free(&table);
}

static void print_drops(const qsr_grid *grid, size_t block)
{
    for (size_t i = 0; i < grid->n_drops; i++) {
        const qsr_grid_drop *drop = &grid->drops[i];
        qsr_text place = {0};
        if (drop->block != block) continue;
        put_place(&place, &drop->mark);
        printf("    without %s: %s (%s), an option of %s that %s lacks, in %zu cell%s\n", drop->path, drop->text,
               place.bytes ? place.bytes : "", drop->from, drop->to, drop->cells, plural(drop->cells));
        qsr_text_free(&place);
    }
}

static void print_origins(const qsr_grid *grid)
{
    print_count(grid, "");
    for (size_t i = 0; i < grid->n_blocks; i++) {
        const qsr_grid_block *block = &grid->blocks[i];
        qsr_text place = {0};
        put_place(&place, &block->mark);
        printf("  block %zu%s%s: %zu cell%s\n", i + 1, place.bytes ? ", " : "", place.bytes ? place.bytes : "",
               block->cells, plural(block->cells));
        print_axes(&block->axes);
        print_drops(grid, i);
        qsr_text_free(&place);
    }
}

/* ---- the command ----------------------------------------------------------------------------------------------------- */

static int show_cell(const qsr_grid *grid, const char *id, const qsr_args *args)
{
    size_t index = qsr_grid_find(grid, id);
    if (index == grid->n)
        return qsr_command_misused(&qsr_cmd_show, "%s has no single cell '%s'; --cells lists them", grid->path, id);
    print_spec(grid->cells[index], args);
    return QSR_EXIT_OK;
}

static int show(const qsr_grid *grid, const qsr_args *args)
{
    bool cells = qsr_args_has(args, "cells"), explain = qsr_args_has(args, "explain");
    const char *id = qsr_args_value(args, "cell");
    if (id) return show_cell(grid, id, args);
    if (qsr_args_has(args, "id")) {
        for (size_t i = 0; i < grid->n; i++) puts(grid->cells[i]->id);
        return QSR_EXIT_OK;
    }
    if (explain) print_origins(grid);
    if (cells && explain) puts("");
    if (cells) return show_cells(grid);
    if (explain) return QSR_EXIT_OK;
    if (grid->swept)
        print_base(grid, args);
    else
        print_spec(grid->cells[0], args);
    return QSR_EXIT_OK;
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_show, "needs one spec, got %zu", args->n_words);
    if (qsr_args_has(args, "canonical") && qsr_args_has(args, "id"))
        return qsr_command_misused(&qsr_cmd_show, "--canonical and --id exclude each other");
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_grid *grid;
    qsr_problems problems = {0};
    int code;
    if (qsr_grid_load(args->words[0], args->overrides, args->n_overrides, &env, &grid, &problems))
        code = qsr_cli_problems(&problems);
    else
        code = show(grid, args);
    qsr_grid_free(grid);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_show = {
    .name = "show",
    .synopsis = "SPEC [key=value...] [--cells] [--explain] [--cell ID] [--canonical | --id]",
    .summary = "print a spec with every default filled in, or the cells of its grid",
    .help = "Prints the resolved spec as YAML: `extends` merged, overrides applied, every option\n"
            "with the value it has. The output is a spec itself. All problems of a spec are\n"
            "reported at once, each with its line. Of a grid it prints the base and how many\n"
            "cells there are; key=a,b,c sweeps a key on the command line.",
    .options =
        (const qsr_arg_option[]){{"cells", NULL, "list the cells of a grid: their ids, where they differ, memory and time"},
                                 {"explain", NULL, "list blocks and axes, and options dropped for another plugin"},
                                 {"cell", "ID", "print one cell, named by its id or the beginning of its hash"},
                                 {"canonical", NULL, "leave out what is at its default: the text that identifies a run"},
                                 {"id", NULL, "print identities alone, the names of run folders, one a line"},
                                 QSR_ARG_PLUGIN_DIR,
                                 {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

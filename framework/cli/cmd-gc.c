/* `quasar gc`: shows what killed runs and changed specs left behind, and removes it when told to. */
#include <stdio.h>

#include "base/sizes.h"
#include "base/table.h"
#include "cli/cells.h"
#include "cli/command.h"
#include "lab/leftovers.h"

static void print(const qsr_leftovers *l)
{
    char size[32];
    size_t bytes = 0;
    qsr_table table = {.columns = 3, .right = 1u << 0};
    for (size_t i = 0; i < l->n; i++) {
        bytes += l->items[i].bytes;
        qsr_table_row(&table, (const char *[]){qsr_size_text(l->items[i].bytes, size, sizeof size), l->items[i].path, l->items[i].what});
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
    printf("%zu leftovers, %s\n", l->n, qsr_size_text(bytes, size, sizeof size));
}

static int remove_all(const qsr_leftovers *l)
{
    size_t removed = 0;
    int code = QSR_EXIT_OK;
    for (size_t i = 0; i < l->n; i++) {
        qsr_error e = {0};
        bool busy = false;
        if (qsr_leftover_remove(&l->items[i], &busy, &e)) {
            qsr_cli_report(&e);
            code = QSR_EXIT_FAILED;
        } else if (busy) {
            printf("left alone: %s, which a process has taken meanwhile\n", l->items[i].path);
        } else {
            removed++;
        }
    }
    printf("%zu removed\n", removed);
    return code;
}

static int collect(const qsr_args *args, const qsr_cli_cells *cells, qsr_registry *registry)
{
    qsr_leftovers l = {0};
    qsr_error e = {0};
    int code = QSR_EXIT_OK;
    if (qsr_leftovers_find(args->words[0], (const qsr_spec *const *)cells->cells, cells->n, registry, &l, &e)) return qsr_cli_report(&e);
    print(&l);
    if (l.n && qsr_args_has(args, "yes")) code = remove_all(&l);
    else if (l.n) puts("nothing was removed; --yes removes them");
    qsr_leftovers_free(&l);
    return code;
}

static int run(qsr_args *args)
{
    if (args->n_words < 1 || args->n_words > 2)
        return qsr_command_misused(&qsr_cmd_gc, "needs a folder of runs, and perhaps a spec, got %zu words", args->n_words);
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_cli_cells cells = {0};
    int code;
    if (args->n_words == 2 && qsr_cli_cells_load(args->words[1], args, &env, &cells, &problems)) code = qsr_cli_problems(&problems);
    else code = collect(args, &cells, registry);
    qsr_cli_cells_free(&cells);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_gc = {
    .name = "gc",
    .synopsis = "DIR [SPEC] [key=value...] [--yes]",
    .summary = "show what killed runs and changed specs left below a folder; --yes removes it",
    .help = "Lists files that were written aside and never finished, checkpoints of completed cells and, given\n"
            "the spec, folders of cells that it no longer produces. Folders that a living process has are left\n"
            "alone. Only with --yes is anything removed.",
    .options = (const qsr_arg_option[]){{"yes", NULL, "remove them"}, QSR_ARG_PLUGIN_DIR, {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

/* `quasar plugins`: what activations, losses and datasets can be named in a spec. */
#include <stdio.h>

#include "cli/command.h"
#include "base/table.h"
#include "plugin/loader.h"

static const uint32_t kinds[] = {QSR_ACTIVATION, QSR_LOSS, QSR_DATASET};

/* KIND/NAME, one a line: for scripts and for the shell's completion. */
static void print_names(qsr_registry *registry)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const qsr_found *const *found;
        size_t n = qsr_registry_list(registry, kinds[i], &found);
        for (size_t j = 0; j < n; j++) printf("%s/%s\n", qsr_kind_name(kinds[i]), found[j]->plugin->name);
    }
}

static void print_table(qsr_registry *registry)
{
    qsr_table table = {.columns = 5};
    qsr_table_row(&table, (const char *[]){"KIND", "NAME", "VERSION", "SUMMARY", "FILE"});
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const qsr_found *const *found;
        size_t n = qsr_registry_list(registry, kinds[i], &found);
        for (size_t j = 0; j < n; j++) {
            const qsr_plugin *p = found[j]->plugin;
            qsr_table_row(&table, (const char *[]){qsr_kind_name(kinds[i]), p->name, p->version, p->summary, found[j]->path});
        }
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
}

static int run(qsr_args *args)
{
    if (args->n_words) return qsr_command_misused(&qsr_cmd_plugins, "takes no operands; `quasar help KIND/NAME` explains one");
    qsr_registry *registry = qsr_cli_registry(args);
    if (qsr_args_has(args, "names"))
        print_names(registry);
    else
        print_table(registry);
    for (const char *const *text = qsr_registry_refusals(registry); *text; text++) fprintf(stderr, "refused: %s\n", *text);
    qsr_registry_free(registry);
    return QSR_EXIT_OK;
}

const qsr_command qsr_cmd_plugins = {
    .name = "plugins",
    .synopsis = "[--names] [--plugin-dir DIR]",
    .summary = "list the activations, losses and datasets that specs can name",
    .help = "Lists every plugin that a spec can name, with the file it comes from. Folders are\n"
            "searched in this order: --plugin-dir, QUASAR_PLUGIN_PATH, the installed one. Files\n"
            "that look like plugins and were refused are named on standard error, with the reason.",
    .options = (const qsr_arg_option[]){{"names", NULL, "print KIND/NAME alone, one a line"}, QSR_ARG_PLUGIN_DIR, {0}},
    .run = run,
};

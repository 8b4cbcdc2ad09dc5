/* `quasar help`: commands, the keys of a spec, and a plugin's options, the latter two from the tables that also parse them. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "plugin/loader.h"
#include "spec/experiment.h"

enum { COLUMNS = 100 };

static void print_plugin(const qsr_found *found)
{
    const qsr_plugin *p = found->plugin;
    printf("%s/%s %s: %s\n", qsr_kind_name(p->abi.kind), p->name, p->version, p->summary);
    if (p->cite) printf("%s\n", p->cite);
    printf("%s\n\n", found->path);
    if (!p->n_options) {
        puts("It has no options.");
        return;
    }
    qsr_text text = {0};
    qsr_option_table table = qsr_plugin_options(p);
    qsr_options_help(&table, COLUMNS, &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
}

static void print_spec_help(void)
{
    qsr_text text = {0};
    qsr_experiment_help(COLUMNS, &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
}

static int explain_plugin(qsr_args *args, const char *word)
{
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_error e = {0};
    const qsr_found *found = qsr_registry_resolve(registry, word, &e);
    int code = QSR_EXIT_OK;
    if (found)
        print_plugin(found);
    else
        code = qsr_cli_report(&e);
    qsr_registry_free(registry);
    return code;
}

static int run(qsr_args *args)
{
    if (args->n_words > 1) return qsr_command_misused(&qsr_cmd_help, "explains one thing at a time");
    const char *word = args->words[0];
    const qsr_command *command = word ? qsr_command_find(word) : NULL;
    if (!word)
        qsr_command_overview();
    else if (strcmp(word, "spec") == 0)
        print_spec_help();
    else if (command)
        qsr_command_describe(command);
    else
        return explain_plugin(args, word);
    return QSR_EXIT_OK;
}

const qsr_command qsr_cmd_help = {
    .name = "help",
    .synopsis = "[COMMAND | spec | KIND/NAME] [--plugin-dir DIR]",
    .summary = "explain a command, the keys of a spec, or the options of a plugin",
    .help = "`quasar help spec` explains the keys that every spec has, `quasar help activation/topk`\n"
            "the options of that plugin (`quasar plugins` lists them all; the kind may be left out\n"
            "where the name is clear), `quasar help run` a command.",
    .options = (const qsr_arg_option[]){QSR_ARG_PLUGIN_DIR, {0}},
    .run = run,
};

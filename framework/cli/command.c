#include "cli/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const qsr_command *const commands[] = {
    &qsr_cmd_run,    &qsr_cmd_cache, &qsr_cmd_submit, &qsr_cmd_show, &qsr_cmd_status, &qsr_cmd_diff, &qsr_cmd_gc,      &qsr_cmd_table, &qsr_cmd_compare,
    &qsr_cmd_stability, &qsr_cmd_latents, &qsr_cmd_report, &qsr_cmd_plot, &qsr_cmd_watch, &qsr_cmd_index,
    &qsr_cmd_export, &qsr_cmd_eval, &qsr_cmd_inspect, &qsr_cmd_check,  &qsr_cmd_plugins, &qsr_cmd_help, &qsr_cmd_doctor, &qsr_cmd_bench, &qsr_cmd_tokenize, &qsr_cmd_version, NULL};

const qsr_command *const *qsr_commands(void) { return commands; }

const qsr_command *qsr_command_find(const char *name)
{
    for (const qsr_command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0) return *c;
    return NULL;
}

int qsr_command_unknown(const char *name)
{
    const char *names[sizeof commands / sizeof *commands] = {NULL};
    for (size_t i = 0; commands[i]; i++) names[i] = commands[i]->name;
    const char *near = qsr_nearest(name, names);
    fprintf(stderr, "quasar: unknown command '%s'", name);
    if (near) fprintf(stderr, "; did you mean '%s'?", near);
    fputs("\n`quasar --help` lists the commands\n", stderr);
    return QSR_EXIT_USAGE;
}

void qsr_command_overview(void)
{
    puts("Quasar trains and evaluates sparse autoencoders from YAML specs.\n\n"
         "usage: quasar COMMAND [words and options]\n");
    for (const qsr_command *const *c = commands; *c; c++) printf("  %-9s  %s\n", (*c)->name, (*c)->summary);
    puts("\n  --help, -h     this text; `quasar COMMAND --help` explains a command\n"
         "  --version      the version\n\n"
         "Exit codes: 0 success, 1 a run or check failed, 2 bad input (nothing was created), 130 interrupted.\n"
         "Environment: QUASAR_PLUGIN_PATH (folders with plugins, separated by ':'), QUASAR_LOG (debug, info, warning, none),\n"
         "QUASAR_ISA (forces an instruction set), QUASAR_CACHE (folder for encoded texts). `man quasar` has the details.");
}

void qsr_command_describe(const qsr_command *c)
{
    printf("usage: quasar %s %s\n\n%s\n\n", c->name, c->synopsis, c->help);
    for (const qsr_arg_option *o = c->options; o && o->name; o++) {
        char word[64];
        snprintf(word, sizeof word, "--%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        printf("  %-18s %s\n", word, o->help);
    }
    printf("  %-18s %s\n", "--help, -h", "print this");
}

int qsr_command_misused(const qsr_command *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "quasar %s: ", c->name);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nusage: quasar %s %s\n", c->name, c->synopsis);
    return QSR_EXIT_USAGE;
}

int qsr_cli_report(const qsr_error *e)
{
    fprintf(stderr, "quasar: %s\n", e->text[0] ? e->text : "failed without saying why");
    switch (e->code) {
    case QSR_E_OPTION:
    case QSR_E_INPUT:
    case QSR_E_STATE:
    case QSR_E_IO:
    case QSR_E_UNSUPPORTED: return QSR_EXIT_USAGE;
    default: return QSR_EXIT_FAILED;
    }
}

int qsr_cli_problems(const qsr_problems *problems)
{
    qsr_text text = {0};
    qsr_problems_write(problems, &text);
    fputs(text.bytes ? text.bytes : "", stderr);
    fputs("quasar: nothing was created\n", stderr);
    qsr_text_free(&text);
    return QSR_EXIT_USAGE;
}

qsr_registry *qsr_cli_registry(qsr_args *args) { return qsr_registry_create(qsr_args_values(args, "plugin-dir")); }

qsr_spec_env qsr_cli_spec_env(qsr_registry *registry)
{
    static const char *const installed[] = {QSR_DATA_DIR, NULL};
    static const char *const built[] = {QSR_SOURCE_DIR "/experiments", NULL};
    qsr_spec_env env = qsr_registry_env(registry);
    env.extends_folders = qsr_runs_from_build_tree() ? built : installed;
    return env;
}

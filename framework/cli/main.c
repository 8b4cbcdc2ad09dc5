/* cli/main: the program: finds the command, reads its options, runs it, and returns 0, 1, 2 or 130 (command.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "cli/command.h"

/* A misspelt folder would otherwise go unnoticed: the plugin of that name elsewhere would be taken. */
static int check_plugin_dirs(const qsr_command *command, qsr_args *args)
{
    for (const char *const *dir = qsr_args_values(args, "plugin-dir"); *dir; dir++)
        if (!qsr_is_folder(*dir)) return qsr_command_misused(command, "--plugin-dir is '%s', which is not a folder", *dir);
    return QSR_EXIT_OK;
}

static int run_command(const qsr_command *command, int argc, char **argv)
{
    qsr_args args;
    qsr_error e = {0};
    if (qsr_args_parse(argc, argv, command->options, command->mode, &args, &e))
        return qsr_command_misused(command, "%s", e.text);
    int code = QSR_EXIT_OK;
    if (args.help)
        qsr_command_describe(command);
    else if (!(code = check_plugin_dirs(command, &args)))
        code = command->run(&args);
    qsr_args_free(&args);
    return code;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: quasar COMMAND [words and options]\n`quasar --help` lists the commands\n", stderr);
        return QSR_EXIT_USAGE;
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) word = "help";
    if (strcmp(word, "--version") == 0) word = "version";
    if (word[0] == '-') {
        fprintf(stderr, "quasar: unknown option '%s'\n`quasar --help` lists the commands; options follow a command\n", word);
        return QSR_EXIT_USAGE;
    }
    const qsr_command *command = qsr_command_find(word);
    if (!command) return qsr_command_unknown(word);
    return run_command(command, argc - 2, argv + 2);
}

/* What was printed must have arrived: `quasar show SPEC >/full/disk` fails. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    perror("quasar: cannot write to standard output");
    return code ? code : QSR_EXIT_FAILED;
}

int main(int argc, char **argv) { return finish(dispatch(argc, argv)); }

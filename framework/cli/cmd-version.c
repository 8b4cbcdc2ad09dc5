/* `quasar version`: the version, and what it was built with. */
#include <stdio.h>

#include "cli/command.h"

static int run(qsr_args *args)
{
    if (args->n_words) return qsr_command_misused(&qsr_cmd_version, "takes no operands");
    printf("quasar %s\nplugin ABI %d.%d, built with %s\n", PACKAGE_VERSION, QSR_ABI_MAJOR, QSR_ABI_MINOR,
#ifdef __clang__
           "clang " __clang_version__
#else
           "gcc " __VERSION__
#endif
    );
    return QSR_EXIT_OK;
}

const qsr_command qsr_cmd_version = {
    .name = "version",
    .synopsis = "",
    .summary = "print the version (also: quasar --version)",
    .help = "Prints the program's version, the plugin ABI that it speaks, and its compiler.",
    .run = run,
};

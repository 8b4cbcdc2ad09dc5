/* cli/command: what a subcommand is: words, help and one function, described by a static struct at the end of its file. */
#ifndef QSR_CLI_COMMAND_H
#define QSR_CLI_COMMAND_H
#include "cli/args.h"
#include "plugin/registry.h"

/* What the program returns. */
enum {
    QSR_EXIT_OK = 0,
    QSR_EXIT_FAILED = 1,       /* asked for correctly, but it did not work out: a run failed, a plugin breaks a promise */
    QSR_EXIT_USAGE = 2,        /* bad input: a command line, a spec, a file */
    QSR_EXIT_INTERRUPTED = 130 /* by Ctrl-C */
};

typedef struct {
    const char *name;
    const char *synopsis; /* after the name: "SPEC... [key=value...]" */
    const char *summary;  /* one line, for the list of commands */
    const char *help;     /* paragraphs, wrapped by hand at 79 columns */
    const qsr_arg_option *options;
    qsr_args_mode mode;
    int (*run)(qsr_args *); /* returns a QSR_EXIT_* */
} qsr_command;

extern const qsr_command qsr_cmd_run, qsr_cmd_show, qsr_cmd_eval, qsr_cmd_check, qsr_cmd_plugins, qsr_cmd_help, qsr_cmd_doctor,
    qsr_cmd_version, qsr_cmd_bench, qsr_cmd_table, qsr_cmd_compare, qsr_cmd_index, qsr_cmd_export,
    qsr_cmd_status, qsr_cmd_diff, qsr_cmd_gc, qsr_cmd_submit, qsr_cmd_tokenize;
extern const qsr_command qsr_cmd_stability, qsr_cmd_latents;
extern const qsr_command qsr_cmd_report, qsr_cmd_plot, qsr_cmd_watch;
extern const qsr_command qsr_cmd_inspect;
extern const qsr_command qsr_cmd_cache;

const qsr_command *const *qsr_commands(void); /* NULL-ended, in the order of the help */
const qsr_command *qsr_command_find(const char *name);
/* "run"... with "did you mean" to stderr; returns QSR_EXIT_USAGE. */
int qsr_command_unknown(const char *name);

void qsr_command_overview(void);                  /* `quasar --help` on stdout */
void qsr_command_describe(const qsr_command *);   /* `quasar COMMAND --help` on stdout */
/* "quasar COMMAND: text" and where the help is, on stderr; returns QSR_EXIT_USAGE. */
int qsr_command_misused(const qsr_command *, const char *fmt, ...) QSR_PRINTF(2, 3);

/* ---- what several commands need */

/* "quasar: text" on stderr; returns the exit code that the status calls for: bad input is QSR_EXIT_USAGE. */
int qsr_cli_report(const qsr_error *);
/* The problems of specs on stderr, and that nothing was created; returns QSR_EXIT_USAGE. */
int qsr_cli_problems(const qsr_problems *);
/* A registry over the --plugin-dir values of `args`. */
qsr_registry *qsr_cli_registry(qsr_args *);
/* What qsr_spec_load needs: the registry, and the folders of installed presets for `extends`. */
qsr_spec_env qsr_cli_spec_env(qsr_registry *);

#define QSR_ARG_PLUGIN_DIR                                                                                             \
    {                                                                                                                  \
        "plugin-dir", "DIR", "also look for plugins in DIR/activations, DIR/losses, DIR/datasets, first; repeatable"   \
    }
#define QSR_ARG_THREADS                                                                                                \
    {                                                                                                                  \
        "threads", "N", "threads to compute with; the results do not depend on it (default: one per core)"             \
    }
#endif

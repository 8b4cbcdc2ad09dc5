/* cli/args: the words of a command line: options by a table, and operands. Long options as --out DIR or --out=DIR, -h and
 * -o (--out FILE, where there is one) alone in short, `--` ends the options; options and operands may be mixed.
 *
 * The room cli is the program: it parses words, calls lab/ and prints. It may import every room; nothing imports it. */
#ifndef QSR_CLI_ARGS_H
#define QSR_CLI_ARGS_H
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"

/* A table of these ends with a row whose name is NULL. Every command also takes --help. */
typedef struct {
    const char *name;  /* "out" for --out */
    const char *value; /* what it takes, for the help: "DIR"; NULL: a switch */
    const char *help;  /* one sentence without a final period */
} qsr_arg_option;

typedef struct {
    const char *const *words; /* operands, NULL-ended */
    size_t n_words;
    const char *const *overrides; /* operands of the form key=value, NULL-ended */
    size_t n_overrides;
    const char *const *rest; /* QSR_ARGS_KEEP_REST: words after `--`, which are another program's; NULL-ended */
    size_t n_rest;
    bool help;
    struct qsr_arg_given *given;
    size_t n_given;
    qsr_arena arena;
} qsr_args;

/* What to do with operands like `train.lr=1e-3` (letters, digits, '_', '.' and '-' before the first '='). */
typedef enum {
    QSR_ARGS_PLAIN,
    QSR_ARGS_SPLIT_OVERRIDES, /* into overrides */
    QSR_ARGS_KEEP_REST        /* that too, and what follows `--` apart */
} qsr_args_mode;

/* Reads argv[0 .. argc), which starts after the command's name. Strings are borrowed from argv. */
qsr_status qsr_args_parse(int argc, char *const *argv, const qsr_arg_option *table, qsr_args_mode, qsr_args *ret, qsr_error *e);
void qsr_args_free(qsr_args *);

bool qsr_args_has(const qsr_args *, const char *name);
const char *qsr_args_value(const qsr_args *, const char *name); /* the last one given; NULL: none */
const char *const *qsr_args_values(qsr_args *, const char *name); /* all of them in order, NULL-ended */
/* The value of --name as a whole number from min to max; `absent` when it was not given. */
qsr_status qsr_args_count(const qsr_args *, const char *name, unsigned min, unsigned max, unsigned absent, unsigned *ret,
                          qsr_error *e);
#endif

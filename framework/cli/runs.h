/* cli/runs: what the commands over many runs share: the folder, conditions, lists of names, notes. */
#ifndef QSR_CLI_RUNS_H
#define QSR_CLI_RUNS_H
#include "cli/args.h"
#include "report/frame.h"
#include "report/sheet.h"

/* The words of all --name options, cut at commas, NULL-ended; NULL when the option was not given. Lives as long as `args`. */
const char *const *qsr_cli_list(qsr_args *, const char *name);
/* The runs of the command's folder, with every --overlay, less what --where does not want. On failure the error is set. */
qsr_status qsr_cli_frame(qsr_args *, qsr_frame *ret, qsr_error *e);
/* --format, text when it was not given. */
qsr_status qsr_cli_format(const qsr_args *, qsr_sheet_format *ret, qsr_error *e);
/* Notes go to standard error, so that standard output is the table alone. */
void qsr_cli_notes(const qsr_frame *);
#endif

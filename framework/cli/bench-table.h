/* cli/bench-table: the table of targets that `quasar bench --table` measures. */
#ifndef QSR_CLI_BENCH_TABLE_H
#define QSR_CLI_BENCH_TABLE_H
#include "cli/args.h"
#include "lab/bench.h"

/* Each case is `base` (text of a spec) with its own overrides and then those of the user. Prints a row as soon as it is measured.
 * Returns an exit code. */
int qsr_bench_table(const char *base, const qsr_args *, const qsr_spec_env *, qsr_pool *, size_t repeats);
#endif

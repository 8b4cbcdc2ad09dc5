/* cli/bench-print: what `quasar bench` measured, for readers and for programs. */
#ifndef QSR_CLI_BENCH_PRINT_H
#define QSR_CLI_BENCH_PRINT_H
#include "lab/bench.h"

void qsr_bench_print(const qsr_spec *, const qsr_bench *);
void qsr_bench_print_json(const qsr_bench *); /* one line */
/* Phase by phase: how much faster with many threads than with one, and what of it a plain multiply-add loop reaches. */
void qsr_bench_print_scaling(const qsr_spec *, const qsr_bench *one, const qsr_bench *many);
#endif

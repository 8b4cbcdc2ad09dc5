/* cli/results: how a run or an evaluation is told on standard output: numbers in aligned columns, and where the files are. */
#ifndef QSR_CLI_RESULTS_H
#define QSR_CLI_RESULTS_H
#include "lab/run.h"

/* One run: how it ended, its metrics, time and speed, and the files in its folder. */
void qsr_results_run(const qsr_spec *, const qsr_run_summary *);
/* Several runs side by side, a row each. */
void qsr_results_table(qsr_spec *const *, const qsr_run_summary *, size_t n);
/* Every metric of an evaluation. */
void qsr_results_evaluation(const qsr_evaluation *);
#endif

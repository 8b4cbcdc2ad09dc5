/* cli/forecast: what a run will do, told before it does it. */
#ifndef QSR_CLI_FORECAST_H
#define QSR_CLI_FORECAST_H
#include <stdio.h>

#include "lab/forecast.h"

/* Which cells train together: a line for each group. */
void qsr_forecast_print_plan(const qsr_plan *, const qsr_spec *const *cells, size_t n, FILE *);
/* A row for each cell: state, what would be done, memory, disk, time; groups; sums. On stdout. */
void qsr_forecast_print(const qsr_forecast *, const qsr_spec *const *cells, const qsr_run_options *);
#endif

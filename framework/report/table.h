/* report/table: runs aggregated over seeds: a row for each setting, means with 95 % intervals by Student's t. */
#ifndef QSR_REPORT_TABLE_H
#define QSR_REPORT_TABLE_H
#include "eval/statistics.h"
#include "report/frame.h"
#include "report/sheet.h"

typedef struct {
    const char *const
        *rows; /* parameters that tell rows apart, NULL-ended; NULL: those with several values, seeds left out */
    const char *const *cols; /* metrics, NULL-ended; NULL: l0, nmse, fvu, silent_fraction where measured */
    const char *sort; /* one of the rows' parameters or a metric; "-" before it: descending; NULL: by the parameters */
    const char *sparkline; /* a key of metrics.jsonl: one more column, a curve of the first run of each row; NULL: none */
    bool full;        /* columns for failed and unfinished runs even when there are none, for programs */
} qsr_table_request;

/* Only seeds are ever averaged over: where the asked rows would mix other settings, the parameters that tell those apart become
 * columns too, and a note of the frame says so. Failed and unfinished runs count in their own columns, never in a mean; notes give
 * the reasons. Unknown names are QSR_E_OPTION with a suggestion. */
qsr_status qsr_report_table(qsr_frame *, const qsr_table_request *, qsr_sheet *ret, qsr_error *e);

/* The rows of a table that asks for none: groups of runs that differ in nothing but the seed, by the parameters (`ret_keys`) that tell
 * them apart. Everything lives in the frame's arena. */
size_t qsr_report_settings(qsr_frame *, size_t **ret_keys, size_t *ret_n_keys, qsr_frame_group **ret);

/* Half of the 95 % interval as tables have it; NaN where there is none. Values of stability metrics come from pairs of runs. */
double qsr_report_half(const qsr_summary *, const char *metric);
#endif

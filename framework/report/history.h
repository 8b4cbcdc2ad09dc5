/* report/history: numbers of metrics.jsonl over a run, thinned while they are read. */
#ifndef QSR_REPORT_HISTORY_H
#define QSR_REPORT_HISTORY_H
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

typedef struct {
    double *tokens, *values; /* [n]: means over equal numbers of logged steps; the last may be of fewer */
    size_t n;
    double last; /* the last logged value; NaN: there is none */
} qsr_history;

/* `key` of every line that has it as a number, in at most `most` (2 or more) points, in the order of the file. Lines that cannot be
 * understood, as a killed process leaves them, are passed over. A missing file: QSR_E_INPUT. */
qsr_status qsr_history_read(const char *path, const char *key, size_t most, qsr_history *ret, qsr_error *e);
void qsr_history_free(qsr_history *);
/* "▁▂▅█" of n or fewer values; "" for none. A flat one is all "▁". */
void qsr_sparkline(const double *values, size_t n, qsr_text *out);
#endif

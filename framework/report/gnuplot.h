/* report/gnuplot: the one place that runs gnuplot: as a child with a script file, no shell, a time limit. */
#ifndef QSR_REPORT_GNUPLOT_H
#define QSR_REPORT_GNUPLOT_H
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

/* Whether $PATH has it. */
bool qsr_gnuplot_present(void);
/* Runs `gnuplot -d script` in `folder`: initialization files are not read. QSR_E_UNSUPPORTED: it is not installed; QSR_E_IO: it failed,
 * with its own words, or took longer than `seconds` and was ended. */
qsr_status qsr_gnuplot_run(const char *folder, const char *script, double seconds, qsr_error *e);

/* A string of a script, in single quotes, in which gnuplot substitutes nothing; control characters become blanks, bytes that are
 * no UTF-8 question marks, and ' becomes ’, since gnuplot does not read '' alike everywhere in a string. */
void qsr_gnuplot_quote(qsr_text *out, const char *text);
#endif

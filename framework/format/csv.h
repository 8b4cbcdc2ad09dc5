/* format/csv: comma-separated values as RFC 4180 has them, with LF or CRLF: quoted fields may hold commas, line ends and doubled
 * quotes. Every row has as many fields as the first. */
#ifndef QSR_FORMAT_CSV_H
#define QSR_FORMAT_CSV_H
#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

typedef struct {
    const char **fields; /* [columns of the table] */
    unsigned line;       /* where it begins, from 1 */
} qsr_csv_row;

typedef struct {
    size_t columns, count;
    qsr_csv_row *rows; /* [count]; the first is the header, if there is one */
    qsr_arena arena;
} qsr_csv;

/* Empty lines are passed over. QSR_E_INPUT as "<path>:<line>: ..."; a file of nothing is refused. */
qsr_status qsr_csv_read(const char *path, size_t limit, qsr_csv *ret, qsr_error *e);
qsr_status qsr_csv_parse(const char *name, const char *text, size_t n, qsr_csv *ret, qsr_error *e);
void qsr_csv_free(qsr_csv *);

/* A field, in quotes where it needs them. */
void qsr_csv_put(qsr_text *out, const char *field);
#endif

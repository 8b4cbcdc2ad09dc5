/* report/sheet: a table of results before it is text: columns of words, numbers and means with intervals, written as text for a
 * terminal, CSV, Markdown, LaTeX or JSON. CSV and JSON have every digit, the others those that mean something. */
#ifndef QSR_REPORT_SHEET_H
#define QSR_REPORT_SHEET_H
#include <stdbool.h>

#include "base/arena.h"
#include "base/text.h"

typedef enum { QSR_FORMAT_TEXT, QSR_FORMAT_CSV, QSR_FORMAT_MD, QSR_FORMAT_LATEX, QSR_FORMAT_JSON } qsr_sheet_format;
bool qsr_sheet_format_parse(const char *name, qsr_sheet_format *ret); /* "text", "csv", "md", "latex", "json" */

typedef enum {
    QSR_COLUMN_WORD,  /* a parameter's value; JSON gives numbers as numbers */
    QSR_COLUMN_COUNT, /* a whole number */
    QSR_COLUMN_REAL,
    QSR_COLUMN_MEAN /* mean, half-width of its 95 % interval, n: three columns in CSV, an object in JSON */
} qsr_column_kind;

typedef struct {
    const char *name;
    qsr_column_kind kind;
} qsr_column;

typedef struct {
    const char *word; /* NULL: none */
    double value;     /* NaN: none */
    double half;      /* NaN: none, as for n < 2 */
    size_t n;
    bool note_n; /* this n differs from the row's, so people are shown it */
} qsr_sheet_cell;

typedef struct {
    qsr_column *columns;
    size_t n_columns, n_rows;
    qsr_sheet_cell *cells; /* [n_rows][n_columns] */
    qsr_arena arena;
} qsr_sheet; /* {0} is an empty one */

void qsr_sheet_column(qsr_sheet *, const char *name, qsr_column_kind); /* before the first row */
qsr_sheet_cell *qsr_sheet_row(qsr_sheet *); /* adds one, all cells empty; valid until the next is added */
void qsr_sheet_write(const qsr_sheet *, qsr_sheet_format, qsr_text *out);
void qsr_sheet_free(qsr_sheet *);

/* For people: four significant digits; nothing beyond what a whole number has. "-" for NaN. */
void qsr_sheet_real(double value, qsr_text *out);
/* "0.3124 ± 0.0023": two digits of the half-width, the mean to the same place; "(2.390 ± 0.050)e-06" for small ones. */
void qsr_sheet_mean(double mean, double half, qsr_text *out);
#endif

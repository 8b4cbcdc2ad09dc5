/* base/table: rows of short texts in aligned columns. */
#ifndef QSR_BASE_TABLE_H
#define QSR_BASE_TABLE_H
#include <stdio.h>

#include "base/arena.h"
#include "base/text.h"

typedef struct {
    size_t columns, rows;
    const char **cells; /* [rows][columns] */
    unsigned right;     /* bit c: column c is aligned to the right, as numbers are */
    qsr_arena arena;
} qsr_table; /* {.columns = n} is an empty one */

/* Adds a row; the texts are copied, with qsr_one_line. A NULL is an empty cell. */
void qsr_table_row(qsr_table *, const char *const *cells);
/* Two blanks between columns, none at the end of a line; `indent` blanks before each. */
void qsr_table_write(const qsr_table *, unsigned indent, qsr_text *out);
void qsr_table_print(const qsr_table *, unsigned indent, FILE *);
void qsr_table_free(qsr_table *);

/* A number for people: six significant digits, "-" for NaN, which stands for "not measured". Returns buf. */
const char *qsr_number_text(double value, char *buf, size_t n);
#endif

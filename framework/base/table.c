#include "base/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void qsr_table_row(qsr_table *t, const char *const *cells)
{
    t->cells = qsr_xrealloc(t->cells, (t->rows + 1) * t->columns, sizeof *t->cells);
    const char **row = t->cells + t->rows++ * t->columns;
    for (size_t c = 0; c < t->columns; c++) row[c] = cells[c] ? qsr_one_line(qsr_arena_strdup(&t->arena, cells[c])) : "";
}

/* Characters, not bytes: continuation bytes of UTF-8 take no column. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void add_blanks(qsr_text *out, size_t n) { qsr_text_add(out, "%*s", (int)n, ""); }

static void write_row(const qsr_table *t, const char *const *row, const size_t *widths, unsigned indent, qsr_text *out)
{
    size_t last = t->columns;
    while (last > 0 && !*row[last - 1]) last--;
    add_blanks(out, last ? indent : 0);
    for (size_t c = 0; c < last; c++) {
        size_t blanks = widths[c] - width_of(row[c]);
        bool right = c < 32 && (t->right >> c & 1);
        if (c) add_blanks(out, 2);
        if (right) add_blanks(out, blanks);
        qsr_text_puts(out, row[c]);
        if (!right && c + 1 < last) add_blanks(out, blanks);
    }
    qsr_text_puts(out, "\n");
}

void qsr_table_write(const qsr_table *t, unsigned indent, qsr_text *out)
{
    size_t *widths = qsr_xcalloc(t->columns, sizeof *widths);
    for (size_t i = 0; i < t->rows * t->columns; i++) {
        size_t width = width_of(t->cells[i]);
        if (width > widths[i % t->columns]) widths[i % t->columns] = width;
    }
    for (size_t r = 0; r < t->rows; r++) write_row(t, t->cells + r * t->columns, widths, indent, out);
    free(widths);
}

void qsr_table_print(const qsr_table *t, unsigned indent, FILE *file)
{
    qsr_text text = {0};
    qsr_table_write(t, indent, &text);
    if (text.bytes) fputs(text.bytes, file);
    qsr_text_free(&text);
}

void qsr_table_free(qsr_table *t)
{
    free(t->cells);
    qsr_arena_free(&t->arena);
    *t = (qsr_table){0};
}

const char *qsr_number_text(double value, char *buf, size_t n)
{
    if (isnan(value))
        snprintf(buf, n, "-");
    else if (fabs(value) < 1e15 && value == floor(value))
        snprintf(buf, n, "%.0f", value);
    else
        snprintf(buf, n, "%.6g", value);
    return buf;
}

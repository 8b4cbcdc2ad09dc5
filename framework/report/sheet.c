#include "report/sheet.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/table.h"
#include "format/csv.h"
#include "format/json.h"

bool qsr_sheet_format_parse(const char *name, qsr_sheet_format *ret)
{
    static const char *const names[] = {"text", "csv", "md", "latex", "json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0) {
            *ret = (qsr_sheet_format)i;
            return true;
        }
    return false;
}

void qsr_sheet_column(qsr_sheet *s, const char *name, qsr_column_kind kind)
{
    s->columns = qsr_xrealloc(s->columns, s->n_columns + 1, sizeof *s->columns);
    s->columns[s->n_columns++] = (qsr_column){qsr_arena_strdup(&s->arena, name), kind};
}

qsr_sheet_cell *qsr_sheet_row(qsr_sheet *s)
{
    s->cells = qsr_xrealloc(s->cells, (s->n_rows + 1) * s->n_columns, sizeof *s->cells);
    qsr_sheet_cell *row = s->cells + s->n_rows++ * s->n_columns;
    for (size_t c = 0; c < s->n_columns; c++) row[c] = (qsr_sheet_cell){.value = NAN, .half = NAN};
    return row;
}

void qsr_sheet_free(qsr_sheet *s)
{
    free(s->columns);
    free(s->cells);
    qsr_arena_free(&s->arena);
    *s = (qsr_sheet){0};
}

/* ---- numbers for people ---------------------------------------------------------------------------------------------- */

static bool is_whole(double value) { return fabs(value) < 1e15 && value == floor(value); }

void qsr_sheet_real(double value, qsr_text *out)
{
    if (isnan(value))
        qsr_text_puts(out, "-");
    else if (is_whole(value) || (fabs(value) >= 1000 && fabs(value) < 1e7))
        qsr_text_add(out, "%.0f", value);
    else
        qsr_text_add(out, "%.4g", value);
}

/* floor(log10(value)) after rounding to two digits: 0.0996 counts as 0.10. */
static int exponent_of(double value)
{
    char text[32];
    snprintf(text, sizeof text, "%.1e", value);
    return atoi(strchr(text, 'e') + 1);
}

/* mean and half to the last place of half's second digit, as `form` has them: "%.*f ± %.*f". */
static void put_pair(qsr_text *out, double mean, double half)
{
    int decimals = 1 - exponent_of(half);
    if (decimals < 0) decimals = 0;
    qsr_text_add(out, "%.*f ± %.*f", decimals, mean, decimals, half);
}

void qsr_sheet_mean(double mean, double half, qsr_text *out)
{
    double size = fmax(fabs(mean), half);
    if (isnan(mean) || isnan(half) || half == 0) {
        qsr_sheet_real(mean, out);
        if (!isnan(mean) && half == 0) qsr_text_puts(out, " ± 0");
    } else if (half < 1e-6 * fabs(mean)) {
        qsr_text_add(out, "%.7g ± %.1e", mean, half);
    } else if (size < 1e-4 || size >= 1e7) {
        int exponent = exponent_of(size);
        qsr_text_puts(out, "(");
        put_pair(out, mean / pow(10, exponent), half / pow(10, exponent));
        qsr_text_add(out, ")e%+03d", exponent);
    } else {
        put_pair(out, mean, half);
    }
}

/* ---- cells as texts -------------------------------------------------------------------------------------------------- */

/* Control characters have no business on a terminal. */
static void put_shown(qsr_text *out, const char *text)
{
    for (const char *c = text; *c; c++) qsr_text_append(out, iscntrl((unsigned char)*c) ? "?" : c, 1);
}

static void put_cell(const qsr_column *column, const qsr_sheet_cell *cell, const char *nothing, qsr_text *out)
{
    size_t before = out->length;
    if (column->kind == QSR_COLUMN_WORD && cell->word) put_shown(out, cell->word);
    if (column->kind == QSR_COLUMN_COUNT) qsr_text_add(out, "%zu", cell->n);
    if (column->kind == QSR_COLUMN_REAL && !isnan(cell->value)) qsr_sheet_real(cell->value, out);
    if (column->kind == QSR_COLUMN_MEAN && !isnan(cell->value)) qsr_sheet_mean(cell->value, cell->half, out);
    if (column->kind == QSR_COLUMN_MEAN && !isnan(cell->value) && cell->note_n) qsr_text_add(out, " (n %zu)", cell->n);
    if (out->length == before) qsr_text_puts(out, nothing);
}

static const qsr_sheet_cell *cell_at(const qsr_sheet *s, size_t row, size_t column)
{
    return &s->cells[row * s->n_columns + column];
}

/* Numbers stand at the right, and so do words that are all numbers. */
static bool is_right(const qsr_sheet *s, size_t column)
{
    bool some = false;
    if (s->columns[column].kind != QSR_COLUMN_WORD) return true;
    for (size_t r = 0; r < s->n_rows; r++) {
        const char *word = cell_at(s, r, column)->word;
        double number;
        if (word && !qsr_parse_real(word, &number)) return false;
        some = some || word;
    }
    return some;
}

/* ---- text ------------------------------------------------------------------------------------------------------------ */

static void write_text(const qsr_sheet *s, qsr_text *out)
{
    qsr_table table = {.columns = s->n_columns};
    const char **texts = qsr_xcalloc(s->n_columns, sizeof *texts);
    for (size_t c = 0; c < s->n_columns; c++) {
        texts[c] = s->columns[c].name;
        if (c < 32 && is_right(s, c)) table.right |= 1u << c;
    }
    qsr_table_row(&table, texts);
    for (size_t r = 0; r < s->n_rows; r++) {
        for (size_t c = 0; c < s->n_columns; c++) {
            qsr_text text = {0};
            put_cell(&s->columns[c], cell_at(s, r, c), c + 1 < s->n_columns ? "-" : "", &text);
            texts[c] = qsr_arena_strdup(&table.arena, text.bytes);
            qsr_text_free(&text);
        }
        qsr_table_row(&table, texts);
    }
    qsr_table_write(&table, 0, out);
    free(texts);
    qsr_table_free(&table);
}

/* ---- Markdown --------------------------------------------------------------------------------------------------------- */

static void put_md(qsr_text *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (strchr("|\\`*<", *c)) qsr_text_puts(out, "\\");
        qsr_text_append(out, c, 1);
    }
}

static void write_md(const qsr_sheet *s, qsr_text *out)
{
    for (size_t c = 0; c < s->n_columns; c++) {
        qsr_text_puts(out, c ? " | " : "| ");
        put_md(out, s->columns[c].name);
    }
    qsr_text_puts(out, " |\n");
    for (size_t c = 0; c < s->n_columns; c++) qsr_text_puts(out, is_right(s, c) ? "|--:" : "|---");
    qsr_text_puts(out, "|\n");
    for (size_t r = 0; r < s->n_rows; r++) {
        for (size_t c = 0; c < s->n_columns; c++) {
            qsr_text text = {0};
            put_cell(&s->columns[c], cell_at(s, r, c), "", &text);
            qsr_text_puts(out, c ? " | " : "| ");
            put_md(out, text.bytes);
            qsr_text_free(&text);
        }
        qsr_text_puts(out, " |\n");
    }
}

/* ---- LaTeX: no package needed ------------------------------------------------------------------------------------------- */

static void put_latex_word(qsr_text *out, const char *text)
{
    static const struct {
        char from;
        const char *to;
    } special[] = {{'\\', "\\textbackslash{}"}, {'~', "\\textasciitilde{}"}, {'^', "\\textasciicircum{}"}};
    for (const char *c = text; *c; c++) {
        const char *to = NULL;
        for (size_t i = 0; i < sizeof special / sizeof *special; i++)
            if (special[i].from == *c) to = special[i].to;
        if (to)
            qsr_text_puts(out, to);
        else
            qsr_text_add(out, strchr("&%$#_{}", *c) ? "\\%c" : "%c", *c);
    }
}

/* A number as our texts have it, in mathematics: "2.39e-06" is 2.39\times10^{-6}, ± is \pm. */
static void put_latex_number(qsr_text *out, const char *text)
{
    qsr_text_puts(out, "$");
    for (const char *c = text; *c; c++) {
        if (*c == 'e') {
            char *end;
            long exponent = strtol(c + 1, &end, 10);
            qsr_text_add(out, "\\times10^{%ld}", exponent);
            c = end - 1;
        } else if (qsr_starts_with(c, "±")) {
            qsr_text_puts(out, "\\pm");
            c += strlen("±") - 1;
        } else if (qsr_starts_with(c, " (n ")) {
            qsr_text_add(out, "$%s", c);
            return;
        } else {
            qsr_text_append(out, c, 1);
        }
    }
    qsr_text_puts(out, "$");
}

static void put_latex_cell(const qsr_column *column, const qsr_sheet_cell *cell, qsr_text *out)
{
    qsr_text text = {0};
    put_cell(column, cell, "", &text);
    bool number = column->kind == QSR_COLUMN_REAL || column->kind == QSR_COLUMN_MEAN;
    if (number && text.bytes[strcspn(text.bytes, "0123456789")])
        put_latex_number(out, text.bytes);
    else
        put_latex_word(out, text.bytes);
    qsr_text_free(&text);
}

static void write_latex(const qsr_sheet *s, qsr_text *out)
{
    qsr_text_puts(out, "\\begin{tabular}{");
    for (size_t c = 0; c < s->n_columns; c++) qsr_text_puts(out, is_right(s, c) ? "r" : "l");
    qsr_text_puts(out, "}\n\\hline\n");
    for (size_t c = 0; c < s->n_columns; c++) {
        qsr_text_puts(out, c ? " & " : "");
        put_latex_word(out, s->columns[c].name);
    }
    qsr_text_puts(out, " \\\\\n\\hline\n");
    for (size_t r = 0; r < s->n_rows; r++) {
        for (size_t c = 0; c < s->n_columns; c++) {
            qsr_text_puts(out, c ? " & " : "");
            put_latex_cell(&s->columns[c], cell_at(s, r, c), out);
        }
        qsr_text_puts(out, " \\\\\n");
    }
    qsr_text_puts(out, "\\hline\n\\end{tabular}\n");
}

/* ---- CSV --------------------------------------------------------------------------------------------------------------- */

static void put_csv_real(qsr_text *out, double value)
{
    char text[32];
    if (!isnan(value)) qsr_text_puts(out, qsr_real_text(value, text, sizeof text));
}

static void put_csv_cell(const qsr_column *column, const qsr_sheet_cell *cell, qsr_text *out)
{
    switch (column->kind) {
    case QSR_COLUMN_WORD:
        qsr_csv_put(out, cell->word ? cell->word : "");
        break;
    case QSR_COLUMN_COUNT:
        qsr_text_add(out, "%zu", cell->n);
        break;
    case QSR_COLUMN_REAL:
        put_csv_real(out, cell->value);
        break;
    case QSR_COLUMN_MEAN:
        put_csv_real(out, cell->value);
        qsr_text_puts(out, ",");
        put_csv_real(out, cell->half);
        qsr_text_add(out, ",%zu", cell->n);
        break;
    }
}

static void write_csv(const qsr_sheet *s, qsr_text *out)
{
    for (size_t c = 0; c < s->n_columns; c++) {
        qsr_arena arena = {0};
        const char *name = s->columns[c].name;
        if (s->columns[c].kind == QSR_COLUMN_MEAN)
            name = qsr_arena_printf(&arena, "%s_mean,%s_ci95,%s_n", name, name, name);
        qsr_text_puts(out, c ? "," : "");
        if (s->columns[c].kind == QSR_COLUMN_MEAN)
            qsr_text_puts(out, name);
        else
            qsr_csv_put(out, name);
        qsr_arena_free(&arena);
    }
    qsr_text_puts(out, "\n");
    for (size_t r = 0; r < s->n_rows; r++) {
        for (size_t c = 0; c < s->n_columns; c++) {
            qsr_text_puts(out, c ? "," : "");
            put_csv_cell(&s->columns[c], cell_at(s, r, c), out);
        }
        qsr_text_puts(out, "\n");
    }
}

/* ---- JSON -------------------------------------------------------------------------------------------------------------- */

static json_t *json_word(const char *word)
{
    int64_t whole;
    double real;
    if (!word) return json_null();
    if (qsr_parse_int(word, &whole)) return json_integer((json_int_t)whole);
    if (qsr_parse_real(word, &real)) return qsr_json_real(real);
    return json_string(word);
}

static json_t *json_cell(const qsr_column *column, const qsr_sheet_cell *cell)
{
    json_t *mean;
    switch (column->kind) {
    case QSR_COLUMN_WORD:
        return json_word(cell->word);
    case QSR_COLUMN_COUNT:
        return json_integer((json_int_t)cell->n);
    case QSR_COLUMN_REAL:
        return qsr_json_real(cell->value);
    case QSR_COLUMN_MEAN:
        break;
    }
    mean = json_object();
    json_object_set_new(mean, "mean", qsr_json_real(cell->value));
    json_object_set_new(mean, "ci95", qsr_json_real(cell->half));
    json_object_set_new(mean, "n", json_integer((json_int_t)cell->n));
    return mean;
}

/* An array of objects, a row each. */
static void write_json(const qsr_sheet *s, qsr_text *out)
{
    json_t *rows = json_array();
    for (size_t r = 0; r < s->n_rows; r++) {
        json_t *row = json_object();
        for (size_t c = 0; c < s->n_columns; c++)
            json_object_set_new(row, s->columns[c].name, json_cell(&s->columns[c], cell_at(s, r, c)));
        json_array_append_new(rows, row);
    }
    qsr_json_text(rows, out);
    json_decref(rows);
}

void qsr_sheet_write(const qsr_sheet *s, qsr_sheet_format format, qsr_text *out)
{
    switch (format) {
    case QSR_FORMAT_TEXT:
        write_text(s, out);
        break;
    case QSR_FORMAT_CSV:
        write_csv(s, out);
        break;
    case QSR_FORMAT_MD:
        write_md(s, out);
        break;
    case QSR_FORMAT_LATEX:
        write_latex(s, out);
        break;
    case QSR_FORMAT_JSON:
        write_json(s, out);
        break;
    }
}

#include "format/csv.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"

typedef struct {
    const char *name, *at, *end;
    unsigned line;
    qsr_csv *csv;
    qsr_text field;
    const char **fields; /* of the row being read */
    size_t count;
} reading;

static bool at_line_end(const reading *r)
{
    return r->at == r->end || *r->at == '\n' || (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
}

static void pass_line_end(reading *r)
{
    if (r->at < r->end && *r->at == '\r') r->at++;
    if (r->at < r->end) r->at++, r->line++;
}

static qsr_status read_quoted(reading *r, qsr_error *e)
{
    unsigned begin = r->line;
    for (r->at++;; r->at++) {
        if (r->at == r->end) return qsr_fail(e, QSR_E_INPUT, "%s:%u: a quote is not closed", r->name, begin);
        if (*r->at == '"' && (r->at + 1 == r->end || r->at[1] != '"')) break;
        if (*r->at == '"') r->at++;
        if (*r->at == '\n') r->line++;
        qsr_text_append(&r->field, r->at, 1);
    }
    r->at++;
    if (at_line_end(r) || *r->at == ',') return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "%s:%u: a comma is expected after a closing quote", r->name, r->line);
}

static qsr_status read_field(reading *r, qsr_error *e)
{
    qsr_status status = QSR_OK;
    r->field.length = 0;
    qsr_text_puts(&r->field, "");
    if (r->at < r->end && *r->at == '"') {
        status = read_quoted(r, e);
    } else {
        const char *begin = r->at;
        while (!at_line_end(r) && *r->at != ',' && *r->at != '"') r->at++;
        if (r->at < r->end && *r->at == '"')
            return qsr_fail(e, QSR_E_INPUT, "%s:%u: a quote inside a field that does not begin with one", r->name, r->line);
        qsr_text_append(&r->field, begin, (size_t)(r->at - begin));
    }
    if (!status && memchr(r->field.bytes, 0, r->field.length))
        status = qsr_fail(e, QSR_E_INPUT, "%s:%u: a zero byte; this is no text", r->name, r->line);
    if (status) return status;
    r->fields = qsr_xrealloc(r->fields, r->count + 1, sizeof *r->fields);
    r->fields[r->count++] = qsr_arena_strdup(&r->csv->arena, r->field.bytes);
    return QSR_OK;
}

static qsr_status read_row(reading *r, qsr_error *e)
{
    qsr_csv *csv = r->csv;
    qsr_csv_row row = {.line = r->line};
    r->count = 0;
    qsr_status status = read_field(r, e);
    while (!status && r->at < r->end && *r->at == ',') {
        r->at++;
        status = read_field(r, e);
    }
    if (status) return status;
    if (!csv->count) csv->columns = r->count;
    if (r->count != csv->columns)
        return qsr_fail(e, QSR_E_INPUT, "%s:%u: %zu fields, but the first line has %zu", r->name, row.line, r->count,
                        csv->columns);
    row.fields = qsr_arena_alloc(&csv->arena, r->count, sizeof *row.fields);
    memcpy(row.fields, r->fields, r->count * sizeof *row.fields);
    csv->rows = qsr_xrealloc(csv->rows, csv->count + 1, sizeof *csv->rows);
    csv->rows[csv->count++] = row;
    return QSR_OK;
}

qsr_status qsr_csv_parse(const char *name, const char *text, size_t n, qsr_csv *ret, qsr_error *e)
{
    qsr_csv csv = {0};
    reading r = {.name = name, .at = text, .end = text + n, .line = 1, .csv = &csv};
    qsr_status status = QSR_OK;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) r.at += 3;
    while (!status && r.at < r.end) {
        if (!at_line_end(&r)) status = read_row(&r, e);
        if (!status) pass_line_end(&r);
    }
    if (!status && !csv.count) status = qsr_fail(e, QSR_E_INPUT, "%s: the file is empty", name);
    qsr_text_free(&r.field);
    free(r.fields);
    if (status)
        qsr_csv_free(&csv);
    else
        *ret = csv;
    return status;
}

qsr_status qsr_csv_read(const char *path, size_t limit, qsr_csv *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    char *text;
    size_t size;
    qsr_status status = qsr_read_file(&arena, path, limit, &text, &size, e);
    if (!status) status = qsr_csv_parse(path, text, size, ret, e);
    qsr_arena_free(&arena);
    return status;
}

void qsr_csv_free(qsr_csv *csv)
{
    free(csv->rows);
    qsr_arena_free(&csv->arena);
    *csv = (qsr_csv){0};
}

void qsr_csv_put(qsr_text *out, const char *field)
{
    if (!strpbrk(field, ",\"\r\n")) {
        qsr_text_puts(out, field);
        return;
    }
    qsr_text_puts(out, "\"");
    for (const char *c = field; *c; c++) qsr_text_add(out, *c == '"' ? "\"\"" : "%c", *c);
    qsr_text_puts(out, "\"");
}

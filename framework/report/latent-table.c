#include "report/latent-table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/text.h"

#define LARGEST_CSV ((size_t)1 << 30)
#define LONGEST_LINE ((size_t)64 << 20)

const char *const qsr_latent_columns[QSR_LATENT_NUMBERS] = {
    "frequency",      "mean_activation", "max_activation",        "decoder_norm",
    "nearest_latent", "nearest_cosine",  "encoder_decoder_cosine"};

/* ---- latents.csv ------------------------------------------------------------------------------------------------- */

static size_t find_column(const qsr_csv *csv, const char *name)
{
    size_t i = 0;
    while (i < csv->columns && strcmp(csv->rows[0].fields[i], name) != 0) i++;
    return i;
}

static qsr_status read_row(const char *path, const qsr_csv_row *row, const size_t *column, size_t columns, double *number,
                           qsr_error *e)
{
    for (size_t c = 0; c < QSR_LATENT_NUMBERS; c++) {
        const char *text = column[c] < columns ? row->fields[column[c]] : "";
        number[c] = NAN;
        if (*text && !qsr_parse_real(text, &number[c]))
            return qsr_fail(e, QSR_E_INPUT, "%s:%u: %s is '%.40s', but must be a number or empty", path, row->line,
                            qsr_latent_columns[c], text);
    }
    return QSR_OK;
}

static qsr_status read_rows(const char *path, const qsr_csv *csv, qsr_latent_table *ret, qsr_error *e)
{
    size_t latent = find_column(csv, "latent"), column[QSR_LATENT_NUMBERS];
    for (size_t c = 0; c < QSR_LATENT_NUMBERS; c++) column[c] = find_column(csv, qsr_latent_columns[c]);
    if (latent == csv->columns || column[QSR_LATENT_FREQUENCY] == csv->columns)
        return qsr_fail(e, QSR_E_INPUT, "%s:1: there must be columns latent and frequency", path);
    ret->n = csv->count - 1;
    if (!ret->n) return qsr_fail(e, QSR_E_INPUT, "%s has no latents", path);
    ret->number = qsr_arena_alloc(&ret->arena, ret->n + 1, sizeof *ret->number);
    for (size_t i = 0; i < ret->n; i++) {
        const qsr_csv_row *row = &csv->rows[i + 1];
        uint64_t index;
        if (!qsr_parse_uint(row->fields[latent], &index) || index != i)
            return qsr_fail(e, QSR_E_INPUT, "%s:%u: latent is '%.40s', but must be %zu: latents are in order", path,
                            row->line, row->fields[latent], i);
        qsr_status status = read_row(path, row, column, csv->columns, ret->number[i], e);
        if (status) return status;
    }
    return QSR_OK;
}

qsr_status qsr_latent_table_read(const char *folder, qsr_latent_table *ret, qsr_error *e)
{
    qsr_csv csv;
    *ret = (qsr_latent_table){0};
    const char *path = qsr_path_join(&ret->arena, folder, "latents.csv");
    if (!qsr_exists(path)) {
        qsr_fail(e, QSR_E_INPUT, "there is no %s; an evaluation writes it unless eval.latents is false", path);
        qsr_latent_table_free(ret);
        return QSR_E_INPUT;
    }
    qsr_status status = qsr_csv_read(path, LARGEST_CSV, &csv, e);
    if (!status) {
        status = read_rows(path, &csv, ret, e);
        qsr_csv_free(&csv);
    }
    if (status) qsr_latent_table_free(ret);
    return status;
}

void qsr_latent_table_free(qsr_latent_table *t)
{
    qsr_arena_free(&t->arena);
    *t = (qsr_latent_table){0};
}

/* ---- top_contexts.jsonl ------------------------------------------------------------------------------------------ */

static qsr_status read_line(const char *path, size_t latent, const char *line, size_t bytes, json_t **ret, qsr_error *e)
{
    qsr_error why = {0};
    *ret = NULL;
    if (qsr_json_parse("line", line, bytes, ret, &why))
        return qsr_fail(e, QSR_E_INPUT, "%s:%zu: %s", path, latent + 1, why.text);
    const json_t *number = json_object_get(*ret, "latent");
    if (json_is_integer(number) && json_integer_value(number) == (json_int_t)latent &&
        json_is_array(json_object_get(*ret, "contexts")))
        return QSR_OK;
    json_decref(*ret);
    *ret = NULL;
    return qsr_fail(e, QSR_E_INPUT, "%s:%zu: must be the contexts of latent %zu: latents are in order", path, latent + 1,
                    latent);
}

static qsr_status read_lines(const char *path, FILE *file, const size_t *latents, size_t n, json_t **ret, qsr_error *e)
{
    char *line = NULL;
    size_t room = 0;
    qsr_status status = QSR_OK;
    for (size_t at = 0, i = 0; i < n && !status; at++) {
        ssize_t bytes = getline(&line, &room, file);
        if (bytes < 0) break;
        if ((size_t)bytes > LONGEST_LINE)
            status = qsr_fail(e, QSR_E_INPUT, "%s:%zu: a line of %zd bytes", path, at + 1, bytes);
        else if (at == latents[i])
            status = read_line(path, at, line, (size_t)bytes, &ret[i], e), i++;
    }
    free(line);
    return status;
}

qsr_status qsr_latent_contexts_read(const char *folder, const size_t *latents, size_t n, json_t **ret, qsr_error *e)
{
    qsr_arena arena = {0};
    const char *path = qsr_path_join(&arena, folder, "top_contexts.jsonl");
    for (size_t i = 0; i < n; i++) ret[i] = NULL;
    FILE *file = qsr_exists(path) ? fopen(path, "re") : NULL;
    qsr_status status = QSR_OK;
    if (file)
        status = read_lines(path, file, latents, n, ret, e);
    else if (qsr_exists(path))
        status = qsr_fail_errno(e, "read", path);
    if (file) fclose(file);
    for (size_t i = 0; status && i < n; i++) {
        json_decref(ret[i]);
        ret[i] = NULL;
    }
    qsr_arena_free(&arena);
    return status;
}

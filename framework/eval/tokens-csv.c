#include "eval/tokens-csv.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum { FLUSH_BYTES = 1 << 16 };

qsr_status qsr_tokens_csv_open(qsr_tokens_csv *csv, const char *path, int64_t layer, qsr_error *e)
{
    *csv = (qsr_tokens_csv){.writer.fd = -1, .layer = layer};
    qsr_status status = qsr_writer_open(&csv->writer, path, e);
    if (!status) qsr_text_puts(&csv->lines, "layer,ztz,ftf,norm_z,norm_f,norm_z_hat,l_recon,l0\n");
    return status;
}

static void add_token(qsr_tokens_csv *csv, const qsr_afa_token *token)
{
    double columns[] = {token->ztz, token->ftf, sqrt(token->ztz), sqrt(token->ftf), token->norm_z_hat, token->l_recon};
    if (csv->layer >= 0) qsr_text_add(&csv->lines, "%" PRId64, csv->layer);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        char number[32];
        qsr_text_puts(&csv->lines, ",");
        qsr_text_puts(&csv->lines, qsr_float_text((float)columns[i], number, sizeof number));
    }
    qsr_text_add(&csv->lines, ",%" PRIu32 "\n", token->l0);
}

qsr_status qsr_tokens_csv_add(qsr_tokens_csv *csv, const qsr_afa_token *tokens, size_t n, qsr_error *e)
{
    for (size_t i = 0; i < n; i++) {
        add_token(csv, &tokens[i]);
        qsr_status status = qsr_writer_drain(&csv->writer, &csv->lines, FLUSH_BYTES, e);
        if (status) return status;
    }
    return QSR_OK;
}

qsr_status qsr_tokens_csv_commit(qsr_tokens_csv *csv, qsr_error *e)
{
    qsr_status status = qsr_writer_drain(&csv->writer, &csv->lines, 0, e);
    if (!status) status = qsr_writer_commit(&csv->writer, e);
    qsr_tokens_csv_abort(csv);
    return status;
}

void qsr_tokens_csv_abort(qsr_tokens_csv *csv)
{
    qsr_writer_abort(&csv->writer);
    qsr_text_free(&csv->lines);
}

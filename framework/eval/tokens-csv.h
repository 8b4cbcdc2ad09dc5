/* eval/tokens-csv: per-token diagnostics as a table, in the columns of the paper's published one:
 *
 *     layer        of the hook; empty when unknown
 *     ztz          ||z||^2           z the raw hidden state, not centred
 *     ftf          ||f~||^2          f~_j = f_j ||W_dec,j||, with ||b_dec|| as one more component (afa.h)
 *     norm_z       ||z||
 *     norm_f       ||f~||
 *     norm_z_hat   ||z_hat||
 *     l_recon      ||z - z_hat||^2   so that token nmse = l_recon / ztz
 *     l0           how many latents are active, f != 0; not in the published table
 *
 * One line per token in evaluation order, numbers as the shortest text that reads back to the same float32 (as published). */
#ifndef QSR_EVAL_TOKENS_CSV_H
#define QSR_EVAL_TOKENS_CSV_H
#include "base/fs.h"
#include "base/text.h"
#include "eval/afa.h"

typedef struct {
    qsr_writer writer;
    qsr_text lines;
    int64_t layer;
} qsr_tokens_csv; /* {.writer.fd = -1}: not open */

qsr_status qsr_tokens_csv_open(qsr_tokens_csv *, const char *path, int64_t layer /* negative: unknown */, qsr_error *e);
qsr_status qsr_tokens_csv_add(qsr_tokens_csv *, const qsr_afa_token *, size_t n, qsr_error *e);
/* The file appears whole on commit, or not at all; each of the two ends the use of the table. */
qsr_status qsr_tokens_csv_commit(qsr_tokens_csv *, qsr_error *e);
void qsr_tokens_csv_abort(qsr_tokens_csv *); /* accepts one that is not open */
#endif

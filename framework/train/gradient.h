/* train/gradient: the gradients of all parameters, and how blocks add to them.
 *
 * Every latent's rows are accumulated by one thread, block after block, so the bytes depend neither on the number of threads nor on how
 * many blocks are in flight together. Within a block: row after row, or by math/quartet where a panel of latents is used often, which the
 * counts of the block alone decide. */
#ifndef QSR_TRAIN_GRADIENT_H
#define QSR_TRAIN_GRADIENT_H
#include "train/block.h"

typedef struct {
    size_t d_in, d_sae;
    float *w_enc, *w_dec;      /* [d_sae][d_in] */
    float *b_enc, *b_dec;      /* [d_sae], [d_in]; made by qsr_gradient_finish */
    float *param[2];           /* [d_sae] each, or NULL; made by qsr_gradient_finish */
    double *d_pre;             /* [d_sae] sums over rows of entry gradients */
    double *d_norm;            /* [d_sae], or NULL */
    double *d_param[2];        /* [d_sae], or NULL */
    double *d_bias;            /* [d_in] */
    uint8_t *rows;             /* [d_sae] QSR_ROWS_*: what both rows of a latent hold */
} qsr_gradient;

/* Zeros, which nobody needs to read; sums of this batch; of an earlier one, to be written over. No rows are STALE after
 * qsr_gradient_finish. */
enum { QSR_ROWS_ZERO, QSR_ROWS_SUMS, QSR_ROWS_STALE };

qsr_status qsr_gradient_create(const qsr_params *, unsigned params, bool norms, qsr_gradient *ret, qsr_error *e);
void qsr_gradient_free(qsr_gradient *);
void qsr_gradient_clear(qsr_gradient *);
/* Both rows of latent j = 0. */
void qsr_gradient_zero_rows(qsr_gradient *, size_t j);
/* Adds the streams of n blocks, which follow each other in the batch. */
qsr_status qsr_gradient_add(qsr_gradient *, const qsr_block_work *blocks, size_t n, qsr_pool *, qsr_error *e);
/* Completes the matrices, b_enc, b_dec, decoder norms and parameters. The gradient of b_dec through x - b_dec is a matrix-vector product:
 * - sum_j (sum_b d_pre[b,j]) W_enc,j. */
qsr_status qsr_gradient_finish(qsr_gradient *, const qsr_params *, qsr_pool *, qsr_error *e);
/* The l2 norm over all parameters that have a gradient. */
double qsr_gradient_norm(const qsr_gradient *, const qsr_params *, qsr_pool *);
#endif

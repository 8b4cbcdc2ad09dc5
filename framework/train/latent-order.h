/* train/latent-order: the codes of several blocks, which follow each other in the batch, as one code in latent order: what both
 * weight gradients are summed from. */
#ifndef QSR_TRAIN_LATENT_ORDER_H
#define QSR_TRAIN_LATENT_ORDER_H
#include "train/block.h"

/* The uses of latent j are at[j] <= i < at[j + 1], by row. */
typedef struct {
    size_t d_sae;
    uint32_t *at;  /* [d_sae + 1] */
    uint32_t *row; /* counted from the first row of the blocks */
    float *value, *d_pre;
    float *d_norm, *d_param[2]; /* NULL where the blocks have none */
} qsr_latent_order;

/* Of the first stream of each block, which must have d_pre. All blocks but the last have as many rows as the first. */
qsr_status qsr_latent_order_make(const qsr_block_work *blocks, size_t n, size_t d_sae, qsr_pool *, qsr_latent_order *ret,
                                 qsr_error *e);
void qsr_latent_order_free(qsr_latent_order *);
#endif

/* train/outlook: what a loss will ask encode_top for after the batch, and the pre-activations that are kept for it while the main
 * pass has them.
 *
 * Of each row the largest among the latents that the loss named are kept, some more than it will ask for, because latents drop out that
 * fire in the batch. Where enough of them are left, the largest of the kept are the largest of all: the strict order by value, then
 * latent, that qsr_shortlist_take follows has no gaps. The other rows are encoded again. Which rows these are is a function of the data
 * and the block. With tiles of our own (math/product) both ways give the same bytes; with OpenBLAS they agree to rounding, and a block
 * goes one way as a whole, so that products have the shapes that sizes say. */
#ifndef QSR_TRAIN_OUTLOOK_H
#define QSR_TRAIN_OUTLOOK_H
#include "math/shortlist.h"
#include "model/sae.h"

typedef struct {
    size_t d_in, d_sae, batch, block_rows; /* set before the first batch; all else 0 */
    bool active;        /* in this batch: pre-activations of all blocks are kept */
    size_t k;           /* the largest that will be asked for */
    size_t least, room; /* kept entries of a row */
    uint8_t *named;     /* [d_sae] */
    qsr_places places;  /* the same */
    qsr_code *kept;     /* [blocks] */
    uint8_t *all;       /* [blocks][block_rows] 1: every positive one of the row is kept */
} qsr_outlook;

/* Entries kept of a row at most, in rows of width d_in, for the k largest of n latents; 0: nothing is kept, because k is more than
 * d_in and memory would be more than a few times that of the rows. */
size_t qsr_outlook_room(size_t d_in, size_t k, size_t n);

/* Asks a loss that has an outlook, before a batch; silent: NULL unless it needs the counters. Memory for
 * entries comes with the first batch in which some are kept. */
qsr_status qsr_outlook_ask(qsr_outlook *, const qsr_made *, const qsr_loss_ops *, const uint64_t *silent, qsr_error *e);
void qsr_outlook_free(qsr_outlook *);

/* Keeps what pre[rows][d_sae] of a block has. [any], one call per block. */
qsr_status qsr_outlook_keep(qsr_outlook *, size_t block, const float *pre, size_t rows, qsr_error *e);

/* Whether codes of these latents with this k can come from what was kept. */
bool qsr_outlook_covers(const qsr_outlook *, const uint32_t *latents, size_t n, size_t k);
/* The kept entries of a row that are among those asked for (asked[d_sae]; NULL: all that were named): *ret_n of them, ascending. False:
 * the k largest of the row need not be among them. */
bool qsr_outlook_row(const qsr_outlook *, size_t block, size_t row, const uint8_t *asked, size_t k, uint32_t *latent,
                     float *value, size_t *ret_n);
#endif

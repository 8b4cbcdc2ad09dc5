/* gpt2/forward: several contexts through the first blocks of a model at once, on the calling thread.
 *
 * Rows of all contexts are stacked, so that the linear layers are large products. The residual stream x and what a sublayer
 * adds to it stay apart until the addition, so every point of a block can be looked at or replaced where it is whole:
 * x before ln_1 (resid_pre), attn_out, x before ln_2 (resid_mid), mlp_out, x after the block (resid_post). */
#ifndef GPT2_FORWARD_H
#define GPT2_FORWARD_H
#include "model.h"

/* What a forward pass of a fixed shape needs to know; the same for all passes of an instance. */
typedef struct {
    const qsr_host *host;
    const gpt2_model *model;
    const gpt2_rows *rows;
    size_t contexts, context; /* contexts per pass, tokens per context */
    size_t slot;              /* rows from the start of one context to the next: context or a little more */
    size_t tile;              /* rows per product: all of them, or one slot */
} gpt2_plan;

/* Chooses slot and tile so that a context's bytes are the same in every place among the others. Runs trial products of the
 * first block. QSR_E_NOMEM without text when memory was refused. */
qsr_status gpt2_plan_make(const qsr_host *, const gpt2_model *, size_t contexts, size_t context, gpt2_plan *ret);
size_t gpt2_plan_bytes(const gpt2_plan *); /* scratch memory of one pass */

/* A place to look at: the residual stream after so many blocks. */
typedef struct {
    size_t blocks; /* <= model->n_blocks */
    float *out;    /* [n][context][d]; NULL: not wanted */
} gpt2_tap;

/* Fills every wanted tap for the contexts whose ids are in ids[n][context], n <= plan->contexts, and stops after the deepest
 * of them. The products have the same shape whatever n is, so a tap's bytes do not depend on the others. */
qsr_status gpt2_forward(const gpt2_plan *, const int64_t *ids, size_t n, const gpt2_tap *taps, size_t n_taps);
#endif

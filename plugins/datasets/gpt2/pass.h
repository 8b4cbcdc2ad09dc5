/* gpt2/pass: some contexts on their way through a model, on the calling thread.
 *
 * Rows of all contexts are stacked, so that the linear layers are large products. The residual stream x and what a sublayer
 * adds to it stay apart until the addition, so every place of a block can be looked at or replaced where it is whole. Places
 * are numbered along the way, GPT2_PLACES to a layer; the place after the last layer is the input of ln_f. */
#ifndef GPT2_PASS_H
#define GPT2_PASS_H
#include "attention.h"
#include "model.h"

enum { GPT2_RESID_PRE, GPT2_ATTN_OUT, GPT2_RESID_MID, GPT2_MLP_OUT, GPT2_PLACES };

/* What every pass of an instance has in common. */
typedef struct {
    const qsr_host *host;
    const gpt2_model *model;
    const gpt2_rows *rows;
    size_t contexts, context; /* contexts per pass, tokens per context */
    size_t slot;              /* rows from the start of one context to the next: context or a little more */
    size_t tile;              /* rows per product: all of them, or one slot */
    bool centred;             /* rows are handed out less their mean */
} gpt2_plan;

/* Rows between the end of a context and the next slot, and slots without a context, start as 0 and go through everything but
 * attention; nobody reads them. So the products have the same shape however many contexts there are. */
typedef struct {
    const gpt2_plan *plan;
    size_t n;          /* contexts */
    size_t rows;       /* plan->contexts * plan->slot */
    float *x;          /* [rows][d] residual stream */
    float *in;         /* [rows][d] what a sublayer reads: normalised x, then the heads' results */
    float *delta;      /* [rows][d] what a sublayer adds to x, ... */
    const float *bias; /* [d] ... without this */
    float *wide;       /* [rows][max(3 d, inner)] q, k, v; then the MLP's inside */
    float *widened;    /* the matrix of the current product as F32, unless it is used where it lies; or NULL */
    gpt2_attention attention;
} gpt2_pass;

/* Takes scratch of the host: gpt2_pass_bytes. QSR_E_NOMEM without text when it is refused. */
qsr_status gpt2_pass_begin(const gpt2_plan *, gpt2_pass *ret);
size_t gpt2_pass_bytes(const gpt2_plan *);

/* x = the embeddings of ids[n][context], n <= plan->contexts: the state at place 0. */
void gpt2_pass_embed(gpt2_pass *, const int64_t *ids, size_t n);
/* From the state at place `from` to the state at place `to`, nothing beyond it. Calls visit (may be NULL) at each place on the
 * way, both ends included. */
void gpt2_pass_walk(gpt2_pass *, size_t from, size_t to, void (*visit)(void *ctx, const gpt2_pass *, size_t place),
                    void *ctx);

/* What stands at `place`, where the pass is now, for context i: out[context][d], by the plan's convention. */
void gpt2_pass_look(const gpt2_pass *, size_t place, size_t i, float *out);

/* out[rows][columns] = in[rows][inner] weight, without bias, plan->tile rows a product. */
void gpt2_pass_product(const gpt2_pass *, const float *in, size_t inner, const qsr_tensor *weight, size_t columns,
                       float *out);
/* The first `rows` rows of a matrix as F32, in s->widened or where they lie. */
const float *gpt2_pass_floats(const gpt2_pass *, const qsr_tensor *, size_t begin, size_t rows);
#endif

/* gpt2/forward: contexts in, hidden states at several places out. */
#ifndef GPT2_FORWARD_H
#define GPT2_FORWARD_H
#include "pass.h"

/* How many contexts a pass takes: no more than `contexts`, and not many more rows than make products fast. Chooses slot and tile
 * so that a context's bytes are the same in every place among the others. Runs trial products of the first block.
 * QSR_E_NOMEM without text when memory was refused. */
qsr_status gpt2_plan_make(const qsr_host *, const gpt2_model *, size_t contexts, size_t context, bool centred,
                          gpt2_plan *ret);

/* A place to look at. */
typedef struct {
    size_t place;
    float *out; /* [n][context][d]; NULL: not wanted */
} gpt2_tap;

/* Fills every wanted tap for the contexts whose ids are in ids[n][context], and stops after the deepest of them. The products
 * have the same shape whatever n is, so a tap's bytes depend on no other. */
qsr_status gpt2_forward(const gpt2_plan *, const int64_t *ids, size_t n, const gpt2_tap *taps, size_t n_taps);

/* Floating-point operations of one context up to a place: products, and the causal half of attention. */
double gpt2_flops(const gpt2_model *, size_t context, size_t place);
#endif

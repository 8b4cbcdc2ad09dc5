/* exchange/fold: factors moved into weights, and out again. Each is exact in real numbers; in float32 a fold and its inverse agree to
 * a rounding per factor, and to the bit where the factors are powers of two. */
#ifndef QSR_EXCHANGE_FOLD_H
#define QSR_EXCHANGE_FOLD_H
#include "exchange/pretrained.h"

/* x_trained = s x: W_enc *= s, W_dec /= s, b_dec /= s, so that raw rows go in and come out; with `rescale` thresholds /= s, because
 * they are compared with p times the norms of decoder rows, which have become 1/s of what they were (SAELens #764). The inverse is the
 * scale 1/s. */
void qsr_fold_scale(qsr_pretrained *, double s);
/* Latent j by nu_j: W_enc row, b_enc, threshold, b_gate, b_mag *= nu_j, W_dec row /= nu_j; f_j becomes nu_j f_j. r_mag stays. A
 * factor of 0 is taken for 1. With `rescale` the threshold stays too. The inverse has the factors 1/nu_j. */
void qsr_fold_latents(qsr_pretrained *, const double *nu);
/* The norms of the decoder rows into the latents, so that rows have norm 1; nu[d_sae] (or NULL) keeps the norms. Needs `rescale`, or a
 * rule that looks at each latent alone: QSR_E_UNSUPPORTED for top-k without, which would select others. With `rescale` a latent whose
 * row is 0 never fires, so its encoder becomes 0 too. */
qsr_status qsr_fold_norms(qsr_pretrained *, double *nu, qsr_error *e);

/* A gated SAE's magnitudes as plain pre-activations: W_enc rows *= exp(r_mag), b_enc = b_mag; the gates are gone, the rule is relu. */
void qsr_fold_gates(qsr_pretrained *);

/* For running: `rescale` and finetuning factors done once and for all. */
void qsr_fold_rescaling(qsr_pretrained *);
void qsr_fold_finetuning(qsr_pretrained *); /* W_dec rows *= factor */
/* pre_bias true from false, or the other way round: b_enc -+ W_enc b_dec, in double. */
void qsr_fold_pre_bias(qsr_pretrained *, bool pre_bias);
#endif

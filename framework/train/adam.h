/* train/adam: the update of a step (DESIGN section 5): clip, keep the decoder on the sphere, Adam.
 * Source: D. Kingma, J. Ba, "Adam", ICLR 2015; bias-corrected, eps 1e-8 outside the root.
 *
 * after_step (default): remove from each decoder row's gradient its component along the row, Adam, rows to unit norm.
 * before_step (as published): rows to unit norm, remove the component, Adam. none: Adam alone. */
#ifndef QSR_TRAIN_ADAM_H
#define QSR_TRAIN_ADAM_H
#include "train/gradient.h"

typedef enum { QSR_DECODER_FREE, QSR_DECODER_AFTER_STEP, QSR_DECODER_BEFORE_STEP } qsr_decoder_norm;

/* A vector of floats under Adam with its moments. */
typedef struct {
    float *m, *v;
} qsr_moments;

typedef struct {
    size_t d_in, d_sae;
    unsigned params;
    qsr_moments w_enc, w_dec, b_enc, b_dec, param[2];
    float *zeros; /* [d_in]: the gradient of a latent that nobody used */
} qsr_adam;

typedef struct {
    qsr_decoder_norm decoder_norm;
    double lr, beta1, beta2, clip; /* clip: factor on all gradients */
    uint64_t step;                 /* from 0 */
} qsr_update;

qsr_decoder_norm qsr_decoder_norm_parse(const char *word); /* "none", "after_step", "before_step" */
qsr_status qsr_adam_create(const qsr_params *, unsigned params, qsr_adam *ret, qsr_error *e);
void qsr_adam_free(qsr_adam *);
/* Touches every parameter once. */
void qsr_adam_apply(qsr_adam *, const qsr_update *, const qsr_gradient *, qsr_params *, qsr_param *params, qsr_pool *);
#endif

/* tests/unit/train/plain: an SAE's forward pass and losses in double precision, written as plainly as the formulae allow, for
 * central differences. What the method does not differentiate (denominators, detached residuals, targets, who is dead) is held
 * fixed by plain_fix. Parameters are one vector: W_enc [d_sae][d_in], W_dec [d_sae][d_in], b_enc [d_sae], b_dec [d_in]. */
#ifndef QSR_TESTS_PLAIN_H
#define QSR_TESTS_PLAIN_H
#include "train/learner.h"

typedef enum { PLAIN_RELU, PLAIN_TOPK, PLAIN_BATCHTOPK, PLAIN_TOPAFA, PLAIN_JUMPRELU } plain_rule;

typedef struct {
    size_t rows, d_in, d_sae, k;
    plain_rule rule;
    bool pre_bias, encoder_bias;
    const float *x;     /* [rows][d_in] */
    const float *theta; /* [d_sae] jumprelu's thresholds */
    /* losses; coefficient 0: none */
    double mse, l1, l0, afa, auxk;
    bool afa_decoder, afa_centred, aux_detach, aux_variance;
    size_t aux_k;
    uint8_t *dead; /* [d_sae] */
    /* the loss of tests/fixtures/losses/prefixes.c */
    double prefixes;
    size_t first, second, top;
    bool bias, see_main;
    /* held fixed */
    double *residual, *target; /* [rows][d_in], [rows] */
    double denominator;
} plain_sae;

size_t plain_count(const plain_sae *);                       /* of parameters */
double *plain_params(const plain_sae *, const qsr_params *); /* a copy in double; free() it */

enum { PLAIN_MAIN, PLAIN_AUX, PLAIN_TOP, PLAIN_CODES };
/* The loss. kept[PLAIN_CODES][rows][d_sae] = 1 where an entry is active in the main code, auxk's, the fixture's. */
double plain_loss(const plain_sae *, const double *params, uint8_t *kept);
void plain_fix(plain_sae *, const double *params); /* allocates residual, target; plain_free releases them and dead */
void plain_free(plain_sae *);
#endif

/* model/params: the weights of one SAE. This room may import quasar/plugin.h, base/, math/, spec/, format/ and plugin/.
 *
 * Both matrices are stored latent-major, [d_sae][d_in]: one latent's row is contiguous, whether it encodes or decodes. */
#ifndef QSR_MODEL_PARAMS_H
#define QSR_MODEL_PARAMS_H
#include "base/error.h"
#include "math/pool.h"
#include "plugin/instance.h"

typedef struct {
    size_t d_in, d_sae;
    bool pre_bias;     /* encode x - b_dec rather than x */
    bool encoder_bias; /* add b_enc, and train it */
    float *w_enc;      /* [d_sae][d_in]; the literature's W_enc transposed */
    float *w_dec;      /* [d_sae][d_in] */
    float *b_enc;      /* [d_sae]; stays 0 without encoder_bias */
    float *b_dec;      /* [d_in] */
} qsr_params;

/* All weights 0. */
qsr_status qsr_params_alloc(size_t d_in, size_t d_sae, qsr_params *ret, qsr_error *e);
void qsr_params_free(qsr_params *);

/* "tied": W_dec rows uniform on the unit sphere, W_enc = W_dec^T. "released": W_enc ~ U(-sqrt(6/d_sae), sqrt(6/d_sae)), W_dec
 * rows = those of W_enc^T scaled to unit norm. Then W_enc *= scale, which acts as a hidden k for top-AFA. */
void qsr_params_init(qsr_params *, const char *init, double scale, uint64_t seed, qsr_pool *);

/* W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_enc [d_sae], b_dec [d_in] from a safetensors file, and what else in it the
 * activation recognises (threshold, log_threshold). A missing tensor or another shape is QSR_E_INPUT. */
qsr_status qsr_params_load(qsr_params *, const char *path, qsr_made *activation, qsr_error *e);

/* The same tensors, and the activation's own, whole or not at all. */
qsr_status qsr_params_save(const qsr_params *, const char *path, qsr_made *activation, qsr_error *e);

/* norm[j] = ||W_dec,j||, summed in double. */
void qsr_params_decoder_norms(const qsr_params *, float *norm, qsr_pool *);
#endif

/* model/sae: weights, normalisation and activation together: rows in, codes and reconstructions out. */
#ifndef QSR_MODEL_SAE_H
#define QSR_MODEL_SAE_H
#include "math/product.h"
#include "math/sparse.h"
#include "model/code.h"
#include "model/normalise.h"
#include "model/params.h"
#include "model/sift.h"
#include "spec/spec.h"

typedef struct {
    qsr_params params;
    qsr_packed packed;             /* the encoder, ready for products */
    qsr_normalise normalise;
    qsr_made *activation;
    const qsr_activation_ops *ops; /* of the activation */
    float *dec_norm;               /* [d_sae], or NULL when nobody asks for it */
    qsr_selection rule[2];         /* by mode: the activation is this rule; .rule 0: none */
    qsr_sieve sieve;               /* where it is on, rules are decided from bounds (model/sift) */
    qsr_pool *pool;                /* borrowed */
} qsr_sae;

/* An SAE as the spec describes it, with all weights 0. batch_rows 0: for evaluation only. want_norms: dec_norm is kept even
 * if the activation has no use for it. */
qsr_status qsr_sae_create(const qsr_spec *, size_t d_in, size_t batch_rows, bool want_norms, qsr_pool *, qsr_sae *ret, qsr_error *e);
/* One from its parts, with all weights 0 and no biases, for evaluation only: `plugin` an activation, `options` its options struct,
 * which is read while this is called. */
qsr_status qsr_sae_assemble(const qsr_plugin *, const void *options, qsr_normalise, size_t d_in, size_t d_sae, qsr_pool *, qsr_sae *ret,
                            qsr_error *e);
void qsr_sae_free(qsr_sae *);
/* After weights changed: brings the packed encoder, dec_norm and the rules up to date. */
void qsr_sae_refresh(qsr_sae *);
/* After options alone changed: the rules. */
void qsr_sae_follow(qsr_sae *);

/* sae_weights.safetensors: the tensors of qsr_params_save; a dataset scale is folded in, so that raw rows go in and come out:
 * W_enc *= s, W_dec /= s, b_dec /= s (thresholds and b_enc stay). */
qsr_status qsr_sae_save(const qsr_sae *, const char *path, qsr_error *e);

/* What one thread needs to encode a block of up to `rows` rows. */
typedef struct {
    size_t rows;
    float *pre;         /* [rows][d_sae] */
    float *scratch;     /* of products */
    double *input_norm; /* [rows], or NULL */
    bool candidates;    /* of a batch rule: the code gets what may be kept, above floor, with bounds as in qsr_sift_candidates; without
                           screening the value alone */
    float floor;
    double selecting;   /* seconds of the last encode that went into the activation's choice */
    qsr_sift_room sift;    /* where the SAE has a sieve */
    qsr_sift_count sifted; /* of all encodes */
} qsr_encoder;
qsr_status qsr_encoder_create(const qsr_sae *, size_t rows, qsr_encoder *ret, qsr_error *e);
void qsr_encoder_free(qsr_encoder *);

/* Whether codes of this mode come from bounds, so that encoder->pre does not hold pre-activations after an encode. */
bool qsr_sae_sifts(const qsr_sae *, uint32_t mode);
/* Whether this machine has what a value of sae.screen asks for. */
qsr_status qsr_sae_check_screen(const char *wanted, qsr_error *e);
/* What sae.screen came to on this machine: "int8", "bf16" or "off". */
const char *qsr_sae_screen_name(const qsr_sae *);

/* xc[rows][d_in] = x - b_dec with pre_bias, else x. */
void qsr_sae_centre(const qsr_sae *, const float *x, size_t rows, float *xc);
/* pre = xc W_enc (+ b_enc), then the activation's forward into `code`, whose rows is set. row0 and batch_rows say where the
 * block lies in its batch. Thread-safe with one encoder and one code per thread. */
qsr_status qsr_sae_encode(const qsr_sae *, uint32_t mode, const float *xc, size_t rows, size_t row0, size_t batch_rows,
                          qsr_encoder *, qsr_code *code, qsr_error *e);
/* The norms of a block's rows, where the activation asks for them; qsr_sae_encode does this itself. */
void qsr_sae_input_norms(const qsr_sae *, const float *xc, size_t rows, qsr_encoder *);
/* The block as the activation's backward sees it: the same, without pre; the encoder holds its norms. */
qsr_rows qsr_sae_rows(const qsr_sae *, uint32_t mode, size_t rows, size_t row0, size_t batch_rows, const qsr_encoder *);
/* xhat[rows][d_in] = f W_dec + b_dec; how the code was walked is added to `count` (NULL: nobody asks). */
void qsr_sae_decode(const qsr_sae *, const qsr_code *, float *xhat, qsr_sparse_count *count);
#endif

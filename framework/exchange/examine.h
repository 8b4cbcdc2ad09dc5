/* exchange/examine: what the tensors of an SAE look like, without any data, and what looks off about them. */
#ifndef QSR_EXCHANGE_EXAMINE_H
#define QSR_EXCHANGE_EXAMINE_H
#include "exchange/pretrained.h"

typedef struct {
    double min, median, max; /* NaN: of nothing; values that are not finite are left out */
} qsr_spread;

typedef struct {
    qsr_spread decoder_norm, encoder_norm; /* of latents' rows */
    qsr_spread alignment;                  /* cos(W_enc row, W_dec row) where both have a norm */
    qsr_spread threshold;                  /* of jumprelu */
    size_t negative_thresholds, zero_thresholds;
    size_t dead;                           /* latents that can hardly matter: see qsr_examine */
    size_t not_finite;                     /* over all tensors */
    double b_dec_norm;
    const char *const *remarks;            /* [n_remarks] sentences: what looks off */
    size_t n_remarks;
    qsr_arena arena;
} qsr_examination;

/* Dead-looking: an encoder or decoder row below a thousandth of the median norm; or, where every input has the norm sqrt(d_in), a
 * latent whose largest possible pre-activation ||w|| (sqrt(d_in) + ||b_dec||) + b_enc does not exceed its threshold. */
void qsr_examine(const qsr_pretrained *, qsr_examination *ret);
void qsr_examination_free(qsr_examination *);
/* One more remark, such as a probe that disagrees. */
void qsr_examination_remark(qsr_examination *, const char *text);
/* Everything as one object, for `quasar inspect --json`. */
json_t *qsr_examination_json(const qsr_pretrained *, const qsr_examination *);
#endif

/* model/choose: the host's own way of keeping the k largest of a row, for activations that declare "quasar.selector/1".
 *
 * Two pre-activations that differ by less than the rounding of a float32 product are ordered by the BLAS kernel's whims: one row
 * in some thousands then keeps another latent on another machine, which shows in every number from that step on. So near the
 * k-th value the order is decided by dot products in double. The plugin's forward remains the definition. */
#ifndef QSR_MODEL_CHOOSE_H
#define QSR_MODEL_CHOOSE_H
#include "model/params.h"

/* Pre-activations of a row: value[i] is that of latent[i], ascending, or of latent i where latent is NULL. */
typedef struct {
    const uint32_t *latent;
    const float *value;
    size_t n;
} qsr_pre_list;

/* Of one row the k largest positive among those listed, ties to the smaller latent, written in ascending order of latent; returns how
 * many. The list must hold the k largest of the row, and with them all that come within QSR_CHOOSE_BAND below the k-th. Values are
 * those of the list. xc[d_in] is what was encoded. */
#define QSR_CHOOSE_BAND 0x1p-16f
size_t qsr_choose_among(const qsr_params *, size_t k, const float *xc, const qsr_pre_list *, uint32_t *latent, float *value);

/* Writes rows of `code` from pre[rows][d_sae] = xc W_enc (+ b_enc): the k largest positive of each row, ties to the smaller
 * latent. Values are those of pre. */
void qsr_choose_rows(const qsr_params *, size_t k, const float *xc, size_t rows, const float *pre, qsr_code *code);
#endif

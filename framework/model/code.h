/* model/code: sparse codes that own their memory. */
#ifndef QSR_MODEL_CODE_H
#define QSR_MODEL_CODE_H
#include "base/error.h"

/* Room for `rows` rows and `capacity` entries, with 0 to 2 planes. Pages that are never written cost no memory, so a capacity
 * of rows * d_sae is only as large as the densest code it ever held. */
qsr_status qsr_code_alloc(size_t rows, size_t d_sae, size_t capacity, uint32_t planes, qsr_code *ret, qsr_error *e);
void qsr_code_free(qsr_code *);
/* An exact-size copy, for codes that must outlive their block. */
qsr_status qsr_code_copy(const qsr_code *from, qsr_code *ret, qsr_error *e);
/* The same into `to`, whose memory is used again where it has room; an empty qsr_code is fine. What `to` held is lost. */
qsr_status qsr_code_assign(const qsr_code *from, qsr_code *to, qsr_error *e);
/* Keeps the entries with keep[e] != 0, in place. */
void qsr_code_compact(qsr_code *, const uint8_t *keep);
/* The first entry of row r whose latent is >= `latent`. */
size_t qsr_code_find(const qsr_code *, size_t r, size_t latent);
#endif

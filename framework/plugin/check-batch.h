/* plugin/check-batch: one batch through an activation, as the host would drive it, with everything guarded and compared.
 * Private to plugin/check*.c. */
#ifndef QSR_PLUGIN_CHECK_BATCH_H
#define QSR_PLUGIN_CHECK_BATCH_H
#include "plugin/check-parts.h"

typedef struct {
    size_t rows, d_sae, d_in, ld; /* ld > d_sae: what lies between is NaN and must not be read */
    float *pre;
    double *input_norm;
    float *dec_norm;
    bool moved; /* check-gradient: parameters are moved away from where they start first */
} qsr_check_input;

/* The code as dense [rows][d_sae] arrays; 0 outside of the support. */
typedef struct {
    size_t rows, d_sae, entries;
    uint32_t planes;
    uint8_t *support;
    float *value, *plane[2];
} qsr_check_result;

typedef struct {
    uint32_t mode;
    qsr_pool *pool;
    size_t grain;     /* rows of a block */
    bool early_prune; /* prune once more after the first half of the rows */
} qsr_check_how;

/* Input number `which` (each is another batch of the same weights). */
qsr_check_input qsr_check_input_make(const qsr_check *, size_t rows, uint64_t which);
void qsr_check_input_free(qsr_check_input *);
void qsr_check_result_free(qsr_check_result *);

/* QSR_TRAIN: begin_batch, forward, prune, end_batch; QSR_EVAL: forward alone. Free *ret also after a failure. */
qsr_status qsr_check_batch(qsr_made *, const qsr_check_input *, qsr_check_how, qsr_check_result *ret, qsr_error *e);
/* Where two results differ first, as an error that begins with `what`. */
qsr_status qsr_check_same(const qsr_check_result *, const qsr_check_result *, const char *what, qsr_error *e);
/* A guarded code of one block with the entries of a result. */
qsr_code *qsr_check_code_of(const qsr_check_result *);
/* The needs of a plugin as the fields of its inputs: pointers that it did not ask for are NULL. */
qsr_rows qsr_check_rows(const qsr_made *, const qsr_check_input *, uint32_t mode, size_t begin, size_t end);
#endif

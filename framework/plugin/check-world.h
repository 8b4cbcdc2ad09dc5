/* plugin/check-world: everything a loss can see, small and made up, with a plain qsr_view of its own. Private to
 * plugin/check*.c. */
#ifndef QSR_PLUGIN_CHECK_WORLD_H
#define QSR_PLUGIN_CHECK_WORLD_H
#include "plugin/check-parts.h"

/* A batch and the weights behind it. xhat, the values of the code and the decoder norms are variables of their own here: a loss
 * gives a gradient towards each by itself. */
typedef struct {
    size_t rows, d_in, d_sae;
    float *x, *xhat;  /* [rows][d_in] */
    float *pre;       /* [rows][d_sae], for encode_top */
    float *w_dec;     /* [d_sae][d_in], for the view */
    float *b_dec;     /* [d_in] */
    float *dec_norm;  /* [d_sae] */
    uint64_t *silent; /* [d_sae] */
    uint8_t *support; /* [rows][d_sae]: the code, also with entries of value 0 */
    float *value;     /* [rows][d_sae] */
    const qsr_loss_outlook *outlook; /* what encode_top may be asked for; NULL: anything */
} qsr_world;

qsr_world qsr_world_make(const qsr_check *);
qsr_world qsr_world_copy(const qsr_world *);
void qsr_world_free(qsr_world *);
uint64_t qsr_world_sum(const qsr_world *); /* checksum of everything */

/* What rows() gave for a block, dense; what came through the view is apart. */
typedef struct {
    double value;
    float *d_xhat, *d_value, *d_active, *d_norm;             /* [rows][d_in]; [rows][d_sae] the others */
    double *view_value, *view_pre, *view_w_dec, *view_b_dec; /* [rows][d_sae] twice, [d_sae][d_in], [d_in] */
    uint64_t chosen;                                         /* checksum of the latents that encode_top chose */
} qsr_outcome;

qsr_outcome qsr_outcome_make(const qsr_world *);
void qsr_outcome_free(qsr_outcome *);

/* outlook() before the batch, into ret->latents[d_sae], which are 0. QSR_END: none. */
qsr_status qsr_world_outlook(const qsr_made *, const qsr_world *, qsr_loss_outlook *ret, qsr_error *e);
/* batch(), where the instance has that trait, on the whole world. QSR_END: nothing to add. */
qsr_status qsr_world_batch(const qsr_made *, const qsr_world *, qsr_error *e);
/* rows() on the rows [begin, end); buffers start at `start`, which is taken off again; results are added to *to. */
qsr_status qsr_world_rows(const qsr_made *, const qsr_world *, size_t begin, size_t end, float start, qsr_outcome *to,
                          qsr_error *e);
bool qsr_world_after_batch(const qsr_made *);
bool qsr_world_view_only(const qsr_made *);
#endif

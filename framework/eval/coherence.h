/* eval/coherence: how far decoder rows are from orthogonal, over all pairs, without ever holding the d_sae x d_sae matrix. */
#ifndef QSR_EVAL_COHERENCE_H
#define QSR_EVAL_COHERENCE_H
#include <stdint.h>

#include "base/error.h"
#include "math/pool.h"

/* Over all pairs i != j of rows; NaN with fewer than two rows. A row of zeros has cosine 0 with every other. */
typedef struct {
    double coherence_max, coherence_mean; /* of |cos(w_i, w_j)| */
    double epsilon_max, epsilon_mean;     /* of w_i . w_j, signed, rows as they are: the published version */
} qsr_coherence;

/* The other row that a row is nearest to: the one with the largest |cos|, the smaller index on a tie. */
typedef struct {
    double cosine;  /* signed */
    uint32_t other; /* UINT32_MAX: there is no other row */
} qsr_neighbour;

/* w: [rows][d]. ret_nearest, unless NULL, is [rows]: of the same pass. Works in some 40 MB of packed rows at most (none without tiles of
 * our own), 1 MiB per thread, and 16 bytes per row and thread for the nearest; the same bytes whatever the number of threads. */
qsr_status qsr_coherence_of(qsr_pool *, const float *w, size_t rows, size_t d, qsr_coherence *ret, qsr_neighbour *ret_nearest,
                            qsr_error *e);
#endif

/* math/sparse: products of a sparse code with a latent-major matrix W [d_sae][d]: its decode, and dot products with the rows of W
 * in use.
 *
 * How rows are walked follows from the counts of their entries alone:
 *   in quartets      four rows of a block (4 i .. 4 i + 3) that use many latents: see math/quartet
 *   row by row       where the other rows use few latents of a panel
 *   in panels        of PANEL latents, whose rows of W stay in the L2 cache while the other rows of the block go by
 * Dot products are the same numbers whichever way they are made. A decoded row is one chain of additions by latent, or in quartets by panel and
 * mask: it depends on the four rows of its quartet, but not on how many more there are in the block. */
#ifndef QSR_MATH_SPARSE_H
#define QSR_MATH_SPARSE_H
#include "base/error.h"

/* acc[0..d) += sum over e of value[e] * m[index[e]], in order of e. The rows of m have ld floats. */
typedef void qsr_gather(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d, float *acc);
/* out[e] = m[index[e]] . x, over vectors of d floats. */
typedef void qsr_dots(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, float *out);

typedef struct {
    qsr_gather *gather;
    qsr_dots *dots;
} qsr_sparse_kernels;

/* Stretches of codes by the way they were walked: rows of a block times latents of a panel, or all of them. */
typedef struct {
    size_t by_row, in_panels, in_quartets;
} qsr_sparse_count;

/* out[rows][d] = bias (NULL: 0) + the code's entries with begin <= latent < end times their rows of W. `count` may be NULL. [any] */
void qsr_sparse_decode(const qsr_code *, uint32_t begin, uint32_t end, const float *w, size_t d, const float *bias,
                       float *out, qsr_sparse_count *count);
/* out[e] += W[latent[e]] . x[row of e] for the entries with begin <= latent < end; x is [rows][d]. [any] */
void qsr_sparse_dots(const qsr_code *, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x, float *out,
                     qsr_sparse_count *count);
#endif

/* math/sparse: products of a sparse code with a latent-major matrix W [d_sae][d]: its decode, and dot products with the rows of W
 * in use.
 *
 * How a stretch of a code is walked follows from its counts alone, and shows in the time only: every number is the same sum in the
 * same order, whichever way it is made.
 *   row by row       where a row uses few latents of a panel
 *   in panels        of PANEL latents, whose rows of W stay in the L2 cache while the rows of the block go by
 *   as dense tiles   of four rows by the latents that any of them uses, with zeros filled in, where 45 % and more of a panel's
 *                    entries are there: a row of W is loaded once for four */
#ifndef QSR_MATH_SPARSE_H
#define QSR_MATH_SPARSE_H
#include "base/error.h"

/* acc[o][0..d) += sum over e of value[e][o] * m[index[e]], for the number of rows `o` in the kernel's name, in order of e.
 * m and acc have rows of ld and ld_acc floats. */
typedef void qsr_gather(const uint32_t *index, const float *value, size_t n, const float *m, size_t ld, size_t d,
                        float *acc, size_t ld_acc);
/* out[e][r] = m[index[e]] . x[r], over vectors of d floats. */
typedef void qsr_dots(const uint32_t *index, size_t n, const float *m, size_t ld, size_t d, const float *x, size_t ld_x,
                      float *out);

typedef struct {
    qsr_gather *gather_1, *gather_4;
    qsr_dots *dots_1, *dots_4;
} qsr_sparse_kernels;

/* Whether a tile with that many entries of rows x latents is cheaper with its zeros. A rule on counts (docs/PERFORMANCE.md). */
bool qsr_sparse_is_dense(size_t entries, size_t rows, size_t latents);

/* Stretches of codes by the way they were walked: rows of a block times latents of a panel, or all of them. */
typedef struct {
    size_t by_row, in_panels, as_tiles;
} qsr_sparse_count;

/* out[rows][d] = bias (NULL: 0) + the code's entries with begin <= latent < end times their rows of W. `count` may be NULL. [any] */
void qsr_sparse_decode(const qsr_code *, uint32_t begin, uint32_t end, const float *w, size_t d, const float *bias,
                       float *out, qsr_sparse_count *count);
/* out[e] += W[latent[e]] . x[row of e] for the entries with begin <= latent < end; x is [rows][d]. [any] */
void qsr_sparse_dots(const qsr_code *, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x, float *out,
                     qsr_sparse_count *count);
#endif

/* model/sift: codes from screened bounds (math/screen) instead of all pre-activations, for rules that keep few latents.
 *
 * The bounds leave the few latents of a row that may be kept; their pre-activations are then computed, by the same chain of
 * additions as in a full product, and decide. So the code has the very bytes of the full way. Where the bounds leave too many, or there
 * are none, the row goes through the full product after all. */
#ifndef QSR_MODEL_SIFT_H
#define QSR_MODEL_SIFT_H
#include "math/screen.h"
#include "model/choose.h"
#include "model/code.h"

/* What it took: rows, how many of them went through the full product, and pre-activations computed one by one. */
typedef struct {
    uint64_t rows, full, pairs;
} qsr_sift_count;

/* A block's bounds, and memory to work in. */
typedef struct {
    const qsr_params *p;
    const qsr_packed *product;
    qsr_screened bounds;
    size_t rows;
    const float *xc;      /* [rows][d_in] */
    float *upper;         /* [rows][d_sae]; overwritten where rows go through the full product */
    float *again;         /* [rows][d_in] */
    uint32_t *number;     /* [rows] */
    float *scratch;       /* of qsr_product_all */
    qsr_sift_count count; /* added to */
} qsr_sifting;

/* Candidates of a row, on average, beyond which a full product costs less. */
size_t qsr_sift_room(size_t d_sae);

/* The rows of `code` (row_begin, latent, value) by "k largest positive of a row" as in qsr_choose_rows. */
void qsr_sift_largest(qsr_sifting *, size_t k, qsr_code *code);
/* The latents of each row whose bound, as `value`, reaches `floor`, with the lower bound as plane[0]: what may be among the largest of a
 * batch where the floor is known to lie below them. A block without bounds has its values as both. */
void qsr_sift_candidates(qsr_sifting *, float floor, qsr_code *code);
/* By "pre > threshold[j]", or > scalar where threshold is NULL. */
void qsr_sift_above(qsr_sifting *, const float *threshold, float scalar, qsr_code *code);
#endif

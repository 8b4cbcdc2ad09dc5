/* model/sift: codes from screened bounds (math/screen) instead of all pre-activations, for rules that keep few latents.
 *
 * The bounds leave the few latents of a row that may be kept; their pre-activations are then computed, by the same chain of
 * additions as in a full product, and decide. So the code has the very bytes of the full way. Bounds of 8-bit integers leave more, of which
 * bounds in bfloat16, pair by pair, sort out most. Rows that a screen leaves too many of, or that have no bounds in it, go through the
 * next one, and in the end through the full product. */
#ifndef QSR_MODEL_SIFT_H
#define QSR_MODEL_SIFT_H
#include "model/choose.h"
#include "model/code.h"
#include "model/sieve.h"

/* What it took: rows, how many of them had a product in bfloat16 and the full one, pairs that were bound in bfloat16 and pre-activations
 * that were computed one by one. */
typedef struct {
    uint64_t rows, bf16, full, bounds, pairs;
} qsr_sift_count;
void qsr_sift_count_add(qsr_sift_count *, const qsr_sift_count *);

/* A block of rows. */
typedef struct {
    const qsr_params *p;
    const qsr_packed *product;
    const qsr_sieve *sieve;
    qsr_sift_room *room;
    size_t rows;
    const float *xc;      /* [rows][d_in] */
    float *upper;         /* [rows][d_sae] to work in */
    float *scratch;       /* of qsr_product_all */
    qsr_sift_count count; /* added to, as the next */
    double screening;     /* seconds in products */
} qsr_sifting;

/* Candidates of a row, on average, beyond which a full product costs less. */
size_t qsr_sift_most(size_t d_sae);

/* What U must reach where at least k values or lower bounds reach `bound`, a as in math/screen: the k-th value is at least bound - 2 a, and
 * values within the band below it are asked for too. No positive bound: whatever may be positive. */
float qsr_sift_least(float bound, float a);

/* The rows of `code` (row_begin, latent, value) by "k largest positive of a row" as in qsr_choose_rows. */
void qsr_sift_largest(qsr_sifting *, size_t k, qsr_code *code);
/* The latents of each row whose bound, as `value`, reaches `floor`, with the lower bound as plane[0]: what may be among the largest of a
 * batch where the floor is known to lie below them. Rows without bounds have their values as both. */
void qsr_sift_candidates(qsr_sifting *, float floor, qsr_code *code);
/* By "pre > threshold[j]", or > scalar where threshold is NULL. */
void qsr_sift_above(qsr_sifting *, const float *threshold, float scalar, qsr_code *code);
/* By "pre > edge[j]", with pre as plane[0] and 0 as value where it is not > threshold[j]. */
void qsr_sift_window(qsr_sifting *, const float *threshold, const float *edge, qsr_code *code);
#endif

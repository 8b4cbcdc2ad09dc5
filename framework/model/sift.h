/* model/sift: codes from screened bounds (math/screen) instead of all pre-activations, for rules that keep few latents.
 *
 * The bounds leave the few latents of a row that may be kept; their pre-activations are then computed, by the same chain of
 * additions as in a full product, and decide. So the code has the very bytes of the full way. Bounds of 8-bit integers leave more, of which
 * bounds in bfloat16, pair by pair, sort out most. Rows that a screen leaves too many of, or that have no bounds in it, go through the
 * next one, and in the end through the full product. */
#ifndef QSR_MODEL_SIFT_H
#define QSR_MODEL_SIFT_H
#include "math/screen.h"
#include "model/choose.h"
#include "model/code.h"

/* What it took: rows, how many of them had a product in bfloat16 and the full one, pairs that were bound in bfloat16 and pre-activations
 * that were computed one by one. */
typedef struct {
    uint64_t rows, bf16, full, bounds, pairs;
} qsr_sift_count;
void qsr_sift_count_add(qsr_sift_count *, const qsr_sift_count *);

/* The encoder as screens see it. */
typedef struct {
    bool on, integers;
    qsr_screen int8; /* with integers */
    qsr_screen bf16; /* in order with integers, to sort out what they leave */
} qsr_sieve;

qsr_status qsr_sieve_create(bool integers, size_t n, size_t d, qsr_sieve *ret, qsr_error *e);
void qsr_sieve_free(qsr_sieve *);
void qsr_sieve_fill(qsr_sieve *, const float *w, qsr_pool *);

/* A row between the stages. */
typedef struct {
    bool dropped;
    float least;
    uint32_t sure, open, at; /* at: how many of the open were bound again */
} qsr_sift_rest;

/* Memory to sift blocks of up to `rows` rows in. */
typedef struct {
    size_t rows;
    float *bounds, *pairs; /* of the screens */
    float *again;          /* [rows][d_in] */
    uint32_t *number;      /* [rows] */
    size_t *begin, *size;  /* [rows] */
    float *floor;          /* [d_sae] */
    unsigned idle[QSR_SCREENS]; /* blocks that go without that screen. Shows in the time alone */
    qsr_sift_rest *rest;   /* [rows] */
} qsr_sift_room;

qsr_status qsr_sift_room_create(const qsr_sieve *, size_t rows, size_t d_in, qsr_sift_room *ret, qsr_error *e);
void qsr_sift_room_free(qsr_sift_room *);

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

/* math/screen: bounds on a product's values from a product of rounded operands: in bfloat16, which costs a fourth of it on paper and half
 * where it counts, or in 8-bit integers, which cost half of that and leave bounds some five times as wide.
 *
 * For every row x and latent w it gives U with  U - 2 scale m <= v + a  and  v <= U + a,  where v is the value that math/product would
 * compute (its rounding included), scale belongs to the row, m to the latent, and a is next to nothing. So a rule that asks
 * which values are the largest, or above a threshold, needs v itself for a few pairs alone. With x~, w~ for the rounded operands,
 * u = 2^-24 and norms for l2:
 *
 *   |x w - x~ w~| <= |x| |w - w~| + |x - x~| |w~|                      (Cauchy-Schwarz)
 *   the chain of v    <= 1.1 d u |x| |w|                              (d roundings, while d u <= 0.01)
 *   bfloat16:
 *   the sums of x~ w~ <= 3.1 d u |x~| |w~|                            (at most three roundings for each pair of products, in any
 *                                                                      direction: 2 u each)
 *   the bias, U's own <= 8 u (|x| |w| + |x~| |w~|) + 4 u |bias|
 *   flushed denormals <= a = (d + 4) 2^-124: the instruction takes denormal operands for 0 and flushes denormal results; operands
 *                        are rounded by the same rule, so that theirs count in |w - w~|
 *   integers:
 *   the sums of x~ w~  = step_x step_w S, where S is an integer and computed as it is: |S| <= 127^2 d < 2^31, and what wraps on the
 *                        way comes back, since additions are modulo 2^32
 *   the bias, U's own <= 12 u (|x| |w| + |x~| |w~|) + 4 u |bias|      (S and the product of the steps become floats first)
 *
 * m |x| is the sum of those that apply, with a |x - x~| / |x| that most rows of the block keep; rows that are off by more have a larger
 * scale. Rows or weights near overflow, or not finite, have no bound (scale NaN), nor have rows that are off by more than they may be.
 * This room's product-body tells what v is.
 *
 * An 8-bit x~ is step times integers from -127 to 127, the largest |x_i| being 127 steps; 0 where that is below 2^-50, so that no
 * product of steps is denormal. Rows are kept as integers + 128, since the instruction takes one operand without sign, and sums begin with
 * -128 times the sum of the latent's. */
#ifndef QSR_MATH_SCREEN_H
#define QSR_MATH_SCREEN_H
#include "math/product.h"

enum { QSR_SCREEN_LANES = 16, QSR_SCREEN_ROWS = 14, QSR_SCREEN_MOST_DEPTH = 131072 };

typedef enum { QSR_SCREEN_BF16, QSR_SCREEN_INT8, QSR_SCREENS } qsr_screen_kind;

/* A vector that was rounded: its squared norm, that of what it became and of what it is off by, in double; of integers, one step and
 * their sum. */
typedef struct {
    double square, rounded, off;
    float step;
    int32_t sum;
} qsr_screen_off;

/* A tile: out[rows][32], row length ld, = a b + scale[rows] m[32] (+ bias[32]). */
typedef struct {
    size_t rows, words;
    const uint32_t *a, *b; /* [words][rows], [words][32] */
    const float *scale, *m;
    const float *row_step, *step; /* [rows], [32] of integers */
    const int32_t *start;         /* [32] what their sums begin with */
    const float *bias;            /* or NULL */
    float *out;
    size_t ld;
    float *most; /* unless NULL: 16 floats for each row, ld_most apart, take up the largest lower bounds,
                                     out - 2 scale m, lane by lane */
    size_t ld_most;
} qsr_screen_tile;

/* The inner loops (screen-body.c, compiled for each of the two). Columns are kept as words of 32 bits: two bfloat16 or four bytes, the first one low. */
typedef struct {
    const char *name;
    size_t columns; /* of a word */
    /* to[p * stride + i] = the word p of from[i] for p < d / columns, rounded up, i < count <= 16, with zeros up to i = 15 as in
     * qsr_tiles.transpose. as_row: as the operand `a`. */
    void (*pack)(const float *const *from, size_t count, size_t d, bool as_row, uint32_t *to, size_t stride,
                 qsr_screen_off *off);
    void (*tile)(const qsr_screen_tile *);
    /* The words of one vector, in order; as many as are a multiple of 16. */
    void (*round)(const float *from, size_t d, uint32_t *to, qsr_screen_off *off);
    /* out[i] = x w_latent[i], of words in order: x[stride], w[][stride], stride a multiple of 16. NULL with integers. */
    void (*dots)(const uint32_t *x, const uint32_t *w, size_t stride, const uint32_t *latent, size_t n, float *out);
} qsr_screen_tiles;

/* NULL: the compiler or this processor has no AVX512-BF16, or AVX512-VNNI for integers, or QUASAR_ISA forbids it. [any] */
const qsr_screen_tiles *qsr_screen_tiles_get(qsr_screen_kind);

/* The latents, rounded. */
typedef struct {
    const qsr_screen_tiles *tiles;
    size_t d, n;
    bool in_order;       /* for pairs too; panels are then made whenever they are used */
    uint32_t *words;     /* in order: [n][words, rounded up to 16]; else panels: [n / 32, rounded up][words][32] */
    float *error, *norm; /* [n, rounded up to 32] upper bounds of |w - w~| (1 + 1.1 d u + 12 u) and |w~| */
    float *step;         /* of integers, as the next */
    int32_t *start;
    double most; /* the largest |w|; NaN where one is not finite */
} qsr_screen;

/* in_order: bfloat16 alone. */
qsr_status qsr_screen_create(qsr_screen_kind, bool in_order, size_t n, size_t d, qsr_screen *ret, qsr_error *e);
void qsr_screen_free(qsr_screen *);
/* After w[n][d] changed. */
void qsr_screen_fill(qsr_screen *, const float *w, qsr_pool *);

/* A block of rows, rounded, and what its bounds mean. */
typedef struct {
    size_t rows;
    float *scale; /* [rows]; NaN: no bound for this row, its upper is garbage */
    float *m;     /* [n, rounded up to 32] */
    float a;
    size_t groups; /* 0, or: */
    float *most;   /* [rows][groups] the largest lower bound of each group of latents, or 0 */
    const float *bias;
    float *off, *step;        /* [rows] |x - x~| / |x|; steps of integers */
    uint32_t *packed, *panel; /* the rows, tile after tile or in order; a panel of latents that are in order */
} qsr_screened;

/* a, for rows of d columns. */
float qsr_screen_flushed(size_t d);
size_t qsr_screen_scratch(const qsr_screen *, size_t rows); /* floats */
/* Rows for the function below. ret points into scratch; bias may be NULL. k: lower bounds are wanted in groups, some four times k of them;
 * 0: not. Rows with |x - x~| > coarsest |x| have no bound. Returns how many have one. [any] */
size_t qsr_screen_begin(const qsr_screen *, const float *x, size_t rows, size_t k, const float *bias, double coarsest,
                        float *scratch, qsr_screened *ret);
/* Rows that the function below computes together, at most. */
size_t qsr_screen_together(const qsr_screen *);
/* upper[i * ld + j] = U of row begin + i and latent j, for rows from `begin` on: 0, or what the call before returned. Returns where they
 * end. [any] */
size_t qsr_screen_rows(const qsr_screen *, const qsr_screened *, size_t begin, float *upper, size_t ld);

/* For bounds pair by pair; the latents are in order. ret points into scratch. [any] */
void qsr_screen_begin_pairs(const qsr_screen *, const float *x, size_t rows, const float *bias, float *scratch,
                            qsr_screened *ret);
/* They are asked for soon. */
void qsr_screen_prefetch(const qsr_screen *, const uint32_t *latent, size_t n);
/* upper[i] = U of row r and latent[i]; the row has a bound. [any] */
void qsr_screen_pairs(const qsr_screen *, const qsr_screened *, size_t r, const uint32_t *latent, size_t n, float *upper);
#endif

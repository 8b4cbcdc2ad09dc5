/* math/screen: bounds on a product's values from a product in bfloat16, which costs a fourth.
 *
 * For every row x and latent w it gives U with  U - 2 scale m <= v + a  and  v <= U + a,  where v is the value that math/product would
 * compute (its rounding included), scale belongs to the row, m to the latent, and a is next to nothing. So a rule that asks
 * which values are the largest, or above a threshold, needs v itself for a few pairs alone. With x~, w~ for the operands rounded to
 * bfloat16, u = 2^-24 and norms for l2:
 *
 *   |x w - x~ w~| <= |x| |w - w~| + |x - x~| |w~|                      (Cauchy-Schwarz)
 *   the chain of v    <= 1.1 d u |x| |w|                              (d roundings, while d u <= 0.01)
 *   the sums of x~ w~ <= 3.1 d u |x~| |w~|                            (at most three roundings for each pair of products, in any
 *                                                                      direction: 2 u each)
 *   the bias, U's own <= 8 u (|x| |w| + |x~| |w~|) + 4 u |bias|
 *   flushed denormals <= a = (d + 4) 2^-124: the instruction takes denormal operands for 0 and flushes denormal results; operands
 *                        are rounded by the same rule, so that theirs count in |w - w~|
 *
 * m |x| is the sum of the first four; |x - x~| / |x| is the largest of the block. Rows or weights near overflow, or not finite, have
 * no bound (scale NaN). This room's product-body tells what v is. */
#ifndef QSR_MATH_SCREEN_H
#define QSR_MATH_SCREEN_H
#include "math/product.h"

enum { QSR_SCREEN_LANES = 16, QSR_SCREEN_ROWS = 14, QSR_SCREEN_MOST_DEPTH = 131072 };

/* The inner loops (screen-body.c). Pairs of columns are 32 bits: two bfloat16, the first one low. */
typedef struct {
    /* to[p * stride + i] = the pair p of from[i] for p < (d + 1) / 2, i < count <= 16, with zeros up to i = 15 as in
     * qsr_tiles.transpose; squares[i] = {sum of from^2, of rounded^2, of (from - rounded)^2} in double. */
    void (*pack)(const float *const *from, size_t count, size_t d, uint32_t *to, size_t stride, double (*squares)[3]);
    /* out[rows][32], row length ld, = a b + scale[rows] m[32] (+ bias[32]); a is [pairs][rows], b [pairs][32]. most, unless NULL: 16 floats
     * for each row, ld_most apart, take up the largest lower bounds, out - 2 scale m, lane by lane. */
    void (*tile)(size_t rows, const uint32_t *a, const uint32_t *b, size_t pairs, const float *scale, const float *m,
                 const float *bias, float *out, size_t ld, float *most, size_t ld_most);
} qsr_screen_tiles;

/* NULL: the compiler or this processor has no AVX512-BF16, or QUASAR_ISA forbids it. [any] */
const qsr_screen_tiles *qsr_screen_tiles_get(void);

/* The latents in bfloat16. */
typedef struct {
    const qsr_screen_tiles *tiles;
    size_t d, n;
    uint32_t *panels;    /* [n / 32, rounded up][(d + 1) / 2][32] */
    float *error, *norm; /* [n, rounded up to 32] upper bounds of |w - w~| (1 + 1.1 d u + 8 u) and |w~| */
    double most;         /* the largest |w|; NaN where one is not finite */
} qsr_screen;

qsr_status qsr_screen_create(size_t n, size_t d, qsr_screen *ret, qsr_error *e);
void qsr_screen_free(qsr_screen *);
/* After w[n][d] changed. */
void qsr_screen_fill(qsr_screen *, const float *w, qsr_pool *);

/* A block of bounds: what upper[rows][n] means. */
typedef struct {
    float *scale; /* [rows]; NaN: no bound for this row, its upper is garbage */
    float *m;     /* [n, rounded up to 32] */
    float a;
    size_t groups; /* 0, or: */
    float *most;   /* [rows][groups] the largest lower bound of each group of latents, or 0 */
} qsr_screened;

/* a, for rows of d columns. */
float qsr_screen_flushed(size_t d);
size_t qsr_screen_scratch(const qsr_screen *, size_t rows); /* floats */
/* upper[r * ld + j] = U of row r and latent j. ret points into scratch. bias may be NULL. k: lower bounds are wanted in groups, some four
 * times k of them; 0: not. [any] */
void qsr_screen_rows(const qsr_screen *, const float *x, size_t rows, size_t k, const float *bias, float *scratch,
                     float *upper, size_t ld, qsr_screened *ret);
#endif

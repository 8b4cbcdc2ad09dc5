/* math/product: the encoder's product, rows times latents, with the weights packed once for many blocks of rows.
 *
 * Where the instruction set has tiles of its own, every value is one chain of fused multiply-adds, c = fma(x[k], w[k], c) for
 * k = 0 .. d - 1 from 0, then + bias: a function of its row and its latent alone. So a block of any height, a gathered choice of
 * latents and a single pair give the same bytes, on AVX2 as on AVX-512. Elsewhere ("portable") OpenBLAS computes it, whose
 * arithmetic depends on the shape of the call. */
#ifndef QSR_MATH_PRODUCT_H
#define QSR_MATH_PRODUCT_H
#include "base/error.h"
#include "math/pool.h"

/* The inner loops of one instruction set (product-body.c). */
typedef struct {
    size_t most_rows, lanes; /* rows of a tile at most; a tile is 2 * lanes latents wide */
    /* c[rows][2 * lanes], row length ld, = (first ? 0 : c) + a b (+ bias[2 * lanes] unless NULL); a is [depth][rows], b is
     * [depth][2 * lanes]. rows is 1 .. most_rows. */
    void (*tile)(size_t rows, const float *a, const float *b, size_t depth, float *c, size_t ld, bool first, const float *bias);
    /* to[k * stride + i] = from[i][k] for k < depth, i < count <= lanes. For count <= i < lanes zeros are written, before what
     * the next k puts there: the last row reaches `lanes` floats. */
    void (*transpose)(const float *const *from, size_t count, size_t depth, float *to, size_t stride);
    /* out[i] = the chain of x and w[latent[i]] */
    void (*entries)(const float *w, size_t d, const uint32_t *latent, size_t n, const float *x, float *out);
} qsr_tiles;

/* The tiles that go with qsr_kernels_get, or with the set of that name; NULL: none, OpenBLAS is used. [any] */
const qsr_tiles *qsr_tiles_get(void);
const qsr_tiles *qsr_tiles_named(const char *isa);

/* Latents to multiply with. */
typedef struct {
    const qsr_tiles *tiles; /* NULL: OpenBLAS */
    size_t d, n;
    const float *w;         /* [n][d], borrowed */
    float *panels;          /* [n / (2 lanes), rounded up][d][2 lanes], or NULL: packed whenever they are used */
} qsr_packed;

/* For w[n][d], which must live as long; packed: keep packed panels. They are garbage until qsr_packed_fill. */
qsr_status qsr_packed_create(const qsr_tiles *, const float *w, size_t n, size_t d, bool packed, qsr_packed *ret, qsr_error *e);
void qsr_packed_free(qsr_packed *);
/* After w changed. */
void qsr_packed_fill(qsr_packed *, qsr_pool *);

/* Floats of scratch memory that a thread needs for the two products below. */
size_t qsr_product_scratch(const qsr_packed *);
/* out[r * ld + i] = x_r . w_i (+ bias[i] unless NULL) for rows of x [rows][d] and all latents. [any] */
void qsr_product_all(const qsr_packed *, const float *x, size_t rows, const float *bias, float *scratch, float *out, size_t ld);
/* The same for n chosen latents: out[r * ld + i] belongs to latent[i]. [any] */
void qsr_product_chosen(const qsr_packed *, const uint32_t *latent, size_t n, const float *x, size_t rows, const float *bias,
                        float *scratch, float *out, size_t ld);
/* The same values panel by panel, where there are tiles and packed panels, for callers who look at a few at a time: rows are packed
 * once, and multiplied with the qsr_packed_width latents of any panel, out[rows][width]; what lies behind the last latent means nothing. */
size_t qsr_packed_width(const qsr_packed *);
size_t qsr_product_rows_room(const qsr_packed *, size_t rows); /* floats of `packed_rows` */
void qsr_product_pack_rows(const qsr_packed *, const float *x, size_t rows, float *packed_rows);
void qsr_product_panel(const qsr_packed *, const float *packed_rows, size_t rows, size_t panel, float *out);
/* One row with a few latents: out[i] = x . w_latent[i] (+ bias[latent[i]]). Only where there are tiles. [any] */
void qsr_product_entries(const qsr_packed *, const uint32_t *latent, size_t n, const float *x, const float *bias, float *out);
#endif

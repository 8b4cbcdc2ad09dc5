#include "math/product.h"

#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/kernel.h"

enum { MOST_LANES = 16, MOST_ROWS = 14 }; /* of any instruction set */
const qsr_tiles *qsr_tiles_named(const char *isa)
{
    const qsr_kernels *set = qsr_kernels_named(isa);
    return set ? set->tiles : NULL;
}

const qsr_tiles *qsr_tiles_get(void) { return qsr_kernels_get()->tiles; }

/* ---- packed latents ---------------------------------------------------------------------------------------------- */

static size_t width_of(const qsr_packed *p) { return 2 * p->tiles->lanes; }

qsr_status qsr_packed_create(const qsr_tiles *tiles, const float *w, size_t n, size_t d, bool packed, qsr_packed *ret,
                             qsr_error *e)
{
    *ret = (qsr_packed){tiles, d, n, w, NULL};
    if (!tiles || !packed) return QSR_OK;
    size_t floats = 0;
    if (qsr_mul_size(qsr_round_up(n, width_of(ret)), d, &floats)) ret->panels = qsr_block_raw(floats, sizeof(float));
    return ret->panels ? QSR_OK : qsr_fail_nomem(e, "the packed encoder", floats * sizeof(float));
}

void qsr_packed_free(qsr_packed *p)
{
    qsr_block_free(p->panels);
    *p = (qsr_packed){0};
}

/* to[depth][width] = columns [k, k + depth) of the latents at [begin, begin + width) of `latent` (NULL: all, in order), zeros
 * behind the last of n. */
static void pack_panel(const qsr_packed *p, const uint32_t *latent, size_t n, size_t begin, size_t k, size_t depth,
                       float *to)
{
    const float *from[MOST_LANES];
    size_t lanes = p->tiles->lanes;
    for (size_t half = 0; half < 2; half++, begin += lanes, to += lanes) {
        size_t count = begin < n ? qsr_min_size(n - begin, lanes) : 0;
        for (size_t i = 0; i < count; i++) from[i] = p->w + (latent ? latent[begin + i] : begin + i) * p->d + k;
        p->tiles->transpose(from, count, depth, to, 2 * lanes);
    }
}

static qsr_status fill_task(void *arg, size_t begin, size_t end)
{
    const qsr_packed *p = arg;
    size_t width = width_of(p);
    for (size_t i = begin; i < end; i++) pack_panel(p, NULL, p->n, i * width, 0, p->d, p->panels + i * width * p->d);
    return QSR_OK;
}

void qsr_packed_fill(qsr_packed *p, qsr_pool *pool)
{
    if (p->panels) qsr_pool_run(pool, qsr_div_up(p->n, width_of(p)), 8, fill_task, p);
}

/* ---- products with tiles ----------------------------------------------------------------------------------------- */

/* Rows are packed in chunks that stay in the second-level cache while all panels pass by; neither number shows in a result. */
enum { DEPTH = 1024, CHUNK_FLOATS = 196608, MOST_TILES = 256 };

typedef struct {
    const qsr_packed *p;
    const uint32_t *latent; /* chosen ones, or NULL */
    size_t n;
    const float *bias;
    float *rows_at, *panel_at; /* scratch */
    float *out;
    size_t ld;
    /* the current chunk: rows in tiles of nearly equal height */
    size_t tiles, row[MOST_TILES + 1];
    size_t k, depth;
} product_run;

static size_t depth_of(const qsr_packed *p) { return qsr_div_up(p->d, qsr_max_size(1, qsr_div_up(p->d, DEPTH))); }
static size_t chunk_rows(const qsr_packed *p)
{
    return qsr_min_size(MOST_TILES * p->tiles->most_rows, qsr_max_size(p->tiles->most_rows, CHUNK_FLOATS / depth_of(p)));
}

size_t qsr_product_scratch(const qsr_packed *p)
{
    if (!p->tiles) return 256 * p->d; /* a gathered panel */
    return qsr_round_up(chunk_rows(p) * depth_of(p) + MOST_LANES, 16) + width_of(p) * depth_of(p);
}

static void pack_rows(product_run *run, const float *x, size_t rows)
{
    const qsr_tiles *tiles = run->p->tiles;
    const float *from[MOST_LANES];
    run->tiles = qsr_div_up(rows, tiles->most_rows);
    for (size_t t = 0; t <= run->tiles; t++) run->row[t] = rows * t / run->tiles;
    for (size_t t = 0; t < run->tiles; t++) {
        size_t height = run->row[t + 1] - run->row[t];
        for (size_t r = 0; r < height; r++) from[r] = x + (run->row[t] + r) * run->p->d + run->k;
        tiles->transpose(from, height, run->depth, run->rows_at + run->row[t] * run->depth, height);
    }
}

/* A panel that reaches beyond the last latent: through a small copy of the output. */
static void edge_tile(const product_run *run, size_t t, const float *panel, size_t columns, float *out, const float *bias)
{
    const qsr_tiles *tiles = run->p->tiles;
    float copy[MOST_ROWS * 2 * MOST_LANES];
    size_t width = width_of(run->p), height = run->row[t + 1] - run->row[t];
    for (size_t r = 0; run->k && r < height; r++) memcpy(copy + r * width, out + r * run->ld, columns * sizeof *copy);
    tiles->tile(height, run->rows_at + run->row[t] * run->depth, panel, run->depth, copy, width, run->k == 0, bias);
    for (size_t r = 0; r < height; r++) memcpy(out + r * run->ld, copy + r * width, columns * sizeof *copy);
}

static void multiply_panel(const product_run *run, size_t begin, const float *panel, float *out)
{
    const qsr_packed *p = run->p;
    size_t columns = qsr_min_size(width_of(p), run->n - begin);
    float bias[2 * MOST_LANES] = {0};
    bool biased = run->bias && run->k + run->depth == p->d;
    for (size_t i = 0; biased && i < columns; i++) bias[i] = run->bias[run->latent ? run->latent[begin + i] : begin + i];
    for (size_t t = 0; t < run->tiles; t++) {
        float *to = out + run->row[t] * run->ld + begin;
        if (columns < width_of(p))
            edge_tile(run, t, panel, columns, to, biased ? bias : NULL);
        else
            p->tiles->tile(run->row[t + 1] - run->row[t], run->rows_at + run->row[t] * run->depth, panel, run->depth, to,
                           run->ld, run->k == 0, biased ? bias : NULL);
    }
}

static void multiply_chunk(product_run *run, const float *x, size_t rows, float *out)
{
    const qsr_packed *p = run->p;
    size_t width = width_of(p);
    for (run->k = 0; run->k < p->d; run->k += run->depth) {
        run->depth = qsr_min_size(depth_of(p), p->d - run->k);
        pack_rows(run, x, rows);
        for (size_t begin = 0; begin < run->n; begin += width) {
            const float *panel = run->panel_at;
            if (p->panels && !run->latent)
                panel = p->panels + begin * p->d + run->k * width;
            else
                pack_panel(p, run->latent, run->n, begin, run->k, run->depth, run->panel_at);
            multiply_panel(run, begin, panel, out);
        }
    }
}

static void multiply(const qsr_packed *p, const uint32_t *latent, size_t n, const float *x, size_t rows, const float *bias,
                     float *scratch, float *out, size_t ld)
{
    product_run run = {.p = p, .latent = latent, .n = n, .bias = bias, .rows_at = scratch, .ld = ld};
    run.panel_at = scratch + qsr_round_up(chunk_rows(p) * depth_of(p) + MOST_LANES, 16);
    size_t most = chunk_rows(p), chunks = qsr_div_up(rows, most);
    for (size_t c = 0; c < chunks; c++) {
        size_t begin = rows * c / chunks, end = rows * (c + 1) / chunks;
        multiply_chunk(&run, x + begin * p->d, end - begin, out + begin * ld);
    }
}

/* ---- panel by panel ---------------------------------------------------------------------------------------------- */

size_t qsr_packed_width(const qsr_packed *p) { return width_of(p); }
size_t qsr_product_rows_room(const qsr_packed *p, size_t rows) { return qsr_round_up(rows * p->d + MOST_LANES, 16); }

void qsr_product_pack_rows(const qsr_packed *p, const float *x, size_t rows, float *packed_rows)
{
    product_run run = {.p = p, .rows_at = packed_rows, .depth = p->d};
    pack_rows(&run, x, rows);
}

void qsr_product_panel(const qsr_packed *p, const float *packed_rows, size_t rows, size_t panel, float *out)
{
    size_t tiles = qsr_div_up(rows, p->tiles->most_rows), width = width_of(p);
    for (size_t t = 0; t < tiles; t++) {
        size_t begin = rows * t / tiles, end = rows * (t + 1) / tiles;
        p->tiles->tile(end - begin, packed_rows + begin * p->d, p->panels + panel * width * p->d, p->d, out + begin * width, width, true,
                       NULL);
    }
}

/* ---- products through OpenBLAS ----------------------------------------------------------------------------------- */

static void add_bias(const float *bias, const uint32_t *latent, size_t n, size_t rows, float *out, size_t ld)
{
    for (size_t r = 0; bias && r < rows; r++)
        for (size_t i = 0; i < n; i++) out[r * ld + i] += bias[latent ? latent[i] : i];
}

enum { GATHERED = 256 }; /* latents of one product: part of the arithmetic, so a constant */

static void blas_chosen(const qsr_packed *p, const uint32_t *latent, size_t n, const float *x, size_t rows, float *panel,
                        float *out, size_t ld)
{
    size_t d = p->d;
    for (size_t begin = 0; begin < n; begin += GATHERED) {
        size_t width = qsr_min_size(GATHERED, n - begin);
        for (size_t i = 0; i < width; i++) memcpy(panel + i * d, p->w + latent[begin + i] * d, d * sizeof *panel);
        qsr_gemm(false, true, rows, width, d, 1, x, d, panel, d, 0, out + begin, ld);
    }
}

/* ---- */

void qsr_product_all(const qsr_packed *p, const float *x, size_t rows, const float *bias, float *scratch, float *out,
                     size_t ld)
{
    if (p->tiles) {
        multiply(p, NULL, p->n, x, rows, bias, scratch, out, ld);
        return;
    }
    qsr_gemm(false, true, rows, p->n, p->d, 1, x, p->d, p->w, p->d, 0, out, ld);
    add_bias(bias, NULL, p->n, rows, out, ld);
}

void qsr_product_chosen(const qsr_packed *p, const uint32_t *latent, size_t n, const float *x, size_t rows,
                        const float *bias, float *scratch, float *out, size_t ld)
{
    if (p->tiles) {
        multiply(p, latent, n, x, rows, bias, scratch, out, ld);
        return;
    }
    blas_chosen(p, latent, n, x, rows, scratch, out, ld);
    add_bias(bias, latent, n, rows, out, ld);
}

void qsr_product_entries(const qsr_packed *p, const uint32_t *latent, size_t n, const float *x, const float *bias,
                         float *out)
{
    p->tiles->entries(p->w, p->d, latent, n, x, out);
    for (size_t i = 0; bias && i < n; i++) out[i] += bias[latent[i]];
}

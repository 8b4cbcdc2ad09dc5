#include "eval/coherence.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/rows.h"

/* Products are taken in tiles of TILE x WIDE, which BLAS is faster with than with square ones, and looked at in parts of TILE x TILE; part
 * of the arithmetic, as is every product's shape. */
enum { TILE = 256, WIDE = 1024 };

/* Sums over the pairs i < j of one strip of TILE rows i with all rows j. */
typedef struct {
    double cosine_max, cosine_sum, product_max, product_sum;
} strip;

typedef struct {
    const float *w;
    size_t rows, d;
    double *inverse_norm; /* [rows]; 0 for a row of zeros */
    strip *strips;
    qsr_neighbour *nearest; /* [threads][rows] the nearest that each thread has seen of each row; NULL: nobody asks */
} job;

/* ---- nearest rows ------------------------------------------------------------------------------------------------ */

/* A row is met by many strips, so each thread has its own idea of its nearest. The larger |cos|, then the smaller index: a total
 * order, so what they come to together depends on no timing. */
static void offer(qsr_neighbour *to, double cosine, uint32_t other)
{
    double a = fabs(cosine), b = fabs(to->cosine);
    if (to->other == UINT32_MAX || a > b || (a == b && other < to->other)) *to = (qsr_neighbour){cosine, other};
}

static double signed_cosine(const job *j, size_t i, size_t k, float dot)
{
    return copysign(fabs((double)dot) * j->inverse_norm[i] * j->inverse_norm[k], dot);
}

/* Largest |cos| of each row and column of one tile: who has them is looked up only where they match what is known. */
typedef struct {
    double row[TILE], column[TILE];
} tile_maxima;

static void offer_tile(const job *j, size_t i0, size_t rows, size_t k0, size_t cols, const float *product, const tile_maxima *max)
{
    qsr_neighbour *own = j->nearest + (size_t)qsr_pool_worker() * j->rows;
    for (size_t i = 0; i < rows; i++) {
        qsr_neighbour *to = &own[i0 + i];
        for (size_t k = i0 == k0 ? i + 1 : 0; k < cols && max->row[i] >= fabs(to->cosine); k++)
            if (fabs(signed_cosine(j, i0 + i, k0 + k, product[i * WIDE + k])) == max->row[i]) {
                offer(to, signed_cosine(j, i0 + i, k0 + k, product[i * WIDE + k]), (uint32_t)(k0 + k));
                break;
            }
    }
    for (size_t k = 0; k < cols; k++) {
        qsr_neighbour *to = &own[k0 + k];
        size_t end = i0 == k0 ? k : rows;
        for (size_t i = 0; i < end && max->column[k] >= fabs(to->cosine); i++)
            if (fabs(signed_cosine(j, i0 + i, k0 + k, product[i * WIDE + k])) == max->column[k]) {
                offer(to, signed_cosine(j, i0 + i, k0 + k, product[i * WIDE + k]), (uint32_t)(i0 + i));
                break;
            }
    }
}

static void merge_nearest(const job *j, unsigned threads, qsr_neighbour *ret)
{
    for (size_t i = 0; i < j->rows; i++) {
        ret[i] = j->nearest[i];
        for (size_t t = 1; t < threads; t++) {
            const qsr_neighbour *seen = &j->nearest[t * j->rows + i];
            if (seen->other != UINT32_MAX) offer(&ret[i], seen->cosine, seen->other);
        }
    }
}

/* ---- all pairs --------------------------------------------------------------------------------------------------- */

static void add_tile(const job *j, size_t i0, size_t rows, size_t k0, size_t cols, const float *product, strip *s)
{
    tile_maxima max = {0};
    for (size_t i = 0; i < rows; i++) {
        double cosine_sum = 0, product_sum = 0, cosine_max = 0;
        for (size_t k = i0 == k0 ? i + 1 : 0; k < cols; k++) {
            double dot = product[i * WIDE + k], cosine = fabs(dot) * j->inverse_norm[i0 + i] * j->inverse_norm[k0 + k];
            product_sum += dot;
            cosine_sum += cosine;
            s->product_max = dot > s->product_max ? dot : s->product_max;
            cosine_max = cosine > cosine_max ? cosine : cosine_max;
            max.column[k] = cosine > max.column[k] ? cosine : max.column[k];
        }
        max.row[i] = cosine_max;
        s->cosine_max = cosine_max > s->cosine_max ? cosine_max : s->cosine_max;
        s->cosine_sum += cosine_sum;
        s->product_sum += product_sum;
    }
    if (j->nearest) offer_tile(j, i0, rows, k0, cols, product, &max);
}

static qsr_status sum_strips(void *arg, size_t begin, size_t end)
{
    job *j = arg;
    float *product = qsr_block_raw(TILE * WIDE, sizeof *product);
    if (!product) return QSR_E_NOMEM;
    for (size_t n = begin; n < end; n++) {
        size_t i0 = n * TILE, rows = qsr_min_size(TILE, j->rows - i0);
        j->strips[n] = (strip){0, 0, -INFINITY, 0};
        for (size_t k0 = i0; k0 < j->rows; k0 += WIDE) {
            size_t cols = qsr_min_size(WIDE, j->rows - k0);
            qsr_gemm(false, true, rows, cols, j->d, 1, j->w + i0 * j->d, j->d, j->w + k0 * j->d, j->d, 0, product, WIDE);
            for (size_t k = 0; k < cols; k += TILE)
                add_tile(j, i0, rows, k0 + k, qsr_min_size(TILE, cols - k), product + k, &j->strips[n]);
        }
    }
    qsr_block_free(product);
    return QSR_OK;
}

static qsr_coherence combine(const job *j, size_t strips)
{
    double pairs = 0.5 * (double)j->rows * (double)(j->rows - 1);
    strip all = {0, 0, -INFINITY, 0};
    for (size_t n = 0; n < strips; n++) {
        all.cosine_max = fmax(all.cosine_max, j->strips[n].cosine_max);
        all.cosine_sum += j->strips[n].cosine_sum;
        all.product_max = fmax(all.product_max, j->strips[n].product_max);
        all.product_sum += j->strips[n].product_sum;
    }
    return (qsr_coherence){all.cosine_max, all.cosine_sum / pairs, all.product_max, all.product_sum / pairs};
}

static qsr_status prepare(job *j, size_t strips, unsigned threads, bool want_nearest)
{
    size_t seen;
    j->inverse_norm = qsr_block_raw(j->rows, sizeof(double));
    j->strips = qsr_block_raw(strips, sizeof(strip));
    if (!j->inverse_norm || !j->strips || !qsr_mul_size(threads, j->rows, &seen)) return QSR_E_NOMEM;
    for (size_t i = 0; i < j->rows; i++) {
        double norm = qsr_row_norm(j->w + i * j->d, j->d);
        j->inverse_norm[i] = norm > 0 ? 1 / norm : 0;
    }
    if (!want_nearest) return QSR_OK;
    j->nearest = qsr_block_raw(seen, sizeof *j->nearest);
    for (size_t i = 0; j->nearest && i < seen; i++) j->nearest[i] = (qsr_neighbour){0, UINT32_MAX};
    return j->nearest ? QSR_OK : QSR_E_NOMEM;
}

qsr_status qsr_coherence_of(qsr_pool *pool, const float *w, size_t rows, size_t d, qsr_coherence *ret, qsr_neighbour *ret_nearest,
                            qsr_error *e)
{
    *ret = (qsr_coherence){NAN, NAN, NAN, NAN};
    if (rows && ret_nearest) ret_nearest[0] = (qsr_neighbour){NAN, UINT32_MAX};
    if (rows < 2) return QSR_OK;
    size_t strips = qsr_div_up(rows, TILE);
    unsigned threads = qsr_pool_threads(pool);
    job j = {.w = w, .rows = rows, .d = d};
    qsr_blas_start();
    qsr_status status = prepare(&j, strips, threads, ret_nearest != NULL);
    if (!status) status = qsr_pool_run(pool, strips, 1, sum_strips, &j);
    if (status) {
        qsr_fail(e, status, "out of memory: coherence of %zu decoder rows", rows);
    } else {
        *ret = combine(&j, strips);
        if (ret_nearest) merge_nearest(&j, threads, ret_nearest);
    }
    qsr_block_free(j.inverse_norm);
    qsr_block_free(j.strips);
    qsr_block_free(j.nearest);
    return status;
}

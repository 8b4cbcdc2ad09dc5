#include "eval/coherence.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/rows.h"

/* Products are taken in tiles of TILE x TILE; part of the arithmetic, as is every product's shape. */
enum { TILE = 256 };

/* Sums over the pairs i < j of one strip of TILE rows i with all rows j. */
typedef struct {
    double cosine_max, cosine_sum, product_max, product_sum;
} strip;

typedef struct {
    const float *w;
    size_t rows, d;
    double *inverse_norm; /* [rows]; 0 for a row of zeros */
    strip *strips;
} job;

static void add_tile(const job *j, size_t i0, size_t rows, size_t k0, size_t cols, const float *product, strip *s)
{
    for (size_t i = 0; i < rows; i++) {
        double cosine_sum = 0, product_sum = 0;
        for (size_t k = i0 == k0 ? i + 1 : 0; k < cols; k++) {
            double dot = product[i * TILE + k], cosine = fabs(dot) * j->inverse_norm[i0 + i] * j->inverse_norm[k0 + k];
            product_sum += dot;
            cosine_sum += cosine;
            s->product_max = dot > s->product_max ? dot : s->product_max;
            s->cosine_max = cosine > s->cosine_max ? cosine : s->cosine_max;
        }
        s->cosine_sum += cosine_sum;
        s->product_sum += product_sum;
    }
}

static qsr_status sum_strips(void *arg, size_t begin, size_t end)
{
    job *j = arg;
    float *product = qsr_block_raw(TILE * TILE, sizeof *product);
    if (!product) return QSR_E_NOMEM;
    for (size_t n = begin; n < end; n++) {
        size_t i0 = n * TILE, rows = qsr_min_size(TILE, j->rows - i0);
        j->strips[n] = (strip){0, 0, -INFINITY, 0};
        for (size_t k0 = i0; k0 < j->rows; k0 += TILE) {
            size_t cols = qsr_min_size(TILE, j->rows - k0);
            qsr_gemm(false, true, rows, cols, j->d, 1, j->w + i0 * j->d, j->d, j->w + k0 * j->d, j->d, 0, product, TILE);
            add_tile(j, i0, rows, k0, cols, product, &j->strips[n]);
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

qsr_status qsr_coherence_of(qsr_pool *pool, const float *w, size_t rows, size_t d, qsr_coherence *ret, qsr_error *e)
{
    *ret = (qsr_coherence){NAN, NAN, NAN, NAN};
    if (rows < 2) return QSR_OK;
    size_t strips = qsr_div_up(rows, TILE);
    job j = {w, rows, d, qsr_block_raw(rows, sizeof(double)), qsr_block_raw(strips, sizeof(strip))};
    qsr_status status = j.inverse_norm && j.strips ? QSR_OK : QSR_E_NOMEM;
    if (!status) {
        qsr_blas_start();
        for (size_t i = 0; i < rows; i++) {
            double norm = qsr_row_norm(w + i * d, d);
            j.inverse_norm[i] = norm > 0 ? 1 / norm : 0;
        }
        status = qsr_pool_run(pool, strips, 1, sum_strips, &j);
    }
    if (status)
        qsr_fail(e, status, "out of memory: coherence of %zu decoder rows", rows);
    else
        *ret = combine(&j, strips);
    qsr_block_free(j.inverse_norm);
    qsr_block_free(j.strips);
    return status;
}

#include "eval/coherence.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/kernel.h"
#include "math/rows.h"

/* Strips of rows are multiplied with what lies on or above the diagonal, panel by panel, and each panel's products are looked at while
 * they are in the cache. Where the instruction set has tiles, a strip is packed rows that stay in the second-level cache, and panels are
 * packed for as many columns as fit PANEL_FLOATS. Elsewhere OpenBLAS multiplies TILE x WIDE. All of these are part of the arithmetic. */
enum { STRIP = 252, STRIP_FLOATS = 196608, PANEL_FLOATS = 10000000, TILE = 256, WIDE = 1024, NORMS = 256 };

/* What the pairs of one strip come to: most in lanes, those near the diagonal and at the right edge one by one. */
typedef struct {
    qsr_pair_sums lanes;
    qsr_pair_totals single;
} strip;

/* Memory of one thread. */
typedef struct {
    float *rows, *product; /* packed rows, and the products of a panel */
    qsr_pair_best *best;   /* of the strip's rows, and of a panel's columns: */
    double *column_cosine;
    int64_t *column_other;
} workspace;

typedef struct {
    const float *w;
    size_t rows, d;
    const qsr_pair_passes *passes;
    qsr_packed packed; /* columns c0 .. c1, if there are tiles */
    size_t c0, c1;
    size_t height, width; /* rows of a strip, columns that are multiplied at a time */
    double *inverse_norm; /* [rows]; 0 for a row of zeros */
    strip *strips;
    workspace *work; /* [threads] */
    unsigned threads;
    qsr_neighbour *nearest; /* [threads][rows] the nearest that each thread has seen of each row; NULL: nobody asks */
} job;

/* ---- nearest rows ------------------------------------------------------------------------------------------------ */

/* A row is met by many strips, so each thread has its own idea of its nearest. The larger |cos|, then the smaller index: a total
 * order, so what they come to together depends on no timing. A cosine of 0 is nobody's: see merge_nearest. */
static void offer(qsr_neighbour *to, double cosine, int64_t other)
{
    double a = fabs(cosine), b = fabs(to->cosine);
    if (other >= 0 && (a > b || (a == b && a > 0 && other < to->other))) *to = (qsr_neighbour){cosine, (uint32_t)other};
}

static qsr_neighbour *seen_here(const job *j) { return j->nearest + (size_t)qsr_pool_worker() * j->rows; }

static void offer_best(const job *j, const qsr_pair_best *best, size_t i0, size_t rows)
{
    qsr_neighbour *own = seen_here(j);
    for (size_t i = 0; i < rows; i++)
        for (size_t lane = 0; lane < QSR_PAIR_LANES; lane++) offer(&own[i0 + i], best[i].cosine[lane], best[i].other[lane]);
}

/* A row that is orthogonal to all others has the first of them as its nearest. */
static void merge_nearest(const job *j, qsr_neighbour *ret)
{
    for (size_t i = 0; i < j->rows; i++) {
        ret[i] = j->nearest[i];
        for (size_t t = 1; t < j->threads; t++)
            offer(&ret[i], j->nearest[t * j->rows + i].cosine, j->nearest[t * j->rows + i].other);
        if (ret[i].cosine == 0 && isfinite(qsr_row_norm(j->w + i * j->d, j->d))) ret[i].other = i == 0;
    }
}

/* ---- all pairs --------------------------------------------------------------------------------------------------- */

/* The products of rows i0 .. and columns k0 .., of which those before begin and from end on belong to somebody else. */
static void add_singly(const job *j, size_t i0, size_t rows, size_t k0, size_t begin, size_t end, const float *product,
                       strip *s)
{
    for (size_t i = 0; i < rows; i++) {
        double cosine_sum = 0, product_sum = 0;
        for (size_t k = k0 + begin > i0 + i ? begin : i0 + i + 1 - k0; k < end; k++) {
            const double dot = product[i * j->width + k], cosine = dot * j->inverse_norm[i0 + i] * j->inverse_norm[k0 + k];
            product_sum += dot;
            cosine_sum += fabs(cosine);
            s->single.product_max = dot > s->single.product_max ? dot : s->single.product_max;
            s->single.cosine_max = fabs(cosine) > s->single.cosine_max ? fabs(cosine) : s->single.cosine_max;
            if (!j->nearest) continue;
            offer(&seen_here(j)[i0 + i], cosine, (int64_t)(k0 + k));
            offer(&seen_here(j)[k0 + k], cosine, (int64_t)(i0 + i));
        }
        s->single.cosine_sum += cosine_sum;
        s->single.product_sum += product_sum;
    }
}

static void add_in_lanes(const job *j, size_t i0, size_t rows, size_t k0, size_t columns, const float *product,
                         const workspace *work, strip *s)
{
    const qsr_pair_block block = {product,      j->width,    rows, columns, j->inverse_norm + i0, j->inverse_norm + k0,
                                  (uint32_t)i0, (uint32_t)k0};
    if (!j->nearest) {
        j->passes->add(&block, &s->lanes);
        return;
    }
    j->passes->add_nearest(&block, &s->lanes, work->best, work->column_cosine, work->column_other);
    for (size_t k = 0; k < columns; k++) offer(&seen_here(j)[k0 + k], work->column_cosine[k], work->column_other[k]);
}

/* Rows i0 .. with columns k0 .., as far as these lie above the diagonal: in lanes where all of a column does. */
static void add_panel(const job *j, size_t i0, size_t rows, size_t k0, size_t columns, const workspace *work, strip *s)
{
    const size_t cut = i0 + rows > k0 ? qsr_min_size(columns, i0 + rows - k0) : 0;
    const size_t wide = (columns - cut) / j->passes->columns * j->passes->columns;
    add_singly(j, i0, rows, k0, 0, cut, work->product, s);
    if (wide) add_in_lanes(j, i0, rows, k0 + cut, wide, work->product + cut, work, s);
    add_singly(j, i0, rows, k0, cut + wide, columns, work->product, s);
}

static void multiply(const job *j, size_t i0, size_t rows, size_t k0, size_t columns, const workspace *work)
{
    if (j->packed.tiles)
        qsr_product_panel(&j->packed, work->rows, rows, (k0 - j->c0) / j->width, work->product);
    else
        qsr_gemm(false, true, rows, columns, j->d, 1, j->w + i0 * j->d, j->d, j->w + k0 * j->d, j->d, 0, work->product,
                 j->width);
}

static qsr_status sum_strips(void *arg, size_t begin, size_t end)
{
    const job *j = arg;
    const workspace *work = &j->work[qsr_pool_worker()];
    for (size_t n = begin; n < end; n++) {
        const size_t i0 = n * j->height, rows = qsr_min_size(j->height, j->rows - i0);
        size_t first = j->packed.tiles && i0 > j->c0 ? j->c0 + (i0 - j->c0) / j->width * j->width
                       : j->packed.tiles             ? j->c0
                                                     : i0;
        if (j->packed.tiles) qsr_product_pack_rows(&j->packed, j->w + i0 * j->d, rows, work->rows);
        for (size_t i = 0; j->nearest && i < rows; i++) qsr_pair_best_begin(&work->best[i]);
        for (size_t k0 = first; k0 < j->c1; k0 += j->width) {
            const size_t columns = qsr_min_size(j->width, j->c1 - k0);
            multiply(j, i0, rows, k0, columns, work);
            add_panel(j, i0, rows, k0, columns, work, &j->strips[n]);
        }
        if (j->nearest) offer_best(j, work->best, i0, rows);
    }
    return QSR_OK;
}

static qsr_coherence combine(const job *j, size_t strips)
{
    double pairs = 0.5 * (double)j->rows * (double)(j->rows - 1);
    qsr_pair_totals all = {0, 0, -INFINITY, 0};
    for (size_t n = 0; n < strips; n++) {
        const qsr_pair_totals parts[] = {qsr_pair_sums_all(&j->strips[n].lanes), j->strips[n].single};
        for (size_t p = 0; p < 2; p++) {
            all.cosine_max = fmax(all.cosine_max, parts[p].cosine_max);
            all.cosine_sum += parts[p].cosine_sum;
            all.product_max = fmax(all.product_max, parts[p].product_max);
            all.product_sum += parts[p].product_sum;
        }
    }
    return (qsr_coherence){all.cosine_max, all.cosine_sum / pairs, all.product_max, all.product_sum / pairs};
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static qsr_status invert_norms(void *arg, size_t begin, size_t end)
{
    const job *j = arg;
    for (size_t i = begin; i < end; i++) {
        const double norm = qsr_row_norm(j->w + i * j->d, j->d);
        j->inverse_norm[i] = norm > 0 ? 1 / norm : 0;
    }
    return QSR_OK;
}

static bool create_workspace(const job *j, workspace *ret)
{
    if (j->packed.tiles) ret->rows = qsr_block_raw(qsr_product_rows_room(&j->packed, j->height), sizeof(float));
    ret->product = qsr_block_raw(j->height * j->width, sizeof(float));
    if (j->nearest) {
        ret->best = qsr_block_raw(j->height, sizeof *ret->best);
        ret->column_cosine = qsr_block_raw(j->width, sizeof *ret->column_cosine);
        ret->column_other = qsr_block_raw(j->width, sizeof *ret->column_other);
    }
    return ret->product && (!j->packed.tiles || ret->rows) &&
           (!j->nearest || (ret->best && ret->column_cosine && ret->column_other));
}

static qsr_status prepare(job *j, size_t strips, bool want_nearest)
{
    size_t seen;
    j->inverse_norm = qsr_block_raw(j->rows, sizeof(double));
    j->strips = qsr_block_raw(strips, sizeof(strip));
    j->work = qsr_block_alloc(j->threads, sizeof(workspace));
    if (!j->inverse_norm || !j->strips || !j->work || !qsr_mul_size(j->threads, j->rows, &seen)) return QSR_E_NOMEM;
    for (size_t n = 0; n < strips; n++) {
        qsr_pair_sums_begin(&j->strips[n].lanes);
        j->strips[n].single = (qsr_pair_totals){0, 0, -INFINITY, 0};
    }
    if (want_nearest && !(j->nearest = qsr_block_raw(seen, sizeof *j->nearest))) return QSR_E_NOMEM;
    for (size_t i = 0; j->nearest && i < seen; i++) j->nearest[i] = (qsr_neighbour){0, UINT32_MAX};
    for (unsigned t = 0; t < j->threads; t++)
        if (!create_workspace(j, &j->work[t])) return QSR_E_NOMEM;
    return QSR_OK;
}

static void release(job *j)
{
    for (unsigned t = 0; j->work && t < j->threads; t++) {
        void *blocks[] = {j->work[t].rows, j->work[t].product, j->work[t].best, j->work[t].column_cosine,
                          j->work[t].column_other};
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    }
    void *blocks[] = {j->inverse_norm, j->strips, j->work, j->nearest};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    qsr_packed_free(&j->packed);
}

/* ---- */

static size_t at_most(size_t n, size_t multiple_of) { return qsr_max_size(multiple_of, n / multiple_of * multiple_of); }

/* One range of columns, with all strips that have pairs there. */
static qsr_status sum_columns(job *j, qsr_pool *pool, size_t c0, size_t columns, qsr_error *e)
{
    j->c0 = c0;
    j->c1 = c0 + columns;
    if (j->packed.tiles) {
        const qsr_tiles *tiles = j->packed.tiles;
        qsr_packed_free(&j->packed);
        qsr_status status = qsr_packed_create(tiles, j->w + c0 * j->d, columns, j->d, true, &j->packed, e);
        if (status) return status;
        qsr_packed_fill(&j->packed, pool);
    }
    return qsr_pool_run(pool, qsr_div_up(j->c1, j->height), 1, sum_strips, j);
}

static qsr_status sum_all(job *j, qsr_pool *pool, size_t strips, bool want_nearest, qsr_error *e)
{
    qsr_status status = prepare(j, strips, want_nearest);
    if (!status) status = qsr_pool_run(pool, j->rows, NORMS, invert_norms, j);
    const size_t most = j->packed.tiles ? at_most(PANEL_FLOATS / j->d, j->width) : j->rows;
    for (size_t c0 = 0; !status && c0 < j->rows; c0 += most)
        status = sum_columns(j, pool, c0, qsr_min_size(most, j->rows - c0), e);
    return status;
}

qsr_status qsr_coherence_of(qsr_pool *pool, const float *w, size_t rows, size_t d, qsr_coherence *ret,
                            qsr_neighbour *ret_nearest, qsr_error *e)
{
    *ret = (qsr_coherence){NAN, NAN, NAN, NAN};
    if (rows && ret_nearest) ret_nearest[0] = (qsr_neighbour){NAN, UINT32_MAX};
    if (rows < 2) return QSR_OK;
    qsr_blas_start();
    const qsr_tiles *tiles = qsr_tiles_get();
    job j = {.w = w,
             .rows = rows,
             .d = d,
             .passes = qsr_kernels_get()->pairs,
             .packed = {.tiles = tiles, .d = d},
             .threads = qsr_pool_threads(pool)};
    j.height = tiles ? at_most(qsr_min_size(STRIP, STRIP_FLOATS / d), tiles->most_rows) : TILE;
    j.width = tiles ? qsr_packed_width(&j.packed) : WIDE;
    const size_t strips = qsr_div_up(rows, j.height);
    qsr_status status = sum_all(&j, pool, strips, ret_nearest != NULL, e);
    if (status) {
        qsr_fail(e, status, "out of memory: coherence of %zu decoder rows", rows);
    } else {
        *ret = combine(&j, strips);
        if (ret_nearest) merge_nearest(&j, ret_nearest);
    }
    release(&j);
    return status;
}

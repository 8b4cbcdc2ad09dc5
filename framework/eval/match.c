#include "eval/match.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/rows.h"

/* ---- assignment -------------------------------------------------------------------------------------------------- */

static const uint32_t none = UINT32_MAX;

/* Costs are the negated values, so the least cost is wanted. Duals: u[i] + v[j] <= cost(i, j), equal where i has j, and
 * v[j] <= 0 with equality for columns that nobody has; then no assignment costs less than sum u + sum v. */
typedef struct {
    const float *value; /* [rows][cols] */
    size_t rows, cols;
    double *u, *v, *distance;        /* [rows], [cols], [cols] */
    uint32_t *col_of, *row_of;       /* [rows], [cols]; none */
    uint32_t *from, *todo, *reached; /* [cols]: previous row of a path, columns ahead, columns behind */
    uint32_t *free_rows;             /* [rows] */
} assignment;

static const float *row_at(const assignment *a, size_t i) { return a->value + i * a->cols; }

/* The two least reduced costs of row i. Two columns or more. */
static void two_least(const assignment *a, size_t i, double *ret_first, uint32_t *ret_j, double *ret_second,
                      uint32_t *ret_j2)
{
    const float *value = row_at(a, i);
    double first = INFINITY, second = INFINITY;
    uint32_t j1 = 0, j2 = 0;
    for (uint32_t j = 0; j < a->cols; j++) {
        double cost = -(double)value[j] - a->v[j];
        if (cost >= second) continue;
        if (cost < first) {
            second = first;
            j2 = j1;
            first = cost;
            j1 = j;
        } else {
            second = cost;
            j2 = j;
        }
    }
    *ret_first = first;
    *ret_j = j1;
    *ret_second = second;
    *ret_j2 = j2;
}

/* Each free row bids for its best column, lowers that column's dual until its second best is as good, and sends away who had it
 * (augmenting row reduction). Columns never become free again, so their duals stay 0 until then. Returns how many rows are
 * still free, in a->free_rows. Rounding could make two rows bid for ever, hence the budget. */
static size_t bid(assignment *a, size_t n_free)
{
    size_t left = 0, budget = 8 * a->rows;
    for (size_t k = 0; k < n_free; k++) {
        uint32_t i = a->free_rows[k];
        for (;;) {
            double first, second;
            uint32_t j, j2;
            two_least(a, i, &first, &j, &second, &j2);
            double lowered = a->v[j] - (second - first);
            bool lowers = lowered < a->v[j];
            if (!lowers && a->row_of[j] != none) {
                j = j2;
                lowered = a->v[j];
            }
            uint32_t loser = a->row_of[j];
            a->v[j] = lowered;
            a->u[i] = second;
            a->row_of[j] = i;
            a->col_of[i] = j;
            if (loser == none) break;
            a->col_of[loser] = none;
            a->u[loser] = 0;
            i = loser;
            if (lowers && budget > 0) {
                budget--;
                continue;
            }
            a->free_rows[left++] = i; /* left <= k: each place was read before */
            break;
        }
    }
    return left;
}

/* The cheapest path from free row `start` over assigned pairs to a free column (Dijkstra over reduced costs), then the duals
 * that keep all reached pairs tight, then the change of partners along the path. */
static void augment(assignment *a, uint32_t start)
{
    size_t ahead = a->cols, behind = 0;
    for (uint32_t j = 0; j < a->cols; j++) {
        a->distance[j] = INFINITY;
        a->todo[j] = j;
    }
    double least = 0;
    uint32_t i = start, sink = none;
    while (sink == none) {
        const float *value = row_at(a, i);
        double offset = least - a->u[i], lowest = INFINITY;
        size_t at = 0;
        for (size_t t = 0; t < ahead; t++) {
            uint32_t j = a->todo[t];
            double distance = offset - (double)value[j] - a->v[j];
            if (distance < a->distance[j]) {
                a->distance[j] = distance;
                a->from[j] = i;
            }
            if (a->distance[j] < lowest || (a->distance[j] == lowest && a->row_of[j] == none)) {
                lowest = a->distance[j];
                at = t;
            }
        }
        uint32_t j = a->todo[at];
        least = lowest;
        if (a->row_of[j] == none)
            sink = j;
        else
            i = a->row_of[j];
        a->todo[at] = a->todo[--ahead];
        a->reached[behind++] = j;
    }
    a->u[start] += least;
    for (size_t t = 0; t + 1 < behind; t++) { /* the last one is the sink, at distance `least` */
        uint32_t j = a->reached[t];
        a->u[a->row_of[j]] += least - a->distance[j];
        a->v[j] -= least - a->distance[j];
    }
    for (uint32_t j = sink;;) {
        uint32_t row = a->from[j], before = a->col_of[row];
        a->row_of[j] = row;
        a->col_of[row] = j;
        if (row == start) break;
        j = before;
    }
}

/* How far the best conceivable total lies above the one found: the duals v alone give a bound, with each row at its best. */
static double gap_of(const assignment *a, double total)
{
    double bound = 0;
    for (size_t i = 0; i < a->rows; i++) {
        const float *value = row_at(a, i);
        double best = -INFINITY;
        for (size_t j = 0; j < a->cols; j++) best = fmax(best, (double)value[j] + a->v[j]);
        bound += best;
    }
    for (size_t j = 0; j < a->cols; j++) bound -= a->v[j];
    return bound - total;
}

static void solve(assignment *a)
{
    size_t n_free = a->rows;
    for (size_t i = 0; i < a->rows; i++) a->free_rows[i] = (uint32_t)i;
    for (size_t i = 0; i < a->rows; i++) a->col_of[i] = none;
    for (size_t j = 0; j < a->cols; j++) a->row_of[j] = none;
    for (int pass = 0; pass < 2 && n_free && a->cols > 1; pass++) n_free = bid(a, n_free);
    for (size_t k = 0; k < n_free; k++) augment(a, a->free_rows[k]);
}

static qsr_status check_values(const float *value, size_t rows, size_t cols, qsr_error *e)
{
    if (rows > cols || cols >= none)
        return qsr_fail(e, QSR_E_INTERNAL, "an assignment of %zu rows to %zu columns: rows must not exceed columns", rows,
                        cols);
    for (size_t i = 0; i < rows; i++) {
        size_t j = qsr_row_not_finite(value + i * cols, cols);
        if (j < cols) return qsr_fail(e, QSR_E_NUMERIC, "row %zu, column %zu of an assignment is not finite", i, j);
    }
    return QSR_OK;
}

qsr_status qsr_match_assign(const float *value, size_t rows, size_t cols, uint32_t *ret_col, double *ret_total,
                            double *ret_gap, qsr_error *e)
{
    qsr_status status = check_values(value, rows, cols, e);
    if (status) return status;
    double *real = qsr_block_alloc(rows + 2 * cols, sizeof *real);
    uint32_t *index = qsr_block_alloc(rows + 4 * cols, sizeof *index);
    if (real && index) {
        assignment a = {value,
                        rows,
                        cols,
                        real,
                        real + rows,
                        real + rows + cols,
                        ret_col,
                        index,
                        index + cols,
                        index + 2 * cols,
                        index + 3 * cols,
                        index + 4 * cols};
        solve(&a);
        *ret_total = 0;
        for (size_t i = 0; i < rows; i++) *ret_total += row_at(&a, i)[ret_col[i]];
        if (ret_gap) *ret_gap = gap_of(&a, *ret_total);
    } else {
        status = qsr_fail(e, QSR_E_NOMEM, "out of memory: an assignment of %zu rows to %zu columns", rows, cols);
    }
    qsr_block_free(real);
    qsr_block_free(index);
    return status;
}

/* ---- dictionaries ------------------------------------------------------------------------------------------------ */

enum { TILE = 256 };

/* Cosines of the rows of a with those of b, the smaller set being a. */
typedef struct {
    const float *a, *b;
    size_t rows, cols, d;
    double *inverse_a, *inverse_b; /* 1 / norm, or 0 */
    float *cosine;                 /* [rows][cols] */
} cosines;

static qsr_status fill_strips(void *arg, size_t begin, size_t end)
{
    cosines *c = arg;
    for (size_t i0 = begin * TILE; i0 < end * TILE && i0 < c->rows; i0 += TILE) {
        size_t rows = qsr_min_size(TILE, c->rows - i0);
        for (size_t k0 = 0; k0 < c->cols; k0 += TILE) {
            size_t cols = qsr_min_size(TILE, c->cols - k0);
            float *tile = c->cosine + i0 * c->cols + k0;
            qsr_gemm(false, true, rows, cols, c->d, 1, c->a + i0 * c->d, c->d, c->b + k0 * c->d, c->d, 0, tile, c->cols);
            for (size_t i = 0; i < rows; i++)
                for (size_t k = 0; k < cols; k++)
                    tile[i * c->cols + k] = (float)(tile[i * c->cols + k] * c->inverse_a[i0 + i] * c->inverse_b[k0 + k]);
        }
    }
    return QSR_OK;
}

static void invert_norms(const float *w, size_t rows, size_t d, double *inverse)
{
    for (size_t i = 0; i < rows; i++) {
        double norm = qsr_row_norm(w + i * d, d);
        inverse[i] = norm > 0 ? 1 / norm : 0;
    }
}

/* Mean over features of the largest signed cosine; the features are the rows of the matrix, or its columns. */
static double mean_of_largest(const cosines *c, bool by_column, double *largest)
{
    size_t n = by_column ? c->cols : c->rows;
    double sum = 0;
    for (size_t f = 0; f < n; f++) largest[f] = -INFINITY;
    for (size_t i = 0; i < c->rows; i++)
        for (size_t k = 0; k < c->cols; k++) {
            double *best = &largest[by_column ? k : i], cosine = c->cosine[i * c->cols + k];
            if (cosine > *best) *best = cosine;
        }
    for (size_t f = 0; f < n; f++) sum += largest[f];
    return sum / (double)n;
}

static qsr_status match_cosines(cosines *c, bool swapped, qsr_match *ret, uint32_t *ret_partner, uint32_t *col,
                                qsr_error *e)
{
    size_t n_features = swapped ? c->cols : c->rows;
    double total, gap;
    double by_row = mean_of_largest(c, false, c->inverse_a), by_column = mean_of_largest(c, true, c->inverse_b); /* the norms have served */
    ret->mmcs = swapped ? by_column : by_row;
    ret->mmcs_back = swapped ? by_row : by_column;
    for (size_t i = 0; i < c->rows * c->cols; i++) c->cosine[i] = fabsf(c->cosine[i]);
    qsr_status status = qsr_match_assign(c->cosine, c->rows, c->cols, col, &total, &gap, e);
    if (status) return status;
    ret->mcc = total / (double)n_features;
    ret->gap = gap / (double)n_features;
    for (size_t f = 0; ret_partner && f < n_features; f++) ret_partner[f] = swapped ? none : col[f];
    for (size_t i = 0; ret_partner && swapped && i < c->rows; i++) ret_partner[col[i]] = (uint32_t)i;
    return QSR_OK;
}

qsr_status qsr_match_of(qsr_pool *pool, const float *features, size_t n_features, const float *dictionary, size_t n_rows,
                        size_t d, qsr_match *ret, uint32_t *ret_partner, qsr_error *e)
{
    *ret = (qsr_match){NAN, NAN, NAN, NAN};
    for (size_t f = 0; ret_partner && f < n_features; f++) ret_partner[f] = none;
    if (!n_features || !n_rows) return QSR_OK;
    bool swapped = n_features > n_rows;
    cosines c = {.a = swapped ? dictionary : features, .b = swapped ? features : dictionary, .d = d};
    c.rows = swapped ? n_rows : n_features;
    c.cols = swapped ? n_features : n_rows;
    c.inverse_a = qsr_block_raw(c.rows, sizeof(double));
    c.inverse_b = qsr_block_raw(c.cols, sizeof(double));
    size_t entries;
    c.cosine = qsr_mul_size(c.rows, c.cols, &entries) ? qsr_block_raw(entries, sizeof(float)) : NULL;
    uint32_t *col = qsr_block_raw(c.rows, sizeof *col);
    qsr_status status = QSR_E_NOMEM;
    if (c.inverse_a && c.inverse_b && c.cosine && col) {
        qsr_blas_start();
        invert_norms(c.a, c.rows, d, c.inverse_a);
        invert_norms(c.b, c.cols, d, c.inverse_b);
        status = qsr_pool_run(pool, qsr_div_up(c.rows, TILE), 1, fill_strips, &c);
        if (!status) status = match_cosines(&c, swapped, ret, ret_partner, col, e);
    } else {
        qsr_fail(e, status, "out of memory: the cosines of %zu features with %zu dictionary rows", n_features, n_rows);
    }
    qsr_block_free(c.inverse_a);
    qsr_block_free(c.inverse_b);
    qsr_block_free(c.cosine);
    qsr_block_free(col);
    return status;
}

/* math/pairs: what the products and cosines of many pairs of rows come to, block by block of their products. */
#ifndef QSR_MATH_PAIRS_H
#define QSR_MATH_PAIRS_H
#include <stddef.h>
#include <stdint.h>

/* product[rows][ld]: w_i . w_k, whose cosine is (product * row_factor[i]) * column_factor[k] in double. Rows and columns are different
 * ones of the matrix: no pair is met with itself. */
typedef struct {
    const float *product;
    size_t ld, rows, columns; /* columns: a multiple of qsr_pair_passes.columns */
    const double *row_factor, *column_factor;
    uint32_t row0, column0; /* what the first is called */
} qsr_pair_block;

/* In lanes, which qsr_pair_sums_all puts together. Begin with qsr_pair_sums_begin. NaN is in the sums and never the largest. */
enum { QSR_PAIR_LANES = 8 };
typedef struct {
    double cosine_sum[QSR_PAIR_LANES], cosine_max[QSR_PAIR_LANES]; /* of |cosine| */
    double product_sum[QSR_PAIR_LANES], product_max[QSR_PAIR_LANES];
} qsr_pair_sums;
void qsr_pair_sums_begin(qsr_pair_sums *);
typedef struct {
    double cosine_max, cosine_sum, product_max, product_sum;
} qsr_pair_totals;
qsr_pair_totals qsr_pair_sums_all(const qsr_pair_sums *);

/* The largest |cosine| that one row met, in lanes: signed, and with whom (-1: above 0 nobody). Of equal ones the first stays, and a
 * lane meets columns in ascending order. */
typedef struct {
    double cosine[QSR_PAIR_LANES];
    int64_t other[QSR_PAIR_LANES];
} qsr_pair_best;
void qsr_pair_best_begin(qsr_pair_best *);

/* The passes of one instruction set (pairs-body.c). */
typedef struct {
    size_t columns;
    /* Adds a block to the sums. */
    void (*add)(const qsr_pair_block *, qsr_pair_sums *);
    /* The same, and the best of each row, [rows], is kept up to date, and that of each column written: signed, and with whom, or -1; of
     * equal ones the first. */
    void (*add_nearest)(const qsr_pair_block *, qsr_pair_sums *, qsr_pair_best *row, double *column_cosine,
                        int64_t *column_other);
} qsr_pair_passes;
/* NULL: not built, or not on this processor. */
const qsr_pair_passes *qsr_pair_passes_named(const char *isa);
#endif

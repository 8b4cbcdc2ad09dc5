/* pairs: each instruction set's passes against plain loops. Products are small whole numbers and factors powers of two, so that sums are
 * exact and equal cosines frequent. */
#include "../unit.h"

#include "base/rng.h"
#include "math/pairs.h"

enum { MOST_ROWS = 40, MOST_COLUMNS = 96, LD = MOST_COLUMNS + 5, ROW0 = 1000, COLUMN0 = 5000 };
static float product[MOST_ROWS * LD];
static double row_factor[MOST_ROWS], column_factor[MOST_COLUMNS];

static void fill(uint64_t seed)
{
    const qsr_rng rng = qsr_rng_make(seed, "pairs");
    for (size_t i = 0; i < MOST_ROWS * LD; i++) product[i] = (float)((int)qsr_rng_below(&rng, i, 21) - (seed ? 10 : 25));
    for (size_t i = 0; i < MOST_ROWS; i++) row_factor[i] = i % 7 == 3 ? 0 : ldexp(1, (int)(i % 3) - 4);
    for (size_t k = 0; k < MOST_COLUMNS; k++) column_factor[k] = k % 11 == 5 ? 0 : ldexp(1, (int)(k % 4) - 3);
}

static double cosine(size_t i, size_t k) { return (double)product[i * LD + k] * row_factor[i] * column_factor[k]; }

static void check_sums(const qsr_pair_sums *lanes, size_t rows, size_t columns)
{
    const qsr_pair_totals got = qsr_pair_sums_all(lanes);
    qsr_pair_totals want = {0, 0, -INFINITY, 0};
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < columns; k++) {
            want.cosine_sum += fabs(cosine(i, k));
            want.product_sum += (double)product[i * LD + k];
            want.cosine_max = fmax(want.cosine_max, fabs(cosine(i, k)));
            want.product_max = fmax(want.product_max, (double)product[i * LD + k]);
        }
    assert_true(got.cosine_sum == want.cosine_sum && got.product_sum == want.product_sum);
    assert_true(got.cosine_max == want.cosine_max && got.product_max == want.product_max);
}

/* The first column with the largest |cosine| of a row, from its lanes; COLUMN0 - 1: none. */
static size_t best_of(const qsr_pair_best *best, double *ret_cosine)
{
    size_t with = COLUMN0 - 1;
    *ret_cosine = 0;
    for (size_t lane = 0; lane < QSR_PAIR_LANES; lane++) {
        const double a = fabs(best->cosine[lane]), b = fabs(*ret_cosine);
        if (best->other[lane] < 0 || a < b || (a == b && (size_t)best->other[lane] > with)) continue;
        *ret_cosine = best->cosine[lane];
        with = (size_t)best->other[lane];
    }
    return with;
}

static void check_nearest(const qsr_pair_best *best, const double *column_cosine, const int64_t *column_other, size_t rows,
                          size_t columns)
{
    for (size_t i = 0; i < rows; i++) {
        size_t with = COLUMN0 - 1;
        double most = 0, got;
        for (size_t k = 0; k < columns; k++)
            if (fabs(cosine(i, k)) > fabs(most)) most = cosine(i, k), with = COLUMN0 + k;
        assert_int_equal(best_of(&best[i], &got), with);
        assert_true(got == most);
    }
    for (size_t k = 0; k < columns; k++) {
        int64_t with = -1;
        double most = 0;
        for (size_t i = 0; i < rows; i++)
            if (fabs(cosine(i, k)) > fabs(most)) most = cosine(i, k), with = (int64_t)(ROW0 + i);
        assert_true(column_other[k] == with && column_cosine[k] == most);
    }
}

static void agree_with_plain_loops(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    static const size_t heights[] = {1, 2, 13, MOST_ROWS};
    for (size_t set = 0; set < 3; set++) {
        const qsr_pair_passes *passes = qsr_pair_passes_named(sets[set]);
        if (!passes) print_message("%s: not tested, this processor lacks it\n", sets[set]);
        for (uint64_t seed = 0; passes && seed < 4; seed++)
            for (size_t h = 0; h < 4; h++) {
                const size_t rows = heights[h], columns = MOST_COLUMNS / passes->columns * passes->columns;
                fill(seed);
                qsr_pair_sums sums, again;
                qsr_pair_best best[MOST_ROWS];
                double column_cosine[MOST_COLUMNS];
                int64_t column_other[MOST_COLUMNS];
                qsr_pair_sums_begin(&sums);
                qsr_pair_sums_begin(&again);
                for (size_t i = 0; i < rows; i++) qsr_pair_best_begin(&best[i]);
                /* In two parts, the second going on where the first ended. */
                const size_t half = columns / 2 / passes->columns * passes->columns;
                const qsr_pair_block parts[] = {{product, LD, rows, half, row_factor, column_factor, ROW0, COLUMN0},
                                                {product + half, LD, rows, columns - half, row_factor, column_factor + half,
                                                 ROW0, (uint32_t)(COLUMN0 + half)}};
                for (size_t p = 0; p < 2; p++) {
                    passes->add_nearest(&parts[p], &sums, best, column_cosine + p * half, column_other + p * half);
                    passes->add(&parts[p], &again);
                }
                check_sums(&sums, rows, columns);
                check_sums(&again, rows, columns);
                check_nearest(best, column_cosine, column_other, rows, columns);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agree_with_plain_loops)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

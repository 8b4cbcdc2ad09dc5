/* sparse: decodes and dot products of codes, whichever way they are walked, on every instruction set. */
#include "../unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "math/kernel.h"
#include "math/sparse.h"

enum { D_SAE = 300, ROWS = 518, MOST = 400, ENTRIES = D_SAE * ROWS };
static const size_t widths[] = {1, 4, 15, 33, 96, 100, 400};
static float w[D_SAE * MOST], x[ROWS * MOST], bias[MOST], out[ROWS * MOST], alone[4 * MOST], d_value[ENTRIES], d_alone[ENTRIES];
static uint32_t latent[ENTRIES];
static float value[ENTRIES];
static size_t row_begin[ROWS + 1];
static qsr_code code;

/* Each entry is there with this probability, in rows 101 to 139 always half of them. */
static void make_code(double density)
{
    qsr_rng rng = qsr_rng_make(1, "sparse");
    uint64_t at = 0;
    size_t n = 0;
    for (size_t i = 0; i < D_SAE * MOST; i++) w[i] = (float)qsr_rng_normal(&rng, at++);
    for (size_t i = 0; i < ROWS * MOST; i++) x[i] = (float)qsr_rng_normal(&rng, at++);
    for (size_t i = 0; i < MOST; i++) bias[i] = (float)qsr_rng_normal(&rng, at++);
    for (size_t r = 0; r < ROWS; r++) {
        for (uint32_t j = 0; j < D_SAE; j++, at += 2) {
            if (qsr_rng_unit(&rng, at) >= (r < 101 || r > 139 ? density : 0.5)) continue;
            latent[n] = j;
            value[n++] = (float)qsr_rng_normal(&rng, at + 1);
        }
        row_begin[r + 1] = n;
    }
    code = (qsr_code){.struct_size = sizeof code,
                      .d_sae = D_SAE,
                      .rows = ROWS,
                      .capacity = n,
                      .row_begin = row_begin,
                      .latent = latent,
                      .value = value};
}

/* Some rows as a code of their own. */
static qsr_code rows_of(size_t r, size_t rows)
{
    qsr_code some = code;
    some.rows = rows, some.row_begin = row_begin + r;
    return some;
}

/* A float32 sum of n products is off by at most (n + 1) u sum |a b|, u = 2^-24 (Higham, 3.1), in any order, fused or not. */
static void check_sum(const char *what, double got, double want, double magnitude, size_t n)
{
    if (fabs(got - want) > (double)(n + 1) * 0x1p-24 * magnitude) fail_msg("%s: %.9g, in double %.9g", what, got, want);
}

static void check_decode(size_t d, uint32_t begin, uint32_t end, bool with_bias)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < d; i++) {
            double sum = with_bias ? bias[i] : 0, magnitude = fabs(sum);
            for (size_t e = row_begin[r]; e < row_begin[r + 1]; e++) {
                if (latent[e] < begin || latent[e] >= end) continue;
                double term = (double)value[e] * w[latent[e] * d + i];
                sum += term, magnitude += fabs(term);
            }
            check_sum("decode", out[r * d + i], sum, magnitude, D_SAE);
        }
}

static void check_dots(size_t d, uint32_t begin, uint32_t end)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t e = row_begin[r]; e < row_begin[r + 1]; e++) {
            double sum = 3, magnitude = 3;
            for (size_t i = 0; i < d && latent[e] >= begin && latent[e] < end; i++) {
                double term = (double)w[latent[e] * d + i] * x[r * d + i];
                sum += term, magnitude += fabs(term);
            }
            check_sum("dots", d_value[e], sum, magnitude, d + 1);
        }
}

static const double densities[] = {0, 0.005, 0.05, 0.2, 0.5, 1};

static void numbers_are_right(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof densities / sizeof *densities; k++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            size_t d = widths[i];
            uint32_t begin = i % 2 ? 0 : 37, end = i % 3 ? D_SAE : 251;
            make_code(densities[k]);
            qsr_sparse_decode(&code, begin, end, w, d, i % 2 ? bias : NULL, out, NULL);
            check_decode(d, begin, end, i % 2);
            for (size_t e = 0; e < row_begin[ROWS]; e++) d_value[e] = 3;
            qsr_sparse_dots(&code, begin, end, w, d, x, d_value, NULL);
            check_dots(d, begin, end);
        }
}

/* Four rows are decoded alike whatever stands around them, and dot products are those of a row alone, which is never in a quartet. */
static void blocks_do_not_show(void **state)
{
    (void)state;
    for (size_t k = 1; k < sizeof densities / sizeof *densities; k++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            size_t d = widths[i];
            make_code(densities[k]);
            memset(d_value, 0, sizeof d_value);
            memset(d_alone, 0, sizeof d_alone);
            qsr_sparse_decode(&code, 0, D_SAE, w, d, bias, out, NULL);
            qsr_sparse_dots(&code, 0, D_SAE, w, d, x, d_value, NULL);
            for (size_t r = 0, rows; r < ROWS; r += rows) {
                rows = r + 4 <= ROWS ? 4 : ROWS - r;
                qsr_code some = rows_of(r, rows);
                qsr_sparse_decode(&some, 0, D_SAE, w, d, bias, alone, NULL);
                assert_memory_equal(alone, out + r * d, rows * d * sizeof(float));
            }
            for (size_t r = 0; r < ROWS; r++) {
                qsr_code one = rows_of(r, 1);
                qsr_sparse_dots(&one, 0, D_SAE, w, d, x + r * d, d_alone, NULL);
            }
            assert_memory_equal(d_alone, d_value, row_begin[ROWS] * sizeof(float));
        }
}

static void all_three_ways_are_gone(void **state)
{
    (void)state;
    qsr_sparse_count count = {0};
    make_code(0.2);
    qsr_sparse_decode(&code, 0, D_SAE, w, 16, NULL, out, &count);
    assert_int_equal(count.in_quartets, 6); /* two panels, three stretches of rows; two rows are left over */
    assert_int_equal(count.by_row + count.in_panels, 2);
    make_code(0.05);
    memset(&count, 0, sizeof count);
    qsr_sparse_dots(&code, 0, 128, w, 16, x, d_value, &count);
    assert_int_equal(count.in_panels, 3);
    assert_int_equal(count.in_quartets, 1); /* there are some only in the stretch with the denser rows */
    make_code(0.005);
    memset(&count, 0, sizeof count);
    qsr_sparse_dots(&code, 0, 128, w, 16, x, d_value, &count);
    assert_int_equal(count.by_row, 3);
}

/* Every set against sums in double. */
static void every_instruction_set_is_right(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    enum { N = 13 };
    uint32_t index[N];
    float factor[N], sum[MOST], dots[N];
    make_code(0);
    for (size_t e = 0; e < N; e++) index[e] = (uint32_t)(5 * e), factor[e] = x[e];
    for (size_t s = 0; s < 3; s++) {
        const qsr_kernels *k = qsr_kernels_named(sets[s]);
        for (size_t i = 0; k && i < sizeof widths / sizeof *widths; i++) {
            size_t d = widths[i];
            memset(sum, 0, sizeof sum);
            k->sparse->gather(index, factor, N, w, d, d, sum);
            k->sparse->dots(index, N, w, d, d, x, dots);
            for (size_t c = 0; c < d; c++) {
                double want = 0, magnitude = 0;
                for (size_t e = 0; e < N; e++)
                    want += (double)factor[e] * w[index[e] * d + c],
                        magnitude += fabs((double)factor[e] * w[index[e] * d + c]);
                check_sum(sets[s], sum[c], want, magnitude, N);
            }
            for (size_t e = 0; e < N; e++) {
                double want = 0, magnitude = 0;
                for (size_t c = 0; c < d; c++)
                    want += (double)x[c] * w[index[e] * d + c], magnitude += fabs((double)x[c] * w[index[e] * d + c]);
                check_sum(sets[s], dots[e], want, magnitude, d);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_right), cmocka_unit_test(blocks_do_not_show),
        cmocka_unit_test(all_three_ways_are_gone), cmocka_unit_test(every_instruction_set_is_right)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

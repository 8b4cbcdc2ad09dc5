/* quartet: four rows by masks, on every instruction set, against sums in double. */
#include "../unit.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "math/kernel.h"

enum { PANEL = QSR_QUARTET_PANEL, STRIP = QSR_QUARTET_STRIP, MOST = 400 };
static const char *const sets[] = {"portable", "avx2", "avx512"};
static const double densities[] = {0, 0.03, 0.2, 0.5, 0.9, 1};
static float m[2 * PANEL * MOST], x[8 * MOST], sums[8 * MOST], start[8 * MOST], factor[PANEL][4], packed[PANEL][STRIP],
    dots[PANEL][4];
static uint8_t mask[PANEL];

static void make_panel(size_t n, double density, uint64_t seed)
{
    qsr_rng rng = qsr_rng_make(seed, "quartet");
    uint64_t at = 0;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) m[i] = (float)qsr_rng_normal(&rng, at++);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (float)qsr_rng_normal(&rng, at++), start[i] = (float)qsr_rng_normal(&rng, at++);
    for (size_t i = 0; i < n; i++) {
        mask[i] = 0;
        for (size_t o = 0; o < 4; o++) {
            factor[i][o] = (float)qsr_rng_normal(&rng, at++);
            if (qsr_rng_unit(&rng, at++) < density)
                mask[i] |= (uint8_t)(1u << o);
            else
                factor[i][o] = NAN; /* not to be read */
        }
    }
}

/* A float32 sum of n products is off by at most (n + 1) u sum |a b|, u = 2^-24 (Higham, 3.1), in any order, fused or not. */
static void check_sum(const char *what, double got, double want, double magnitude, size_t n)
{
    if (!(fabs(got - want) <= (double)(n + 1) * 0x1p-24 * magnitude)) fail_msg("%s: %.9g, in double %.9g", what, got, want);
}

static void items_are_in_order_of_mask(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof densities / sizeof *densities; k++)
        for (size_t n = 0; n <= PANEL; n += 1 + n / 3) {
            qsr_quartet q;
            size_t used = 0;
            make_panel(n, densities[k], n);
            qsr_quartet_sort(mask, n, &q);
            assert_int_equal(q.begin[0], 0);
            assert_int_equal(q.begin[1], 0);
            for (size_t i = 0; i < n; i++) used += mask[i] != 0;
            assert_int_equal(q.begin[16], used);
            for (unsigned b = 1; b < 16; b++)
                for (size_t i = q.begin[b]; i < q.begin[b + 1]; i++) {
                    assert_int_equal(mask[q.item[i]], b);
                    if (i > q.begin[b]) assert_true(q.item[i] > q.item[i - 1]);
                }
        }
}

static void check_gather(const char *set, size_t n, size_t d)
{
    for (size_t o = 0; o < 4; o++)
        for (size_t c = 0; c < d; c++) {
            double want = start[o * MOST + c], magnitude = fabs(want);
            for (size_t i = 0; i < n; i++)
                if (mask[i] >> o & 1) {
                    double term = (double)factor[i][o] * packed[i][c];
                    want += term, magnitude += fabs(term);
                }
            check_sum(set, sums[o * MOST + c], want, magnitude, n + 1);
        }
}

static void sums_are_right(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 7, 16, 33, 47, 80, 95, 96};
    for (size_t s = 0; s < 3; s++) {
        const qsr_kernels *k = qsr_kernels_named(sets[s]);
        for (size_t i = 0; k && i < sizeof densities / sizeof *densities; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
                size_t d = widths[j], n = j % 2 ? PANEL : 61;
                qsr_quartet q;
                make_panel(n, densities[i], j);
                qsr_quartet_sort(mask, n, &q);
                k->quartet->pack(m, 130, n, d, packed[0]);
                for (size_t r = 0; r < n; r++)
                    for (size_t c = 0; c < STRIP; c++) assert_true(packed[r][c] == (c < d ? m[r * 130 + c] : 0));
                memcpy(sums, start, sizeof sums);
                k->quartet->gather(&q, factor[0], packed[0], d, sums, MOST);
                check_gather(sets[s], n, d);
                for (size_t o = 0; o < 4; o++) assert_true(sums[o * MOST + d] == start[o * MOST + d]);
            }
    }
}

/* Dot products are those of qsr_dots, to the bit, which test_sparse compares with sums in double. */
static void dot_products_are_those_of_one_row(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 4, 15, 16, 33, 100, 400};
    for (size_t s = 0; s < 3; s++) {
        const qsr_kernels *k = qsr_kernels_named(sets[s]);
        for (size_t i = 0; k && i < sizeof densities / sizeof *densities; i++)
            for (size_t j = 0; j < sizeof widths / sizeof *widths; j++) {
                size_t d = widths[j], n = j % 2 ? PANEL : 61;
                qsr_quartet q;
                make_panel(n, densities[i], j);
                qsr_quartet_sort(mask, n, &q);
                k->quartet->dots(&q, m, d, d, x, MOST, dots[0], m, j % 3 ? 0 : n * d);
                for (uint32_t e = 0; e < n; e++)
                    for (size_t o = 0; o < 4; o++) {
                        float want;
                        if (!(mask[e] >> o & 1)) continue;
                        k->sparse->dots(&e, 1, m, d, d, x + o * MOST, &want);
                        assert_memory_equal(&dots[e][o], &want, sizeof want);
                    }
            }
    }
}

/* Two quartets over eight rows of sums, the second one first, over two panels and several strips. */
static void many_quartets_are_each_on_its_own(void **state)
{
    (void)state;
    enum { ITEMS = PANEL + 33, D = 230 };
    qsr_rng rng = qsr_rng_make(4, "quartets");
    qsr_quartets t;
    make_panel(PANEL, 0.5, 9);
    qsr_quartets_create(2, 2 * PANEL, 1, &t);
    t.row[0] = 4, t.row[1] = 0;
    for (int round = 0; round < 2; round++) {
        qsr_quartets_clear(&t, ITEMS);
        static double want[8 * MOST], magnitude[8 * MOST];
        for (size_t i = 0; i < 8 * MOST; i++) want[i] = start[i], magnitude[i] = fabs(start[i]);
        for (uint64_t e = 0; e < 500; e++) {
            uint64_t at = 5 * (e + 500 * (uint64_t)round);
            size_t q = qsr_rng_unit(&rng, at) < 0.5, o = (size_t)(4 * qsr_rng_unit(&rng, at + 1)),
                   i = (size_t)(ITEMS * qsr_rng_unit(&rng, at + 2));
            uint8_t *bit = qsr_quartets_mask(&t, i / PANEL, q) + i % PANEL;
            if (*bit >> o & 1) continue;
            float v = (float)qsr_rng_normal(&rng, at + 3);
            *bit |= (uint8_t)(1u << o);
            qsr_quartets_value(&t, 0, i / PANEL, q)[4 * (i % PANEL) + o] = v;
            for (size_t c = 0; c < D; c++) {
                want[(t.row[q] + o) * MOST + c] += (double)v * m[i * MOST + c];
                magnitude[(t.row[q] + o) * MOST + c] += fabs((double)v * m[i * MOST + c]);
            }
        }
        memcpy(sums, start, sizeof sums);
        qsr_quartets_sort(&t);
        qsr_quartets_gather(&t, t.value[0], m, MOST, D, sums, MOST);
        for (size_t i = 0; i < 8 * MOST; i++) check_sum("many", sums[i], want[i], magnitude[i], ITEMS + 1);
    }
    qsr_quartets_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(items_are_in_order_of_mask), cmocka_unit_test(sums_are_right),
                                       cmocka_unit_test(dot_products_are_those_of_one_row),
                                       cmocka_unit_test(many_quartets_are_each_on_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

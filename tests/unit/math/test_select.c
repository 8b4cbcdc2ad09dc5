/* select: against a full sort, on random, tied, heavy-tailed, tiny and not-a-number inputs. */
#include "../unit.h"

#include "base/rng.h"
#include "math/select.h"

enum { MOST = 5000 };
static float v[MOST];
static uint32_t got[MOST], want[MOST];

static int larger(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (v[i] != v[j]) return v[i] > v[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static int ascending(const void *a, const void *b)
{
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    return i < j ? -1 : i > j;
}

static size_t by_sorting(size_t n, size_t k)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i] > 0) want[count++] = (uint32_t)i;
    qsort(want, count, sizeof *want, larger);
    if (count > k) count = k;
    qsort(want, count, sizeof *want, ascending);
    return count;
}

static void compare(size_t n, size_t k)
{
    size_t expected = by_sorting(n, k), found = qsr_select_largest(v, n, k, got);
    assert_int_equal(found, expected);
    assert_memory_equal(got, want, expected * sizeof *want);
}

static void fill(int kind, size_t n, uint64_t seed)
{
    qsr_rng rng = qsr_rng_make(seed, "select");
    for (size_t i = 0; i < n; i++) {
        double z = qsr_rng_normal(&rng, i);
        switch (kind) {
        case 0: v[i] = (float)z; break;
        case 1: v[i] = (float)round(z * 2); break;               /* many ties */
        case 2: v[i] = (float)exp(8 * z); break;                 /* heavy tail, all positive */
        case 3: v[i] = z > 2 ? (float)z : -1; break;             /* few positive */
        case 4: v[i] = 1; break;                                 /* all tied */
        case 5: v[i] = i % 7 ? (float)z : (i % 2 ? NAN : INFINITY); break;
        default: v[i] = (float)(z * 1e-42); break;               /* subnormal */
        }
    }
}

static void equals_a_full_sort(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 512, 2048, 4999}, ks[] = {0, 1, 2, 16, 31, 64, 200, 1000, 6000};
    for (int kind = 0; kind < 7; kind++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            fill(kind, sizes[s], (uint64_t)kind * 100 + s);
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) compare(sizes[s], ks[i]);
        }
}

static void never_selects_nan_or_nonpositive(void **state)
{
    (void)state;
    v[0] = NAN, v[1] = -1, v[2] = 0, v[3] = -0.0f, v[4] = 1e-45f;
    assert_int_equal(qsr_select_largest(v, 5, 5, got), 1);
    assert_int_equal(got[0], 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_a_full_sort), cmocka_unit_test(never_selects_nan_or_nonpositive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

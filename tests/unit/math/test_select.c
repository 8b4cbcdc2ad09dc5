/* select: against a full sort, on random, tied, heavy-tailed, tiny and not-a-number inputs. */
#include "../unit.h"

#include <float.h>

#include "base/rng.h"
#include "math/select.h"

enum { MOST = 5000, KINDS = 11 };
static float v[MOST];
static uint32_t got[MOST + 1], want[MOST];

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
    memset(got, 0xee, sizeof got);
    size_t expected = by_sorting(n, k), found = qsr_select_largest(v, n, k, got);
    assert_int_equal(found, expected);
    assert_memory_equal(got, want, expected * sizeof *want);
    assert_int_equal(got[k < MOST ? k : MOST], 0xeeeeeeee); /* k places are enough */
    float cut = expected == k && k > 0 ? INFINITY : 0;
    for (size_t i = 0; i < expected && cut > 0; i++) cut = v[want[i]] < cut ? v[want[i]] : cut;
    if (k > 0) assert_true(qsr_select_cut(v, n, k) == cut);
}

static void fill(int kind, size_t n, uint64_t seed)
{
    qsr_rng rng = qsr_rng_make(seed, "select");
    for (size_t i = 0; i < n; i++) {
        double z = qsr_rng_normal(&rng, i);
        switch (kind) {
        case 0:
            v[i] = (float)z;
            break;
        case 1:
            v[i] = (float)round(z * 2);
            break; /* many ties */
        case 2:
            v[i] = (float)exp(8 * z);
            break; /* heavy tail, all positive */
        case 3:
            v[i] = z > 2 ? (float)z : -1;
            break; /* few positive */
        case 4:
            v[i] = 1;
            break; /* all tied */
        case 5:
            v[i] = i % 7 ? (float)z : (i % 2 ? NAN : INFINITY);
            break;
        case 6:
            v[i] = (float)(z * 1e-42);
            break; /* subnormal */
        case 7:
            v[i] = (float)fmin(exp(40 * z), FLT_MAX);
            break; /* from subnormal to the largest */
        case 8:
            v[i] = i == n / 2 ? FLT_MAX : (float)(fabs(z) * 1e-40);
            break; /* one huge among subnormal ones */
        case 9:
            v[i] = i % 50 ? FLT_TRUE_MIN : INFINITY;
            break; /* the ends alone, tied */
        default:
            v[i] = i == n / 3 ? 1 : 1e-38f;
            break; /* one far above the others, which tie */
        }
    }
}

static void equals_a_full_sort(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 100, 300, 501, 512, 2048, 4999},
                        ks[] = {0, 1, 2, 16, 31, 64, 200, 300, 384, 1000, 6000};
    for (int kind = 0; kind < KINDS; kind++)
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

/* The passes of every instruction set give what the portable ones give, and those what they say. */
static void passes_agree(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 100, 333, 4999};
    static float slack[MOST], maxima[2][MOST], value[2][MOST + QSR_SELECT_LANES];
    static uint32_t index[2][MOST + QSR_SELECT_LANES];
    for (size_t i = 0; i < MOST; i++) slack[i] = ldexpf(1, (int)(i % 7) - 5);
    for (size_t s = 0; s < 3; s++) {
        const qsr_select_passes *plain = qsr_select_passes_named("portable"), *fast = qsr_select_passes_named(sets[s]);
        if (!fast) {
            print_message("%s: not tested, this processor lacks it\n", sets[s]);
            continue;
        }
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++) {
                size_t n = sizes[c], room = n + QSR_SELECT_LANES;
                fill(kind, n, c);
                for (int with = 0; with < 2;
                     with++) { /* factor 2: the product is exact, so that fusing it changes nothing */
                    size_t groups = plain->maxima(v, with ? slack : NULL, 2, n, 3, maxima[0]);
                    assert_int_equal(fast->maxima(v, with ? slack : NULL, 2, n, 3, maxima[1]), groups);
                    assert_int_equal(groups, n / 48 * 16);
                    for (size_t g = 0; g < groups; g++) assert_true(maxima[0][g] == maxima[1][g]);
                }
                float most = 0;
                for (size_t i = 0; i < n; i++) most = v[i] > most ? v[i] : most;
                assert_true(plain->largest(v, n) == most && fast->largest(v, n) == most);
                const float bounds[] = {-1, 0, 0.5f, 1, 2, 1e30f, -INFINITY, INFINITY, 1e-41f};
                for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
                    size_t count = plain->reaching(v, n, bounds[b], room, index[0], value[0]), wanted = 0;
                    assert_int_equal(fast->reaching(v, n, bounds[b], room, index[1], value[1]), count);
                    for (size_t i = 0; i < n; i++) {
                        if (!(v[i] >= bounds[b])) continue;
                        assert_int_equal(index[1][wanted], i);
                        assert_true(value[1][wanted] == v[i] && index[0][wanted] == i);
                        wanted++;
                    }
                    assert_int_equal(count, wanted);
                    assert_int_equal(plain->count(v, n, bounds[b]), wanted);
                    assert_int_equal(fast->count(v, n, bounds[b]), wanted);
                    if (count > 40) assert_true(fast->reaching(v, n, bounds[b], 40, index[1], value[1]) == SIZE_MAX);
                }
            }
    }
}

/* Above a threshold for all or one for each, by every instruction set; nothing is written behind the room of n. */
static void finds_what_is_above(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 100, 333, 4999};
    static const float scalars[] = {0, -1, 0.5f, 1e30f, -INFINITY, INFINITY, NAN};
    static float threshold[MOST], value[MOST];
    for (size_t s = 0; s < 3; s++) {
        const qsr_select_passes *passes = qsr_select_passes_named(sets[s]);
        for (int kind = 0; passes && kind < KINDS; kind++)
            for (size_t c = 0; c < sizeof sizes / sizeof *sizes; c++)
                for (size_t t = 0; t < 2 * sizeof scalars / sizeof *scalars; t++) {
                    const size_t n = sizes[c];
                    const float scalar = scalars[t / 2];
                    fill(kind, n, c);
                    for (size_t i = 0; i < n; i++) threshold[i] = i % 3 ? scalar : v[i];
                    got[n] = 77, value[n] = -7;
                    const size_t count = passes->above(v, t % 2 ? threshold : NULL, scalar, n, got, value);
                    size_t wanted = 0;
                    for (size_t i = 0; i < n; i++) {
                        if (!(v[i] > (t % 2 ? threshold[i] : scalar))) continue;
                        assert_int_equal(got[wanted], i);
                        assert_true(value[wanted++] == v[i]);
                    }
                    assert_int_equal(count, wanted);
                    assert_true(got[n] == 77 && value[n] == -7);
                }
    }
}

/* At least k of the lower values reach the bound, and not many more; the cut is the k-th of a full sort. */
static void bounds_and_cuts(void **state)
{
    (void)state;
    static const size_t ks[] = {1, 2, 7, 40, 312};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < 5; i++) {
            fill(kind, MOST, i);
            size_t count = by_sorting(MOST, ks[i]), reach = 0, least = 0;
            float bound = qsr_select_bound(v, NULL, 0, MOST, ks[i]), cut = qsr_select_cut(v, MOST, ks[i]);
            for (size_t e = 0; e < MOST; e++) reach += v[e] >= bound;
            for (size_t e = 1; e < count; e++) least = v[want[e]] < v[want[least]] ? e : least;
            if (bound > 0) assert_true(reach >= ks[i]);
            if (kind == 0 && bound > 0) assert_true(reach <= 8 * ks[i]);
            if (count == ks[i])
                assert_true(cut == v[want[least]]);
            else
                assert_true(cut == 0);
        }
}

/* Between k and `most` of the values reach the bound; more where they tie, so that fewer than k exceed it. */
static void bounds_near(void **state)
{
    (void)state;
    static const size_t ks[] = {1, 2, 32, 100}, sizes[] = {0, 1, 31, 32, 33, 128, 700};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t c = 0; c < 4 * 7 * 3; c++) {
            size_t k = ks[c % 4], n = sizes[c / 4 % 7], most = k + c / 28 * 3, reach = 0, beyond = 0, positive = 0;
            fill(kind, n, c);
            float bound = qsr_select_bound_near(v, n, k, most);
            for (size_t i = 0; i < n; i++) {
                positive += v[i] > 0;
                reach += v[i] >= bound;
                beyond += v[i] > bound;
            }
            if (positive < k)
                assert_true(bound == 0);
            else
                assert_true(bound > 0 && reach >= k && (reach <= most || beyond < k));
        }
}

/* Rows of few values whose k-th lies far below the largest. */
static void bounds_near_of_wide_ranges(void **state)
{
    (void)state;
    static const float rows[][4] = {{1, 1e-37f, 1e-38f, 1e-39f},
                                    {1, 1e-36f, 1e-36f, 1e-36f},
                                    {1e-37f, 1e-41f, 1e-43f, 1e-45f},
                                    {INFINITY, 1e-45f, 1e-45f, 1e-45f},
                                    {INFINITY, INFINITY, FLT_MAX, 1e-45f},
                                    {FLT_MAX, 1, FLT_MIN, FLT_TRUE_MIN},
                                    {FLT_TRUE_MIN, FLT_TRUE_MIN, FLT_TRUE_MIN, FLT_TRUE_MIN}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (size_t k = 1; k <= 4; k++) { /* rows descend: the k-th is rows[r][k - 1] */
            size_t reach = 0, beyond = 0;
            float bound = qsr_select_bound_near(rows[r], 4, k, k);
            for (size_t i = 0; i < 4; i++) {
                reach += rows[r][i] >= bound;
                beyond += rows[r][i] > bound;
            }
            assert_true(bound > 0 && bound <= rows[r][k - 1]);
            assert_true(qsr_select_cut(rows[r], 4, k) == rows[r][k - 1]);
            assert_true(reach == k || beyond < k);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(passes_agree),
                                       cmocka_unit_test(bounds_and_cuts),
                                       cmocka_unit_test(bounds_near),
                                       cmocka_unit_test(bounds_near_of_wide_ranges),
                                       cmocka_unit_test(finds_what_is_above),
                                       cmocka_unit_test(equals_a_full_sort),
                                       cmocka_unit_test(never_selects_nan_or_nonpositive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

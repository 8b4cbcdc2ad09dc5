/* prefix: against the definition by sorting, on rows of many kinds, with each instruction set and whatever the guess. */
#include "../unit.h"

#include <stdbool.h>

#include "base/rng.h"
#include "math/prefix.h"

enum { MOST = 3000, KINDS = 10 };
static const char *const sets[] = {"portable", "avx2", "avx512"};
static float v[MOST], weight[MOST], value[MOST + 1];
static uint32_t latent[MOST + 1];
static uint8_t kept[MOST];
static double order_s[MOST];
static uint32_t order[MOST];
static void *scratch;

/* ---- the definition ---- */

static int larger_first(const void *a, const void *b)
{
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    if (order_s[i] != order_s[j]) return order_s[i] > order_s[j] ? -1 : 1;
    return i < j ? -1 : i > j;
}

static double s_of(size_t i, bool weighted)
{
    const double length = (double)v[i] * (weighted ? weight[i] : 1);
    return length * length;
}

/* Sets kept; returns how many stay. */
static size_t by_sorting(size_t n, bool weighted, double target)
{
    size_t m = 0, best = 0;
    double sum = 0, nearest = INFINITY, c = 0;
    for (uint32_t i = 0; i < n; i++)
        if (v[i] > 0) order_s[i] = s_of(i, weighted), order[m++] = i;
    qsort(order, m, sizeof *order, larger_first);
    for (size_t i = 0; i < m; i++) {
        c = sqrt(sum += order_s[order[i]]);
        if (fabs(c - target) < nearest) nearest = fabs(c - target), best = i;
    }
    if (c <= target && m) best = m - 1;
    memset(kept, 0, sizeof kept);
    for (size_t i = 0; m && i <= best; i++) kept[order[i]] = 1;
    return m ? best + 1 : 0;
}

/* ---- rows ---- */

static void fill(int kind, size_t n, uint64_t seed)
{
    const qsr_rng rng = qsr_rng_make(seed, "prefix"), other = qsr_rng_make(seed, "prefix/weight");
    for (size_t i = 0; i < n; i++) {
        const double z = qsr_rng_normal(&rng, i);
        const double of_kind[KINDS] = {z,               /* half of them positive */
                                       round(2 * z),    /* many ties */
                                       exp(6 * z),      /* a heavy tail */
                                       z > 2 ? z : -1,  /* few positive */
                                       1,               /* all equal */
                                       z * 1e-42,       /* subnormal */
                                       fabs(z) * 1e-25, /* squares vanish in float */
                                       fabs(z) * 1e25,  /* and overflow */
                                       -fabs(z),        /* none positive */
                                       fabs(z) + 1e-3 * (double)(i % 3)};
        v[i] = (float)of_kind[kind];
        weight[i] = kind == 1 ? (float)(1 + i % 2) : kind == 4 ? 1 : (float)(0.5 + qsr_rng_unit(&other, i));
        if (i % 97 == 5) weight[i] = 0;
    }
}

static void compare(const qsr_prefix_passes *passes, size_t n, bool weighted, double target, float *guess)
{
    const size_t expected = by_sorting(n, weighted, target);
    value[n] = -7, latent[n] = 77; /* nothing is written behind the room */
    const size_t found = qsr_prefix_with(passes, v, weighted ? weight : NULL, n, target, guess, scratch, latent, value);
    assert_int_equal(found, expected);
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!kept[i]) continue;
        assert_int_equal(latent[at], i);
        assert_true(value[at++] == v[i]);
    }
    assert_true(value[n] == -7 && latent[n] == 77);
}

/* Targets spread over the row's norm, at both ends, and where decisions change: on c_i, between two, and one double beside. */
static size_t targets_of(size_t n, bool weighted, double *ret)
{
    double total = 0, part = 0;
    size_t count = 0, m = 0;
    by_sorting(n, weighted, INFINITY);
    for (size_t i = 0; i < n; i++) m += v[i] > 0;
    for (size_t i = 0; i < m; i++) total += order_s[order[i]];
    static const double shares[] = {0, 1e-6, 0.1, 0.35, 0.5, 0.8, 0.97, 0.9999, 1.3};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) ret[count++] = sqrt(total) * shares[i];
    for (size_t i = 0; i < m && count < 60; i++) {
        const double below = sqrt(part), above = sqrt(part += order_s[order[i]]), middle = (below + above) / 2;
        if (i % (1 + m / 9) > 0) continue;
        const double near[] = {above, nextafter(above, 0), middle, nextafter(middle, 0), nextafter(middle, INFINITY)};
        for (size_t k = 0; k < 5; k++) ret[count++] = near[k];
    }
    ret[count++] = sqrt(total);
    ret[count++] = nextafter(sqrt(total), 0);
    return count;
}

static void equals_the_definition(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 63, 500, MOST};
    for (size_t set = 0; set < 3; set++) {
        const qsr_prefix_passes *passes = qsr_prefix_passes_named(sets[set]);
        if (!passes) {
            print_message("%s: not tested, this processor lacks it\n", sets[set]);
            continue;
        }
        for (int kind = 0; kind < KINDS; kind++)
            for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
                for (int weighted = 0; weighted < 2; weighted++) {
                    double targets[70];
                    fill(kind, sizes[k], k + 1);
                    const size_t count = targets_of(sizes[k], weighted, targets);
                    float guess = 0; /* of another target from the second on */
                    for (size_t t = 0; t < count; t++) compare(passes, sizes[k], weighted, targets[t], &guess);
                }
    }
}

static void no_guess_shows(void **state)
{
    (void)state;
    const float guesses[] = {0, 1e-30f, 1e-3f, 0.01f, 0.02f, 0.03f, 1, 1e30f, -1, NAN, INFINITY};
    for (size_t set = 0; set < 3; set++) {
        const qsr_prefix_passes *passes = qsr_prefix_passes_named(sets[set]);
        for (uint64_t seed = 0; passes && seed < 4; seed++)
            for (size_t g = 0; g < sizeof guesses / sizeof *guesses; g++)
                for (double target = 10; target < 45; target += 5) {
                    float guess = guesses[g];
                    fill(0, MOST, seed);
                    compare(passes, MOST, true, target, &guess);
                }
    }
}

static void says_when_a_length_is_not_finite(void **state)
{
    (void)state;
    const float bad[] = {INFINITY, 1, 0, NAN, 1}, good[] = {-INFINITY, -1, NAN, 0, 1};
    const float weights[][5] = {{1, 1, 1, 1, 1}, {1, INFINITY, 1, 1, 1}, {0, 1, 1, 1, 1}, {1, NAN, 1, 1, 1}};
    for (size_t set = 0; set < 3; set++) {
        const qsr_prefix_passes *passes = qsr_prefix_passes_named(sets[set]);
        for (size_t w = 0; passes && w < 4; w++)
            for (int learned = 0; learned < 2; learned++) {
                float guess = learned ? 0.5f : 0;
                assert_true(qsr_prefix_with(passes, bad, weights[w], 5, 1, &guess, scratch, latent, value) == SIZE_MAX);
            }
        float guess = 0;
        if (!passes) continue;
        assert_int_equal(qsr_prefix_with(passes, good, NULL, 5, 3, &guess, scratch, latent, value), 1);
        assert_true(latent[0] == 4 && value[0] == 1);
    }
}

/* ---- that it is fast: rows alike are listed once and hardly anything of them is sorted ---- */

static const qsr_prefix_passes *watched;
static size_t lists, sorted;

static size_t list(const float *from, const float *weights, size_t n, float least, uint32_t *index, float *values,
                   float *length, float *weight_of)
{
    lists++;
    return watched->list(from, weights, n, least, index, values, length, weight_of);
}

static size_t between(const float *length, size_t n, float low, float high, uint32_t *place)
{
    const size_t count = watched->between(length, n, low, high, place);
    sorted += count;
    return count;
}

static void sorts_little_of_rows_alike(void **state)
{
    (void)state;
    float guess = 0;
    watched = qsr_prefix_passes_named("portable");
    qsr_prefix_passes passes = *watched;
    passes.list = list;
    passes.between = between;
    for (uint64_t seed = 0; seed < 100; seed++) {
        fill(0, MOST, 1000 + seed);
        compare(&passes, MOST, false, 30, &guess);
    }
    assert_true(lists <= 110 && sorted <= 100 * 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_the_definition), cmocka_unit_test(no_guess_shows),
                                       cmocka_unit_test(says_when_a_length_is_not_finite),
                                       cmocka_unit_test(sorts_little_of_rows_alike)};
    scratch = malloc(qsr_prefix_scratch(MOST));
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(scratch);
    return failed;
}

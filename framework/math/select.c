#include "math/select.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "math/kernel.h"

/* Positive floats order like their bits, so selection works on integers and never rounds. */
static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

float qsr_select_float(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* ---- any k: radix passes over the float bits find the exact k-th value, one more pass collects ------------------- */

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static size_t collect_positive(const float *v, size_t n, uint32_t *index)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i] > 0) index[count++] = (uint32_t)i;
    return count;
}

/* The k-th largest of the positive values, as bits, and how many equal to it belong to the k. Needs at least k of them. */
static uint32_t kth_bits(const float *v, size_t n, size_t k, size_t *ret_ties)
{
    static const unsigned shifts[] = {21, 10, 0}, widths[] = {11, 11, 10};
    uint32_t prefix = 0, mask = 0;
    size_t left = k;
    for (int pass = 0; pass < 3; pass++) {
        uint32_t count[DIGITS] = {0};
        for (size_t i = 0; i < n; i++) {
            uint32_t bits = bits_of(v[i]);
            if (v[i] > 0 && (bits & mask) == prefix) count[bits >> shifts[pass] & ((1u << widths[pass]) - 1)]++;
        }
        uint32_t digit = (1u << widths[pass]) - 1;
        while (count[digit] < left) left -= count[digit--];
        prefix |= digit << shifts[pass];
        mask |= ((1u << widths[pass]) - 1) << shifts[pass];
    }
    *ret_ties = left;
    return prefix;
}

static size_t select_any(const float *v, size_t n, size_t k, uint32_t *index)
{
    size_t positive = 0;
    for (size_t i = 0; i < n; i++) positive += v[i] > 0;
    if (positive <= k) return collect_positive(v, n, index);
    size_t ties, count = 0;
    uint32_t threshold = kth_bits(v, n, k, &ties);
    for (size_t i = 0; i < n && count < k; i++) {
        if (!(v[i] > 0)) continue;
        uint32_t bits = bits_of(v[i]);
        if (bits > threshold || (bits == threshold && ties && ties--)) index[count++] = (uint32_t)i;
    }
    return count;
}

/* ---- small k: a lower bound from the maxima of groups leaves a few candidates ------------------------------------ */

enum { LANES = QSR_SELECT_LANES, MOST_CANDIDATES = 2048, MOST_GROUPS = 2048 };

const qsr_select_passes *qsr_select_passes_named(const char *isa)
{
    const qsr_kernels *set = qsr_kernels_named(isa);
    return set ? set->select : NULL;
}

static const qsr_select_passes *passes(void) { return qsr_kernels_get()->select; }

/* Halves the bits between a bound that enough reach and one that too few do. Most rows have the two within a factor of 2 or 4; rows of
 * any range take some forty counts at most. */
float qsr_select_bound_near(const float *v, size_t n, size_t k, size_t most)
{
    const qsr_select_passes *p = passes();
    enum { BINADE = 1 << 23, LONGEST_STEP = 1 << 30 };
    uint32_t enough = 0, few = bits_of(p->largest(v, n)) + 1, step = BINADE / 2;
    if (k == 0 || p->count(v, n, qsr_select_float(1)) < k) return 0;
    while (few - enough > 1) { /* enough < bits < few, always: it ends */
        uint32_t bits = enough ? enough + (few - enough) / 2 : few > step ? few - step : few / 2;
        size_t count = p->count(v, n, qsr_select_float(bits));
        if (count >= k && count <= most) return qsr_select_float(bits);
        if (count >= k) enough = bits;
        else few = bits, step = step < LONGEST_STEP ? 2 * step : step;
    }
    return qsr_select_float(enough);
}

/* Of a few values: the least of those that reach a bound that k reach. */
static float cut_few(const float *v, size_t n, size_t k)
{
    float bound = qsr_select_bound_near(v, n, k, k), least = INFINITY;
    for (size_t i = 0; i < n; i++)
        if (v[i] >= bound && v[i] < least) least = v[i];
    return bound > 0 ? least : 0;
}

float qsr_select_cut(const float *v, size_t n, size_t k)
{
    size_t positive = 0, ties;
    if (n <= MOST_CANDIDATES) return cut_few(v, n, k);
    for (size_t i = 0; i < n; i++) positive += v[i] > 0;
    if (positive < k) return 0;
    return qsr_select_float(kth_bits(v, n, k, &ties));
}

/* At least k elements are >= the k-th largest of group maxima, so it bounds the k-th largest element from below. */
float qsr_select_bound(const float *v, const float *slack, float factor, size_t n, size_t k)
{
    float maxima[MOST_GROUPS];
    if (k == 0 || k > n / LANES) return 0;
    size_t vectors = n / LANES, per_group = vectors * LANES / (4 * k);
    if (per_group < 1) per_group = 1;
    while (vectors / per_group * LANES > MOST_GROUPS) per_group++;
    size_t groups = passes()->maxima(v, slack, factor, n, per_group, maxima);
    return qsr_select_bound_near(maxima, groups, k, k + k / 8);
}

size_t qsr_select_count(const float *v, size_t n, float bound) { return passes()->count(v, n, bound); }

size_t qsr_select_reaching(const float *v, size_t n, float bound, size_t room, uint32_t *index, float *value)
{
    return passes()->reaching(v, n, bound, room, index, value);
}

size_t qsr_select_above(const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value)
{
    return passes()->above(v, threshold, scalar, n, index, value);
}

/* The k largest of a few values, at[0..n) being their indices (NULL: 0 .. n - 1): what exceeds a bound that k reach, and as many of those
 * equal to it as are missing. */
static size_t select_few(const float *v, const uint32_t *at, size_t n, size_t k, uint32_t *index)
{
    float least = qsr_select_bound_near(v, n, k, k);
    size_t ties = least > 0 ? k - qsr_select_count(v, n, qsr_select_float(bits_of(least) + 1)) : 0, count = 0;
    for (size_t i = 0; i < n && count < k; i++) {
        bool tie = ties > 0 && v[i] == least;
        index[count] = at ? at[i] : (uint32_t)i;
        count += v[i] > least || tie;
        ties -= tie;
    }
    return count;
}

size_t qsr_select_largest(const float *v, size_t n, size_t k, uint32_t *index)
{
    if (k == 0 || n == 0) return 0;
    if (n <= MOST_CANDIDATES / 4) return select_few(v, NULL, n, k, index);
    if (n > UINT32_MAX) return select_any(v, n, k, index);
    float bound = qsr_select_bound(v, NULL, 0, n, k), value[MOST_CANDIDATES];
    uint32_t candidate[MOST_CANDIDATES];
    if (!(bound > 0)) return select_any(v, n, k, index);
    size_t candidates = qsr_select_reaching(v, n, bound, MOST_CANDIDATES, candidate, value);
    if (candidates > MOST_CANDIDATES || candidates < k) return select_any(v, n, k, index);
    return select_few(value, candidate, candidates, k, index);
}

#include "math/select.h"

#include <math.h>
#include <string.h>

/* Positive floats order like their bits, so selection works on integers and never rounds. */
static uint32_t bits_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
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

enum { LANES = 16, MOST_CANDIDATES = 2048, MOST_GROUPS = 2048 };

static uint64_t key_of(float v, uint32_t i) { return (uint64_t)bits_of(v) << 32 | (UINT32_MAX - i); }

/* The k-th largest (k counts from 1) of distinct keys: quickselect, in place. */
static uint64_t kth_key(uint64_t *key, size_t n, size_t k)
{
    size_t low = 0, high = n - 1, want = k - 1;
    while (low < high) {
        uint64_t a = key[low], b = key[low + (high - low) / 2], c = key[high];
        uint64_t pivot = a > b ? (b > c ? b : a > c ? c : a) : (a > c ? a : b > c ? c : b); /* the median of three */
        size_t i = low, j = high;
        while (i <= j) {
            while (key[i] > pivot) i++;
            while (key[j] < pivot) j--;
            if (i > j) break;
            uint64_t swap = key[i];
            key[i++] = key[j];
            key[j] = swap;
            if (j == 0) break;
            j--;
        }
        if (want <= j && j < high) high = j;
        else if (want >= i) low = i;
        else return key[want];
    }
    return key[want];
}

/* out[0..16) = the lanewise maxima of `vectors` groups of 16; written so that compilers use vector maxima. */
static void lane_maxima(const float *v, size_t vectors, float *out)
{
    float most[LANES] = {0};
    for (size_t i = 0; i < vectors; i++)
        for (int lane = 0; lane < LANES; lane++) {
            float value = v[i * LANES + (size_t)lane];
            most[lane] = value > most[lane] ? value : most[lane];
        }
    memcpy(out, most, sizeof most);
}

/* At least k elements are >= the k-th largest of group maxima, so it bounds the k-th largest element from below. 0 when the
 * groups cannot tell. */
static float lower_bound_of(const float *v, size_t n, size_t k)
{
    float maxima[MOST_GROUPS];
    uint64_t keys[MOST_GROUPS];
    size_t vectors = n / LANES, per_group = vectors * LANES / (4 * k);
    if (per_group < 1) per_group = 1;
    while (vectors / per_group * LANES > MOST_GROUPS) per_group++;
    size_t groups = 0;
    for (size_t i = 0; i + per_group <= vectors; i += per_group, groups += LANES)
        lane_maxima(v + i * LANES, per_group, maxima + groups);
    if (groups < k) return 0;
    for (size_t i = 0; i < groups; i++) keys[i] = key_of(maxima[i], (uint32_t)i);
    uint32_t bits = (uint32_t)(kth_key(keys, groups, k) >> 32);
    float bound;
    memcpy(&bound, &bits, sizeof bound);
    return bound;
}

/* The indices of v[i] >= bound, or more than MOST_CANDIDATES when they do not fit. */
static size_t filter(const float *v, size_t n, float bound, uint32_t *index)
{
    size_t count = 0, i = 0;
    for (; i + LANES <= n; i += LANES) {
        int any = 0;
        for (size_t lane = 0; lane < LANES; lane++) any |= v[i + lane] >= bound;
        if (!any) continue;
        if (count > MOST_CANDIDATES - LANES) return MOST_CANDIDATES + 1;
        for (size_t lane = 0; lane < LANES; lane++)
            if (v[i + lane] >= bound) index[count++] = (uint32_t)(i + lane);
    }
    if (count > MOST_CANDIDATES - LANES) return MOST_CANDIDATES + 1;
    for (; i < n; i++)
        if (v[i] >= bound) index[count++] = (uint32_t)i;
    return count;
}

size_t qsr_select_largest(const float *v, size_t n, size_t k, uint32_t *index)
{
    if (k == 0 || n == 0) return 0;
    if (k > n / 16 || n > UINT32_MAX) return select_any(v, n, k, index);
    float bound = lower_bound_of(v, n, k);
    if (!(bound > 0)) return select_any(v, n, k, index);
    uint32_t candidate[MOST_CANDIDATES];
    uint64_t key[MOST_CANDIDATES];
    size_t candidates = filter(v, n, bound, candidate);
    if (candidates > MOST_CANDIDATES || candidates < k) return select_any(v, n, k, index);
    for (size_t i = 0; i < candidates; i++) key[i] = key_of(v[candidate[i]], candidate[i]);
    uint64_t threshold = kth_key(key, candidates, k);
    size_t count = 0;
    for (size_t i = 0; i < candidates; i++)
        if (key_of(v[candidate[i]], candidate[i]) >= threshold) index[count++] = candidate[i];
    return count;
}

#include "math/prefix.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "math/kernel.h"

/* One pass lists what may stay, by a length that most likely too much reaches; a few passes over the list find two lengths close
 * around the one where the norm passes the target; what lies between them is sorted. The norm that it comes to differs from the
 * definition's by rounding alone, since it is summed in another order. Where that could matter (a decision closer than the worst
 * rounding error), and where anything else is out of the ordinary, the row is sorted after all. */

const qsr_prefix_passes *qsr_prefix_passes_named(const char *isa)
{
    const qsr_kernels *set = qsr_kernels_named(isa);
    return set ? set->prefix : NULL;
}

/* An entry to be sorted. Keys are the bits of s, which order like s. */
typedef struct {
    uint64_t key;
    uint32_t index, place; /* in v, and in the list */
} prefix_item;

/* A row at work: the listed entries, ascending. `length` belongs to an entry until it is decided, then says whether it stays. */
typedef struct {
    const qsr_prefix_passes *passes;
    const float *v, *weight;
    size_t n;
    double target;
    size_t m;
    uint32_t *index, *place;
    float *value, *length, *weight_of;
    prefix_item *item;
} prefix_row;

size_t qsr_prefix_scratch(size_t n)
{
    const size_t each = sizeof(prefix_item) + sizeof(uint32_t) + 2 * sizeof(float);
    return n > (SIZE_MAX >> 6) ? SIZE_MAX : n * each + 4096;
}

static void list(prefix_row *row, float least)
{
    row->m = row->passes->list(row->v, row->weight, row->n, least, row->index, row->value, row->length, row->weight_of);
}

/* ---- sorting ----------------------------------------------------------------------------------------------------- */

static prefix_item item_at(const prefix_row *row, uint32_t place)
{
    const double length = (double)row->value[place] * row->weight_of[place], s = length * length;
    prefix_item item = {.index = row->index[place], .place = place};
    memcpy(&item.key, &s, sizeof s);
    return item;
}

static double square_of(const prefix_item *item)
{
    double s;
    memcpy(&s, &item->key, sizeof s);
    return s;
}

static bool comes_first(const prefix_item *x, const prefix_item *y)
{
    return x->key != y->key ? x->key > y->key : x->index < y->index;
}

static int in_order(const void *a, const void *b) { return comes_first(a, b) ? -1 : comes_first(b, a); }

enum { FEW = 96 };

static void sort(prefix_item *item, size_t n)
{
    if (n > FEW) {
        qsort(item, n, sizeof *item, in_order);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const prefix_item next = item[i];
        size_t at = i;
        for (; at && comes_first(&next, &item[at - 1]); at--) item[at] = item[at - 1];
        item[at] = next;
    }
}

/* Of n sorted items the first `stay` do; the lengths below `high` of everything else go. Returns how many entries are left. */
static size_t keep(const prefix_row *row, size_t n, size_t stay, float high)
{
    for (size_t i = 0; i < n; i++) row->length[row->item[i].place] = i < stay ? INFINITY : -1;
    return row->passes->keep(row->length, row->m, high, row->index, row->value);
}

/* The definition, on a list of everything that is positive. */
static size_t by_sorting(prefix_row *row)
{
    for (uint32_t i = 0; i < row->m; i++) row->item[i] = item_at(row, i);
    qsort(row->item, row->m, sizeof *row->item, in_order);
    double sum = 0, nearest = INFINITY, c = 0;
    size_t best = 0;
    for (size_t i = 0; i < row->m && c <= row->target; i++) {
        sum += square_of(&row->item[i]);
        c = sqrt(sum);
        if (fabs(c - row->target) < nearest) nearest = fabs(c - row->target), best = i;
    }
    if (c <= row->target) best = row->m - 1;
    return keep(row, row->m, best + 1, 0);
}

/* ---- narrowing --------------------------------------------------------------------------------------------------- */

/* Lengths around the cut: what is below `low` goes and what reaches `high` stays, if the sums (rounded: it is a search) are to be
 * believed. count and sum are those of the lengths from low and from high on. */
typedef struct {
    float low, high;
    size_t count[2];
    double sum[2];
    double dense; /* entries per unit of length, where it was looked last */
} prefix_band;

enum { NARROW = 48, MARGIN = 14, TRIES = 40, LINEAR_TRIES = 5 };

static float between_bits(float low, float high)
{
    uint32_t a, b;
    memcpy(&a, &low, sizeof a);
    memcpy(&b, &high, sizeof b);
    a += (b - a) / 2;
    memcpy(&low, &a, sizeof low);
    return low;
}

static void look_at(const prefix_row *row, float first, float second, double wanted, prefix_band *band)
{
    const float at[2] = {first, second};
    size_t count[2];
    double sum[2];
    row->passes->measure(row->length, row->m, at, count, sum);
    if (first < second && count[0] > count[1]) band->dense = (double)(count[0] - count[1]) / ((double)second - first);
    for (size_t i = 0; i < 2; i++) {
        if (sum[i] > wanted && at[i] > band->low) band->low = at[i], band->count[0] = count[i], band->sum[0] = sum[i];
        if (sum[i] <= wanted && at[i] < band->high) band->high = at[i], band->count[1] = count[i], band->sum[1] = sum[i];
    }
}

/* Two lengths with some entries between them, around where a sum that is linear in the length passes `wanted`. */
static bool aim(const prefix_band *band, double wanted, float *ret_first, float *ret_second)
{
    const double per_length = band->high < INFINITY ? (band->sum[0] - band->sum[1]) / ((double)band->high - band->low)
                                                    : band->dense * band->low * band->low;
    const double at = band->low + (band->sum[0] - wanted) / per_length, margin = MARGIN / band->dense;
    if (!(at > band->low && at < band->high && margin < at)) return false;
    *ret_first = at - margin > band->low ? (float)(at - margin) : (float)(at + margin);
    *ret_second = at + margin < band->high ? (float)(at + margin) : *ret_first;
    return true;
}

/* From all lengths of the list, given one that is likely near, until few entries are between. False: the list's sum does not pass
 * the target. */
static bool narrow(const prefix_row *row, float least, float near, prefix_band *ret)
{
    const double wanted = row->target * row->target;
    prefix_band band = {.low = -1, .high = INFINITY};
    look_at(row, least, near, wanted, &band);
    if (band.low < 0) return false;
    for (size_t i = 0; i < TRIES && band.count[0] - band.count[1] > NARROW; i++) {
        const float middle = between_bits(band.low, band.high);
        float first = middle, second = middle;
        if (!(middle > band.low)) break;
        if (i < LINEAR_TRIES) aim(&band, wanted, &first, &second);
        look_at(row, first, second, wanted, &band);
    }
    *ret = band;
    return true;
}

/* ---- deciding ---------------------------------------------------------------------------------------------------- */

/* Bounds the relative error of any c against that of sorted order, with room to spare: m additions of at most DBL_EPSILON / 2
 * each, in both orders. */
static double slack_of(const prefix_row *row) { return (double)(row->m + 8) * 2 * DBL_EPSILON; }

typedef enum { DECIDED, UNDECIDED, NOT_FINITE } prefix_outcome;

/* Sorts what is between and finds how much of it stays. UNDECIDED where rounding could decide. */
static prefix_outcome decide(prefix_row *row, const prefix_band *band, size_t *ret_between, size_t *ret_stay)
{
    double sum = row->passes->sum(row->value, row->weight_of, row->length, row->m, band->high);
    if (!isfinite(sum)) return NOT_FINITE;
    const size_t n = row->passes->between(row->length, row->m, band->low, band->high, row->place);
    for (size_t i = 0; i < n; i++) row->item[i] = item_at(row, row->place[i]);
    sort(row->item, n);
    double below = sqrt(sum), above = below;
    size_t i = 0;
    for (; i < n; i++) {
        sum += square_of(&row->item[i]);
        above = sqrt(sum);
        if (above > row->target) break;
        below = above;
    }
    if (i == n) return UNDECIDED;
    const bool any_below = i > 0 || band->count[1] > 0;
    const double up = above - row->target, down = any_below ? row->target - below : INFINITY,
                 margin = slack_of(row) * above;
    /* Also excludes entries so small that c does not move: of such ties the first would win. */
    if (up <= margin || down <= margin || fabs(up - down) <= margin) return UNDECIDED;
    *ret_between = n;
    *ret_stay = i + (up < down);
    return DECIDED;
}

static float cut_of(const prefix_row *row, const prefix_band *band, size_t stay)
{
    return stay ? row->length[row->item[stay - 1].place] : band->high;
}

/* From a list of everything that is positive. */
static size_t decide_all(prefix_row *row, float *guess)
{
    *guess = 0;
    list(row, 0);
    if (!row->m) return 0;
    const double total = row->passes->sum(row->value, row->weight_of, row->length, row->m, 0);
    if (!isfinite(total)) return SIZE_MAX;
    if (sqrt(total) * (1 + slack_of(row)) < row->target) return row->m;
    prefix_band band;
    size_t between, stay;
    if (!narrow(row, 0, (float)sqrt(total / (double)row->m), &band) || decide(row, &band, &between, &stay) != DECIDED)
        return by_sorting(row);
    *guess = (float)(cut_of(row, &band, stay) / row->target);
    return keep(row, between, stay, band.high);
}

/* The cut of a row is rarely this much lower than the guess. */
static const float SAFELY = 0.85f;

size_t qsr_prefix_with(const qsr_prefix_passes *passes, const float *v, const float *weight, size_t n, double target,
                       float *guess, void *scratch, uint32_t *index, float *value)
{
    prefix_row row = {.passes = passes,
                      .v = v,
                      .weight = weight,
                      .n = n,
                      .target = target,
                      .index = index,
                      .value = value,
                      .item = scratch};
    row.place = (uint32_t *)(row.item + n);
    row.length = (float *)(row.place + n);
    row.weight_of = row.length + n;
    const float near = (float)(*guess * target), least = SAFELY * near;
    if (!(least > 0 && least < INFINITY)) return decide_all(&row, guess);
    list(&row, least);
    prefix_band band;
    size_t between, stay;
    const prefix_outcome outcome = narrow(&row, least, near, &band) ? decide(&row, &band, &between, &stay) : UNDECIDED;
    if (outcome == NOT_FINITE) return SIZE_MAX;
    if (outcome == UNDECIDED) return decide_all(&row, guess);
    *guess = (float)(cut_of(&row, &band, stay) / target);
    return keep(&row, between, stay, band.high);
}

size_t qsr_prefix(const float *v, const float *weight, size_t n, double target, float *guess, void *scratch,
                  uint32_t *index, float *value)
{
    return qsr_prefix_with(qsr_kernels_get()->prefix, v, weight, n, target, guess, scratch, index,
                           value);
}

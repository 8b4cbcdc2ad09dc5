#include "math/shortlist.h"

#include <float.h>
#include <string.h>

#include "base/arena.h"
#include "math/kernel.h"
#include "math/select.h"

size_t qsr_shortlist_least(size_t k) { return k + k / 8 + 32; }

size_t qsr_shortlist_room(size_t k) { return qsr_shortlist_least(k) + k / 8 + 16; }

const qsr_shortlist_passes *qsr_shortlist_passes_named(const char *isa)
{
    const qsr_kernels *set = qsr_kernels_named(isa);
    return set ? set->shortlist : NULL;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

qsr_status qsr_places_create(size_t of, qsr_places *ret, qsr_error *e)
{
    *ret = (qsr_places){
        .of = of, .index = qsr_block_raw(of, sizeof *ret->index), .bits = qsr_block_raw(of / 16 + 1, sizeof *ret->bits)};
    if (ret->index && ret->bits) return QSR_OK;
    qsr_places_free(ret);
    return qsr_fail_nomem(e, "a choice of latents", of * sizeof *ret->index);
}

void qsr_places_set(qsr_places *p, const uint8_t *named)
{
    p->n = 0;
    memset(p->bits, 0, (p->of / 16 + 1) * sizeof *p->bits);
    for (size_t i = 0; i < p->of; i++) {
        if (!named[i]) continue;
        p->index[p->n++] = (uint32_t)i;
        p->bits[i / 16] |= (uint16_t)(1u << i % 16);
    }
}

void qsr_places_free(qsr_places *p)
{
    qsr_block_free(p->index);
    qsr_block_free(p->bits);
    *p = (qsr_places){0};
}

void qsr_places_gather(const qsr_places *p, const float *v, float *out) { qsr_kernels_get()->shortlist->gather(p, v, out); }

/* ---- taking a head ----------------------------------------------------------------------------------------------- */

/* A bound that some number between least and room of the values reach, found by counting; 0: none was. Counts fall by about STEEPNESS
 * times the relative growth of the bound, where the bound lies in the tail of something like a normal distribution. */
static float find_bound(const float *v, size_t n, size_t least, size_t room, float guess)
{
    static const double STEEPNESS = 2.5;
    enum { TRIES = 16 };
    double low = 0, high = FLT_MAX, target = 0.5 * (double)(least + room), bound = guess;
    for (int i = 0; i < TRIES && bound > 0; i++) {
        float now = (float)bound;
        size_t count = qsr_select_count(v, n, now);
        if (count >= least && count <= room) return now;
        if (count < least)
            high = bound;
        else
            low = bound;
        double growth = ((double)count - target) / (STEEPNESS * target);
        bound *= 1 + (growth > 1 ? 1 : growth < -0.5 ? -0.5 : growth);
        if (!(bound > low && bound < high)) bound = high < FLT_MAX ? 0.5 * (low + high) : 2 * low;
    }
    return 0;
}

static size_t take_exactly(const float *v, size_t n, size_t least, float *ret_bound, uint32_t *index, float *value)
{
    size_t count = qsr_select_largest(v, n, least, index);
    *ret_bound = FLT_MAX;
    for (size_t i = 0; i < count; i++) {
        value[i] = v[index[i]];
        if (value[i] < *ret_bound) *ret_bound = value[i];
    }
    return count;
}

size_t qsr_shortlist_take(const float *v, size_t n, size_t least, size_t room, float *guess, uint32_t *index, float *value,
                          bool *ret_all)
{
    size_t positive = qsr_select_count(v, n, FLT_TRUE_MIN);
    *ret_all = positive <= room;
    if (*ret_all) return qsr_select_reaching(v, n, FLT_TRUE_MIN, room + QSR_SELECT_LANES, index, value);
    float bound = find_bound(v, n, least, room, *guess);
    if (!(bound > 0)) return take_exactly(v, n, least, guess, index, value);
    *guess = bound;
    return qsr_select_reaching(v, n, bound, room + QSR_SELECT_LANES, index, value);
}

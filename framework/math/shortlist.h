/* math/shortlist: somewhat more than the largest of some values, for a choice among fewer of them that is made later. */
#ifndef QSR_MATH_SHORTLIST_H
#define QSR_MATH_SHORTLIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* How many entries are kept where the k largest will be asked for, some of which may drop out; and the room they need. */
size_t qsr_shortlist_least(size_t k);
size_t qsr_shortlist_room(size_t k);

/* Some of `of` places, of which a row of values has as many. */
typedef struct {
    size_t n, of;
    uint32_t *index; /* [n] ascending */
    uint16_t *bits;  /* [of / 16, rounded up] the same, place i being bit i % 16 of bits[i / 16] */
} qsr_places;
/* Of those with named[i] != 0. Memory for all of them; QSR_E_NOMEM when refused. */
qsr_status qsr_places_create(size_t of, qsr_places *ret, qsr_error *e);
void qsr_places_set(qsr_places *, const uint8_t *named);
void qsr_places_free(qsr_places *);
/* out[i] = v[index[i]]; out has room for QSR_SELECT_LANES more. [any] */
void qsr_places_gather(const qsr_places *, const float *v, float *out);

/* Of the positive v[0..n) a head of their order by value, then by index, as in qsr_select_largest: at least `least` of them, `room` at
 * most, or all where there are fewer (*ret_all then). Writes indices, ascending, and values; returns how many. *guess is a bound to try
 * first, or 0, and becomes the one that was found: that of a similar row saves time, and shows in nothing but how many beyond `least`
 * there are. room >= least >= 1; the arrays have room for QSR_SELECT_LANES more. */
size_t qsr_shortlist_take(const float *v, size_t n, size_t least, size_t room, float *guess, uint32_t *index, float *value,
                          bool *ret_all);

/* The passes of one instruction set (shortlist-body.c). */
typedef struct {
    void (*gather)(const qsr_places *, const float *v, float *out); /* qsr_places_gather */
} qsr_shortlist_passes;
/* NULL: not built, or not on this processor. */
const qsr_shortlist_passes *qsr_shortlist_passes_named(const char *isa);
#endif

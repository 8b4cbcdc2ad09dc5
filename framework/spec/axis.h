/* spec/axis: the swept keys of a grid, each with its values as nodes, before any of them is typed. All memory is the arena's. */
#ifndef QSR_SPEC_AXIS_H
#define QSR_SPEC_AXIS_H
#include "spec/node.h"

enum { QSR_GRID_KEYS = 100 }; /* axes of one block */

typedef struct {
    const char *key;               /* dotted: "activation.k" */
    qsr_mark mark;                 /* of the key */
    const qsr_node *const *values; /* [n], never empty; what is a list here is the value of an option that takes lists */
    size_t n;
} qsr_axis;

typedef struct {
    qsr_axis *items;
    size_t n, capacity;
} qsr_axes;

/* Whether `path` stands below `above`: "losses.afa.coeff" below "losses.afa". */
bool qsr_path_is_below(const char *path, const char *above);

/* An axis over the items of a list; anything else is a list of one. false: the list is empty, which is reported. */
bool qsr_axis_read(qsr_arena *, const char *key, qsr_mark key_mark, qsr_node *value, qsr_axis *ret, qsr_problems *);
bool qsr_axis_switches(const qsr_axis *); /* every value is on or off */

const qsr_axis *qsr_axes_find(const qsr_axes *, const char *key); /* NULL: none */
/* In the place of the axis of that key, or at the end. */
void qsr_axes_put(qsr_arena *, qsr_axes *, const qsr_axis *);
/* Removes what an assignment to `key` makes pointless: axes of the key itself and, unless it is only switched on, below it. */
void qsr_axes_give_way(qsr_axes *, const qsr_axis *to);
/* The axes of one block of a grid: its keys, nested or dotted, in the order written. */
void qsr_axes_read(qsr_arena *, const qsr_node *block, qsr_axes *ret, qsr_problems *);
#endif

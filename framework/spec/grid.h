/* spec/grid: a spec with `grid`, `seeds` or swept overrides as the experiments it stands for: a union of blocks, each a cartesian
 * product of axes, each axis a dotted key with its values. docs/SPEC.md explains the language. */
#ifndef QSR_SPEC_GRID_H
#define QSR_SPEC_GRID_H
#include "spec/axis.h"
#include "spec/spec.h"

enum { QSR_GRID_CELLS = 10000 };

/* One entry of `grid`; where there is none, the base with `seeds` and what the command line sweeps. */
typedef struct {
    qsr_mark mark; /* line 0: it stands nowhere */
    qsr_axes axes; /* later ones vary faster; `seeds` comes last */
    size_t cells;  /* the product of their lengths */
} qsr_grid_block;

/* An option of the base that a block's plugin does not have, so that its cells go without. */
typedef struct {
    const char *path, *text; /* "activation.k", "16" as written */
    const char *from, *to;   /* names of plugins */
    size_t block, cells;     /* how many cells of which block, before equal ones merge */
    qsr_mark mark;           /* of the value */
} qsr_grid_drop;

typedef struct {
    const char *name, *path; /* of every cell */
    bool swept;              /* false: no grid, no seeds, no sweep: the one cell is what qsr_spec_load gives */
    qsr_spec **cells;        /* [n] no two of the same id, in the order of blocks and products */
    size_t n;
    const size_t *merged;    /* [n] how many more cells came out equal to it */
    size_t n_merged;         /* their sum */
    const size_t *block_of;  /* [n] the block of each */
    const char *const *keys; /* [n_keys] every key of an axis, in the order of first mention; `seed` last */
    size_t n_keys;
    const char *const *values; /* [n][n_keys] what each cell has there, whether its block has that axis or not, in canonical
                                   text; NULL: it has no such option */
    const qsr_grid_block *blocks;
    size_t n_blocks;
    const qsr_grid_drop *drops;
    size_t n_drops;
    qsr_spec *base; /* the spec without its grid, with the overrides that are no sweeps; NULL: it is no experiment
                                   by itself, since blocks write what it needs. Not a cell, unless swept is false */
    const struct qsr_node *tree; /* the base as written and merged, without grid and seeds */
    qsr_arena arena;
} qsr_grid;

/* Loads like qsr_spec_load. "key=a,b,c" and "key=[a, b, c]" among the overrides are axes on every block, in the place of an axis of
 * that key where the block has one; "key=value" replaces such an axis; "seeds=..." is the same as "seed=...". Every problem of every
 * cell is reported once. Specs live as long as the grid. On failure *ret is NULL and the reasons are in *problems. */
qsr_status qsr_grid_load(const char *path, const char *const *overrides, size_t n_overrides, const qsr_spec_env *,
                         qsr_grid **ret, qsr_problems *problems);
/* The same for a text in memory that is treated as if it stood in a file called `name`. */
qsr_status qsr_grid_load_text(const char *name, const char *text, size_t size, const char *const *overrides,
                              size_t n_overrides, const qsr_spec_env *, qsr_grid **ret, qsr_problems *problems);
void qsr_grid_free(qsr_grid *); /* and its cells; NULL is fine */

/* The index of the cell with that id, or whose hash starts with `id`; n: none, or more than one. */
size_t qsr_grid_find(const qsr_grid *, const char *id);
/* Whether the cells differ at keys[key]. */
bool qsr_grid_differs(const qsr_grid *, size_t key);
#endif

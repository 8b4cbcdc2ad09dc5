/* spec/load: the steps between a path and a resolved spec, for qsr_spec_load and for whoever expands a tree into several specs. */
#ifndef QSR_SPEC_LOAD_H
#define QSR_SPEC_LOAD_H
#include "spec/axis.h"
#include "spec/spec.h"

enum { QSR_EXTENDS_DEPTH = 16, QSR_EXTENDS_FILES = 64 /* also the rank of the first command-line argument */ };

/* The tree of a file with everything it `extends` merged underneath; NULL when there is none. `text` NULL: read the file. Trees and
 * sources live in the arena. *ret_whole: nothing of what it extends was missing. */
qsr_node *qsr_extends_read(qsr_arena *, const char *path, const char *text, size_t size, const qsr_spec_env *, bool *ret_whole,
                           qsr_problems *);
/* What the command line says: values, each an axis of one that also stands in the tree, and axes, which do not. No key twice. */
typedef struct {
    qsr_axes fixed, swept;
} qsr_overrides;

/* Lays "key=value" arguments on the tree, in order. */
void qsr_override_apply(qsr_arena *, qsr_node *root, const char *const *arguments, size_t n, qsr_overrides *ret, qsr_problems *);
/* Reads a file and lays the overrides on it: what qsr_spec_load and qsr_grid_load begin with. NULL: there is no tree; *ret is set. */
qsr_node *qsr_spec_read(qsr_arena *, const char *path, const char *text, size_t size, const char *const *overrides,
                        size_t n_overrides, const qsr_spec_env *, bool *ret_whole, qsr_overrides *ret, qsr_problems *);
/* Types and checks the tree into `spec`, whose path and arena are set; tree and sources must outlive it. Of a tree that is not
 * whole, nothing is said to be required: it may stand in the file that was missing. Grids and seeds are refused: whoever expands
 * them takes them off the tree. */
void qsr_resolve(qsr_spec *, qsr_node *root, bool whole, const qsr_spec_env *, qsr_problems *);
/* Warns of deprecated options that are in use. */
void qsr_spec_warn(const qsr_spec *);
/* Sets spec->id. */
void qsr_spec_identify(qsr_spec *);
#endif

/* spec/load: the steps between a path and a resolved spec, for qsr_spec_load and for whoever expands a tree into several specs. */
#ifndef QSR_SPEC_LOAD_H
#define QSR_SPEC_LOAD_H
#include "spec/node.h"
#include "spec/spec.h"

enum { QSR_EXTENDS_DEPTH = 16, QSR_EXTENDS_FILES = 64 /* also the rank of the first command-line argument */ };

/* The tree of a file with everything it `extends` merged underneath; NULL when there is none. `text` NULL: read the file. Trees and
 * sources live in the arena. *ret_whole: nothing of what it extends was missing. */
qsr_node *qsr_extends_read(qsr_arena *, const char *path, const char *text, size_t size, const qsr_spec_env *, bool *ret_whole,
                           qsr_problems *);
/* Lays "key=value" arguments on the tree, in order. */
void qsr_override_apply(qsr_arena *, qsr_node *root, const char *const *arguments, size_t n, qsr_problems *);
/* Types and checks the tree into `spec`, whose path and arena are set; tree and sources must outlive it. Of a tree that is not
 * whole, nothing is said to be required: it may stand in the file that was missing. */
void qsr_resolve(qsr_spec *, qsr_node *root, bool whole, const qsr_spec_env *, qsr_problems *);
/* Sets spec->id. */
void qsr_spec_identify(qsr_spec *);
#endif

/* spec/substitute: the tree of one cell: the base of a grid with a value put in for every axis of a block. */
#ifndef QSR_SPEC_SUBSTITUTE_H
#define QSR_SPEC_SUBSTITUTE_H
#include "spec/axis.h"
#include "spec/option.h"
#include "spec/spec.h"

/* What a cell is made from. */
typedef struct {
    const qsr_node *base;
    const qsr_axes *fixed; /* values of the command line, which stand in the base already */
    const qsr_axes *axes;  /* of the block */
    const qsr_spec_env *env;
    /* Told of every option of the base that the plugin a block switches to lacks; `value` is the option's, `from` and `to` are
     * names of plugins. */
    void (*dropped)(void *ctx, const char *path, const qsr_node *value, const char *from, const char *to);
    void *ctx;
} qsr_substitution;

/* choice: [axes->n] which value of each. Nodes of the base and of axes are copied. */
qsr_node *qsr_substitute(qsr_arena *, const qsr_substitution *, const size_t *choice);
#endif

#include "cli/cells.h"

#include <stdlib.h>

qsr_status qsr_cli_cells_load(const char *path, const qsr_args *args, const qsr_spec_env *env, qsr_cli_cells *ret,
                              qsr_problems *problems)
{
    *ret = (qsr_cli_cells){.cells = qsr_xcalloc(1, sizeof *ret->cells)};
    qsr_status status = qsr_spec_load(path, args->overrides, args->n_overrides, env, &ret->cells[0], problems);
    if (status) return status;
    ret->n = 1;
    ret->name = ret->cells[0]->name;
    return QSR_OK;
}

void qsr_cli_cells_free(qsr_cli_cells *c)
{
    for (size_t i = 0; i < c->n; i++) qsr_spec_free(c->cells[i]);
    free(c->cells);
    *c = (qsr_cli_cells){0};
}

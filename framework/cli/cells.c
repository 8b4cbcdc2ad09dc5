#include "cli/cells.h"

qsr_status qsr_cli_cells_load(const char *path, const qsr_args *args, const qsr_spec_env *env, qsr_cli_cells *ret,
                              qsr_problems *problems)
{
    *ret = (qsr_cli_cells){0};
    qsr_status status = qsr_grid_load(path, args->overrides, args->n_overrides, env, &ret->grid, problems);
    if (!status) *ret = (qsr_cli_cells){ret->grid->name, ret->grid->cells, ret->grid->n, ret->grid};
    return status;
}

void qsr_cli_cells_free(qsr_cli_cells *c)
{
    qsr_grid_free(c->grid);
    *c = (qsr_cli_cells){0};
}

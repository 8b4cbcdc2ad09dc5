/* cli/cells: a spec on the command line as the cells it stands for, for every command that takes one. */
#ifndef QSR_CLI_CELLS_H
#define QSR_CLI_CELLS_H
#include "cli/args.h"
#include "spec/grid.h"

typedef struct {
    const char *name;   /* of the spec: where its cells' folders are */
    qsr_spec **cells;   /* [n] */
    size_t n;
    qsr_grid *grid;     /* owns them */
} qsr_cli_cells;

/* With the command line's overrides and sweeps. On failure there are no cells, and the reasons are in *problems. */
qsr_status qsr_cli_cells_load(const char *path, const qsr_args *, const qsr_spec_env *, qsr_cli_cells *ret, qsr_problems *problems);
void qsr_cli_cells_free(qsr_cli_cells *);
#endif

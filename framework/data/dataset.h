/* data/dataset: a dataset plugin opened for one experiment: its units, which of them are held out, and reading them.
 * This room may import quasar/plugin.h, base/, math/, spec/, format/ and plugin/.
 *
 * A dataset is numbered units of rows_per_unit rows; the first skip_first rows of each unit are left out here. The last
 * ceil(eval.tokens / rows per unit) units are held out for evaluation; a dataset without end holds out indices from 2^48. */
#ifndef QSR_DATA_DATASET_H
#define QSR_DATA_DATASET_H
#include "base/error.h"
#include "math/pool.h"
#include "plugin/instance.h"
#include "spec/spec.h"

typedef struct {
    qsr_made *made;
    const qsr_dataset_ops *ops;
    qsr_dataset_info info;
    qsr_pool *pool;            /* borrowed */
    size_t d_in;
    size_t skip_first;
    size_t rows_per_unit;      /* after skip_first */
    uint64_t train_units;      /* UINT64_MAX: without end */
    uint64_t held_first, held_units;
    uint64_t held_rows;        /* rows that are scored: exactly eval.tokens */
} qsr_dataset;

/* dataset.seed is the plugin's seed, so experiments that differ in `seed` share their data. */
qsr_status qsr_dataset_open(const qsr_spec *, qsr_pool *, qsr_dataset *ret, qsr_error *e);
void qsr_dataset_close(qsr_dataset *);

/* out[n][rows_per_unit][d_in] = the rows of units[0..n). Read in parallel, in groups of units_per_read. A value that is not
 * finite is QSR_E_INPUT, naming unit, row and column. */
qsr_status qsr_dataset_read(const qsr_dataset *, const uint64_t *units, size_t n, float *out, qsr_error *e);
#endif

/* plugin/check-parts: what the parts of the conformance suite share. Private to plugin/check*.c.
 *
 * A test is a function that returns QSR_OK (the plugin keeps the promise), QSR_END (a note: not applicable, or not testable by
 * nature), QSR_E_UNSUPPORTED (could not be tested, which counts as failure), or any other error (broken); the text in *e is
 * the detail of its line. */
#ifndef QSR_PLUGIN_CHECK_PARTS_H
#define QSR_PLUGIN_CHECK_PARTS_H
#include "base/rng.h"
#include "plugin/check.h"
#include "plugin/instance.h"

/* One plugin with one set of options, and what it is tested on. */
typedef struct {
    const qsr_found *found;
    const qsr_plugin *plugin;
    bool variant;      /* a second pass with one option changed: notes were given already */
    const char *label; /* "activation/topk", "loss/afa norm=decoder" */
    const void *options;
    void *snapshot; /* of the options, to see that the plugin leaves them alone */
    qsr_shape shape;
    qsr_pool *one, *four; /* pools of 1 and 4 threads */
    qsr_check_report *report;
} qsr_check;

typedef qsr_status (*qsr_check_test)(const qsr_check *, qsr_error *e);
/* Runs a test and adds its line. */
void qsr_check_run(const qsr_check *, const char *name, qsr_check_test);

/* A fresh instance with this check's options and shape; `pool` as for qsr_made_create. */
qsr_status qsr_check_make(const qsr_check *, qsr_pool *pool, qsr_made **ret, qsr_error *e);

/* Zeroed memory between canaries; 64-aligned. free returns whether both are intact. NULL is fine and intact. */
void *qsr_guard_new(size_t n, size_t size);
bool qsr_guard_free(void *);

/* A code of guarded arrays with exactly the capacity that is promised, and what can be wrong with one. */
qsr_code *qsr_guard_code(size_t rows, size_t d_sae, uint32_t planes);
bool qsr_guard_code_free(qsr_code *);
qsr_status qsr_check_code(const qsr_code *, qsr_error *e); /* rows, order, range, finite values */

/* Standard normal and uniform numbers for inputs; `stream` says what for. */
double qsr_check_normal(const char *stream, uint64_t index);
double qsr_check_uniform(const char *stream, uint64_t index);

/* Differences against gradients, one direction after another. */
typedef struct {
    size_t tried, dropped; /* dropped: the support changed along that direction */
    double worst;          /* relative error of the directions that were kept */
    bool alive;            /* one of them was not 0 */
} qsr_differences;
/* numeric and analytic derivative along a direction whose terms have the root sum of squares `size`. */
void qsr_differences_add(qsr_differences *, double numeric, double analytic, double size);
/* OK, QSR_E_NUMERIC (too far off), QSR_E_UNSUPPORTED (more than 90 % dropped), or QSR_END (everything is 0: it depends on nothing
 * that moved); with `exact` dropping any is broken. */
qsr_status qsr_differences_judge(const qsr_differences *, bool exact, qsr_error *e);

/* Datasets: what describe says, and the units that are read: the first few, and the last when there is one. SEQUENTIAL datasets are
 * read in order from 0. Returns how many. */
enum { QSR_CHECK_UNITS = 5 };
qsr_status qsr_check_describe(const qsr_made *, qsr_dataset_info *ret, qsr_error *e);
size_t qsr_check_units(const qsr_check *, const qsr_dataset_info *, uint64_t units[QSR_CHECK_UNITS]);

/* The parts: each adds its lines. */
void qsr_check_identity(const qsr_check *);
void qsr_check_lifecycle(const qsr_check *);
void qsr_check_activation(const qsr_check *);
void qsr_check_loss(const qsr_check *);
void qsr_check_dataset(const qsr_check *);
void qsr_check_tokens(const qsr_check *);
void qsr_check_splice(const qsr_check *);
/* State records of any kind of plugin; what an activation computes after a load is compared by its own part. */
void qsr_check_state(const qsr_check *);

/* Writes an instance's state to *out, and reads `n` bytes of it back into another. */
qsr_status qsr_state_save(const qsr_made *, qsr_text *out, qsr_error *e);
qsr_status qsr_state_load(qsr_made *, const char *bytes, size_t n, uint32_t version, qsr_error *e);
#endif

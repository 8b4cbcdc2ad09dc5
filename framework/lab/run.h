/* lab/run: one resolved spec trained, evaluated and written down. This room may import everything below it. */
#ifndef QSR_LAB_RUN_H
#define QSR_LAB_RUN_H
#include <signal.h>

#include "eval/evaluate.h"
#include "plugin/registry.h"
#include "spec/spec.h"
#include "train/learner.h"

/* Who wants to know how it goes; any member may be NULL. Calls come from the training thread. */
typedef struct {
    void *ctx;
    void (*begin)(void *ctx, const qsr_spec *, const char *folder, uint64_t steps, uint64_t first_step);
    void (*step)(void *ctx, const qsr_step_report *);        /* after every step */
    void (*evaluating)(void *ctx, uint64_t rows, uint64_t of); /* now and then */
    void (*end)(void *ctx);
} qsr_run_watcher;

typedef struct {
    const char *out;                  /* folder of runs; created when missing */
    qsr_pool *pool;
    qsr_registry *registry;
    qsr_run_watcher watcher;
    const volatile sig_atomic_t *stop; /* becomes nonzero to interrupt; or NULL */
    bool rerun;                       /* train again what is already complete */
    bool force;                       /* resume under another instruction set or BLAS kernel */
} qsr_run_options;

typedef enum { QSR_RUN_COMPLETED, QSR_RUN_SKIPPED, QSR_RUN_FAILED, QSR_RUN_INTERRUPTED } qsr_run_outcome;

typedef struct {
    qsr_run_outcome outcome;
    char folder[4096];
    char reason[1024];        /* of a failure, or why it was skipped */
    bool evaluated;
    qsr_evaluation evaluation; /* when evaluated */
    uint64_t steps, tokens;
    double train_seconds, eval_seconds, tokens_per_second;
} qsr_run_summary;

/* Bad input found before the first step (an option, a file, data): a negative status, with problems (in the spec, with places)
 * or e set, and nothing created on disk. Afterwards the outcome says how it ended, and the status is QSR_OK. */
qsr_status qsr_lab_run(const qsr_spec *, const qsr_run_options *, qsr_run_summary *ret, qsr_problems *, qsr_error *e);

/* The layer of the dataset's hook, where it has such an option; -1: none. */
int64_t qsr_lab_layer(const qsr_spec *);
#endif

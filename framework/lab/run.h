/* lab/run: one resolved spec trained, evaluated and written down. This room may import everything below it. */
#ifndef QSR_LAB_RUN_H
#define QSR_LAB_RUN_H
#include <signal.h>

#include "eval/evaluate.h"
#include "plugin/registry.h"
#include "spec/spec.h"
#include "train/learner.h"

/* Who wants to know how it goes; any member may be NULL. Calls come from the training thread. */
struct qsr_plan;
typedef struct {
    void *ctx;
    /* Several cells are about to be trained by this plan (lab/plan.h). */
    void (*plan)(void *ctx, const struct qsr_plan *, const qsr_spec *const *cells, size_t n);
    /* A group of cells that share a stream starts: how many, steps of all of them together, and how many are done already. */
    void (*begin)(void *ctx, const char *name, size_t cells, uint64_t steps, uint64_t steps_done, uint64_t tokens_done);
    void (*step)(void *ctx, const qsr_spec *, const qsr_step_report *);   /* after every step of any cell */
    void (*evaluating)(void *ctx, uint64_t rows, uint64_t of);            /* now and then */
    void (*end)(void *ctx);
} qsr_run_watcher;

enum { QSR_RERUN_FAILED = 1, QSR_RERUN_STALE = 2, QSR_RERUN_ALL = 4 };

typedef struct {
    const char *out;                   /* folder of runs; created when missing */
    qsr_pool *pool;
    qsr_registry *registry;
    qsr_run_watcher watcher;
    const volatile sig_atomic_t *stop; /* becomes nonzero to interrupt; or NULL */
    unsigned rerun;                    /* QSR_RERUN_* bits: which finished cells to train again */
    bool force;                        /* resume under another instruction set or BLAS kernel */
    bool profile;                      /* timing.jsonl has the phases of the steps since the line before (lab/profile) */
    bool stop_at_failure;              /* --keep-going=no */
    bool read_in_turn;                 /* --read-ahead=no: data and steps take turns */
    size_t memory;                     /* bytes that a group of cells may hold; 0: 70 % of what is available */
    unsigned shard, shards;            /* train the shard-th (from 1) of `shards` equal parts; 0: everything */
} qsr_run_options;

typedef enum {
    QSR_RUN_PENDING,     /* another shard's, or not reached */
    QSR_RUN_COMPLETED,
    QSR_RUN_SKIPPED,     /* was complete already */
    QSR_RUN_STALE,       /* complete, but under other inputs, plugins or Quasar, or a file is gone since */
    QSR_RUN_BUSY,        /* another process has it */
    QSR_RUN_FAILED,
    QSR_RUN_INTERRUPTED, /* checkpointed */
    QSR_RUN_OUTCOMES
} qsr_run_outcome;
extern const char *const qsr_run_outcome_names[QSR_RUN_OUTCOMES];

typedef struct {
    qsr_run_outcome outcome;
    char folder[4096];
    char reason[1024];         /* why it failed, is stale, or was skipped */
    bool evaluated;
    qsr_evaluation evaluation; /* when evaluated */
    bool resumed;
    bool elsewhere;            /* pending, and another shard's */
    uint64_t steps, tokens;    /* done in the end */
    double train_seconds;      /* of this cell's own steps, without reading data */
    double data_seconds;       /* that its group waited for data, until it was trained */
    double eval_seconds;       /* of its group */
    uint64_t tokens_now;       /* trained on by this command; the rest came from a checkpoint */
} qsr_run_summary;

/* Trains, evaluates and writes down n cells; those with equal streams share one pass over the data. Bad input found before the
 * first step of any (an option, a file, data): a negative status with problems (in the spec, with places) or e set, and nothing
 * created on disk; but once *stop is set, cells that had not begun are pending. Afterwards each cell's outcome (ret[n]) says how it ended, and the status is QSR_OK. */
qsr_status qsr_lab_run(const qsr_spec *const *cells, size_t n, const qsr_run_options *, qsr_run_summary *ret, qsr_problems *,
                       qsr_error *e);
#endif

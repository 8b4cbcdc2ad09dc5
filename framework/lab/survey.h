/* lab/survey: what run folders say about cells: done, running, interrupted, failed, stale. Nothing on disk is changed, and a cell
 * that trains is not disturbed. */
#ifndef QSR_LAB_SURVEY_H
#define QSR_LAB_SURVEY_H
#include "lab/manifest.h"

typedef enum {
    QSR_CELL_PENDING,     /* no folder yet, or an empty one */
    QSR_CELL_RUNNING,     /* a living process has it */
    QSR_CELL_INTERRUPTED, /* goes on from its newest checkpoint */
    QSR_CELL_FAILED,
    QSR_CELL_STALE,       /* complete or interrupted, but under other inputs, plugins or Quasar, or complete with a file gone since */
    QSR_CELL_BROKEN,      /* its files cannot be understood */
    QSR_CELL_DONE,
    QSR_CELL_STATES
} qsr_cell_state;
extern const char *const qsr_cell_state_names[QSR_CELL_STATES];

typedef struct {
    qsr_cell_state state;
    bool orphan;                      /* the spec no longer produces it */
    const char *id, *name, *folder;
    const char *reason;               /* why it failed, is stale or broken; or NULL */
    const char *note;                 /* what has changed and does no harm; or NULL */
    uint64_t step, steps;             /* done when it was last written down; planned, 0: not known */
} qsr_survey_cell;

typedef struct {
    qsr_survey_cell *cells; /* [n] */
    size_t n;
    qsr_arena arena; /* of all texts */
} qsr_survey;

/* One entry for each of the spec's cells, then those of their name's folder below `out` that it does not produce. */
void qsr_survey_spec(const qsr_spec *const *cells, size_t n, const char *out, qsr_registry *, qsr_survey *ret);
/* One entry for each run folder below `folder`, by its own spec.yaml. QSR_E_INPUT when there is none. */
qsr_status qsr_survey_folder(const char *folder, const qsr_spec_env *, qsr_registry *, qsr_survey *ret, qsr_error *e);
void qsr_survey_free(qsr_survey *);

/* Whether a process holds the folder's lock. */
bool qsr_survey_locked(const char *folder);
#endif

/* lab/leftovers: what killed processes and changed specs left below a folder of runs: files that were being written aside, an
 * unfinished sae.tmp, checkpoints of completed cells, whole folders of cells that a spec no longer produces. Folders that a
 * living process has are not touched. */
#ifndef QSR_LAB_LEFTOVERS_H
#define QSR_LAB_LEFTOVERS_H
#include "lab/survey.h"

typedef struct {
    const char *path; /* a file or a folder */
    const char *run;  /* the run folder it is in, or is */
    const char *what; /* "an orphan", "a checkpoint of a completed cell"... */
    size_t bytes;     /* on disk */
} qsr_leftover;

typedef struct {
    qsr_leftover *items; /* [n] */
    size_t n;
    qsr_arena arena;
} qsr_leftovers;

/* cells: those of the spec whose orphans are meant; n 0: none. QSR_E_INPUT: there are no run folders. */
qsr_status qsr_leftovers_find(const char *folder, const qsr_spec *const *cells, size_t n, qsr_registry *, qsr_leftovers *ret,
                              qsr_error *e);
void qsr_leftovers_free(qsr_leftovers *);
/* *ret_busy: a process has taken the run meanwhile, and nothing was removed. */
qsr_status qsr_leftover_remove(const qsr_leftover *, bool *ret_busy, qsr_error *e);
#endif

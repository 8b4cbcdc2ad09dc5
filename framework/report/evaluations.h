/* report/evaluations: what `quasar eval` left below a folder: <SAE>/eval/<name>/result.json, for SAEs trained here or elsewhere. */
#ifndef QSR_REPORT_EVALUATIONS_H
#define QSR_REPORT_EVALUATIONS_H
#include <stdint.h>

#include "lab/archive.h"

typedef struct {
    const char *sae;  /* the folder of the SAE below the asked one; "." for that itself */
    const char *name; /* of the evaluation */
    const char *path; /* of its folder, where tokens.csv may be */
    const qsr_measure *measures;
    size_t n_measures;
    uint64_t d_sae; /* of the SAE's cfg.json; 0: not known */
} qsr_extra_evaluation;

typedef struct {
    qsr_extra_evaluation *items; /* by SAE, then by name */
    size_t count;
    qsr_arena arena;
} qsr_evaluations;

/* Files that cannot be understood are left out, with a warning. Links are not followed. */
void qsr_evaluations_read(const char *folder, qsr_evaluations *ret);
void qsr_evaluations_free(qsr_evaluations *);
#endif

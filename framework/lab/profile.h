/* lab/profile: what `quasar run --profile` adds to a line of timing.jsonl: the phases of `quasar bench`, over the steps since the
 * line before. */
#ifndef QSR_LAB_PROFILE_H
#define QSR_LAB_PROFILE_H
#include "format/json.h"
#include "train/learner.h"

typedef struct {
    uint64_t steps; /* since the line before */
    double entries; /* active latents of those, l0 summed */
    double seconds[QSR_PHASES], step_seconds, data_seconds, read_seconds; /* clocks at the line before */
} qsr_profile;

/* After every step. */
void qsr_profile_step(qsr_profile *, const qsr_learner *);
/* Puts "profile" into `line` and begins anew: means per step. The clocks run since the cell began; data_seconds (that it waited) and
 * read_seconds (that reading took on all threads, beside steps or between them) are its group's. */
void qsr_profile_put(qsr_profile *, const qsr_learner *, double step_seconds, double data_seconds, double read_seconds, json_t *line);
#endif

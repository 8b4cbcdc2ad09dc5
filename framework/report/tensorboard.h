/* report/tensorboard: run folders as TensorBoard event files. */
#ifndef QSR_REPORT_TENSORBOARD_H
#define QSR_REPORT_TENSORBOARD_H
#include "lab/archive.h"

#define QSR_TENSORBOARD_FILE                                                                                               \
    "events.out.tfevents.0.quasar" /* always the same name, so that a second export replaces the first */

/* For every run folder <folder>/<run's folder>/QSR_TENSORBOARD_FILE, whole or not at all: the lines of metrics.jsonl as
 * train/<name>, the speed of timing.jsonl as time/tokens_per_second, the metrics of result.json as eval/<name> at the last step. Times
 * are the manifest's start plus the seconds of timing.jsonl. Lines that cannot be understood are left out, with a warning. */
qsr_status qsr_tensorboard_write(const qsr_archive *, const char *folder, qsr_error *e);
#endif

/* lab/group: cells that train in lockstep on one stream. The data is read (and for a language model: computed) once per batch,
 * not once per cell; each cell cuts its own batches and normalises for itself, so its numbers are those it would have alone. */
#ifndef QSR_LAB_GROUP_H
#define QSR_LAB_GROUP_H
#include "lab/cell.h"

/* Rows of the stream that are read at once, at most; not part of the arithmetic. */
enum { QSR_ROWS_AT_ONCE = 4096 };

/* All of the cells' streams are equal (qsr_dataset_stream_key). Errors before the first step of all of them are returned, with
 * nothing new on disk; afterwards every cell has its outcome. */
qsr_status qsr_group_run(const qsr_spec *const *specs, qsr_run_summary *const *summaries, size_t n, const qsr_run_options *,
                         qsr_problems *, qsr_error *e);
/* Whether a group of one could start, as far as that can be told without weights and without data: options of every plugin. */
qsr_status qsr_group_check(const qsr_spec *const *specs, size_t n, const qsr_run_options *, qsr_problems *, qsr_error *e);
#endif

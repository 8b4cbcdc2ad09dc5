/* cli/progress: how far a run is: one line on stderr, redrawn in place on a terminal, written now and then elsewhere. */
#ifndef QSR_CLI_PROGRESS_H
#define QSR_CLI_PROGRESS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

/* Where a run stands after a step. NaN: not known. */
typedef struct {
    const char *name;      /* of the spec */
    bool evaluating;       /* then only name, step and steps count: rows judged, of how many */
    bool storing;          /* then units are counted, and there is no loss, l0 or dead latent */
    uint64_t step, steps;  /* steps done, of how many */
    double tokens_per_s, seconds_left;
    double loss, l0, dead; /* of the last logged step */
} qsr_progress_state;

/* The line for a terminal of `width` columns: never longer than width - 1, so that it does not wrap. Where room is short
 * the name goes first, then the dead latents, l0, the speed, the loss; 80 columns have room for all but the name. */
void qsr_progress_bar(const qsr_progress_state *, unsigned width, qsr_text *out);
/* The line for a file or a pipe, without a newline. */
void qsr_progress_line(const qsr_progress_state *, qsr_text *out);

/* What is shown to the user; one at a time in a process, since log lines step around it. quiet: nothing is. */
typedef struct qsr_progress_display qsr_progress_display;
/* `tokens`: seen before, by a run that goes on from a checkpoint. */
qsr_progress_display *qsr_progress_open(const char *name, uint64_t tokens, bool quiet);
void qsr_progress_update(qsr_progress_display *, uint64_t step, uint64_t steps, uint64_t tokens, double loss, double l0,
                         double dead);
void qsr_progress_evaluating(qsr_progress_display *, uint64_t rows, uint64_t of);
/* Units stored, of how many, and the rows that this took since it began. */
void qsr_progress_storing(qsr_progress_display *, uint64_t units, uint64_t of, uint64_t rows);
/* Shows the last step's state, ends the line, and releases everything. NULL is fine. */
void qsr_progress_close(qsr_progress_display *);
#endif

/* report/watch: how the runs below a folder come along, cheap enough to be asked every few seconds. */
#ifndef QSR_REPORT_WATCH_H
#define QSR_REPORT_WATCH_H
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/text.h"

typedef enum {
    QSR_WATCH_RUNNING,
    QSR_WATCH_FAILED,
    QSR_WATCH_WAITING,
    QSR_WATCH_DONE,
    QSR_WATCH_BROKEN,
    QSR_WATCH_STATES
} qsr_watch_state;
extern const char *const qsr_watch_states[QSR_WATCH_STATES]; /* "running", "failed", "waiting", "done", "broken" */

typedef struct {
    const char *folder;    /* below the asked one */
    qsr_watch_state state; /* waiting: neither done nor has a process it; it is interrupted, or its turn has not come */
    uint64_t step, steps;  /* done when it was last written down, planned (0: not known) */
    double loss, l0, dead, speed; /* of the last logged step; NaN: not known */
    const char *curve;            /* a sparkline of the loss, "" for none */
    const char *reason;           /* of a failure; or NULL */
} qsr_watch_run;

typedef struct {
    qsr_watch_run *runs; /* running ones first, then in the order of the states; equal ones by folder */
    size_t n, counts[QSR_WATCH_STATES];
    qsr_arena arena;
} qsr_watch;

/* A folder without runs has none (n is 0); QSR_E_INPUT: there is no such folder. */
qsr_status qsr_watch_look(const char *folder, size_t curve, qsr_watch *ret, qsr_error *e);
void qsr_watch_free(qsr_watch *);
/* "3 running, 1 failed, 60 done; 45 % of the steps" */
void qsr_watch_summary(const qsr_watch *, qsr_text *out);
/* The whole as a table of text, without colours. */
void qsr_watch_table(const qsr_watch *, qsr_text *out);
#endif

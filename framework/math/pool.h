/* math/pool: one pool of threads for everything. Work is cut by size, never by the number of threads, so results cannot
 * depend on it. This room may import quasar/plugin.h and base/ alone; blas.c is the only includer of cblas.h. */
#ifndef QSR_MATH_POOL_H
#define QSR_MATH_POOL_H
#include <pthread.h>

#include "base/error.h"

typedef struct qsr_pool qsr_pool;
typedef qsr_status (*qsr_pool_body)(void *arg, size_t begin, size_t end);

/* `threads` counts the calling thread; 0 means one per available core (the process's CPU affinity). */
qsr_status qsr_pool_create(unsigned threads, qsr_pool **ret, qsr_error *e);
void qsr_pool_free(qsr_pool *); /* one aside goes first, and takes no threads with it */
unsigned qsr_pool_threads(const qsr_pool *); /* NULL: 1 */

/* Runs body on the chunks [i * grain, min(n, (i + 1) * grain)). Of several failing chunks the first in index order decides
 * the status; chunks after a failed one may be left out. With a NULL pool, or inside another run, it all happens on the
 * calling thread, in order. */
qsr_status qsr_pool_run(qsr_pool *, size_t n, size_t grain, qsr_pool_body, void *arg);

/* The same threads for somebody who works ahead of the others, on a thread of his own: of a run through this handle they take chunks
 * while no run of the pool itself has any left. waits: the caller only waits for them, so that no more threads compute than the
 * pool has; otherwise he takes chunks too. Results are those of the pool. It does not outlive the pool. NULL for a NULL pool. */
qsr_pool *qsr_pool_aside(qsr_pool *, bool waits);

/* A run aside whose caller does not wait for it, and whose chunks may be worked on as he allows them. */
typedef struct qsr_job qsr_job;
qsr_job *qsr_job_open(qsr_pool *aside, size_t n, size_t grain, qsr_pool_body, void *arg);
void qsr_job_allow(qsr_job *, size_t n); /* whole chunks of the first n; never fewer than before */
bool qsr_job_take(qsr_job *);            /* does a chunk on this thread, if one is allowed and unclaimed */
qsr_status qsr_job_close(qsr_job *);     /* allows all and waits; as qsr_pool_run */
void qsr_job_cancel(qsr_job *);          /* waits for chunks that somebody is at; NULL is fine */

/* For a thread that cannot go on before a run aside gives it something: takes part in that until enough(arg), which is asked again
 * after every chunk, after qsr_pool_nudge, and every tenth of a second. It must not use the pool. */
void qsr_pool_help(qsr_pool *, bool (*enough)(void *arg), void *arg);
void qsr_pool_nudge(qsr_pool *);

/* Which of the pool's threads the caller is: 0 .. threads - 1; 0 outside of any pool. For scratch memory per thread. */
unsigned qsr_pool_worker(void);

/* Collects the error of the first failing chunk in index order, whatever the timing. */
typedef struct {
    pthread_mutex_t lock;
    size_t index;
    qsr_error error;
} qsr_first_error;
void qsr_first_error_init(qsr_first_error *);
qsr_status qsr_first_error_note(qsr_first_error *, size_t index, const qsr_error *); /* returns the error's code */
#endif

/* plugin/host: the services of quasar/plugin.h's qsr_host over this program's pool, BLAS, selection and random numbers.
 *
 * Three things belong to the calling thread, not to an instance: the text of the last fail(), scratch memory, and whether a
 * call that was announced as serial is running. instance.h manages them around each call into a plugin. */
#ifndef QSR_PLUGIN_HOST_H
#define QSR_PLUGIN_HOST_H
#include <signal.h>

#include "base/error.h"
#include "math/pool.h"

/* What one instance's services stand on. Initialise with qsr_services_init, release with qsr_services_free. */
typedef struct {
    const char *name; /* the plugin's; keys its random numbers */
    uint64_t name_hash, seed;
    qsr_pool *pool; /* or NULL */
    struct qsr_allocation *allocations;
    size_t n_allocations; /* asked for so far */
    size_t refuse;        /* for tests: the allocation that is refused, counting from 1; 0: none */
    bool creating;        /* alloc works only now */
    bool misused;         /* alloc was called outside create */
} qsr_services;

void qsr_services_init(qsr_services *, const char *name, uint64_t seed, qsr_pool *, qsr_host *ret_host);
void qsr_services_free(qsr_services *); /* releases what alloc gave */

/* Moves the calling thread's error text to *e (QSR_OK when there was none); NULL: drops it. */
void qsr_host_take_error(qsr_error *e);

/* Scratch memory of the calling thread: everything taken since the mark is released. */
size_t qsr_scratch_mark(void);
void qsr_scratch_release(size_t mark);
/* Between these two a call into another plugin may be made from within one (a view that runs an activation's backward while
 * a loss's rows() waits): finishing the inner call then leaves the outer one's scratch alone. */
size_t qsr_host_nest(void); /* returns what unnest wants back */
void qsr_host_unnest(size_t nest);
/* Where finishing a call releases scratch to: 0 unless nested. */
size_t qsr_scratch_floor(void);
/* Fills scratch memory with NaN when it is handed out and when it is released; on in builds with AddressSanitizer and when
 * QUASAR_POISON is set. */
void qsr_scratch_poison(bool on);

/* What "quasar.stop/1" tells: *flag != 0. Set before threads run; NULL: never. */
void qsr_host_stop_on(const volatile sig_atomic_t *flag);

/* parallel_for uses the pool only between these two, on this thread; everywhere else it runs on the calling thread. */
void qsr_host_serial(bool on);
#endif

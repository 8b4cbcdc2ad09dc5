/* plugin/instance: a plugin made for a shape, with its host; calls into it are finished here.
 *
 *     qsr_status status = qsr_made_finish(a, ops->forward(a->instance, &in, &code), e);
 *
 * and for calls marked [step] or [setup] that may use the pool (begin_batch, prune, end_batch, a loss's batch):
 *
 *     qsr_made_serial(a);
 *     qsr_status status = qsr_made_finish(a, ops->prune(a->instance, &candidates), e); */
#ifndef QSR_PLUGIN_INSTANCE_H
#define QSR_PLUGIN_INSTANCE_H
#include "plugin/host.h"

typedef struct {
    const qsr_plugin *plugin; /* plugin->ops may be cast to the kind's current struct */
    qsr_instance *instance;
    qsr_host host;
    qsr_services services;
    struct qsr_extensions *extensions; /* plugin/extension */
} qsr_made;

/* `options` must live until qsr_made_free, as must the pool (NULL: everything on the calling thread). */
qsr_status qsr_made_create(const qsr_plugin *, const qsr_shape *, const void *options, uint64_t seed, qsr_pool *pool,
                           qsr_made **ret, qsr_error *e);
/* One instance of a dataset for n sets of options that differ in TAP options alone, through "quasar.taps/1";
 * QSR_E_UNSUPPORTED when the plugin does not offer it. On failure *ret_tap is the index of the options at fault. */
qsr_status qsr_made_create_taps(const qsr_plugin *, const qsr_shape *, const void *const *options, size_t n, uint64_t seed,
                                qsr_pool *pool, size_t *ret_tap, qsr_made **ret, qsr_error *e);
/* qsr_made_create with the n-th alloc refused (from 1; 0: none); *ret_allocs is how many were asked for. For the conformance suite. */
qsr_status qsr_made_create_refusing(const qsr_plugin *, const qsr_shape *, const void *options, uint64_t seed,
                                    qsr_pool *pool, size_t refuse, size_t *ret_allocs, qsr_made **ret, qsr_error *e);
void qsr_made_free(qsr_made *);

/* Announces a serial call on this thread: until qsr_made_finish its parallel_for uses the pool. Without it parallel_for runs
 * on the calling thread, with the same results. */
void qsr_made_serial(const qsr_made *);
/* Ends a call into the plugin: moves the text of its fail() to *e, releases the calling thread's scratch, gives an error
 * without a text one that names plugin and status. Returns `status`; QSR_END passes as it is. */
qsr_status qsr_made_finish(const qsr_made *, qsr_status status, qsr_error *e);

/* The plugin's table for one of the QSR_EXT_* ids, widened to this host's struct; NULL: not offered. Thread-safe. */
const void *qsr_made_extension(const qsr_made *, const char *id);
#endif

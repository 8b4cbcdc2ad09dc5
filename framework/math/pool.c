#include "math/pool.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"

enum { MOST_THREADS = 1024 };

struct qsr_pool {
    unsigned threads;
    pthread_t *handles; /* threads - 1 of them */
    pthread_mutex_t lock, serial;
    pthread_cond_t start, done;
    uint64_t generation;
    bool stop;
    unsigned busy;
    /* the current job */
    qsr_pool_body body;
    void *arg;
    size_t n, grain, chunks;
    atomic_size_t next, failed_at; /* failed_at: lowest failing chunk so far, or SIZE_MAX */
    qsr_status status;             /* of failed_at; under lock */
};

static _Thread_local unsigned worker_index;
static _Thread_local bool inside;

unsigned qsr_pool_worker(void) { return worker_index; }
unsigned qsr_pool_threads(const qsr_pool *pool) { return pool ? pool->threads : 1; }

static void note_failure(qsr_pool *pool, size_t chunk, qsr_status status)
{
    pthread_mutex_lock(&pool->lock);
    if (chunk < atomic_load(&pool->failed_at)) {
        atomic_store(&pool->failed_at, chunk);
        pool->status = status;
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Chunks are claimed in index order, so every chunk before a failed one has been claimed and will report. */
static void work(qsr_pool *pool)
{
    inside = true;
    for (;;) {
        size_t chunk = atomic_fetch_add(&pool->next, 1);
        if (chunk >= pool->chunks || chunk > atomic_load(&pool->failed_at)) break;
        size_t begin = chunk * pool->grain;
        qsr_status status = pool->body(pool->arg, begin, qsr_min_size(pool->n, begin + pool->grain));
        if (status) note_failure(pool, chunk, status);
    }
    inside = false;
}

struct birth {
    qsr_pool *pool;
    unsigned index;
};

static void *thread_main(void *arg)
{
    struct birth birth = *(struct birth *)arg;
    free(arg);
    qsr_pool *pool = birth.pool;
    worker_index = birth.index;
    qsr_blas_thread_start();
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->stop && pool->generation == seen) pthread_cond_wait(&pool->start, &pool->lock);
        if (pool->stop) break;
        seen = pool->generation;
        pthread_mutex_unlock(&pool->lock);
        work(pool);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0) pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static unsigned available_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

qsr_status qsr_pool_create(unsigned threads, qsr_pool **ret, qsr_error *e)
{
    if (threads == 0) threads = available_cores();
    if (threads > MOST_THREADS)
        return qsr_fail(e, QSR_E_OPTION, "%u threads are more than the limit of %d", threads, MOST_THREADS);
    qsr_blas_start();
    qsr_pool *pool = qsr_xcalloc(1, sizeof *pool);
    pool->handles = qsr_xcalloc(threads, sizeof *pool->handles);
    pool->threads = 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_mutex_init(&pool->serial, NULL);
    pthread_cond_init(&pool->start, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (unsigned i = 1; i < threads; i++) {
        struct birth *birth = qsr_xcalloc(1, sizeof *birth);
        *birth = (struct birth){pool, i};
        if (pthread_create(&pool->handles[i - 1], NULL, thread_main, birth) != 0) {
            free(birth);
            qsr_pool_free(pool);
            return qsr_fail(e, QSR_E_IO, "the system refused thread %u of %u: use fewer with --threads", i + 1, threads);
        }
        pool->threads++;
    }
    *ret = pool;
    return QSR_OK;
}

void qsr_pool_free(qsr_pool *pool)
{
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 1; i < pool->threads; i++) pthread_join(pool->handles[i - 1], NULL);
    pthread_cond_destroy(&pool->start);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pthread_mutex_destroy(&pool->serial);
    free(pool->handles);
    free(pool);
}

static qsr_status run_here(size_t n, size_t grain, qsr_pool_body body, void *arg)
{
    for (size_t begin = 0; begin < n; begin += grain) {
        qsr_status status = body(arg, begin, qsr_min_size(n, begin + grain));
        if (status) return status;
    }
    return QSR_OK;
}

qsr_status qsr_pool_run(qsr_pool *pool, size_t n, size_t grain, qsr_pool_body body, void *arg)
{
    if (grain == 0) grain = 1;
    if (!pool || pool->threads == 1 || inside || n <= grain) return run_here(n, grain, body, arg);
    pthread_mutex_lock(&pool->serial); /* several callers take turns */
    pthread_mutex_lock(&pool->lock);
    pool->body = body;
    pool->arg = arg;
    pool->n = n;
    pool->grain = grain;
    pool->chunks = qsr_div_up(n, grain);
    atomic_store(&pool->next, 0);
    atomic_store(&pool->failed_at, SIZE_MAX);
    pool->status = QSR_OK;
    pool->busy = pool->threads - 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->start);
    pthread_mutex_unlock(&pool->lock);
    work(pool);
    pthread_mutex_lock(&pool->lock);
    while (pool->busy) pthread_cond_wait(&pool->done, &pool->lock);
    qsr_status status = pool->status;
    pthread_mutex_unlock(&pool->lock);
    pthread_mutex_unlock(&pool->serial);
    return status;
}

void qsr_first_error_init(qsr_first_error *first)
{
    *first = (qsr_first_error){.index = SIZE_MAX};
    pthread_mutex_init(&first->lock, NULL);
}

qsr_status qsr_first_error_note(qsr_first_error *first, size_t index, const qsr_error *error)
{
    pthread_mutex_lock(&first->lock);
    if (index < first->index || first->error.code == QSR_OK) {
        first->index = index;
        first->error = *error;
    }
    pthread_mutex_unlock(&first->lock);
    return error->code;
}

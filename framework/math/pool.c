#include "math/pool.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"

/* A thread looks so often whether there is something for it before it sleeps: some 30 microseconds, about what it takes to wake one, so
 * that short steps do not wait for sleepers, and long ones lose nothing. */
enum { MOST_THREADS = 1024, LOOKS = 2000 };

/* One call of qsr_pool_run, or a job. Nobody touches it once `working` is 0 and it is no longer posted. */
typedef struct run {
    qsr_pool_body body;
    void *arg;
    size_t n, grain, chunks;
    bool aside;
    atomic_size_t next, limit,
        failed_at;     /* chunks next .. limit - 1 can be claimed; failed_at: lowest failing one so far, or SIZE_MAX */
    qsr_status status; /* of failed_at; under lock */
    atomic_uint working; /* threads that take chunks of it, except the caller; changed under lock */
    struct run *below; /* posted before it */
} run;

/* The threads, which a pool and the handles aside of it share. */
typedef struct {
    pthread_t *handles; /* threads - 1 of them */
    pthread_mutex_t lock, serial;
    pthread_cond_t start, done;
    bool stop;
    run *front;         /* posted: chunks may be left */
    run *aside;         /* the same, and those below it */
    atomic_bool urgent; /* the front run has chunks that nobody has claimed */
    atomic_uint calls;  /* how often `start` was signalled */
} crew;

struct qsr_pool {
    unsigned threads;
    crew *crew;
    bool aside, waits;
};

static _Thread_local unsigned worker_index;
static _Thread_local bool inside;

unsigned qsr_pool_worker(void) { return worker_index; }
unsigned qsr_pool_threads(const qsr_pool *pool) { return pool ? pool->threads : 1; }

/* c NULL: this thread is the only one. */
static void note_failure(crew *c, run *r, size_t chunk, qsr_status status)
{
    if (c) pthread_mutex_lock(&c->lock);
    if (chunk < atomic_load(&r->failed_at)) {
        atomic_store(&r->failed_at, chunk);
        r->status = status;
    }
    if (c) pthread_mutex_unlock(&c->lock);
}

/* Chunks are claimed in index order, so every chunk before a failed one has been claimed and will report. */
static bool can_claim(run *r, size_t chunk)
{
    return chunk < atomic_load(&r->limit) && chunk <= atomic_load(&r->failed_at);
}

static bool has_chunks(run *r) { return can_claim(r, atomic_load(&r->next)); }

static bool is_done(run *r)
{
    const size_t next = atomic_load(&r->next);
    return next >= r->chunks || next > atomic_load(&r->failed_at);
}

static bool claim(crew *c, run *r, size_t *ret_chunk)
{
    size_t chunk = atomic_load(&r->next);
    bool can;
    do can = can_claim(r, chunk);
    while (can && !atomic_compare_exchange_weak(&r->next, &chunk, chunk + 1));
    if (!r->aside && !has_chunks(r)) atomic_store(&c->urgent, false);
    *ret_chunk = chunk;
    return can;
}

static void do_chunk(crew *c, run *r, size_t chunk)
{
    const size_t begin = chunk * r->grain;
    qsr_status status = r->body(r->arg, begin, qsr_min_size(r->n, begin + r->grain));
    if (status) note_failure(c, r, chunk, status);
}

/* Until nothing is left, or something is more important; leaves == NULL: nothing is. */
static void work(crew *c, run *r, bool (*leaves)(void *arg), void *arg)
{
    size_t chunk;
    inside = true;
    while (!(leaves && leaves(arg)) && claim(c, r, &chunk)) do_chunk(c, r, chunk);
    inside = false;
}

/* The same as one of the threads that the caller waits for; under lock, which is given up meanwhile. */
static void join(crew *c, run *r, bool (*leaves)(void *arg), void *arg)
{
    r->working++;
    pthread_mutex_unlock(&c->lock);
    work(c, r, leaves, arg);
    pthread_mutex_lock(&c->lock);
    if (--r->working == 0) pthread_cond_broadcast(&c->done);
}

static bool is_urgent(void *arg) { return atomic_load(&((crew *)arg)->urgent); }

static run *find_aside(const crew *c)
{
    for (run *r = c->aside; r; r = r->below)
        if (has_chunks(r)) return r;
    return NULL;
}

static void pause_briefly(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* Everybody who waits for `start` looks again; under lock. */
static void call(crew *c)
{
    atomic_fetch_add(&c->calls, 1);
    pthread_cond_broadcast(&c->start);
}

/* Until the next call, or a little longer; under lock, which is given up meanwhile. */
static void wait_for_call(crew *c)
{
    const unsigned before = atomic_load(&c->calls);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < LOOKS && atomic_load(&c->calls) == before; i++) pause_briefly();
    pthread_mutex_lock(&c->lock);
    if (atomic_load(&c->calls) == before) pthread_cond_wait(&c->start, &c->lock);
}

struct birth {
    crew *crew;
    unsigned index;
};

static void *thread_main(void *arg)
{
    struct birth birth = *(struct birth *)arg;
    free(arg);
    crew *c = birth.crew;
    worker_index = birth.index;
    qsr_blas_thread_start();
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        run *front = c->front && has_chunks(c->front) ? c->front : NULL, *aside = front ? NULL : find_aside(c);
        if (front)
            join(c, front, NULL, NULL);
        else if (aside)
            join(c, aside, is_urgent, c);
        else
            wait_for_call(c);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static unsigned available_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n > 0 ? (unsigned)n : 1;
}

static crew *create_crew(unsigned threads)
{
    crew *c = qsr_xcalloc(1, sizeof *c);
    pthread_condattr_t steady; /* a clock that nobody sets */
    c->handles = qsr_xcalloc(threads, sizeof *c->handles);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->serial, NULL);
    pthread_condattr_init(&steady);
    pthread_condattr_setclock(&steady, CLOCK_MONOTONIC);
    pthread_cond_init(&c->start, &steady);
    pthread_cond_init(&c->done, NULL);
    pthread_condattr_destroy(&steady);
    return c;
}

qsr_status qsr_pool_create(unsigned threads, qsr_pool **ret, qsr_error *e)
{
    if (threads == 0) threads = available_cores();
    if (threads > MOST_THREADS)
        return qsr_fail(e, QSR_E_OPTION, "%u threads are more than the limit of %d", threads, MOST_THREADS);
    qsr_blas_start();
    qsr_pool *pool = qsr_xcalloc(1, sizeof *pool);
    *pool = (qsr_pool){.threads = 1, .crew = create_crew(threads)};
    for (unsigned i = 1; i < threads; i++) {
        struct birth *birth = qsr_xcalloc(1, sizeof *birth);
        *birth = (struct birth){pool->crew, i};
        if (pthread_create(&pool->crew->handles[i - 1], NULL, thread_main, birth) != 0) {
            free(birth);
            qsr_pool_free(pool);
            return qsr_fail(e, QSR_E_IO, "the system refused thread %u of %u: use fewer with --threads", i + 1, threads);
        }
        pool->threads++;
    }
    *ret = pool;
    return QSR_OK;
}

qsr_pool *qsr_pool_aside(qsr_pool *pool, bool waits)
{
    if (!pool) return NULL;
    qsr_pool *aside = qsr_xcalloc(1, sizeof *aside);
    *aside = (qsr_pool){.threads = pool->threads, .crew = pool->crew, .aside = true, .waits = waits};
    return aside;
}

static void free_crew(crew *c, unsigned threads)
{
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    call(c);
    pthread_mutex_unlock(&c->lock);
    for (unsigned i = 1; i < threads; i++) pthread_join(c->handles[i - 1], NULL);
    pthread_cond_destroy(&c->start);
    pthread_cond_destroy(&c->done);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->serial);
    free(c->handles);
    free(c);
}

void qsr_pool_free(qsr_pool *pool)
{
    if (pool && !pool->aside) free_crew(pool->crew, pool->threads);
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

static void fill_in(run *r, const qsr_pool *pool, size_t n, size_t grain, qsr_pool_body body, void *arg)
{
    *r = (run){
        .body = body, .arg = arg, .n = n, .grain = grain, .chunks = qsr_div_up(n, grain), .aside = pool && pool->aside};
    atomic_init(&r->next, 0);
    atomic_init(&r->limit, r->chunks);
    atomic_init(&r->failed_at, SIZE_MAX);
}

static void post(crew *c, run *r)
{
    pthread_mutex_lock(&c->lock);
    if (r->aside)
        r->below = c->aside, c->aside = r;
    else
        c->front = r, atomic_store(&c->urgent, true);
    call(c);
    pthread_mutex_unlock(&c->lock);
}

/* Takes it back once nobody is at it; with `all`, once every chunk is done. */
static void await(crew *c, run *r, bool all)
{
    run **at = r->aside ? &c->aside : &c->front;
    for (int i = 0; i < LOOKS && atomic_load(&r->working); i++) pause_briefly();
    pthread_mutex_lock(&c->lock);
    while (r->working || (all && !is_done(r))) pthread_cond_wait(&c->done, &c->lock);
    while (*at != r) at = &(*at)->below;
    *at = r->below;
    pthread_mutex_unlock(&c->lock);
}

qsr_status qsr_pool_run(qsr_pool *pool, size_t n, size_t grain, qsr_pool_body body, void *arg)
{
    if (grain == 0) grain = 1;
    const bool others = pool && pool->threads > 1 && !inside, waits = others && pool->waits;
    if (!others || n == 0 || (n <= grain && !waits)) return run_here(n, grain, body, arg);
    crew *c = pool->crew;
    run r;
    fill_in(&r, pool, n, grain, body, arg);
    if (!pool->aside) pthread_mutex_lock(&c->serial); /* several callers take turns */
    post(c, &r);
    if (!waits) work(c, &r, NULL, NULL);
    await(c, &r, true);
    if (!pool->aside) pthread_mutex_unlock(&c->serial);
    return r.status;
}

/* ---- jobs -------------------------------------------------------------------------------------------------------- */

struct qsr_job {
    run run;
    crew *crew;
    bool waits; /* for the crew: its owner takes no chunks */
};

qsr_job *qsr_job_open(qsr_pool *aside, size_t n, size_t grain, qsr_pool_body body, void *arg)
{
    qsr_job *job = qsr_xcalloc(1, sizeof *job);
    fill_in(&job->run, aside, n, qsr_max_size(grain, 1), body, arg);
    atomic_store(&job->run.limit, 0);
    job->crew = aside ? aside->crew : NULL;
    job->waits = aside && aside->waits && aside->threads > 1;
    job->run.aside = true;
    if (job->crew) post(job->crew, &job->run);
    return job;
}

void qsr_job_allow(qsr_job *job, size_t n)
{
    run *r = &job->run;
    const size_t limit = n >= r->n ? r->chunks : n / r->grain;
    if (limit <= atomic_load(&r->limit)) return;
    if (job->crew) pthread_mutex_lock(&job->crew->lock);
    atomic_store(&r->limit, limit);
    if (job->crew) {
        call(job->crew);
        pthread_mutex_unlock(&job->crew->lock);
    }
}

bool qsr_job_take(qsr_job *job)
{
    size_t chunk;
    if (job->waits || !claim(job->crew, &job->run, &chunk)) return false;
    inside = true;
    do_chunk(job->crew, &job->run, chunk);
    inside = false;
    return true;
}

static qsr_status end_job(qsr_job *job, bool all)
{
    if (job->crew) await(job->crew, &job->run, all);
    qsr_status status = job->run.status;
    free(job);
    return status;
}

qsr_status qsr_job_close(qsr_job *job)
{
    qsr_job_allow(job, job->run.n);
    while (qsr_job_take(job)) continue;
    return end_job(job, true);
}

void qsr_job_cancel(qsr_job *job)
{
    if (!job) return;
    atomic_store(&job->run.limit, 0);
    end_job(job, false);
}

/* ---- helping ----------------------------------------------------------------------------------------------------- */

static struct timespec soon(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += 100000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

void qsr_pool_help(qsr_pool *pool, bool (*enough)(void *arg), void *arg)
{
    crew *c = pool->crew;
    pthread_mutex_lock(&c->lock);
    while (!enough(arg)) {
        const struct timespec until = soon();
        run *r = find_aside(c);
        if (r)
            join(c, r, enough, arg);
        else
            pthread_cond_timedwait(&c->start, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
}

void qsr_pool_nudge(qsr_pool *pool)
{
    pthread_mutex_lock(&pool->crew->lock);
    call(pool->crew);
    pthread_mutex_unlock(&pool->crew->lock);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

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

#include "plugin/host.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "math/blas.h"
#include "math/prefix.h"
#include "math/select.h"

#if defined(__SANITIZE_ADDRESS__)
#define POISON_BY_DEFAULT true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_BY_DEFAULT true
#endif
#endif
#ifndef POISON_BY_DEFAULT
#define POISON_BY_DEFAULT false
#endif

/* ---- what belongs to a thread */

/* Scratch grows in slabs stacked on one another; `start` is the scratch that was in use when a slab was added. */
struct slab {
    struct slab *below;
    size_t start, used, size;
    unsigned char *bytes;
};

struct thread {
    qsr_error error;
    struct slab *top;
    size_t wish;  /* size of the next slab at the bottom, so that a steady state needs one */
    size_t floor; /* scratch below it belongs to the outer of two nested calls */
    bool serial;
};

enum { SLAB_BYTES = 1 << 16, ALIGNMENT = 64 };

static _Thread_local struct thread *mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void pop_slab(struct thread *t)
{
    struct slab *slab = t->top;
    t->top = slab->below;
    qsr_block_free(slab->bytes);
    free(slab);
}

static void end_thread(void *arg)
{
    struct thread *t = arg;
    while (t->top) pop_slab(t);
    free(t);
    mine = NULL;
}

static void make_key(void) { pthread_key_create(&key, end_thread); }

static struct thread *me(void)
{
    if (!mine) {
        pthread_once(&once, make_key);
        mine = qsr_xcalloc(1, sizeof *mine);
        pthread_setspecific(key, mine);
    }
    return mine;
}

void qsr_host_serial(bool on) { me()->serial = on; }

void qsr_host_take_error(qsr_error *e)
{
    struct thread *t = me();
    if (e) *e = t->error;
    t->error.code = QSR_OK;
}

/* ---- scratch */

static atomic_int poison = -1; /* not read yet */

void qsr_scratch_poison(bool on) { atomic_store(&poison, on); }

static bool poisoned(void)
{
    int on = atomic_load(&poison);
    if (on < 0) {
        on = POISON_BY_DEFAULT || getenv("QUASAR_POISON") != NULL;
        atomic_store(&poison, on);
    }
    return on;
}

/* All bits set is a NaN as a float and as a double, and an absurd index. */
static void fill(unsigned char *bytes, size_t n)
{
    if (poisoned()) memset(bytes, 0xff, n);
}

static struct slab *push_slab(struct thread *t, size_t bytes)
{
    size_t size = qsr_max_size(bytes, t->top ? 2 * t->top->size : qsr_max_size(t->wish, SLAB_BYTES));
    unsigned char *memory = qsr_block_raw(size, 1);
    if (!memory) return NULL;
    struct slab *slab = qsr_xcalloc(1, sizeof *slab);
    *slab = (struct slab){t->top, qsr_scratch_mark(), 0, size, memory};
    return t->top = slab;
}

static void *scratch(const qsr_host *host, size_t n, size_t size)
{
    (void)host;
    size_t bytes;
    if (!qsr_mul_size(n, size, &bytes) || bytes > SIZE_MAX / 4) return NULL;
    bytes = qsr_round_up(qsr_max_size(bytes, 1), ALIGNMENT);
    struct thread *t = me();
    struct slab *slab = t->top;
    if (!slab || slab->size - slab->used < bytes) slab = push_slab(t, bytes);
    if (!slab) return NULL;
    unsigned char *p = slab->bytes + slab->used;
    slab->used += bytes;
    fill(p, bytes);
    return p;
}

size_t qsr_scratch_mark(void)
{
    const struct slab *top = me()->top;
    return top ? top->start + top->used : 0;
}

void qsr_scratch_release(size_t mark)
{
    struct thread *t = me();
    while (t->top && t->top->start >= mark && (t->top->below || t->wish > t->top->size)) {
        t->wish = qsr_max_size(t->wish, t->top->start + t->top->size);
        pop_slab(t);
    }
    if (!t->top || t->top->start + t->top->used <= mark) return;
    size_t keep = mark - t->top->start;
    fill(t->top->bytes + keep, t->top->used - keep);
    t->top->used = keep;
}

size_t qsr_scratch_floor(void) { return me()->floor; }

size_t qsr_host_nest(void)
{
    size_t outer = me()->floor;
    me()->floor = qsr_scratch_mark();
    return outer;
}

void qsr_host_unnest(size_t nest) { me()->floor = nest; }

/* ---- the services, in the order of qsr_host */

struct qsr_allocation {
    struct qsr_allocation *next;
    void *bytes;
};

static qsr_services *services(const qsr_host *host) { return host->ctx; }

static qsr_status fail(const qsr_host *host, qsr_status code, const char *option, const char *fmt, ...)
{
    (void)host;
    if (code >= 0) code = QSR_E_INTERNAL;
    va_list args;
    va_start(args, fmt);
    qsr_vfail(&me()->error, code, option, fmt, args);
    va_end(args);
    return code;
}

static void log_line(const qsr_host *host, uint32_t level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qsr_vlog(level, services(host)->name, fmt, args);
    va_end(args);
}

static void *alloc(const qsr_host *host, size_t n, size_t size)
{
    qsr_services *s = services(host);
    if (!s->creating) {
        s->misused = true;
        return NULL;
    }
    if (++s->n_allocations == s->refuse) return NULL;
    void *bytes = qsr_block_alloc(n, size);
    if (!bytes) return NULL;
    struct qsr_allocation *allocation = qsr_xcalloc(1, sizeof *allocation);
    *allocation = (struct qsr_allocation){s->allocations, bytes};
    s->allocations = allocation;
    return bytes;
}

/* The stream is "<plugin>/<stream>": its salt continues the 64-bit FNV-1a of the plugin's name. */
static uint64_t random_bits(const qsr_host *host, const char *stream, uint64_t counter)
{
    const qsr_services *s = services(host);
    uint64_t salt = (s->name_hash ^ '/') * 0x100000001b3u;
    for (; *stream; stream++) salt = (salt ^ (unsigned char)*stream) * 0x100000001b3u;
    qsr_rng rng = {{(uint32_t)s->seed, (uint32_t)(s->seed >> 32)}, {(uint32_t)salt, (uint32_t)(salt >> 32)}};
    return qsr_rng_bits(&rng, counter);
}

struct job {
    qsr_status (*body)(void *arg, size_t begin, size_t end);
    void *arg;
    qsr_first_error first;
};

/* A body has scratch of its own, and on whatever thread it runs its error text goes to the job. */
static qsr_status run_body(void *arg, size_t begin, size_t end)
{
    struct job *job = arg;
    struct thread *t = me();
    bool serial = t->serial;
    size_t mark = qsr_scratch_mark();
    t->serial = false;
    qsr_status status = job->body(job->arg, begin, end);
    t->serial = serial;
    qsr_scratch_release(mark);
    if (!status) return QSR_OK;
    qsr_error error;
    qsr_host_take_error(&error);
    if (error.code == QSR_OK) error = (qsr_error){.code = status};
    qsr_first_error_note(&job->first, begin, &error);
    return status;
}

static qsr_status parallel_for(const qsr_host *host, size_t n, size_t grain,
                               qsr_status (*body)(void *arg, size_t begin, size_t end), void *arg)
{
    struct job job = {.body = body, .arg = arg};
    qsr_first_error_init(&job.first);
    qsr_status status = qsr_pool_run(me()->serial ? services(host)->pool : NULL, n, grain, run_body, &job);
    if (status && job.first.error.text[0]) me()->error = job.first.error;
    return status;
}

static void gemm(const qsr_host *host, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    (void)host;
    qsr_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static size_t select_largest(const qsr_host *host, const float *v, size_t n, size_t k, uint32_t *index)
{
    (void)host;
    return qsr_select_largest(v, n, k, index);
}

static size_t above(const qsr_host *host, const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value)
{
    (void)host;
    return qsr_select_above(v, threshold, scalar, n, index, value);
}

static qsr_status nearest_norm(const qsr_host *host, const float *v, const float *weight, size_t n, double target, float *guess,
                               uint32_t *index, float *value, size_t *ret_count)
{
    const size_t mark = qsr_scratch_mark();
    void *work = scratch(host, qsr_prefix_scratch(n), 1);
    if (!work) return QSR_E_NOMEM;
    const size_t count = qsr_prefix(v, weight, n, target, guess, work, index, value);
    qsr_scratch_release(mark);
    if (count == SIZE_MAX) return QSR_E_NUMERIC;
    *ret_count = count;
    return QSR_OK;
}

static const volatile sig_atomic_t *stop; /* NULL: nobody listens */

void qsr_host_stop_on(const volatile sig_atomic_t *flag) { stop = flag; }

static bool asked(const qsr_host *host)
{
    (void)host;
    return stop && *stop;
}

static const void *extension(const qsr_host *host, const char *id)
{
    static const qsr_host_stop stopping = {.struct_size = sizeof stopping, .asked = asked};
    static const qsr_host_passes passes = {.struct_size = sizeof passes, .above = above, .nearest_norm = nearest_norm};
    (void)host;
    if (strcmp(id, QSR_HOST_STOP) == 0) return &stopping;
    return strcmp(id, QSR_HOST_PASSES) == 0 ? &passes : NULL;
}

void qsr_services_init(qsr_services *s, const char *name, uint64_t seed, qsr_pool *pool, qsr_host *ret_host)
{
    *s = (qsr_services){.name = name, .name_hash = qsr_hash_name(name), .seed = seed, .pool = pool};
    *ret_host = (qsr_host){
        .struct_size = sizeof *ret_host,
        .ctx = s,
        .fail = fail,
        .log = log_line,
        .alloc = alloc,
        .scratch = scratch,
        .random = random_bits,
        .parallel_for = parallel_for,
        .gemm = gemm,
        .select_largest = select_largest,
        .extension = extension,
    };
}

void qsr_services_free(qsr_services *s)
{
    for (struct qsr_allocation *a = s->allocations, *next; a; a = next) {
        next = a->next;
        qsr_block_free(a->bytes);
        free(a);
    }
    s->allocations = NULL;
}

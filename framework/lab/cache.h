/* lab/cache: the rows of a dataset written to disk as a cache (format/cache.h), for several taps in one pass. */
#ifndef QSR_LAB_CACHE_H
#define QSR_LAB_CACHE_H
#include <signal.h>

#include "data/dataset.h"
#include "format/cache.h"

typedef struct {
    const char *out;
    qsr_dtype dtype;
    size_t shard_bytes; /* a shard holds as many units as fit, at least one */
    uint64_t rows;      /* only the first units that hold so many rows; 0: all, which must have an end */
    qsr_pool *pool;
    const volatile sig_atomic_t *stop; /* becomes nonzero to interrupt; or NULL */
    void *ctx;
    void (*progress)(void *ctx, uint64_t units, uint64_t of, uint64_t rows); /* or NULL */
} qsr_cache_options;

/* The cache of one tap. */
typedef struct {
    const char *folder, *name; /* name: of the tap, as text for people */
    qsr_cache cache;           /* as it will be, or as far as it is there */
    bool *there;               /* [cache.shards]: written before, and sound */
    uint64_t kept;             /* how many of them */
    int lock;                  /* -1: not held */
} qsr_cache_part;

typedef struct {
    const qsr_cache_options *options;
    qsr_dataset data;  /* as the spec has it */
    qsr_dataset whole; /* the same with all rows of every unit */
    qsr_cache_part *parts;
    size_t n;            /* taps */
    uint64_t bytes_left; /* to be written to all parts together, about */
    uint64_t bytes_free; /* on the disk */
    qsr_arena arena;
} qsr_cache_job;

/* Opens the data of the specs, which must be one stream, plans a part for each of their taps and looks at what is there already.
 * Creates nothing. A folder that holds something else is QSR_E_INPUT, a disk without room QSR_E_IO. */
qsr_status qsr_cache_job_open(const qsr_spec *const *specs, size_t n, const qsr_cache_options *, qsr_cache_job *ret,
                              qsr_problems *, qsr_error *e);
/* Writes what is missing. QSR_END: interrupted; what is complete stays, as it does after an error. */
qsr_status qsr_cache_job_run(qsr_cache_job *, qsr_error *e);
void qsr_cache_job_close(qsr_cache_job *);

/* ---- for the above: the plan (lab/cache-plan.c) and the shards (lab/cache-shards.c) */

/* The cache.json of a tap before its first shard; "id" included. */
qsr_status qsr_cache_plan(const qsr_cache_job *, const qsr_spec *, json_t **ret, qsr_error *e);
/* The part's cache.json, as its plan is by now. */
qsr_status qsr_cache_plan_save(const qsr_cache_part *, qsr_error *e);
/* "<key>=<now> here, <there> there" for the first thing in which two plans differ, in the arena. */
const char *qsr_cache_plan_difference(qsr_arena *, const json_t *there, const json_t *now);
/* Where the tap of a spec goes below `out`: "resid_pre-4"; "" when the dataset has no TAP options. */
const char *qsr_cache_tap_folder(qsr_arena *, const qsr_spec *);
/* The shards that any part lacks, each for all parts that lack it in one pass over the data. QSR_END: interrupted. */
qsr_status qsr_cache_write_shards(qsr_cache_job *, qsr_error *e);
#endif

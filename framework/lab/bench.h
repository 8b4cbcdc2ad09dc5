/* lab/bench: how long a training step takes, phase by phase, against T: one single-precision encoder product of the batch through
 * OpenBLAS with the same number of threads, timed in the same process, turn by turn with the steps. */
#ifndef QSR_LAB_BENCH_H
#define QSR_LAB_BENCH_H
#include "data/dataset.h"
#include "train/learner.h"

typedef struct {
    double median, low, high; /* milliseconds; quartiles */
} qsr_bench_time;

typedef struct {
    size_t d_in, d_sae, batch, repeats;
    unsigned threads;
    qsr_bench_time t, step, data;        /* T; one step; reading its rows, which training does between steps */
    qsr_bench_time phase[QSR_PHASES];    /* they sum up to the step */
    qsr_phase_counts counts;             /* for GFLOP/s and GB/s */
    double gemm_gflops, copy_gbps;       /* the machine's ceilings, by T itself and by a copy larger than its caches, … */
    double fma_gflops;                   /* … and multiply-adds on numbers in the first cache */
    qsr_sparse_count walked;             /* per timed step: how its sparse products went through the code (math/sparse) */
    const char *screen;                  /* what sae.screen came to */
    qsr_sift_count sifted;               /* per timed step, where it is "bf16" or "int8" */
    qsr_bench_time model;                /* reading model_rows rows where the dataset counts operations (a language model); */
    size_t model_rows;                   /* 0: it does not */
    double model_flops;
    double l0;                           /* of the last step: most phases follow it */
    size_t peak_bytes;                   /* of the process, without the memory that T has */
    bool peak_is_older;                  /* the peak may be from before this benchmark: the system does not let it be forgotten */
    size_t plain_bytes;                  /* of them weights, gradients, moments and the shuffle buffer */
    qsr_bench_time evaluation, coherence; /* with `evaluate`: scoring a batch of held-out rows without reading them; decoder rows, all pairs */
} qsr_bench;

/* The result of T's product: memory that several benchmarks can share. {0} is an empty one. */
typedef struct {
    float *at;
    size_t floats;
} qsr_bench_product;
void qsr_bench_product_free(qsr_bench_product *);

typedef struct {
    size_t repeats; /* timed steps after those for warming up; 0: as many as fit in some ten seconds, at least 5 */
    double dead;    /* this share of the latents never fires, and counts as dead */
    bool evaluate;  /* also times evaluation; the spec must hold out rows */
    bool brief;     /* all steps on one batch, a single one for warming up where it takes seconds, no ceilings of the machine; */
    bool t_once;    /* T once instead of after every step */
    qsr_bench_product *product; /* NULL: one of its own */
} qsr_bench_options;

/* Bad options of the spec are reported as by a run. */
qsr_status qsr_bench_run(const qsr_spec *, qsr_pool *, const qsr_bench_options *, qsr_bench *ret, qsr_problems *, qsr_error *e);
#endif

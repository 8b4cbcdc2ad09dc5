/* lab/forecast: what a run would do, and what it would take: groups, memory, disk, time. Nothing is created. */
#ifndef QSR_LAB_FORECAST_H
#define QSR_LAB_FORECAST_H
#include "lab/plan.h"
#include "lab/survey.h"

typedef enum {
    QSR_WOULD_TRAIN,
    QSR_WOULD_RESUME,  /* from its newest checkpoint */
    QSR_WOULD_SKIP,    /* finished, failed or stale, and not asked to be trained again; or another process has it */
    QSR_WOULD_NOTHING, /* another shard's */
    QSR_WOULD
} qsr_would;

typedef struct {
    qsr_would would;
    size_t group;      /* of the plan, from 1; 0: none */
    size_t d_in;       /* 0: the dataset could not be opened */
    size_t memory;     /* of its learner */
    size_t checkpoint; /* bytes of one */
    size_t disk;       /* what it adds to the disk at most: two checkpoints and what it leaves */
    size_t left;       /* what it leaves: sae/, tokens.csv, latents.csv, contexts, logs */
    uint64_t steps;    /* to take */
    double seconds;    /* in steps, roughly; see below */
} qsr_forecast_cell;

/* Seconds are steps * products of batch x d_in x d_sae * QSR_STEP_PRODUCTS at the speed of a few products timed now. What the
 * dataset takes (a language model's pass) is not known before it runs, and evaluation is not counted. */
#define QSR_STEP_PRODUCTS 4.0

typedef struct {
    qsr_survey survey;        /* cells 0 .. n-1 are the spec's */
    qsr_plan plan;
    qsr_forecast_cell *cells; /* [n] */
    size_t n, trained;        /* how many would train or resume */
    double flops;             /* per second, of all threads together */
    size_t disk, left;        /* of all; with the one checkpoint that is written before an older one goes */
    double seconds;
} qsr_forecast;

/* Also finds what a run would refuse before its first step. */
qsr_status qsr_forecast_make(const qsr_spec *const *cells, size_t n, const qsr_run_options *, qsr_forecast *ret, qsr_problems *,
                             qsr_error *e);
/* What the cells would take if none of them were there yet: all but the survey, and nothing is refused. Where a dataset cannot be
 * opened, d_in and seconds stay 0 and memory and disk say nothing. */
void qsr_forecast_outline(const qsr_spec *const *cells, size_t n, qsr_pool *, qsr_forecast *ret);
void qsr_forecast_free(qsr_forecast *);
#endif

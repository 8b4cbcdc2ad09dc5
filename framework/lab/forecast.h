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
    double products;   /* that one of its steps costs; see below */
    double seconds;    /* in steps, roughly */
} qsr_forecast_cell;

/* Seconds are steps * qsr_forecast_products, at the speed of a few products timed now. What the dataset takes (a language model's
 * pass) is not known before it runs, and evaluation is not counted. */

/* A step's work in encoder products of the batch (batch x d_in x d_sae): the product itself, sparse products in proportion to the
 * latents kept, selection, and what is done to each parameter once per step. Against
 * `quasar bench` at d_in 64 to 768 it is right within 30 % where the activation's rule says how many latents it keeps (screened steps
 * take a third less). Where it does not, a fourth of them is assumed, between the half of a beginning and the few of an
 * end, and a step may take twice or a third of that. Steps below a millisecond take longer. */
double qsr_forecast_products(const qsr_spec *, size_t d_in);

typedef struct {
    qsr_survey survey;        /* cells 0 .. n-1 are the spec's */
    qsr_plan plan;
    qsr_forecast_cell *cells; /* [n] */
    size_t n, trained;        /* how many would train or resume */
    double flops;             /* per second, of all threads together */
    double products;          /* of a step, mean over all steps of all cells */
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

/* lab/plan: which cells train together: those that want the same stream, as many at once as memory holds. */
#ifndef QSR_LAB_PLAN_H
#define QSR_LAB_PLAN_H
#include "lab/group.h"

typedef struct {
    size_t *cells; /* indices */
    size_t n;
    size_t bytes;  /* what its learners, its shuffle buffers and rows under way are estimated to hold; a process takes some 20 MiB more,
                      and a dataset what it keeps itself */
} qsr_plan_group;

typedef struct qsr_plan {
    qsr_plan_group *groups;
    size_t n;
    size_t memory; /* the limit it was made for */
    size_t *d_in;  /* [cells] widths of their rows; 0: not known */
} qsr_plan;

/* Groups in the order of their first cells. With shards, the cells in group order are cut into equal runs first, so that shards
 * need not talk to each other and memory does not decide who trains what. A cell that alone needs more than the limit gets a group of
 * its own, with a warning. exact: open the dataset of one cell alone too, whose group needs no limit. */
void qsr_plan_make(const qsr_spec *const *cells, size_t n, const qsr_run_options *, bool exact, qsr_plan *ret);
/* Whether every group could start, as far as qsr_group_check tells: a mistake in the last must not surface after hours. */
qsr_status qsr_plan_check(const qsr_plan *, const qsr_spec *const *cells, const qsr_run_options *, qsr_problems *, qsr_error *e);
void qsr_plan_free(qsr_plan *);
/* Latents per row that the activation keeps in training, where its rule says so; 0: not known. */
size_t qsr_plan_kept(const qsr_spec *, size_t d_in);
/* Bytes that a cell's learner holds, from its spec; d_in 0: not known yet, taken as d_sae / 8. */
size_t qsr_plan_cell_bytes(const qsr_spec *, size_t d_in, unsigned threads);
size_t qsr_plan_default_memory(void); /* 70 % of what the system says is available */
#endif

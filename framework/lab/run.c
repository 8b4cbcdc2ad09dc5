#include "lab/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sizes.h"
#include "lab/plan.h"
#include "math/blas.h"
#include "math/kernel.h"

const char *const qsr_run_outcome_names[QSR_RUN_OUTCOMES] = {"pending", "completed", "skipped",     "stale",
                                                             "busy",    "failed",    "interrupted"};

static bool stopped(const qsr_run_options *o) { return o->stop && *o->stop; }

/* The cells of a group as arrays that qsr_group_run wants. */
typedef struct {
    const qsr_spec **specs;
    qsr_run_summary **summaries;
    size_t n;
} members;

static members members_of(const qsr_plan *plan, size_t index, const qsr_spec *const *cells, qsr_run_summary *ret)
{
    const qsr_plan_group *g = &plan->groups[index];
    members m = {qsr_xcalloc(g->n, sizeof *m.specs), qsr_xcalloc(g->n, sizeof *m.summaries), g->n};
    for (size_t i = 0; i < g->n; i++) {
        m.specs[i] = cells[g->cells[i]];
        m.summaries[i] = &ret[g->cells[i]];
    }
    return m;
}

static void free_members(members *m)
{
    free(m->specs);
    free(m->summaries);
}

static bool has_failed(const qsr_run_summary *summaries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (summaries[i].outcome == QSR_RUN_FAILED) return true;
    return false;
}

/* A group that could not start after an earlier one did (a full disk, memory) fails by itself. */
static void mark_failed(const members *m, const qsr_error *why)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->summaries[i]->outcome == QSR_RUN_PENDING) {
            m->summaries[i]->outcome = QSR_RUN_FAILED;
            snprintf(m->summaries[i]->reason, sizeof m->summaries[i]->reason, "%s", why->text);
        }
}

/* Cells that this shard's plan leaves out. */
static void mark_elsewhere(const qsr_plan *plan, size_t n, qsr_run_summary *ret)
{
    for (size_t i = 0; i < n; i++) ret[i].elsewhere = true;
    for (size_t g = 0; g < plan->n; g++)
        for (size_t i = 0; i < plan->groups[g].n; i++) ret[plan->groups[g].cells[i]].elsewhere = false;
}

/* Somebody asked to stop before these could begin, maybe in the middle of opening their data. */
static void mark_stopped(qsr_run_summary *summaries, size_t n, qsr_error *why)
{
    for (size_t i = 0; i < n; i++)
        if (summaries[i].outcome == QSR_RUN_PENDING && !summaries[i].elsewhere)
            snprintf(summaries[i].reason, sizeof summaries[i].reason, "%s", why->text);
    *why = (qsr_error){0};
}

static qsr_status run_groups(const qsr_plan *plan, const qsr_spec *const *cells, size_t n, const qsr_run_options *options,
                             qsr_run_summary *ret, qsr_problems *problems, qsr_error *e)
{
    for (size_t i = 0; i < plan->n && !stopped(options); i++) {
        members m = members_of(plan, i, cells, ret);
        qsr_status status = qsr_group_run(m.specs, m.summaries, m.n, options, problems, e);
        if (status && i > 0 && !stopped(options)) {
            mark_failed(&m, e);
            *e = (qsr_error){0};
            status = QSR_OK;
        }
        free_members(&m);
        if (status) return status;
        if (options->stop_at_failure && has_failed(ret, n)) break;
    }
    return QSR_OK;
}

qsr_status qsr_lab_run(const qsr_spec *const *cells, size_t n, const qsr_run_options *options, qsr_run_summary *ret,
                       qsr_problems *problems, qsr_error *e)
{
    memset(ret, 0, n * sizeof *ret);
    qsr_status status = qsr_blas_verify(e);
    if (!status) status = qsr_kernels_verify(e);
    if (status) return status;
    qsr_plan plan;
    qsr_plan_make(cells, n, options, false, &plan);
    mark_elsewhere(&plan, n, ret);
    if (plan.n > 1) status = qsr_plan_check(&plan, cells, options, problems, e);
    if (!status && n > 1 && options->watcher.plan) options->watcher.plan(options->watcher.ctx, &plan, cells, n);
    if (!status) status = run_groups(&plan, cells, n, options, ret, problems, e);
    if (status && stopped(options)) {
        mark_stopped(ret, n, e);
        status = QSR_OK;
    }
    qsr_plan_free(&plan);
    return status;
}

#include "plugin/check-batch.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"

/* ---- inputs */

enum { PADDING = 5 };

qsr_check_input qsr_check_input_make(const qsr_check *c, size_t rows, uint64_t which)
{
    qsr_check_input in = {.rows = rows, .d_sae = c->shape.d_sae, .d_in = c->shape.d_in, .ld = c->shape.d_sae + PADDING};
    in.pre = qsr_guard_new(rows * in.ld, sizeof *in.pre);
    in.input_norm = qsr_guard_new(rows, sizeof *in.input_norm);
    in.dec_norm = qsr_guard_new(in.d_sae, sizeof *in.dec_norm);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < in.ld; j++)
            in.pre[r * in.ld + j] = j < in.d_sae ? (float)qsr_check_normal("pre", (which << 32) + r * in.ld + j) : NAN;
        in.input_norm[r] = 1.5 + 3 * qsr_check_uniform("norm", (which << 32) + r);
    }
    for (size_t j = 0; j < in.d_sae; j++) in.dec_norm[j] = (float)(0.5 + qsr_check_uniform("decoder", j));
    return in;
}

void qsr_check_input_free(qsr_check_input *in)
{
    qsr_guard_free(in->pre);
    qsr_guard_free(in->input_norm);
    qsr_guard_free(in->dec_norm);
    *in = (qsr_check_input){0};
}

qsr_rows qsr_check_rows(const qsr_made *made, const qsr_check_input *in, uint32_t mode, size_t begin, size_t end)
{
    uint64_t needs = made->plugin->needs;
    return (qsr_rows){
        .struct_size = sizeof(qsr_rows),
        .mode = mode,
        .rows = end - begin,
        .d_sae = in->d_sae,
        .d_in = in->d_in,
        .row0 = begin,
        .batch_rows = in->rows,
        .pre = in->pre + begin * in->ld,
        .ld_pre = in->ld,
        .input_norm = needs & QSR_NEED_INPUT_NORM ? in->input_norm + begin : NULL,
        .dec_norm = needs & QSR_NEED_DEC_NORM ? in->dec_norm : NULL,
    };
}

/* ---- results */

static qsr_check_result result_make(size_t rows, size_t d_sae, uint32_t planes)
{
    qsr_check_result r = {.rows = rows, .d_sae = d_sae, .planes = planes};
    r.support = qsr_xcalloc(rows, d_sae);
    r.value = qsr_xcalloc(rows * d_sae, sizeof *r.value);
    for (uint32_t p = 0; p < planes; p++) r.plane[p] = qsr_xcalloc(rows * d_sae, sizeof *r.plane[p]);
    return r;
}

void qsr_check_result_free(qsr_check_result *r)
{
    free(r->support);
    free(r->value);
    free(r->plane[0]);
    free(r->plane[1]);
    *r = (qsr_check_result){0};
}

static void scatter(const qsr_code *code, size_t row0, qsr_check_result *to)
{
    for (size_t r = 0; r < code->rows; r++)
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++) {
            size_t at = (row0 + r) * to->d_sae + code->latent[i];
            to->support[at] = 1;
            to->value[at] = code->value[i];
            for (uint32_t p = 0; p < to->planes; p++) to->plane[p][at] = code->plane[p][i];
        }
}

qsr_code *qsr_check_code_of(const qsr_check_result *from)
{
    qsr_code *code = qsr_guard_code(from->rows, from->d_sae, from->planes);
    size_t n = 0;
    for (size_t r = 0; r < from->rows; r++) {
        for (size_t j = 0; j < from->d_sae; j++) {
            size_t at = r * from->d_sae + j;
            if (!from->support[at]) continue;
            code->latent[n] = (uint32_t)j;
            code->value[n] = from->value[at];
            for (uint32_t p = 0; p < from->planes; p++) code->plane[p][n] = from->plane[p][at];
            n++;
        }
        code->row_begin[r + 1] = n;
    }
    return code;
}

qsr_status qsr_check_same(const qsr_check_result *a, const qsr_check_result *b, const char *what, qsr_error *e)
{
    for (size_t i = 0; i < a->rows * a->d_sae; i++) {
        bool same = a->support[i] == b->support[i] && memcmp(&a->value[i], &b->value[i], sizeof *a->value) == 0;
        for (uint32_t p = 0; p < a->planes; p++)
            same = same && memcmp(&a->plane[p][i], &b->plane[p][i], sizeof(float)) == 0;
        if (!same)
            return qsr_fail(e, QSR_E_INTERNAL, "%s: row %zu, latent %zu is %s%.9g in one and %s%.9g in the other", what,
                            i / a->d_sae, i % a->d_sae, a->support[i] ? "" : "absent, ", a->value[i],
                            b->support[i] ? "" : "absent, ", b->value[i]);
    }
    return QSR_OK;
}

/* ---- a batch */

struct job {
    const qsr_made *made;
    const qsr_check_input *in;
    const qsr_check_how *how;
    size_t row0;
    qsr_check_result *result;
    qsr_first_error first;
};

/* QSR_END is no way for a forward or a prune to end. */
static qsr_status only_ok(qsr_status status, const char *what, qsr_error *e)
{
    return status == QSR_END ? qsr_fail(e, QSR_E_INTERNAL, "%s returned QSR_END", what) : status;
}

static qsr_status forward_block(void *arg, size_t begin, size_t end)
{
    struct job *job = arg;
    qsr_error e = {0};
    begin += job->row0, end += job->row0;
    const qsr_activation_ops *ops = job->made->plugin->ops;
    qsr_rows in = qsr_check_rows(job->made, job->in, job->how->mode, begin, end);
    qsr_code *code = qsr_guard_code(in.rows, in.d_sae, ops->planes);
    qsr_status status =
        only_ok(qsr_made_finish(job->made, ops->forward(job->made->instance, &in, code), &e), "forward", &e);
    if (!status) status = qsr_check_code(code, &e);
    if (!status) scatter(code, begin, job->result);
    if (!qsr_guard_code_free(code))
        status = qsr_fail(&e, QSR_E_INTERNAL, "forward wrote outside of the arrays of its code");
    return status ? qsr_first_error_note(&job->first, begin, &e) : QSR_OK;
}

static qsr_status forward_rows(qsr_made *made, const qsr_check_input *in, const qsr_check_how *how, size_t begin,
                               size_t end, qsr_check_result *result, qsr_error *e)
{
    struct job job = {.made = made, .in = in, .how = how, .row0 = begin, .result = result};
    qsr_first_error_init(&job.first);
    qsr_status status = qsr_pool_run(how->pool, end - begin, how->grain, forward_block, &job);
    if (status && e) *e = job.first.error;
    return status;
}

/* The candidates of rows [0, rows) of a result. */
struct candidates {
    qsr_candidates c;
    uint32_t *row, *latent;
    float *value;
};

static struct candidates gather(const qsr_check_result *from, size_t rows, size_t batch_rows)
{
    struct candidates g;
    size_t most = rows * from->d_sae, n = 0;
    g.row = qsr_xcalloc(most, sizeof *g.row);
    g.latent = qsr_xcalloc(most, sizeof *g.latent);
    g.value = qsr_xcalloc(most, sizeof *g.value);
    for (size_t i = 0; i < most; i++) {
        if (!from->support[i]) continue;
        g.row[n] = (uint32_t)(i / from->d_sae);
        g.latent[n] = (uint32_t)(i % from->d_sae);
        g.value[n++] = from->value[i];
    }
    g.c = (qsr_candidates){.struct_size = sizeof g.c,
                           .count = n,
                           .batch_rows = batch_rows,
                           .d_sae = from->d_sae,
                           .row = g.row,
                           .latent = g.latent,
                           .value = g.value,
                           .keep = qsr_guard_new(n, 1)};
    return g;
}

static qsr_status drop(const struct candidates *g, qsr_check_result *result, qsr_error *e)
{
    for (size_t i = 0; i < g->c.count; i++) {
        size_t at = g->row[i] * result->d_sae + g->latent[i];
        if (g->c.keep[i] > 1)
            return qsr_fail(e, QSR_E_INTERNAL, "prune wrote %d for candidate %zu: write 0 or 1 for every one", g->c.keep[i],
                            i);
        if (g->c.keep[i]) continue;
        result->support[at] = 0;
        result->value[at] = 0;
        for (uint32_t p = 0; p < result->planes; p++) result->plane[p][at] = 0;
    }
    return QSR_OK;
}

static qsr_status prune(qsr_made *made, size_t rows, size_t batch_rows, bool final, qsr_check_result *result, qsr_error *e)
{
    const qsr_activation_ops *ops = made->plugin->ops;
    struct candidates g = gather(result, rows, batch_rows);
    g.c.final = final;
    memset(g.c.keep, 0x7e, g.c.count); /* every one must be written */
    qsr_made_serial(made);
    qsr_status status = only_ok(qsr_made_finish(made, ops->prune(made->instance, &g.c), e), "prune", e);
    if (!status) status = drop(&g, result, e);
    if (!qsr_guard_free(g.c.keep)) status = qsr_fail(e, QSR_E_INTERNAL, "prune wrote outside of keep");
    free(g.row);
    free(g.latent);
    free(g.value);
    return status;
}

static size_t count(const qsr_check_result *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->rows * r->d_sae; i++) n += r->support[i];
    return n;
}

static qsr_status check_limit(const qsr_made *made, const qsr_check_result *r, qsr_error *e)
{
    const qsr_activation_ops *ops = made->plugin->ops;
    size_t limit = ops->keep_limit ? ops->keep_limit(made->instance, r->rows) : SIZE_MAX;
    if (r->entries <= limit) return QSR_OK;
    return qsr_fail(e, QSR_E_INTERNAL, "%zu entries stayed in a batch of %zu rows, but keep_limit says %zu", r->entries,
                    r->rows, limit);
}

static qsr_status run_stages(qsr_made *made, const qsr_check_input *in, const qsr_check_how *how, qsr_check_result *r,
                             qsr_error *e)
{
    const qsr_activation_ops *ops = made->plugin->ops;
    bool train = how->mode == QSR_TRAIN, coupled = train && (made->plugin->caps & QSR_CAP_ROWS_COUPLED);
    size_t half = coupled && how->early_prune ? in->rows / 2 : 0;
    qsr_batch batch = {.struct_size = sizeof batch,
                       .mode = how->mode,
                       .rows = in->rows,
                       .d_in = in->d_in,
                       .d_sae = in->d_sae,
                       .dec_norm = made->plugin->needs & QSR_NEED_DEC_NORM ? in->dec_norm : NULL};
    qsr_status status = QSR_OK;
    if (train && ops->begin_batch) {
        qsr_made_serial(made);
        status = only_ok(qsr_made_finish(made, ops->begin_batch(made->instance, &batch), e), "begin_batch", e);
    }
    if (!status && half) status = forward_rows(made, in, how, 0, half, r, e);
    if (!status && half) status = prune(made, half, in->rows, false, r, e);
    if (!status) status = forward_rows(made, in, how, half, in->rows, r, e);
    if (!status && coupled) status = prune(made, in->rows, in->rows, true, r, e);
    r->entries = count(r);
    if (!status && coupled) status = check_limit(made, r, e);
    if (!status && train && ops->end_batch) {
        qsr_made_serial(made);
        status = only_ok(qsr_made_finish(made, ops->end_batch(made->instance, &batch), e), "end_batch", e);
    }
    return status;
}

/* Inputs are the host's: they must be what they were. */
static qsr_status check_inputs(const qsr_check_input *now, const qsr_check_input *before, qsr_error *e)
{
    const char *what = NULL;
    if (memcmp(now->pre, before->pre, now->rows * now->ld * sizeof *now->pre) != 0) what = "pre";
    if (memcmp(now->input_norm, before->input_norm, now->rows * sizeof *now->input_norm) != 0) what = "input_norm";
    if (memcmp(now->dec_norm, before->dec_norm, now->d_sae * sizeof *now->dec_norm) != 0) what = "dec_norm";
    return what ? qsr_fail(e, QSR_E_INTERNAL, "%s was changed, which is the host's", what) : QSR_OK;
}

static qsr_check_input copy_input(const qsr_check_input *in)
{
    qsr_check_input copy = *in;
    copy.pre = qsr_guard_new(in->rows * in->ld, sizeof *in->pre);
    copy.input_norm = qsr_guard_new(in->rows, sizeof *in->input_norm);
    copy.dec_norm = qsr_guard_new(in->d_sae, sizeof *in->dec_norm);
    memcpy(copy.pre, in->pre, in->rows * in->ld * sizeof *in->pre);
    memcpy(copy.input_norm, in->input_norm, in->rows * sizeof *in->input_norm);
    memcpy(copy.dec_norm, in->dec_norm, in->d_sae * sizeof *in->dec_norm);
    return copy;
}

qsr_status qsr_check_batch(qsr_made *made, const qsr_check_input *in, qsr_check_how how, qsr_check_result *ret,
                           qsr_error *e)
{
    qsr_check_input before = copy_input(in);
    *ret = result_make(in->rows, in->d_sae, ((const qsr_activation_ops *)made->plugin->ops)->planes);
    qsr_status status = run_stages(made, in, &how, ret, e);
    if (!status) status = check_inputs(in, &before, e);
    qsr_check_input_free(&before);
    return status;
}

#include "plugin/check-world.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "math/select.h"

enum { ACTIVE_PER_ROW = 6, QUIET_PER_ROW = 2, MADE_LIMIT = 16 };

/* ---- the world */

static float *normals(const char *stream, size_t n, double scale)
{
    float *v = qsr_guard_new(n, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = (float)(scale * qsr_check_normal(stream, i));
    return v;
}

/* Six active latents a row, and two in the support with value 0, as surrogate activations keep them. */
static void make_code(qsr_world *w)
{
    for (size_t r = 0; r < w->rows; r++)
        for (size_t i = 0; i < ACTIVE_PER_ROW + QUIET_PER_ROW; i++) {
            size_t at = r * w->d_sae + (r * 5 + i * (w->d_sae / (ACTIVE_PER_ROW + QUIET_PER_ROW))) % w->d_sae;
            w->support[at] = 1;
            w->value[at] = i < ACTIVE_PER_ROW ? (float)(0.4 + fabs(qsr_check_normal("value", at))) : 0;
        }
}

qsr_world qsr_world_make(const qsr_check *c)
{
    qsr_world w = {.rows = c->shape.batch_rows, .d_in = c->shape.d_in, .d_sae = c->shape.d_sae};
    w.x = normals("x", w.rows * w.d_in, 1);
    w.xhat = normals("xhat", w.rows * w.d_in, 1);
    w.pre = normals("pre", w.rows * w.d_sae, 1);
    w.w_dec = normals("decoder", w.d_sae * w.d_in, 0.4);
    w.b_dec = normals("bias", w.d_in, 0.3);
    w.dec_norm = qsr_guard_new(w.d_sae, sizeof *w.dec_norm);
    w.silent = qsr_guard_new(w.d_sae, sizeof *w.silent);
    w.support = qsr_guard_new(w.rows * w.d_sae, 1);
    w.value = qsr_guard_new(w.rows * w.d_sae, sizeof *w.value);
    for (size_t j = 0; j < w.d_sae; j++) {
        w.dec_norm[j] = (float)(0.6 + 0.8 * qsr_check_uniform("norm", j));
        w.silent[j] = j % 2 ? 1000000000 : 0;
    }
    make_code(&w);
    return w;
}

static void *copy_of(const void *from, size_t n, size_t size)
{
    void *to = qsr_guard_new(n, size);
    memcpy(to, from, n * size);
    return to;
}

qsr_world qsr_world_copy(const qsr_world *from)
{
    qsr_world w = *from;
    w.x = copy_of(from->x, w.rows * w.d_in, sizeof *w.x);
    w.xhat = copy_of(from->xhat, w.rows * w.d_in, sizeof *w.xhat);
    w.pre = copy_of(from->pre, w.rows * w.d_sae, sizeof *w.pre);
    w.w_dec = copy_of(from->w_dec, w.d_sae * w.d_in, sizeof *w.w_dec);
    w.b_dec = copy_of(from->b_dec, w.d_in, sizeof *w.b_dec);
    w.dec_norm = copy_of(from->dec_norm, w.d_sae, sizeof *w.dec_norm);
    w.silent = copy_of(from->silent, w.d_sae, sizeof *w.silent);
    w.support = copy_of(from->support, w.rows * w.d_sae, 1);
    w.value = copy_of(from->value, w.rows * w.d_sae, sizeof *w.value);
    return w;
}

void qsr_world_free(qsr_world *w)
{
    void *all[] = {w->x, w->xhat, w->pre, w->w_dec, w->b_dec, w->dec_norm, w->silent, w->support, w->value};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) qsr_guard_free(all[i]);
    *w = (qsr_world){0};
}

uint64_t qsr_world_sum(const qsr_world *w)
{
    uint64_t sums[] = {
        qsr_checksum(w->x, w->rows * w->d_in * sizeof *w->x),  qsr_checksum(w->xhat, w->rows * w->d_in * sizeof *w->xhat),
        qsr_checksum(w->b_dec, w->d_in * sizeof *w->b_dec),    qsr_checksum(w->dec_norm, w->d_sae * sizeof *w->dec_norm),
        qsr_checksum(w->silent, w->d_sae * sizeof *w->silent),
    };
    return qsr_checksum(sums, sizeof sums);
}

qsr_outcome qsr_outcome_make(const qsr_world *w)
{
    size_t entries = w->rows * w->d_sae;
    return (qsr_outcome){
        .d_xhat = qsr_xcalloc(w->rows * w->d_in, sizeof(float)),
        .d_value = qsr_xcalloc(entries, sizeof(float)),
        .d_active = qsr_xcalloc(entries, sizeof(float)),
        .d_norm = qsr_xcalloc(entries, sizeof(float)),
        .view_value = qsr_xcalloc(entries, sizeof(double)),
        .view_pre = qsr_xcalloc(entries, sizeof(double)),
        .view_w_dec = qsr_xcalloc(w->d_sae * w->d_in, sizeof(double)),
        .view_b_dec = qsr_xcalloc(w->d_in, sizeof(double)),
    };
}

void qsr_outcome_free(qsr_outcome *o)
{
    void *all[] = {o->d_xhat, o->d_value, o->d_active, o->d_norm, o->view_value, o->view_pre, o->view_w_dec, o->view_b_dec};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    *o = (qsr_outcome){0};
}

/* ---- the view */

struct look {
    const qsr_world *world;
    size_t begin;
    const qsr_code *own;
    qsr_code *made[MADE_LIMIT];
    size_t n_made;
    qsr_outcome *to;
    qsr_error *e;
};

static void encode_row(struct look *l, qsr_code *code, size_t r, const uint32_t *latents, size_t n, size_t k)
{
    const float *pre = l->world->pre + (l->begin + r) * l->world->d_sae;
    float *values = qsr_xcalloc(n, sizeof *values);
    uint32_t *index = qsr_xcalloc(n, sizeof *index);
    for (size_t i = 0; i < n; i++) values[i] = pre[latents[i]];
    size_t count = qsr_select_largest(values, n, qsr_min_size(k, n), index), at = code->row_begin[r];
    for (size_t i = 0; i < count; i++, at++) {
        code->latent[at] = latents[index[i]];
        code->value[at] = values[index[i]];
    }
    code->row_begin[r + 1] = at;
    free(values);
    free(index);
}

static qsr_status check_foreseen(const struct look *l, const uint32_t *latents, size_t n, size_t k)
{
    const qsr_loss_outlook *o = l->world->outlook;
    size_t named = 0;
    if (!o) return QSR_OK;
    for (size_t i = 0; i < n; i++)
        if (!o->latents[latents[i]])
            return qsr_fail(l->e, QSR_E_INTERNAL, "encode_top got latent %u, which outlook() did not name", (unsigned)latents[i]);
    for (size_t j = 0; j < l->world->d_sae; j++) named += o->latents[j];
    k = qsr_min_size(k, n);
    return k <= qsr_min_size(o->k, named)
               ? QSR_OK
               : qsr_fail(l->e, QSR_E_INTERNAL, "encode_top was asked for %zu latents of a row, and outlook() said %zu", k, o->k);
}

static qsr_status encode_top(const qsr_view *view, const uint32_t *latents, size_t n, size_t k, const qsr_code **ret_code)
{
    struct look *l = view->ctx;
    for (size_t i = 0; i < n; i++)
        if (latents[i] >= l->world->d_sae || (i && latents[i] <= latents[i - 1]))
            return qsr_fail(l->e, QSR_E_INTERNAL, "encode_top got latent %u at %zu: they must ascend and be below d_sae",
                            (unsigned)latents[i], i);
    qsr_status status = check_foreseen(l, latents, n, k);
    if (status) return status;
    if (l->n_made == MADE_LIMIT)
        return qsr_fail(l->e, QSR_E_INTERNAL, "encode_top was called more than %d times", MADE_LIMIT);
    qsr_code *code = l->made[l->n_made++] = qsr_guard_code(l->own->rows, l->world->d_sae, 0);
    for (size_t r = 0; r < code->rows; r++) encode_row(l, code, r, latents, n, k);
    uint64_t sums[] = {l->to->chosen, qsr_checksum(code->latent, code->row_begin[code->rows] * sizeof *code->latent)};
    l->to->chosen = qsr_checksum(sums, sizeof sums);
    *ret_code = code;
    return QSR_OK;
}

/* A loss without the block's code (VIEW_ONLY) cannot name it, so what it passes is one that encode_top made. */
static bool known(const struct look *l, const qsr_code *code)
{
    bool is = code == l->own;
    for (size_t i = 0; i < l->n_made; i++) is = is || code == l->made[i];
    return is;
}

/* Any span of latents is legal: what lies outside of them is empty. */
static qsr_status check_code(const struct look *l, const qsr_code *code)
{
    return known(l, code)
               ? QSR_OK
               : qsr_fail(l->e, QSR_E_INTERNAL, "the view got a code that is neither the block's nor encode_top's");
}

static qsr_status decode(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias, float *out)
{
    struct look *l = view->ctx;
    const qsr_world *w = l->world;
    qsr_status status = check_code(l, code);
    for (size_t r = 0; r < code->rows && !status; r++)
        for (size_t d = 0; d < w->d_in; d++) {
            double sum = bias ? w->b_dec[d] : 0;
            for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++)
                if (code->latent[i] >= begin && code->latent[i] < end)
                    sum += (double)code->value[i] * w->w_dec[code->latent[i] * w->d_in + d];
            out[r * w->d_in + d] = (float)sum;
        }
    return status;
}

static void backward_entry(struct look *l, bool own, size_t r, uint32_t latent, double value, const float *d_out)
{
    const qsr_world *w = l->world;
    const float *row = w->w_dec + latent * w->d_in;
    double *towards = (own ? l->to->view_value : l->to->view_pre) + (l->begin + r) * w->d_sae + latent;
    for (size_t d = 0; d < w->d_in; d++) {
        *towards += (double)row[d] * d_out[d];
        l->to->view_w_dec[latent * w->d_in + d] += value * d_out[d];
    }
}

static qsr_status view_backward(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias,
                                const float *d_out)
{
    struct look *l = view->ctx;
    size_t d_in = l->world->d_in;
    qsr_status status = check_code(l, code);
    for (size_t r = 0; r < code->rows && !status; r++) {
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++)
            if (code->latent[i] >= begin && code->latent[i] < end)
                backward_entry(l, code == l->own, r, code->latent[i], code->value[i], d_out + r * d_in);
        for (size_t d = 0; bias && d < d_in; d++) l->to->view_b_dec[d] += d_out[r * d_in + d];
    }
    return status;
}

/* ---- calls */

static uint64_t traits(const qsr_made *made)
{
    const qsr_loss_ops *ops = made->plugin->ops;
    return ops->traits ? ops->traits(made->instance) : 0;
}

static uint64_t needs(const qsr_made *made)
{
    const qsr_loss_ops *ops = made->plugin->ops;
    return ops->needs ? ops->needs(made->instance) & made->plugin->needs : made->plugin->needs;
}

bool qsr_world_after_batch(const qsr_made *made) { return traits(made) & QSR_LOSS_AFTER_BATCH; }

bool qsr_world_view_only(const qsr_made *made) { return traits(made) & QSR_LOSS_VIEW_ONLY; }

/* Counters from which the batch makes those of the world: of those that fired in it, some had been silent for long. */
static uint64_t *silent_before(const qsr_world *w)
{
    uint64_t *before = qsr_guard_new(w->d_sae, sizeof *before);
    for (size_t j = 0; j < w->d_sae; j++)
        before[j] = w->silent[j] >= w->rows ? w->silent[j] - w->rows : j % 3 ? 7 : (uint64_t)1 << 60;
    return before;
}

qsr_status qsr_world_outlook(const qsr_made *made, const qsr_world *w, qsr_loss_outlook *ret, qsr_error *e)
{
    const qsr_loss_ops *ops = made->plugin->ops;
    uint64_t *before = silent_before(w), sum = qsr_checksum(before, w->d_sae * sizeof *before);
    *ret = (qsr_loss_outlook){.struct_size = sizeof *ret, .rows = w->rows, .d_sae = w->d_sae, .latents = ret->latents,
                              .silent = needs(made) & QSR_NEED_SILENT ? before : NULL};
    qsr_made_serial(made);
    qsr_status status = qsr_made_finish(made, ops->outlook(made->instance, ret), e);
    for (size_t j = 0; status == QSR_OK && j < w->d_sae; j++)
        if (ret->latents[j] > 1)
            status = qsr_fail(e, QSR_E_INTERNAL, "outlook() wrote %u for latent %zu, where only 0 and 1 mean something",
                              ret->latents[j], j);
    bool changed = qsr_checksum(before, w->d_sae * sizeof *before) != sum;
    ret->silent = NULL;
    if (!qsr_guard_free(before) || (status >= 0 && changed))
        return qsr_fail(e, QSR_E_INTERNAL, "outlook() changed its inputs, which are the host's");
    return status;
}

qsr_status qsr_world_batch(const qsr_made *made, const qsr_world *w, qsr_error *e)
{
    const qsr_loss_ops *ops = made->plugin->ops;
    uint64_t bits = traits(made);
    if ((bits & QSR_LOSS_VIEW_ONLY) && !(bits & QSR_LOSS_AFTER_BATCH))
        return qsr_fail(e, QSR_E_INTERNAL, "QSR_LOSS_VIEW_ONLY without QSR_LOSS_AFTER_BATCH");
    if (!(bits & QSR_LOSS_AFTER_BATCH)) return QSR_OK;
    if (!ops->batch) return qsr_fail(e, QSR_E_INTERNAL, "QSR_LOSS_AFTER_BATCH, but no batch()");
    uint64_t before = qsr_world_sum(w);
    qsr_loss_batch in = {.struct_size = sizeof in,
                         .rows = w->rows,
                         .d_in = w->d_in,
                         .d_sae = w->d_sae,
                         .x = w->x,
                         .xhat = w->xhat,
                         .silent = needs(made) & QSR_NEED_SILENT ? w->silent : NULL};
    qsr_made_serial(made);
    qsr_status status = qsr_made_finish(made, ops->batch(made->instance, &in), e);
    if (status >= 0 && qsr_world_sum(w) != before)
        return qsr_fail(e, QSR_E_INTERNAL, "batch() changed its inputs, which are the host's");
    return status;
}

static qsr_code *code_of_rows(const qsr_world *w, size_t begin, size_t end)
{
    qsr_code *code = qsr_guard_code(end - begin, w->d_sae, 0);
    size_t n = 0;
    for (size_t r = begin; r < end; r++) {
        for (size_t j = 0; j < w->d_sae; j++) {
            if (!w->support[r * w->d_sae + j]) continue;
            code->latent[n] = (uint32_t)j;
            code->value[n++] = w->value[r * w->d_sae + j];
        }
        code->row_begin[r - begin + 1] = n;
    }
    return code;
}

static float *filled(size_t n, float start)
{
    float *v = qsr_guard_new(n, sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = start;
    return v;
}

/* Adds what an entry array holds above its start to a dense array. */
static void spread(const qsr_code *code, size_t row0, size_t d_sae, const float *from, float start, float *to)
{
    for (size_t r = 0; from && r < code->rows; r++)
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++)
            to[(row0 + r) * d_sae + code->latent[i]] += from[i] - start;
}

static qsr_status call_rows(const qsr_made *made, const qsr_world *w, size_t begin, size_t end, float start,
                            struct look *look, qsr_code *code, qsr_outcome *to, qsr_error *e)
{
    const qsr_loss_ops *ops = made->plugin->ops;
    bool only = qsr_world_view_only(made);
    uint64_t wanted = needs(made);
    size_t entries = code->row_begin[code->rows], n = (end - begin) * w->d_in;
    qsr_view view = {
        .struct_size = sizeof view, .ctx = look, .encode_top = encode_top, .decode = decode, .backward = view_backward};
    qsr_loss_rows in = {.struct_size = sizeof in,
                        .rows = end - begin,
                        .d_in = w->d_in,
                        .d_sae = w->d_sae,
                        .row0 = begin,
                        .batch_rows = w->rows,
                        .x = w->x + begin * w->d_in,
                        .xhat = w->xhat + begin * w->d_in,
                        .code = only ? NULL : code,
                        .dec_norm = wanted & QSR_NEED_DEC_NORM ? w->dec_norm : NULL,
                        .b_dec = wanted & QSR_NEED_B_DEC ? w->b_dec : NULL,
                        .view = &view};
    qsr_loss_grads g = {.struct_size = sizeof g};
    if (!only) {
        g.d_xhat = filled(n, start);
        g.d_value = filled(entries, start);
        g.d_active = filled(entries, start);
        g.d_norm = wanted & QSR_NEED_D_NORM ? filled(entries, start) : NULL;
    }
    double value = NAN;
    qsr_status status = qsr_made_finish(made, ops->rows(made->instance, &in, &g, &value), e);
    if (status == QSR_END) status = qsr_fail(e, QSR_E_INTERNAL, "rows() returned QSR_END");
    if (!status && !isfinite(value)) status = qsr_fail(e, QSR_E_INTERNAL, "rows() gave the value %g", value);
    to->value += value;
    for (size_t i = 0; g.d_xhat && i < n; i++) to->d_xhat[begin * w->d_in + i] += g.d_xhat[i] - start;
    spread(code, begin, w->d_sae, g.d_value, start, to->d_value);
    spread(code, begin, w->d_sae, g.d_active, start, to->d_active);
    spread(code, begin, w->d_sae, g.d_norm, start, to->d_norm);
    bool intact = qsr_guard_free(g.d_xhat);
    intact &= qsr_guard_free(g.d_value);
    intact &= qsr_guard_free(g.d_active);
    intact &= qsr_guard_free(g.d_norm);
    return intact ? status : qsr_fail(e, QSR_E_INTERNAL, "rows() wrote outside of its gradients");
}

/* The inputs of a block may not change, nor may the code. */
qsr_status qsr_world_rows(const qsr_made *made, const qsr_world *w, size_t begin, size_t end, float start, qsr_outcome *to,
                          qsr_error *e)
{
    uint64_t before = qsr_world_sum(w);
    qsr_error misuse = {0};
    qsr_code *code = code_of_rows(w, begin, end), *copy = code_of_rows(w, begin, end);
    struct look look = {.world = w, .begin = begin, .own = code, .to = to, .e = &misuse};
    qsr_status status = call_rows(made, w, begin, end, start, &look, code, to, e);
    if (misuse.code && e) *e = misuse;
    if (misuse.code) status = misuse.code;
    size_t entries = copy->row_begin[copy->rows];
    bool same = memcmp(code->row_begin, copy->row_begin, (copy->rows + 1) * sizeof *copy->row_begin) == 0 &&
                memcmp(code->latent, copy->latent, entries * sizeof *copy->latent) == 0 &&
                memcmp(code->value, copy->value, entries * sizeof *copy->value) == 0;
    if (!status && (!same || qsr_world_sum(w) != before))
        status = qsr_fail(e, QSR_E_INTERNAL, "rows() changed its inputs, which are the host's");
    for (size_t i = 0; i < look.n_made; i++) qsr_guard_code_free(look.made[i]);
    bool intact = qsr_guard_code_free(code);
    qsr_guard_code_free(copy);
    return intact ? status : qsr_fail(e, QSR_E_INTERNAL, "rows() wrote outside of the code");
}

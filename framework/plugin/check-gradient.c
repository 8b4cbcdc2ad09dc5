#include "plugin/check-gradient.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "plugin/check-batch.h"

enum { DIRECTIONS = 44 };

/* A change of standard normal size times this. Large against float32's rounding of values near 1, small against the gaps between
 * the largest of a row, so that most directions keep the active latents. */
static const double step = 1.0 / 128;

/* ---- one evaluation, always on a fresh instance: a batch may change its state */

/* What is added to a parameter before the batch; param NULL: nothing. */
typedef struct {
    uint32_t index;
    const double *delta; /* [d_sae] */
    double factor;
    float *now; /* [d_sae] out: the parameter that was used */
} nudge;

static qsr_status nudge_param(qsr_made *made, const nudge *n, size_t d_sae, qsr_error *e)
{
    const qsr_params_ops *ops = qsr_made_extension(made, QSR_EXT_PARAMS);
    qsr_param param = {0};
    qsr_status status = qsr_made_finish(made, ops->get(made->instance, n->index, &param), e);
    for (size_t j = 0; j < d_sae && !status; j++) n->now[j] = param.value[j] += (float)(n->factor * n->delta[j]);
    return status;
}

/* Away from where they start: a gain of 1 or an offset of 0 hides what a gradient lacks. Within the bounds. */
static qsr_status move_params(const qsr_check *c, qsr_made *made, qsr_error *e)
{
    const qsr_params_ops *ops = qsr_made_extension(made, QSR_EXT_PARAMS);
    qsr_status status = QSR_OK;
    for (uint32_t i = 0; ops && i < ops->count && !status; i++) {
        qsr_param p = {0};
        status = qsr_made_finish(made, ops->get(made->instance, i, &p), e);
        for (size_t j = 0; j < c->shape.d_sae && !status; j++) {
            double moved = p.value[j] * (1 + 0.2 * qsr_check_normal("moved", 2 * j)) + 0.05 * qsr_check_normal("moved", 2 * j + 1);
            p.value[j] = (float)fmin(fmax(moved, p.lower), p.upper);
        }
    }
    return status;
}

static qsr_status make(const qsr_check *c, const qsr_check_input *in, qsr_made **ret, qsr_error *e)
{
    qsr_status status = qsr_check_make(c, c->one, ret, e);
    if (status || !in->moved) return status;
    status = move_params(c, *ret, e);
    if (status) qsr_made_free(*ret);
    return status;
}

static qsr_status evaluate(const qsr_check *c, const qsr_check_input *in, const nudge *n, qsr_check_result *ret,
                           qsr_error *e)
{
    qsr_made *made;
    *ret = (qsr_check_result){0};
    qsr_status status = make(c, in, &made, e);
    if (status) return status;
    if (n) status = nudge_param(made, n, c->shape.d_sae, e);
    if (!status) status = qsr_check_batch(made, in, (qsr_check_how){QSR_TRAIN, c->one, in->rows, false}, ret, e);
    qsr_made_free(made);
    return status;
}

/* ---- backward of a result */

/* Dense gradients, [rows][d_sae]; 0 outside of the support. */
typedef struct {
    double *pre, *param[2];
} gradients;

static void gradients_free(gradients *g)
{
    free(g->pre);
    free(g->param[0]);
    free(g->param[1]);
}

static float weight(size_t at) { return (float)qsr_check_normal("weight", at); }

static uint32_t param_count(const qsr_made *made)
{
    const qsr_params_ops *ops = qsr_made_extension(made, QSR_EXT_PARAMS);
    return ops ? ops->count : 0;
}

/* Entry gradients with everything that backward must write set to NaN. */
static qsr_entry_grads entry_grads(const qsr_made *made, const qsr_check_result *result)
{
    size_t n = result->entries;
    float *d_value = qsr_guard_new(n, sizeof *d_value), *d_active = NULL;
    qsr_entry_grads g = {.struct_size = sizeof g, .d_pre = qsr_guard_new(n, sizeof(float))};
    if (made->plugin->caps & QSR_CAP_SURROGATE) d_active = qsr_guard_new(n, sizeof *d_active);
    for (uint32_t p = 0; p < param_count(made) && p < 2; p++) g.d_param[p] = qsr_guard_new(n, sizeof(float));
    size_t i = 0;
    for (size_t r = 0; r < result->rows; r++)
        for (size_t j = 0; j < result->d_sae; j++) {
            if (!result->support[r * result->d_sae + j]) continue;
            d_value[i] = weight(r * result->d_sae + j);
            if (d_active) d_active[i] = 0.5f;
            g.d_pre[i] = NAN;
            for (int p = 0; p < 2; p++)
                if (g.d_param[p]) g.d_param[p][i] = NAN;
            i++;
        }
    g.d_value = d_value;
    g.d_active = d_active;
    return g;
}

static bool entry_grads_free(qsr_entry_grads *g)
{
    bool intact = qsr_guard_free((void *)(uintptr_t)g->d_value);
    intact &= qsr_guard_free((void *)(uintptr_t)g->d_active);
    intact &= qsr_guard_free(g->d_pre);
    intact &= qsr_guard_free(g->d_param[0]);
    return qsr_guard_free(g->d_param[1]) && intact;
}

/* What the host does where there is no backward. */
static void pass_through(const qsr_code *code, qsr_entry_grads *g)
{
    for (size_t i = 0; i < code->row_begin[code->rows]; i++) g->d_pre[i] = code->value[i] != 0 ? g->d_value[i] : 0;
}

static qsr_status take_gradients(const qsr_check_result *result, const qsr_code *code, const qsr_entry_grads *g,
                                 gradients *ret, qsr_error *e)
{
    size_t all = result->rows * result->d_sae;
    *ret =
        (gradients){qsr_xcalloc(all, sizeof(double)), {qsr_xcalloc(all, sizeof(double)), qsr_xcalloc(all, sizeof(double))}};
    for (size_t r = 0; r < code->rows; r++)
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++) {
            size_t at = r * result->d_sae + code->latent[i];
            if (g->d_value[i] != weight(at))
                return qsr_fail(e, QSR_E_INTERNAL, "backward changed d_value, which is the host's");
            if (!isfinite(g->d_pre[i]))
                return qsr_fail(e, QSR_E_INTERNAL, "backward left d_pre at entry %zu unwritten or not finite", i);
            ret->pre[at] = g->d_pre[i];
            for (int p = 0; p < 2; p++) {
                if (!g->d_param[p]) continue;
                if (!isfinite(g->d_param[p][i]))
                    return qsr_fail(e, QSR_E_INTERNAL, "backward left d_param[%d] at entry %zu unwritten or not finite", p,
                                    i);
                ret->param[p][at] = g->d_param[p][i];
            }
        }
    return QSR_OK;
}

/* Gradients of sum(weight * value) over a result. */
static qsr_status differentiate(const qsr_check *c, const qsr_check_input *in, const qsr_check_result *result,
                                gradients *ret, qsr_error *e)
{
    qsr_made *made;
    *ret = (gradients){0};
    qsr_status status = make(c, in, &made, e);
    if (status) return status;
    const qsr_activation_ops *ops = c->plugin->ops;
    qsr_code *code = qsr_check_code_of(result), *copy = qsr_check_code_of(result);
    qsr_entry_grads g = entry_grads(made, result);
    qsr_rows rows = qsr_check_rows(made, in, QSR_TRAIN, 0, in->rows);
    rows.pre = NULL;
    if (ops->backward)
        status = qsr_made_finish(made, ops->backward(made->instance, &rows, code, &g), e);
    else
        pass_through(code, &g);
    if (status == QSR_END) status = qsr_fail(e, QSR_E_INTERNAL, "backward returned QSR_END");
    if (!status) status = take_gradients(result, code, &g, ret, e);
    if (!status && memcmp(code->value, copy->value, result->entries * sizeof *code->value) != 0)
        status = qsr_fail(e, QSR_E_INTERNAL, "backward changed the code, which is the host's");
    bool intact = entry_grads_free(&g);
    intact &= qsr_guard_code_free(code);
    qsr_guard_code_free(copy);
    if (!intact) status = qsr_fail(e, QSR_E_INTERNAL, "backward wrote outside of its arrays");
    qsr_made_free(made);
    return status;
}

/* ---- differences */

static double loss(const qsr_check_result *result)
{
    double sum = 0;
    for (size_t i = 0; i < result->rows * result->d_sae; i++)
        if (result->support[i]) sum += (double)weight(i) * result->value[i];
    return sum;
}

/* The same latents active, and the same ones in the support. */
static bool same_support(const qsr_check_result *a, const qsr_check_result *b)
{
    for (size_t i = 0; i < a->rows * a->d_sae; i++)
        if (a->support[i] != b->support[i] || (a->value[i] != 0) != (b->value[i] != 0)) return false;
    return true;
}

static void compare(qsr_differences *d, const qsr_check_result *base, const qsr_check_result *up,
                    const qsr_check_result *down, double analytic, double size)
{
    d->tried++;
    if (!same_support(base, up) || !same_support(base, down))
        d->dropped++;
    else
        qsr_differences_add(d, loss(up) - loss(down), analytic, size);
}

/* Moves one row of pre along a random direction, up and down. */
static qsr_status try_direction(const qsr_check *c, const qsr_check_input *in, const qsr_check_result *base,
                                const gradients *g, size_t t, qsr_differences *d, qsr_error *e)
{
    qsr_check_input up = qsr_check_input_make(c, in->rows, 0), down = qsr_check_input_make(c, in->rows, 0);
    size_t r = t % in->rows, at = r * in->ld;
    up.moved = down.moved = in->moved;
    double analytic = 0, size = 0;
    for (size_t j = 0; j < in->d_sae; j++) {
        double delta = step * qsr_check_normal("direction", t * in->d_sae + j);
        up.pre[at + j] = (float)(in->pre[at + j] + delta);
        down.pre[at + j] = (float)(in->pre[at + j] - delta);
        double term = g->pre[r * in->d_sae + j] * ((double)up.pre[at + j] - down.pre[at + j]);
        analytic += term;
        size += term * term;
    }
    qsr_check_result above, below = {0};
    qsr_status status = evaluate(c, &up, NULL, &above, e);
    if (!status) status = evaluate(c, &down, NULL, &below, e);
    if (!status) compare(d, base, &above, &below, analytic, sqrt(size));
    qsr_check_result_free(&above);
    qsr_check_result_free(&below);
    qsr_check_input_free(&up);
    qsr_check_input_free(&down);
    return status;
}

/* A code that never moves was not tested. */
static qsr_status judge(const qsr_differences *d, bool exact, qsr_error *e)
{
    qsr_status status = qsr_differences_judge(d, exact, e);
    return status == QSR_END ? QSR_E_UNSUPPORTED : status;
}

static const char surrogate_note[] =
    "not tested by differences: a straight-through estimate; its golden values belong to the "
    "plugin's own tests";

static qsr_status gradient_where(const qsr_check *c, bool moved, qsr_error *e)
{
    qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, 0);
    in.moved = moved;
    qsr_check_result base;
    gradients g = {0};
    qsr_differences d = {0};
    bool surrogate = c->plugin->caps & QSR_CAP_GRAD_SURROGATE;
    qsr_status status = evaluate(c, &in, NULL, &base, e);
    if (!status) status = differentiate(c, &in, &base, &g, e);
    for (size_t t = 0; t < DIRECTIONS && !status && !surrogate; t++) status = try_direction(c, &in, &base, &g, t, &d, e);
    if (!status && surrogate)
        status = qsr_fail(e, QSR_END, "%s", surrogate_note);
    else if (!status)
        status = judge(&d, c->plugin->caps & QSR_CAP_GRAD_EXACT, e);
    gradients_free(&g);
    qsr_check_result_free(&base);
    qsr_check_input_free(&in);
    return status;
}

static bool has_params(const qsr_check *c) { return c->plugin->extension && c->plugin->extension(QSR_EXT_PARAMS); }

static qsr_status test_gradient(const qsr_check *c, qsr_error *e)
{
    qsr_status status = gradient_where(c, false, e);
    if (!status && has_params(c)) status = gradient_where(c, true, e);
    return status;
}

/* ---- quasar.params/1 */

static qsr_status check_param(const qsr_made *made, const qsr_params_ops *ops, uint32_t index, size_t d_sae, qsr_error *e)
{
    qsr_param p = {0};
    qsr_status status = qsr_made_finish(made, ops->get(made->instance, index, &p), e);
    if (status) return status;
    if (!p.name || !*p.name || !p.value)
        return qsr_fail(e, QSR_E_INTERNAL, "parameter %u has no name or no values", (unsigned)index);
    if (!(p.lower <= p.upper)) return qsr_fail(e, QSR_E_INTERNAL, "%s has the bounds %g and %g", p.name, p.lower, p.upper);
    for (size_t j = 0; j < d_sae; j++)
        if (!isfinite(p.value[j]) || p.value[j] < p.lower || p.value[j] > p.upper)
            return qsr_fail(e, QSR_E_INTERNAL, "%s starts at %g for latent %zu, its bounds are %g and %g", p.name,
                            p.value[j], j, p.lower, p.upper);
    return QSR_OK;
}

/* Moves a whole parameter along a random direction, up and down. */
static qsr_status try_param(const qsr_check *c, const qsr_check_input *in, const qsr_check_result *base, const gradients *g,
                            uint32_t index, size_t t, qsr_differences *d, qsr_error *e)
{
    size_t n = in->d_sae;
    double *delta = qsr_xcalloc(n, sizeof *delta), analytic = 0, size = 0;
    float *up = qsr_xcalloc(n, sizeof *up), *down = qsr_xcalloc(n, sizeof *down);
    for (size_t j = 0; j < n; j++) delta[j] = qsr_check_normal("parameter", t * n + j);
    qsr_check_result above, below = {0};
    qsr_status status = evaluate(c, in, &(nudge){index, delta, step, up}, &above, e);
    if (!status) status = evaluate(c, in, &(nudge){index, delta, -step, down}, &below, e);
    for (size_t i = 0; i < in->rows * n; i++) {
        double term = g->param[index][i] * ((double)up[i % n] - down[i % n]);
        analytic += term;
        size += term * term;
    }
    if (!status) compare(d, base, &above, &below, analytic, sqrt(size));
    qsr_check_result_free(&above);
    qsr_check_result_free(&below);
    free(delta);
    free(up);
    free(down);
    return status;
}

static qsr_status param_gradients(const qsr_check *c, uint32_t count, bool moved, qsr_error *e)
{
    qsr_check_input in = qsr_check_input_make(c, c->shape.batch_rows, 0);
    in.moved = moved;
    qsr_check_result base;
    gradients g = {0};
    qsr_differences d = {0};
    qsr_status status = evaluate(c, &in, NULL, &base, e);
    if (!status) status = differentiate(c, &in, &base, &g, e);
    for (size_t t = 0; t < DIRECTIONS && !status; t++)
        status = try_param(c, &in, &base, &g, (uint32_t)(t % count), t, &d, e);
    if (!status) status = judge(&d, false, e);
    gradients_free(&g);
    qsr_check_result_free(&base);
    qsr_check_input_free(&in);
    return status;
}

static qsr_status test_params(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_params_ops *ops = qsr_made_extension(made, QSR_EXT_PARAMS);
    uint32_t count = ops ? ops->count : 0;
    if (!ops)
        status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_PARAMS);
    else if (count < 1 || count > 2)
        status = qsr_fail(e, QSR_E_INTERNAL, "%u parameters: 1 or 2 are possible", (unsigned)count);
    else if (!((const qsr_activation_ops *)c->plugin->ops)->backward)
        status = qsr_fail(e, QSR_E_INTERNAL, "parameters without a backward would never be trained");
    for (uint32_t i = 0; i < count && !status; i++) status = check_param(made, ops, i, c->shape.d_sae, e);
    qsr_made_free(made);
    if (status) return status;
    if (c->plugin->caps & QSR_CAP_GRAD_SURROGATE) return qsr_fail(e, QSR_END, "%s", surrogate_note);
    status = param_gradients(c, count, false, e);
    return status ? status : param_gradients(c, count, true, e);
}

void qsr_check_activation_gradient(const qsr_check *c)
{
    qsr_check_run(c, "gradient", test_gradient);
    qsr_check_run(c, "parameters", test_params);
}

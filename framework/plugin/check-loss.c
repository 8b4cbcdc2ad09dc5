/* plugin/check-loss: manners, determinism, rows and gradients of losses. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "plugin/check-world.h"

enum { DIRECTIONS = 33 };
/* Losses are curved, so four points are taken (error of the order of step^4) where two would need a step that rounding
 * spoils. */
static const double step = 1.0 / 256;

/* An instance that has seen the batch, ready for rows(). A batch with nothing to add leaves nothing to test. */
static qsr_status ready(const qsr_check *c, qsr_pool *pool, const qsr_world *w, qsr_made **ret, qsr_error *e)
{
    qsr_status status = qsr_check_make(c, pool, ret, e);
    if (status) return status;
    status = qsr_world_batch(*ret, w, e);
    if (status == QSR_END)
        status = qsr_fail(e, QSR_E_UNSUPPORTED, "batch() has nothing to add to a batch with dead latents and a residual");
    if (status) qsr_made_free(*ret);
    return status;
}

static size_t minimum(size_t a, size_t b) { return a < b ? a : b; }

/* The whole world in blocks of `grain` rows. */
static qsr_status run(const qsr_made *made, const qsr_world *w, size_t grain, float start, qsr_outcome *ret, qsr_error *e)
{
    qsr_status status = QSR_OK;
    *ret = qsr_outcome_make(w);
    for (size_t begin = 0; begin < w->rows && !status; begin += grain)
        status = qsr_world_rows(made, w, begin, minimum(w->rows, begin + grain), start, ret, e);
    return status;
}

/* ---- manners */

static qsr_status test_manners(const qsr_check *c, qsr_error *e)
{
    qsr_world w = qsr_world_make(c);
    qsr_made *made;
    qsr_status status = ready(c, c->one, &w, &made, e);
    const size_t ends[] = {0, 1, w.rows};
    for (size_t i = 0; i < 3 && !status; i++) {
        qsr_outcome o = qsr_outcome_make(&w);
        status = qsr_world_rows(made, &w, 0, ends[i], 0, &o, e);
        if (!status && i == 0 && o.value != 0)
            status = qsr_fail(e, QSR_E_INTERNAL, "a block without rows has the value %g", o.value);
        if (status) qsr_context(e, "%zu rows", ends[i]);
        qsr_outcome_free(&o);
        if (status || i == 2) qsr_made_free(made);
    }
    qsr_world_free(&w);
    return status;
}

static bool nearly(const float *a, const float *b, size_t n, size_t *ret_at)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 2e-6f * (3 + fabsf(b[i])))) { /* adding to 3 rounds to 2^-22 of the sum */
            *ret_at = i;
            return false;
        }
    return true;
}

static qsr_status compare_starts(const qsr_world *w, const qsr_outcome *zero, const qsr_outcome *three, qsr_error *e)
{
    const struct {
        const char *name;
        const float *zero, *three;
        size_t n;
    } all[] = {{"d_xhat", zero->d_xhat, three->d_xhat, w->rows * w->d_in},
               {"d_value", zero->d_value, three->d_value, w->rows * w->d_sae},
               {"d_active", zero->d_active, three->d_active, w->rows * w->d_sae},
               {"d_norm", zero->d_norm, three->d_norm, w->rows * w->d_sae}};
    for (size_t i = 0, at; i < 4; i++)
        if (!nearly(all[i].three, all[i].zero, all[i].n, &at))
            return qsr_fail(e, QSR_E_INTERNAL,
                            "%s[%zu] grows by %g when it starts at 0 and by %g when it starts at 3: add to it", all[i].name,
                            at, all[i].zero[at], all[i].three[at]);
    return QSR_OK;
}

static qsr_status test_adds(const qsr_check *c, qsr_error *e)
{
    qsr_world w = qsr_world_make(c);
    qsr_made *made;
    qsr_status status = ready(c, c->one, &w, &made, e);
    if (!status) {
        qsr_outcome zero, three = {0};
        status = run(made, &w, w.rows, 0, &zero, e);
        if (!status) status = run(made, &w, w.rows, 3, &three, e);
        if (!status) status = compare_starts(&w, &zero, &three, e);
        qsr_outcome_free(&zero);
        qsr_outcome_free(&three);
        qsr_made_free(made);
    }
    qsr_world_free(&w);
    return status;
}

/* ---- outlook */

/* The same answer twice, and then nothing else is asked for, though latents that had long been silent fired in the batch. */
static qsr_status keep_to_outlook(const qsr_made *made, qsr_world *w, qsr_loss_outlook *first, qsr_loss_outlook *second, qsr_error *e)
{
    qsr_status status = qsr_world_outlook(made, w, first, e);
    if (status < 0) return status;
    if (qsr_world_outlook(made, w, second, e) != status || first->k != second->k ||
        memcmp(first->latents, second->latents, w->d_sae) != 0)
        return qsr_fail(e, QSR_E_INTERNAL, "outlook() answers the same question in two ways");
    if (status == QSR_END) memset(first->latents, 0, w->d_sae);
    w->outlook = first;
    status = qsr_world_batch(made, w, e);
    if (status) return status < 0 ? status : qsr_fail(e, QSR_E_UNSUPPORTED, "batch() has nothing to add to a batch with dead latents");
    qsr_outcome o;
    status = run(made, w, w->rows, 0, &o, e);
    qsr_outcome_free(&o);
    return status;
}

static qsr_status test_outlook(const qsr_check *c, qsr_error *e)
{
    if (!((const qsr_loss_ops *)c->plugin->ops)->outlook)
        return qsr_fail(e, QSR_END, "none: what encode_top is asked for, if anything, is computed then");
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    qsr_world w = qsr_world_make(c);
    qsr_loss_outlook first = {.latents = qsr_guard_new(w.d_sae, 1)}, second = {.latents = qsr_guard_new(w.d_sae, 1)};
    uint8_t *latents[] = {first.latents, second.latents};
    if (qsr_world_after_batch(made)) status = keep_to_outlook(made, &w, &first, &second, e);
    else status = qsr_fail(e, QSR_END, "not asked for: no QSR_LOSS_AFTER_BATCH");
    for (size_t i = 0; i < 2; i++)
        if (!qsr_guard_free(latents[i])) status = qsr_fail(e, QSR_E_INTERNAL, "outlook() wrote outside of latents[d_sae]");
    qsr_world_free(&w);
    qsr_made_free(made);
    return status;
}

/* ---- determinism and rows */

static qsr_status same_outcome(const qsr_world *w, const qsr_outcome *a, const qsr_outcome *b, const char *what,
                               qsr_error *e)
{
    size_t n = w->rows * w->d_sae * sizeof(float);
    if (memcmp(&a->value, &b->value, sizeof a->value) != 0)
        return qsr_fail(e, QSR_E_INTERNAL, "%s: the value is %.17g in one and %.17g in the other", what, a->value,
                        b->value);
    if (memcmp(a->d_xhat, b->d_xhat, w->rows * w->d_in * sizeof(float)) != 0 || memcmp(a->d_value, b->d_value, n) != 0 ||
        memcmp(a->d_active, b->d_active, n) != 0 || memcmp(a->d_norm, b->d_norm, n) != 0)
        return qsr_fail(e, QSR_E_INTERNAL, "%s: gradients differ", what);
    return QSR_OK;
}

struct job {
    const qsr_made *made;
    const qsr_world *world;
    qsr_outcome *rows; /* one for each row: the view's sums are not shared */
    qsr_first_error first;
};

static qsr_status one_row(void *arg, size_t begin, size_t end)
{
    struct job *job = arg;
    qsr_error e = {0};
    job->rows[begin] = qsr_outcome_make(job->world);
    qsr_status status = qsr_world_rows(job->made, job->world, begin, end, 0, &job->rows[begin], &e);
    return status ? qsr_first_error_note(&job->first, begin, &e) : QSR_OK;
}

static void add_floats(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++) to[i] += from[i];
}

/* Every row by itself, on the threads of a pool, added up in order. */
static qsr_status run_rows(const qsr_made *made, const qsr_world *w, qsr_pool *pool, qsr_outcome *ret, qsr_error *e)
{
    struct job job = {.made = made, .world = w, .rows = qsr_xcalloc(w->rows, sizeof *job.rows)};
    qsr_first_error_init(&job.first);
    *ret = qsr_outcome_make(w);
    qsr_status status = qsr_pool_run(pool, w->rows, 1, one_row, &job);
    if (status && e) *e = job.first.error;
    for (size_t r = 0; r < w->rows; r++) {
        if (!job.rows[r].d_xhat) continue;
        ret->value += job.rows[r].value;
        add_floats(ret->d_xhat, job.rows[r].d_xhat, w->rows * w->d_in);
        add_floats(ret->d_value, job.rows[r].d_value, w->rows * w->d_sae);
        add_floats(ret->d_active, job.rows[r].d_active, w->rows * w->d_sae);
        add_floats(ret->d_norm, job.rows[r].d_norm, w->rows * w->d_sae);
        qsr_outcome_free(&job.rows[r]);
    }
    free(job.rows);
    return status;
}

static qsr_status run_fresh(const qsr_check *c, qsr_pool *pool, bool singly, const qsr_world *w, qsr_outcome *ret,
                            qsr_error *e)
{
    qsr_made *made;
    *ret = (qsr_outcome){0};
    qsr_status status = ready(c, pool, w, &made, e);
    if (status) return status;
    status = singly ? run_rows(made, w, pool, ret, e) : run(made, w, w->rows, 0, ret, e);
    qsr_made_free(made);
    return status;
}

static qsr_status compare_runs(const qsr_check *c, bool singly, qsr_pool *other, const char *what, qsr_error *e)
{
    qsr_world w = qsr_world_make(c);
    qsr_outcome a, b = {0};
    qsr_status status = run_fresh(c, c->one, singly, &w, &a, e);
    if (!status) status = run_fresh(c, other, singly, &w, &b, e);
    if (!status) status = same_outcome(&w, &a, &b, what, e);
    qsr_outcome_free(&a);
    qsr_outcome_free(&b);
    qsr_world_free(&w);
    return status;
}

static qsr_status test_same_twice(const qsr_check *c, qsr_error *e)
{
    return compare_runs(c, false, c->one, "the same run twice", e);
}

static qsr_status test_threads(const qsr_check *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (int i = 0; i < 3 && !status; i++) status = compare_runs(c, true, c->four, "1 and 4 threads", e);
    return status;
}

static qsr_status test_rows(const qsr_check *c, qsr_error *e)
{
    if (c->plugin->caps & QSR_CAP_ROWS_COUPLED) return qsr_fail(e, QSR_END, "QSR_CAP_ROWS_COUPLED");
    qsr_world w = qsr_world_make(c);
    qsr_outcome whole, singly = {0};
    qsr_status status = run_fresh(c, c->one, false, &w, &whole, e);
    if (!status) status = run_fresh(c, c->one, true, &w, &singly, e);
    /* sums in double over 11 rows in another order */
    if (!status && !(fabs(whole.value - singly.value) <= 1e-12 * (fabs(whole.value) + 1e-12)))
        status = qsr_fail(e, QSR_E_INTERNAL, "the block's value is %.17g, the sum of its rows' %.17g", whole.value,
                          singly.value);
    if (!status) singly.value = whole.value;
    if (!status) status = same_outcome(&w, &whole, &singly, "a block and its rows one by one", e);
    qsr_outcome_free(&whole);
    qsr_outcome_free(&singly);
    qsr_world_free(&w);
    return status;
}

/* ---- gradients */

/* A variable of the world, and where its gradient is. `row` is its length per row, 0 when all rows share it. */
typedef struct {
    const char *name;
    size_t world; /* offset of the float * in qsr_world */
    size_t n, row;
} variable;

static float *array_of(const qsr_world *w, const variable *v)
{
    float *p;
    memcpy(&p, (const char *)w + v->world, sizeof p);
    return p;
}

/* d loss / d variable[i]; entries of value 0 stay where they are, since [f != 0] would jump. */
static double gradient_at(const qsr_world *w, const qsr_outcome *o, const variable *v, size_t i)
{
    double sum = 0;
    switch (v->world) {
    case offsetof(qsr_world, xhat):
        return o->d_xhat[i];
    case offsetof(qsr_world, value):
        return o->d_value[i] + o->view_value[i];
    case offsetof(qsr_world, pre):
        return o->view_pre[i];
    case offsetof(qsr_world, w_dec):
        return o->view_w_dec[i];
    case offsetof(qsr_world, b_dec):
        return o->view_b_dec[i];
    default: /* dec_norm: shared by all rows */
        for (size_t r = 0; r < w->rows; r++) sum += o->d_norm[r * w->d_sae + i];
        return sum;
    }
}

static bool moves(const qsr_world *w, const variable *v, size_t i)
{
    return v->world != offsetof(qsr_world, value) || w->value[i] != 0;
}

/* The world moved by `factor` steps along direction t of a variable: one row at a time, or all of what the rows share. */
static qsr_world moved(const qsr_world *w, const variable *v, size_t t, double factor)
{
    qsr_world to = qsr_world_copy(w);
    float *values = array_of(&to, v);
    size_t begin = v->row ? t % w->rows * v->row : 0, end = v->row ? begin + v->row : v->n;
    for (size_t i = begin; i < end; i++)
        if (moves(w, v, i)) values[i] = (float)(values[i] + factor * step * qsr_check_normal(v->name, t * v->n + i));
    return to;
}

/* 8 (L(+1) - L(-1)) - (L(+2) - L(-2)), and the same of the gradient times what float32 made of the moves. */
static qsr_status try_direction(const qsr_made *made, const qsr_world *w, const qsr_outcome *base, const variable *v,
                                size_t t, qsr_differences *d, qsr_error *e)
{
    static const double factors[] = {1, -1, 2, -2}, weights[] = {8, -8, -1, 1};
    double numeric = 0, analytic = 0, size = 0;
    double *delta = qsr_xcalloc(v->n, sizeof *delta);
    bool same = true;
    qsr_status status = QSR_OK;
    for (size_t p = 0; p < 4 && !status; p++) {
        qsr_world there = moved(w, v, t, factors[p]);
        qsr_outcome o;
        status = run(made, &there, w->rows, 0, &o, e);
        numeric += weights[p] * o.value;
        same = same && o.chosen == base->chosen;
        for (size_t i = 0; i < v->n; i++) delta[i] += weights[p] * array_of(&there, v)[i];
        qsr_outcome_free(&o);
        qsr_world_free(&there);
    }
    for (size_t i = 0; i < v->n && !status; i++) {
        double term = gradient_at(w, base, v, i) * delta[i];
        analytic += term;
        size += term * term;
    }
    free(delta);
    d->tried++;
    if (!same)
        d->dropped++;
    else if (!status)
        qsr_differences_add(d, numeric, analytic, sqrt(size));
    return status;
}

/* batch() is not run again at the moved points: what it keeps for rows() is a constant of the step by contract. */
static qsr_status differences(const qsr_check *c, const qsr_world *w, const variable *v, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = ready(c, c->one, w, &made, e);
    if (status) return status;
    qsr_outcome base;
    qsr_differences d = {0};
    status = run(made, w, w->rows, 0, &base, e);
    /* a loss that cannot add to d_xhat and d_value has said that it stops these gradients */
    bool stopped =
        qsr_world_view_only(made) && (v->world == offsetof(qsr_world, xhat) || v->world == offsetof(qsr_world, value));
    for (size_t t = 0; t < DIRECTIONS && !status && !stopped; t++) status = try_direction(made, w, &base, v, t, &d, e);
    if (!status && stopped)
        status = qsr_fail(e, QSR_END, "QSR_LOSS_VIEW_ONLY: stopped on purpose");
    else if (!status)
        status = qsr_differences_judge(&d, c->plugin->caps & QSR_CAP_GRAD_EXACT, e);
    qsr_outcome_free(&base);
    qsr_made_free(made);
    return status;
}

static qsr_status test_gradient(const qsr_check *c, variable v, qsr_error *e)
{
    qsr_world w = qsr_world_make(c);
    qsr_status status = differences(c, &w, &v, e);
    qsr_world_free(&w);
    return status;
}

#define WORLD(field_) offsetof(qsr_world, field_)

static qsr_status test_xhat(const qsr_check *c, qsr_error *e)
{
    return test_gradient(c, (variable){"xhat", WORLD(xhat), c->shape.batch_rows * c->shape.d_in, c->shape.d_in}, e);
}

static qsr_status test_value(const qsr_check *c, qsr_error *e)
{
    return test_gradient(c, (variable){"value", WORLD(value), c->shape.batch_rows * c->shape.d_sae, c->shape.d_sae}, e);
}

static qsr_status test_norm(const qsr_check *c, qsr_error *e)
{
    if (!(c->plugin->needs & QSR_NEED_D_NORM))
        return qsr_fail(e, QSR_END, "no QSR_NEED_D_NORM: decoder norms are constants");
    return test_gradient(c, (variable){"norm", WORLD(dec_norm), c->shape.d_sae, 0}, e);
}

static qsr_status test_pre(const qsr_check *c, qsr_error *e)
{
    return test_gradient(c, (variable){"pre", WORLD(pre), c->shape.batch_rows * c->shape.d_sae, c->shape.d_sae}, e);
}

static qsr_status test_decoder(const qsr_check *c, qsr_error *e)
{
    return test_gradient(c, (variable){"decoder", WORLD(w_dec), c->shape.d_sae * c->shape.d_in, 0}, e);
}

static qsr_status test_surrogate(const qsr_check *c, qsr_error *e)
{
    (void)c;
    return qsr_fail(
        e, QSR_END,
        "not tested by differences: a straight-through estimate; its golden values belong to the plugin's own tests");
}

static bool any(const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (v[i] != 0) return true;
    return false;
}

/* Zero gradients agree with the differences of a constant: a loss must move something. */
static qsr_status test_moves(const qsr_check *c, qsr_error *e)
{
    qsr_world w = qsr_world_make(c);
    qsr_outcome o;
    qsr_status status = run_fresh(c, c->one, false, &w, &o, e);
    size_t n = w.rows * w.d_sae;
    bool moved = false;
    if (!status) moved = any(o.d_xhat, w.rows * w.d_in) || any(o.d_value, n) || any(o.d_active, n) || any(o.d_norm, n);
    for (size_t i = 0; !status && i < n; i++) moved = moved || o.view_value[i] != 0 || o.view_pre[i] != 0;
    if (!status && !moved)
        status =
            qsr_fail(e, QSR_E_UNSUPPORTED, "all gradients are 0 on the test batch (value %g): nothing to compare", o.value);
    qsr_outcome_free(&o);
    qsr_world_free(&w);
    return status;
}

void qsr_check_loss(const qsr_check *c)
{
    qsr_check_run(c, "manners", test_manners);
    qsr_check_run(c, "adds", test_adds);
    qsr_check_run(c, "same bytes twice", test_same_twice);
    qsr_check_run(c, "1 and 4 threads", test_threads);
    qsr_check_run(c, "rows", test_rows);
    qsr_check_run(c, "moves", test_moves);
    qsr_check_run(c, "outlook", test_outlook);
    if (c->plugin->caps & QSR_CAP_GRAD_SURROGATE) {
        qsr_check_run(c, "gradient", test_surrogate);
        return;
    }
    qsr_check_run(c, "gradient to xhat", test_xhat);
    qsr_check_run(c, "gradient to values", test_value);
    qsr_check_run(c, "gradient to norms", test_norm);
    qsr_check_run(c, "gradient to pre", test_pre);
    qsr_check_run(c, "gradient to decoder", test_decoder);
}

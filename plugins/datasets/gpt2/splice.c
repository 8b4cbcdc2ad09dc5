#include "splice.h"

#include <string.h>

#include "base/sizes.h"
#include "head.h"

enum { GROUP = 8 }; /* variants that are judged together: each group runs states[0] through the head once more */

/* The clean state at a place that some variant replaces. */
typedef struct {
    size_t place;
    float *x, *delta; /* [rows][d]; delta, with its bias, at the places where a sublayer's result stands */
} saved_state;

typedef struct {
    const gpt2_plan *plan;
    const qsr_splice *splice;
    const size_t *tap_place;
    gpt2_pass pass;
    gpt2_judge judge;
    size_t n_saved;
    saved_state *saved;       /* [n_saved], distinct places */
    float *states[1 + GROUP]; /* [rows][d] after ln_f: clean, then those of a group */
    float *rows, *own;        /* [contexts][context][d] for the caller; [context][d] */
    const int64_t *ids;       /* of the pass's contexts */
    size_t first, n;          /* the pass's first context, contexts of the whole run */
} splicing;

/* ---- memory ------------------------------------------------------------------------------------------------------ */

size_t gpt2_splice_bytes(const gpt2_plan *p, size_t n_taps)
{
    const size_t each = p->model->config.d * sizeof(float), rows = p->contexts * p->slot;
    return gpt2_pass_bytes(p) + gpt2_judge_bytes(p, 1 + GROUP) + rows * each * (2 * n_taps + 1 + GROUP) +
           (p->contexts + 1) * p->context * each;
}

static float *scratch_rows(const splicing *s)
{
    return s->plan->host->scratch(s->plan->host, s->pass.rows, s->plan->model->config.d * sizeof(float));
}

/* One saved state for each place that a variant asks for. */
static qsr_status begin_saved(splicing *s, size_t n_taps)
{
    const qsr_host *host = s->plan->host;
    s->saved = host->scratch(host, n_taps, sizeof *s->saved);
    if (!s->saved) return QSR_E_NOMEM;
    for (size_t v = 0; v < s->splice->n_variants; v++) {
        const size_t place = s->tap_place[s->splice->tap[v]];
        size_t i = 0;
        while (i < s->n_saved && s->saved[i].place != place) i++;
        if (i < s->n_saved) continue;
        saved_state *state = &s->saved[s->n_saved++];
        *state = (saved_state){.place = place, .x = scratch_rows(s)};
        if (place % 2) state->delta = scratch_rows(s);
        if (!state->x || (place % 2 && !state->delta)) return QSR_E_NOMEM;
    }
    return QSR_OK;
}

static qsr_status begin_splicing(splicing *s, size_t n_taps)
{
    const qsr_host *host = s->plan->host;
    const size_t d = s->plan->model->config.d, context = s->plan->context;
    qsr_status status = gpt2_pass_begin(s->plan, &s->pass);
    if (!status) status = gpt2_judge_begin(&s->pass, 1 + GROUP, &s->judge);
    if (!status) status = begin_saved(s, n_taps);
    for (size_t i = 0; !status && i < 1 + GROUP; i++)
        if (!(s->states[i] = scratch_rows(s))) status = QSR_E_NOMEM;
    s->rows = host->scratch(host, s->plan->contexts * context, d * sizeof(float));
    s->own = host->scratch(host, context, d * sizeof(float));
    return status || !s->rows || !s->own ? QSR_E_NOMEM : QSR_OK;
}

/* ---- one variant ------------------------------------------------------------------------------------------------- */

static void save(void *ctx, const gpt2_pass *p, size_t place)
{
    const splicing *s = ctx;
    const size_t d = p->plan->model->config.d, bytes = p->rows * d * sizeof(float);
    for (size_t i = 0; i < s->n_saved; i++) {
        const saved_state *state = &s->saved[i];
        if (state->place != place) continue;
        memcpy(state->x, p->x, bytes);
        if (!state->delta) continue;
        memcpy(state->delta, p->delta, bytes);
        p->plan->rows->add_bias(state->delta, p->bias, p->rows, d);
    }
}

static void restore(splicing *s, const saved_state *state)
{
    const size_t bytes = s->pass.rows * s->plan->model->config.d * sizeof(float);
    memcpy(s->pass.x, state->x, bytes);
    if (state->delta) memcpy(s->pass.delta, state->delta, bytes);
    s->pass.bias = s->plan->model->zeros;
}

/* rows[context][d] take their place in context i. Less their mean they are put there as a difference to what was handed out, so
 * that rows left alone change nothing and the mean, which every LayerNorm takes off, stays. */
static void put(splicing *s, size_t place, size_t i, const float *rows)
{
    const gpt2_plan *p = s->plan;
    const size_t floats = p->context * p->model->config.d;
    float *to = (place % 2 ? s->pass.delta : s->pass.x) + i * p->slot * p->model->config.d;
    if (!p->centred) {
        memcpy(to, rows, floats * sizeof *to);
        return;
    }
    gpt2_pass_look(&s->pass, place, i, s->own);
    for (size_t k = 0; k < floats; k++) to[k] += rows[k] - s->own[k];
}

/* The rest of the model on a state: out[rows][d] = ln_f of what comes of it. */
static void finish(splicing *s, size_t place, float *out)
{
    const gpt2_model *m = s->plan->model;
    if (place != m->config.layers * GPT2_PLACES)
        gpt2_pass_walk(&s->pass, place, m->config.layers * GPT2_PLACES, NULL, NULL);
    s->plan->rows->add_norm(s->pass.x, NULL, NULL, &m->ln_f, m->config.epsilon, s->pass.rows, m->config.d, out);
}

static qsr_status run_variant(splicing *s, size_t variant, float *out)
{
    const size_t each = s->plan->context * s->plan->model->config.d;
    size_t i = 0;
    while (s->saved[i].place != s->tap_place[s->splice->tap[variant]]) i++;
    const saved_state *state = &s->saved[i];
    restore(s, state);
    for (i = 0; i < s->pass.n; i++) gpt2_pass_look(&s->pass, state->place, i, s->rows + i * each);
    qsr_status status = s->splice->replace(s->splice->ctx, variant, s->first, s->pass.n, s->rows);
    for (i = 0; !status && i < s->pass.n; i++) put(s, state->place, i, s->rows + i * each);
    if (!status) finish(s, state->place, out);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Variants first .. first + n - 1 against the clean state; the clean loss with the first group. */
static void judge_group(splicing *s, size_t first, size_t n)
{
    const qsr_splice *o = s->splice;
    const size_t each = s->n * s->plan->context, begin = s->first * s->plan->context;
    double *loss[1 + GROUP] = {first ? NULL : o->loss + begin}, *kl[1 + GROUP] = {NULL};
    for (size_t k = 0; k < n; k++) {
        loss[k + 1] = o->loss + (1 + first + k) * each + begin;
        if (o->kl) kl[k + 1] = o->kl + (first + k) * each + begin;
    }
    gpt2_judge_states(&s->judge, s->states, 1 + n, s->ids, loss, kl);
}

static qsr_status run_pass(splicing *s)
{
    const qsr_splice *o = s->splice;
    qsr_status status = QSR_OK;
    gpt2_pass_embed(&s->pass, s->ids, qsr_min_size(s->plan->contexts, s->n - s->first));
    gpt2_pass_walk(&s->pass, 0, s->plan->model->config.layers * GPT2_PLACES, save, s);
    finish(s, s->plan->model->config.layers * GPT2_PLACES, s->states[0]);
    if (!o->n_variants) judge_group(s, 0, 0);
    for (size_t first = 0; !status && first < o->n_variants; first += GROUP) {
        const size_t n = qsr_min_size(GROUP, o->n_variants - first);
        for (size_t k = 0; !status && k < n; k++) status = run_variant(s, first + k, s->states[k + 1]);
        if (!status) judge_group(s, first, n);
    }
    return status;
}

qsr_status gpt2_splice_run(const gpt2_plan *p, const size_t *tap_place, size_t n_taps, const int64_t *ids, size_t n,
                           const qsr_splice *splice)
{
    splicing s = {.plan = p, .splice = splice, .tap_place = tap_place, .n = n};
    qsr_status status = begin_splicing(&s, n_taps);
    for (; !status && s.first < n; s.first += p->contexts) {
        s.ids = ids + s.first * p->context;
        status = run_pass(&s);
    }
    return status;
}

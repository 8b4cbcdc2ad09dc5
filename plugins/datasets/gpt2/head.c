#include "head.h"

#include <math.h>

#include "base/sizes.h"

void gpt2_head_piece(const gpt2_pass *s, const float *state, size_t begin, size_t n, float *logits)
{
    const qsr_host *host = s->plan->host;
    const gpt2_model *m = s->plan->model;
    const size_t d = m->config.d, tile = s->plan->tile;
    const float *w = gpt2_pass_floats(s, m->head, begin, n);
    for (size_t r = 0; r < s->rows; r += tile)
        host->gemm(host, false, true, tile, n, d, 1, state + r * d, d, w, d, 0, logits + r * GPT2_LOGITS, GPT2_LOGITS);
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

size_t gpt2_judge_bytes(const gpt2_plan *p, size_t most)
{
    const size_t rows = p->contexts * p->slot;
    return rows * (2 * GPT2_LOGITS * sizeof(float) + most * (2 * sizeof(gpt2_soft) + sizeof(float)));
}

qsr_status gpt2_judge_begin(const gpt2_pass *s, size_t most, gpt2_judge *ret)
{
    const qsr_host *host = s->plan->host;
    *ret = (gpt2_judge){.pass = s, .most = most, .judged = host->scratch(host, most, sizeof *ret->judged)};
    for (int i = 0; i < 2; i++) ret->logits[i] = host->scratch(host, s->rows, GPT2_LOGITS * sizeof(float));
    if (!ret->judged || !ret->logits[0] || !ret->logits[1]) return QSR_E_NOMEM;
    for (size_t k = 0; k < most; k++) {
        gpt2_judged *j = &ret->judged[k];
        *j = (gpt2_judged){host->scratch(host, s->rows, sizeof *j->own), host->scratch(host, s->rows, sizeof *j->clean),
                           host->scratch(host, s->rows, sizeof *j->target)};
        if (!j->own || !j->clean || !j->target) return QSR_E_NOMEM;
    }
    return QSR_OK;
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

/* A piece of the logits of one state, beside the piece of the first. */
static void judge_piece(const gpt2_judge *g, size_t k, const int64_t *ids, bool apart, size_t begin, size_t n)
{
    const gpt2_pass *s = g->pass;
    const gpt2_plan *p = s->plan;
    const gpt2_judged *j = &g->judged[k];
    for (size_t i = 0; i < s->n; i++)
        for (size_t t = 0; t + 1 < p->context; t++) {
            const size_t row = i * p->slot + t, next = (size_t)ids[i * p->context + t + 1];
            const float *own = g->logits[k > 0] + row * GPT2_LOGITS, *clean = g->logits[0] + row * GPT2_LOGITS;
            p->rows->soft(own, n, &j->own[row]);
            if (apart) p->rows->soft_apart(clean, own, n, &j->clean[row]);
            if (next >= begin && next - begin < n) j->target[row] = own[next - begin];
        }
}

static double log_sum(const gpt2_soft *s) { return s->most + log(s->sum); }

/* KL = sum p (log p - log q) with p = e^(c - a) and q = e^(o - b) is sum p (c - o) - a + b. */
static void conclude(const gpt2_judge *g, size_t k, double *loss, double *kl)
{
    const gpt2_plan *p = g->pass->plan;
    const gpt2_judged *j = &g->judged[k];
    for (size_t i = 0; i < g->pass->n; i++)
        for (size_t t = 0; t < p->context; t++) {
            const size_t row = i * p->slot + t, at = i * p->context + t;
            const bool last = t + 1 == p->context;
            const double own = last ? NAN : log_sum(&j->own[row]);
            if (loss) loss[at] = last ? NAN : own - (double)j->target[row];
            if (kl) kl[at] = last ? NAN : j->clean[row].apart / j->clean[row].sum - log_sum(&j->clean[row]) + own;
        }
}

void gpt2_judge_states(gpt2_judge *g, float *const *states, size_t n, const int64_t *ids, double *const *loss,
                       double *const *kl)
{
    const size_t vocabulary = g->pass->plan->model->config.vocabulary;
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < g->pass->rows; r++)
            g->judged[k].own[r] = g->judged[k].clean[r] = (gpt2_soft){-INFINITY, 0, 0};
    for (size_t begin = 0; begin < vocabulary; begin += GPT2_LOGITS) {
        const size_t piece = qsr_min_size(GPT2_LOGITS, vocabulary - begin);
        for (size_t k = 0; k < n; k++) {
            gpt2_head_piece(g->pass, states[k], begin, piece, g->logits[k > 0]);
            judge_piece(g, k, ids, kl[k] != NULL, begin, piece);
        }
    }
    for (size_t k = 0; k < n; k++) conclude(g, k, loss[k], kl[k]);
}

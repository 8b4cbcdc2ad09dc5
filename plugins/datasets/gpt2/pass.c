#include "pass.h"

#include <math.h>
#include <string.h>

#include "base/sizes.h"
#include "head.h"

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static size_t wide_columns(const gpt2_config *c) { return qsr_max_size(3 * c->d, c->inner); }

static size_t tile_floats(const gpt2_plan *p) { return qsr_min_size(GPT2_QUERIES, p->context) * GPT2_TILE_ROW(p->context); }

/* Room for the largest matrix that a product must widen first. */
static size_t widened_floats(const gpt2_model *m)
{
    size_t most = 0;
    for (size_t i = 0; i < m->n_blocks; i++) {
        const gpt2_linear *const linear[] = {&m->blocks[i].qkv, &m->blocks[i].attention_out, &m->blocks[i].mlp_in,
                                             &m->blocks[i].mlp_out};
        for (size_t k = 0; k < sizeof linear / sizeof *linear; k++)
            if (!gpt2_is_direct(linear[k]->weight)) most = qsr_max_size(most, linear[k]->weight->count);
    }
    if (m->whole && !gpt2_is_direct(m->head)) most = qsr_max_size(most, GPT2_LOGITS * m->config.d);
    return most;
}

size_t gpt2_pass_bytes(const gpt2_plan *p)
{
    const gpt2_config *c = &p->model->config;
    const size_t rows = p->contexts * p->slot;
    return (rows * (3 * c->d + wide_columns(c)) + tile_floats(p) + widened_floats(p->model)) * sizeof(float);
}

qsr_status gpt2_pass_begin(const gpt2_plan *p, gpt2_pass *ret)
{
    const gpt2_config *c = &p->model->config;
    const qsr_host *host = p->host;
    const size_t widened = widened_floats(p->model);
    *ret = (gpt2_pass){.plan = p, .rows = p->contexts * p->slot};
    ret->x = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->in = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->delta = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->wide = host->scratch(host, ret->rows, wide_columns(c) * sizeof(float));
    ret->widened = widened ? host->scratch(host, widened, sizeof(float)) : NULL;
    ret->attention = (gpt2_attention){.host = host, .rows = p->rows, .context = p->context, .d = c->d, .heads = c->heads};
    ret->attention.tile = host->scratch(host, tile_floats(p), sizeof(float));
    if (!ret->x || !ret->in || !ret->delta || !ret->wide || !ret->attention.tile) return QSR_E_NOMEM;
    return widened && !ret->widened ? QSR_E_NOMEM : QSR_OK;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

const float *gpt2_pass_floats(const gpt2_pass *s, const qsr_tensor *t, size_t begin, size_t rows)
{
    const size_t columns = t->shape[1], n = rows * columns;
    const char *from = (const char *)t->data + begin * columns * qsr_dtype_size(t->dtype);
    if (gpt2_is_direct(t)) return (const float *)t->data + begin * columns;
    if (t->dtype == QSR_F16)
        s->plan->rows->widen_half(from, n, s->widened);
    else if (t->dtype == QSR_BF16)
        s->plan->rows->widen_bfloat(from, n, s->widened);
    else
        memcpy(s->widened, from, n * sizeof(float)); /* F32 at an odd address */
    return s->widened;
}

void gpt2_pass_product(const gpt2_pass *s, const float *in, size_t inner, const qsr_tensor *weight, size_t columns,
                       float *out)
{
    const qsr_host *host = s->plan->host;
    const float *w = gpt2_pass_floats(s, weight, 0, inner);
    for (size_t r = 0; r < s->rows; r += s->plan->tile)
        host->gemm(host, false, false, s->plan->tile, columns, inner, 1, in + r * inner, inner, w, columns, 0,
                   out + r * columns, columns);
}

/* ---- sublayers: delta and bias from in ---------------------------------------------------------------------------- */

/* in = ln_1(x) */
static void attend(gpt2_pass *s, size_t layer)
{
    const gpt2_plan *p = s->plan;
    const gpt2_config *c = &p->model->config;
    const gpt2_block *b = &p->model->blocks[layer];
    const double scale =
        (c->scale_by_width ? 1 / sqrt((double)(c->d / c->heads)) : 1) / (c->scale_by_layer ? (double)(layer + 1) : 1);
    s->attention.scale = (float)scale;
    gpt2_pass_product(s, s->in, c->d, b->qkv.weight, 3 * c->d, s->wide);
    p->rows->add_bias(s->wide, b->qkv.bias, s->rows, 3 * c->d);
    for (size_t i = 0; i < p->contexts; i++)
        gpt2_attend(&s->attention, s->wide + i * p->slot * 3 * c->d, s->in + i * p->slot * c->d);
    gpt2_pass_product(s, s->in, c->d, b->attention_out.weight, c->d, s->delta);
    s->bias = b->attention_out.bias;
}

/* in = ln_2(x) */
static void think(gpt2_pass *s, size_t layer)
{
    const gpt2_config *c = &s->plan->model->config;
    const gpt2_block *b = &s->plan->model->blocks[layer];
    gpt2_pass_product(s, s->in, c->d, b->mlp_in.weight, c->inner, s->wide);
    s->plan->rows->gelu(s->wide, b->mlp_in.bias, s->rows, c->inner);
    gpt2_pass_product(s, s->wide, c->inner, b->mlp_out.weight, c->d, s->delta);
    s->bias = b->mlp_out.bias;
}

/* ---- the way ----------------------------------------------------------------------------------------------------- */

/* x[context][d] = wte[id] + wpe[position] */
static void embed_context(const gpt2_plan *p, const int64_t *ids, float *x)
{
    const gpt2_model *m = p->model;
    const size_t d = m->config.d, bytes = d * qsr_dtype_size(m->wte->dtype);
    for (size_t t = 0; t < p->context; t++, x += d) {
        const float *position = m->wpe + t * d;
        qsr_to_float(m->wte->dtype, (const char *)m->wte->data + (size_t)ids[t] * bytes, d, x);
        for (size_t i = 0; i < d; i++) x[i] += position[i];
    }
}

void gpt2_pass_embed(gpt2_pass *s, const int64_t *ids, size_t n)
{
    const gpt2_plan *p = s->plan;
    const size_t d = p->model->config.d;
    s->n = n;
    memset(s->x, 0, s->rows * d * sizeof *s->x);
    for (size_t i = 0; i < n; i++) embed_context(p, ids + i * p->context, s->x + i * p->slot * d);
}

/* Additions to x wait for the LayerNorm that follows them, so that a row is fetched once for both. A state that begins at what
 * a sublayer gave has its bias in it. */
void gpt2_pass_walk(gpt2_pass *s, size_t from, size_t to, void (*visit)(void *ctx, const gpt2_pass *, size_t place),
                    void *ctx)
{
    const gpt2_model *m = s->plan->model;
    const gpt2_rows *rows = s->plan->rows;
    const size_t d = m->config.d;
    bool waiting = from % 2;
    s->bias = m->zeros;
    for (size_t place = from;; place++) {
        const size_t layer = place / GPT2_PLACES, kind = place % GPT2_PLACES;
        const bool whole = kind == GPT2_RESID_PRE || kind == GPT2_RESID_MID;
        if (whole && place == to && waiting) rows->add(s->x, s->delta, s->bias, s->rows, d);
        if (whole && place != to) {
            const gpt2_affine *norm = kind == GPT2_RESID_PRE ? &m->blocks[layer].ln_1 : &m->blocks[layer].ln_2;
            rows->add_norm(s->x, waiting ? s->delta : NULL, s->bias, norm, m->config.epsilon, s->rows, d, s->in);
        }
        if (visit) visit(ctx, s, place);
        if (place == to) return;
        if (kind == GPT2_RESID_PRE) attend(s, layer);
        if (kind == GPT2_RESID_MID) think(s, layer);
        waiting = true;
    }
}

void gpt2_pass_look(const gpt2_pass *s, size_t place, size_t i, float *out)
{
    const gpt2_plan *p = s->plan;
    const size_t d = p->model->config.d, begin = i * p->slot * d;
    if (place % 2 == 0) {
        memcpy(out, s->x + begin, p->context * d * sizeof *out);
    } else {
        memcpy(out, s->delta + begin, p->context * d * sizeof *out);
        p->rows->add_bias(out, s->bias, p->context, d);
    }
    if (p->centred) p->rows->centre(out, p->context, d, out);
}

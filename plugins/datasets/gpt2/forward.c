#include "forward.h"

#include <string.h>

#include "attention.h"
#include "base/sizes.h"

/* Scratch of one pass, plan->contexts * plan->slot rows each. Rows between the end of a context and the next slot start as
 * 0 and go through everything but attention; nobody reads them. */
typedef struct {
    const gpt2_plan *plan;
    size_t rows;
    float *x;     /* [rows][d] residual stream */
    float *in;    /* [rows][d] what a sublayer reads: normalised x, then the heads' results */
    float *delta; /* [rows][d] what a sublayer adds to x, its bias still missing */
    float *wide;  /* [rows][max(3 d, inner)] q, k, v; then the MLP's inside */
    gpt2_attention attention;
} pass;

static size_t wide_columns(const gpt2_config *c) { return qsr_max_size(3 * c->d, c->inner); }

static size_t tile_floats(const gpt2_plan *p) { return qsr_min_size(GPT2_QUERIES, p->context) * GPT2_TILE_ROW(p->context); }

size_t gpt2_plan_bytes(const gpt2_plan *p)
{
    const gpt2_config *c = &p->model->config;
    const size_t rows = p->contexts * p->slot;
    if (!p->model->n_blocks) return p->context * sizeof(int64_t);
    return (rows * (3 * c->d + wide_columns(c)) + tile_floats(p)) * sizeof(float) +
           p->contexts * p->context * sizeof(int64_t);
}

static qsr_status pass_begin(const gpt2_plan *p, pass *ret)
{
    const gpt2_config *c = &p->model->config;
    const qsr_host *host = p->host;
    *ret = (pass){.plan = p, .rows = p->contexts * p->slot};
    ret->x = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->in = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->delta = host->scratch(host, ret->rows, c->d * sizeof(float));
    ret->wide = host->scratch(host, ret->rows, wide_columns(c) * sizeof(float));
    ret->attention =
        (gpt2_attention){host, p->rows, p->context, c->d, c->heads, host->scratch(host, tile_floats(p), sizeof(float))};
    return ret->x && ret->in && ret->delta && ret->wide && ret->attention.tile ? QSR_OK : QSR_E_NOMEM;
}

/* out[rows][columns] = in[rows][inner] weight, without bias. */
static void product(const pass *s, const float *in, size_t inner, const float *weight, size_t columns, float *out)
{
    const qsr_host *host = s->plan->host;
    for (size_t r = 0; r < s->rows; r += s->plan->tile)
        host->gemm(host, false, false, s->plan->tile, columns, inner, 1, in + r * inner, inner, weight, columns, 0,
                   out + r * columns, columns);
}

/* delta = attn_out without its bias, from in = ln_1(x). */
static void attention(const pass *s, const gpt2_block *b)
{
    const gpt2_plan *p = s->plan;
    const size_t d = p->model->config.d;
    product(s, s->in, d, b->qkv.weight, 3 * d, s->wide);
    p->rows->add_bias(s->wide, b->qkv.bias, s->rows, 3 * d);
    for (size_t i = 0; i < p->contexts; i++)
        gpt2_attend(&s->attention, s->wide + i * p->slot * 3 * d, s->in + i * p->slot * d);
    product(s, s->in, d, b->attention_out.weight, d, s->delta);
}

/* delta = mlp_out without its bias, from in = ln_2(x). */
static void mlp(const pass *s, const gpt2_block *b)
{
    const gpt2_config *c = &s->plan->model->config;
    product(s, s->in, c->d, b->mlp_in.weight, c->inner, s->wide);
    s->plan->rows->gelu(s->wide, b->mlp_in.bias, s->rows, c->inner);
    product(s, s->wide, c->inner, b->mlp_out.weight, c->d, s->delta);
}

/* x[context][d] = wte[id] + wpe[position] */
static void embed(const gpt2_plan *p, const int64_t *ids, float *x)
{
    const gpt2_model *m = p->model;
    const size_t d = m->config.d, bytes = d * qsr_dtype_size(m->wte->dtype);
    for (size_t t = 0; t < p->context; t++, x += d) {
        const float *position = m->wpe + t * d;
        qsr_to_float(m->wte->dtype, (const char *)m->wte->data + (size_t)ids[t] * bytes, d, x);
        for (size_t i = 0; i < d; i++) x[i] += position[i];
    }
}

/* What a pass is asked for. */
typedef struct {
    const gpt2_tap *taps;
    size_t n_taps;
    size_t n;     /* contexts that hold ids */
    size_t depth; /* blocks before the deepest wanted tap */
} request;

/* x, which is whole now, to the taps after that many blocks. */
static void copy_out(const pass *s, const request *want, size_t blocks)
{
    const gpt2_plan *p = s->plan;
    const size_t d = p->model->config.d, each = p->context * d;
    for (size_t t = 0; t < want->n_taps; t++)
        for (size_t i = 0; want->taps[t].blocks == blocks && want->taps[t].out && i < want->n; i++)
            memcpy(want->taps[t].out + i * each, s->x + i * p->slot * d, each * sizeof *s->x);
}

/* Additions to x wait for the LayerNorm that follows them, so that a row is fetched once for both. */
static void run_blocks(const pass *s, const request *want)
{
    const gpt2_model *m = s->plan->model;
    const gpt2_rows *rows = s->plan->rows;
    const size_t d = m->config.d;
    const float *waiting = NULL; /* the bias of a delta that was not added yet */
    for (size_t i = 0; i < want->depth; i++) {
        const gpt2_block *b = &m->blocks[i];
        rows->add_norm(s->x, waiting ? s->delta : NULL, waiting, &b->ln_1, m->config.epsilon, s->rows, d, s->in);
        copy_out(s, want, i);
        attention(s, b);
        rows->add_norm(s->x, s->delta, b->attention_out.bias, &b->ln_2, m->config.epsilon, s->rows, d, s->in);
        mlp(s, b);
        waiting = b->mlp_out.bias;
    }
    if (waiting) rows->add(s->x, s->delta, waiting, s->rows, d);
    copy_out(s, want, want->depth);
}

static qsr_status forward_blocks(const gpt2_plan *p, const int64_t *ids, const request *want)
{
    const size_t d = p->model->config.d;
    pass s;
    qsr_status status = pass_begin(p, &s);
    if (status) return status;
    memset(s.x, 0, s.rows * d * sizeof *s.x);
    for (size_t i = 0; i < want->n; i++) embed(p, ids + i * p->context, s.x + i * p->slot * d);
    run_blocks(&s, want);
    return QSR_OK;
}

qsr_status gpt2_forward(const gpt2_plan *p, const int64_t *ids, size_t n, const gpt2_tap *taps, size_t n_taps)
{
    const size_t each = p->context * p->model->config.d;
    request want = {taps, n_taps, n, 0};
    for (size_t t = 0; t < n_taps; t++)
        if (taps[t].out) want.depth = qsr_max_size(want.depth, taps[t].blocks);
    if (want.depth) return forward_blocks(p, ids, &want);
    for (size_t t = 0; t < n_taps; t++)
        for (size_t i = 0; taps[t].out && i < n; i++) embed(p, ids + i * p->context, taps[t].out + i * each);
    return QSR_OK;
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

/* The same rows in every slot: does this product give the same bytes in every slot? */
static bool slots_agree(const pass *s, size_t inner, const float *weight, size_t columns)
{
    const gpt2_plan *p = s->plan;
    float *in = inner == p->model->config.d ? s->in : s->wide, *out = in == s->in ? s->wide : s->in;
    const size_t slot_in = p->slot * inner, slot_out = p->slot * columns;
    for (size_t i = 0; i < slot_in; i++) in[i] = (float)(p->host->random(p->host, "trial product", i) >> 40) * 0x1p-23f - 1;
    for (size_t c = 1; c < p->contexts; c++) memcpy(in + c * slot_in, in, slot_in * sizeof *in);
    product(s, in, inner, weight, columns, out);
    for (size_t c = 1; c < p->contexts; c++)
        if (memcmp(out, out + c * slot_out, p->context * columns * sizeof *out)) return false;
    return true;
}

static qsr_status try_slot(gpt2_plan *p, size_t slot, bool *ret_good)
{
    p->slot = slot;
    p->tile = p->contexts * slot;
    pass s;
    qsr_status status = pass_begin(p, &s);
    if (status) return status;
    const gpt2_config *c = &p->model->config;
    const gpt2_block *b = p->model->blocks;
    *ret_good = slots_agree(&s, c->d, b->qkv.weight, 3 * c->d) && slots_agree(&s, c->d, b->attention_out.weight, c->d) &&
                slots_agree(&s, c->d, b->mlp_in.weight, c->inner) && slots_agree(&s, c->inner, b->mlp_out.weight, c->d);
    return QSR_OK;
}

/* Kernels of a BLAS may treat rows differently by their place in the matrix: OpenBLAS 0.3.21 for Haswell and Zen works on
 * 12 rows as two unlike groups of 6, so last bits depend on the row number modulo 12 (its AVX-512 kernels do not care).
 * Slots of a multiple of that period make all of them alike. The trial decides, not a table of processors; where no slot
 * passes, each context gets products of its own. */
qsr_status gpt2_plan_make(const qsr_host *host, const gpt2_model *model, size_t contexts, size_t context, gpt2_plan *ret)
{
    *ret = (gpt2_plan){host, model, gpt2_rows_get(), contexts, context, context, contexts * context};
    if (!model->n_blocks || contexts == 1) return QSR_OK;
    const size_t slots[] = {context, qsr_round_up(context, 12), qsr_round_up(context, 48)};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        bool good;
        qsr_status status = try_slot(ret, slots[i], &good);
        if (status || good) return status;
    }
    ret->slot = ret->tile = context;
    return QSR_OK;
}

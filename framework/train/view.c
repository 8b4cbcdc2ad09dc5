#include "train/view.h"

#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/select.h"

/* pre-activations of chosen latents for some rows x[rows][d_in] into the lane's pre, [rows][n]. */
static void encode_again(const qsr_view_work *v, const uint32_t *latents, size_t n, const float *x, size_t rows)
{
    const qsr_params *p = &v->sae->params;
    qsr_encoder *encoder = &v->block->lane->encoder;
    qsr_product_chosen(&v->sae->packed, latents, n, x, rows, p->encoder_bias ? p->b_enc : NULL, encoder->scratch, encoder->pre, n);
}

static void gather_row(const float *pre, const uint32_t *latents, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) out[i] = pre[latents[i]];
}

static qsr_status select_rows(const qsr_view_work *v, const uint32_t *latents, size_t n, size_t k, qsr_code *code, qsr_error *e)
{
    float *row = qsr_block_raw(n, sizeof(float));
    uint32_t *index = qsr_block_raw(qsr_min_size(k, n), sizeof *index);
    if (!row || !index) {
        qsr_block_free(row);
        qsr_block_free(index);
        return qsr_fail_nomem(e, "selecting among latents", n * sizeof(float));
    }
    size_t entries = 0, d_sae = v->sae->params.d_sae;
    for (size_t r = 0; r < v->block->rows; r++) {
        const float *values = v->block->lane->encoder.pre + r * n;
        if (v->pre_is_fresh) {
            gather_row(v->block->lane->encoder.pre + r * d_sae, latents, n, row);
            values = row;
        }
        size_t count = qsr_select_largest(values, n, k, index);
        for (size_t i = 0; i < count; i++, entries++) {
            code->latent[entries] = latents[index[i]];
            code->value[entries] = values[index[i]];
        }
        code->row_begin[r + 1] = entries;
    }
    qsr_block_free(row);
    qsr_block_free(index);
    return QSR_OK;
}

/* ---- from what was kept ------------------------------------------------------------------------------------------ */

/* A code is put together in places of k entries per row, since the rows that must be encoded again come last. */
typedef struct {
    qsr_view_work *v;
    const uint32_t *latents; /* [n] asked for */
    size_t n, k;
    qsr_code *code;
    uint8_t *asked;   /* [d_sae]; NULL: all that the outlook has */
    uint32_t *latent; /* of one row: [room] */
    float *value;
    uint32_t *index;  /* [k] */
    uint32_t *again;  /* [rows] rows that need it */
    size_t n_again;
    float *x;         /* [n_again][d_in] */
} kept_code;

/* Row r is the k largest of values[0..n), which belong to latents[0..n). */
static void place_row(kept_code *c, size_t r, const uint32_t *latents, const float *values, size_t n)
{
    size_t count = qsr_select_largest(values, n, c->k, c->index);
    for (size_t i = 0; i < count; i++) {
        c->code->latent[r * c->k + i] = latents[c->index[i]];
        c->code->value[r * c->k + i] = values[c->index[i]];
    }
    c->code->row_begin[r + 1] = count;
}

static void place_kept(kept_code *c)
{
    const qsr_view_work *v = c->v;
    for (size_t r = 0; r < v->block->rows; r++) {
        size_t n;
        if (qsr_outlook_row(v->outlook, v->number, r, c->asked, c->k, c->latent, c->value, &n)) place_row(c, r, c->latent, c->value, n);
        else c->again[c->n_again++] = (uint32_t)r;
    }
}

static qsr_status place_again(kept_code *c, qsr_error *e)
{
    const qsr_view_work *v = c->v;
    size_t d = v->sae->params.d_in;
    if (!c->n_again) return QSR_OK;
    /* OpenBLAS's arithmetic depends on how many rows there are, which must not depend on who fired: then all of the block. */
    if (!v->sae->packed.tiles)
        for (c->n_again = 0; c->n_again < v->block->rows; c->n_again++) c->again[c->n_again] = (uint32_t)c->n_again;
    c->x = qsr_block_raw(c->n_again, d * sizeof *c->x);
    if (!c->x) return qsr_fail_nomem(e, "rows to encode again", c->n_again * d * sizeof *c->x);
    for (size_t i = 0; i < c->n_again; i++) memcpy(c->x + i * d, v->block->xc + c->again[i] * d, d * sizeof *c->x);
    encode_again(v, c->latents, c->n, c->x, c->n_again);
    for (size_t i = 0; i < c->n_again; i++) place_row(c, c->again[i], c->latents, v->block->lane->encoder.pre + i * c->n, c->n);
    return QSR_OK;
}

/* row_begin[r + 1] holds the sizes of rows until here. */
static void move_together(const kept_code *c)
{
    qsr_code *code = c->code;
    size_t at = 0;
    for (size_t r = 0; r < code->rows; r++) {
        size_t n = code->row_begin[r + 1];
        memmove(code->latent + at, code->latent + r * c->k, n * sizeof *code->latent);
        memmove(code->value + at, code->value + r * c->k, n * sizeof *code->value);
        code->row_begin[r + 1] = at += n;
    }
}

static bool allocate_kept(kept_code *c)
{
    const qsr_outlook *o = c->v->outlook;
    c->latent = qsr_block_raw(o->room, sizeof *c->latent);
    c->value = qsr_block_raw(o->room, sizeof *c->value);
    c->index = qsr_block_raw(c->k, sizeof *c->index);
    c->again = qsr_block_raw(c->v->block->rows, sizeof *c->again);
    if (!c->latent || !c->value || !c->index || !c->again) return false;
    if (c->n == o->places.n) return true;
    c->asked = qsr_block_alloc(o->d_sae, 1);
    for (size_t i = 0; c->asked && i < c->n; i++) c->asked[c->latents[i]] = 1;
    return c->asked != NULL;
}

static qsr_status take_kept(qsr_view_work *v, const uint32_t *latents, size_t n, size_t k, qsr_code *code, qsr_error *e)
{
    kept_code c = {.v = v, .latents = latents, .n = n, .k = k, .code = code};
    qsr_status status = allocate_kept(&c) ? QSR_OK : qsr_fail_nomem(e, "selecting among latents", v->outlook->room * 8);
    if (!status) {
        place_kept(&c);
        status = place_again(&c, e);
    }
    if (!status) move_together(&c);
    void *blocks[] = {c.asked, c.latent, c.value, c.index, c.again, c.x};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    return status;
}

/* ---- */

static qsr_status encode_top(const qsr_view *view, const uint32_t *latents, size_t n, size_t k, const qsr_code **ret_code)
{
    qsr_view_work *v = view->ctx;
    qsr_block_work *b = v->block;
    if (b->n_made >= QSR_MOST_STREAMS) return qsr_fail(&v->error, QSR_E_UNSUPPORTED, "a loss encodes a block too often");
    qsr_code *code = &b->made[b->n_made];
    k = qsr_min_size(k, n);
    qsr_status status = qsr_code_alloc(b->rows, v->sae->params.d_sae, b->rows * k, 0, code, &v->error);
    if (status) return status;
    b->n_made++;
    *ret_code = code;
    if (n == 0) return QSR_OK;
    if (!v->pre_is_fresh && v->outlook && qsr_outlook_covers(v->outlook, latents, n, k)) return take_kept(v, latents, n, k, code, &v->error);
    if (!v->pre_is_fresh) encode_again(v, latents, n, b->xc, b->rows);
    return select_rows(v, latents, n, k, code, &v->error);
}

static qsr_status decode(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias, float *out)
{
    const qsr_view_work *v = view->ctx;
    const qsr_params *p = &v->sae->params;
    qsr_sparse_decode(code, begin, end, p->w_dec, p->d_in, bias ? p->b_dec : NULL, out, &v->block->walked);
    return QSR_OK;
}

/* d_value of the entries it covers += W_dec . d_out */
static void value_gradients(const qsr_view_work *v, const qsr_code *code, uint32_t begin, uint32_t end, const float *d_out,
                            float *d_value)
{
    qsr_sparse_dots(code, begin, end, v->sae->params.w_dec, v->sae->params.d_in, d_out, d_value, &v->block->walked);
}

static qsr_status backward(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias,
                           const float *d_out)
{
    qsr_view_work *v = view->ctx;
    qsr_block_work *b = v->block;
    size_t d = v->sae->params.d_in, n = b->rows * d, entries = code->row_begin[code->rows];
    /* Where nothing else is differentiated, the place for the gradient of the reconstruction is free: gradients of all blocks are then
     * one array. */
    float *kept = b->n_streams ? qsr_block_take(b, n, sizeof(float)) : b->d_xhat;
    if (!kept) return qsr_fail_nomem(&v->error, "a loss's gradient", n * sizeof(float));
    memcpy(kept, d_out, n * sizeof *kept);
    qsr_use_stream stream = {.code = code, .begin = begin, .end = end, .d_out = kept};
    if (code == b->code) {
        value_gradients(v, code, begin, end, d_out, b->d_value); /* goes on through the activation's backward */
    } else {
        float *d_pre = qsr_block_take(b, entries, sizeof(float));
        if (!d_pre) return qsr_fail_nomem(&v->error, "a loss's gradient", entries * sizeof(float));
        memset(d_pre, 0, entries * sizeof *d_pre);
        value_gradients(v, code, begin, end, d_out, d_pre); /* values are positive pre-activations: the gradient passes */
        stream.d_pre = d_pre;
    }
    for (size_t i = 0; bias && i < n; i++) b->d_bias[i % d] += d_out[i];
    return qsr_block_add_stream(b, &stream, &v->error);
}

qsr_view qsr_view_make(qsr_view_work *work)
{
    return (qsr_view){.struct_size = sizeof(qsr_view), .ctx = work, .encode_top = encode_top, .decode = decode, .backward = backward};
}

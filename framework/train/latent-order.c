#include "train/latent-order.h"

#include <string.h>

#include "base/arena.h"

struct ordering {
    const qsr_block_work *blocks;
    size_t d_sae;
    uint32_t *next; /* [blocks][d_sae]: a block's uses of a latent, later the place of its next one */
    qsr_latent_order *to;
};

static qsr_status count_blocks(void *arg, size_t begin, size_t end)
{
    const struct ordering *in = arg;
    for (size_t b = begin; b < end; b++) {
        const qsr_code *code = in->blocks[b].stream->code;
        uint32_t *count = in->next + b * in->d_sae;
        for (size_t e = 0; e < code->row_begin[code->rows]; e++) count[code->latent[e]]++;
    }
    return QSR_OK;
}

/* Counts become places: a latent's uses in the first block, those in the second, … */
static void lay_out(const struct ordering *in, size_t n)
{
    uint32_t at = 0;
    for (size_t j = 0; j < in->d_sae; j++) {
        in->to->at[j] = at;
        for (size_t b = 0; b < n; b++) {
            uint32_t *place = &in->next[b * in->d_sae + j], count = *place;
            *place = at;
            at += count;
        }
    }
    in->to->at[in->d_sae] = at;
}

static void place(const struct ordering *in, const qsr_use_stream *s, size_t e, uint32_t row, uint32_t *next)
{
    qsr_latent_order *to = in->to;
    uint32_t at = next[s->code->latent[e]]++;
    to->row[at] = row;
    to->value[at] = s->code->value[e];
    to->d_pre[at] = s->d_pre[e];
    if (to->d_norm) to->d_norm[at] = s->d_norm[e];
    for (int p = 0; p < 2; p++)
        if (to->d_param[p]) to->d_param[p][at] = s->d_param[p][e];
}

static qsr_status place_blocks(void *arg, size_t begin, size_t end)
{
    const struct ordering *in = arg;
    for (size_t b = begin; b < end; b++) {
        const qsr_use_stream *s = in->blocks[b].stream;
        uint32_t row0 = (uint32_t)(b * in->blocks->rows);
        for (size_t r = 0; r < s->code->rows; r++)
            for (size_t e = s->code->row_begin[r]; e < s->code->row_begin[r + 1]; e++)
                place(in, s, e, row0 + (uint32_t)r, in->next + b * in->d_sae);
    }
    return QSR_OK;
}

static bool allocate(qsr_latent_order *to, size_t entries, const qsr_use_stream *like)
{
    bool ok = (to->at = qsr_block_raw(to->d_sae + 1, sizeof *to->at)) &&
              (to->row = qsr_block_raw(entries, sizeof *to->row)) && (to->value = qsr_block_raw(entries, sizeof(float))) &&
              (to->d_pre = qsr_block_raw(entries, sizeof(float)));
    if (ok && like->d_norm) ok = (to->d_norm = qsr_block_raw(entries, sizeof(float))) != NULL;
    for (int p = 0; ok && p < 2; p++)
        if (like->d_param[p]) ok = (to->d_param[p] = qsr_block_raw(entries, sizeof(float))) != NULL;
    return ok;
}

qsr_status qsr_latent_order_make(const qsr_block_work *blocks, size_t n, size_t d_sae, qsr_pool *pool,
                                 qsr_latent_order *ret, qsr_error *e)
{
    size_t entries = 0;
    for (size_t b = 0; b < n; b++) entries += blocks[b].stream->code->row_begin[blocks[b].stream->code->rows];
    *ret = (qsr_latent_order){.d_sae = d_sae};
    struct ordering in = {blocks, d_sae, qsr_block_alloc(n * d_sae, sizeof(uint32_t)), ret};
    if (!in.next || entries > UINT32_MAX || !allocate(ret, entries, blocks->stream)) {
        qsr_block_free(in.next);
        qsr_latent_order_free(ret);
        return qsr_fail_nomem(e, "a code in latent order", entries * 3 * sizeof(float));
    }
    qsr_pool_run(pool, n, 1, count_blocks, &in);
    lay_out(&in, n);
    qsr_pool_run(pool, n, 1, place_blocks, &in);
    qsr_block_free(in.next);
    return QSR_OK;
}

void qsr_latent_order_free(qsr_latent_order *o)
{
    qsr_block_free(o->at);
    qsr_block_free(o->row);
    qsr_block_free(o->value);
    qsr_block_free(o->d_pre);
    qsr_block_free(o->d_norm);
    qsr_block_free(o->d_param[0]);
    qsr_block_free(o->d_param[1]);
    *o = (qsr_latent_order){0};
}

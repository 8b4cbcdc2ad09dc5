#include "train/outlook.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/prefetch.h"
#include "base/sizes.h"
#include "math/select.h"

size_t qsr_outlook_room(size_t d_in, size_t k, size_t n) { return k > d_in ? 0 : qsr_min_size(qsr_shortlist_room(k), n); }

/* ---- before the batch -------------------------------------------------------------------------------------------- */

static size_t blocks_of(const qsr_outlook *o) { return qsr_div_up(o->batch, o->block_rows); }

static qsr_status allocate(qsr_outlook *o, qsr_error *e)
{
    if (o->named) return QSR_OK;
    o->kept = qsr_xcalloc(blocks_of(o), sizeof *o->kept);
    o->named = qsr_block_raw(o->d_sae, 1);
    o->all = qsr_block_raw(blocks_of(o), o->block_rows);
    if (!o->named || !o->all) return qsr_fail_nomem(e, "what a loss may look at", o->d_sae + o->batch);
    return qsr_places_create(o->d_sae, &o->places, e);
}

static qsr_status check_named(const qsr_outlook *o, qsr_error *e)
{
    for (size_t j = 0; j < o->d_sae; j++)
        if (o->named[j] > 1)
            return qsr_fail(e, QSR_E_INTERNAL, "outlook() wrote %u for latent %zu, where only 0 and 1 mean something",
                            o->named[j], j);
    return QSR_OK;
}

qsr_status qsr_outlook_ask(qsr_outlook *o, const qsr_made *made, const qsr_loss_ops *ops, const uint64_t *silent, qsr_error *e)
{
    o->active = false;
    qsr_status status = allocate(o, e);
    if (status) return status;
    memset(o->named, 0, o->d_sae);
    qsr_loss_outlook ask = {
        .struct_size = sizeof ask, .rows = o->batch, .d_sae = o->d_sae, .silent = silent, .latents = o->named};
    qsr_made_serial(made);
    status = qsr_made_finish(made, ops->outlook(made->instance, &ask), e);
    if (status == QSR_END) return QSR_OK;
    if (!status) status = check_named(o, e);
    if (status) return status;
    qsr_places_set(&o->places, o->named);
    o->k = qsr_min_size(ask.k, o->places.n);
    o->room = o->k ? qsr_outlook_room(o->d_in, o->k, o->places.n) : 0;
    o->least = qsr_min_size(qsr_shortlist_least(o->k), o->room);
    o->active = o->room > 0;
    return QSR_OK;
}

void qsr_outlook_free(qsr_outlook *o)
{
    for (size_t b = 0; o->kept && b < blocks_of(o); b++) qsr_code_free(&o->kept[b]);
    free(o->kept);
    qsr_block_free(o->named);
    qsr_places_free(&o->places);
    qsr_block_free(o->all);
    *o = (qsr_outlook){0};
}

/* ---- in the main pass -------------------------------------------------------------------------------------------- */

static qsr_status make_room(qsr_code *code, size_t rows, size_t entries, size_t d_sae, qsr_error *e)
{
    if (code->row_begin && code->rows >= rows && code->capacity >= entries) return QSR_OK;
    qsr_code_free(code);
    return qsr_code_alloc(rows, d_sae, entries, 0, code, e);
}

qsr_status qsr_outlook_keep(qsr_outlook *o, size_t block, const float *pre, size_t rows, qsr_error *e)
{
    qsr_code *code = &o->kept[block];
    qsr_status status = make_room(code, o->block_rows, o->block_rows * o->room + QSR_SELECT_LANES, o->d_sae, e);
    if (status) return status;
    const qsr_places *p = &o->places;
    float *values = qsr_block_raw(p->n + QSR_SELECT_LANES, sizeof *values), guess = 0;
    if (!values) return qsr_fail_nomem(e, "pre-activations of a row", p->n * sizeof *values);
    size_t entries = 0;
    for (size_t r = 0; r < rows; r++) {
        bool all;
        qsr_places_gather(p, pre + r * o->d_sae, values);
        /* A block's pre-activations are too many for the second-level cache. */
        if (r + 1 < rows) qsr_prefetch(pre + (r + 1) * o->d_sae, o->d_sae * sizeof *pre);
        size_t n = qsr_shortlist_take(values, p->n, o->least, o->room, &guess, code->latent + entries,
                                      code->value + entries, &all);
        for (size_t i = entries; i < entries + n; i++) code->latent[i] = p->index[code->latent[i]];
        code->row_begin[r + 1] = entries += n;
        o->all[block * o->block_rows + r] = all;
    }
    qsr_block_free(values);
    return QSR_OK;
}

/* ---- after the batch --------------------------------------------------------------------------------------------- */

bool qsr_outlook_covers(const qsr_outlook *o, const uint32_t *latents, size_t n, size_t k)
{
    if (!o->active || k > o->k) return false;
    for (size_t i = 0; i < n; i++)
        if (!o->named[latents[i]]) return false;
    return true;
}

bool qsr_outlook_row(const qsr_outlook *o, size_t block, size_t row, const uint8_t *asked, size_t k, uint32_t *latent,
                     float *value, size_t *ret_n)
{
    const qsr_code *code = &o->kept[block];
    size_t n = 0;
    for (size_t i = code->row_begin[row]; i < code->row_begin[row + 1]; i++) {
        latent[n] = code->latent[i];
        value[n] = code->value[i];
        n += !asked || asked[code->latent[i]];
    }
    *ret_n = n;
    return n >= k || o->all[block * o->block_rows + row];
}

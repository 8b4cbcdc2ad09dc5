#include "train/block.h"

#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/select.h"

/* A code with room for all latents of all rows. */
static qsr_status create_full_code(size_t rows, size_t d_sae, uint32_t planes, qsr_code *ret, qsr_error *e)
{
    size_t entries;
    if (!qsr_mul_size(rows, d_sae, &entries) || !qsr_add_size(entries, QSR_SELECT_LANES, &entries))
        return qsr_fail_nomem(e, "a block of codes", SIZE_MAX);
    qsr_status status = qsr_code_alloc(rows, d_sae, entries, planes, ret, e);
    if (!status) ret->capacity = rows * d_sae;
    return status;
}

qsr_status qsr_lane_create(const qsr_sae *sae, size_t rows, uint32_t planes, qsr_lane *ret, qsr_error *e)
{
    *ret = (qsr_lane){0};
    qsr_status status = qsr_encoder_create(sae, rows, &ret->encoder, e);
    if (!status) status = create_full_code(rows, sae->params.d_sae, planes, &ret->code, e);
    if (status) qsr_lane_destroy(ret);
    return status;
}

void qsr_lane_destroy(qsr_lane *lane)
{
    qsr_encoder_free(&lane->encoder);
    qsr_code_free(&lane->code);
}

qsr_status qsr_block_create(size_t d_in, float *xc, float *d_xhat, qsr_block_work *ret, qsr_error *e)
{
    *ret = (qsr_block_work){.xc = xc, .d_xhat = d_xhat, .d_bias = qsr_block_raw(d_in, sizeof(double))};
    return ret->d_bias ? QSR_OK : qsr_fail_nomem(e, "a block's gradient", d_in * sizeof(double));
}

static void release_loose(qsr_block_work *b)
{
    for (size_t i = 0; i < b->n_made; i++) qsr_code_free(&b->made[i]);
    for (size_t i = 0; i < b->n_loose; i++) qsr_block_free(b->loose[i]);
    b->n_made = b->n_loose = b->n_streams = 0;
}

static void release_gradients(qsr_block_work *b)
{
    qsr_block_free(b->d_value);
    qsr_block_free(b->d_pre);
    qsr_block_free(b->d_active);
    qsr_block_free(b->d_norm);
    qsr_block_free(b->d_param[0]);
    qsr_block_free(b->d_param[1]);
    b->d_value = b->d_pre = b->d_active = b->d_norm = b->d_param[0] = b->d_param[1] = NULL;
    b->entries = 0;
}

void qsr_block_destroy(qsr_block_work *b)
{
    release_loose(b);
    release_gradients(b);
    qsr_code_free(&b->own);
    qsr_block_free(b->d_bias);
    *b = (qsr_block_work){0};
}

void qsr_block_begin(qsr_block_work *b, qsr_lane *lane, size_t row0, size_t rows, size_t d_in)
{
    release_loose(b);
    b->watch = (qsr_stopwatch){0};
    qsr_stopwatch_start(&b->watch);
    b->lane = lane;
    b->walked = (qsr_sparse_count){0};
    b->row0 = row0;
    b->rows = rows;
    b->code = &b->own;
    memset(b->d_bias, 0, d_in * sizeof *b->d_bias);
}

enum { DENSE = 16 }; /* from one entry in so many latents on */

qsr_status qsr_block_take_code(qsr_block_work *b, size_t most_rows, qsr_error *e)
{
    qsr_code *made = &b->lane->code, *own = &b->own;
    if (made->row_begin[made->rows] < made->capacity / DENSE) return qsr_code_assign(made, own, e);
    if (own->capacity < made->capacity || own->planes != made->planes) {
        qsr_code_free(own);
        qsr_status status = create_full_code(most_rows, made->d_sae, made->planes, own, e);
        if (status) return status;
    }
    const qsr_code taken = *made;
    *made = *own;
    *own = taken;
    return QSR_OK;
}

static qsr_status have(float **array, size_t room, qsr_error *e)
{
    if (!*array) *array = qsr_block_raw(room, sizeof(float));
    return *array ? QSR_OK : qsr_fail_nomem(e, "gradients of codes", room * sizeof(float));
}

static qsr_status clear(float **array, bool wanted, size_t room, size_t n, qsr_error *e)
{
    qsr_status status = wanted ? have(array, room, e) : QSR_OK;
    if (wanted && !status) memset(*array, 0, n * sizeof(float));
    return status;
}

qsr_status qsr_block_gradients(qsr_block_work *b, const qsr_code *code, const qsr_block_wants *wants, qsr_error *e)
{
    size_t n = code->row_begin[code->rows];
    if (n > b->entries) {
        release_gradients(b);
        b->entries = qsr_round_up(n + n / 8, 1024); /* L0 drifts: do not allocate for every small step up */
    }
    qsr_status status = clear(&b->d_value, true, b->entries, n, e);
    if (!status) status = have(&b->d_pre, b->entries, e);
    if (!status) status = clear(&b->d_active, wants->active, b->entries, n, e);
    if (!status) status = clear(&b->d_norm, wants->norm, b->entries, n, e);
    for (unsigned p = 0; !status && p < 2; p++) status = clear(&b->d_param[p], p < wants->params, b->entries, n, e);
    return status;
}

qsr_status qsr_block_add_stream(qsr_block_work *b, const qsr_use_stream *stream, qsr_error *e)
{
    if (b->n_streams >= QSR_MOST_STREAMS)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "losses look at one block more than %d times", QSR_MOST_STREAMS - 1);
    b->stream[b->n_streams++] = *stream;
    return QSR_OK;
}

void *qsr_block_take(qsr_block_work *b, size_t n, size_t size)
{
    if (b->n_loose >= sizeof b->loose / sizeof *b->loose) return NULL;
    void *p = qsr_block_raw(n, size);
    if (p) b->loose[b->n_loose++] = p;
    return p;
}

#include "model/sieve.h"

#include "base/arena.h"
#include "base/sizes.h"

qsr_status qsr_sieve_create(bool integers, size_t n, size_t d, qsr_sieve *ret, qsr_error *e)
{
    *ret = (qsr_sieve){.on = true, .integers = integers};
    qsr_status status = integers ? qsr_screen_create(QSR_SCREEN_INT8, false, n, d, &ret->int8, e) : QSR_OK;
    if (!status && qsr_screen_tiles_get(QSR_SCREEN_BF16))
        status = qsr_screen_create(QSR_SCREEN_BF16, integers, n, d, &ret->bf16, e);
    if (status) qsr_sieve_free(ret);
    return status;
}

void qsr_sieve_free(qsr_sieve *s)
{
    qsr_screen_free(&s->int8);
    qsr_screen_free(&s->bf16);
    *s = (qsr_sieve){0};
}

void qsr_sieve_fill(qsr_sieve *s, const float *w, qsr_pool *pool)
{
    if (s->integers) qsr_screen_fill(&s->int8, w, pool);
    if (s->bf16.tiles) qsr_screen_fill(&s->bf16, w, pool);
}

qsr_status qsr_sift_room_create(const qsr_sieve *s, size_t rows, size_t d_in, qsr_sift_room *ret, qsr_error *e)
{
    size_t int8 = s->integers ? qsr_screen_scratch(&s->int8, rows) : 0,
           bf16 = s->bf16.tiles ? qsr_screen_scratch(&s->bf16, rows) : 0;
    size_t pairs = s->integers && s->bf16.tiles ? bf16 : 0, d_sae = s->integers ? s->int8.n : s->bf16.n;
    *ret = (qsr_sift_room){.rows = rows,
                           .bounds = qsr_block_raw(qsr_max_size(int8, bf16), sizeof(float)),
                           .pairs = qsr_block_raw(qsr_max_size(pairs, 1), sizeof(float)),
                           .again = qsr_block_raw(rows, d_in * sizeof(float)),
                           .number = qsr_block_raw(rows, sizeof(uint32_t)),
                           .begin = qsr_block_raw(rows, sizeof(size_t)),
                           .size = qsr_block_raw(rows, sizeof(size_t)),
                           .floor = qsr_block_raw(d_sae, sizeof(float)),
                           .rest = qsr_block_raw(rows, sizeof(qsr_sift_rest))};
    bool ready =
        ret->bounds && ret->pairs && ret->again && ret->number && ret->begin && ret->size && ret->floor && ret->rest;
    if (ready) return QSR_OK;
    qsr_sift_room_free(ret);
    return qsr_fail_nomem(e, "bounds of a block", (qsr_max_size(int8, bf16) + pairs + rows * d_in) * sizeof(float));
}

void qsr_sift_room_free(qsr_sift_room *r)
{
    void *blocks[] = {r->bounds, r->pairs, r->again, r->number, r->begin, r->size, r->floor, r->rest};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    *r = (qsr_sift_room){0};
}

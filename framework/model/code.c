#include "model/code.h"

#include <string.h>

#include "base/arena.h"

qsr_status qsr_code_alloc(size_t rows, size_t d_sae, size_t capacity, uint32_t planes, qsr_code *ret, qsr_error *e)
{
    *ret = (qsr_code){.struct_size = sizeof *ret, .planes = planes, .d_sae = d_sae, .capacity = capacity, .rows = rows};
    ret->row_begin = qsr_block_alloc(rows + 1, sizeof *ret->row_begin);
    ret->latent = qsr_block_raw(capacity, sizeof *ret->latent);
    ret->value = qsr_block_raw(capacity, sizeof *ret->value);
    bool refused = !ret->row_begin || !ret->latent || !ret->value;
    for (uint32_t p = 0; p < planes && p < 2; p++) {
        ret->plane[p] = qsr_block_raw(capacity, sizeof *ret->plane[p]);
        refused |= !ret->plane[p];
    }
    if (!refused) return QSR_OK;
    qsr_code_free(ret);
    return qsr_fail_nomem(e, "a block of codes", capacity * (8 + 4 * (size_t)planes));
}

void qsr_code_free(qsr_code *c)
{
    qsr_block_free(c->row_begin);
    qsr_block_free(c->latent);
    qsr_block_free(c->value);
    qsr_block_free(c->plane[0]);
    qsr_block_free(c->plane[1]);
    *c = (qsr_code){0};
}

static void copy_entries(const qsr_code *from, qsr_code *to)
{
    size_t n = from->row_begin[from->rows];
    memcpy(to->row_begin, from->row_begin, (from->rows + 1) * sizeof *to->row_begin);
    if (n == 0) return;
    memcpy(to->latent, from->latent, n * sizeof *to->latent);
    memcpy(to->value, from->value, n * sizeof *to->value);
    for (uint32_t p = 0; p < from->planes; p++) memcpy(to->plane[p], from->plane[p], n * sizeof *to->plane[p]);
}

qsr_status qsr_code_copy(const qsr_code *from, qsr_code *ret, qsr_error *e)
{
    qsr_status status = qsr_code_alloc(from->rows, from->d_sae, from->row_begin[from->rows], from->planes, ret, e);
    if (!status) copy_entries(from, ret);
    return status;
}

qsr_status qsr_code_assign(const qsr_code *from, qsr_code *to, qsr_error *e)
{
    size_t n = from->row_begin[from->rows];
    if (!to->row_begin || to->rows < from->rows || to->capacity < n || to->planes != from->planes) {
        qsr_code_free(to);
        qsr_status status = qsr_code_alloc(from->rows, from->d_sae, n + n / 8, from->planes, to, e); /* L0 drifts */
        if (status) return status;
    }
    copy_entries(from, to);
    to->rows = from->rows;
    return QSR_OK;
}

void qsr_code_compact(qsr_code *c, const uint8_t *keep)
{
    size_t to = 0;
    for (size_t r = 0, e = 0; r < c->rows; r++) {
        for (; e < c->row_begin[r + 1]; e++) {
            if (!keep[e]) continue;
            c->latent[to] = c->latent[e];
            c->value[to] = c->value[e];
            for (uint32_t p = 0; p < c->planes; p++) c->plane[p][to] = c->plane[p][e];
            to++;
        }
        c->row_begin[r + 1] = to; /* row r's end was read above; its successor starts where it ended */
    }
}

size_t qsr_code_find(const qsr_code *c, size_t r, size_t latent)
{
    size_t low = c->row_begin[r], high = c->row_begin[r + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->latent[middle] < latent) low = middle + 1;
        else high = middle;
    }
    return low;
}

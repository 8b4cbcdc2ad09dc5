#include "math/quartet.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/prefetch.h"
#include "base/sizes.h"
#include "math/kernel.h"

enum { PANEL = QSR_QUARTET_PANEL, STRIP = QSR_QUARTET_STRIP };

bool qsr_quartet_pays(size_t entries, size_t rows, size_t items) { return 12 * entries >= rows * items; }

/* Buckets are copied 16 bytes at a time, over what the next one writes again. */
void qsr_quartet_sort(const uint8_t *mask, size_t n, qsr_quartet *ret)
{
    uint8_t bucket[16][PANEL + 16];
    size_t count[16] = {0}, at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned m = mask[i];
        bucket[m][count[m]++] = (uint8_t)i;
    }
    ret->begin[0] = 0;
    for (unsigned m = 1; m < 16; m++) {
        ret->begin[m] = (uint16_t)at;
        for (size_t i = 0; i < count[m]; i += 16) memcpy(ret->item + at + i, bucket[m] + i, 16);
        at += count[m];
    }
    ret->begin[16] = (uint16_t)at;
}

void qsr_quartets_create(size_t n, size_t items, unsigned values, qsr_quartets *ret)
{
    size_t panels = qsr_div_up(items, PANEL), lists = panels * n;
    *ret = (qsr_quartets){.n = n, .items = items, .panels = panels};
    ret->row = qsr_xcalloc(n + 1, sizeof *ret->row);
    ret->list = qsr_xcalloc(lists + 1, sizeof *ret->list);
    ret->mask = qsr_xcalloc(lists + 1, PANEL);
    for (unsigned v = 0; v < values; v++) ret->value[v] = qsr_xcalloc(lists + 1, QSR_QUARTET_STRIDE * sizeof(float));
    for (size_t q = 0; q < n; q++) ret->row[q] = QSR_QUARTET * q;
}

void qsr_quartets_free(qsr_quartets *t)
{
    free(t->row);
    free(t->list);
    free(t->mask);
    free(t->value[0]);
    free(t->value[1]);
    *t = (qsr_quartets){0};
}

void qsr_quartets_clear(qsr_quartets *t, size_t items)
{
    t->items = items;
    t->panels = qsr_div_up(items, PANEL);
    memset(t->mask, 0, t->panels * t->n * PANEL);
}

static size_t items_of(const qsr_quartets *t, size_t panel) { return qsr_min_size(PANEL, t->items - panel * PANEL); }

void qsr_quartets_sort(qsr_quartets *t)
{
    for (size_t p = 0; p < t->panels; p++)
        for (size_t q = 0; q < t->n; q++)
            qsr_quartet_sort(qsr_quartets_mask(t, p, q), items_of(t, p), &t->list[p * t->n + q]);
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

/* Asks for rows [begin, end) of a strip. */
static void fetch(const float *m, size_t ld, size_t begin, size_t end, size_t width)
{
    for (size_t r = begin; r < end; r++) qsr_prefetch(m + r * ld, width * sizeof *m);
}

/* One panel times one strip of `width` columns. Meanwhile the strip that comes next (`next`, of next_rows rows) is asked for. */
static void gather_strip(const qsr_quartets *t, size_t panel, const float *value, const float *packed, size_t width,
                         float *acc, size_t ld_acc, const float *next, size_t ld, size_t next_rows)
{
    qsr_quartet_gather *gather = qsr_kernels_get()->quartet->gather;
    for (size_t q = 0; q < t->n; q++) {
        if (q + 1 < t->n) fetch(acc + t->row[q + 1] * ld_acc, ld_acc, 0, QSR_QUARTET, width);
        fetch(next, ld, next_rows * q / t->n, next_rows * (q + 1) / t->n, STRIP);
        gather(&t->list[panel * t->n + q], value + (panel * t->n + q) * QSR_QUARTET_STRIDE, packed, width,
               acc + t->row[q] * ld_acc, ld_acc);
    }
}

void qsr_quartets_gather(const qsr_quartets *t, const float *value, const float *m, size_t ld, size_t d, float *acc,
                         size_t ld_acc)
{
    _Alignas(64) float packed[PANEL * STRIP];
    for (size_t c = 0; t->n && c < d; c += STRIP)
        for (size_t p = 0; p < t->panels; p++) {
            size_t width = qsr_min_size(STRIP, d - c), rows = items_of(t, p);
            bool last = p + 1 == t->panels, end = last && c + STRIP >= d;
            const float *next = last ? m + c + STRIP : m + (p + 1) * PANEL * ld + c;
            qsr_kernels_get()->quartet->pack(m + p * PANEL * ld + c, ld, rows, width, packed);
            gather_strip(t, p, value, packed, width, acc + c, ld_acc, end ? m : next, ld,
                         end ? 0 : items_of(t, last ? 0 : p + 1));
        }
}

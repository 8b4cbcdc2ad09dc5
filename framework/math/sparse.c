#include "math/sparse.h"

#include <string.h>

#include "base/sizes.h"
#include "math/kernel.h"

/* Rows of a stretch, latents of a panel: PANEL rows of W of 768 floats are 384 KiB. A row should use FEW latents of a panel, or the
 * panel is not worth its trips to the sums. */
enum { ROWS = 256, PANEL = 128, FEW = 3, STRIP = 384 };

/* Some rows of a code, with the entries that count: at[r] <= e < end[r]. at moves on with the panels. */
typedef struct {
    const qsr_code *code;
    size_t row0, rows;
    size_t at[ROWS], end[ROWS];
    size_t n_quartets, quartet[ROWS / QSR_QUARTET]; /* their first rows */
    size_t n_single, single[ROWS];                  /* the other rows */
    size_t entries;                                 /* of those */
} stretch;

static size_t first_entry(const qsr_code *c, size_t row, uint32_t latent)
{
    size_t low = c->row_begin[row], high = c->row_begin[row + 1];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (c->latent[middle] < latent)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void find_entries(stretch *s, uint32_t begin, uint32_t end)
{
    const qsr_code *c = s->code;
    for (size_t r = 0; r < s->rows; r++) {
        size_t row = s->row0 + r;
        s->at[r] = begin == 0 ? c->row_begin[row] : first_entry(c, row, begin);
        s->end[r] = end >= c->d_sae ? c->row_begin[row + 1] : first_entry(c, row, end);
        if (s->end[r] < s->at[r]) s->end[r] = s->at[r];
    }
}

static size_t count_entries(const stretch *s, size_t begin, size_t end)
{
    size_t n = 0;
    for (size_t r = begin; r < end; r++) n += s->end[r] - s->at[r];
    return n;
}

static void take_stretch(const qsr_code *c, size_t row0, uint32_t begin, uint32_t end, stretch *s)
{
    s->code = c;
    s->row0 = row0;
    s->rows = qsr_min_size(ROWS, c->rows - row0);
    s->n_quartets = s->n_single = s->entries = 0;
    find_entries(s, begin, end);
    for (size_t r = 0, rows; r < s->rows; r += rows) {
        rows = qsr_min_size(QSR_QUARTET, s->rows - r);
        size_t entries = count_entries(s, r, r + rows);
        if (rows == QSR_QUARTET && qsr_quartet_pays(entries, rows, end - begin)) {
            s->quartet[s->n_quartets++] = r;
            continue;
        }
        s->entries += entries;
        for (size_t i = r; i < r + rows; i++) s->single[s->n_single++] = i;
    }
}

/* ---- quartets ---------------------------------------------------------------------------------------------------- */

/* Row o of a quartet: its entries below `limit` go to mask[latent - begin] and, where there are values, value[latent - begin][QUARTET].
 * Returns where they end. */
static inline __attribute__((always_inline)) size_t put_row(const stretch *s, size_t row, size_t o, uint32_t begin,
                                                            uint32_t limit, uint8_t *restrict mask, float *restrict value)
{
    const uint32_t *latent = s->code->latent;
    const float *from = s->code->value;
    const size_t end = s->end[row + o];
    size_t e = s->at[row + o];
    for (; e < end && latent[e] < limit; e++) {
        mask[latent[e] - begin] |= (uint8_t)(1u << o);
        if (value) value[QSR_QUARTET * (latent[e] - begin) + o] = from[e];
    }
    return e;
}

static void put_quartet(stretch *s, size_t row, uint32_t begin, uint32_t limit, uint8_t *mask, float *value)
{
    for (size_t o = 0; o < QSR_QUARTET; o++) s->at[row + o] = put_row(s, row, o, begin, limit, mask, value);
}

static void decode_quartets(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, float *out,
                            qsr_sparse_count *count)
{
    qsr_quartets t;
    qsr_quartets_create(s->n_quartets, 2 * QSR_QUARTET_PANEL, 1, &t);
    memcpy(t.row, s->quartet, s->n_quartets * sizeof *t.row);
    for (uint32_t at = begin, next; at < end; at = next) {
        next = at + (uint32_t)qsr_min_size(2 * QSR_QUARTET_PANEL, end - at);
        qsr_quartets_clear(&t, next - at);
        for (size_t p = 0; p < t.panels; p++)
            for (size_t q = 0; q < t.n; q++) {
                uint32_t first = at + (uint32_t)p * QSR_QUARTET_PANEL,
                         last = first + (uint32_t)qsr_min_size(QSR_QUARTET_PANEL, next - first);
                put_quartet(s, s->quartet[q], first, last, qsr_quartets_mask(&t, p, q), qsr_quartets_value(&t, 0, p, q));
            }
        qsr_quartets_sort(&t);
        qsr_quartets_gather(&t, t.value[0], w + (size_t)at * d, d, d, out, d);
        count->in_quartets++;
    }
    qsr_quartets_free(&t);
}

/* ---- single rows ------------------------------------------------------------------------------------------------- */

static bool is_thin(const stretch *s, uint32_t begin, uint32_t end)
{
    return s->entries < FEW * s->n_single * qsr_div_up(end - begin, PANEL);
}

/* to[i] = the end of single row i's entries below `limit`. */
static void cut_panel(const stretch *s, uint32_t limit, size_t *to)
{
    for (size_t i = 0; i < s->n_single; i++) {
        size_t e = s->at[s->single[i]];
        while (e < s->end[s->single[i]] && s->code->latent[e] < limit) e++;
        to[i] = e;
    }
}

static void move_on(stretch *s, const size_t *to)
{
    for (size_t i = 0; i < s->n_single; i++) s->at[s->single[i]] = to[i];
}

static void decode_row(const stretch *s, size_t r, size_t to, const float *w, size_t d, size_t width, float *out)
{
    const qsr_code *c = s->code;
    qsr_kernels_get()->sparse->gather(c->latent + s->at[r], c->value + s->at[r], to - s->at[r], w, d, width, out + r * d);
}

/* Panels are twice as wide and half as long as those of dot products: the sums make half the trips. */
static void decode_panels(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, float *out,
                          qsr_sparse_count *count)
{
    for (uint32_t at = begin; at < end; at += (uint32_t)qsr_min_size(2 * PANEL, end - at)) {
        size_t to[ROWS];
        cut_panel(s, at + (uint32_t)qsr_min_size(2 * PANEL, end - at), to);
        for (size_t c = 0; c < d; c += STRIP)
            for (size_t i = 0; i < s->n_single; i++)
                decode_row(s, s->single[i], to[i], w + c, d, qsr_min_size(STRIP, d - c), out + c);
        move_on(s, to);
        count->in_panels++;
    }
}

static void decode_stretch(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, float *out,
                           qsr_sparse_count *count)
{
    if (s->n_quartets) decode_quartets(s, begin, end, w, d, out, count);
    if (s->n_single && !is_thin(s, begin, end)) {
        decode_panels(s, begin, end, w, d, out, count);
        return;
    }
    for (size_t i = 0; i < s->n_single; i++) decode_row(s, s->single[i], s->end[s->single[i]], w, d, d, out);
    count->by_row += s->n_single > 0;
}

void qsr_sparse_decode(const qsr_code *code, uint32_t begin, uint32_t end, const float *w, size_t d, const float *bias,
                       float *out, qsr_sparse_count *count)
{
    qsr_sparse_count unasked = {0};
    if (end > code->d_sae) end = (uint32_t)code->d_sae;
    for (size_t r = 0; r < code->rows; r++) {
        if (bias)
            memcpy(out + r * d, bias, d * sizeof *out);
        else
            memset(out + r * d, 0, d * sizeof *out);
    }
    for (size_t row0 = 0; row0 < code->rows && begin < end; row0 += ROWS) {
        stretch s;
        take_stretch(code, row0, begin, end, &s);
        decode_stretch(&s, begin, end, w, d, out + row0 * d, count ? count : &unasked);
    }
}

/* ---- dot products ------------------------------------------------------------------------------------------------ */

/* The entries of the next panel, from s->at on, are probably as many as of the last one. */
static void fetch_entries(const stretch *s, size_t row, const size_t *last, const float *out)
{
    for (size_t o = 0; o < QSR_QUARTET; o++)
        for (size_t e = s->at[row + o], n = e - last[o], i = 0; i < n; i += 16) {
            __builtin_prefetch(s->code->latent + e + i, 0, 2);
            __builtin_prefetch(out + e + i, 1, 2);
        }
}

/* Of the latents [begin, end). */
static void dots_of_quartet(stretch *s, size_t row, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x,
                            float *restrict out, const float *ahead, size_t n_ahead)
{
    uint8_t mask[PANEL] = {0};
    float product[PANEL][QSR_QUARTET];
    qsr_quartet list;
    size_t at[QSR_QUARTET];
    memcpy(at, s->at + row, sizeof at);
    put_quartet(s, row, begin, end, mask, NULL);
    qsr_quartet_sort(mask, end - begin, &list);
    fetch_entries(s, row, at, out);
    qsr_kernels_get()->quartet->dots(&list, w + (size_t)begin * d, d, d, x + row * d, d, product[0], ahead, n_ahead);
    const uint32_t *latent = s->code->latent;
    for (size_t o = 0; o < QSR_QUARTET; o++)
        for (size_t e = at[o], stop = s->at[row + o]; e < stop; e++) out[e] += product[latent[e] - begin][o];
}

/* Each asks for its share of the rows [end, next) of W. */
static void dots_of_quartets(stretch *s, uint32_t begin, uint32_t end, uint32_t next, const float *w, size_t d,
                             const float *x, float *out)
{
    size_t n = s->n_quartets, ahead = (size_t)(next - end) * d;
    for (size_t q = 0; q < n; q++)
        dots_of_quartet(s, s->quartet[q], begin, end, w, d, x, out, w + (size_t)end * d + ahead * q / n, ahead / n);
}

static void dots_row(const stretch *s, size_t r, size_t to, const float *w, size_t d, const float *x, float *out)
{
    float product[PANEL];
    for (size_t e = s->at[r]; e < to; e += PANEL) {
        size_t n = qsr_min_size(PANEL, to - e);
        qsr_kernels_get()->sparse->dots(s->code->latent + e, n, w, d, d, x + r * d, product);
        for (size_t i = 0; i < n; i++) out[e + i] += product[i];
    }
}

static void dots_stretch(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x, float *out,
                         qsr_sparse_count *count)
{
    bool thin = is_thin(s, begin, end);
    for (size_t i = 0; thin && i < s->n_single; i++) dots_row(s, s->single[i], s->end[s->single[i]], w, d, x, out);
    count->by_row += thin;
    for (uint32_t at = begin, next; at < end; at = next) {
        next = at + (uint32_t)qsr_min_size(PANEL, end - at);
        dots_of_quartets(s, at, next, next + (uint32_t)qsr_min_size(PANEL, end - next), w, d, x, out);
        count->in_quartets += s->n_quartets > 0;
        if (thin || s->n_single == 0) continue;
        size_t to[ROWS];
        cut_panel(s, next, to);
        for (size_t i = 0; i < s->n_single; i++) dots_row(s, s->single[i], to[i], w, d, x, out);
        move_on(s, to);
        count->in_panels++;
    }
}

void qsr_sparse_dots(const qsr_code *code, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x,
                     float *out, qsr_sparse_count *count)
{
    qsr_sparse_count unasked = {0};
    if (end > code->d_sae) end = (uint32_t)code->d_sae;
    for (size_t row0 = 0; row0 < code->rows && begin < end; row0 += ROWS) {
        stretch s;
        take_stretch(code, row0, begin, end, &s);
        dots_stretch(&s, begin, end, w, d, x + row0 * d, out, count ? count : &unasked);
    }
}

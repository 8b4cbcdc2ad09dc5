#include "math/sparse.h"

#include <string.h>

#include "base/sizes.h"
#include "math/kernel.h"

/* Rows of a stretch, latents of a panel: PANEL rows of W of 768 floats are 384 KiB. A row should use FEW latents of a panel, or the
 * panel is not worth its trips to the sums. */
enum { ROWS = 512, PANEL = 128, TILE = 4, FEW = 3, STRIP = 384 };

bool qsr_sparse_is_dense(size_t entries, size_t rows, size_t latents) { return 20 * entries >= 9 * rows * latents; }

/* Some rows of a code, with the entries that count: at[r] <= e < end[r]. at moves on with the panels. */
typedef struct {
    const qsr_code *code;
    size_t row0, rows, entries;
    size_t at[ROWS], end[ROWS];
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

static void take_stretch(const qsr_code *c, size_t row0, uint32_t begin, uint32_t end, stretch *s)
{
    s->code = c;
    s->row0 = row0;
    s->rows = qsr_min_size(ROWS, c->rows - row0);
    s->entries = 0;
    for (size_t r = 0; r < s->rows; r++) {
        s->at[r] = begin == 0 ? c->row_begin[row0 + r] : first_entry(c, row0 + r, begin);
        s->end[r] = end >= c->d_sae ? c->row_begin[row0 + r + 1] : first_entry(c, row0 + r, end);
        if (s->end[r] < s->at[r]) s->end[r] = s->at[r];
        s->entries += s->end[r] - s->at[r];
    }
}

static bool is_thin(const stretch *s, uint32_t begin, uint32_t end)
{
    return s->entries < FEW * s->rows * qsr_div_up(end - begin, PANEL);
}

/* to[r] = the end of row r's entries below `limit`; returns how many there are in all rows. */
static size_t cut_panel(const stretch *s, uint32_t limit, size_t *to)
{
    size_t entries = 0;
    for (size_t r = 0; r < s->rows; r++) {
        size_t e = s->at[r];
        while (e < s->end[r] && s->code->latent[e] < limit) e++;
        entries += e - s->at[r];
        to[r] = e;
    }
    return entries;
}

/* ---- tiles: TILE rows by the latents of a panel that any of them uses --------------------------------------------- */

typedef struct {
    size_t n;
    uint32_t index[PANEL];
    float value[PANEL][TILE];
    uint8_t place[PANEL]; /* of a latent in index */
} tile;

static void fill_tile(const stretch *s, size_t row, uint32_t begin, size_t width, const size_t *to, tile *t)
{
    float value[PANEL][TILE] = {0};
    bool used[PANEL] = {0};
    const qsr_code *c = s->code;
    for (size_t r = 0; r < TILE; r++)
        for (size_t e = s->at[row + r]; e < to[row + r]; e++) {
            value[c->latent[e] - begin][r] = c->value[e];
            used[c->latent[e] - begin] = true;
        }
    t->n = 0;
    for (size_t j = 0; j < width; j++) {
        t->place[j] = (uint8_t)t->n;
        t->index[t->n] = begin + (uint32_t)j;
        memcpy(t->value[t->n], value[j], sizeof value[j]);
        t->n += used[j];
    }
}

/* ---- decode ------------------------------------------------------------------------------------------------------ */

static void decode_row(const stretch *s, size_t r, size_t to, const float *w, size_t d, size_t width, float *out)
{
    const qsr_code *c = s->code;
    qsr_kernels_get()->sparse->gather_1(c->latent + s->at[r], c->value + s->at[r], to - s->at[r], w, d, width, out + r * d, d);
}

static void decode_tiles(stretch *s, uint32_t begin, size_t width, const size_t *to, const float *w, size_t d, float *out)
{
    size_t r = 0;
    for (; r + TILE <= s->rows; r += TILE) {
        tile t;
        fill_tile(s, r, begin, width, to, &t);
        qsr_kernels_get()->sparse->gather_4(t.index, t.value[0], t.n, w, d, d, out + r * d, d);
    }
    for (; r < s->rows; r++) decode_row(s, r, to[r], w, d, d, out);
}

/* A panel twice as wide and half as long: the sums make half the trips. */
static void decode_strips(stretch *s, const size_t *to, const float *w, size_t d, float *out)
{
    for (size_t c = 0; c < d; c += STRIP)
        for (size_t r = 0; r < s->rows; r++) decode_row(s, r, to[r], w + c, d, qsr_min_size(STRIP, d - c), out + c);
}

static void decode_panels(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, float *out, qsr_sparse_count *count)
{
    for (uint32_t at = begin, next; at < end; at = next) {
        size_t to[ROWS];
        next = at + (uint32_t)qsr_min_size(2 * PANEL, end - at);
        bool dense = qsr_sparse_is_dense(cut_panel(s, next, to), s->rows, next - at);
        if (!dense) decode_strips(s, to, w, d, out);
        for (uint32_t half = at; dense && half < next; half += PANEL) {
            size_t width = qsr_min_size(PANEL, next - half);
            cut_panel(s, half + (uint32_t)width, to);
            decode_tiles(s, half, width, to, w, d, out);
            memcpy(s->at, to, s->rows * sizeof *to);
        }
        memcpy(s->at, to, s->rows * sizeof *to);
        count->as_tiles += dense;
        count->in_panels += !dense;
    }
}

static void decode_stretch(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, float *out, qsr_sparse_count *count)
{
    if (!is_thin(s, begin, end)) {
        decode_panels(s, begin, end, w, d, out, count);
        return;
    }
    for (size_t r = 0; r < s->rows; r++) decode_row(s, r, s->end[r], w, d, d, out);
    count->by_row++;
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

static void dots_row(const stretch *s, size_t r, size_t to, const float *w, size_t d, const float *x, float *out)
{
    float product[PANEL];
    for (size_t e = s->at[r]; e < to; e += PANEL) {
        size_t n = qsr_min_size(PANEL, to - e);
        qsr_kernels_get()->sparse->dots_1(s->code->latent + e, n, w, d, d, x + r * d, d, product);
        for (size_t i = 0; i < n; i++) out[e + i] += product[i];
    }
}

static void dots_panel(stretch *s, uint32_t begin, size_t width, bool dense, const size_t *to, const float *w, size_t d,
                       const float *x, float *out)
{
    size_t r = 0;
    for (; dense && r + TILE <= s->rows; r += TILE) {
        tile t;
        float product[PANEL][TILE];
        fill_tile(s, r, begin, width, to, &t);
        qsr_kernels_get()->sparse->dots_4(t.index, t.n, w, d, d, x + r * d, d, product[0]);
        for (size_t i = 0; i < TILE; i++)
            for (size_t e = s->at[r + i]; e < to[r + i]; e++) out[e] += product[t.place[s->code->latent[e] - begin]][i];
    }
    for (; r < s->rows; r++) dots_row(s, r, to[r], w, d, x, out);
}

static void dots_stretch(stretch *s, uint32_t begin, uint32_t end, const float *w, size_t d, const float *x, float *out,
                         qsr_sparse_count *count)
{
    if (is_thin(s, begin, end)) {
        for (size_t r = 0; r < s->rows; r++) dots_row(s, r, s->end[r], w, d, x, out);
        count->by_row++;
        return;
    }
    for (uint32_t at = begin; at < end; at += PANEL) {
        size_t to[ROWS], width = qsr_min_size(PANEL, end - at);
        bool dense = qsr_sparse_is_dense(cut_panel(s, at + (uint32_t)width, to), s->rows, width);
        dots_panel(s, at, width, dense, to, w, d, x, out);
        memcpy(s->at, to, s->rows * sizeof *to);
        count->as_tiles += dense;
        count->in_panels += !dense;
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

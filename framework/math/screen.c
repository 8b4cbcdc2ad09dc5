#include "math/screen.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/prefetch.h"
#include "base/sizes.h"
#include "math/kernel.h"

enum { WIDTH = 2 * QSR_SCREEN_LANES };
static const double U = 0x1p-24;

const qsr_screen_tiles *qsr_screen_tiles_get(qsr_screen_kind kind)
{
    if (strcmp(qsr_kernels_get()->isa, "avx512") != 0) return NULL;
#if defined(QSR_HAVE_AVX512BF16)
    extern const qsr_screen_tiles qsr_screen_tiles_bf16;
    if (kind == QSR_SCREEN_BF16 && __builtin_cpu_supports("avx512bf16")) return &qsr_screen_tiles_bf16;
#endif
#if defined(QSR_HAVE_AVX512VNNI)
    extern const qsr_screen_tiles qsr_screen_tiles_int8;
    if (kind == QSR_SCREEN_INT8 && __builtin_cpu_supports("avx512vnni")) return &qsr_screen_tiles_int8;
#endif
    return NULL;
}

/* ---- the latents ------------------------------------------------------------------------------------------------- */

static size_t words_of(const qsr_screen *s) { return qsr_div_up(s->d, s->tiles->columns); }
static bool of_integers(const qsr_screen *s) { return s->start != NULL; }

static size_t stride_of(const qsr_screen *s) { return qsr_round_up(words_of(s), QSR_SCREEN_LANES); }

qsr_status qsr_screen_create(qsr_screen_kind kind, bool in_order, size_t n, size_t d, qsr_screen *ret, qsr_error *e)
{
    size_t padded = qsr_round_up(n, WIDTH), words = 0;
    *ret = (qsr_screen){.tiles = qsr_screen_tiles_get(kind), .d = d, .n = n, .in_order = in_order};
    if (qsr_mul_size(padded, stride_of(ret), &words)) ret->words = qsr_block_raw(words, sizeof *ret->words);
    ret->error = qsr_block_raw(padded, sizeof(float));
    ret->norm = qsr_block_raw(padded, sizeof(float));
    bool ready = ret->words && ret->error && ret->norm;
    if (kind == QSR_SCREEN_INT8) {
        ret->step = qsr_block_raw(padded, sizeof(float));
        ret->start = qsr_block_raw(padded, sizeof(int32_t));
        ready = ready && ret->step && ret->start;
    }
    if (ready) return QSR_OK;
    qsr_screen_free(ret);
    return qsr_fail_nomem(e, "the rounded encoder", words * sizeof *ret->words);
}

void qsr_screen_free(qsr_screen *s)
{
    void *blocks[] = {s->words, s->error, s->norm, s->step, s->start};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) qsr_block_free(blocks[i]);
    *s = (qsr_screen){0};
}

/* A float that is not below v. */
static float at_least(double v)
{
    float f = (float)v;
    return (double)f < v ? nextafterf(f, INFINITY) : f;
}

/* Norms from squares: sums of d squares in double, so a relative 2^-30 covers their rounding; with integers, what a column is off by was
 * rounded to float as well. */
static double norm_from(double squares) { return sqrt(squares) * (1 + 0x1p-30); }
static double norm_off(double squares) { return sqrt(squares) * (1 + 0x1p-22); }

struct filling {
    qsr_screen *s;
    const float *w;
};

/* The latents [first, first + count), count <= 16, where they belong. */
static void round_latents(const qsr_screen *s, const float *w, size_t first, size_t count, qsr_screen_off *off)
{
    const float *from[QSR_SCREEN_LANES];
    for (size_t i = 0; i < count; i++) from[i] = w + (first + i) * s->d;
    if (s->in_order)
        for (size_t i = 0; i < count; i++) s->tiles->round(from[i], s->d, s->words + (first + i) * stride_of(s), &off[i]);
    else
        s->tiles->pack(from, count, s->d, false, s->words + first / WIDTH * WIDTH * words_of(s) + first % WIDTH, WIDTH,
                       off);
}

static qsr_status fill_task(void *arg, size_t begin, size_t end)
{
    const struct filling *in = arg;
    qsr_screen *s = in->s;
    double slack = 1 + (1.1 * (double)s->d + 12) * U;
    for (size_t first = begin * WIDTH; first < end * WIDTH; first += QSR_SCREEN_LANES) {
        qsr_screen_off off[QSR_SCREEN_LANES] = {{0}};
        round_latents(s, in->w, first, first < s->n ? qsr_min_size(s->n - first, QSR_SCREEN_LANES) : 0, off);
        for (size_t i = 0; i < QSR_SCREEN_LANES; i++) {
            s->error[first + i] = at_least(norm_off(off[i].off) * slack);
            s->norm[first + i] = at_least(norm_from(off[i].rounded));
            if (of_integers(s)) s->step[first + i] = off[i].step, s->start[first + i] = -128 * off[i].sum;
        }
    }
    return QSR_OK;
}

void qsr_screen_fill(qsr_screen *s, const float *w, qsr_pool *pool)
{
    struct filling in = {s, w};
    qsr_pool_run(pool, qsr_div_up(s->n, WIDTH), 8, fill_task, &in);
    s->most = 0;
    for (size_t j = 0; j < s->n; j++) {
        double norm = (double)s->norm[j] + s->error[j];
        if (!(norm <= s->most)) s->most = norm; /* NaN comes in and stays */
        if (isnan(norm)) break;
    }
}

/* ---- blocks of rows ---------------------------------------------------------------------------------------------- */

enum { MOST_GROUPED = 256 };   /* largest k with groups */
enum { CHUNK_WORDS = 131072 }; /* packed rows that stay in the second-level cache while all panels pass by */
static const double LARGEST = 0x1p120;
static const float LEAST_SCALE = 0x1p-10f; /* of the block's largest: below, rows take a wider bound than they need */

static size_t packed_words(const qsr_screen *s, size_t rows)
{
    return qsr_round_up(rows * stride_of(s) + QSR_SCREEN_LANES, 16);
}

float qsr_screen_flushed(size_t d) { return ((float)d + 4) * 0x1p-124f; }

/* Sections of whole panels, each of 16 groups, lane by lane: at least four groups for each of k, where there are as many. */
static size_t sections_for(const qsr_screen *s, size_t k)
{
    return qsr_min_size(qsr_div_up(s->n, WIDTH), qsr_div_up(4 * k, QSR_SCREEN_LANES));
}

/* Beyond MOST_GROUPED the groups would be as many as the values. */
static size_t groups_for(const qsr_screen *s, size_t k)
{
    return k > MOST_GROUPED ? 0 : sections_for(s, k) * QSR_SCREEN_LANES;
}

size_t qsr_screen_scratch(const qsr_screen *s, size_t rows)
{
    return packed_words(s, rows) + 3 * qsr_round_up(rows, 16) + qsr_round_up(s->n, WIDTH) + WIDTH * stride_of(s) +
           rows * groups_for(s, MOST_GROUPED);
}

static size_t tiles_of(size_t rows) { return qsr_div_up(rows, QSR_SCREEN_ROWS); }
static size_t tile_begin(size_t rows, size_t t) { return rows * t / tiles_of(rows); }

/* The parts of scratch memory. */
static qsr_screened lay_out(const qsr_screen *s, size_t rows, const float *bias, float *scratch)
{
    size_t padded = qsr_round_up(rows, 16);
    qsr_screened b = {.rows = rows, .a = qsr_screen_flushed(s->d), .bias = bias, .packed = (uint32_t *)(void *)scratch};
    b.scale = scratch + packed_words(s, rows);
    b.off = b.scale + padded;
    b.step = b.off + padded;
    b.m = b.step + padded;
    b.panel = (uint32_t *)(void *)(b.m + qsr_round_up(s->n, WIDTH));
    b.most = b.m + qsr_round_up(s->n, WIDTH) + WIDTH * stride_of(s);
    return b;
}

/* A row's norm, and what it is off by; how many rows have a bound. */
static size_t measure_rows(const qsr_screen *s, const qsr_screen_off *off, size_t rows, double coarsest,
                           const qsr_screened *to, size_t begin)
{
    size_t n = 0;
    for (size_t r = 0; r < rows; r++) {
        double norm = norm_from(off[r].square), error = norm_off(off[r].off),
               ratio = norm > 0 ? error / norm * (1 + 0x1p-29) : 0;
        bool bounded = (norm + norm_from(off[r].rounded)) * s->most < LARGEST && norm < LARGEST && ratio <= coarsest;
        to->scale[begin + r] = bounded ? at_least(norm) : NAN;
        to->off[begin + r] = at_least(ratio);
        to->step[begin + r] = off[r].step;
        n += bounded;
    }
    return n;
}

static size_t pack_rows(const qsr_screen *s, const float *x, size_t rows, double coarsest, const qsr_screened *to)
{
    const float *from[QSR_SCREEN_LANES];
    qsr_screen_off off[QSR_SCREEN_LANES];
    size_t n = 0;
    for (size_t t = 0; t < tiles_of(rows); t++) {
        size_t begin = tile_begin(rows, t), height = tile_begin(rows, t + 1) - begin;
        for (size_t r = 0; r < height; r++) from[r] = x + (begin + r) * s->d;
        s->tiles->pack(from, height, s->d, true, to->packed + begin * words_of(s), height, off);
        n += measure_rows(s, off, height, coarsest, to, begin);
    }
    return n;
}

/* What most rows of the block are off by, as a part of their norm; those that are off by more get a scale that is larger by that. */
static double level_ratios(const qsr_screened *b)
{
    double sum = 0, most = 0;
    size_t n = 0;
    for (size_t r = 0; r < b->rows; r++) {
        if (isnan(b->scale[r])) continue;
        sum += b->off[r];
        most = fmax(most, b->off[r]);
        n++;
    }
    double ratio = n ? fmax(sum / (double)n, most / 4) : 0;
    for (size_t r = 0; r < b->rows; r++)
        if (b->off[r] > ratio) b->scale[r] = at_least((double)b->scale[r] * (b->off[r] / ratio));
    return ratio;
}

/* No row far below the largest: a bias, whose rounding does not shrink with the row, shares the bound. */
static float level_scales(float *scale, size_t rows)
{
    float most = 0;
    for (size_t r = 0; r < rows; r++) most = scale[r] > most ? scale[r] : most;
    float least = most * LEAST_SCALE;
    for (size_t r = 0; r < rows; r++)
        if (scale[r] < least) scale[r] = least;
    return least;
}

static void bound_latents(const qsr_screen *s, const qsr_screened *b)
{
    double du = (double)s->d * U, ratio = level_ratios(b);
    float factor = at_least(ratio + (of_integers(s) ? 1.1 : 4.2 + 3.1 * ratio) * du + 40 * U);
    float least = b->bias ? level_scales(b->scale, b->rows) : 0;
    for (size_t j = 0; j < s->n; j++) {
        double bound = (double)factor * s->norm[j] + s->error[j];
        if (least > 0) bound += 4 * U * fabs((double)b->bias[j]) / least;
        b->m[j] = at_least(bound * (1 + 0x1p-19)); /* so that U - 2 scale m may be computed in float */
    }
    memset(b->m + s->n, 0, (qsr_round_up(s->n, WIDTH) - s->n) * sizeof *b->m);
}

size_t qsr_screen_begin(const qsr_screen *s, const float *x, size_t rows, size_t k, const float *bias, double coarsest,
                        float *scratch, qsr_screened *ret)
{
    *ret = lay_out(s, rows, bias, scratch);
    ret->groups = k ? groups_for(s, k) : 0;
    memset(ret->most, 0, rows * ret->groups * sizeof *ret->most);
    size_t bounded = pack_rows(s, x, rows, coarsest, ret);
    bound_latents(s, ret);
    return bounded;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* A tile whose panel reaches beyond the last latent: through a small copy of the output. */
static void edge_tile(const qsr_screen *s, qsr_screen_tile tile, size_t columns)
{
    float copy[QSR_SCREEN_ROWS * WIDTH], edge[WIDTH] = {0}, *out = tile.out;
    size_t ld = tile.ld;
    if (tile.bias) tile.bias = memcpy(edge, tile.bias, columns * sizeof *edge);
    tile.out = copy;
    tile.ld = WIDTH;
    s->tiles->tile(&tile);
    for (size_t r = 0; r < tile.rows; r++) memcpy(out + r * ld, copy + r * WIDTH, columns * sizeof *copy);
}

/* Where the groups of a panel begin. */
static size_t section_of(const qsr_screen *s, const qsr_screened *bounds, size_t panel)
{
    return panel * (bounds->groups / QSR_SCREEN_LANES) / qsr_div_up(s->n, WIDTH) * QSR_SCREEN_LANES;
}

static const uint32_t *panel_of(const qsr_screen *s, size_t panel, uint32_t *scratch)
{
    if (!s->in_order) return s->words + panel * WIDTH * words_of(s);
    const float *from[QSR_SCREEN_LANES];
    for (size_t half = 0; half < 2; half++) {
        size_t first = panel * WIDTH + half * QSR_SCREEN_LANES;
        size_t count = first < s->n ? qsr_min_size(s->n - first, QSR_SCREEN_LANES) : 0;
        for (size_t i = 0; i < count; i++) from[i] = (const float *)(const void *)(s->words + (first + i) * stride_of(s));
        qsr_tiles_get()->transpose(from, count, words_of(s), (float *)(void *)(scratch + half * QSR_SCREEN_LANES), WIDTH);
    }
    return scratch;
}

static void multiply_tile(const qsr_screen *s, const qsr_screened *b, size_t t, size_t panel, const uint32_t *words,
                          float *upper, size_t ld)
{
    size_t begin = tile_begin(b->rows, t), at = panel * WIDTH;
    qsr_screen_tile tile = {.rows = tile_begin(b->rows, t + 1) - begin,
                            .words = words_of(s),
                            .a = b->packed + begin * words_of(s),
                            .b = words,
                            .scale = b->scale + begin,
                            .row_step = b->step + begin,
                            .m = b->m + at,
                            .bias = b->bias ? b->bias + at : NULL,
                            .out = upper + at,
                            .ld = ld,
                            .ld_most = b->groups};
    if (of_integers(s)) tile.step = s->step + at, tile.start = s->start + at;
    if (b->groups) tile.most = b->most + begin * b->groups + section_of(s, b, panel);
    if (s->n - at < WIDTH)
        edge_tile(s, tile, s->n - at);
    else
        s->tiles->tile(&tile);
}

size_t qsr_screen_together(const qsr_screen *s)
{
    return qsr_max_size(1, CHUNK_WORDS / words_of(s) / QSR_SCREEN_ROWS) * QSR_SCREEN_ROWS;
}

size_t qsr_screen_rows(const qsr_screen *s, const qsr_screened *b, size_t begin, float *upper, size_t ld)
{
    size_t first = 0, tiles = tiles_of(b->rows);
    while (tile_begin(b->rows, first) < begin) first++;
    size_t end = qsr_min_size(tiles, first + qsr_screen_together(s) / QSR_SCREEN_ROWS);
    for (size_t panel = 0; panel * WIDTH < s->n; panel++) {
        const uint32_t *words = panel_of(s, panel, b->panel);
        for (size_t t = first; t < end; t++)
            multiply_tile(s, b, t, panel, words, upper + (tile_begin(b->rows, t) - begin) * ld, ld);
    }
    return tile_begin(b->rows, end);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

void qsr_screen_begin_pairs(const qsr_screen *s, const float *x, size_t rows, const float *bias, float *scratch,
                            qsr_screened *ret)
{
    *ret = lay_out(s, rows, bias, scratch);
    for (size_t r = 0; r < rows; r++) {
        qsr_screen_off off;
        s->tiles->round(x + r * s->d, s->d, ret->packed + r * stride_of(s), &off);
        measure_rows(s, &off, 1, INFINITY, ret, r);
    }
    bound_latents(s, ret);
}

void qsr_screen_prefetch(const qsr_screen *s, const uint32_t *latent, size_t n)
{
    for (size_t i = 0; i < n; i++) qsr_prefetch(s->words + latent[i] * stride_of(s), stride_of(s) * sizeof *s->words);
}

void qsr_screen_pairs(const qsr_screen *s, const qsr_screened *b, size_t r, const uint32_t *latent, size_t n, float *upper)
{
    s->tiles->dots(b->packed + r * stride_of(s), s->words, stride_of(s), latent, n, upper);
    for (size_t i = 0; i < n; i++)
        upper[i] = (float)((double)b->scale[r] * b->m[latent[i]] + upper[i] + (b->bias ? b->bias[latent[i]] : 0));
}

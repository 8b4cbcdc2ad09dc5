#include "math/screen.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/kernel.h"

enum { WIDTH = 2 * QSR_SCREEN_LANES };
static const double U = 0x1p-24;

const qsr_screen_tiles *qsr_screen_tiles_get(void)
{
#if defined(QSR_HAVE_AVX512BF16)
    extern const qsr_screen_tiles qsr_screen_tiles_avx512bf16;
    if (strcmp(qsr_kernels_get()->isa, "avx512") == 0 && __builtin_cpu_supports("avx512bf16"))
        return &qsr_screen_tiles_avx512bf16;
#endif
    return NULL;
}

/* ---- the latents ------------------------------------------------------------------------------------------------- */

static size_t pairs_of(const qsr_screen *s) { return (s->d + 1) / 2; }

qsr_status qsr_screen_create(size_t n, size_t d, qsr_screen *ret, qsr_error *e)
{
    size_t padded = qsr_round_up(n, WIDTH), words = 0;
    *ret = (qsr_screen){.tiles = qsr_screen_tiles_get(), .d = d, .n = n};
    if (qsr_mul_size(padded, (d + 1) / 2, &words)) ret->panels = qsr_block_raw(words, sizeof *ret->panels);
    ret->error = qsr_block_raw(padded, sizeof(float));
    ret->norm = qsr_block_raw(padded, sizeof(float));
    if (ret->panels && ret->error && ret->norm) return QSR_OK;
    qsr_screen_free(ret);
    return qsr_fail_nomem(e, "the encoder in bfloat16", words * sizeof *ret->panels);
}

void qsr_screen_free(qsr_screen *s)
{
    qsr_block_free(s->panels);
    qsr_block_free(s->error);
    qsr_block_free(s->norm);
    *s = (qsr_screen){0};
}

/* A float that is not below v. */
static float at_least(double v)
{
    float f = (float)v;
    return (double)f < v ? nextafterf(f, INFINITY) : f;
}

/* Norms from squares: sums of d squares in double, so a relative 2^-30 covers their rounding. */
static double norm_from(double squares) { return sqrt(squares) * (1 + 0x1p-30); }

struct filling {
    qsr_screen *s;
    const float *w;
};

static qsr_status fill_task(void *arg, size_t begin, size_t end)
{
    const struct filling *in = arg;
    qsr_screen *s = in->s;
    const float *from[QSR_SCREEN_LANES];
    double squares[QSR_SCREEN_LANES][3], slack = 1 + (1.1 * (double)s->d + 8) * U;
    for (size_t half = 2 * begin; half < 2 * end; half++) {
        size_t first = half * QSR_SCREEN_LANES, count = first < s->n ? qsr_min_size(s->n - first, QSR_SCREEN_LANES) : 0;
        memset(squares, 0, sizeof squares);
        for (size_t i = 0; i < count; i++) from[i] = in->w + (first + i) * s->d;
        s->tiles->pack(from, count, s->d, s->panels + half / 2 * WIDTH * pairs_of(s) + half % 2 * QSR_SCREEN_LANES, WIDTH,
                       squares);
        for (size_t i = 0; i < QSR_SCREEN_LANES; i++) {
            s->error[first + i] = at_least(norm_from(squares[i][2]) * slack);
            s->norm[first + i] = at_least(norm_from(squares[i][1]));
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

static size_t chunk_rows(const qsr_screen *s) { return qsr_max_size(QSR_SCREEN_ROWS, CHUNK_WORDS / pairs_of(s)); }

static size_t packed_words(const qsr_screen *s, size_t rows)
{
    return qsr_round_up(rows * pairs_of(s) + QSR_SCREEN_LANES, 16);
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
    return packed_words(s, rows) + qsr_round_up(rows, 16) + qsr_round_up(s->n, WIDTH) + rows * groups_for(s, MOST_GROUPED);
}

static size_t tiles_of(size_t rows) { return qsr_div_up(rows, QSR_SCREEN_ROWS); }
static size_t tile_begin(size_t rows, size_t t) { return rows * t / tiles_of(rows); }

/* Packs the rows, tile after tile; scale[r] = |x_r|, and returns the largest |x - x~| / |x| of rows that have a bound. */
static double pack_rows(const qsr_screen *s, const float *x, size_t rows, uint32_t *to, float *scale)
{
    const float *from[QSR_SCREEN_LANES];
    double squares[QSR_SCREEN_LANES][3], ratio = 0;
    for (size_t t = 0; t < tiles_of(rows); t++) {
        size_t begin = tile_begin(rows, t), height = tile_begin(rows, t + 1) - begin;
        for (size_t r = 0; r < height; r++) from[r] = x + (begin + r) * s->d;
        s->tiles->pack(from, height, s->d, to + begin * pairs_of(s), height, squares);
        for (size_t r = 0; r < height; r++) {
            double norm = norm_from(squares[r][0]), error = norm_from(squares[r][2]);
            bool bounded = (norm + norm_from(squares[r][1])) * s->most < LARGEST && norm < LARGEST;
            scale[begin + r] = bounded ? at_least(norm) : NAN;
            if (bounded && norm > 0 && error / norm > ratio) ratio = error / norm;
        }
    }
    return ratio * (1 + 0x1p-30);
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

static void bound_latents(const qsr_screen *s, double ratio, const float *bias, float least, float *m)
{
    double du = (double)s->d * U;
    float factor = at_least(ratio + (4.2 + 3.1 * ratio) * du + 16 * U);
    for (size_t j = 0; j < s->n; j++) {
        double bound = (double)factor * s->norm[j] + s->error[j];
        if (bias) bound += least > 0 ? 4 * U * fabs((double)bias[j]) / least : 0;
        m[j] = at_least(bound * (1 + 0x1p-19)); /* so that U - 2 scale m may be computed in float */
    }
    memset(m + s->n, 0, (qsr_round_up(s->n, WIDTH) - s->n) * sizeof *m);
}

static void multiply_tile(const qsr_screen *s, const uint32_t *a, size_t rows, size_t panel, const float *scale,
                          const float *m, const float *bias, float *out, size_t ld, float *most, size_t ld_most)
{
    const uint32_t *b = s->panels + panel * WIDTH * pairs_of(s);
    size_t begin = panel * WIDTH, columns = qsr_min_size(WIDTH, s->n - begin);
    if (columns == WIDTH) {
        s->tiles->tile(rows, a, b, pairs_of(s), scale, m + begin, bias ? bias + begin : NULL, out + begin, ld, most,
                       ld_most);
        return;
    }
    float copy[QSR_SCREEN_ROWS * WIDTH], edge[WIDTH] = {0};
    if (bias) memcpy(edge, bias + begin, columns * sizeof *edge);
    s->tiles->tile(rows, a, b, pairs_of(s), scale, m + begin, bias ? edge : NULL, copy, WIDTH, most, ld_most);
    for (size_t r = 0; r < rows; r++) memcpy(out + r * ld + begin, copy + r * WIDTH, columns * sizeof *copy);
}

/* Where the groups of a panel begin. */
static size_t section_of(const qsr_screen *s, const qsr_screened *bounds, size_t panel)
{
    return panel * (bounds->groups / QSR_SCREEN_LANES) / qsr_div_up(s->n, WIDTH) * QSR_SCREEN_LANES;
}

void qsr_screen_rows(const qsr_screen *s, const float *x, size_t rows, size_t k, const float *bias, float *scratch,
                     float *upper, size_t ld, qsr_screened *ret)
{
    uint32_t *packed = (uint32_t *)(void *)scratch;
    *ret = (qsr_screened){.scale = scratch + packed_words(s, rows), .a = qsr_screen_flushed(s->d)};
    ret->m = ret->scale + qsr_round_up(rows, 16);
    ret->groups = k ? groups_for(s, k) : 0;
    ret->most = ret->m + qsr_round_up(s->n, WIDTH);
    memset(ret->most, 0, rows * ret->groups * sizeof *ret->most);
    double ratio = pack_rows(s, x, rows, packed, ret->scale);
    bound_latents(s, ratio, bias, bias ? level_scales(ret->scale, rows) : 0, ret->m);
    size_t chunk = qsr_max_size(1, chunk_rows(s) / QSR_SCREEN_ROWS), tiles = tiles_of(rows);
    for (size_t first = 0; first < tiles; first += chunk)
        for (size_t panel = 0; panel * WIDTH < s->n; panel++)
            for (size_t t = first; t < qsr_min_size(tiles, first + chunk); t++) {
                size_t begin = tile_begin(rows, t), height = tile_begin(rows, t + 1) - begin;
                float *most = ret->groups ? ret->most + begin * ret->groups + section_of(s, ret, panel) : NULL;
                multiply_tile(s, packed + begin * pairs_of(s), height, panel, ret->scale + begin, ret->m, bias,
                              upper + begin * ld, ld, most, ret->groups);
            }
}

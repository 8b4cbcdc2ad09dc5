/* The tiles of math/screen, compiled once for each kind of rounded operands, in libraries of their own, since only some compilers and
 * processors have the instructions: QSR_KERNELS is bf16 (AVX512-BF16) or int8 (AVX512-VNNI), see room.mk. */
#include <immintrin.h>
#include <string.h>

#include "math/screen.h"
#include "math/turn.h"

enum { LANES = QSR_SCREEN_LANES, WIDTH = 2 * LANES, MOST_ROWS = QSR_SCREEN_ROWS };

/* ---- sums: what a vector of them begins with, takes up, and is worth --------------------------------------------- */

#if defined(__AVX512BF16__)
enum { COLUMNS = 2 };
typedef __m512 sums;
static inline sums begin_sums(const qsr_screen_tile *t, size_t half) { return (void)t, (void)half, _mm512_setzero_ps(); }
static inline __attribute__((always_inline)) sums add_words(sums sum, __m512i a, __m512i b)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}
static inline __m512 value_of(const qsr_screen_tile *t, sums sum, size_t r, size_t half)
{
    return (void)t, (void)r, (void)half, sum;
}
#else
enum { COLUMNS = 4 };
typedef __m512i sums;
static inline sums begin_sums(const qsr_screen_tile *t, size_t half) { return _mm512_loadu_si512(t->start + half * LANES); }
static inline __attribute__((always_inline)) sums add_words(sums sum, __m512i a, __m512i b)
{
    return _mm512_dpbusd_epi32(sum, a, b);
}
static inline __m512 value_of(const qsr_screen_tile *t, sums sum, size_t r, size_t half)
{
    const __m512 steps = _mm512_mul_ps(_mm512_set1_ps(t->row_step[r]), _mm512_loadu_ps(t->step + half * LANES));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), steps);
}
#endif

/* ---- tiles: one function for each number of rows ----------------------------------------------------------------- */

static inline __attribute__((always_inline)) __m512 put_bounds(const qsr_screen_tile *t, __m512 value, size_t r,
                                                               size_t half, __m512 most)
{
    const __m512 m = _mm512_loadu_ps(t->m + half * LANES), scale = _mm512_set1_ps(t->scale[r]);
    __m512 upper = _mm512_fmadd_ps(scale, m, value);
    if (t->bias) upper = _mm512_add_ps(upper, _mm512_loadu_ps(t->bias + half * LANES));
    _mm512_storeu_ps(t->out + r * t->ld + half * LANES, upper);
    const __m512 lower = _mm512_fnmadd_ps(_mm512_add_ps(scale, scale), m, upper);
    return _mm512_max_ps(lower, most); /* the second where a bound is NaN */
}

static __attribute__((noinline)) void put_rows(const qsr_screen_tile *t, sums (*sum)[2])
{
    for (size_t r = 0; r < t->rows; r++) {
        __m512 most = t->most ? _mm512_loadu_ps(t->most + r * t->ld_most) : _mm512_setzero_ps();
        most = put_bounds(t, value_of(t, sum[r][0], r, 0), r, 0, most);
        most = put_bounds(t, value_of(t, sum[r][1], r, 1), r, 1, most);
        if (t->most) _mm512_storeu_ps(t->most + r * t->ld_most, most);
    }
}

static inline __attribute__((always_inline)) void tile_of(const size_t rows, const qsr_screen_tile *t)
{
    sums sum[MOST_ROWS][2];
    const sums begin[2] = {begin_sums(t, 0), begin_sums(t, 1)};
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) sum[r][0] = begin[0], sum[r][1] = begin[1];
    const uint32_t *a = t->a, *b = t->b;
    for (size_t p = t->words; p; p--, a += rows, b += WIDTH) {
        const __m512i b0 = _mm512_loadu_si512(b), b1 = _mm512_loadu_si512(b + LANES);
#pragma GCC unroll 14
        for (size_t r = 0; r < rows; r++) {
            const __m512i x = _mm512_set1_epi32((int)a[r]);
            sum[r][0] = add_words(sum[r][0], x, b0);
            sum[r][1] = add_words(sum[r][1], x, b1);
        }
    }
    sums done[MOST_ROWS][2]; /* not `sum` itself, which has to stay in registers */
#pragma GCC unroll 14
    for (size_t r = 0; r < rows; r++) done[r][0] = sum[r][0], done[r][1] = sum[r][1];
    put_rows(t, done);
}

#define TILE(rows_)                                                                                                        \
    static void tile_##rows_(const qsr_screen_tile *t) { tile_of(rows_, t); }
TILE(1)
TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12) TILE(13) TILE(14)

    static void tile(const qsr_screen_tile *t)
{
    static void (*const by_rows[])(const qsr_screen_tile *) = {NULL,    tile_1,  tile_2,  tile_3,  tile_4,
                                                               tile_5,  tile_6,  tile_7,  tile_8,  tile_9,
                                                               tile_10, tile_11, tile_12, tile_13, tile_14};
    by_rows[t->rows](t);
}

/* ---- packing ----------------------------------------------------------------------------------------------------- */

static inline __m512d add_squares(__m512d sum, __m512 v)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
    return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}

static inline __mmask16 mask_of(size_t k, size_t d)
{
    return k >= d ? 0 : d - k >= LANES ? (__mmask16)0xffff : (__mmask16)((1u << (d - k)) - 1);
}

static inline __m512 load(const float *from, size_t k, size_t d) { return _mm512_maskz_loadu_ps(mask_of(k, d), from + k); }

#if defined(__AVX512BF16__)
typedef struct {
    __m512d square, rounded, off;
} vector_sums;

static void begin_vector(const float *from, size_t d, vector_sums *s)
{
    (void)from, (void)d;
    s->square = s->rounded = s->off = _mm512_setzero_pd();
}

/* The words of the columns from k on. (v - rounded) is exact: they agree within 2^-8, or rounded is 0. */
static inline __m512i round_words(const float *from, size_t k, size_t d, vector_sums *s)
{
    const __m512 first = load(from, k, d), second = load(from, k + LANES, d);
    const __m512i pairs = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    const __m512 near1 = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(pairs)), 16));
    const __m512 near2 =
        _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(pairs, 1)), 16));
    s->square = add_squares(add_squares(s->square, first), second);
    s->rounded = add_squares(add_squares(s->rounded, near1), near2);
    s->off = add_squares(add_squares(s->off, _mm512_sub_ps(first, near1)), _mm512_sub_ps(second, near2));
    return pairs;
}

static void finish_vector(const vector_sums *s, qsr_screen_off *ret)
{
    *ret = (qsr_screen_off){_mm512_reduce_add_pd(s->square), _mm512_reduce_add_pd(s->rounded), _mm512_reduce_add_pd(s->off),
                            0, 0};
}

static inline __m512i as_operand(__m512i words, bool as_row) { return (void)as_row, words; }
#else
static const float LEAST = 0x1p-50f; /* what is smaller throughout becomes 0 */

typedef struct {
    __m512d square, off;
    __m512i sum, sum_of_squares;
    float step, inverse;
} vector_sums;

static void begin_vector(const float *from, size_t d, vector_sums *s)
{
    __m512 most = _mm512_setzero_ps();
    for (size_t k = 0; k < d; k += LANES) most = _mm512_max_ps(_mm512_abs_ps(load(from, k, d)), most);
    const float largest = _mm512_reduce_max_ps(most);
    *s = (vector_sums){.square = _mm512_setzero_pd(),
                       .off = _mm512_setzero_pd(),
                       .sum = _mm512_setzero_si512(),
                       .sum_of_squares = _mm512_setzero_si512()};
    if (largest >= LEAST) s->step = largest / 127, s->inverse = 127 / largest;
}

/* 16 integers, of which step (v - integer) is rounded once: no product of theirs has a digit below 2^-131. */
static inline __m128i round_lanes(const float *from, size_t k, size_t d, vector_sums *s)
{
    const __m512 v = load(from, k, d);
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(v, _mm512_set1_ps(s->inverse)));
    s->square = add_squares(s->square, v);
    s->off = add_squares(s->off, _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(s->step), v));
    return _mm512_cvtsepi32_epi8(whole);
}

static inline __m512i round_words(const float *from, size_t k, size_t d, vector_sums *s)
{
    __m512i words = _mm512_castsi128_si512(round_lanes(from, k, d, s));
    words = _mm512_inserti32x4(words, round_lanes(from, k + LANES, d, s), 1);
    words = _mm512_inserti32x4(words, round_lanes(from, k + 2 * LANES, d, s), 2);
    words = _mm512_inserti32x4(words, round_lanes(from, k + 3 * LANES, d, s), 3);
    s->sum = _mm512_dpbusd_epi32(s->sum, _mm512_set1_epi8(1), words);
    const __m512i magnitude = _mm512_abs_epi8(words);
    s->sum_of_squares = _mm512_dpbusd_epi32(s->sum_of_squares, magnitude, magnitude);
    return words;
}

static void finish_vector(const vector_sums *s, qsr_screen_off *ret)
{
    *ret = (qsr_screen_off){.square = _mm512_reduce_add_pd(s->square),
                            .off = _mm512_reduce_add_pd(s->off),
                            .step = s->step,
                            .sum = _mm512_reduce_add_epi32(s->sum)};
    ret->rounded = (double)s->step * s->step * (uint32_t)_mm512_reduce_add_epi32(s->sum_of_squares);
}

static inline __m512i as_operand(__m512i words, bool as_row)
{
    return as_row ? _mm512_xor_si512(words, _mm512_set1_epi8((char)0x80)) : words;
}
#endif

static void pack(const float *const *from, size_t count, size_t d, bool as_row, uint32_t *to, size_t stride,
                 qsr_screen_off *off)
{
    vector_sums s[LANES];
    for (size_t i = 0; i < count; i++) begin_vector(from[i], d, &s[i]);
    const size_t words = (d + COLUMNS - 1) / COLUMNS;
    for (size_t k = 0; k < words; k += LANES, to += LANES * stride) {
        const size_t left = words - k < LANES ? words - k : LANES;
        __m512 r[LANES]; /* words, as any 32 bits */
        for (size_t i = 0; i < LANES; i++)
            r[i] = i < count ? _mm512_castsi512_ps(as_operand(round_words(from[i], k * COLUMNS, d, &s[i]), as_row))
                             : _mm512_setzero_ps();
        qsr_turn(r);
        for (size_t p = 0; p < left; p++) _mm512_storeu_si512(to + p * stride, _mm512_castps_si512(r[p]));
    }
    for (size_t i = 0; i < count; i++) finish_vector(&s[i], &off[i]);
}

static void round_row(const float *from, size_t d, uint32_t *to, qsr_screen_off *off)
{
    vector_sums s;
    begin_vector(from, d, &s);
    for (size_t k = 0; k < d; k += LANES * COLUMNS, to += LANES) _mm512_storeu_si512(to, round_words(from, k, d, &s));
    finish_vector(&s, off);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

#if defined(__AVX512BF16__)
enum { ABREAST = 4 };

static inline __attribute__((always_inline)) void dots_of(const size_t n, const uint32_t *x, const uint32_t *w, size_t stride,
                                                          const uint32_t *latent, float *out)
{
    const uint32_t *row[ABREAST];
    sums sum[ABREAST];
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i++) {
        row[i] = w + latent[i] * stride;
        sum[i] = _mm512_setzero_ps();
    }
    for (size_t k = 0; k < stride; k += LANES) {
        const __m512i words = _mm512_loadu_si512(x + k);
#pragma GCC unroll 4
        for (size_t i = 0; i < n; i++) sum[i] = add_words(sum[i], words, _mm512_loadu_si512(row[i] + k));
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i++) out[i] = _mm512_reduce_add_ps(sum[i]);
}

static void dots(const uint32_t *x, const uint32_t *w, size_t stride, const uint32_t *latent, size_t n, float *out)
{
    size_t at = 0;
    for (; at + ABREAST <= n; at += ABREAST) dots_of(ABREAST, x, w, stride, latent + at, out + at);
    if (n - at == 1) dots_of(1, x, w, stride, latent + at, out + at);
    if (n - at == 2) dots_of(2, x, w, stride, latent + at, out + at);
    if (n - at == 3) dots_of(3, x, w, stride, latent + at, out + at);
}
#else
#define dots NULL
#endif

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) qsr_screen_tiles_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_screen_tiles TABLE_OF(QSR_KERNELS);
const qsr_screen_tiles TABLE_OF(QSR_KERNELS) = {TEXT_OF(QSR_KERNELS), COLUMNS, pack, tile, round_row, dots};

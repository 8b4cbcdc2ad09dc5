/* The row functions themselves: plain C on vectors as wide as the instruction set's, because compilers split wider ones
 * badly (gcc 12 compares them one value at a time). Sums have 16 lanes whatever the width. Compiled once per instruction
 * set with GPT2_ROWS naming the table (see gpt2.mk). */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "rows.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3") /* short loops over the parts of 16 lanes must be unrolled, also where CFLAGS ends in -O2 */
#endif

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
enum { LANES = 16, PARTS = LANES / WIDTH, HALF = WIDTH / 2 };
typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t bits __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ints __attribute__((vector_size(4 * WIDTH)));
typedef float half __attribute__((vector_size(2 * WIDTH)));
typedef uint16_t shorts __attribute__((vector_size(2 * WIDTH)));
typedef double wide __attribute__((vector_size(4 * WIDTH)));

static inline vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, vec v) { memcpy(p, &v, sizeof v); }

static inline wide load_wide(const float *p)
{
    half v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, wide);
}

/* The first n < WIDTH values, 0 in the other places. */
static inline vec load_part(const float *p, size_t n)
{
    float v[WIDTH] = {0};
    memcpy(v, p, n * sizeof *p);
    return load(v);
}

static inline void store_part(float *p, vec v, size_t n)
{
    float whole[WIDTH];
    store(whole, v);
    memcpy(p, whole, n * sizeof *p);
}

static inline vec all(float value) { return value - (vec){0}; }

static inline vec choose(bits mask, vec yes, vec no) { return (vec)((mask & (bits)yes) | (~mask & (bits)no)); }

static inline vec larger(vec a, vec b) { return choose((bits)(a > b), a, b); }

static inline float sum_lanes(const vec v[PARTS])
{
    float s[LANES];
    memcpy(s, v, sizeof s);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

static inline float max_lanes(const vec v[PARTS])
{
    float s[LANES];
    memcpy(s, v, sizeof s);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] = s[i] > s[i + n] ? s[i] : s[i + n];
    return s[0];
}

static inline double sum_wide(const wide v[2 * PARTS])
{
    double s[LANES];
    memcpy(s, v, sizeof s);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

/* e^x to 2e-7 relative: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r (S. Moshier's Cephes, expf), and n put into
 * the exponent. Adding 1.5 * 2^23 rounds to an integer that then stands in the low bits. NaN stays NaN. */
static inline vec exp_vec(vec x)
{
    const vec high = all(88.0f), low = all(-87.3f), shift = all(12582912.0f);
    x = choose((bits)(x > high), high, x);
    x = choose((bits)(x < low), low, x);
    const vec shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
    const bits power = ((bits)shifted - (bits)shift + 127u) << 23;
    const vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (vec)power;
}

/* y/2 (1 + tanh u) = y / (1 + e^(-2u)), u = sqrt(2/pi) (y + 0.044715 y^3) */
static inline vec gelu_vec(vec y)
{
    const vec minus_2u = y * (-1.5957691216057308f + (-0.0713548162726009f) * (y * y));
    return y / (1.0f + exp_vec(minus_2u));
}

static inline void add_row(float *x, const float *delta, const float *bias, size_t d)
{
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH) store(x + i, load(x + i) + (load(delta + i) + load(bias + i)));
    for (; i < d; i++) x[i] += delta[i] + bias[i];
}

/* One pass in double: squares of floats are exact there, so E[x^2] - E[x]^2 loses nothing that float32 could show. */
static inline void moments_of_row(const float *x, size_t d, double *ret_mean, double *ret_variance)
{
    wide sums[2 * PARTS] = {{0}}, squares[2 * PARTS] = {{0}};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t part = 0; part < 2 * PARTS; part++) {
            const wide v = load_wide(x + i + part * HALF);
            sums[part] += v;
            squares[part] += v * v;
        }
    double sum = sum_wide(sums), square = sum_wide(squares);
    for (; i < d; i++) sum += x[i], square += (double)x[i] * x[i];
    const double mean = sum / (double)d, variance = square / (double)d - mean * mean;
    *ret_mean = mean;
    *ret_variance = variance < 0 ? 0 : variance;
}

/* The mean is taken off as a pair of floats: the rounding of a large one to float can exceed the spread of the row. */
static inline void norm_row(const float *x, const gpt2_affine *norm, double epsilon, size_t d, float *out)
{
    double mean, variance;
    moments_of_row(x, d, &mean, &variance);
    const float high = (float)mean, low = (float)(mean - high), scale = (float)(1 / sqrt(variance + epsilon));
    size_t i = 0;
    for (; i + WIDTH <= d; i += WIDTH)
        store(out + i, ((load(x + i) - high) - low) * scale * load(norm->weight + i) + load(norm->bias + i));
    for (; i < d; i++) out[i] = ((x[i] - high) - low) * scale * norm->weight[i] + norm->bias[i];
}

static void add(float *x, const float *delta, const float *bias, size_t rows, size_t d)
{
    for (size_t r = 0; r < rows; r++) add_row(x + r * d, delta + r * d, bias, d);
}

static void add_norm(float *x, const float *delta, const float *bias, const gpt2_affine *norm, double epsilon, size_t rows,
                     size_t d, float *out)
{
    for (size_t r = 0; r < rows; r++) {
        if (delta) add_row(x + r * d, delta + r * d, bias, d);
        norm_row(x + r * d, norm, epsilon, d, out + r * d);
    }
}

static void add_bias(float *x, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * n;
        for (size_t i = 0; i < n; i++) row[i] += bias[i];
    }
}

static void gelu(float *x, const float *bias, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++) {
        float *row = x + r * n;
        size_t i = 0;
        for (; i + WIDTH <= n; i += WIDTH) store(row + i, gelu_vec(load(row + i) + load(bias + i)));
        if (i < n) store_part(row + i, gelu_vec(load_part(row + i, n - i) + load_part(bias + i, n - i)), n - i);
    }
}

/* All ones in the places begin .. begin + WIDTH - 1 that lie before n. */
static inline bits before(size_t n, size_t begin)
{
    ints place;
    for (int i = 0; i < WIDTH; i++) place[i] = i;
    return (bits)(place < (ints){0} + ((int32_t)n - (int32_t)begin));
}

static inline float max_of(const float *s, size_t n)
{
    vec most[PARTS];
    size_t i = 0;
    for (size_t part = 0; part < PARTS; part++) most[part] = all(-INFINITY);
    for (; i + LANES <= n; i += LANES)
        for (size_t part = 0; part < PARTS; part++) most[part] = larger(load(s + i + part * WIDTH), most[part]);
    for (size_t part = 0; part < PARTS && i < n; part++) {
        const vec v = choose(before(n, i + part * WIDTH), load(s + i + part * WIDTH), all(-INFINITY));
        most[part] = larger(v, most[part]);
    }
    return max_lanes(most);
}

/* s[i] = exp(s[i] - most), 0 from n to the next multiple of LANES; returns the sum. */
static inline float exp_and_sum(float *s, size_t n, float most)
{
    vec sums[PARTS] = {{0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t part = 0; part < PARTS; part++) {
            const vec v = exp_vec(load(s + i + part * WIDTH) - most);
            store(s + i + part * WIDTH, v);
            sums[part] += v;
        }
    for (size_t part = 0; part < PARTS && i < n; part++) {
        const vec v = choose(before(n, i + part * WIDTH), exp_vec(load(s + i + part * WIDTH) - most), all(0));
        store(s + i + part * WIDTH, v);
        sums[part] += v;
    }
    return sum_lanes(sums);
}

static inline void softmax_row(float *s, size_t n, size_t width)
{
    const float factor = 1 / exp_and_sum(s, n, max_of(s, n));
    size_t i = 0;
    for (; i < n; i += WIDTH) store(s + i, load(s + i) * factor);
    for (; i < width; i += WIDTH) store(s + i, all(0));
}

static void softmax(float *s, size_t rows, size_t stride, size_t first, size_t width)
{
    for (size_t r = 0; r < rows; r++) softmax_row(s + r * stride, first + r, width);
}

/* ---- logits that come in pieces */

/* Scales what is known to a new largest value, and returns that. */
static inline float raise_most(gpt2_soft *s, float most)
{
    if (!(most > s->most)) return s->most;
    const double factor = s->sum ? exp((double)s->most - most) : 0;
    s->sum *= factor;
    s->apart *= factor;
    return s->most = most;
}

static void soft(const float *logits, size_t n, gpt2_soft *s)
{
    const float most = raise_most(s, max_of(logits, n));
    vec sums[PARTS] = {{0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t part = 0; part < PARTS; part++) sums[part] += exp_vec(load(logits + i + part * WIDTH) - most);
    for (size_t part = 0; part < PARTS && i < n; part++) {
        const size_t at = i + part * WIDTH;
        sums[part] += choose(before(n, at), exp_vec(load(logits + at) - most), all(0));
    }
    s->sum += sum_lanes(sums);
}

static void soft_apart(const float *logits, const float *other, size_t n, gpt2_soft *s)
{
    const float most = raise_most(s, max_of(logits, n));
    vec sums[PARTS] = {{0}}, parts[PARTS] = {{0}};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t part = 0; part < PARTS; part++) {
            const vec v = load(logits + i + part * WIDTH), e = exp_vec(v - most);
            sums[part] += e;
            parts[part] += e * (v - load(other + i + part * WIDTH));
        }
    for (size_t part = 0; part < PARTS && i < n; part++) {
        const size_t at = i + part * WIDTH;
        const vec v = load(logits + at), e = exp_vec(v - most);
        const bits inside = before(n, at);
        sums[part] += choose(inside, e, all(0));
        parts[part] += choose(inside, e * (v - load(other + at)), all(0));
    }
    s->sum += sum_lanes(sums);
    s->apart += sum_lanes(parts);
}

/* ---- weights of 16 bits */

static inline bits load_shorts(const void *p)
{
    shorts v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, bits);
}

/* Exponent and fraction moved into a float's places are the value times 2^-112, also where it is subnormal; infinities and NaN
 * get all exponent bits. */
static inline vec half_vec(bits h)
{
    const bits rest = (h & 0x7fffu) << 13, sign = (h & 0x8000u) << 16;
    const bits finite = (bits)((vec)rest * 0x1p112f), special = rest | 0x7f800000u;
    return (vec)(sign | (bits)choose((bits)(rest >= 0x0f800000u), (vec)special, (vec)finite));
}

static void widen_half(const void *from, size_t n, float *out)
{
    const unsigned char *p = from;
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(out + i, half_vec(load_shorts(p + 2 * i)));
    if (i == n) return;
    uint16_t rest[WIDTH] = {0};
    memcpy(rest, p + 2 * i, 2 * (n - i));
    store_part(out + i, half_vec(load_shorts(rest)), n - i);
}

static void widen_bfloat(const void *from, size_t n, float *out)
{
    const unsigned char *p = from;
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(out + i, (vec)(load_shorts(p + 2 * i) << 16));
    if (i == n) return;
    uint16_t rest[WIDTH] = {0};
    memcpy(rest, p + 2 * i, 2 * (n - i));
    store_part(out + i, (vec)(load_shorts(rest) << 16), n - i);
}

/* The mean is taken off as a pair of floats, as in norm_row. */
static void centre(const float *x, size_t rows, size_t d, float *out)
{
    for (size_t r = 0; r < rows; r++, x += d, out += d) {
        double mean, variance;
        moments_of_row(x, d, &mean, &variance);
        const float high = (float)mean, low = (float)(mean - high);
        for (size_t i = 0; i < d; i++) out[i] = (x[i] - high) - low;
    }
}

static void exp_all(const float *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(out + i, exp_vec(load(x + i)));
    if (i < n) store_part(out + i, exp_vec(load_part(x + i, n - i)), n - i);
}

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) gpt2_rows_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const gpt2_rows TABLE_OF(GPT2_ROWS);
const gpt2_rows TABLE_OF(GPT2_ROWS) = {TEXT_OF(GPT2_ROWS), add_norm,     add,
                                       add_bias,                gelu,         softmax,
                                       soft,                    soft_apart,   widen_half,
                                       widen_bfloat,            centre,       exp_all};

/* The row functions themselves: plain C on vectors of 16 floats, which the compiler maps to whatever the instruction set has.
 * Compiled once per instruction set with GPT2_ROWS naming the table (see gpt2.mk). */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "rows.h"

enum { LANES = 16, HALF = 8 };
typedef float lanes __attribute__((vector_size(64)));
typedef uint32_t bits __attribute__((vector_size(64)));
typedef float half __attribute__((vector_size(32)));
typedef double wide __attribute__((vector_size(64)));

static inline lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, lanes v) { memcpy(p, &v, sizeof v); }

static inline wide load_wide(const float *p)
{
    half v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, wide);
}

/* The first n values, `rest` in the other lanes. */
static inline lanes load_part(const float *p, size_t n, float rest)
{
    float v[LANES];
    for (size_t i = 0; i < LANES; i++) v[i] = i < n ? p[i] : rest;
    return load(v);
}

static inline void store_part(float *p, lanes v, size_t n)
{
    float all[LANES];
    store(all, v);
    memcpy(p, all, n * sizeof *p);
}

static inline lanes all(float value) { return value - (lanes){0}; }

static inline lanes choose(bits mask, lanes yes, lanes no) { return (lanes)((mask & (bits)yes) | (~mask & (bits)no)); }

static inline float sum_lanes(lanes v)
{
    float s[LANES];
    store(s, v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

static inline float max_lanes(lanes v)
{
    float s[LANES], most;
    store(s, v);
    most = s[0];
    for (int i = 1; i < LANES; i++) most = s[i] > most ? s[i] : most;
    return most;
}

static inline double sum_wide(wide v)
{
    double s[HALF];
    memcpy(s, &v, sizeof v);
    for (int width = HALF / 2; width; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

/* e^x to 2e-7 relative: x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial in r (S. Moshier's Cephes, expf), and n put into
 * the exponent. Adding 1.5 * 2^23 rounds to an integer that then stands in the low bits. NaN stays NaN. */
static inline lanes exp_lanes(lanes x)
{
    const lanes high = all(88.0f), low = all(-87.3f), shift = all(12582912.0f);
    x = choose((bits)(x > high), high, x);
    x = choose((bits)(x < low), low, x);
    const lanes shifted = x * 1.44269504088896341f + shift, n = shifted - shift;
    const bits power = ((bits)shifted - (bits)shift + 127u) << 23;
    const lanes r = x - n * 0.693359375f + n * 2.12194440e-4f;
    lanes p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return p * (lanes)power;
}

/* y/2 (1 + tanh u) = y / (1 + e^(-2u)), u = sqrt(2/pi) (y + 0.044715 y^3) */
static inline lanes gelu_lanes(lanes y)
{
    const lanes minus_2u = y * (-1.5957691216057308f + (-0.0713548162726009f) * (y * y));
    return y / (1.0f + exp_lanes(minus_2u));
}

static inline void add_row(float *x, const float *delta, const float *bias, size_t d)
{
    size_t i = 0;
    for (; i + LANES <= d; i += LANES) store(x + i, load(x + i) + (load(delta + i) + load(bias + i)));
    for (; i < d; i++) x[i] += delta[i] + bias[i];
}

/* One pass in double: squares of floats are exact there, so E[x^2] - E[x]^2 loses nothing that float32 could show. */
static inline void moments_of_row(const float *x, size_t d, double *ret_mean, double *ret_variance)
{
    wide sum0 = {0}, sum1 = {0}, square0 = {0}, square1 = {0};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES) {
        const wide a = load_wide(x + i), b = load_wide(x + i + HALF);
        sum0 += a, square0 += a * a;
        sum1 += b, square1 += b * b;
    }
    double sum = sum_wide(sum0 + sum1), square = sum_wide(square0 + square1);
    for (; i < d; i++) sum += x[i], square += (double)x[i] * x[i];
    const double mean = sum / (double)d, variance = square / (double)d - mean * mean;
    *ret_mean = mean;
    *ret_variance = variance < 0 ? 0 : variance;
}

/* The mean is taken off as a pair of floats: rounded to one, it would be off by more than small rows around a large mean differ. */
static inline void norm_row(const float *x, const gpt2_affine *norm, double epsilon, size_t d, float *out)
{
    double mean, variance;
    moments_of_row(x, d, &mean, &variance);
    const float high = (float)mean, low = (float)(mean - high), scale = (float)(1 / sqrt(variance + epsilon));
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
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
        for (; i + LANES <= n; i += LANES) store(row + i, gelu_lanes(load(row + i) + load(bias + i)));
        if (i < n) store_part(row + i, gelu_lanes(load_part(row + i, n - i, 0) + load_part(bias + i, n - i, 0)), n - i);
    }
}

static inline float max_of(const float *s, size_t n)
{
    lanes most = all(-INFINITY);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const lanes v = load(s + i);
        most = choose((bits)(v > most), v, most);
    }
    const lanes rest = load_part(s + i, n - i, -INFINITY);
    return max_lanes(choose((bits)(rest > most), rest, most));
}

static inline void softmax_row(float *s, size_t n, size_t width)
{
    const float most = max_of(s, n);
    lanes sum = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const lanes v = exp_lanes(load(s + i) - most);
        store(s + i, v);
        sum += v;
    }
    if (i < n) {
        store_part(s + i, exp_lanes(load_part(s + i, n - i, most) - most), n - i);
        sum += load_part(s + i, n - i, 0);
    }
    const float factor = 1 / sum_lanes(sum);
    for (i = 0; i < n; i++) s[i] *= factor;
    for (; i < width; i++) s[i] = 0;
}

static void softmax(float *s, size_t rows, size_t stride, size_t first, size_t width)
{
    for (size_t r = 0; r < rows; r++) softmax_row(s + r * stride, first + r, width);
}

static void exp_all(const float *x, size_t n, float *out)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) store(out + i, exp_lanes(load(x + i)));
    if (i < n) store_part(out + i, exp_lanes(load_part(x + i, n - i, 0)), n - i);
}

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) gpt2_rows_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const gpt2_rows TABLE_OF(GPT2_ROWS);
const gpt2_rows TABLE_OF(GPT2_ROWS) = {TEXT_OF(GPT2_ROWS), add_norm, add, add_bias, gelu, softmax, exp_all};

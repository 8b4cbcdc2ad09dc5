/* The kernels themselves: plain C on vectors of 16 floats, which the compiler maps to whatever the instruction set has.
 * Compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). */
#include <math.h>
#include <string.h>

#include "math/kernel.h"

enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));

static inline lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void store(float *p, lanes v) { memcpy(p, &v, sizeof v); }

static inline float sum_lanes(lanes v)
{
    float s[LANES];
    memcpy(s, &v, sizeof v);
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) s[i] += s[i + width];
    return s[0];
}

static float dot(const float *a, const float *b, size_t d)
{
    lanes sum0 = {0}, sum1 = {0};
    size_t i = 0;
    for (; i + 2 * LANES <= d; i += 2 * LANES) {
        sum0 += load(a + i) * load(b + i);
        sum1 += load(a + i + LANES) * load(b + i + LANES);
    }
    float tail = 0;
    for (; i < d; i++) tail += a[i] * b[i];
    return sum_lanes(sum0 + sum1) + tail;
}

static void axpy(float alpha, const float *x, float *y, size_t d)
{
    for (size_t i = 0; i < d; i++) y[i] += alpha * x[i];
}

/* A strip of BLOCK vectors of the output stays in registers while the row's entries go by. */
#define BLOCK 8

static void decode_strip(const uint32_t *latent, const float *value, size_t n, const float *w, size_t d, const float *bias,
                         float *out)
{
    lanes sum[BLOCK];
    for (int b = 0; b < BLOCK; b++) sum[b] = bias ? load(bias + b * LANES) : (lanes){0};
    for (size_t e = 0; e < n; e++) {
        const float *row = w + (size_t)latent[e] * d;
        lanes factor = value[e] - (lanes){0};
        for (int b = 0; b < BLOCK; b++) sum[b] += factor * load(row + b * LANES);
    }
    for (int b = 0; b < BLOCK; b++) store(out + b * LANES, sum[b]);
}

static void decode_row(const uint32_t *latent, const float *value, size_t n, const float *w, size_t d, const float *bias,
                       float *out)
{
    size_t i = 0;
    for (; i + BLOCK * LANES <= d; i += BLOCK * LANES)
        decode_strip(latent, value, n, w + i, d, bias ? bias + i : NULL, out + i);
    if (i == d) return;
    for (size_t j = i; j < d; j++) out[j] = bias ? bias[j] : 0;
    for (size_t e = 0; e < n; e++) axpy(value[e], w + (size_t)latent[e] * d + i, out + i, d - i);
}

static void code_gradient_row(const uint32_t *latent, size_t n, const float *w, size_t d, const float *d_out, float *d_value)
{
    for (size_t e = 0; e < n; e++) d_value[e] += dot(w + (size_t)latent[e] * d, d_out, d);
}

enum { PAIR = 4 }; /* vectors of each of the two gradients held at once */

static void gradient_strip(const qsr_use *use, size_t n, size_t i, float *d_dec, float *d_enc)
{
    lanes dec[PAIR], enc[PAIR];
    for (int b = 0; b < PAIR; b++) dec[b] = load(d_dec + i + b * LANES), enc[b] = load(d_enc + i + b * LANES);
    for (size_t u = 0; u < n; u++) {
        lanes value = use[u].value - (lanes){0}, d_pre = use[u].d_pre - (lanes){0};
        for (int b = 0; b < PAIR; b++) {
            dec[b] += value * load(use[u].d_out + i + b * LANES);
            enc[b] += d_pre * load(use[u].x + i + b * LANES);
        }
    }
    for (int b = 0; b < PAIR; b++) store(d_dec + i + b * LANES, dec[b]), store(d_enc + i + b * LANES, enc[b]);
}

static void latent_gradients(const qsr_use *use, size_t n, size_t d, float *d_dec, float *d_enc)
{
    size_t i = 0;
    for (; i + PAIR * LANES <= d; i += PAIR * LANES) gradient_strip(use, n, i, d_dec, d_enc);
    for (size_t u = 0; u < n && i < d; u++) {
        axpy(use[u].value, use[u].d_out + i, d_dec + i, d - i);
        axpy(use[u].d_pre, use[u].x + i, d_enc + i, d - i);
    }
}

static void adam(const qsr_adam_step *s, const float *g, float *w, float *m, float *v, size_t d)
{
    for (size_t i = 0; i < d; i++) {
        float gradient = s->clip * g[i];
        m[i] = s->beta1 * m[i] + s->gain1 * gradient;
        v[i] = s->beta2 * v[i] + s->gain2 * (gradient * gradient);
        w[i] -= s->rate1 * m[i] / (sqrtf(v[i] * s->rate2) + s->eps);
    }
}

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) qsr_kernels_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
extern const qsr_kernels TABLE_OF(QSR_KERNELS);
const qsr_kernels TABLE_OF(QSR_KERNELS) = {TEXT_OF(QSR_KERNELS), dot,  axpy, decode_row, code_gradient_row, latent_gradients,
                                           adam};

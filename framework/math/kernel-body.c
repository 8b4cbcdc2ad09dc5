/* The kernels themselves: plain C on vectors of 16 floats, which the compiler maps to whatever the instruction set has.
 * Compiled once per instruction set with QSR_KERNELS naming the table (see room.mk). */
#include <math.h>
#include <string.h>

#include "math/kernel.h"

enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(64), aligned(4), may_alias));

static inline lanes load(const float *p) { return *(const lanes *)p; }

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
#define SPARSE_TABLE_OF_(x_) qsr_sparse_kernels_##x_
#define SPARSE_TABLE_OF(x_) SPARSE_TABLE_OF_(x_)
extern const qsr_sparse_kernels SPARSE_TABLE_OF(QSR_KERNELS);
extern const qsr_kernels TABLE_OF(QSR_KERNELS);
const qsr_kernels TABLE_OF(QSR_KERNELS) = {TEXT_OF(QSR_KERNELS), dot, axpy, &SPARSE_TABLE_OF(QSR_KERNELS),
                                           adam};

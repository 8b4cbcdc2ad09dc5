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

static inline float adam_element(const qsr_adam_step *s, float g, float w, float *m, float *v)
{
    float gradient = s->clip * g;
    *m = s->beta1 * *m + s->gain1 * gradient;
    *v = s->beta2 * *v + s->gain2 * (gradient * gradient);
    return w - s->rate1 * *m / (sqrtf(*v * s->rate2) + s->eps);
}

static void adam(const qsr_adam_step *step, const float *restrict g, float *restrict w, float *restrict m,
                 float *restrict v, size_t d)
{
    const qsr_adam_step s = *step; /* not aliased by the vectors */
    for (size_t i = 0; i < d; i++) w[i] = adam_element(&s, g[i], w[i], &m[i], &v[i]);
}

/* ---- the decoder's constraint: sums in double, in lanes ---- */

static double add_doubles(double sum[LANES])
{
    for (int width = LANES / 2; width; width /= 2)
        for (int i = 0; i < width; i++) sum[i] += sum[i + width];
    return sum[0];
}

static double product_of(const float *restrict a, const float *restrict b, size_t d)
{
    double sum[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= d; i += LANES)
        for (size_t lane = 0; lane < LANES; lane++) sum[lane] += (double)a[i + lane] * b[i + lane];
    for (size_t lane = 0; i < d; i++, lane++) sum[lane] += (double)a[i] * b[i];
    return add_doubles(sum);
}

static double squares_of(const float *a, size_t d) { return product_of(a, a, d); }

static void to_unit_norm(float *w, size_t d)
{
    double squares = squares_of(w, d);
    if (!(squares > 0)) return;
    double factor = 1 / sqrt(squares);
    for (size_t i = 0; i < d; i++) w[i] = (float)(w[i] * factor);
}

static void adam_on_sphere(const qsr_adam_step *step, bool before, const float *restrict g, float *restrict w,
                           float *restrict m, float *restrict v, size_t d)
{
    const qsr_adam_step s = *step;
    if (before) to_unit_norm(w, d);
    double squares = squares_of(w, d);
    float along = squares > 0 ? (float)(product_of(g, w, d) / squares) : 0;
    for (size_t i = 0; i < d; i++) w[i] = adam_element(&s, g[i] - along * w[i], w[i], &m[i], &v[i]);
    if (!before) to_unit_norm(w, d);
}

#define TEXT_OF_(x_) #x_
#define TEXT_OF(x_) TEXT_OF_(x_)
#define TABLE_OF_(x_) qsr_kernels_##x_
#define TABLE_OF(x_) TABLE_OF_(x_)
#define PART_OF_(part_, x_) qsr_##part_##_##x_
#define PART_OF(part_, x_) PART_OF_(part_, x_)
extern const qsr_sparse_kernels PART_OF(sparse_kernels, QSR_KERNELS);
extern const qsr_quartet_kernels PART_OF(quartet_kernels, QSR_KERNELS);
extern const qsr_select_passes PART_OF(select_passes, QSR_KERNELS);
extern const qsr_shortlist_passes PART_OF(shortlist_passes, QSR_KERNELS);
extern const qsr_prefix_passes PART_OF(prefix_passes, QSR_KERNELS);
extern const qsr_pair_passes PART_OF(pair_passes, QSR_KERNELS);
#if defined(__AVX2__)
extern const qsr_tiles PART_OF(tiles, QSR_KERNELS);
#define TILES &PART_OF(tiles, QSR_KERNELS)
#else
#define TILES NULL
#endif
extern const qsr_kernels TABLE_OF(QSR_KERNELS);
const qsr_kernels TABLE_OF(QSR_KERNELS) = {.isa = TEXT_OF(QSR_KERNELS),
                                           .dot = dot,
                                           .axpy = axpy,
                                           .sparse = &PART_OF(sparse_kernels, QSR_KERNELS),
                                           .quartet = &PART_OF(quartet_kernels, QSR_KERNELS),
                                           .select = &PART_OF(select_passes, QSR_KERNELS),
                                           .shortlist = &PART_OF(shortlist_passes, QSR_KERNELS),
                                           .prefix = &PART_OF(prefix_passes, QSR_KERNELS),
                                           .pairs = &PART_OF(pair_passes, QSR_KERNELS),
                                           .tiles = TILES,
                                           .adam = adam,
                                           .adam_on_sphere = adam_on_sphere};

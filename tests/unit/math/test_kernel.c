/* kernel: every instruction set computes what the portable version does, to rounding, and the right numbers. */
#include "../unit.h"

#include <math.h>

#include "base/rng.h"
#include "math/kernel.h"

enum { MOST = 300 };
static float a[MOST], b[MOST], out[2][3][MOST];

static void fill(void)
{
    qsr_rng rng = qsr_rng_make(1, "kernel");
    for (size_t i = 0; i < MOST; i++) a[i] = (float)qsr_rng_normal(&rng, i), b[i] = (float)qsr_rng_normal(&rng, MOST + i);
}

static const char *const sets[] = {"portable", "avx2", "avx512"};
static const size_t widths[] = {1, 3, 15, 16, 31, 32, 33, 63, 64, 96, 128, 130, 255, 300};

/* A sum of d products in float32 is off by at most (d + 1) u sum |a b|, u = 2^-24, in any order and with or without fused
 * multiply-adds (Higham, Accuracy and Stability of Numerical Algorithms, 3.1). */
static double dot_bound(size_t d)
{
    double magnitude = 0;
    for (size_t i = 0; i < d; i++) magnitude += fabs((double)a[i] * b[i]);
    return (double)(d + 1) * 0x1p-24 * magnitude;
}

static void dot_is_right_on_every_instruction_set(void **state)
{
    (void)state;
    fill();
    for (size_t s = 0; s < 3; s++) {
        const qsr_kernels *k = qsr_kernels_named(sets[s]);
        for (size_t i = 0; k && i < sizeof widths / sizeof *widths; i++) {
            double dot = 0;
            for (size_t j = 0; j < widths[i]; j++) dot += (double)a[j] * b[j];
            double off = fabs(k->dot(a, b, widths[i]) - dot);
            if (off > dot_bound(widths[i])) fail_msg("%s: a dot product of %zu is off by %g", sets[s], widths[i], off);
        }
    }
}

/* m, v and w after a step from the same values: each is a few operations, of which a fused one saves a rounding. With u = 2^-24 and
 * terms below M in size no result is off by more than 8 u M. */
static void adam_agrees_on_every_instruction_set(void **state)
{
    (void)state;
    fill();
    qsr_adam_step step = {0.5f, 0.9f, 0.99f, 0.1f, 0.01f, 1e-3f, 100, 1e-8f};
    for (size_t s = 1; s < 3; s++) {
        const qsr_kernels *both[] = {qsr_kernels_named("portable"), qsr_kernels_named(sets[s])};
        if (!both[1]) {
            print_message("%s: not tested, this processor lacks it\n", sets[s]);
            continue;
        }
        for (int v = 0; v < 2; v++) {
            for (size_t i = 0; i < MOST; i++) out[v][0][i] = b[i], out[v][1][i] = a[i] * b[i], out[v][2][i] = b[i] * b[i];
            both[v]->adam(&step, a, out[v][0], out[v][1], out[v][2], MOST);
        }
        for (size_t t = 0; t < 3; t++)
            for (size_t i = 0; i < MOST; i++) {
                double size = fabs((double)a[i]) + fabs((double)b[i]) + (double)a[i] * a[i] + (double)b[i] * b[i];
                if (fabs((double)out[0][t][i] - out[1][t][i]) > 8 * 0x1p-24 * size)
                    fail_msg("%s: %.9g, portably %.9g", sets[s], out[1][t][i], out[0][t][i]);
            }
    }
}

/* One step from m = v = 0 with bias correction moves by lr * sign(g), whatever the size of g (Kingma & Ba 2015). */
static void first_adam_step_has_length_lr(void **state)
{
    (void)state;
    const qsr_kernels *k = qsr_kernels_get();
    float g[3] = {1e-3f, -5, 100}, weight[3] = {1, 2, 3}, m[3] = {0}, v[3] = {0};
    qsr_adam_step step = {1, 0.9f, 0.99f, 0.1f, 0.01f, 0.01f / 0.1f, 1 / 0.01f, 1e-8f};
    k->adam(&step, g, weight, m, v, 3);
    assert_close(weight[0], 0.99, 1e-4);
    assert_close(weight[1], 2.01, 1e-4);
    assert_close(weight[2], 2.99, 1e-4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dot_is_right_on_every_instruction_set),
                                       cmocka_unit_test(adam_agrees_on_every_instruction_set),
                                       cmocka_unit_test(first_adam_step_has_length_lr)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

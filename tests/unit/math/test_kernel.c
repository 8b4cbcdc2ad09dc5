/* kernel: every instruction set gives the bytes of the portable version, and the right numbers. */
#include "../unit.h"

#include "base/rng.h"
#include "math/kernel.h"

enum { LATENTS = 37, MOST = 300, ENTRIES = 20 };
static float w[LATENTS * MOST], a[MOST], b[MOST], out[2][MOST], grad[2][2 * MOST];
static uint32_t latent[ENTRIES];
static float value[ENTRIES], d_value[2][ENTRIES];
static qsr_use use[ENTRIES];

static void fill(void)
{
    qsr_rng rng = qsr_rng_make(1, "kernel");
    uint64_t n = 0;
    for (size_t i = 0; i < LATENTS * MOST; i++) w[i] = (float)qsr_rng_normal(&rng, n++);
    for (size_t i = 0; i < MOST; i++) a[i] = (float)qsr_rng_normal(&rng, n++), b[i] = (float)qsr_rng_normal(&rng, n++);
    for (size_t e = 0; e < ENTRIES; e++) {
        latent[e] = (uint32_t)qsr_rng_below(&rng, n++, LATENTS);
        value[e] = (float)qsr_rng_normal(&rng, n++);
        use[e] = (qsr_use){e % 2 ? a : b, e % 3 ? w : b, value[e], (float)qsr_rng_normal(&rng, n++)};
    }
}

static const char *const sets[] = {"portable", "avx2", "avx512"};
static const size_t widths[] = {1, 3, 15, 16, 31, 32, 33, 63, 64, 96, 128, 130, 255, 300};

static void same_bytes_on_every_instruction_set(void **state)
{
    (void)state;
    fill();
    const qsr_kernels *plain = qsr_kernels_named("portable");
    assert_non_null(plain);
    for (size_t s = 1; s < 3; s++) {
        const qsr_kernels *fast = qsr_kernels_named(sets[s]);
        if (!fast) {
            print_message("%s: not tested, this processor lacks it\n", sets[s]);
            continue;
        }
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            size_t d = widths[i];
            float p = plain->dot(a, b, d), f = fast->dot(a, b, d);
            assert_memory_equal(&p, &f, sizeof p);
            const qsr_kernels *both[] = {plain, fast};
            for (int v = 0; v < 2; v++) {
                both[v]->decode_row(latent, value, ENTRIES, w, d, i % 2 ? a : NULL, out[v]);
                memset(d_value[v], 0, sizeof d_value[v]);
                both[v]->code_gradient_row(latent, ENTRIES, w, d, a, d_value[v]);
                memset(grad[v], 0, sizeof grad[v]);
                both[v]->latent_gradients(use, ENTRIES, d, grad[v], grad[v] + MOST);
                float m[MOST] = {0}, second[MOST] = {0};
                qsr_adam_step step = {0.5f, 0.9f, 0.99f, 0.1f, 0.01f, 1e-3f, 100, 1e-8f};
                both[v]->adam(&step, a, out[v], m, second, d);
            }
            assert_memory_equal(out[0], out[1], d * sizeof(float));
            assert_memory_equal(d_value[0], d_value[1], sizeof d_value[0]);
            assert_memory_equal(grad[0], grad[1], sizeof grad[0]);
        }
    }
}

static void computes_what_it_says(void **state)
{
    (void)state;
    fill();
    const qsr_kernels *k = qsr_kernels_get();
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        size_t d = widths[i];
        double dot = 0;
        for (size_t j = 0; j < d; j++) dot += (double)a[j] * b[j];
        assert_close(k->dot(a, b, d), dot, 1e-5);
        k->decode_row(latent, value, ENTRIES, w, d, a, out[0]);
        memset(grad, 0, sizeof grad);
        k->latent_gradients(use, ENTRIES, d, grad[0], grad[1]);
        for (size_t j = 0; j < d; j++) {
            double decoded = a[j], dec = 0, enc = 0;
            for (size_t e = 0; e < ENTRIES; e++) {
                decoded += (double)value[e] * w[latent[e] * d + j];
                dec += (double)use[e].value * use[e].d_out[j];
                enc += (double)use[e].d_pre * use[e].x[j];
            }
            assert_close(out[0][j], decoded, 1e-5);
            assert_close(grad[0][j], dec, 1e-5);
            assert_close(grad[1][j], enc, 1e-5);
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bytes_on_every_instruction_set),
                                       cmocka_unit_test(computes_what_it_says),
                                       cmocka_unit_test(first_adam_step_has_length_lr)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

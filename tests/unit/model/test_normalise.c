/* Normalisation: each mode against its formula in double, and undoing it. */
#include "../unit.h"

#include "base/rng.h"
#include "model/normalise.h"

enum { ROWS = 5, MOST_D = 131 };
static const size_t widths[] = {1, 2, 3, 8, 24, 131};

static void fill(float *v, size_t n, double scale, double offset)
{
    qsr_rng rng = qsr_rng_make(1, "rows");
    for (size_t i = 0; i < n; i++) v[i] = (float)(offset + scale * qsr_rng_normal(&rng, i));
}

static void words_are_read(void **state)
{
    (void)state;
    assert_int_equal(qsr_normalise_parse("none"), QSR_NORMALISE_NONE);
    assert_int_equal(qsr_normalise_parse("token"), QSR_NORMALISE_TOKEN);
    assert_int_equal(qsr_normalise_parse("dataset"), QSR_NORMALISE_DATASET);
}

static void token_takes_the_mean_and_the_unbiased_deviation(void **state)
{
    (void)state;
    const qsr_normalise n = {QSR_NORMALISE_TOKEN, 1};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        size_t d = widths[w];
        float raw[ROWS * MOST_D], x[ROWS * MOST_D];
        qsr_row_scale scale[ROWS];
        fill(raw, ROWS * d, 3, 7);
        qsr_normalise_rows(&n, raw, ROWS, d, x, scale);
        for (size_t r = 0; r < ROWS; r++) {
            double mean = 0, squares = 0;
            for (size_t i = 0; i < d; i++) mean += raw[r * d + i] / (double)d;
            for (size_t i = 0; i < d; i++) squares += pow(raw[r * d + i] - mean, 2);
            double spread = (d > 1 ? sqrt(squares / (double)(d - 1)) : 0) + 1e-5;
            assert_close(scale[r].mean, mean, 1e-14);
            assert_close(scale[r].spread, spread, 1e-14);
            for (size_t i = 0; i < d; i++) assert_close(x[r * d + i], (raw[r * d + i] - mean) / spread, 1e-7);
        }
    }
}

static void constant_rows_become_zero_and_come_back(void **state)
{
    (void)state;
    const qsr_normalise n = {QSR_NORMALISE_TOKEN, 1};
    float raw[24], x[24];
    qsr_row_scale scale;
    for (size_t i = 0; i < 24; i++) raw[i] = 0.1f;
    qsr_normalise_rows(&n, raw, 1, 24, x, &scale);
    for (size_t i = 0; i < 24; i++) assert_true(fabsf(x[i]) < 1e-10f);
    qsr_denormalise_rows(&scale, x, 1, 24, x);
    assert_memory_equal(x, raw, sizeof raw);
}

static void undoing_gives_the_row_back(void **state)
{
    (void)state;
    static const qsr_normalise modes[] = {
        {QSR_NORMALISE_NONE, 1}, {QSR_NORMALISE_TOKEN, 1}, {QSR_NORMALISE_DATASET, 0.037}};
    static const double offsets[] = {0, 100, -1e6}, scales[] = {1, 1e-3, 1e6};
    for (size_t m = 0; m < 3; m++)
        for (size_t c = 0; c < 9; c++)
            for (size_t w = 1; w < sizeof widths / sizeof *widths; w++) {
                size_t d = widths[w];
                float raw[ROWS * MOST_D], x[ROWS * MOST_D], back[ROWS * MOST_D];
                qsr_row_scale scale[ROWS];
                fill(raw, ROWS * d, scales[c / 3], offsets[c % 3]);
                qsr_normalise_rows(&modes[m], raw, ROWS, d, x, scale);
                qsr_denormalise_rows(scale, x, ROWS, d, back);
                for (size_t i = 0; i < ROWS * d;
                     i++) { /* a rounding of x, as large as its deviation, and one of the result */
                    double off = fabs((double)back[i] - raw[i]), size = fabs(raw[i]) + fabs(x[i]) * scale[i / d].spread;
                    assert_true(off <= 1.2e-7 * size);
                    if (modes[m].mode == QSR_NORMALISE_NONE) assert_true(off == 0);
                }
                qsr_denormalise_rows(scale, x, ROWS, d, x); /* in place */
                assert_memory_equal(x, back, ROWS * d * sizeof *x);
            }
}

static void the_dataset_scale_is_a_factor(void **state)
{
    (void)state;
    const qsr_normalise n = {QSR_NORMALISE_DATASET, 0.25};
    float raw[24], x[24];
    fill(raw, 24, 2, 1);
    qsr_normalise_rows(&n, raw, 3, 8, x, NULL);
    for (size_t i = 0; i < 24; i++) assert_true(x[i] == 0.25f * raw[i]);
}

static void a_row_does_not_depend_on_its_company_or_place(void **state)
{
    (void)state;
    static const qsr_normalise modes[] = {
        {QSR_NORMALISE_NONE, 1}, {QSR_NORMALISE_TOKEN, 1}, {QSR_NORMALISE_DATASET, 0.037}};
    for (size_t m = 0; m < 3; m++) {
        float raw[ROWS * 24], x[ROWS * 24], alone[24 + 1];
        fill(raw, ROWS * 24, 2, 1);
        qsr_normalise_rows(&modes[m], raw, ROWS, 24, x, NULL);
        for (size_t r = 0; r < ROWS; r++) {
            qsr_normalise_rows(&modes[m], raw + r * 24, 1, 24, alone + 1, NULL);
            assert_memory_equal(alone + 1, x + r * 24, 24 * sizeof *x);
        }
        qsr_normalise_rows(&modes[m], raw, ROWS, 24, raw, NULL); /* in place */
        assert_memory_equal(raw, x, sizeof x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read),
        cmocka_unit_test(token_takes_the_mean_and_the_unbiased_deviation),
        cmocka_unit_test(constant_rows_become_zero_and_come_back),
        cmocka_unit_test(undoing_gives_the_row_back),
        cmocka_unit_test(the_dataset_scale_is_a_factor),
        cmocka_unit_test(a_row_does_not_depend_on_its_company_or_place),
    };
    return cmocka_run_group_tests_name("normalisation", tests, NULL, NULL);
}

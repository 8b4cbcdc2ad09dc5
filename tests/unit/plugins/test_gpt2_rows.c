/* gpt2/rows: exact enough, and the same bytes on every instruction set. */
#include "../../../plugins/datasets/gpt2/rows.h"
#include "../unit.h"
#include "base/rng.h"
#include "format/dtype.h"

static const char *const isas[] = {"portable", "avx2", "avx512"};

static double gelu_exactly(double y)
{
    return 0.5 * y * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (y + 0.044715 * y * y * y)));
}

static void exp_is_exact_to_3e_7(void **state)
{
    (void)state;
    for (double x = -87; x < 88; x += 0.00123) {
        float in = (float)x, out;
        gpt2_rows_named("portable")->exp(&in, 1, &out);
        if (fabs(out / exp(in) - 1) > 3e-7) fail_msg("exp(%g) = %g", in, out);
    }
}

static void exp_keeps_its_promises_at_the_edges(void **state)
{
    (void)state;
    const float in[5] = {-1e30f, -INFINITY, 0, 1e30f, NAN};
    float out[5];
    gpt2_rows_named("portable")->exp(in, 5, out);
    assert_true(out[0] > 0 && out[0] < 2e-38f && out[1] == out[0]);
    assert_true(out[2] == 1);
    assert_true(out[3] > 1.6e38f && isfinite(out[3]));
    assert_true(isnan(out[4]));
}

/* Relative where a value matters; below -3 the exponent 2u itself is rounded, so its error is relative to y. */
static void gelu_is_the_tanh_form_to_1e_6(void **state)
{
    (void)state;
    const float none = 0;
    for (double y = -12; y < 12; y += 0.00077) {
        float value = (float)y;
        gpt2_rows_named("portable")->gelu(&value, &none, 1, 1);
        const double exact = gelu_exactly((float)y), scale = y > -3 ? fabs(exact) : 1e-2;
        if (fabs(value - exact) > 1e-6 * scale) fail_msg("gelu(%g) = %g instead of %g", y, value, exact);
    }
}

enum { ROWS = 3, WIDTH = 77, STRIDE = 80 };

static void fill(float *x, size_t n, const char *name, float spread)
{
    qsr_rng rng = qsr_rng_make(3, name);
    for (size_t i = 0; i < n; i++) x[i] = spread * (float)qsr_rng_normal(&rng, i);
}

typedef struct {
    float x[ROWS * WIDTH], delta[ROWS * WIDTH], out[ROWS * WIDTH], wide[ROWS * WIDTH], scores[ROWS * STRIDE];
    float bias[WIDTH], weight[WIDTH], shift[WIDTH], centred[ROWS * WIDTH], widened[2][WIDTH];
    gpt2_soft soft[2];
} work;

static void prepare(work *w)
{
    memset(w, 0, sizeof *w);
    fill(w->x, ROWS * WIDTH, "x", 2);
    fill(w->delta, ROWS * WIDTH, "delta", 1);
    fill(w->wide, ROWS * WIDTH, "wide", 3);
    fill(w->scores, ROWS * STRIDE, "scores", 8);
    fill(w->bias, WIDTH, "bias", 1);
    fill(w->weight, WIDTH, "weight", 1);
    fill(w->shift, WIDTH, "shift", 1);
    w->soft[0] = w->soft[1] = (gpt2_soft){-INFINITY, 0, 0};
}

static void run_all(const gpt2_rows *rows, work *w)
{
    const gpt2_affine norm = {w->weight, w->shift};
    prepare(w);
    rows->add_norm(w->x, w->delta, w->bias, &norm, 1e-5, ROWS, WIDTH, w->out);
    rows->add(w->x, w->delta, w->bias, ROWS, WIDTH);
    rows->add_bias(w->wide, w->bias, ROWS, WIDTH);
    rows->gelu(w->wide, w->bias, ROWS, WIDTH);
    rows->soft(w->scores, WIDTH, &w->soft[0]);
    rows->soft_apart(w->scores, w->scores + STRIDE, WIDTH, &w->soft[1]);
    rows->softmax(w->scores, ROWS, STRIDE, 40, WIDTH);
    rows->centre(w->x, ROWS, WIDTH, w->centred);
    rows->widen_half((const char *)w->x + 1, WIDTH, w->widened[0]); /* any bits, at an odd address */
    rows->widen_bfloat((const char *)w->x + 1, WIDTH, w->widened[1]);
}

static void every_instruction_set_gives_the_same_bytes(void **state)
{
    (void)state;
    static work portable, other;
    run_all(gpt2_rows_named("portable"), &portable);
    for (size_t i = 1; i < sizeof isas / sizeof *isas; i++) {
        const gpt2_rows *rows = gpt2_rows_named(isas[i]);
        if (!rows) continue;
        run_all(rows, &other);
        assert_string_equal(rows->isa, isas[i]);
        assert_memory_equal(&portable, &other, sizeof portable);
    }
    assert_null(gpt2_rows_named("mmx"));
}

/* Every one of the 65,536 values, in lengths that leave a rest. */
static void widening_is_exact(void **state)
{
    (void)state;
    static uint16_t all[65536];
    static float got[65536], wanted[65536];
    for (size_t i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const gpt2_rows *rows = gpt2_rows_named(isas[i]);
        for (size_t begin = 0; rows && begin < 4; begin += 3) {
            qsr_to_float(QSR_F16, all + begin, 65536 - begin, wanted);
            rows->widen_half(all + begin, 65536 - begin, got);
            assert_memory_equal(got, wanted, (65536 - begin) * sizeof *got);
            qsr_to_float(QSR_BF16, all + begin, 65536 - begin, wanted);
            rows->widen_bfloat(all + begin, 65536 - begin, got);
            assert_memory_equal(got, wanted, (65536 - begin) * sizeof *got);
        }
    }
}

/* In pieces, the largest value coming last or first. Sums of 300 floats in 16 lanes: 20 roundings of 6e-8, and exp's 3e-7. */
static void softmax_in_pieces_matches_double(void **state)
{
    (void)state;
    enum { N = 300 };
    static float logits[320], other[320];
    for (int last = 0; last < 2; last++) {
        gpt2_soft s = {-INFINITY, 0, 0}, apart = s;
        double sum = 0, difference = 0, size = 0;
        fill(logits, N, "logits", 5);
        fill(other, N, "other", 5);
        logits[last ? N - 1 : 0] = 60;
        for (size_t i = 0; i < N; i++) {
            const double e = exp(logits[i] - 60.0), d = (double)logits[i] - other[i];
            sum += e;
            difference += e * d;
            size += e * fabs(d);
        }
        for (size_t begin = 0; begin < N; begin += 112) {
            const size_t n = N - begin < 112 ? N - begin : 112;
            gpt2_rows_get()->soft(logits + begin, n, &s);
            gpt2_rows_get()->soft_apart(logits + begin, other + begin, n, &apart);
        }
        assert_true(s.most == 60 && apart.most == 60 && s.sum == apart.sum);
        assert_true(fabs(s.sum - sum) < 2e-6 * sum);
        assert_true(fabs(apart.apart - difference) < 2e-6 * size);
    }
}

static void layer_norm_adds_first_and_matches_double(void **state)
{
    (void)state;
    static work w, before;
    prepare(&w);
    prepare(&before);
    const gpt2_affine norm = {w.weight, w.shift};
    for (size_t i = 0; i < WIDTH; i++) w.x[i] += 1000, before.x[i] += 1000; /* a mean far from 0 */
    gpt2_rows_get()->add_norm(w.x, w.delta, w.bias, &norm, 1e-5, ROWS, WIDTH, w.out);
    for (size_t r = 0; r < ROWS; r++) {
        const float *x = w.x + r * WIDTH;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < WIDTH; i++) {
            const size_t at = r * WIDTH + i;
            assert_close(x[i], (double)before.x[at] + before.delta[at] + before.bias[i], 2e-7);
            mean += x[i] / (double)WIDTH;
        }
        for (size_t i = 0; i < WIDTH; i++) variance += (x[i] - mean) * (x[i] - mean) / WIDTH;
        for (size_t i = 0; i < WIDTH; i++)
            assert_close(w.out[r * WIDTH + i], (x[i] - mean) / sqrt(variance + 1e-5) * w.weight[i] + w.shift[i], 1e-6);
    }
}

static void softmax_looks_only_at_the_past(void **state)
{
    (void)state;
    static work w, before;
    prepare(&w);
    prepare(&before);
    for (size_t r = 0; r < ROWS; r++) w.scores[r * STRIDE + r + 1] = NAN; /* the future */
    gpt2_rows_get()->softmax(w.scores, ROWS, STRIDE, 1, WIDTH);
    for (size_t r = 0; r < ROWS; r++) {
        const float *got = w.scores + r * STRIDE, *score = before.scores + r * STRIDE;
        double sum = 0;
        for (size_t i = 0; i <= r; i++) sum += exp(score[i]);
        for (size_t i = 0; i < WIDTH; i++) assert_close(got[i], i <= r ? exp(score[i]) / sum : 0, 1e-6);
        assert_true(got[r + 1] == 0);
    }
}

/* A score of 1000 above the others would overflow exp. */
static void softmax_is_stable(void **state)
{
    (void)state;
    float s[32];
    for (size_t i = 0; i < 20; i++) s[i] = 1000;
    s[19] = 2000;
    gpt2_rows_get()->softmax(s, 1, 32, 20, 20);
    assert_close(s[19], 1, 1e-7);
    assert_true(s[0] >= 0 && s[0] < 1e-37f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_exact_to_3e_7),
        cmocka_unit_test(exp_keeps_its_promises_at_the_edges),
        cmocka_unit_test(gelu_is_the_tanh_form_to_1e_6),
        cmocka_unit_test(every_instruction_set_gives_the_same_bytes),
        cmocka_unit_test(widening_is_exact),
        cmocka_unit_test(softmax_in_pieces_matches_double),
        cmocka_unit_test(layer_norm_adds_first_and_matches_double),
        cmocka_unit_test(softmax_looks_only_at_the_past),
        cmocka_unit_test(softmax_is_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Laws of training that hold to the byte, or exactly, whatever the numbers: rules that coincide, losses that add up, AuxK without a
 * residual, dead counters. */
#include "../unit.h"

#include "../bench.h"

/* ---- comparing learners ------------------------------------------------------------------------------------------ */

static void same_floats(const char *what, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) fail_msg("%s[%zu]: %.9g and %.9g", what, i, a[i], b[i]);
}

static void same_training(const qsr_learner *a, const qsr_learner *b)
{
    size_t n = a->d_in * a->d_sae;
    same_floats("x", a->x, b->x, a->batch * a->d_in);
    same_floats("xhat", a->xhat, b->xhat, a->batch * a->d_in);
    same_floats("W_enc", a->sae.params.w_enc, b->sae.params.w_enc, n);
    same_floats("W_dec", a->sae.params.w_dec, b->sae.params.w_dec, n);
    same_floats("b_enc", a->sae.params.b_enc, b->sae.params.b_enc, a->d_sae);
    same_floats("b_dec", a->sae.params.b_dec, b->sae.params.b_dec, a->d_in);
    same_floats("moments of W_enc", a->adam.w_enc.v, b->adam.w_enc.v, n);
    same_floats("moments of W_dec", a->adam.w_dec.m, b->adam.w_dec.m, n);
    assert_memory_equal(a->silent, b->silent, a->d_sae * sizeof *a->silent);
    assert_memory_equal(&a->report, &b->report, sizeof a->report);
}

/* Trains both on the same rows and compares them after each step. */
static void train_alike(const char *one, const char *other, size_t d_in, size_t steps)
{
    qsr_spec *specs[] = {bench_spec("%s", one), bench_spec("%s", other)};
    qsr_learner *l[2];
    for (int i = 0; i < 2; i++) l[i] = bench_learner(specs[i], d_in, bench_pool((unsigned)i + 1));
    float *raw = calloc(l[0]->batch * d_in, sizeof *raw);
    for (size_t t = 0; t < steps; t++) {
        bench_normal(raw, l[0]->batch * d_in, 100 + t, 1);
        assert_ok(qsr_learner_step(l[0], raw, NULL));
        assert_ok(qsr_learner_step(l[1], raw, NULL));
        assert_true(l[0]->report.l0 > 0);
        same_training(l[0], l[1]);
    }
    free(raw);
    for (int i = 0; i < 2; i++) {
        qsr_learner_free(l[i]);
        qsr_spec_free(specs[i]);
    }
}

static const char *with_activation(char *out, size_t n, const char *activation, const char *sae, int batch)
{
    snprintf(out, n,
             "name: law\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\nsae: {d_sae: 301, %s}\n"
             "train: {tokens: %d, batch: %d, lr: 0.01, dead_after: 50}\n"
             "losses: {mse: {}, l1: {coeff: 0.01}, afa: {norm: decoder}, auxk: {k: 4}}\n",
             activation, sae, 50 * batch, batch);
    return out;
}

/* Bounds leave few pre-activations to compute, and every number stays the same: batches of one block and of several, with the losses
 * that look through views. */
static void screening_does_not_show(void **state)
{
    (void)state;
    static const char *const rules[] = {"topk, k: 5",        "topk, k: 60", "batchtopk, k: 5", "batchtopk, k: 300",
                                        "jumprelu, init_threshold: 2, bandwidth: {from: 0.5, to: 0.1}",
                                        "jumprelu, gradient: released, parametrization: log"};
    static const char *const screens[] = {"bf16", "int8"};
    enum { RULES = sizeof rules / sizeof *rules };
    static const int batches[] = {24, 300, 1100};
    static const size_t widths[] = {20, 33};
    char off[1024], on[1024];
    bool any = false;
    for (size_t i = 0; i < 2 * RULES * 3 * 2; i++) {
        size_t kind = i % 2, rule = i / 2 % RULES, b = i / (2 * RULES) % 3, bias = i / (6 * RULES);
        char sae[64];
        if (!qsr_screen_tiles_get(kind ? QSR_SCREEN_INT8 : QSR_SCREEN_BF16)) continue;
        any = true;
        snprintf(sae, sizeof sae, "screen: %s%s", screens[kind], bias ? ", encoder_bias: true" : "");
        with_activation(off, sizeof off, rules[rule], bias ? "screen: off, encoder_bias: true" : "screen: off", batches[b]);
        with_activation(on, sizeof on, rules[rule], sae, batches[b]);
        train_alike(off, on, widths[bias], b == 2 ? 3 : 6);
    }
    if (!any) skip();
}

static void topk_of_all_latents_is_relu(void **state)
{
    (void)state;
    static const char *const biases[] = {"pre_bias: true, encoder_bias: true", "pre_bias: true, encoder_bias: false",
                                         "pre_bias: false, encoder_bias: true", "pre_bias: false, encoder_bias: false"};
    char relu[512], topk[512];
    for (size_t i = 0; i < 4; i++)
        train_alike(with_activation(relu, sizeof relu, "relu", biases[i], 77),
                    with_activation(topk, sizeof topk, "topk, k: 301", biases[i], 77), 24, 4);
}

static void batchtopk_of_one_row_is_topk(void **state)
{
    (void)state;
    char topk[512], batchtopk[512];
    for (int k = 1; k <= 300; k = 3 * k + 1) { /* 1, 4, 13, 40, 121 */
        char a[64], b[64];
        snprintf(a, sizeof a, "topk, k: %d", k);
        snprintf(b, sizeof b, "batchtopk, k: %d", k);
        train_alike(with_activation(topk, sizeof topk, a, "encoder_bias: true", 1),
                    with_activation(batchtopk, sizeof batchtopk, b, "encoder_bias: true", 1), 24, 8);
    }
}

/* A raw jumprelu with all thresholds 0 keeps what relu keeps; thresholds do not move without an l0 loss where no entry lies in
 * the window, and the window has no area here. */
static void jumprelu_without_thresholds_is_relu(void **state)
{
    (void)state;
    char relu[512], jumprelu[512];
    const char *biases = "pre_bias: true, encoder_bias: true";
    train_alike(with_activation(relu, sizeof relu, "relu", biases, 77),
                with_activation(jumprelu, sizeof jumprelu, "jumprelu, init_threshold: 0, bandwidth: 1e-12", biases, 77), 24,
                4);
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static qsr_spec *with_losses(const char *activation, const char *losses)
{
    return bench_spec("name: sum\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\nsae: {d_sae: 60}\n"
                      "train: {tokens: 1000, batch: 50, dead_after: 50}\nlosses: {%s}\n",
                      activation, losses);
}

enum { D = 20, MOST_LOSSES = 6 };

static qsr_learner *gradients_of(const qsr_spec *spec)
{
    qsr_learner *l = bench_learner(spec, D, bench_pool(1));
    float raw[50 * D];
    bench_normal(raw, 50 * D, 7, 1);
    for (size_t j = 0; j < l->d_sae; j++) { /* some are too quiet for any rule but relu, and were so for long */
        if (j % 4 == 0) l->silent[j] = 1000;
        for (size_t i = 0; i < D; i++) l->sae.params.w_enc[j * D + i] *= j % 4 == 0 ? 0.01f : 3;
    }
    qsr_sae_refresh(&l->sae);
    qsr_error e = {0};
    if (qsr_learner_gradients(l, raw, &e)) fail_msg("%s", e.text);
    return l;
}

/* sum[] += the gradients of all tensors one after the other */
static void add_gradients(const qsr_learner *l, double *sum)
{
    size_t n = l->d_sae * D;
    for (size_t i = 0; i < n; i++) sum[i] += l->gradient.w_enc[i], sum[n + i] += l->gradient.w_dec[i];
    for (size_t j = 0; j < l->d_sae; j++) sum[2 * n + j] += l->gradient.b_enc[j];
    for (size_t i = 0; i < D; i++) sum[2 * n + l->d_sae + i] += l->gradient.b_dec[i];
}

/* The gradient of several losses together is the sum of the gradients of each alone; so is the value. */
static void check_sum(const char *activation, const char *const losses[], size_t n)
{
    char all[1024] = "";
    double parts[2 * 60 * D + 60 + D] = {0}, whole[2 * 60 * D + 60 + D] = {0}, value = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", losses[i]);
        qsr_spec *spec = with_losses(activation, losses[i]);
        qsr_learner *l = gradients_of(spec);
        add_gradients(l, parts);
        value += l->report.loss;
        if (l->report.loss == 0 && strcmp(activation, "relu") != 0) fail_msg("%s: %s adds nothing", activation, losses[i]);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
    qsr_spec *spec = with_losses(activation, all);
    qsr_learner *l = gradients_of(spec);
    add_gradients(l, whole);
    assert_close(l->report.loss, value, 1e-12);
    double sum = 0;
    for (size_t i = 0; i < l->n_losses; i++) sum += l->losses[i].value;
    assert_true(l->report.loss == sum);
    assert_int_equal(l->n_losses, n);
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) most = fmax(most, fabs(whole[i]));
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (fabs(whole[i] - parts[i]) > 1e-6 * most) /* float32 sums in another order */
            fail_msg("%s: entry %zu is %.9g, the parts give %.9g", all, i, whole[i], parts[i]);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static void gradients_and_values_of_losses_add(void **state)
{
    (void)state;
    static const char *const some[] = {"mse: {}",          "again: {plugin: mse, coeff: 3}",
                                       "l1: {coeff: 0.1}", "afa: {norm: decoder, target: centred}",
                                       "auxk: {k: 3}",     "other: {plugin: prefixes, first: 9, second: 31, top: 4}"};
    check_sum("topk, k: 7", some, MOST_LOSSES);
    check_sum("topafa", some, MOST_LOSSES);
    check_sum("batchtopk, k: 7", some, MOST_LOSSES);
    check_sum("relu", some, MOST_LOSSES);
    static const char *const surrogate[] = {"mse: {}", "l0: {coeff: 0.1}", "auxk: {k: 3, detach_residual: false}"};
    check_sum("jumprelu", surrogate, 3);
}

static void doubling_a_coefficient_doubles_the_gradient_to_the_bit(void **state)
{
    (void)state;
    static const char *const once[] = {"mse: {}", "l1: {coeff: 0.125}", "afa: {coeff: 0.25}", "auxk: {coeff: 0.5, k: 3}"};
    static const char *const twice[] = {"mse: {coeff: 2}", "l1: {coeff: 0.25}", "afa: {coeff: 0.5}",
                                        "auxk: {coeff: 1, k: 3}"};
    for (size_t i = 0; i < 4; i++) {
        double a[2 * 60 * D + 60 + D] = {0}, b[2 * 60 * D + 60 + D] = {0}, most = 0;
        qsr_spec *specs[] = {with_losses("topk, k: 7", once[i]), with_losses("topk, k: 7", twice[i])};
        qsr_learner *l[] = {gradients_of(specs[0]), gradients_of(specs[1])};
        add_gradients(l[0], a);
        add_gradients(l[1], b);
        for (size_t k = 0; k < sizeof a / sizeof *a; k++) {
            if (b[k] != 2 * a[k]) fail_msg("%s: entry %zu", once[i], k);
            most = fmax(most, fabs(a[k]));
        }
        assert_true(most > 0);
        for (int k = 0; k < 2; k++) {
            qsr_learner_free(l[k]);
            qsr_spec_free(specs[k]);
        }
    }
}

static void a_loss_that_looks_too_often_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"view: {plugin: prefixes, second: 5, repeat: 40}", "losses.view: losses look at one block more than 63 times"},
        {"view: {plugin: prefixes, top: 5, repeat: 65, mode: view}", "losses.view: a loss encodes a block too often"},
    };
    for (size_t i = 0; i < 2; i++) {
        qsr_spec *spec = with_losses("topk, k: 7", cases[i][0]);
        qsr_learner *l = bench_learner(spec, D, bench_pool(2));
        float raw[50 * D];
        qsr_error e = {0};
        bench_normal(raw, 50 * D, 7, 1);
        assert_int_equal(qsr_learner_gradients(l, raw, &e), QSR_E_UNSUPPORTED);
        assert_string_equal(e.text, cases[i][1]);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
}

/* ---- auxk -------------------------------------------------------------------------------------------------------- */

/* Rows that all equal b_dec have an empty code and no residual. With thresholds above b_enc dead latents would still decode to
 * something, but there is nothing to explain: the denominator is 0. */
static void auxk_is_zero_without_a_residual(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"topk, k: 7", "auxk: {k: 3}"},
                                           {"topk, k: 7", "auxk: {k: 3, normalize: none, detach_residual: false}"},
                                           {"jumprelu, init_threshold: 1", "auxk: {k: 3}"},
                                           {"jumprelu, init_threshold: 1", "auxk: {k: 3, detach_residual: false}"}};
    for (size_t i = 0; i < 4; i++) {
        qsr_spec *spec = bench_spec("name: zero\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\n"
                                    "sae: {d_sae: 60, normalize: none, pre_bias: true}\n"
                                    "train: {tokens: 1000, batch: 50, dead_after: 50}\nlosses: {mse: {}, %s}\n",
                                    cases[i][0], cases[i][1]);
        qsr_learner *l = bench_learner(spec, D, bench_pool(1));
        for (size_t j = 0; j < l->d_sae; j++) l->silent[j] = 1000;
        float raw[50 * D];
        for (size_t r = 0; r < 50; r++) memcpy(raw + r * D, l->sae.params.b_dec, D * sizeof *raw);
        assert_ok(qsr_learner_gradients(l, raw, NULL));
        double sum[2 * 60 * D + 60 + D] = {0};
        add_gradients(l, sum);
        assert_true(l->report.loss == 0 && l->losses[1].value == 0 && l->report.l0 == 0);
        assert_int_equal(l->report.dead, 60);
        for (size_t k = 0; k < sizeof sum / sizeof *sum; k++) assert_true(sum[k] == 0);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
}

/* Dead counters: tokens since f != 0, this batch included, counted by training steps. */
static void dead_counters_count_tokens(void **state)
{
    (void)state;
    qsr_spec *spec = bench_spec("name: dead\ndataset: {plugin: synthetic}\nactivation: {plugin: topk, k: 2}\n"
                                "sae: {d_sae: 40, normalize: none, pre_bias: false}\n"
                                "train: {tokens: 1000, batch: 10, dead_after: 30, lr: 0}\nlosses: {mse: {}}\n");
    qsr_learner *l = bench_learner(spec, 4, bench_pool(1));
    uint64_t expected[40] = {0};
    float raw[40];
    for (size_t t = 0; t < 12; t++) {
        uint64_t dead = 0, quiet = 0;
        bench_normal(raw, 40, 30 + t, 1);
        if (t == 5) memset(raw, 0, sizeof raw);
        assert_ok(qsr_learner_step(l, raw, NULL));
        if (t == 5) assert_int_equal(l->report.dead_in_batch, 40);
        for (size_t j = 0; j < 40; j++) {
            bool fires = false;
            for (size_t r = 0; r < 10; r++) { /* one of the two largest of row r */
                size_t larger = 0;
                double pre[40] = {0};
                for (size_t i = 0; i < 160; i++) pre[i / 4] += (double)raw[r * 4 + i % 4] * l->sae.params.w_enc[i];
                for (size_t i = 0; i < 40; i++) larger += pre[i] > pre[j];
                fires |= larger < 2 && pre[j] > 0;
            }
            expected[j] = fires ? 0 : expected[j] + 10;
            quiet += !fires;
            dead += expected[j] >= 30;
        }
        assert_memory_equal(l->silent, expected, sizeof expected);
        assert_int_equal(l->report.dead, dead);
        assert_int_equal(l->report.dead_in_batch, quiet);
        if (t > 3) assert_in_range(dead, 1, 39);
    }
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(screening_does_not_show),
        cmocka_unit_test(topk_of_all_latents_is_relu),
        cmocka_unit_test(batchtopk_of_one_row_is_topk),
        cmocka_unit_test(jumprelu_without_thresholds_is_relu),
        cmocka_unit_test(gradients_and_values_of_losses_add),
        cmocka_unit_test(doubling_a_coefficient_doubles_the_gradient_to_the_bit),
        cmocka_unit_test(a_loss_that_looks_too_often_is_refused_by_name),
        cmocka_unit_test(auxk_is_zero_without_a_residual),
        cmocka_unit_test(dead_counters_count_tokens),
    };
    int failures = cmocka_run_group_tests_name("laws of training", tests, NULL, NULL);
    bench_end();
    return failures;
}

/* The update of a step: the learning rate's shape, clipping, the three ways of holding decoder rows, Adam against a plain double
 * implementation, and steps whose numbers are not finite. */
#include "../unit.h"

#include "../bench.h"
#include "base/arena.h"
#include "math/rows.h"

/* ---- the learning rate ------------------------------------------------------------------------------------------- */

static void the_learning_rate_follows_its_table(void **state)
{
    (void)state;
    static const struct {
        double warmup, decay;
        uint64_t steps;
        double factor[10];
    } cases[] = {
        {0, 0, 5, {1, 1, 1, 1, 1}},
        {0.5, 0, 10, {0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1}},
        {0, 0.5, 10, {1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2}},
        {0.5, 0.5, 10, {0.2, 0.4, 0.6, 0.8, 1, 1, 0.8, 0.6, 0.4, 0.2}},
        {1, 0, 4, {0.25, 0.5, 0.75, 1}},
        {0, 1, 4, {1, 0.75, 0.5, 0.25}},
        {1, 1, 4, {0.25, 0.375, 0.375, 0.25}},                  /* both apply: the factors multiply */
        {0.2, 0.4, 9, {1, 1, 1, 1, 1, 1, 1, 2.0 / 3, 1.0 / 3}}, /* fractions of steps are rounded down: 1 and 3 */
        {0.05, 0.05, 10, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
        {0, 0, 1, {1}},
        {1, 1, 1, {1}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (uint64_t t = 0; t < cases[c].steps; t++) {
            qsr_train_options o = {.lr = 0.02, .warmup = cases[c].warmup, .decay = cases[c].decay};
            assert_close(qsr_learning_rate(&o, t, cases[c].steps), 0.02 * cases[c].factor[t], 1e-15);
        }
}

static void tokens_are_rounded_down_to_whole_batches(void **state)
{
    (void)state;
    static const int64_t cases[][3] = {{1000, 10, 100}, {1009, 10, 100}, {9, 10, 0}, {10, 10, 1}, {77, 1, 77}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_train_options o = {.tokens = cases[i][0], .batch = cases[i][1]};
        assert_int_equal(qsr_training_steps(&o), cases[i][2]);
    }
}

/* ---- Adam -------------------------------------------------------------------------------------------------------- */

enum { D = 9, N = 70, STEPS = 50, PARAMS = 2 }; /* N passes more than one chunk of latents */

typedef struct {
    double w, m, v;
} moving;

typedef struct {
    moving w_enc[N * D], w_dec[N * D], b_enc[N], b_dec[D], param[PARAMS][N];
} plain_state;

static void move(moving *x, double g, const qsr_update *u)
{
    double t = (double)u->step + 1;
    x->m = u->beta1 * x->m + (1 - u->beta1) * g;
    x->v = u->beta2 * x->v + (1 - u->beta2) * g * g;
    x->w -= u->lr * (x->m / (1 - pow(u->beta1, t))) / (sqrt(x->v / (1 - pow(u->beta2, t))) + 1e-8);
}

static double dot(const moving *w, const double *g)
{
    double sum = 0;
    for (size_t i = 0; i < D; i++) sum += w[i].w * (g ? g[i] : w[i].w);
    return sum;
}

static void to_unit(moving *w)
{
    double norm = sqrt(dot(w, NULL));
    for (size_t i = 0; i < D && norm > 0; i++) w[i].w /= norm;
}

static void move_decoder_row(moving *w, const float *gradient, const qsr_update *u)
{
    double g[D];
    if (u->decoder_norm == QSR_DECODER_BEFORE_STEP) to_unit(w);
    for (size_t i = 0; i < D; i++) g[i] = u->clip * gradient[i];
    double along = dot(w, g), squares = dot(w, NULL);
    for (size_t i = 0; i < D && u->decoder_norm != QSR_DECODER_FREE && squares > 0; i++) g[i] -= along / squares * w[i].w;
    for (size_t i = 0; i < D; i++) move(&w[i], g[i], u);
    if (u->decoder_norm == QSR_DECODER_AFTER_STEP) to_unit(w);
}

static void move_all(plain_state *s, const qsr_gradient *g, const qsr_params *p, const qsr_param *params,
                     const qsr_update *u)
{
    for (size_t i = 0; i < N * D; i++) move(&s->w_enc[i], u->clip * g->w_enc[i], u);
    for (size_t j = 0; j < N; j++) move_decoder_row(s->w_dec + j * D, g->w_dec + j * D, u);
    for (size_t j = 0; j < N && p->encoder_bias; j++) move(&s->b_enc[j], u->clip * g->b_enc[j], u);
    for (size_t i = 0; i < D; i++) move(&s->b_dec[i], u->clip * g->b_dec[i], u);
    for (size_t k = 0; k < PARAMS; k++)
        for (size_t j = 0; j < N; j++) {
            move(&s->param[k][j], u->clip * g->param[k][j], u);
            s->param[k][j].w = fmin(fmax(s->param[k][j].w, params[k].lower), params[k].upper);
        }
}

static void start(float *w, moving *plain, size_t n, uint64_t seed)
{
    bench_normal(w, n, seed, 0.5);
    for (size_t i = 0; i < n; i++) plain[i] = (moving){w[i], 0, 0};
}

static void compare(const char *what, const float *got, const moving *want, size_t n)
{
    for (size_t i = 0; i < n; i++) /* fifty roundings of a weight of size 1 */
        if (fabs(got[i] - want[i].w) > 5e-6) fail_msg("%s[%zu] is %.9g, plainly %.9g", what, i, got[i], want[i].w);
}

static void follow_adam(qsr_decoder_norm decoder_norm, bool encoder_bias, double clip)
{
    static plain_state plain;
    static float values[PARAMS][N];
    qsr_param params[PARAMS] = {{.value = values[0], .lower = 0, .upper = INFINITY},
                                {.value = values[1], .lower = -INFINITY, .upper = 0.4f}};
    qsr_params p;
    qsr_gradient g;
    qsr_adam adam;
    assert_ok(qsr_params_alloc(D, N, &p, NULL));
    p.encoder_bias = encoder_bias;
    assert_ok(qsr_gradient_create(&p, PARAMS, false, &g, NULL));
    assert_ok(qsr_adam_create(&p, PARAMS, &adam, NULL));
    start(p.w_enc, plain.w_enc, N * D, 1);
    start(p.w_dec, plain.w_dec, N * D, 2);
    start(p.b_enc, plain.b_enc, N, 3);
    start(p.b_dec, plain.b_dec, D, 4);
    for (size_t k = 0; k < PARAMS; k++) start(values[k], plain.param[k], N, 5 + k);
    for (size_t i = 0; i < D; i++) p.w_dec[3 * D + i] = 0, plain.w_dec[3 * D + i].w = 0; /* a row without direction */
    for (uint64_t t = 0; t < STEPS; t++) {
        qsr_update u = {decoder_norm, 0.01 / (1 + 0.1 * (double)t), 0.9, 0.99, clip, t};
        bench_normal(g.w_enc, N * D, 1000 + t, 2);
        bench_normal(g.w_dec, N * D, 2000 + t, 2);
        bench_normal(g.b_enc, N, 3000 + t, 1e-3);
        bench_normal(g.b_dec, D, 4000 + t, 30);
        for (size_t k = 0; k < PARAMS; k++) bench_normal(g.param[k], N, 5000 + 100 * k + t, 1);
        float *unused[] = {g.w_enc + t % N * D, g.w_dec + t % N * D}; /* a latent that nobody used: its gradient is 0 unread */
        for (int m = 0; m < 2; m++)
            for (size_t i = 0; i < D; i++) unused[m][i] = 0;
        move_all(&plain, &g, &p, params, &u);
        for (int m = 0; m < 2; m++)
            for (size_t i = 0; i < D; i++) unused[m][i] = NAN;
        for (size_t j = 0; j < N; j++) g.rows[j] = j == t % N ? QSR_ROWS_ZERO : QSR_ROWS_SUMS;
        qsr_adam_apply(&adam, &u, &g, &p, params, bench_pool(2));
    }
    compare("W_enc", p.w_enc, plain.w_enc, N * D);
    compare("W_dec", p.w_dec, plain.w_dec, N * D);
    compare("b_enc", p.b_enc, plain.b_enc, N);
    compare("b_dec", p.b_dec, plain.b_dec, D);
    for (size_t k = 0; k < PARAMS; k++) compare("param", values[k], plain.param[k], N);
    for (size_t j = 0; decoder_norm == QSR_DECODER_AFTER_STEP && j < N; j++)
        assert_close(qsr_row_norm(p.w_dec + j * D, D), 1, 3e-7);
    qsr_adam_free(&adam);
    qsr_gradient_free(&g);
    qsr_params_free(&p);
}

static void adam_agrees_with_plain_double_over_fifty_steps(void **state)
{
    (void)state;
    follow_adam(QSR_DECODER_FREE, true, 1);
    follow_adam(QSR_DECODER_AFTER_STEP, true, 0.125);
    follow_adam(QSR_DECODER_AFTER_STEP, false, 1);
    follow_adam(QSR_DECODER_BEFORE_STEP, true, 0.3);
}

static void words_for_decoder_norm_are_read(void **state)
{
    (void)state;
    assert_int_equal(qsr_decoder_norm_parse("none"), QSR_DECODER_FREE);
    assert_int_equal(qsr_decoder_norm_parse("after_step"), QSR_DECODER_AFTER_STEP);
    assert_int_equal(qsr_decoder_norm_parse("before_step"), QSR_DECODER_BEFORE_STEP);
}

/* ---- a learner's step -------------------------------------------------------------------------------------------- */

enum { BATCH = 50, D_IN = 24, D_SAE = 37 };

static qsr_spec *spec_with(const char *activation, const char *train)
{
    return bench_spec("name: update\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\nsae: {d_sae: %d}\n"
                      "train: {tokens: 500, batch: %d, %s}\n",
                      activation, D_SAE, BATCH, train);
}

static double squares_of(const qsr_learner *l)
{
    const qsr_gradient *g = &l->gradient;
    double sum = 0;
    for (size_t i = 0; i < D_SAE * D_IN; i++) sum += (double)g->w_enc[i] * g->w_enc[i] + (double)g->w_dec[i] * g->w_dec[i];
    for (size_t i = 0; i < D_IN; i++) sum += (double)g->b_dec[i] * g->b_dec[i];
    for (size_t j = 0; j < D_SAE; j++) {
        if (l->sae.params.encoder_bias) sum += (double)g->b_enc[j] * g->b_enc[j];
        for (unsigned k = 0; k < l->n_params; k++) sum += (double)g->param[k][j] * g->param[k][j];
    }
    return sum;
}

/* First moments after the first step are (1 - beta1) * clip * g, which shows the clip factor. */
static void check_clip(const char *activation, double share)
{
    char train[64];
    float raw[BATCH * D_IN], before[D_SAE * D_IN];
    bench_normal(raw, BATCH * D_IN, 9, 1);
    qsr_spec *probe_spec = spec_with(activation, "clip_norm: 1");
    qsr_learner *probe = bench_learner(probe_spec, D_IN, bench_pool(2));
    memcpy(before, probe->sae.params.w_enc, sizeof before);
    assert_ok(qsr_learner_gradients(probe, raw, NULL));
    assert_memory_equal(before, probe->sae.params.w_enc, sizeof before); /* gradients alone leave the weights as they are */
    double norm = sqrt(squares_of(probe)), limit = share * norm, factor = fmin(1, limit / (norm + 1e-6));
    assert_close(probe->report.grad_norm, norm, 1e-12);
    snprintf(train, sizeof train, "clip_norm: %.17g", limit);
    qsr_spec *spec = spec_with(activation, train);
    qsr_learner *l = bench_learner(spec, D_IN, bench_pool(1));
    assert_ok(qsr_learner_step(l, raw, NULL));
    assert_true(l->report.grad_norm == probe->report.grad_norm); /* the norm before clipping is what is logged */
    for (size_t i = 0; i < D_SAE * D_IN; i++)
        assert_close(l->adam.w_enc.m[i] / norm, 0.1 * factor * probe->gradient.w_enc[i] / norm, 1e-8);
    for (size_t i = 0; i < D_IN; i++)
        assert_close(l->adam.b_dec.m[i] / norm, 0.1 * factor * probe->gradient.b_dec[i] / norm, 1e-8);
    for (size_t j = 0; l->n_params && j < D_SAE; j++)
        assert_close(l->adam.param[0].m[j] / norm, 0.1 * factor * probe->gradient.param[0][j] / norm, 1e-8);
    qsr_learner_free(l);
    qsr_learner_free(probe);
    qsr_spec_free(spec);
    qsr_spec_free(probe_spec);
}

static void gradients_are_clipped_to_the_norm_over_all_parameters(void **state)
{
    (void)state;
    static const char *const activations[] = {"topk, k: 5", "relu", "jumprelu"};
    for (size_t i = 0; i < 3; i++) {
        check_clip(activations[i], 1e6);
        check_clip(activations[i], 0.5);
        check_clip(activations[i], 0.01);
    }
}

static void decoder_rows_have_unit_norm_after_each_step(void **state)
{
    (void)state;
    qsr_spec *spec = spec_with("topafa", "lr: 0.05");
    qsr_learner *l = bench_learner(spec, D_IN, bench_pool(2));
    float raw[BATCH * D_IN];
    for (size_t t = 0; t < 6; t++) {
        bench_normal(raw, BATCH * D_IN, 20 + t, 1);
        assert_ok(qsr_learner_step(l, raw, NULL));
        for (size_t j = 0; j < D_SAE; j++) {
            double norm = qsr_row_norm(l->sae.params.w_dec + j * D_IN, D_IN);
            assert_close(norm, 1, 3e-7); /* 24 roundings of 2^-25 at most */
            assert_true(l->sae.dec_norm[j] == (float)norm);
        }
    }
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static void an_unused_encoder_bias_stays_zero(void **state)
{
    (void)state;
    qsr_spec *spec = spec_with("topk, k: 5", "lr: 0.05");
    qsr_learner *l = bench_learner(spec, D_IN, bench_pool(1));
    float raw[BATCH * D_IN];
    bench_normal(raw, BATCH * D_IN, 9, 1);
    for (int t = 0; t < 3; t++) assert_ok(qsr_learner_step(l, raw, NULL));
    for (size_t j = 0; j < D_SAE; j++) assert_true(l->sae.params.b_enc[j] == 0 && l->gradient.b_enc[j] == 0);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

/* A raw threshold never falls below 0, however hard it is pushed; the reported update is what it really moved. */
static void thresholds_stay_at_zero_or_above(void **state)
{
    (void)state;
    qsr_spec *spec = spec_with("jumprelu, init_threshold: 0.001, bandwidth: 4", "lr: 0.2");
    qsr_learner *l = bench_learner(spec, D_IN, bench_pool(1));
    float raw[BATCH * D_IN], before[D_SAE];
    size_t at_zero = 0;
    for (size_t t = 0; t < 4; t++) {
        double moved = 0;
        bench_normal(raw, BATCH * D_IN, 40 + t, 1);
        memcpy(before, l->param[0].value, sizeof before);
        assert_ok(qsr_learner_step(l, raw, NULL));
        for (size_t j = 0; j < D_SAE; j++) {
            assert_true(l->param[0].value[j] >= 0);
            at_zero += l->param[0].value[j] == 0;
            moved += fabs((double)l->param[0].value[j] - before[j]) / D_SAE;
        }
        assert_close(l->report.param_update[0], moved, 1e-12);
        assert_true(moved > 0);
    }
    assert_true(at_zero > 0);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static void numbers_that_are_not_finite_end_the_training(void **state)
{
    (void)state;
    static const char *const activations[] = {"topk, k: 5", "relu", "batchtopk, k: 5", "jumprelu", "topafa"};
    for (size_t i = 0; i < 5; i++) {
        qsr_spec *spec = bench_spec("name: huge\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\n"
                                    "sae: {d_sae: %d, normalize: none}\ntrain: {tokens: 500, batch: %d}\n",
                                    activations[i], D_SAE, BATCH);
        qsr_learner *l = bench_learner(spec, D_IN, bench_pool(2));
        float raw[BATCH * D_IN], before[D_SAE * D_IN];
        qsr_error e = {0};
        bench_normal(raw, BATCH * D_IN, 9, 1);
        assert_ok(qsr_learner_step(l, raw, NULL));
        memcpy(before, l->sae.params.w_dec, sizeof before);
        for (size_t c = 0; c < D_IN; c++) raw[17 * D_IN + c] = copysignf(3e38f, raw[17 * D_IN + c]);
        assert_int_equal(qsr_learner_step(l, raw, &e), QSR_E_NUMERIC);
        if (i < 4) assert_non_null(strstr(e.text, "step 1: the loss is "));
        if (i < 4) assert_non_null(strstr(e.text, "lower train.lr or look at the data"));
        assert_true(strlen(e.text) > 20 && !strchr(e.text, '\n'));
        assert_memory_equal(before, l->sae.params.w_dec, sizeof before);
        assert_int_equal(l->step, 1);
        qsr_learner_free(l);
        qsr_spec_free(spec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_learning_rate_follows_its_table),
        cmocka_unit_test(tokens_are_rounded_down_to_whole_batches),
        cmocka_unit_test(adam_agrees_with_plain_double_over_fifty_steps),
        cmocka_unit_test(words_for_decoder_norm_are_read),
        cmocka_unit_test(gradients_are_clipped_to_the_norm_over_all_parameters),
        cmocka_unit_test(decoder_rows_have_unit_norm_after_each_step),
        cmocka_unit_test(an_unused_encoder_bias_stays_zero),
        cmocka_unit_test(thresholds_stay_at_zero_or_above),
        cmocka_unit_test(numbers_that_are_not_finite_end_the_training),
    };
    int failures = cmocka_run_group_tests_name("the update", tests, NULL, NULL);
    bench_end();
    return failures;
}

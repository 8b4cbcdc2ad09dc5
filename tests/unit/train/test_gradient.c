/* The whole gradient of a learner, through the real plugins, against central differences of the same loss written plainly in double
 * (plain.h): every activation with every loss, with and without each bias. Directions in which the set of kept latents changes
 * are dropped. jumprelu's thresholds have a straight-through gradient, which is compared with its formula. */
#include "../unit.h"

#include "../bench.h"
#include "plain.h"

/* float32 sums over some forty rows; a tensor's largest entry is the scale, since small ones come from cancelling terms. */
#define TOLERANCE 1e-5
enum { ROWS = 37, DEAD_AFTER = 1000 };

static const char *const rules[] = {"relu", "topk, k: 3", "batchtopk, k: 3", "topafa", "jumprelu, init_threshold: 0.3"};

/* The terms of a loss; everything else of plain_sae is filled in by compare(). */
static const plain_sae losses[] = {
    {.mse = 1},
    {.mse = 0.5, .l1 = 0.1},
    {.mse = 1, .afa = 0.25},
    {.mse = 1, .afa = 0.25, .afa_centred = true},
    {.mse = 1, .afa = 0.25, .afa_decoder = true},
    {.mse = 1, .l1 = 0.01, .afa = 0.25, .afa_decoder = true, .afa_centred = true},
    {.mse = 1, .auxk = 0.5, .aux_k = 2, .aux_detach = true, .aux_variance = true},
    {.mse = 1, .auxk = 0.5, .aux_k = 2, .aux_variance = true},
    {.mse = 1, .auxk = 0.5, .aux_k = 2, .aux_detach = true},
    {.mse = 1, .auxk = 0.5, .aux_k = 9, .afa = 0.1},
    {.mse = 1, .prefixes = 0.5, .first = 4, .second = 9, .bias = true, .see_main = true},
    {.mse = 1, .prefixes = 0.5, .first = 4, .second = 9, .top = 3, .see_main = true},
    {.mse = 1, .prefixes = 0.5, .first = 3, .second = 30, .top = 9, .bias = true, .see_main = true},
    {.mse = 1, .prefixes = 0.5, .first = 4, .top = 3, .bias = true},
    {.prefixes = 1, .first = 5, .top = 2},
};

static const char *yes(bool b) { return b ? "true" : "false"; }

static void add_losses(const plain_sae *s, const char *mode, char *out, size_t n)
{
    size_t at = (size_t)snprintf(out, n, "  mse: {coeff: %g}\n", s->mse);
    if (s->l1 != 0) at += (size_t)snprintf(out + at, n - at, "  l1: {coeff: %g}\n", s->l1);
    if (s->l0 != 0) at += (size_t)snprintf(out + at, n - at, "  l0: {coeff: %g}\n", s->l0);
    if (s->afa != 0)
        at += (size_t)snprintf(out + at, n - at, "  afa: {coeff: %g, norm: %s, target: %s}\n", s->afa,
                               s->afa_decoder ? "decoder" : "plain", s->afa_centred ? "centred" : "input");
    if (s->auxk != 0)
        at += (size_t)snprintf(out + at, n - at, "  auxk: {coeff: %g, k: %zu, detach_residual: %s, normalize: %s}\n",
                               s->auxk, s->aux_k, yes(s->aux_detach), s->aux_variance ? "variance" : "none");
    if (s->prefixes != 0)
        snprintf(out + at, n - at, "  prefixes: {coeff: %g, first: %zu, second: %zu, top: %zu, bias: %s, mode: %s}\n",
                 s->prefixes, s->first, s->second, s->top, yes(s->bias), mode);
}

static qsr_spec *spec_for(const plain_sae *s, const char *mode)
{
    char text[1024];
    add_losses(s, mode, text, sizeof text);
    return bench_spec("name: gradient\ndataset: {plugin: synthetic}\nactivation: {plugin: %s}\n"
                      "sae: {d_sae: %zu, pre_bias: %s, encoder_bias: %s}\n"
                      "train: {tokens: 370, batch: %zu, dead_after: %d}\nlosses:\n%s",
                      rules[s->rule], s->d_sae, yes(s->pre_bias), yes(s->encoder_bias), s->rows, DEAD_AFTER, text);
}

/* Some latents are so quiet that no rule keeps them, and have been for long; relu, which keeps all, needs them pushed down. */
static void quieten(const plain_sae *s, qsr_learner *l)
{
    qsr_params *p = &l->sae.params;
    for (size_t j = 0; j < s->d_sae; j++) {
        bool quiet = j % 3 == 0;
        for (size_t i = 0; i < s->d_in; i++) p->w_enc[j * s->d_in + i] *= quiet ? 0.02f : 12;
        if (quiet) l->silent[j] = DEAD_AFTER;
        if (s->encoder_bias && quiet) p->b_enc[j] = s->rule == PLAIN_RELU ? -5 : 0.01f;
    }
    qsr_sae_refresh(&l->sae);
}

/* ---- comparing --------------------------------------------------------------------------------------------------- */

static const char *describe(const plain_sae *s, const char *mode)
{
    static char text[1024];
    int at = snprintf(text, sizeof text, "%s, pre_bias %s, encoder_bias %s, losses", rules[s->rule], yes(s->pre_bias),
                      yes(s->encoder_bias));
    add_losses(s, mode, text + at, sizeof text - (size_t)at);
    return text;
}

/* The derivative in direction i, or NaN when the kept latents change on the way. */
static double difference(const plain_sae *s, double *params, size_t i, const uint8_t *kept, uint8_t *now)
{
    const double h = 1e-6; /* rounding 1e-16 / h and curvature h^2 both stay far below the tolerance */
    size_t n = PLAIN_CODES * s->rows * s->d_sae;
    double at = params[i], up, down;
    params[i] = at + h;
    up = plain_loss(s, params, now);
    bool stable = memcmp(kept, now, n) == 0;
    params[i] = at - h;
    down = plain_loss(s, params, now);
    stable = stable && memcmp(kept, now, n) == 0;
    params[i] = at;
    return stable ? (up - down) / (2 * h) : NAN;
}

/* params[from .. from + n) against got[0 .. n), of a wide SAE only every seventh; returns how many directions were dropped. */
static size_t compare_tensor(const plain_sae *s, const char *mode, const char *name, const float *got, double *params,
                             size_t from, size_t n, const uint8_t *kept, uint8_t *now)
{
    double *want = calloc(n, sizeof *want), most = 0;
    size_t dropped = 0, stride = s->d_in > 20 ? 7 : 1;
    for (size_t i = 0; i < n; i += stride) {
        want[i] = difference(s, params, from + i, kept, now);
        dropped += isnan(want[i]);
        if (fabs(want[i]) > most) most = fabs(want[i]);
    }
    for (size_t i = 0; i < n; i += stride)
        if (fabs(got[i] - want[i]) > TOLERANCE * most)
            fail_msg("%s[%zu] is %.9g, differences give %.9g (largest %g): %s", name, i, got[i], want[i], most,
                     describe(s, mode));
    if (s->mse != 0 && most == 0) fail_msg("%s has no gradient to compare: %s", name, describe(s, mode));
    free(want);
    return dropped;
}

static size_t count(const uint8_t *flags, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += flags[i];
    return sum;
}

static void compare_all(const plain_sae *s, const char *mode, const qsr_learner *l, double *params)
{
    size_t weights = s->d_sae * s->d_in, codes = s->rows * s->d_sae, dropped;
    uint8_t *kept = calloc(PLAIN_CODES, codes), *now = calloc(PLAIN_CODES, codes);
    double loss = plain_loss(s, params, kept);
    if (fabs(loss - l->report.loss) > 1e-6 * fabs(loss))
        fail_msg("the loss is %.9g, plainly %.9g: %s", l->report.loss, loss, describe(s, mode));
    assert_close(l->report.l0 * (double)s->rows, (double)count(kept, codes), 1e-12);
    if (s->auxk != 0 && s->rule != PLAIN_RELU) assert_true(count(kept + codes, codes) > s->rows / 2);
    dropped = compare_tensor(s, mode, "W_enc", l->gradient.w_enc, params, 0, weights, kept, now);
    dropped += compare_tensor(s, mode, "W_dec", l->gradient.w_dec, params, weights, weights, kept, now);
    if (s->encoder_bias)
        dropped += compare_tensor(s, mode, "b_enc", l->gradient.b_enc, params, 2 * weights, s->d_sae, kept, now);
    dropped += compare_tensor(s, mode, "b_dec", l->gradient.b_dec, params, 2 * weights + s->d_sae, s->d_in, kept, now);
    if (dropped * 10 > plain_count(s)) fail_msg("%zu directions dropped: not tested: %s", dropped, describe(s, mode));
    free(kept);
    free(now);
}

/* The gradient of s (a rule, biases, losses) at random weights and rows. */
static void compare(plain_sae s, size_t d_in, size_t d_sae, const char *mode)
{
    s.rows = ROWS, s.d_in = d_in, s.d_sae = d_sae, s.k = 3;
    float *raw = calloc(ROWS * d_in, sizeof *raw);
    bench_normal(raw, ROWS * d_in, 5, 2);
    qsr_spec *spec = spec_for(&s, mode);
    qsr_learner *l = bench_learner(spec, d_in, bench_pool(2));
    quieten(&s, l);
    qsr_error e = {0};
    if (qsr_learner_gradients(l, raw, &e)) fail_msg("%s: %s", e.text, describe(&s, mode));
    s.x = l->x;
    s.theta = l->n_params ? l->param[0].value : NULL;
    s.dead = calloc(d_sae, 1);
    for (size_t j = 0; j < d_sae; j++) s.dead[j] = l->silent[j] >= DEAD_AFTER;
    double *params = plain_params(&s, &l->sae.params);
    plain_fix(&s, params);
    compare_all(&s, mode, l, params);
    free(params);
    free(raw);
    plain_free(&s);
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static void compare_rule(plain_rule rule)
{
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        for (int biases = 0; biases < 4; biases++) {
            plain_sae s = losses[i];
            s.rule = rule, s.pre_bias = biases & 1, s.encoder_bias = biases & 2;
            if (s.auxk != 0 && rule == PLAIN_RELU && !s.encoder_bias) continue; /* then no latent is ever dead */
            if (s.prefixes != 0 && s.pre_bias == s.encoder_bias) continue;      /* enough */
            if (s.mse == 0 && !s.pre_bias) continue;                            /* then b_dec has no gradient */
            compare(s, 5, 15, s.see_main ? "rows" : "view");
            if (s.prefixes != 0 && s.see_main) compare(s, 5, 15, "after");
        }
    plain_sae wide = {.mse = 1,
                      .auxk = 0.5,
                      .aux_k = 2,
                      .prefixes = 0.25,
                      .first = 5,
                      .second = 11,
                      .top = 2,
                      .see_main = true,
                      .bias = true,
                      .rule = rule,
                      .pre_bias = true,
                      .encoder_bias = true};
    compare(wide, 35, 21, "rows");
    compare(wide, 35, 21, "after");
}

static void relu_has_the_derivative(void **state)
{
    (void)state;
    compare_rule(PLAIN_RELU);
}

static void topk_has_the_derivative(void **state)
{
    (void)state;
    compare_rule(PLAIN_TOPK);
}

static void batchtopk_has_the_derivative(void **state)
{
    (void)state;
    compare_rule(PLAIN_BATCHTOPK);
}

static void topafa_has_the_derivative(void **state)
{
    (void)state;
    compare_rule(PLAIN_TOPAFA);
}

static void jumprelu_has_the_derivative_towards_weights(void **state)
{
    (void)state;
    compare_rule(PLAIN_JUMPRELU);
    plain_sae s = {.mse = 1, .l0 = 0.125, .rule = PLAIN_JUMPRELU, .pre_bias = true, .encoder_bias = true};
    compare(s, 5, 15, "rows"); /* the count itself has no derivative */
}

/* ---- jumprelu's thresholds --------------------------------------------------------------------------------------- */

static bool within(double z, double theta, double width) { return fabs(z - theta) < width / 2; }

/* d loss / d parameter j by the formulae, loss = mse + c l0, in double. */
static double threshold_gradient(const qsr_learner *l, size_t j, double width, double c, bool log_theta, bool released)
{
    const qsr_params *p = &l->sae.params;
    double theta = log_theta ? exp(l->param[0].value[j]) : l->param[0].value[j], sum = 0;
    for (size_t r = 0; r < l->batch; r++) {
        const float *x = l->x + r * l->d_in, *xhat = l->xhat + r * l->d_in;
        double pre = p->b_enc[j], d_value = 0;
        for (size_t i = 0; i < l->d_in; i++) {
            pre += (double)x[i] * p->w_enc[j * l->d_in + i];
            d_value += 2 * ((double)xhat[i] - x[i]) * p->w_dec[j * l->d_in + i] / (double)(l->batch * l->d_in);
        }
        double in_value = released ? fmax(pre, 0) : pre, in_count = released && !(pre > theta) ? 0 : pre;
        if (within(in_value, theta, width)) sum -= theta / width * d_value;
        if (within(in_count, theta, width)) sum -= c / width / (double)l->batch;
    }
    return log_theta && !released ? theta * sum : sum;
}

static void compare_thresholds(const char *parametrization, const char *gradient)
{
    const double width = 0.4, c = 0.05;
    qsr_spec *spec = bench_spec("name: thresholds\ndataset: {plugin: synthetic}\nsae: {d_sae: 23}\n"
                                "activation: {plugin: jumprelu, parametrization: %s, gradient: %s, bandwidth: %g}\n"
                                "train: {tokens: 1000, batch: 100}\nlosses: {mse: {}, l0: {coeff: %g}}\n",
                                parametrization, gradient, width, c);
    qsr_learner *l = bench_learner(spec, 6, bench_pool(2));
    float raw[600];
    bench_normal(raw, 600, 6, 1);
    bool log_theta = strcmp(parametrization, "log") == 0;
    for (size_t j = 0; j < l->d_sae; j++) {
        double theta = 0.1 + 0.03 * (double)j;
        l->param[0].value[j] = (float)(log_theta ? log(theta) : theta);
    }
    assert_ok(qsr_learner_gradients(l, raw, NULL));
    double most = 0;
    for (size_t j = 0; j < l->d_sae; j++) most = fmax(most, fabs(l->gradient.param[0][j]));
    assert_true(most > 0);
    for (size_t j = 0; j < l->d_sae; j++) {
        double want = threshold_gradient(l, j, width, c, log_theta, strcmp(gradient, "released") == 0);
        if (fabs(l->gradient.param[0][j] - want) > TOLERANCE * most)
            fail_msg("%s %s: threshold %zu has gradient %.9g, the formula gives %.9g", parametrization, gradient, j,
                     l->gradient.param[0][j], want);
    }
    qsr_learner_free(l);
    qsr_spec_free(spec);
}

static void jumprelu_thresholds_follow_the_formulae(void **state)
{
    (void)state;
    compare_thresholds("raw", "paper");
    compare_thresholds("log", "paper");
    compare_thresholds("raw", "released");
    compare_thresholds("log", "released");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relu_has_the_derivative),
        cmocka_unit_test(topk_has_the_derivative),
        cmocka_unit_test(batchtopk_has_the_derivative),
        cmocka_unit_test(topafa_has_the_derivative),
        cmocka_unit_test(jumprelu_has_the_derivative_towards_weights),
        cmocka_unit_test(jumprelu_thresholds_follow_the_formulae),
    };
    int failures = cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
    bench_end();
    return failures;
}

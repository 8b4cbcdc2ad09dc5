/* jumprelu: values, supports and straight-through gradients in all four forms against the written formulas, evaluated densely in
 * double; parameters, import and export. */
#include "../unit.h"

#include "../fake_host.h"

enum { WIDTH = 9 };

static const qsr_shape shape = {.struct_size = sizeof shape, .d_in = 4, .d_sae = WIDTH, .batch_rows = 1};

static fake_made make(const char *parametrization, const char *gradient, const char *bandwidth)
{
    const qsr_plugin *plugin = fake_plugin("activations", "jumprelu");
    return fake_make(
        plugin, &shape,
        fake_options(plugin, "parametrization", parametrization, "gradient", gradient, "bandwidth", bandwidth, NULL));
}

static qsr_param param_of(fake_made *made)
{
    const qsr_params_ops *params = made->plugin->extension(QSR_EXT_PARAMS);
    qsr_param param = {0};
    assert_int_equal(params->count, 1);
    assert_int_equal(params->get(made->instance, 0, &param), QSR_OK);
    return param;
}

static qsr_code *forward(fake_made *made, uint32_t mode, const float *pre, size_t rows)
{
    const qsr_activation_ops *ops = made->ops;
    qsr_code *code = fake_code_create(rows, WIDTH, ops->planes);
    const qsr_rows in = {.struct_size = sizeof in,
                         .mode = mode,
                         .rows = rows,
                         .d_sae = WIDTH,
                         .d_in = 4,
                         .batch_rows = rows,
                         .pre = pre,
                         .ld_pre = WIDTH};
    assert_int_equal(ops->forward(made->instance, &in, code), QSR_OK);
    fake_host_end_call(made->host);
    return code;
}

/* ---- the formulas, dense ---- */

struct expected {
    double f, d_pre, d_param;
};

static double kernel(double u) { return fabs(u) < 0.5; }

/* One latent: given d loss / d f and d loss / d [f != 0], what the definition says. */
static struct expected formula(bool log_theta, bool released, double pre, double theta, double eps, double d_f,
                               double d_active)
{
    const double step = pre > theta, f = pre * step;
    const double in_value = released ? (pre > 0 ? pre : 0) : pre, in_active = released ? f : pre;
    const double df_dtheta = -(theta / eps) * kernel((in_value - theta) / eps);
    const double dactive_dtheta = -(1 / eps) * kernel((in_active - theta) / eps);
    const double d_theta = d_f * df_dtheta + d_active * dactive_dtheta;
    return (struct expected){f, d_f * step, log_theta && !released ? d_theta * theta : d_theta};
}

/* A row through forward and backward, every latent against the formula; latents outside the support must have no gradient. Returns
 * the size of the support. */
static size_t check(const char *parametrization, const char *gradient, double theta, double eps, bool with_active)
{
    const bool log_theta = !strcmp(parametrization, "log"), released = !strcmp(gradient, "released");
    char text[32];
    snprintf(text, sizeof text, "%.17g", eps);
    fake_made made = make(parametrization, gradient, text);
    const qsr_param param = param_of(&made);
    for (size_t j = 0; j < WIDTH; j++) param.value[j] = (float)(log_theta ? log(theta) : theta);
    const double at = log_theta ? exp(param.value[0]) : param.value[0];
    const double offsets[WIDTH] = {-2 * eps,   -0.51 * eps, -0.49 * eps, -1e-3 * eps, 1e-3 * eps,
                                   0.49 * eps, 0.51 * eps,  2 * eps,     -at - 1};
    float pre[WIDTH], d_value[WIDTH], d_active[WIDTH], d_pre[WIDTH], d_param[WIDTH];
    for (size_t j = 0; j < WIDTH; j++) pre[j] = (float)(at + offsets[j]);
    qsr_code *code = forward(&made, QSR_TRAIN, pre, 1);
    const size_t n = code->row_begin[1];
    for (size_t i = 0; i < n; i++) {
        d_value[i] = (float)fake_normal(1, code->latent[i]), d_active[i] = (float)fake_normal(2, code->latent[i]);
        d_pre[i] = d_param[i] = NAN;
    }
    const qsr_activation_ops *ops = made.ops;
    const qsr_rows in = {.struct_size = sizeof in, .rows = 1, .d_sae = WIDTH, .d_in = 4, .batch_rows = 1, .ld_pre = WIDTH};
    qsr_entry_grads grads = {.struct_size = sizeof grads,
                             .d_value = d_value,
                             .d_active = with_active ? d_active : NULL,
                             .d_pre = d_pre,
                             .d_param = {d_param}};
    assert_int_equal(ops->backward(made.instance, &in, code, &grads), QSR_OK);

    size_t i = 0;
    for (size_t j = 0; j < WIDTH; j++) {
        const struct expected e = formula(log_theta, released, pre[j], (float)at, eps, (float)fake_normal(1, j),
                                          with_active ? (float)fake_normal(2, j) : 0);
        if (i < n && code->latent[i] == j) { /* float32 rounding of sums and products */
            assert_true(code->value[i] == (float)e.f);
            assert_close(d_pre[i], e.d_pre, 1e-6);
            assert_close(d_param[i] * eps, e.d_param * eps, 1e-6);
            i++;
        } else {
            assert_true(e.f == 0);
            assert_true(formula(log_theta, released, pre[j], (float)at, eps, 1, 0).d_param == 0);
            assert_true(formula(log_theta, released, pre[j], (float)at, eps, 0, 1).d_param == 0);
        }
    }
    assert_int_equal(i, n);
    fake_code_free(code);
    fake_unmake(&made);
    return n;
}

static void gradients_follow_the_formulas_of_both_forms(void **state)
{
    (void)state;
    static const char *const parametrizations[] = {"raw", "log"};
    for (size_t p = 0; p < 2; p++) {
        for (int with_active = 0; with_active < 2; with_active++) {
            assert_int_equal(check(parametrizations[p], "paper", 0.5, 0.1, with_active), 6);
            assert_int_equal(check(parametrizations[p], "released", 0.5, 0.1, with_active), 6);
            /* theta < eps / 2: the paper's window reaches below 0; relu(pre) and f of all that is off lie in the released one */
            assert_int_equal(check(parametrizations[p], "paper", 0.02, 0.2, with_active), 6);
            assert_int_equal(check(parametrizations[p], "released", 0.02, 0.2, with_active), WIDTH);
        }
    }
}

static void a_threshold_of_zero_is_relu(void **state)
{
    (void)state;
    assert_int_equal(check("raw", "paper", 0, 0.1, true), 6);
    fake_made made = make("raw", "paper", "0.05");
    const qsr_param param = param_of(&made);
    for (size_t j = 0; j < WIDTH; j++) param.value[j] = 0;
    const float pre[WIDTH] = {-1, 0, 1, -0.01f, 0.01f, 2, -3, 1e-30f, -1e-30f};
    qsr_code *code = forward(&made, QSR_EVAL, pre, 1);
    const uint32_t positive[] = {2, 4, 5, 7};
    assert_int_equal(code->row_begin[1], 4);
    assert_memory_equal(code->latent, positive, sizeof positive);
    fake_code_free(code);
    fake_unmake(&made);
}

static void evaluation_holds_active_latents_only(void **state)
{
    (void)state;
    static const char *const gradients[] = {"paper", "released"};
    for (size_t g = 0; g < 2; g++) {
        fake_made made = make("raw", gradients[g], "0.5"); /* init_threshold 0.1 < eps / 2 */
        float pre[4 * WIDTH];
        for (size_t i = 0; i < 4 * WIDTH; i++) pre[i] = (float)(0.2 * fake_normal(3, i));
        qsr_code *train = forward(&made, QSR_TRAIN, pre, 4), *eval = forward(&made, QSR_EVAL, pre, 4);
        size_t n = 0;
        for (size_t i = 0; i < train->row_begin[4]; i++) {
            if (train->value[i] == 0) continue;
            assert_int_equal(eval->latent[n], train->latent[i]);
            assert_true(eval->value[n] == train->value[i] && eval->value[n] > 0.1f);
            n++;
        }
        assert_int_equal(n, eval->row_begin[4]);
        assert_true(n > 0 && n < train->row_begin[4]);
        fake_code_free(train);
        fake_code_free(eval);
        fake_unmake(&made);
    }
}

/* ---- parameters, import, export ---- */

static void parameters_start_at_the_threshold_asked_for(void **state)
{
    (void)state;
    fake_made raw = make("raw", "paper", "0.05"), logarithm = make("log", "paper", "0.05");
    const qsr_param a = param_of(&raw), b = param_of(&logarithm);
    assert_string_equal(a.name, "threshold");
    assert_string_equal(a.log_update, "threshold_update");
    assert_string_equal(b.name, "log_threshold");
    assert_string_equal(b.log_update, "log_threshold_update");
    assert_true(a.lower == 0 && isinf(a.upper) && isinf(b.lower) && b.lower < 0 && isinf(b.upper));
    assert_true(a.value[WIDTH - 1] == 0.1f && b.value[0] == (float)log(0.1));
    fake_unmake(&raw);
    fake_unmake(&logarithm);
}

static void a_start_without_logarithm_is_refused(void **state)
{
    (void)state;
    const qsr_plugin *plugin = fake_plugin("activations", "jumprelu");
    fake_refuse(plugin, &shape, fake_options(plugin, "parametrization", "log", "init_threshold", "0", NULL), QSR_E_OPTION,
                "init_threshold", "init_threshold=0 has no logarithm: choose a value above 0, or parametrization raw");
    fake_made raw = fake_make(plugin, &shape, fake_options(plugin, "init_threshold", "0", NULL));
    fake_unmake(&raw);
}

static void thresholds_are_converted_to_the_parametrization(void **state)
{
    (void)state;
    fake_made raw = make("raw", "paper", "0.05"), logarithm = make("log", "paper", "0.05");
    const qsr_export_ops *ops = raw.plugin->extension(QSR_EXT_EXPORT);
    float theta[WIDTH], log_theta[WIDTH];
    for (size_t j = 0; j < WIDTH; j++) theta[j] = 0.25f * (float)(j + 1), log_theta[j] = (float)log(theta[j]);
    fake_made *made[] = {&raw, &logarithm};
    for (size_t i = 0; i < 2; i++) {
        for (int from_log = 0; from_log < 2; from_log++) {
            assert_int_equal(ops->import(made[i]->instance, from_log ? "log_threshold" : "threshold",
                                         from_log ? log_theta : theta, WIDTH),
                             QSR_OK);
            qsr_export_tensor tensor;
            assert_int_equal(ops->tensor(made[i]->instance, 0, &tensor), QSR_OK);
            assert_string_equal(tensor.name, "threshold");
            for (size_t j = 0; j < WIDTH; j++)
                assert_close(tensor.data[j], theta[j], 1e-6); /* one log and exp in float32 */
            assert_int_equal(ops->tensor(made[i]->instance, 1, &tensor), QSR_END);
        }
        qsr_selection selection;
        const qsr_selector_ops *selector = made[i]->plugin->extension(QSR_EXT_SELECTOR);
        assert_int_equal(selector->get(made[i]->instance, QSR_EVAL, &selection), QSR_OK);
        assert_int_equal(selection.rule, QSR_SELECT_ABOVE);
        assert_close(selection.threshold[3], 1, 1e-6);
        assert_true(selection.edge == NULL);
        assert_int_equal(selector->get(made[i]->instance, QSR_TRAIN, &selection), QSR_OK);
        assert_close(selection.threshold[3], 1, 1e-6);
        assert_close(selection.edge[3], 1 - 0.025, 1e-6);
    }
    assert_string_equal(ops->architecture(raw.instance), "jumprelu");
    assert_int_equal(ops->import(raw.instance, "b_enc", theta, WIDTH), QSR_END);
    fake_unmake(&raw);
    fake_unmake(&logarithm);
}

static void thresholds_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    fake_made raw = make("raw", "paper", "0.05"), logarithm = make("log", "paper", "0.05");
    const qsr_export_ops *ops = raw.plugin->extension(QSR_EXT_EXPORT);
    float values[WIDTH] = {1, 1, 0, 1, 1, 1, 1, 1, 1};
    assert_int_equal(ops->import(raw.instance, "threshold", values, 4), QSR_E_INPUT);
    assert_string_equal(raw.host->error, "threshold has 4 values, d_sae=9 are needed");
    assert_int_equal(ops->import(raw.instance, "threshold", values, WIDTH), QSR_OK);
    assert_int_equal(ops->import(logarithm.instance, "threshold", values, WIDTH), QSR_E_INPUT);
    assert_string_equal(logarithm.host->error,
                        "threshold is 0 at latent 2, which parametrization log cannot hold: it needs thresholds above 0");
    assert_true(param_of(&logarithm).value[0] == (float)log(0.1)); /* nothing was changed */
    values[2] = -1;
    assert_int_equal(ops->import(raw.instance, "threshold", values, WIDTH), QSR_E_INPUT);
    assert_string_equal(
        raw.host->error,
        "threshold is -1 at latent 2, which parametrization raw cannot hold: it needs thresholds of 0 or more");
    values[2] = 100; /* e^100 is no float */
    assert_int_equal(ops->import(raw.instance, "log_threshold", values, WIDTH), QSR_E_INPUT);
    assert_string_equal(raw.host->error, "log_threshold is 100 at latent 2, which parametrization raw cannot hold");
    values[2] = NAN;
    assert_int_equal(ops->import(logarithm.instance, "log_threshold", values, WIDTH), QSR_E_INPUT);
    fake_unmake(&raw);
    fake_unmake(&logarithm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_follow_the_formulas_of_both_forms),
        cmocka_unit_test(a_threshold_of_zero_is_relu),
        cmocka_unit_test(evaluation_holds_active_latents_only),
        cmocka_unit_test(parameters_start_at_the_threshold_asked_for),
        cmocka_unit_test(a_start_without_logarithm_is_refused),
        cmocka_unit_test(thresholds_are_converted_to_the_parametrization),
        cmocka_unit_test(thresholds_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Losses: values against the formulas in double, gradients by central differences of those formulas. */
#include "../unit.h"

#include "../fake_host.h"

enum { ROWS = 6, D_IN = 70, D_SAE = 40, BATCH = 9 }; /* a batch of which the first ROWS rows are one block */

static const qsr_shape shape = {
    .struct_size = sizeof shape, .d_in = D_IN, .d_sae = D_SAE, .batch_rows = BATCH, .has_surrogate = 1, .dead_after = 1000};

/* ---- a block of rows, in double for the formulas ---- */

struct block {
    double x[BATCH * D_IN], xhat[BATCH * D_IN], b_dec[D_IN], norm[D_SAE];
    double value[ROWS * D_SAE];
    qsr_code *code;
};

static struct block *block_create(void)
{
    struct block *b = calloc(1, sizeof *b);
    assert_non_null(b);
    for (size_t i = 0; i < BATCH * D_IN; i++) b->x[i] = (float)fake_normal(1, i), b->xhat[i] = (float)fake_normal(2, i);
    for (size_t i = 0; i < D_IN; i++) b->b_dec[i] = (float)fake_normal(3, i);
    for (size_t j = 0; j < D_SAE; j++) b->norm[j] = (float)(0.5 + fake_uniform(4, j));
    b->code = fake_code_create(ROWS, D_SAE, 0);
    size_t n = 0;
    for (size_t r = 0; r < ROWS; r++) { /* row 2 is empty, row 4 holds value 0 only, others both */
        for (size_t j = 0; j < D_SAE; j++) {
            if (r == 2 || fake_uniform(5, r * D_SAE + j) < 0.5) continue;
            b->code->latent[n] = (uint32_t)j;
            b->value[n] = r == 4 || j % 5 == 0 ? 0 : (float)(0.1 + fake_uniform(6, n));
            b->code->value[n] = (float)b->value[n];
            n++;
        }
        b->code->row_begin[r + 1] = n;
    }
    return b;
}

static void block_free(struct block *b)
{
    fake_code_free(b->code);
    free(b);
}

static size_t entries(const struct block *b) { return b->code->row_begin[ROWS]; }

/* What rows() gave; gradients start at 1/8 to show that they are added. */
struct result {
    double value;
    float d_xhat[ROWS * D_IN], d_value[ROWS * D_SAE], d_active[ROWS * D_SAE], d_norm[ROWS * D_SAE];
};

static const double START = 0.125;

static void floats(const double *from, size_t n, float *to)
{
    for (size_t i = 0; i < n; i++) to[i] = (float)from[i];
}

static struct result run(fake_made *made, const struct block *b, const qsr_view *view)
{
    const qsr_loss_ops *ops = made->ops;
    struct result result;
    float x[ROWS * D_IN], xhat[ROWS * D_IN], b_dec[D_IN], norm[D_SAE];
    floats(b->x, ROWS * D_IN, x), floats(b->xhat, ROWS * D_IN, xhat), floats(b->b_dec, D_IN, b_dec),
        floats(b->norm, D_SAE, norm);
    for (size_t i = 0; i < ROWS * D_IN; i++) result.d_xhat[i] = (float)START;
    for (size_t i = 0; i < ROWS * D_SAE; i++) result.d_value[i] = result.d_active[i] = result.d_norm[i] = (float)START;
    const uint64_t needs = ops->needs ? ops->needs(made->instance) : made->plugin->needs;
    const uint64_t traits = ops->traits ? ops->traits(made->instance) : 0;
    const bool all = !(traits & QSR_LOSS_VIEW_ONLY);
    const qsr_loss_rows in = {.struct_size = sizeof in,
                              .rows = ROWS,
                              .d_in = D_IN,
                              .d_sae = D_SAE,
                              .batch_rows = BATCH,
                              .x = x,
                              .xhat = xhat,
                              .code = all ? b->code : NULL,
                              .dec_norm = needs & QSR_NEED_DEC_NORM ? norm : NULL,
                              .b_dec = needs & QSR_NEED_B_DEC ? b_dec : NULL,
                              .view = view};
    qsr_loss_grads grads = {.struct_size = sizeof grads,
                            .d_xhat = all ? result.d_xhat : NULL,
                            .d_value = all ? result.d_value : NULL,
                            .d_active = all ? result.d_active : NULL,
                            .d_norm = needs & QSR_NEED_D_NORM ? result.d_norm : NULL};
    assert_int_equal(ops->rows(made->instance, &in, &grads, &result.value), QSR_OK);
    fake_host_end_call(made->host);
    return result;
}

typedef double (*formula)(const struct block *, const void *arg);

/* Central differences of the formula by each variable[0..n); quadratic formulas are exact up to double rounding. */
static void assert_gradient(const struct block *b, formula value, const void *arg, double *variable, size_t n,
                            const float *gradient)
{
    const double h = 1e-4;
    for (size_t i = 0; i < n; i++) {
        const double at = variable[i];
        variable[i] = at + h;
        const double up = value(b, arg);
        variable[i] = at - h;
        const double down = value(b, arg);
        variable[i] = at;
        assert_close(gradient[i] - START, (up - down) / (2 * h), 1e-7); /* float32 next to 1/8: 1.5e-8, a few times; h^2 */
    }
}

static void assert_untouched(const float *gradient, size_t n)
{
    for (size_t i = 0; i < n; i++) assert_true(gradient[i] == (float)START);
}

static fake_made make(const char *name, void *options) { return fake_make(fake_plugin("losses", name), &shape, options); }

/* ---- mse, l1, l0 ---- */

static double mse_formula(const struct block *b, const void *coeff)
{
    double sum = 0;
    for (size_t i = 0; i < ROWS * D_IN; i++) sum += (b->xhat[i] - b->x[i]) * (b->xhat[i] - b->x[i]);
    return *(const double *)coeff * sum / (BATCH * D_IN);
}

static void mse_is_the_mean_square_and_its_gradient(void **state)
{
    (void)state;
    static const double coeffs[] = {1, 0.75};
    for (size_t i = 0; i < 2; i++) {
        const qsr_plugin *plugin = fake_plugin("losses", "mse");
        fake_made made = make("mse", i ? fake_options(plugin, "coeff", "3/4", NULL) : fake_options(plugin, NULL));
        struct block *b = block_create();
        const struct result r = run(&made, b, NULL);
        assert_close(r.value, mse_formula(b, &coeffs[i]), 1e-13);
        assert_gradient(b, mse_formula, &coeffs[i], b->xhat, ROWS * D_IN, r.d_xhat);
        assert_untouched(r.d_value, entries(b));
        assert_untouched(r.d_active, entries(b));
        block_free(b);
        fake_unmake(&made);
    }
}

static double l1_formula(const struct block *b, const void *coeff)
{
    double sum = 0;
    for (size_t i = 0; i < entries(b); i++) sum += fabs(b->value[i]);
    return *(const double *)coeff * sum / BATCH;
}

static void l1_is_the_mean_sum_and_its_gradient(void **state)
{
    (void)state;
    const double coeff = 0.02;
    fake_made made = make("l1", fake_options(fake_plugin("losses", "l1"), "coeff", "0.02", NULL));
    struct block *b = block_create();
    const struct result r = run(&made, b, NULL);
    assert_close(r.value, l1_formula(b, &coeff), 1e-13);
    assert_gradient(b, l1_formula, &coeff, b->value, entries(b), r.d_value); /* at 0 both sides give 0 */
    assert_untouched(r.d_xhat, ROWS * D_IN);
    block_free(b);
    fake_unmake(&made);
}

static void l0_counts_and_sends_its_gradient_to_the_whole_support(void **state)
{
    (void)state;
    fake_made made = make("l0", fake_options(fake_plugin("losses", "l0"), "coeff", "0.5", NULL));
    struct block *b = block_create();
    const struct result r = run(&made, b, NULL);
    size_t active = 0;
    for (size_t i = 0; i < entries(b); i++) {
        active += b->value[i] != 0;
        assert_close(r.d_active[i] - START, 0.5 / BATCH, 1e-6);
    }
    assert_true(active > 0 && active < entries(b));
    assert_close(r.value, 0.5 * (double)active / BATCH, 1e-13);
    assert_untouched(r.d_value, entries(b));
    assert_untouched(r.d_xhat, ROWS * D_IN);
    block_free(b);
    fake_unmake(&made);
}

static void l0_refuses_activations_without_a_surrogate(void **state)
{
    (void)state;
    const qsr_plugin *plugin = fake_plugin("losses", "l0");
    qsr_shape without = shape;
    without.has_surrogate = 0;
    fake_refuse(plugin, &without, fake_options(plugin, "coeff", "1", NULL), QSR_E_OPTION, "",
                "needs an activation with a surrogate gradient, such as jumprelu");
}

/* ---- afa ---- */

struct afa_form {
    double coeff;
    bool decoder, centred;
};

static double afa_formula(const struct block *b, const void *arg)
{
    const struct afa_form *form = arg;
    double total = 0;
    for (size_t r = 0; r < ROWS; r++) {
        double code = 0, target = 0;
        for (size_t i = b->code->row_begin[r]; i < b->code->row_begin[r + 1]; i++)
            code += pow(b->value[i] * (form->decoder ? b->norm[b->code->latent[i]] : 1), 2);
        for (size_t i = 0; i < D_IN; i++) target += pow(b->x[r * D_IN + i] - (form->centred ? b->b_dec[i] : 0), 2);
        total += pow(sqrt(code) - sqrt(target), 2);
    }
    return form->coeff * total / BATCH;
}

static void afa_in_all_forms_and_its_gradients(void **state)
{
    (void)state;
    for (int f = 0; f < 4; f++) {
        const struct afa_form form = {1.0 / 32, f & 1, f & 2};
        const qsr_plugin *plugin = fake_plugin("losses", "afa");
        fake_made made = make("afa", fake_options(plugin, "norm", form.decoder ? "decoder" : "plain", "target",
                                                  form.centred ? "centred" : "input", NULL));
        const qsr_loss_ops *ops = made.ops;
        const uint64_t needs = ops->needs(made.instance);
        assert_int_equal(needs & ~plugin->needs, 0);
        assert_int_equal(needs,
                         (form.decoder ? QSR_NEED_DEC_NORM | QSR_NEED_D_NORM : 0) | (form.centred ? QSR_NEED_B_DEC : 0));
        struct block *b = block_create();
        const struct result r = run(&made, b, NULL);
        assert_close(r.value, afa_formula(b, &form), 1e-13);
        /* an empty norm has no gradient, though the formula has a kink there: row 4 */
        const size_t kink = b->code->row_begin[4], after = b->code->row_begin[5];
        assert_true(after > kink);
        assert_gradient(b, afa_formula, &form, b->value, kink, r.d_value);
        assert_untouched(r.d_value + kink, after - kink);
        assert_gradient(b, afa_formula, &form, b->value + after, entries(b) - after, r.d_value + after);
        assert_untouched(r.d_xhat, ROWS * D_IN);
        float d_norm[D_SAE]; /* a latent's sum over its entries */
        for (size_t j = 0; j < D_SAE; j++) d_norm[j] = (float)START;
        for (size_t i = 0; i < entries(b); i++) d_norm[b->code->latent[i]] += r.d_norm[i] - (float)START;
        assert_gradient(b, afa_formula, &form, b->norm, D_SAE, d_norm); /* 0 with norm: plain */
        block_free(b);
        fake_unmake(&made);
    }
}

/* ---- auxk ---- */

/* A view over pre-activations and a decoder of its own; backward adds to d_decoder and, per latent of a row, to d_pre. */
struct fake_view {
    qsr_view view;
    double pre[ROWS * D_SAE], decoder[D_SAE * D_IN];
    float d_pre[ROWS * D_SAE], d_decoder[D_SAE * D_IN];
    qsr_code *code;
    size_t asked_k, asked_n;
};

static qsr_status view_encode_top(const qsr_view *view, const uint32_t *latents, size_t n, size_t k,
                                  const qsr_code **ret_code)
{
    struct fake_view *self = view->ctx;
    self->asked_n = n, self->asked_k = k;
    fake_code_free(self->code);
    self->code = fake_code_create(ROWS, D_SAE, 0);
    size_t m = 0;
    for (size_t r = 0; r < ROWS; r++) {
        const double *pre = self->pre + r * D_SAE;
        for (size_t a = 0; a < n; a++) {
            size_t better = 0;
            for (size_t c = 0; c < n; c++) better += pre[latents[c]] > pre[latents[a]];
            if (better >= k || pre[latents[a]] <= 0) continue;
            self->code->latent[m] = latents[a];
            self->code->value[m++] = (float)pre[latents[a]];
        }
        self->code->row_begin[r + 1] = m;
    }
    *ret_code = self->code;
    return QSR_OK;
}

static qsr_status view_decode(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias,
                              float *out)
{
    struct fake_view *self = view->ctx;
    assert_true(begin == 0 && end == D_SAE && !bias);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t d = 0; d < D_IN; d++) {
            double sum = 0;
            for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++)
                sum += code->value[i] * self->decoder[code->latent[i] * D_IN + d];
            out[r * D_IN + d] = (float)sum;
        }
    }
    return QSR_OK;
}

static qsr_status view_backward(const qsr_view *view, const qsr_code *code, uint32_t begin, uint32_t end, bool bias,
                                const float *d_out)
{
    struct fake_view *self = view->ctx;
    assert_true(begin == 0 && end == D_SAE && !bias);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++) {
            for (size_t d = 0; d < D_IN; d++) {
                const size_t place = code->latent[i] * D_IN + d;
                self->d_decoder[place] += code->value[i] * d_out[r * D_IN + d];
                self->d_pre[r * D_SAE + code->latent[i]] += (float)(self->decoder[place] * d_out[r * D_IN + d]);
            }
        }
    }
    return QSR_OK;
}

static struct fake_view *view_create(void)
{
    struct fake_view *v = calloc(1, sizeof *v);
    assert_non_null(v);
    v->view = (qsr_view){.struct_size = sizeof v->view,
                         .ctx = v,
                         .encode_top = view_encode_top,
                         .decode = view_decode,
                         .backward = view_backward};
    for (size_t i = 0; i < ROWS * D_SAE; i++) v->pre[i] = (float)fake_normal(11, i), v->d_pre[i] = (float)START;
    for (size_t i = 0; i < D_SAE * D_IN; i++)
        v->decoder[i] = (float)(0.1 * fake_normal(12, i)), v->d_decoder[i] = (float)START;
    return v;
}

static void view_free(struct fake_view *v)
{
    fake_code_free(v->code);
    free(v);
}

struct auxk_form {
    struct fake_view *view;
    double coeff, denominator;
    uint64_t silent[D_SAE];
    uint64_t dead_after;
    size_t k;
};

/* The block's share, with the denominator as a constant. */
static double auxk_formula(const struct block *b, const void *arg)
{
    const struct auxk_form *form = arg;
    double total = 0;
    for (size_t r = 0; r < ROWS; r++) {
        const double *pre = form->view->pre + r * D_SAE;
        double ehat[D_IN] = {0};
        for (size_t j = 0; j < D_SAE; j++) {
            size_t better = 0;
            for (size_t c = 0; c < D_SAE; c++) better += form->silent[c] >= form->dead_after && pre[c] > pre[j];
            if (form->silent[j] < form->dead_after || better >= form->k || pre[j] <= 0) continue;
            for (size_t d = 0; d < D_IN; d++) ehat[d] += pre[j] * form->view->decoder[j * D_IN + d];
        }
        for (size_t d = 0; d < D_IN; d++) total += pow(ehat[d] - (b->x[r * D_IN + d] - b->xhat[r * D_IN + d]), 2);
    }
    return form->coeff * total / form->denominator;
}

static double variance_of_residual(const struct block *b)
{
    double sum = 0;
    for (size_t d = 0; d < D_IN; d++) {
        double mean = 0;
        for (size_t r = 0; r < BATCH; r++) mean += (b->x[r * D_IN + d] - b->xhat[r * D_IN + d]) / BATCH;
        for (size_t r = 0; r < BATCH; r++) sum += pow(b->x[r * D_IN + d] - b->xhat[r * D_IN + d] - mean, 2);
    }
    return sum;
}

static qsr_status run_batch(fake_made *made, const struct block *b, const uint64_t *silent)
{
    const qsr_loss_ops *ops = made->ops;
    float x[BATCH * D_IN], xhat[BATCH * D_IN];
    floats(b->x, BATCH * D_IN, x), floats(b->xhat, BATCH * D_IN, xhat);
    const qsr_loss_batch in = {
        .struct_size = sizeof in, .rows = BATCH, .d_in = D_IN, .d_sae = D_SAE, .x = x, .xhat = xhat, .silent = silent};
    const qsr_status status = ops->batch(made->instance, &in);
    fake_host_end_call(made->host);
    return status;
}

static void auxk_in_all_forms_and_its_gradients(void **state)
{
    (void)state;
    const qsr_plugin *plugin = fake_plugin("losses", "auxk");
    for (int f = 0; f < 4; f++) {
        const bool detach = f & 1, variance = f & 2;
        fake_made made =
            make("auxk", fake_options(plugin, "coeff", "1/4", "k", "3", "dead_after", "500", "detach_residual",
                                      detach ? "true" : "false", "normalize", variance ? "variance" : "none", NULL));
        const qsr_loss_ops *ops = made.ops;
        assert_int_equal(ops->traits(made.instance), QSR_LOSS_AFTER_BATCH | (detach ? QSR_LOSS_VIEW_ONLY : 0));
        struct block *b = block_create();
        struct auxk_form form = {.view = view_create(), .coeff = 0.25, .dead_after = 500, .k = 3};
        for (size_t j = 0; j < D_SAE; j++) form.silent[j] = j % 4 == 0 ? 500 + j : 499 - j; /* 500 itself is dead */
        form.denominator = variance ? variance_of_residual(b) : BATCH * D_IN;
        assert_int_equal(run_batch(&made, b, form.silent), QSR_OK);
        const struct result r = run(&made, b, &form.view->view);
        assert_close(r.value, auxk_formula(b, &form), 1e-7); /* ehat is float32 */
        assert_int_equal(form.view->asked_n, D_SAE / 4);
        assert_int_equal(form.view->asked_k, 3);
        assert_gradient(b, auxk_formula, &form, form.view->decoder, D_SAE * D_IN, form.view->d_decoder);
        assert_gradient(b, auxk_formula, &form, form.view->pre, ROWS * D_SAE, form.view->d_pre);
        if (detach)
            assert_untouched(r.d_xhat, ROWS * D_IN);
        else
            assert_gradient(b, auxk_formula, &form, b->xhat, ROWS * D_IN, r.d_xhat);
        assert_untouched(r.d_value, entries(b));
        view_free(form.view);
        block_free(b);
        fake_unmake(&made);
    }
}

static void auxk_defaults_come_from_the_shape(void **state)
{
    (void)state;
    fake_made made = make("auxk", fake_options(fake_plugin("losses", "auxk"), NULL));
    struct block *b = block_create();
    struct fake_view *view = view_create();
    uint64_t silent[D_SAE] = {0};
    silent[7] = 999;
    assert_int_equal(run_batch(&made, b, silent), QSR_END); /* dead_after 1000 */
    for (size_t j = 0; j < D_SAE; j++) silent[j] = 1000;
    assert_int_equal(run_batch(&made, b, silent), QSR_OK);
    run(&made, b, &view->view);
    assert_int_equal(view->asked_k, D_IN / 2);
    for (size_t j = 0; j < D_SAE; j++) silent[j] = j < 5 ? 1000 : 0; /* fewer dead than k */
    assert_int_equal(run_batch(&made, b, silent), QSR_OK);
    run(&made, b, &view->view);
    assert_int_equal(view->asked_k, 5);
    assert_int_equal(view->asked_n, 5);
    view_free(view);
    block_free(b);
    fake_unmake(&made);
}

static void auxk_is_zero_when_nothing_is_dead_or_nothing_is_left(void **state)
{
    (void)state;
    fake_made made = make("auxk", fake_options(fake_plugin("losses", "auxk"), NULL));
    struct block *b = block_create();
    uint64_t silent[D_SAE] = {0};
    assert_int_equal(run_batch(&made, b, silent), QSR_END);
    for (size_t j = 0; j < D_SAE; j++) silent[j] = UINT64_MAX;
    assert_int_equal(run_batch(&made, b, silent), QSR_OK);
    memcpy(b->xhat, b->x, sizeof b->x); /* no residual */
    assert_int_equal(run_batch(&made, b, silent), QSR_END);
    for (size_t i = 0; i < BATCH * D_IN; i++) b->x[i] = 2, b->xhat[i] = 0.5; /* one that all rows share */
    assert_int_equal(run_batch(&made, b, silent), QSR_END);
    block_free(b);
    fake_unmake(&made);
}

/* ---- all ---- */

static void create_survives_refused_memory(void **state)
{
    (void)state;
    static const char *const names[] = {"mse", "l1", "l0", "afa", "auxk"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const qsr_plugin *plugin = fake_plugin("losses", names[i]);
        void *options = fake_options(plugin, "coeff", "1", NULL);
        size_t refused = 0;
        for (bool done = false; !done;) {
            fake_host *host = fake_host_create();
            qsr_instance *instance = NULL;
            host->refuse_alloc = ++refused;
            const qsr_status status = plugin->create(&host->host, &shape, options, &instance);
            done = host->allocs < refused;
            assert_int_equal(status, done ? QSR_OK : QSR_E_NOMEM);
            fake_host_free(host);
        }
        assert_true(refused > 1);
        free(options);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mse_is_the_mean_square_and_its_gradient),
        cmocka_unit_test(l1_is_the_mean_sum_and_its_gradient),
        cmocka_unit_test(l0_counts_and_sends_its_gradient_to_the_whole_support),
        cmocka_unit_test(l0_refuses_activations_without_a_surrogate),
        cmocka_unit_test(afa_in_all_forms_and_its_gradients),
        cmocka_unit_test(auxk_in_all_forms_and_its_gradients),
        cmocka_unit_test(auxk_defaults_come_from_the_shape),
        cmocka_unit_test(auxk_is_zero_when_nothing_is_dead_or_nothing_is_left),
        cmocka_unit_test(create_survives_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

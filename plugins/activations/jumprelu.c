/* jumprelu: f = pre where pre > theta, a threshold learned per latent, and 0 elsewhere.
 *
 * The gradients towards theta are straight-through estimates with a rectangle kernel of width eps = bandwidth, K(u) = 1 on
 * |u| < 1/2, so latents within eps/2 of their threshold stay in the code, with value 0 where they are not active:
 *
 *     df/dpre = [pre > theta],                     d[f != 0]/dpre = 0,
 *     df/dtheta = -(theta/eps) K((pre - theta)/eps),   d[f != 0]/dtheta = -(1/eps) K((pre - theta)/eps),
 *
 * times theta where log theta is the parameter. That is `gradient: paper`. `gradient: released` is what the code of arXiv
 * 2503.24277 does: relu(pre) stands in the first kernel and f in the second, and the gradient towards theta goes to the
 * logarithm without the factor theta. So for theta > eps/2 only active latents count for [f != 0]; for a smaller theta every
 * latent that is off lies in the window, and the code holds all of them. */
#include <inttypes.h>
#include <math.h>
#include <quasar/plugin.h>
#include <string.h>

struct jumprelu_options {
    const char *parametrization, *gradient;
    double init_threshold, bandwidth;
};

struct qsr_instance {
    const qsr_host *host;
    const qsr_host_passes *passes; /* or NULL */
    const struct jumprelu_options *options;
    bool log, released;
    size_t d_sae;
    float *param; /* [d_sae] theta or log theta, which the host optimises */
    float *theta; /* [d_sae] theta for those who ask in serial calls */
    float *edge;  /* [d_sae] the same: where the window begins */
};

static float theta_of(const qsr_instance *self, size_t j)
{
    return self->log ? (float)exp(self->param[j]) : self->param[j];
}

/* ---- forward and backward ---- */

/* Whether an entry takes part in df/dtheta and in d[f != 0]/dtheta. */
static bool near(double z, double theta, double bandwidth) { return fabs(z - theta) < 0.5 * bandwidth; }

static double for_value(const qsr_instance *self, float pre) { return self->released && !(pre > 0) ? 0 : pre; }

static double for_active(const qsr_instance *self, float pre, float theta)
{
    return self->released && !(pre > theta) ? 0 : pre;
}

/* Below this no entry is active or in a window; one float below the exact edge, whose entries then have gradient 0. */
static float lower_edge(const qsr_instance *self, float theta)
{
    const double edge = theta - 0.5 * self->options->bandwidth;
    return self->released && edge < 0 ? -INFINITY : nextafterf((float)edge, -INFINITY);
}

/* Latents above a threshold each. An entry is written always and counted if it belongs, so at most d_sae come to be written. */
static size_t above(const qsr_instance *self, const float *pre, const float *threshold, size_t d_sae, uint32_t *latent, float *value)
{
    if (self->passes) return self->passes->above(self->host, pre, threshold, 0, d_sae, latent, value);
    size_t n = 0;
    for (size_t j = 0; j < d_sae; j++) {
        latent[n] = (uint32_t)j;
        value[n] = pre[j];
        n += pre[j] > threshold[j];
    }
    return n;
}

/* Training: active entries and those of the windows. */
static size_t append_window(const qsr_instance *self, const float *pre, const float *theta, const float *edge, size_t d_sae,
                            qsr_code *out, size_t n)
{
    const size_t end = n + above(self, pre, edge, d_sae, out->latent + n, out->plane[0] + n);
    for (; n < end; n++) out->value[n] = out->plane[0][n] > theta[out->latent[n]] ? out->plane[0][n] : 0;
    return end;
}

static size_t append_active(const qsr_instance *self, const float *pre, const float *theta, size_t d_sae, qsr_code *out, size_t n)
{
    const size_t count = above(self, pre, theta, d_sae, out->latent + n, out->value + n);
    if (out->plane[0]) memcpy(out->plane[0] + n, out->value + n, count * sizeof *out->value);
    return n + count;
}

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    float *theta = self->host->scratch(self->host, in->d_sae, 2 * sizeof *theta);
    if (!theta) return QSR_E_NOMEM;
    float *edge = theta + in->d_sae;
    for (size_t j = 0; j < in->d_sae; j++) theta[j] = theta_of(self, j);
    for (size_t j = 0; j < in->d_sae; j++) edge[j] = lower_edge(self, theta[j]);
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        n = in->mode == QSR_EVAL ? append_active(self, pre, theta, in->d_sae, out, n)
                                 : append_window(self, pre, theta, edge, in->d_sae, out, n);
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

static qsr_status backward(const qsr_instance *self, const qsr_rows *in, const qsr_code *code, qsr_entry_grads *grads)
{
    const double bandwidth = self->options->bandwidth;
    for (size_t i = code->row_begin[0]; i < code->row_begin[in->rows]; i++) {
        const float pre = code->plane[0][i], theta = theta_of(self, code->latent[i]);
        double d_theta = 0;
        if (near(for_value(self, pre), theta, bandwidth)) d_theta -= theta / bandwidth * grads->d_value[i];
        if (grads->d_active && near(for_active(self, pre, theta), theta, bandwidth))
            d_theta -= grads->d_active[i] / bandwidth;
        grads->d_pre[i] = pre > theta ? grads->d_value[i] : 0;
        grads->d_param[0][i] = (float)(self->log && !self->released ? theta * d_theta : d_theta);
    }
    return QSR_OK;
}

/* ---- extensions ---- */

static qsr_status param_get(qsr_instance *self, uint32_t index, qsr_param *ret_param)
{
    (void)index;
    *ret_param = (qsr_param){.struct_size = sizeof *ret_param,
                             .name = self->log ? "log_threshold" : "threshold",
                             .value = self->param,
                             .lower = self->log ? -INFINITY : 0,
                             .upper = INFINITY,
                             .log_update = self->log ? "log_threshold_update" : "threshold_update"};
    return QSR_OK;
}

/* In training the code also holds the window. */
static qsr_status selection(const qsr_instance *self, uint32_t mode, qsr_selection *ret_selection)
{
    for (size_t j = 0; j < self->d_sae; j++) self->theta[j] = theta_of(self, j);
    for (size_t j = 0; j < self->d_sae; j++) self->edge[j] = lower_edge(self, self->theta[j]);
    *ret_selection = (qsr_selection){.struct_size = sizeof(qsr_selection),
                                     .rule = QSR_SELECT_ABOVE,
                                     .threshold = self->theta,
                                     .edge = mode == QSR_TRAIN ? self->edge : NULL};
    return QSR_OK;
}

static const char *architecture(const qsr_instance *self)
{
    (void)self;
    return "jumprelu";
}

static qsr_status export_tensor(qsr_instance *self, uint32_t index, qsr_export_tensor *ret_tensor)
{
    if (index) return QSR_END;
    for (size_t j = 0; j < self->d_sae; j++) self->theta[j] = theta_of(self, j);
    *ret_tensor = (qsr_export_tensor){.name = "threshold", .data = self->theta};
    return QSR_OK;
}

/* The parameter for a value of a file that holds theta or log theta; NaN where there is none. */
static float converted(const qsr_instance *self, bool from_log, float value)
{
    const double theta = from_log ? exp(value) : value;
    const float param = from_log == self->log ? value : (float)(self->log ? log(theta) : theta);
    return theta >= 0 && isfinite(theta) && isfinite(param) ? param : NAN;
}

static qsr_status import_tensor(qsr_instance *self, const char *name, const float *data, size_t n)
{
    const qsr_host *host = self->host;
    const bool from_log = !strcmp(name, "log_threshold");
    if (!from_log && strcmp(name, "threshold") != 0) return QSR_END;
    if (n != self->d_sae)
        return host->fail(host, QSR_E_INPUT, NULL, "%s has %zu values, d_sae=%zu are needed", name, n, self->d_sae);
    for (size_t j = 0; j < n; j++)
        if (isnan(converted(self, from_log, data[j])))
            return host->fail(host, QSR_E_INPUT, NULL, "%s is %g at latent %zu, which parametrization %s cannot hold%s",
                              name, data[j], j, self->options->parametrization,
                              from_log    ? ""
                              : self->log ? ": it needs thresholds above 0"
                                          : ": it needs thresholds of 0 or more");
    for (size_t j = 0; j < n; j++) self->param[j] = converted(self, from_log, data[j]);
    return QSR_OK;
}

static const void *extension(const char *id)
{
    static const qsr_params_ops params = {.struct_size = sizeof params, .count = 1, .get = param_get};
    static const qsr_selector_ops selector = {.struct_size = sizeof selector, .get = selection};
    static const qsr_export_ops export_ops = {.struct_size = sizeof export_ops,
                                              .architecture = architecture,
                                              .tensor = export_tensor,
                                              .import = import_tensor};
    if (!strcmp(id, QSR_EXT_PARAMS)) return &params;
    if (!strcmp(id, QSR_EXT_SELECTOR)) return &selector;
    if (!strcmp(id, QSR_EXT_EXPORT)) return &export_ops;
    return NULL;
}

/* ---- the plugin ---- */

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    const struct jumprelu_options *o = options;
    const bool log_theta = !strcmp(o->parametrization, "log");
    if (log_theta && !(o->init_threshold > 0))
        return host->fail(host, QSR_E_OPTION, "init_threshold",
                          "init_threshold=%g has no logarithm: choose a value above 0, or parametrization raw",
                          o->init_threshold);
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    float *vectors = self ? host->alloc(host, shape->d_sae, 3 * sizeof *vectors) : NULL;
    if (!vectors) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host,
                           .passes = host->extension(host, QSR_HOST_PASSES),
                           .options = o,
                           .log = log_theta,
                           .released = !strcmp(o->gradient, "released"),
                           .d_sae = shape->d_sae,
                           .param = vectors,
                           .theta = vectors + shape->d_sae,
                           .edge = vectors + 2 * shape->d_sae};
    const float start = (float)(log_theta ? log(o->init_threshold) : o->init_threshold);
    for (size_t j = 0; j < shape->d_sae; j++) self->param[j] = start;
    *ret_instance = self;
    return QSR_OK;
}

static const char *const parametrizations[] = {"raw", "log", NULL};
static const char *const gradients[] = {"paper", "released", NULL};

static const qsr_option options_table[] = {
    QSR_OPT(struct jumprelu_options, parametrization,
            .help = "what is learned: the threshold itself, kept at 0 or above, or its logarithm, which Adam hardly moves",
            .cite = "log: Rajamanoharan et al. 2024, arXiv 2407.14435, appendix J; raw: SAELens issue 494", .def = "raw",
            .choices = parametrizations),
    QSR_OPT(
        struct jumprelu_options, gradient,
        .help =
            "the estimate's form: as in the paper, or as in released code (relu(pre) in place of pre, no factor theta for "
            "the logarithm, l0's step taken of f)",
        .cite = "paper: Rajamanoharan et al. 2024, arXiv 2407.14435, section 3; released: code of arXiv 2503.24277",
        .def = "paper", .choices = gradients),
    QSR_OPT(struct jumprelu_options, init_threshold, .help = "threshold of every latent at the start; above 0 for log",
            .unit = "units of pre-activations", .cite = "Rajamanoharan et al. 2024, arXiv 2407.14435, appendix J",
            .flags = QSR_OPT_RANGE, .min = 0, .max = 1e6, .def = "0.1"),
    QSR_OPT(struct jumprelu_options, bandwidth,
            .help = "width of the kernel: latents within half of it around their threshold give it a gradient",
            .unit = "units of pre-activations", .cite = "Rajamanoharan et al. 2024, arXiv 2407.14435, section 3",
            .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN | QSR_OPT_SCHEDULE, .min = 0, .max = 1e6, .def = "0.05"),
};

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .planes = 1, .forward = forward, .backward = backward};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "jumprelu",
    .version = "1",
    .summary = "pre-activations above a threshold learned per latent",
    .cite = "Rajamanoharan et al. 2024, arXiv 2407.14435",
    .caps = QSR_CAP_ENCODER_BIAS | QSR_CAP_SURROGATE | QSR_CAP_GRAD_SURROGATE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct jumprelu_options),
    .create = create,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

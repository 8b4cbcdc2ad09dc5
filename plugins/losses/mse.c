/* mse: coeff times the mean over rows and dimensions of (xhat - x)^2. */
#include <quasar/plugin.h>

struct mse_options {
    double coeff;
};

struct qsr_instance {
    const struct mse_options *options;
};

enum { LANES = 8 }; /* independent sums, added up in one fixed order at the end */

static double add_lanes(const double lane[LANES])
{
    double sum = 0;
    for (int l = 0; l < LANES; l++) sum += lane[l];
    return sum;
}

/* Adds factor * (xhat - x) to d_xhat and returns the sum of (xhat - x)^2. */
static double squares(const float *restrict x, const float *restrict xhat, size_t n, double factor, float *restrict d_xhat)
{
    double lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            const double e = (double)xhat[i + l] - x[i + l];
            lane[l] += e * e;
            d_xhat[i + l] += (float)(factor * e);
        }
    }
    for (size_t l = 0; i < n; i++, l++) {
        const double e = (double)xhat[i] - x[i];
        lane[l] += e * e;
        d_xhat[i] += (float)(factor * e);
    }
    return add_lanes(lane);
}

static qsr_status rows(const qsr_instance *self, const qsr_loss_rows *in, qsr_loss_grads *grads, double *ret_value)
{
    const double scale = self->options->coeff / ((double)in->batch_rows * (double)in->d_in);
    *ret_value = scale * squares(in->x, in->xhat, in->rows * in->d_in, 2 * scale, grads->d_xhat);
    return QSR_OK;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    self->options = options;
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(struct mse_options, coeff, .help = "weight of the reconstruction error",
            .cite = "Bricken et al. 2023, Towards Monosemanticity", .flags = QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0,
            .max = 1e12, .def = "1"),
};

static const qsr_loss_ops ops = {.struct_size = sizeof ops, .rows = rows};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_LOSS),
    .name = "mse",
    .version = "1",
    .summary = "mean squared reconstruction error, over rows and dimensions",
    .cite = "Bricken et al. 2023, Towards Monosemanticity",
    .caps = QSR_CAP_GRAD_EXACT,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct mse_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

/* l0: coeff times the mean number of active latents per row. The count has no derivative, so the activation must offer a
 * surrogate: the gradient goes to [f != 0] of every entry of the support, also of those with value 0. */
#include <quasar/plugin.h>

struct l0_options {
    double coeff;
};

struct qsr_instance {
    const struct l0_options *options;
};

static qsr_status rows(const qsr_instance *self, const qsr_loss_rows *in, qsr_loss_grads *grads, double *ret_value)
{
    const double scale = self->options->coeff / (double)in->batch_rows;
    const float *f = in->code->value;
    size_t active = 0;
    for (size_t i = in->code->row_begin[0]; i < in->code->row_begin[in->rows]; i++) {
        active += f[i] != 0;
        grads->d_active[i] += (float)scale;
    }
    *ret_value = scale * (double)active;
    return QSR_OK;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    if (!shape->has_surrogate)
        return host->fail(host, QSR_E_OPTION, NULL, "needs an activation with a surrogate gradient, such as jumprelu");
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    self->options = options;
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(struct l0_options, coeff, .help = "weight of the mean number of active latents per row; larger is sparser",
            .cite = "Rajamanoharan et al. 2024, arXiv 2407.14435, section 3",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0, .max = 1e12),
};

static const qsr_loss_ops ops = {.struct_size = sizeof ops, .rows = rows};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_LOSS),
    .name = "l0",
    .version = "1",
    .summary = "mean number of active latents per row; needs an activation with a surrogate gradient",
    .cite = "Rajamanoharan et al. 2024, arXiv 2407.14435",
    .caps = QSR_CAP_GRAD_SURROGATE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct l0_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

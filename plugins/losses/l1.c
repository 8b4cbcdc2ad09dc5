/* l1: coeff times the mean over rows of sum |f|, the sparsity penalty of relu autoencoders. Its gradient at f = 0 is 0. */
#include <math.h>
#include <quasar/plugin.h>

struct l1_options {
    double coeff;
};

struct qsr_instance {
    const struct l1_options *options;
};

/* Adds the gradient of scale * sum |f| and returns the sum, which is taken in PARTS, so that no addition waits for the one before. */
enum { PARTS = 8 };

static double add_gradient(const float *f, size_t n, double scale, float *d_value)
{
    const float up = (float)scale, down = -up;
    double part[PARTS] = {0}, sum = 0;
    size_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (size_t p = 0; p < PARTS; p++) {
            part[p] += fabs((double)f[i + p]);
            d_value[i + p] += f[i + p] > 0 ? up : f[i + p] < 0 ? down : 0;
        }
    for (size_t p = 0; i < n; i++, p++) {
        part[p] += fabs((double)f[i]);
        d_value[i] += f[i] > 0 ? up : f[i] < 0 ? down : 0;
    }
    for (size_t p = 0; p < PARTS; p++) sum += part[p];
    return sum;
}

static qsr_status rows(const qsr_instance *self, const qsr_loss_rows *in, qsr_loss_grads *grads, double *ret_value)
{
    const double scale = self->options->coeff / (double)in->batch_rows;
    const size_t begin = in->code->row_begin[0], n = in->code->row_begin[in->rows] - begin;
    *ret_value = scale * add_gradient(in->code->value + begin, n, scale, grads->d_value + begin);
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
    QSR_OPT(struct l1_options, coeff, .help = "weight of the mean over rows of the sum of |f|; larger is sparser",
            .cite = "Cunningham et al. 2023, arXiv 2309.08600",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0, .max = 1e12),
};

static const qsr_loss_ops ops = {.struct_size = sizeof ops, .rows = rows};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_LOSS),
    .name = "l1",
    .version = "1",
    .summary = "mean over rows of the sum of the activations",
    .cite = "Cunningham et al. 2023, arXiv 2309.08600; Bricken et al. 2023, Towards Monosemanticity",
    .caps = QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct l1_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

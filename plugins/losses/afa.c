/* afa: approximate feature activation, coeff times the mean over rows of (||f|| - target)^2. It draws the norm of the code to the
 * norm of the input, where quasi-orthogonal features put it.
 *
 * norm: plain takes f_j, decoder takes f_j ||W_dec,j||, whose gradient also goes to the decoder's row norms. target: input is
 * ||x||, centred ||x - b_dec||; the target is never differentiated, also not towards b_dec. Where ||f|| = 0 the gradient is 0. */
#include <math.h>
#include <quasar/plugin.h>
#include <string.h>

struct afa_options {
    double coeff;
    const char *norm, *target;
};

struct qsr_instance {
    const struct afa_options *options;
    bool decoder, centred;
};

static double target_norm(const float *x, const float *b_dec, size_t d_in)
{
    double sum = 0;
    for (size_t i = 0; i < d_in; i++) {
        const double v = b_dec ? (double)x[i] - b_dec[i] : x[i];
        sum += v * v;
    }
    return sqrt(sum);
}

/* The norm of a row's entries [begin, end), each times its decoder norm unless that is NULL. */
static double code_norm(const qsr_code *code, size_t begin, size_t end, const float *dec_norm)
{
    double sum = 0;
    for (size_t i = begin; i < end; i++) {
        const double v = dec_norm ? (double)code->value[i] * dec_norm[code->latent[i]] : code->value[i];
        sum += v * v;
    }
    return sqrt(sum);
}

/* Adds d ||f|| / d f_j = f_j w_j^2 / ||f|| and d ||f|| / d w_j = f_j^2 w_j / ||f||, both times d loss / d ||f||; w is
 * the decoder norm, or 1. */
static void add_gradient(const qsr_code *code, size_t begin, size_t end, const float *dec_norm, double factor_over_norm,
                         qsr_loss_grads *grads)
{
    for (size_t i = begin; i < end; i++) {
        const double f = code->value[i], w = dec_norm ? dec_norm[code->latent[i]] : 1;
        grads->d_value[i] += (float)(factor_over_norm * f * w * w);
        if (dec_norm) grads->d_norm[i] += (float)(factor_over_norm * f * f * w);
    }
}

static qsr_status rows(const qsr_instance *self, const qsr_loss_rows *in, qsr_loss_grads *grads, double *ret_value)
{
    const double scale = self->options->coeff / (double)in->batch_rows;
    const float *dec_norm = self->decoder ? in->dec_norm : NULL, *b_dec = self->centred ? in->b_dec : NULL;
    double sum = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const size_t begin = in->code->row_begin[r], end = in->code->row_begin[r + 1];
        const double norm = code_norm(in->code, begin, end, dec_norm);
        const double gap = norm - target_norm(in->x + r * in->d_in, b_dec, in->d_in);
        sum += gap * gap;
        if (norm > 0) add_gradient(in->code, begin, end, dec_norm, 2 * scale * gap / norm, grads);
    }
    *ret_value = scale * sum;
    return QSR_OK;
}

static uint64_t needs(const qsr_instance *self)
{
    return (self->decoder ? QSR_NEED_DEC_NORM | QSR_NEED_D_NORM : 0) | (self->centred ? QSR_NEED_B_DEC : 0);
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    const struct afa_options *o = options;
    *self = (qsr_instance){.options = o, .decoder = !strcmp(o->norm, "decoder"), .centred = !strcmp(o->target, "centred")};
    *ret_instance = self;
    return QSR_OK;
}

static const char *const norms[] = {"plain", "decoder", NULL};
static const char *const targets[] = {"input", "centred", NULL};

static const qsr_option options_table[] = {
    QSR_OPT(struct afa_options, coeff, .help = "weight of the squared gap between the norms of code and input",
            .cite = "arXiv 2503.24277", .flags = QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0, .max = 1e12, .def = "1/32"),
    QSR_OPT(struct afa_options, norm, .help = "norm of the code: of f as it is, or of f_j times the norm of decoder row j",
            .cite = "arXiv 2503.24277", .def = "plain", .choices = norms),
    QSR_OPT(struct afa_options, target, .help = "norm to reach: of the normalised input, or of the input minus b_dec",
            .cite = "arXiv 2503.24277", .def = "input", .choices = targets),
};

static const qsr_loss_ops ops = {.struct_size = sizeof ops, .rows = rows, .needs = needs};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_LOSS),
    .name = "afa",
    .version = "1",
    .summary = "squared gap between the norms of code and input, mean over rows",
    .cite = "arXiv 2503.24277",
    .needs = QSR_NEED_DEC_NORM | QSR_NEED_D_NORM | QSR_NEED_B_DEC,
    .caps = QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct afa_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

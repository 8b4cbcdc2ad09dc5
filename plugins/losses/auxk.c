/* auxk: lets dead latents explain what the others leave over. The k largest dead latents of each row, decoded without bias to
 * ehat, should match the residual e = x - xhat:
 *
 *     normalize: variance   coeff * sum (ehat - e)^2 / sum (e - ebar)^2 over the batch, ebar its mean, the denominator constant
 *     normalize: none       coeff * mean over rows and dimensions of (ehat - e)^2
 *
 * A latent is dead when it was silent for dead_after tokens or more, this batch included. Without dead latents, and with a
 * denominator of 0, there is nothing to add. detach_residual stops the gradient through e. */
#include <math.h>
#include <quasar/plugin.h>
#include <string.h>

struct auxk_options {
    double coeff;
    int64_t k;
    uint64_t dead_after;
    bool detach_residual;
    const char *normalize;
};

/* Columns of one chunk of the denominator: a compile-time constant, since the order of sums is part of the result. */
enum { COLUMNS = 32 };

struct qsr_instance {
    const qsr_host *host;
    const struct auxk_options *options;
    bool variance;
    size_t k;
    uint64_t dead_after;
    uint32_t *dead; /* [d_sae], the first n_dead in use: the dead latents of this batch, ascending */
    size_t n_dead;
    double denominator; /* of this batch */
    double *partial;    /* [ceil(d_in / COLUMNS)] its share of each chunk */
};

static uint64_t traits(const qsr_instance *self)
{
    return QSR_LOSS_AFTER_BATCH | (self->options->detach_residual ? QSR_LOSS_VIEW_ONLY : 0);
}

/* ---- once per batch: who is dead, and the denominator ---- */

struct spread {
    qsr_instance *self;
    const qsr_loss_batch *batch;
};

/* mean[width] and then the sums of (e - mean)^2 over all rows of some columns; inlined with a constant width for most chunks, where the
 * compiler takes several columns at once. */
static inline __attribute__((always_inline)) double spread_of(const qsr_loss_batch *in, size_t begin, size_t width)
{
    const size_t rows = in->rows, d = in->d_in;
    double mean[COLUMNS] = {0}, sum[COLUMNS] = {0}, total = 0;
    for (size_t r = 0; r < rows; r++) {
        const float *x = in->x + r * d + begin, *xhat = in->xhat + r * d + begin;
        for (size_t i = 0; i < width; i++) mean[i] += (double)x[i] - xhat[i];
    }
    for (size_t i = 0; i < width; i++) mean[i] /= (double)rows;
    for (size_t r = 0; r < rows; r++) {
        const float *x = in->x + r * d + begin, *xhat = in->xhat + r * d + begin;
        for (size_t i = 0; i < width; i++) {
            const double gap = (double)x[i] - xhat[i] - mean[i];
            sum[i] += gap * gap;
        }
    }
    for (size_t i = 0; i < width; i++) total += sum[i];
    return total;
}

static qsr_status spread_columns(void *arg, size_t begin, size_t end)
{
    const struct spread *s = arg;
    const size_t width = end - begin;
    s->self->partial[begin / COLUMNS] =
        width == COLUMNS ? spread_of(s->batch, begin, COLUMNS) : spread_of(s->batch, begin, width);
    return QSR_OK;
}

static qsr_status set_denominator(qsr_instance *self, const qsr_loss_batch *in)
{
    struct spread spread = {self, in};
    const qsr_status status = self->host->parallel_for(self->host, in->d_in, COLUMNS, spread_columns, &spread);
    if (status) return status;
    self->denominator = 0;
    for (size_t i = 0; i * COLUMNS < in->d_in; i++) self->denominator += self->partial[i];
    return QSR_OK;
}

/* Whoever is dead after the batch was silent in it, and would have been dead whatever the others did. */
static qsr_status outlook(const qsr_instance *self, qsr_loss_outlook *out)
{
    size_t n = 0;
    for (size_t j = 0; j < out->d_sae; j++) {
        const uint64_t silent = out->silent[j];
        out->latents[j] = silent >= self->dead_after || self->dead_after - silent <= out->rows;
        n += out->latents[j];
    }
    out->k = self->k < n ? self->k : n;
    return n ? QSR_OK : QSR_END;
}

static qsr_status batch(qsr_instance *self, const qsr_loss_batch *in)
{
    self->n_dead = 0;
    for (size_t j = 0; j < in->d_sae; j++) {
        self->dead[self->n_dead] = (uint32_t)j;
        self->n_dead += in->silent[j] >= self->dead_after;
    }
    if (!self->n_dead) return QSR_END;
    if (!self->variance) {
        self->denominator = (double)in->rows * (double)in->d_in;
        return QSR_OK;
    }
    const qsr_status status = set_denominator(self, in);
    return status ? status : self->denominator == 0 ? QSR_END : QSR_OK;
}

/* ---- a block of rows ---- */

/* ehat becomes the gradient 2 * scale * (ehat - e); returns the sum of (ehat - e)^2. */
static double compare(const qsr_loss_rows *in, double scale, float *ehat)
{
    double sum = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *x = in->x + r * in->d_in, *xhat = in->xhat + r * in->d_in;
        float *row = ehat + r * in->d_in;
        for (size_t i = 0; i < in->d_in; i++) {
            const double gap = row[i] - ((double)x[i] - xhat[i]);
            sum += gap * gap;
            row[i] = (float)(2 * scale * gap);
        }
    }
    return sum;
}

static qsr_status rows(const qsr_instance *self, const qsr_loss_rows *in, qsr_loss_grads *grads, double *ret_value)
{
    const size_t n = in->rows * in->d_in, k = self->k < self->n_dead ? self->k : self->n_dead;
    const double scale = self->options->coeff / self->denominator;
    float *ehat = self->host->scratch(self->host, n, sizeof *ehat);
    if (!ehat) return QSR_E_NOMEM;
    const qsr_code *code;
    qsr_status status = in->view->encode_top(in->view, self->dead, self->n_dead, k, &code);
    if (status) return status;
    status = in->view->decode(in->view, code, 0, (uint32_t)in->d_sae, false, ehat);
    if (status) return status;
    *ret_value = scale * compare(in, scale, ehat);
    if (!self->options->detach_residual) /* e = x - xhat: its two signs cancel */
        for (size_t i = 0; i < n; i++) grads->d_xhat[i] += ehat[i];
    return in->view->backward(in->view, code, 0, (uint32_t)in->d_sae, false, ehat);
}

/* ---- the plugin ---- */

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    const struct auxk_options *o = options;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host,
                           .options = o,
                           .variance = !strcmp(o->normalize, "variance"),
                           .k = o->k ? (size_t)o->k : shape->d_in / 2,
                           .dead_after = o->dead_after ? o->dead_after : shape->dead_after};
    if (!self->k) self->k = 1;
    self->dead = host->alloc(host, shape->d_sae, sizeof *self->dead);
    self->partial = host->alloc(host, shape->d_in / COLUMNS + 1, sizeof *self->partial);
    if (!self->dead || !self->partial) return QSR_E_NOMEM;
    *ret_instance = self;
    return QSR_OK;
}

static const char *const normalisations[] = {"variance", "none", NULL};

static const qsr_option options_table[] = {
    QSR_OPT(struct auxk_options, coeff, .help = "weight of the auxiliary error",
            .cite = "Gao et al. 2024, arXiv 2406.04093, section 2.4", .flags = QSR_OPT_RANGE | QSR_OPT_SCHEDULE, .min = 0,
            .max = 1e12, .def = "1/32"),
    QSR_OPT(struct auxk_options, k,
            .help = "how many dead latents each row takes at most; left out or 0: half of d_in, at least 1",
            .unit = "latents per row", .cite = "Gao et al. 2024, arXiv 2406.04093, appendix B.1",
            .flags = QSR_OPT_OPTIONAL | QSR_OPT_RANGE, .min = 0, .max = UINT32_MAX),
    QSR_OPT(struct auxk_options, dead_after,
            .help = "a latent is dead after this long without activation; left out or 0: train.dead_after",
            .unit = "tokens", .cite = "Gao et al. 2024, arXiv 2406.04093, section 2.4", .flags = QSR_OPT_OPTIONAL),
    QSR_OPT(struct auxk_options, detach_residual,
            .help = "stop the gradient through the residual, so that only dead latents are trained",
            .cite = "Gao et al. 2024, arXiv 2406.04093, section 2.4; false: code of arXiv 2503.24277", .def = "true"),
    QSR_OPT(struct auxk_options, normalize,
            .help = "divide by the batch's variance of the residual, or take the plain mean over rows and dimensions",
            .cite = "variance: code of arXiv 2406.04093; none: code of arXiv 2503.24277", .def = "variance",
            .choices = normalisations),
};

static const qsr_loss_ops ops = {.struct_size = sizeof ops, .traits = traits, .batch = batch, .rows = rows, .outlook = outlook};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_LOSS),
    .name = "auxk",
    .version = "1",
    .summary = "dead latents reconstruct the residual",
    .cite = "Gao et al. 2024, arXiv 2406.04093",
    .needs = QSR_NEED_SILENT,
    .caps = QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct auxk_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

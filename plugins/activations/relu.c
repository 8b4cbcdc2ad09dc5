/* relu: every positive pre-activation is a feature activation. Sparsity comes from a penalty (loss l1), so an encoder bias is
 * trained. Gradients pass unchanged through the kept entries, which is the host's default backward. */
#include <quasar/plugin.h>
#include <string.h>

struct qsr_instance {
    const qsr_host *host;
    const qsr_host_passes *passes; /* or NULL */
};

/* Written always, counted if positive: at most d_sae entries come to be written. */
static size_t positive(const float *pre, size_t d_sae, uint32_t *latent, float *value)
{
    size_t n = 0;
    for (size_t j = 0; j < d_sae; j++) {
        latent[n] = (uint32_t)j;
        value[n] = pre[j];
        n += pre[j] > 0;
    }
    return n;
}

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        n += self->passes ? self->passes->above(self->host, pre, NULL, 0, in->d_sae, out->latent + n, out->value + n)
                          : positive(pre, in->d_sae, out->latent + n, out->value + n);
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

static qsr_status selection(const qsr_instance *self, uint32_t mode, qsr_selection *ret_selection)
{
    (void)self;
    (void)mode;
    *ret_selection = (qsr_selection){.struct_size = sizeof(qsr_selection), .rule = QSR_SELECT_ABOVE};
    return QSR_OK;
}

static const char *architecture(const qsr_instance *self)
{
    (void)self;
    return "standard";
}

static const void *extension(const char *id)
{
    static const qsr_selector_ops selector = {.struct_size = sizeof selector, .get = selection};
    static const qsr_export_ops export_ops = {.struct_size = sizeof export_ops,
                                              .architecture = architecture};
    if (!strcmp(id, QSR_EXT_SELECTOR)) return &selector;
    if (!strcmp(id, QSR_EXT_EXPORT)) return &export_ops;
    return NULL;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    (void)shape;
    (void)options;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){host, host->extension(host, QSR_HOST_PASSES)};
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .forward = forward};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "relu",
    .version = "1",
    .summary = "all positive pre-activations",
    .cite = "Cunningham et al. 2023, arXiv 2309.08600; Bricken et al. 2023, Towards Monosemanticity",
    .caps = QSR_CAP_PRE_BIAS | QSR_CAP_ENCODER_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .create = create,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

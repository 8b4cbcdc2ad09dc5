/* topk: the k largest positive pre-activations of each row, ties to the smaller latent. Gradients pass unchanged through the
 * kept entries, which is the host's default backward. */
#include <inttypes.h>
#include <quasar/plugin.h>
#include <string.h>

struct topk_options {
    int64_t k;
};

struct qsr_instance {
    const qsr_host *host;
    size_t k;
};

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        const size_t end = n + self->host->select_largest(self->host, pre, in->d_sae, self->k, out->latent + n);
        for (; n < end; n++) out->value[n] = pre[out->latent[n]];
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

static qsr_status selection(const qsr_instance *self, uint32_t mode, qsr_selection *ret_selection)
{
    (void)mode;
    *ret_selection = (qsr_selection){.struct_size = sizeof(qsr_selection), .rule = QSR_SELECT_ROW, .k = self->k};
    return QSR_OK;
}

static const char *architecture(const qsr_instance *self)
{
    (void)self;
    return "topk";
}

static const char *export_key(const qsr_instance *self, uint32_t index, double *ret_value)
{
    if (index) return NULL;
    *ret_value = (double)self->k;
    return "k";
}

static const void *extension(const char *id)
{
    static const qsr_selector_ops selector = {.struct_size = sizeof selector, .get = selection};
    static const qsr_export_ops export_ops = {.struct_size = sizeof export_ops,
                                              .architecture = architecture,
                                              .key = export_key};
    if (!strcmp(id, QSR_EXT_SELECTOR)) return &selector;
    if (!strcmp(id, QSR_EXT_EXPORT)) return &export_ops;
    return NULL;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    const struct topk_options *o = options;
    if ((uint64_t)o->k > shape->d_sae)
        return host->fail(host, QSR_E_OPTION, "k", "k=%" PRId64 " exceeds d_sae=%zu", o->k, shape->d_sae);
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .k = (size_t)o->k};
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(struct topk_options, k, .help = "how many latents each row keeps at most; not more than d_sae",
            .unit = "latents per row", .cite = "Gao et al. 2024, arXiv 2406.04093, section 2.3",
            .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE, .min = 1, .max = UINT32_MAX),
};

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .forward = forward};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "topk",
    .version = "1",
    .summary = "the k largest positive pre-activations of each row",
    .cite = "Gao et al. 2024, arXiv 2406.04093",
    .caps = QSR_CAP_PRE_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct topk_options),
    .create = create,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

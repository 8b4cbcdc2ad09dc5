/* topr: a row keeps its latents that exceed a ratio of its largest one, at most k of them.
 *
 *     cc -std=c11 -O2 -fPIC -shared -fvisibility=hidden $(pkg-config --cflags quasar) -o topr.so topr.c */
#include <quasar/plugin.h>

struct topr_options {
    int64_t k;
    double ratio;
};

struct qsr_instance {
    const qsr_host *host;
    const struct topr_options *options;
};

/* Appends the entries of each row to `out`, in ascending order of latent. Nothing else is needed for training: as there is no
 * backward, gradients pass unchanged through what is kept. */
static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    size_t n = 0; /* entries so far */
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        uint32_t *chosen = out->latent + n;
        size_t count = self->host->select_largest(self->host, pre, in->d_sae, (size_t)self->options->k, chosen);
        float largest = 0;
        for (size_t i = 0; i < count; i++)
            if (pre[chosen[i]] > largest) largest = pre[chosen[i]];
        for (size_t i = 0; i < count; i++) {
            uint32_t latent = chosen[i];
            if (pre[latent] < self->options->ratio * largest) continue;
            out->latent[n] = latent;
            out->value[n++] = pre[latent];
        }
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    const struct topr_options *o = options; /* filled and checked from the table below */
    if ((uint64_t)o->k > shape->d_sae)
        return host->fail(host, QSR_E_OPTION, "k", "k=%lld exceeds d_sae=%zu", (long long)o->k, shape->d_sae);
    qsr_instance *self = host->alloc(host, 1, sizeof *self); /* the host releases it */
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){host, o};
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(struct topr_options, k, .help = "how many latents a row keeps at most; not more than d_sae",
            .unit = "latents per row", .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE, .min = 1, .max = 1 << 24),
    QSR_OPT(struct topr_options, ratio, .help = "a latent is kept if it is at least this part of the row's largest",
            .cite = "docs/PLUGINS.md", .flags = QSR_OPT_RANGE, .min = 0, .max = 1, .def = "0.25"),
};

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .forward = forward};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "topr",
    .version = "1",
    .summary = "latents above a ratio of the row's largest, at most k",
    .caps = QSR_CAP_PRE_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct topr_options),
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

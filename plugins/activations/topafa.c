/* topafa: each row keeps as many of its largest latents as it takes for the norm of the code to come nearest to the norm of what
 * was encoded. There is no k to tune.
 *
 * With s_j = (a_j ||W_dec,j||)^2 in descending order (ties by latent) and c_i = sqrt(s_1 + ... + s_i), the row keeps the first
 * i latents, i = argmin over i >= 1 of |c_i - n|, the smaller i on a tie; all positive ones when they stay at c <= n together.
 * So a row with any positive latent keeps at least one, even where keeping none would be nearer: that is the published form,
 * k = argmin_i |c_i - n| with c_{d_sae} := 10^4, at the scales it was made for (arXiv 2503.24277, section 5).
 *
 * s, its sums and c are doubles: in float32 the c of the tail tie, and argmin then cuts the tail off.
 *
 * Sorting all of a row is needless, and hosts that offer "quasar.passes/1" do not. Here is the definition, which they agree with in
 * every case and which serves under others. */
#include <math.h>
#include <quasar/plugin.h>
#include <stdlib.h>
#include <string.h>

struct qsr_instance {
    const qsr_host *host;
    const qsr_host_passes *passes; /* or NULL */
};

/* A positive latent of the row. */
struct item {
    double s;
    uint32_t latent;
};

static int larger_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->s != y->s) return x->s < y->s ? 1 : -1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

static int by_latent(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

/* ---- the definition: by sorting ---- */

/* The positive latents; returns how many, or SIZE_MAX when an s is not finite. */
static size_t collect(const float *pre, const float *dec_norm, size_t d_sae, struct item *item)
{
    size_t m = 0;
    for (size_t j = 0; j < d_sae; j++) {
        if (!(pre[j] > 0)) continue;
        const double length = (double)pre[j] * dec_norm[j];
        item[m++] = (struct item){length * length, (uint32_t)j};
        if (!isfinite(item[m - 1].s)) return SIZE_MAX;
    }
    return m;
}

/* How many of m > 0 sorted latents stay. */
static size_t nearest(const struct item *item, size_t m, double n)
{
    double sum = 0, distance = INFINITY, c = 0;
    size_t best = 0;
    for (size_t i = 0; i < m && c <= n; i++) {
        sum += item[i].s;
        c = sqrt(sum);
        if (fabs(c - n) < distance) distance = fabs(c - n), best = i;
    }
    return c <= n ? m : best + 1;
}

static qsr_status by_sorting(struct item *item, const float *pre, const float *dec_norm, size_t d_sae, double n, uint32_t *latent,
                             float *value, size_t *ret_count)
{
    const size_t m = collect(pre, dec_norm, d_sae, item);
    if (m == SIZE_MAX) return QSR_E_NUMERIC;
    qsort(item, m, sizeof *item, larger_first);
    const size_t count = m ? nearest(item, m, n) : 0;
    qsort(item, count, sizeof *item, by_latent);
    for (size_t i = 0; i < count; i++) latent[i] = item[i].latent, value[i] = pre[item[i].latent];
    *ret_count = count;
    return QSR_OK;
}

/* ---- forward ---- */

static qsr_status refuse(const qsr_host *host, size_t row, const char *what)
{
    return host->fail(host, QSR_E_NUMERIC, NULL, "row %zu of the batch: the norm of its %s is not finite", row, what);
}

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    const qsr_host *host = self->host;
    struct item *item = self->passes ? NULL : host->scratch(host, in->d_sae, sizeof *item);
    if (!item && !self->passes) return QSR_E_NOMEM;
    float guess = 0;
    size_t n = 0, count = 0;
    for (size_t r = 0; r < in->rows; r++, n += count) {
        const float *pre = in->pre + r * in->ld_pre;
        if (!isfinite(in->input_norm[r])) return refuse(host, in->row0 + r, "input");
        const qsr_status status =
            self->passes ? self->passes->nearest_norm(host, pre, in->dec_norm, in->d_sae, in->input_norm[r], &guess, out->latent + n,
                                                      out->value + n, &count)
                         : by_sorting(item, pre, in->dec_norm, in->d_sae, in->input_norm[r], out->latent + n, out->value + n, &count);
        if (status == QSR_E_NUMERIC) return refuse(host, in->row0 + r, "activations");
        if (status) return status;
        out->row_begin[r + 1] = n + count;
    }
    return QSR_OK;
}

/* ---- the plugin ---- */

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
    .name = "topafa",
    .version = "1",
    .summary = "as many of a row's largest latents as bring the code's norm nearest to the input's",
    .cite = "arXiv 2503.24277",
    .needs = QSR_NEED_INPUT_NORM | QSR_NEED_DEC_NORM,
    .caps = QSR_CAP_PRE_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .create = create,
    .ops = &ops,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

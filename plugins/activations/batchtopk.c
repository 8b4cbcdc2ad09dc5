/* batchtopk: of a batch of B rows the k * B largest positive pre-activations, ties by row, then latent. Which rows keep how many
 * depends on the batch, so evaluation keeps what exceeds a threshold instead: the smallest kept value of the first batch, moved
 * by 1 % towards that of each later batch. A batch that keeps nothing leaves it as it is; before the first batch it is 0.
 *
 * Selection is exact and linear: a radix search for the value at the limit, then one pass that counts the ties. Any part of
 * the candidates is pruned the same way, since whatever is beaten by k * B others within a part is beaten in the batch; the value
 * at the limit is then a bound, below which forward() need not append anything for the rest of the batch. */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <quasar/plugin.h>
#include <string.h>

struct batchtopk_options {
    int64_t k;
};

struct qsr_instance {
    const qsr_host *host;
    size_t k, d_sae;
    double threshold; /* running; 0: no batch has been seen */
    float bound;      /* in this batch nothing below it can stay */
    float least;      /* smallest value kept by the final prune of this batch; 0: none */
    float *exported;  /* [d_sae] */
};

/* ---- forward: candidates in training, the threshold's rule in evaluation ---- */

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    const float above = in->mode == QSR_EVAL ? (float)self->threshold : self->bound > 0 ? nextafterf(self->bound, 0) : 0;
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        for (size_t j = 0; j < in->d_sae; j++) { /* written always, kept if above: n never passes r * d_sae + j */
            out->latent[n] = (uint32_t)j;
            out->value[n] = pre[j];
            n += pre[j] > above;
        }
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

/* ---- the selection ---- */

/* Orders like the value for positive floats; everything else is 0. */
static uint32_t key_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return value > 0 ? bits : 0;
}

/* The first `ties` of the candidates with this key stay, and all with a larger key. */
struct cut {
    uint32_t key;
    size_t ties;
};

/* The key of the limit-th largest of more than `limit` values: the digits from the top, each from a histogram. */
static struct cut find_cut(const float *value, size_t count, size_t limit)
{
    static const uint32_t shifts[] = {20, 10, 0}, bins[] = {2048, 1024, 1024};
    struct cut cut = {.ties = limit};
    for (int digit = 0; digit < 3; digit++) {
        const uint32_t shift = shifts[digit], known = digit ? UINT32_MAX << shifts[digit - 1] : 0;
        size_t histogram[2048] = {0};
        for (size_t i = 0; i < count; i++) {
            const uint32_t key = key_of(value[i]);
            if ((key & known) == cut.key) histogram[key >> shift & (bins[digit] - 1)]++;
        }
        uint32_t bin = bins[digit] - 1;
        for (; bin > 0 && histogram[bin] < cut.ties; bin--) cut.ties -= histogram[bin];
        cut.key |= bin << shift;
    }
    if (cut.key == 0) cut.ties = 0;
    return cut;
}

static size_t keep_limit(const qsr_instance *self, size_t batch_rows)
{
    return batch_rows > SIZE_MAX / self->k ? SIZE_MAX : self->k * batch_rows;
}

/* Returns the smallest value that stays, or 0. */
static float mark(const qsr_candidates *c, struct cut cut)
{
    float least = FLT_MAX;
    bool any = false;
    for (size_t i = 0; i < c->count; i++) {
        const uint32_t key = key_of(c->value[i]);
        const bool tie = cut.ties && key == cut.key;
        cut.ties -= tie;
        c->keep[i] = key > cut.key || tie;
        if (!c->keep[i]) continue;
        least = any ? fminf(least, c->value[i]) : c->value[i];
        any = true;
    }
    return any ? least : 0;
}

static qsr_status prune(qsr_instance *self, const qsr_candidates *candidates)
{
    const size_t limit = keep_limit(self, candidates->batch_rows);
    struct cut cut = {0, 0};
    if (candidates->count > limit) cut = find_cut(candidates->value, candidates->count, limit);
    const float least = mark(candidates, cut);
    if (candidates->final)
        self->least = least;
    else if (cut.key)
        self->bound = fmaxf(self->bound, least);
    return QSR_OK;
}

/* ---- batches ---- */

static qsr_status begin_batch(qsr_instance *self, const qsr_batch *batch)
{
    (void)batch;
    self->bound = self->least = 0;
    return QSR_OK;
}

static qsr_status end_batch(qsr_instance *self, const qsr_batch *batch)
{
    (void)batch;
    if (self->least > 0) self->threshold = self->threshold > 0 ? 0.99 * self->threshold + 0.01 * self->least : self->least;
    self->bound = self->least = 0;
    return QSR_OK;
}

/* ---- extensions ---- */

static qsr_status selection(const qsr_instance *self, uint32_t mode, qsr_selection *ret_selection)
{
    (void)mode;
    *ret_selection = (qsr_selection){
        .struct_size = sizeof(qsr_selection), .rule = QSR_SELECT_BATCH, .k = self->k, .scalar = (float)self->threshold};
    return QSR_OK;
}

static void metric(const qsr_instance *self, uint32_t index, const char **ret_name, double *ret_value)
{
    (void)index;
    *ret_name = "threshold";
    *ret_value = self->threshold > 0 ? self->threshold : NAN;
}

static qsr_status save(const qsr_instance *self, qsr_stream *stream)
{
    return stream->write(stream, &self->threshold, sizeof self->threshold);
}

static qsr_status load(qsr_instance *self, qsr_stream *stream, uint32_t stored_version)
{
    if (stored_version != 1)
        return self->host->fail(self->host, QSR_E_STATE, NULL, "state version %" PRIu32 " is unknown, 1 is",
                                stored_version);
    double threshold;
    const qsr_status status = stream->read(stream, &threshold, sizeof threshold);
    if (status) return status;
    if (!isfinite(threshold) || threshold < 0)
        return self->host->fail(self->host, QSR_E_STATE, NULL, "stored threshold %g is not a finite number of 0 or more",
                                threshold);
    self->threshold = threshold;
    return QSR_OK;
}

static const char *architecture(const qsr_instance *self)
{
    (void)self;
    return "jumprelu"; /* the rule of evaluation, with one threshold for all */
}

static qsr_status export_tensor(qsr_instance *self, uint32_t index, qsr_export_tensor *ret_tensor)
{
    if (index) return QSR_END;
    for (size_t j = 0; j < self->d_sae; j++) self->exported[j] = (float)self->threshold;
    *ret_tensor = (qsr_export_tensor){.name = "threshold", .data = self->exported};
    return QSR_OK;
}

static qsr_status import_tensor(qsr_instance *self, const char *name, const float *data, size_t n)
{
    const qsr_host *host = self->host;
    if (strcmp(name, "threshold") != 0) return QSR_END;
    if (n != self->d_sae)
        return host->fail(host, QSR_E_INPUT, NULL, "threshold has %zu values, d_sae=%zu are needed", n, self->d_sae);
    for (size_t j = 1; j < n; j++)
        if (data[j] != data[0])
            return host->fail(host, QSR_E_INPUT, NULL,
                              "threshold differs between latents (%g at 0, %g at %zu), but batchtopk has one for all",
                              data[0], data[j], j);
    if (!isfinite(data[0]) || data[0] < 0)
        return host->fail(host, QSR_E_INPUT, NULL, "threshold %g is not a finite number of 0 or more", data[0]);
    self->threshold = data[0];
    return QSR_OK;
}

static const void *extension(const char *id)
{
    static const qsr_selector_ops selector = {.struct_size = sizeof selector, .get = selection};
    static const qsr_metrics_ops metrics = {.struct_size = sizeof metrics, .count = 1, .get = metric};
    static const qsr_state_ops state = {.struct_size = sizeof state, .state_version = 1, .save = save, .load = load};
    static const qsr_export_ops export_ops = {.struct_size = sizeof export_ops,
                                              .architecture = architecture,
                                              .tensor = export_tensor,
                                              .import = import_tensor};
    if (!strcmp(id, QSR_EXT_SELECTOR)) return &selector;
    if (!strcmp(id, QSR_EXT_METRICS)) return &metrics;
    if (!strcmp(id, QSR_EXT_STATE)) return &state;
    if (!strcmp(id, QSR_EXT_EXPORT)) return &export_ops;
    return NULL;
}

/* ---- the plugin ---- */

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret_instance)
{
    const struct batchtopk_options *o = options;
    if ((uint64_t)o->k > shape->d_sae)
        return host->fail(host, QSR_E_OPTION, "k", "k=%" PRId64 " exceeds d_sae=%zu", o->k, shape->d_sae);
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    if (!self) return QSR_E_NOMEM;
    *self = (qsr_instance){.host = host, .k = (size_t)o->k, .d_sae = shape->d_sae};
    self->exported = host->alloc(host, shape->d_sae, sizeof *self->exported);
    if (!self->exported) return QSR_E_NOMEM;
    *ret_instance = self;
    return QSR_OK;
}

static const qsr_option options_table[] = {
    QSR_OPT(struct batchtopk_options, k,
            .help = "how many latents a row keeps on average over a batch; not more than d_sae", .unit = "latents per row",
            .cite = "Bussmann et al. 2024, arXiv 2412.06410, section 3", .flags = QSR_OPT_REQUIRED | QSR_OPT_RANGE,
            .min = 1, .max = UINT32_MAX),
};

static const qsr_activation_ops ops = {.struct_size = sizeof ops,
                                       .begin_batch = begin_batch,
                                       .forward = forward,
                                       .prune = prune,
                                       .keep_limit = keep_limit,
                                       .end_batch = end_batch};

static const qsr_plugin plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "batchtopk",
    .version = "1",
    .summary = "the k * rows largest positive pre-activations of a batch; a threshold in evaluation",
    .cite = "Bussmann et al. 2024, arXiv 2412.06410",
    .caps = QSR_CAP_ROWS_COUPLED | QSR_CAP_PRE_BIAS | QSR_CAP_GRAD_PIECEWISE,
    .options = options_table,
    .n_options = sizeof options_table / sizeof *options_table,
    .options_size = sizeof(struct batchtopk_options),
    .create = create,
    .ops = &ops,
    .extension = extension,
};

const qsr_plugin *qsr_plugin_entry(uint32_t index) { return index ? NULL : &plugin; }

#include "exchange/rule.h"

#include <math.h>
#include <string.h>

struct qsr_instance {
    const qsr_host *host;
    qsr_rule rule;
    size_t k, d_sae;
    float *threshold;              /* [d_sae] */
    float *b_gate, *b_mag, *e_mag; /* [d_sae], gated; e_mag = exp(r_mag) */
};

/* ---- forward: one row at a time, appended at entry n; returns how many then -------------------------------------------- */

static size_t keep_largest(const qsr_instance *self, const float *pre, qsr_code *out, size_t n)
{
    size_t kept = self->host->select_largest(self->host, pre, self->d_sae, self->k, out->latent + n);
    for (size_t i = n; i < n + kept; i++) out->value[i] = pre[out->latent[i]];
    return n + kept;
}

static size_t keep_above(const qsr_instance *self, const float *pre, qsr_code *out, size_t n)
{
    for (size_t j = 0; j < self->d_sae; j++) { /* written always, kept if above */
        out->latent[n] = (uint32_t)j;
        out->value[n] = pre[j];
        n += pre[j] > self->threshold[j];
    }
    return n;
}

/* f_j = [p_j + b_gate,j > 0] relu(p_j exp(r_mag,j) + b_mag,j)  (Rajamanoharan et al. 2024, arXiv 2404.16014) */
static size_t keep_gated(const qsr_instance *self, const float *pre, qsr_code *out, size_t n)
{
    for (size_t j = 0; j < self->d_sae; j++) {
        float magnitude = pre[j] * self->e_mag[j] + self->b_mag[j];
        out->latent[n] = (uint32_t)j;
        out->value[n] = magnitude;
        n += pre[j] + self->b_gate[j] > 0 && magnitude > 0;
    }
    return n;
}

static qsr_status forward(const qsr_instance *self, const qsr_rows *in, qsr_code *out)
{
    size_t n = 0;
    for (size_t r = 0; r < in->rows; r++) {
        const float *pre = in->pre + r * in->ld_pre;
        if (self->rule == QSR_RULE_TOPK)
            n = keep_largest(self, pre, out, n);
        else
            n = self->rule == QSR_RULE_GATED ? keep_gated(self, pre, out, n) : keep_above(self, pre, out, n);
        out->row_begin[r + 1] = n;
    }
    return QSR_OK;
}

/* ---- the rule, for hosts that have a faster way ------------------------------------------------------------------------ */

static qsr_status selection(const qsr_instance *self, uint32_t mode, qsr_selection *ret)
{
    (void)mode;
    if (self->rule == QSR_RULE_GATED) return QSR_END;
    *ret = (qsr_selection){.struct_size = sizeof *ret, .rule = self->rule == QSR_RULE_TOPK ? QSR_SELECT_ROW : QSR_SELECT_ABOVE,
                           .k = self->k, .threshold = self->rule == QSR_RULE_THRESHOLD ? self->threshold : NULL};
    return QSR_OK;
}

static const void *extension(const char *id)
{
    static const qsr_selector_ops selector = {.struct_size = sizeof selector, .get = selection};
    return strcmp(id, QSR_EXT_SELECTOR) == 0 ? &selector : NULL;
}

/* ---- an instance ------------------------------------------------------------------------------------------------------- */

static void copy(float *to, const float *from, size_t n)
{
    if (from) memcpy(to, from, n * sizeof *to);
}

static qsr_status create(const qsr_host *host, const qsr_shape *shape, const void *options, qsr_instance **ret)
{
    const qsr_rule_options *o = options;
    size_t n = shape->d_sae;
    qsr_instance *self = host->alloc(host, 1, sizeof *self);
    float *vectors = self ? host->alloc(host, n, 4 * sizeof *vectors) : NULL;
    if (!vectors) return QSR_E_NOMEM;
    *self = (qsr_instance){host, o->rule, o->k, n, vectors, vectors + n, vectors + 2 * n, vectors + 3 * n};
    copy(self->threshold, o->threshold, n);
    copy(self->b_gate, o->b_gate, n);
    copy(self->b_mag, o->b_mag, n);
    copy(self->e_mag, o->r_mag, n);
    for (size_t j = 0; j < n; j++) { /* a threshold below 0 lets no negative value through: the rule is relu there */
        self->threshold[j] = fmaxf(self->threshold[j], 0);
        self->e_mag[j] = expf(self->e_mag[j]);
    }
    *ret = self;
    return QSR_OK;
}

static const qsr_activation_ops ops = {.struct_size = sizeof ops, .forward = forward};

const qsr_plugin qsr_rule_plugin = {
    .abi = QSR_ABI(QSR_ACTIVATION),
    .name = "imported",
    .version = "1",
    .summary = "the activation that a file of a pretrained SAE describes",
    .caps = QSR_CAP_GRAD_PIECEWISE,
    .options_size = sizeof(qsr_rule_options),
    .create = create,
    .ops = &ops,
    .extension = extension,
};

#include "exchange/fold.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"
#include "math/rows.h"

static void scale_all(qsr_taken *t, double factor)
{
    for (size_t i = 0; t->data && i < t->count; i++) t->data[i] = (float)(t->data[i] * factor);
}

void qsr_fold_scale(qsr_pretrained *p, double s)
{
    scale_all(&p->weights[QSR_W_ENC], s);
    scale_all(&p->weights[QSR_W_DEC], 1 / s);
    scale_all(&p->weights[QSR_B_DEC], 1 / s);
    if (p->rescale) scale_all(&p->weights[QSR_THRESHOLD], 1 / s);
}

static void scale_one(qsr_taken *t, size_t j, size_t width, double factor)
{
    float *row = t->data ? t->data + j * width : NULL;
    for (size_t i = 0; row && i < width; i++) row[i] = (float)(row[i] * factor);
}

void qsr_fold_latents(qsr_pretrained *p, const double *nu)
{
    for (size_t j = 0; j < p->d_sae; j++) {
        double factor = nu[j] != 0 ? nu[j] : 1;
        scale_one(&p->weights[QSR_W_ENC], j, p->d_in, factor);
        scale_one(&p->weights[QSR_W_DEC], j, p->d_in, 1 / factor);
        scale_one(&p->weights[QSR_B_ENC], j, 1, factor);
        scale_one(&p->weights[QSR_B_GATE], j, 1, factor);
        scale_one(&p->weights[QSR_B_MAG], j, 1, factor);
        if (!p->rescale) scale_one(&p->weights[QSR_THRESHOLD], j, 1, factor);
    }
}

/* With `rescale` the rule sees p ||w_dec,j||, which is 0 where the decoder row is 0: such a latent never fires, whatever p is. */
static void silence_empty(qsr_pretrained *p, const double *nu)
{
    static const int biases[] = {QSR_B_ENC, QSR_B_GATE, QSR_B_MAG};
    for (size_t j = 0; p->rescale && j < p->d_sae; j++) {
        if (nu[j] != 0) continue;
        scale_one(&p->weights[QSR_W_ENC], j, p->d_in, 0);
        for (size_t i = 0; i < sizeof biases / sizeof *biases; i++) scale_one(&p->weights[biases[i]], j, 1, 0);
    }
}

static double *decoder_norms(const qsr_pretrained *p)
{
    double *nu = qsr_xcalloc(p->d_sae, sizeof *nu);
    for (size_t j = 0; j < p->d_sae; j++) nu[j] = qsr_row_norm(p->weights[QSR_W_DEC].data + j * p->d_in, p->d_in);
    return nu;
}

qsr_status qsr_fold_norms(qsr_pretrained *p, double *nu, qsr_error *e)
{
    if (p->rule == QSR_RULE_TOPK && !p->rescale)
        return qsr_fail(e, QSR_E_UNSUPPORTED,
                        "%s: decoder norms cannot be folded into a top-k SAE that selects without them: it would select others", p->path);
    if (p->rule == QSR_RULE_PLUGIN || p->rule == QSR_RULE_UNKNOWN)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: decoder norms cannot be folded without knowing what %s does", p->path,
                        p->architecture);
    double *norms = decoder_norms(p);
    silence_empty(p, norms);
    qsr_fold_latents(p, norms);
    for (size_t j = 0; nu && j < p->d_sae; j++) nu[j] = norms[j];
    free(norms);
    return QSR_OK;
}

/* Rows of norm 1 make p nu = p, so that the rule needs no norms any more. */
void qsr_fold_rescaling(qsr_pretrained *p)
{
    double *nu = decoder_norms(p);
    silence_empty(p, nu);
    qsr_fold_latents(p, nu);
    free(nu);
    p->rescale = false;
}

void qsr_fold_finetuning(qsr_pretrained *p)
{
    const float *factor = p->weights[QSR_FINETUNING].data;
    for (size_t j = 0; j < p->d_sae; j++) scale_one(&p->weights[QSR_W_DEC], j, p->d_in, factor[j]);
    qsr_taken_free(&p->weights[QSR_FINETUNING]);
}

void qsr_fold_gates(qsr_pretrained *p)
{
    qsr_taken *b_enc = &p->weights[QSR_B_ENC];
    for (size_t j = 0; j < p->d_sae; j++) {
        scale_one(&p->weights[QSR_W_ENC], j, p->d_in, exp(p->weights[QSR_R_MAG].data[j]));
        b_enc->data[j] = p->weights[QSR_B_MAG].data[j];
    }
    for (size_t i = QSR_B_GATE; i <= QSR_R_MAG; i++) qsr_taken_free(&p->weights[i]);
    p->rule = QSR_RULE_RELU;
}

void qsr_fold_pre_bias(qsr_pretrained *p, bool pre_bias)
{
    double sign = pre_bias ? 1 : -1; /* W (x - b) + c' = W x + c with c' = c + W b */
    float *b_enc = p->weights[QSR_B_ENC].data;
    if (pre_bias == p->pre_bias) return;
    for (size_t j = 0; j < p->d_sae; j++)
        b_enc[j] = (float)(b_enc[j] + sign * qsr_row_dot(p->weights[QSR_W_ENC].data + j * p->d_in, p->weights[QSR_B_DEC].data, p->d_in));
    p->pre_bias = pre_bias;
}

/* exchange/gemma-scope: params.npz and params.safetensors of Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147): JumpReLU, no
 * normalisation, b_dec not subtracted. The same reader takes bare tensors of these names, whose activation is then unknown. */
#include <string.h>

#include "exchange/formats.h"

/* The file writes W_ or w_, the same in all its names. */
static const char *spelling(qsr_tensor_file *f, const char *upper, const char *lower)
{
    return !qsr_tensor_file_find(f, upper) && qsr_tensor_file_find(f, lower) ? lower : upper;
}

static void take_tensors(qsr_pretrained *p, qsr_tensor_file *f)
{
    const qsr_tensor *w = qsr_tensor_file_find(f, spelling(f, "W_enc", "w_enc"));
    if (!w) {
        qsr_tensor_file_blame(f, "there is no tensor 'W_enc': it is no SAE of a known format");
        return;
    }
    if (w->rank != 2 || !w->shape[0] || !w->shape[1]) {
        qsr_tensor_file_blame(f, "tensor '%s' is no matrix [d_in, d_sae]", w->name);
        return;
    }
    p->d_in = w->shape[0];
    p->d_sae = w->shape[1];
    qsr_tensor_file_matrix(f, w->name, p->d_sae, p->d_in, true, &p->weights[QSR_W_ENC]);
    qsr_tensor_file_matrix(f, spelling(f, "W_dec", "w_dec"), p->d_sae, p->d_in, false, &p->weights[QSR_W_DEC]);
    qsr_tensor_file_vector(f, "b_enc", p->d_sae, &p->weights[QSR_B_ENC]);
    qsr_tensor_file_vector(f, "b_dec", p->d_in, &p->weights[QSR_B_DEC]);
    if (p->rule == QSR_RULE_THRESHOLD) qsr_tensor_file_vector(f, "threshold", p->d_sae, &p->weights[QSR_THRESHOLD]);
    if (qsr_tensor_file_find(f, "affine_skip_connection") || qsr_tensor_file_find(f, "W_skip"))
        qsr_tensor_file_blame(f, "a skip connection makes it a transcoder; only autoencoders are read");
}

qsr_status qsr_gemma_read(qsr_pretrained *p, qsr_error *e)
{
    qsr_tensor_file f;
    qsr_status status = qsr_tensor_file_open(p->weights_path, &f, e);
    if (status) return status;
    bool named = strncmp(qsr_path_base(p->weights_path), "params.", 7) == 0;
    p->format = named || qsr_tensor_file_find(&f, "threshold") ? "gemma-scope" : "tensors";
    if (strcmp(p->format, "gemma-scope") == 0) {
        p->rule = QSR_RULE_THRESHOLD;
        p->architecture = "jumprelu";
        qsr_pretrained_note(p, "Gemma Scope leaves the first token (BOS) out of its data: use skip_first: 1");
    } else {
        qsr_pretrained_note(p, "there is no cfg.json: which activation, normalisation and input bias are meant is not known");
    }
    take_tensors(p, &f);
    status = qsr_tensor_file_verdict(&f, e);
    qsr_tensor_file_close(&f);
    return status;
}

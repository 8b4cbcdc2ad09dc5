/* exchange/pretrained: an SAE as a file describes it: the tensors as they stand there, latent-major, and how they are meant.
 *
 *     path        what it may be
 *     folder      a run; cfg.json with sae_weights.safetensors (Quasar, SAELens) or sae.safetensors (sparsify); params.npz or
 *                 params.safetensors (Gemma Scope)
 *     file        one of these, or any .safetensors or .npz with W_enc, W_dec, b_enc, b_dec
 *
 * docs/SAES.md has the formats. Files that hold a pickle are refused. */
#ifndef QSR_EXCHANGE_PRETRAINED_H
#define QSR_EXCHANGE_PRETRAINED_H
#include "exchange/tensor-file.h"
#include "format/json.h"
#include "model/normalise.h"
#include "model/sae.h"

/* f from the pre-activations p = W_enc x' + b_enc. */
typedef enum {
    QSR_RULE_UNKNOWN,   /* tensors without a description */
    QSR_RULE_RELU,      /* f = relu(p) */
    QSR_RULE_TOPK,      /* the k largest of relu(p) */
    QSR_RULE_THRESHOLD, /* f = p [p > max(threshold, 0)] */
    QSR_RULE_GATED,     /* f = [p + b_gate > 0] relu(p exp(r_mag) + b_mag), p without bias */
    QSR_RULE_PLUGIN     /* an activation plugin of Quasar's that no other format knows */
} qsr_rule;
const char *qsr_rule_architecture(qsr_rule); /* "standard", "topk", "jumprelu", "gated"; NULL for the other two */

enum {
    QSR_W_ENC, /* [d_sae][d_in] */
    QSR_W_DEC, /* [d_sae][d_in] */
    QSR_B_ENC, /* [d_sae] */
    QSR_B_DEC, /* [d_in] */
    QSR_THRESHOLD, QSR_B_GATE, QSR_B_MAG, QSR_R_MAG, /* [d_sae] */
    QSR_FINETUNING, /* [d_sae] a factor on each f before it is decoded */
    QSR_WEIGHTS
};
extern const char *const qsr_weight_names[QSR_WEIGHTS]; /* "W_enc", ... */

typedef struct {
    const char *path, *cfg_path, *weights_path; /* as given; of the description, or NULL; of the tensors */
    const char *format;                         /* "quasar", "saelens", "gemma-scope", "sparsify", "tensors" */
    const char *architecture;                   /* as the file names it; "unknown" */
    qsr_rule rule;
    const char *plugin, *spec;                  /* Quasar's own: activation plugin, text of the spec; or NULL */
    size_t d_in, d_sae, k;
    bool pre_bias;                              /* encode x - b_dec */
    bool rescale;                               /* the rule sees p and gives f times the norms of decoder rows */
    qsr_normalise normalise;                    /* scale NaN: known to be scaled, but not by how much */
    double folded_scale;                        /* a dataset's scale that is in the weights already; 0: none is known of */
    qsr_taken weights[QSR_WEIGHTS];
    const char *model_name, *hook_name, *hook_site; /* where it was trained, or NULL */
    int64_t hook_layer;                         /* -1: unknown */
    double recorded_l0;                         /* of whoever trained it; NaN */
    json_t *cfg;                                /* cfg.json as it is, or NULL */
    const char *notes[8];                       /* what was assumed or left aside: sentences */
    size_t n_notes;
    qsr_arena arena;
} qsr_pretrained;

/* Everything but whether numbers are finite is checked: "quasar inspect" counts those that are not. */
qsr_status qsr_pretrained_open(const char *path, qsr_pretrained *ret, qsr_error *e);
void qsr_pretrained_free(qsr_pretrained *);
/* A copy with weights of its own, to fold and make without touching the original, which must live as long (texts are shared). */
qsr_status qsr_pretrained_copy(const qsr_pretrained *, qsr_pretrained *ret, qsr_error *e);
/* Whether such a thing lies at `path`, without reading it: for searches below a folder. */
bool qsr_pretrained_here(const char *folder);
/* QSR_E_INPUT when some weight is not finite, naming tensor and index. */
qsr_status qsr_pretrained_finite(const qsr_pretrained *, qsr_error *e);
/* QSR_E_INPUT when it cannot be run: of an unknown architecture, scaled by an unknown factor, or not finite. */
qsr_status qsr_pretrained_usable(const qsr_pretrained *, qsr_error *e);

/* The SAE that can be run, decoder norms, finetuning factors and thresholds taken care of; matrices and biases move there, so the
 * description lacks them afterwards. Not for QSR_RULE_PLUGIN. */
qsr_status qsr_pretrained_make(qsr_pretrained *, qsr_pool *, qsr_sae *ret, qsr_error *e);

/* The probe (exchange/probe.h) that whoever wrote the file recorded in cfg.json; NULL: none. */
const json_t *qsr_pretrained_probe(const qsr_pretrained *);

/* For the readers of formats. */
void qsr_pretrained_note(qsr_pretrained *, const char *fmt, ...) QSR_PRINTF(2, 3);
#endif

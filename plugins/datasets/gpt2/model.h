/* gpt2/model: the parts of a GPT-2 model, from its folder.
 *
 * Linear layers are stored [in][out] (HuggingFace's Conv1D), which is what y = x W + b wants row by row. Matrices stay where
 * they lie in the mapped files; those that are not F32 are widened product by product, so that a model of any size takes no
 * more memory than its largest matrix per thread. Vectors are converted once. */
#ifndef GPT2_MODEL_H
#define GPT2_MODEL_H
#include "config.h"
#include "quasar/plugin.h"
#include "rows.h"
#include "weights.h"

/* y = x weight + bias */
typedef struct {
    const qsr_tensor *weight; /* [in][out] */
    const float *bias;        /* [out] */
} gpt2_linear;

typedef struct {
    gpt2_affine ln_1, ln_2;         /* [d] */
    gpt2_linear qkv, attention_out; /* [d][3 d] (columns q, k, v), [d][d] */
    gpt2_linear mlp_in, mlp_out;    /* [d][inner], [inner][d] */
} gpt2_block;

typedef struct {
    gpt2_config config;
    const qsr_tensor *wte;  /* [vocabulary][d] */
    const float *wpe;       /* [positions][d] */
    gpt2_block *blocks;     /* [n_blocks] */
    size_t n_blocks;        /* all of the model when it is whole, else those that were asked for */
    const float *zeros;     /* [d] the bias of what has its bias already */
    bool whole;             /* every block, ln_f and head are there */
    gpt2_affine ln_f;       /* [d] */
    const qsr_tensor *head; /* [vocabulary][d]: wte when tied */
    qsr_error missing;      /* when not whole: what is wrong with the rest */
    gpt2_weights *weights;
} gpt2_model;

/* Loads embeddings and the first n_blocks blocks of `folder`, and looks for the rest: where something of it is missing or
 * unusable, the model is not whole, which is no failure. Memory comes from host->alloc. On failure nothing stays open.
 * QSR_E_NOMEM comes without text when the host refused memory. */
qsr_status gpt2_model_open(const qsr_host *, const char *folder, const gpt2_config *, size_t n_blocks, gpt2_model *ret,
                           qsr_error *e);
void gpt2_model_close(gpt2_model *); /* {0} is fine */

/* Whether products can use the matrix where it lies. */
bool gpt2_is_direct(const qsr_tensor *);
#endif

/* gpt2/model: the weights of a GPT-2 model, from model.safetensors.
 *
 * Linear layers are stored [in][out] (HuggingFace's Conv1D), which is what y = x W + b wants row by row. F32 tensors are
 * used where they lie in the mapped file; F16 and BF16 are converted once, but for the token embedding, of which rows are
 * taken. */
#ifndef GPT2_MODEL_H
#define GPT2_MODEL_H
#include "config.h"
#include "format/safetensors.h"
#include "rows.h"

typedef struct {
    gpt2_affine ln_1, qkv, attention_out; /* [d], [d][3 d] (columns q, k, v), [d][d] */
    gpt2_affine ln_2, mlp_in, mlp_out;    /* [d], [d][inner], [inner][d] */
} gpt2_block;

typedef struct {
    gpt2_config config;
    const qsr_tensor *wte; /* [vocabulary][d] */
    const float *wpe;      /* [positions][d] */
    gpt2_block *blocks;    /* [n_blocks] */
    size_t n_blocks;       /* the first blocks of the model, no more than were asked for */
    qsr_safetensors *file;
} gpt2_model;

/* Loads embeddings and the first n_blocks blocks of `folder`; other tensors are neither required nor looked at. Memory
 * comes from host->alloc. On failure nothing stays open. QSR_E_NOMEM comes without text when the host refused memory. */
qsr_status gpt2_model_open(const qsr_host *, const char *folder, const gpt2_config *, size_t n_blocks, gpt2_model *ret,
                           qsr_error *e);
void gpt2_model_close(gpt2_model *); /* {0} is fine */
#endif

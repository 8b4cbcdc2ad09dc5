/* gpt2/config: the shape of a GPT-2 model, from its config.json.
 * Files of this plugin import quasar/plugin.h, base/ and format/ alone. */
#ifndef GPT2_CONFIG_H
#define GPT2_CONFIG_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Every count is at least 1 and small enough that products of any three of them, in bytes, fit in 64 bits. */
typedef struct {
    size_t d;          /* n_embd: width of the residual stream */
    size_t layers;     /* n_layer */
    size_t heads;      /* n_head, divides d */
    size_t positions;  /* n_positions */
    size_t vocabulary; /* vocab_size */
    size_t inner;      /* n_inner: width of the MLP, 4 d unless written */
    double epsilon;    /* layer_norm_epsilon */
    bool tied;         /* tie_word_embeddings: wte is the head as well */
    bool scale_by_width, scale_by_layer; /* scale_attn_weights: scores / sqrt(d / heads);
                                            scale_attn_by_inverse_layer_idx: / (layer + 1) */
    int64_t bos, eot;  /* bos_token_id, eos_token_id; -1: not there, or no id of the vocabulary */
} gpt2_config;

/* Refuses what this plugin would compute wrongly: other activation functions than the tanh form of GELU (under any of its
 * names), cross attention, other model types. */
qsr_status gpt2_config_read(const char *path, gpt2_config *ret, qsr_error *e);
#endif

/* gpt2/weights: the tensors of a HuggingFace folder, mapped where they lie: model.safetensors, or the shards that
 * model.safetensors.index.json names. Under whatever prefix ("" or "transformer.") the file has. */
#ifndef GPT2_WEIGHTS_H
#define GPT2_WEIGHTS_H
#include "base/arena.h"
#include "base/error.h"
#include "format/safetensors.h"

typedef struct gpt2_weights gpt2_weights;

/* On failure nothing stays open. */
qsr_status gpt2_weights_open(const char *folder, gpt2_weights **ret, qsr_error *e);
void gpt2_weights_close(gpt2_weights *); /* NULL is fine */

/* Tensor `name`, written without prefix, of the given shape and of F32, F16 or BF16. rows 0: a vector of `columns`. Shards are
 * opened when a tensor of theirs is asked for. The tensor lives as long as the weights. */
qsr_status gpt2_weights_find(gpt2_weights *, const char *name, size_t rows, size_t columns, const qsr_tensor **ret,
                             qsr_error *e);
#endif

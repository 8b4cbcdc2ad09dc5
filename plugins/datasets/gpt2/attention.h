/* gpt2/attention: causal self-attention of one context. */
#ifndef GPT2_ATTENTION_H
#define GPT2_ATTENTION_H
#include "base/sizes.h"
#include "quasar/plugin.h"
#include "rows.h"

/* Queries that share a tile: their scores against all keys up to the last of them. Its rows are padded for gpt2_rows. */
enum { GPT2_QUERIES = 64 };
#define GPT2_TILE_ROW(keys_) qsr_round_up(keys_, 16)

typedef struct {
    const qsr_host *host;
    const gpt2_rows *rows;
    size_t context, d, heads;
    float scale; /* of the scores before softmax */
    float *tile; /* [min(GPT2_QUERIES, context)][GPT2_TILE_ROW(context)]: the only scores that exist at a time */
} gpt2_attention;

/* out[context][d] = the heads' results side by side, from qkv[context][3 d] (columns q, k, v, each cut into heads). The
 * shape of every product depends on `context` alone. */
void gpt2_attend(const gpt2_attention *, const float *qkv, float *out);
#endif

/* gpt2/tokens: the token ids of a .npy file, mapped, checked once against the vocabulary. */
#ifndef GPT2_TOKENS_H
#define GPT2_TOKENS_H
#include "format/npy.h"

typedef struct {
    qsr_npy file; /* any rank, read flat */
} gpt2_tokens;

/* uint16, uint32, int32 or int64; every id must be below `vocabulary`. On failure nothing stays open. */
qsr_status gpt2_tokens_open(const char *path, size_t vocabulary, gpt2_tokens *ret, qsr_error *e);
void gpt2_tokens_close(gpt2_tokens *); /* {0} is fine */
/* ids[0..n) = the tokens from `begin` on; begin + n must not exceed the file's count. */
void gpt2_tokens_read(const gpt2_tokens *, size_t begin, size_t n, int64_t *ids);
#endif

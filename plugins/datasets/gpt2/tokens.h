/* gpt2/tokens: the token ids that contexts are cut from, checked once against the vocabulary, and what they stand for. */
#ifndef GPT2_TOKENS_H
#define GPT2_TOKENS_H
#include "base/error.h"

typedef struct {
    struct qsr_token_files *file;
    size_t count;
    struct gpt2_words *words; /* the vocabulary and the id that ends texts, once somebody asks */
} gpt2_tokens;

/* Files and patterns; every id must be below `vocabulary`. On failure nothing stays open. */
qsr_status gpt2_tokens_open(const qsr_strings *files, const char *folder, size_t vocabulary, gpt2_tokens *ret,
                            qsr_error *e);
void gpt2_tokens_close(gpt2_tokens *); /* {0} is fine */
/* [any] ids[0..n) = the tokens from `begin` on; begin + n must not exceed the count. */
void gpt2_tokens_read(const gpt2_tokens *, size_t begin, size_t n, int64_t *ids);
/* [any] The numbers of the documents that the n tokens from `begin` on lie in: how many tokens up to each are the one that documents
 * begin with; one at the very start does not count. 0 where no such token is known. */
void gpt2_tokens_documents(const gpt2_tokens *, size_t begin, size_t n, uint64_t *ret_document);
/* [any] The bytes of an id, valid until close; NULL: the folder has no vocabulary that can be read, or the id no text. */
const char *gpt2_tokens_text(const gpt2_tokens *, int64_t id, size_t *ret_bytes);
#endif

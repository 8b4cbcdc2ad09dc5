/* format/tokens: token ids in files, mapped, as one sequence over any number of files.
 *
 *     .npy    uint16, uint32, int32 or int64 of any shape, read flat
 *     .bin    nanoGPT's: uint16 without a header; or llm.c's: a header of 1024 bytes (magic 20240520, version 1: uint16; magic
 *             20240801, version 7: uint32), told apart by the magic */
#ifndef QSR_FORMAT_TOKENS_H
#define QSR_FORMAT_TOKENS_H
#include "base/fs.h"

typedef struct qsr_tokens qsr_tokens;

/* Paths and patterns (base/paths). Every id must be below `vocabulary`, which is the model's; what is wrong is QSR_E_INPUT, "<path>:
 * ...". */
qsr_status qsr_tokens_open(const char *const *names, size_t n, size_t vocabulary, qsr_tokens **ret, qsr_error *e);
void qsr_tokens_close(qsr_tokens *); /* NULL is fine */
size_t qsr_tokens_count(const qsr_tokens *);
/* [any thread] ids[0..n) = the tokens from `begin` on; begin + n must not exceed the count. */
void qsr_tokens_read(const qsr_tokens *, size_t begin, size_t n, int64_t *ids);
/* [any thread] How many of the first n tokens are `id`, always the same one in the life of `t`. The first call goes through all of
 * them, later ones through a few thousand. */
size_t qsr_tokens_rank(const qsr_tokens *, int64_t id, size_t n);
#endif

/* format/tokens: token ids in files, mapped, as one sequence over any number of files.
 *
 *     .npy    uint16, uint32, int32 or int64 of any shape, read flat
 *     .bin    nanoGPT's: uint16 without a header; or llm.c's: a header of 1024 bytes (magic 20240520, version 1: uint16; magic
 *             20240801, version 7: uint32), told apart by the magic */
#ifndef QSR_FORMAT_TOKENS_H
#define QSR_FORMAT_TOKENS_H
#include "base/fs.h"

typedef struct qsr_token_files qsr_token_files;

/* Paths and patterns (base/paths). Every id must be below `vocabulary`, which is the model's; what is wrong is QSR_E_INPUT, "<path>:
 * ...". */
qsr_status qsr_token_files_open(const char *const *names, size_t n, size_t vocabulary, qsr_token_files **ret, qsr_error *e);
void qsr_token_files_close(qsr_token_files *); /* NULL is fine */
size_t qsr_token_files_count(const qsr_token_files *);
/* [any thread] ids[0..n) = the tokens from `begin` on; begin + n must not exceed the count. */
void qsr_token_files_read(const qsr_token_files *, size_t begin, size_t n, int64_t *ids);
/* [any thread] How many of the first n tokens are `id`, always the same one in the life of `t`. The first call goes through all of
 * them, later ones through a few thousand. */
size_t qsr_token_files_rank(const qsr_token_files *, int64_t id, size_t n);
#endif

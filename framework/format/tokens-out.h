/* format/tokens-out: a file of token ids that is written while they are made, whole or not at all. */
#ifndef QSR_FORMAT_TOKENS_OUT_H
#define QSR_FORMAT_TOKENS_OUT_H
#include "base/fs.h"
#include "format/dtype.h"

typedef struct {
    qsr_writer file;
    bool npy;
    qsr_dtype dtype;
    size_t count;
} qsr_tokens_out;

/* By the name: .npy, uint16 where `largest` fits into it and else uint32; .bin as nanoGPT has it: uint16 and nothing else, refused
 * where `largest` does not fit. No id may exceed `largest`. */
qsr_status qsr_tokens_out_check(const char *path, uint32_t largest, qsr_error *e);
qsr_status qsr_tokens_out_open(qsr_tokens_out *, const char *path, uint32_t largest, qsr_error *e);
qsr_status qsr_tokens_out_put(qsr_tokens_out *, const uint32_t *ids, size_t n, qsr_error *e);
qsr_status qsr_tokens_out_commit(qsr_tokens_out *, qsr_error *e);
void qsr_tokens_out_abort(qsr_tokens_out *); /* as qsr_writer_abort */
#endif

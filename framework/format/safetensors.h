/* format/safetensors: tensors by name in one file (https://huggingface.co/docs/safetensors, format of 2022-2025): a 64-bit
 * little-endian length, a JSON header of that many bytes, the tensors' bytes without gaps.
 * The reader maps the file and believes nothing in it; the writer's bytes depend on its arguments alone. */
#ifndef QSR_FORMAT_SAFETENSORS_H
#define QSR_FORMAT_SAFETENSORS_H
#include "base/error.h"
#include "base/fs.h"
#include "format/dtype.h"

enum { QSR_MAX_RANK = 8 };

/* Row-major. `data` may be unaligned (writers of other people's need not pad): read it through qsr_to_float or qsr_to_int. */
typedef struct {
    const char *name;
    qsr_dtype dtype;
    size_t rank, shape[8]; /* rank 0: a scalar */
    size_t count;          /* product of the shape; its bytes fit in memory */
    const void *data;      /* count * qsr_dtype_size(dtype) bytes; not to be read when count is 0 */
} qsr_tensor;

typedef struct qsr_safetensors qsr_safetensors;

/* Whatever is wrong with the file: QSR_E_INPUT, "<path>: ...". Tensors live until close, which accepts NULL. */
qsr_status qsr_safetensors_open(const char *path, qsr_safetensors **ret, qsr_error *e);
void qsr_safetensors_close(qsr_safetensors *);
size_t qsr_safetensors_count(const qsr_safetensors *);
const qsr_tensor *qsr_safetensors_at(const qsr_safetensors *, size_t i);           /* in order of name; i < count */
const qsr_tensor *qsr_safetensors_find(const qsr_safetensors *, const char *name); /* NULL: no such tensor */
const char *qsr_safetensors_metadata(const qsr_safetensors *, const char *key);    /* NULL: no such key */

/* Writes the file whole or not at all. Tensors are laid out by falling element size, then by name, so that each one is aligned
 * to its element; the order of the arguments does not matter. metadata: key, value, ..., NULL; or NULL for none. */
qsr_status qsr_safetensors_write(const char *path, const qsr_tensor *, size_t n, const char *const *metadata, qsr_error *e);
/* The same for data that does not fit in memory: opens the file and writes the header. The bytes of the tensors (whose `data` is
 * not looked at) follow through qsr_writer_put in the order of ret_order[n], then commit. On failure nothing is left to abort. */
qsr_status qsr_safetensors_begin(qsr_writer *, const char *path, const qsr_tensor *, size_t n, const char *const *metadata,
                                 const qsr_tensor **ret_order, qsr_error *e);
#endif

/* exchange/tensor-file: named tensors from a file of either kind, .safetensors or .npz, taken as float32 with their shapes checked. All
 * that is wrong with a file is collected and told in one error.
 *
 * The room exchange reads and writes SAEs in the formats of Quasar and of other people's tools. It may import quasar/plugin.h, base/,
 * math/, spec/, format/, plugin/ and model/. */
#ifndef QSR_EXCHANGE_TENSOR_FILE_H
#define QSR_EXCHANGE_TENSOR_FILE_H
#include "base/text.h"
#include "format/npz.h"

typedef struct {
    const char *path; /* borrowed */
    qsr_safetensors *safetensors;
    qsr_npz *npz;      /* one of the two */
    qsr_text problems; /* "a; b" */
    qsr_error refused; /* memory */
} qsr_tensor_file;

/* A tensor as floats, and what it was. data NULL: there is none. */
typedef struct {
    float *data; /* [count] a block */
    size_t count;
    qsr_dtype dtype;     /* of the file */
    size_t not_finite;   /* how many values are NaN or infinite */
    size_t first_bad;    /* index in the file of the first of those */
    float bad;           /* its value */
} qsr_taken;

/* By its first bytes: a ZIP is taken for .npz, anything else for .safetensors. */
qsr_status qsr_tensor_file_open(const char *path, qsr_tensor_file *ret, qsr_error *e);
void qsr_tensor_file_close(qsr_tensor_file *);
size_t qsr_tensor_file_count(const qsr_tensor_file *);
const qsr_tensor *qsr_tensor_file_at(const qsr_tensor_file *, size_t i);
const qsr_tensor *qsr_tensor_file_find(const qsr_tensor_file *, const char *name);

/* Notes a problem with the file. */
void qsr_tensor_file_blame(qsr_tensor_file *, const char *fmt, ...) QSR_PRINTF(2, 3);
/* QSR_OK when there was none, else QSR_E_INPUT with all of them, or what memory was refused. */
qsr_status qsr_tensor_file_verdict(const qsr_tensor_file *, qsr_error *e);

/* The tensor of that name as a matrix [rows][cols] or, transposed, as the file's [cols, rows]. Missing, or of another shape or no
 * real type: a problem is noted, and `ret` is empty. */
void qsr_tensor_file_matrix(qsr_tensor_file *, const char *name, size_t rows, size_t cols, bool transposed, qsr_taken *ret);
void qsr_tensor_file_vector(qsr_tensor_file *, const char *name, size_t n, qsr_taken *ret);
/* A tensor with one value, of rank 0 or 1. */
void qsr_tensor_file_scalar(qsr_tensor_file *, const char *name, qsr_taken *ret);
void qsr_taken_free(qsr_taken *);
#endif

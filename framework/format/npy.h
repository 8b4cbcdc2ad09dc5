/* format/npy: one NumPy array per file (numpy.lib.format, versions 1.0, 2.0, 3.0): little-endian numbers in C order. */
#ifndef QSR_FORMAT_NPY_H
#define QSR_FORMAT_NPY_H
#include "base/fs.h"
#include "base/text.h"
#include "format/dtype.h"

typedef struct {
    qsr_dtype dtype;
    size_t rank, shape[8]; /* rank 0: a scalar */
    size_t count;          /* product of the shape; its bytes fit in memory */
    const void *data;      /* in the map, maybe unaligned: read it through qsr_to_float or qsr_to_int */
    qsr_map map;
} qsr_npy;

/* Whatever is wrong with the file: QSR_E_INPUT, "<path>: ...", and *ret is empty. Close accepts an empty one ({0}). */
qsr_status qsr_npy_open(const char *path, qsr_npy *ret, qsr_error *e);
void qsr_npy_close(qsr_npy *);
/* The same for a whole file in memory, which is borrowed (nothing to close) and has no path in errors. *ret_fortran: the numbers lie
 * in Fortran order, the first index moving fastest; such arrays of rank 2 and more are refused by open. */
qsr_status qsr_npy_parse(const unsigned char *bytes, size_t n, qsr_npy *ret, bool *ret_fortran, qsr_error *e);
/* The header that qsr_npy_write writes, for writers that do not know the shape in advance: of rank 1 it has 128 bytes whatever the
 * count. NumPy has no BF16: false. */
bool qsr_npy_header(qsr_dtype, size_t rank, const size_t *shape, qsr_text *out);
/* Version 1.0, data aligned to 64 bytes, whole or not at all. NumPy has no BF16: QSR_E_UNSUPPORTED. */
qsr_status qsr_npy_write(const char *path, qsr_dtype, size_t rank, const size_t *shape, const void *data, qsr_error *e);
#endif

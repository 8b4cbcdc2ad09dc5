/* format/npz: NumPy's .npz, a ZIP of .npy files, stored or deflated (numpy.savez, numpy.savez_compressed); npz.c is the only includer
 * of zip.h. Believes nothing in the file. */
#ifndef QSR_FORMAT_NPZ_H
#define QSR_FORMAT_NPZ_H
#include "format/safetensors.h"

typedef struct qsr_npz qsr_npz;

/* Reads every array into memory, in C order whatever the file has. Whatever is wrong: QSR_E_INPUT, "<path>: ...". Tensors live until
 * close, which accepts NULL; their names are those of the members without ".npy". */
qsr_status qsr_npz_open(const char *path, qsr_npz **ret, qsr_error *e);
void qsr_npz_close(qsr_npz *);
size_t qsr_npz_count(const qsr_npz *);
const qsr_tensor *qsr_npz_at(const qsr_npz *, size_t i);           /* in the order of the file; i < count */
const qsr_tensor *qsr_npz_find(const qsr_npz *, const char *name); /* NULL: no such array */

/* Whether the file begins as a ZIP does. Then *ret_member (may be NULL) is true where the archive has a member whose name ends in
 * `suffix`, such as "data.pkl". */
bool qsr_zip_has(const char *path, const char *suffix, bool *ret_member);
#endif

/* format/tfevents: TensorBoard's event files: records of length, masked CRC-32C and a protobuf `Event`, the first of which names
 * the version. Scalars alone. The format is that of TensorFlow's tsl/lib/io/record_writer and tensorflow/core/util/event.proto. */
#ifndef QSR_FORMAT_TFEVENTS_H
#define QSR_FORMAT_TFEVENTS_H
#include "base/fs.h"
#include "base/text.h"

/* CRC-32C (Castagnoli), and the same rotated and shifted, as records store it. */
uint32_t qsr_crc32c(const void *bytes, size_t n);
uint32_t qsr_crc32c_masked(const void *bytes, size_t n);

typedef struct {
    const char *tag;
    double value; /* stored as a float */
} qsr_scalar;

typedef struct {
    qsr_writer writer;
    qsr_text pending;
} qsr_tfevents;

/* Opens `path` aside and writes the version record; the file appears with the commit, replacing an older one. TensorBoard reads
 * files whose name contains "tfevents". wall_time: seconds since 1970. */
qsr_status qsr_tfevents_open(qsr_tfevents *, const char *path, double wall_time, qsr_error *e);
/* One event with n scalars of one step. */
qsr_status qsr_tfevents_add(qsr_tfevents *, double wall_time, int64_t step, const qsr_scalar *, size_t n, qsr_error *e);
qsr_status qsr_tfevents_commit(qsr_tfevents *, qsr_error *e); /* closes it either way */
void qsr_tfevents_abort(qsr_tfevents *);
#endif

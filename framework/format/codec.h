/* format/codec: decompressors that pull from a reader. gzip.c alone includes zlib.h, zstd.c alone zstd.h. */
#ifndef QSR_FORMAT_CODEC_H
#define QSR_FORMAT_CODEC_H
#include "base/fs.h"

typedef struct qsr_codec qsr_codec;
struct qsr_codec {
    /* *ret_n bytes, n unless the data ends; 0: it has ended. Damage and a missing end: QSR_E_INPUT, "<path>: ...". */
    qsr_status (*get)(qsr_codec *, void *bytes, size_t n, size_t *ret_n, qsr_error *e);
    void (*close)(qsr_codec *);
    qsr_reader *reader; /* borrowed */
    size_t taken;       /* bytes got from it */
};

qsr_codec *qsr_gzip_new(qsr_reader *); /* any number of members; zeros behind the last are padding. NULL: memory refused */
qsr_codec *qsr_zstd_new(qsr_reader *); /* any number of frames, windows of any size */
#endif

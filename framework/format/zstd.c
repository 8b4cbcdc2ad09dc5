/* format/zstd: Zstandard (RFC 8878) through libzstd. */
#include <stdlib.h>
#include <zstd.h>

#include "base/arena.h"
#include "format/codec.h"

enum { PIECE = 1 << 16, WINDOW_LOG = sizeof(size_t) == 4 ? 30 : 31 }; /* what `zstd --long=31` makes */

typedef struct {
    qsr_codec codec;
    ZSTD_DStream *stream;
    ZSTD_inBuffer in;
    bool inside, ended, any; /* of a frame; the file; a frame has begun */
    unsigned char bytes[PIECE];
} zstd;

static qsr_status refill(zstd *z, qsr_error *e)
{
    size_t n;
    if (z->in.pos < z->in.size) return QSR_OK;
    qsr_status status = qsr_reader_get(z->codec.reader, z->bytes, sizeof z->bytes, &n, e);
    if (status) return status;
    z->in = (ZSTD_inBuffer){z->bytes, n, 0};
    z->codec.taken += n;
    z->ended = n == 0;
    z->any |= n > 0;
    return QSR_OK;
}

static qsr_status get(qsr_codec *codec, void *bytes, size_t n, size_t *ret_n, qsr_error *e)
{
    zstd *z = (zstd *)codec;
    const char *path = codec->reader->path;
    ZSTD_outBuffer out = {bytes, n, 0};
    while (out.pos < out.size) {
        qsr_status status = refill(z, e);
        if (status) return status;
        if (z->ended && !z->any) return qsr_fail(e, QSR_E_INPUT, "%s: the file is empty, not zstd data", path);
        const size_t before = out.pos;
        const size_t code = z->ended && !z->inside ? 0 : ZSTD_decompressStream(z->stream, &out, &z->in);
        if (ZSTD_isError(code))
            return qsr_fail(e, QSR_E_INPUT, "%s: damaged zstd data near byte %zu: %s", path,
                            codec->taken - (z->in.size - z->in.pos), ZSTD_getErrorName(code));
        z->inside = code != 0;
        if (!z->ended || out.pos > before) continue;
        if (z->inside) return qsr_fail(e, QSR_E_INPUT, "%s: truncated: the zstd data ends too early", path);
        break;
    }
    *ret_n = out.pos;
    return QSR_OK;
}

static void close_zstd(qsr_codec *codec)
{
    zstd *z = (zstd *)codec;
    ZSTD_freeDStream(z->stream);
    free(z);
}

qsr_codec *qsr_zstd_new(qsr_reader *reader)
{
    zstd *z = qsr_xcalloc(1, sizeof *z);
    z->codec = (qsr_codec){.get = get, .close = close_zstd, .reader = reader};
    z->stream = ZSTD_createDStream();
    if (z->stream && !ZSTD_isError(ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, WINDOW_LOG))) return &z->codec;
    close_zstd(&z->codec);
    return NULL;
}

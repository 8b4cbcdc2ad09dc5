/* format/gzip: RFC 1952 through zlib. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/arena.h"
#include "format/codec.h"

enum { PIECE = 1 << 16 };

typedef struct {
    qsr_codec codec;
    z_stream z;
    bool inside, any; /* of a member; one has ended */
    unsigned char in[PIECE];
} gzip;

static qsr_status refill(gzip *g, qsr_error *e)
{
    size_t n;
    if (g->z.avail_in) return QSR_OK;
    qsr_status status = qsr_reader_get(g->codec.reader, g->in, sizeof g->in, &n, e);
    if (status) return status;
    g->z.next_in = g->in;
    g->z.avail_in = (unsigned)n;
    g->codec.taken += n;
    return QSR_OK;
}

static qsr_status damaged(const gzip *g, const char *what, qsr_error *e)
{
    return qsr_fail(e, QSR_E_INPUT, "%s: damaged gzip data near byte %zu: %s", g->codec.reader->path,
                    g->codec.taken - g->z.avail_in, what);
}

/* Between members. *ret_more = false: the file has ended. */
static qsr_status begin_member(gzip *g, bool *ret_more, qsr_error *e)
{
    qsr_status status = refill(g, e);
    while (!status && g->any && g->z.avail_in && !*g->z.next_in) { /* padding, as of tapes */
        g->z.next_in++, g->z.avail_in--;
        status = refill(g, e);
    }
    *ret_more = g->z.avail_in > 0;
    if (status) return status;
    if (!*ret_more && !g->any)
        return qsr_fail(e, QSR_E_INPUT, "%s: the file is empty, not gzip data", g->codec.reader->path);
    if (*ret_more && g->any && inflateReset(&g->z) != Z_OK) return damaged(g, "zlib refuses to go on", e);
    g->inside = *ret_more;
    return QSR_OK;
}

static qsr_status inflate_some(gzip *g, qsr_error *e)
{
    qsr_status status = refill(g, e);
    if (status) return status;
    if (!g->z.avail_in)
        return qsr_fail(e, QSR_E_INPUT, "%s: truncated: the gzip data ends too early", g->codec.reader->path);
    const int code = inflate(&g->z, Z_NO_FLUSH);
    if (code == Z_MEM_ERROR) return qsr_fail_nomem(e, "decompression", 0);
    if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
        return damaged(g, g->z.msg ? g->z.msg : "zlib does not say what", e);
    if (code == Z_STREAM_END) g->inside = false, g->any = true;
    return QSR_OK;
}

static qsr_status get(qsr_codec *codec, void *bytes, size_t n, size_t *ret_n, qsr_error *e)
{
    gzip *g = (gzip *)codec;
    const unsigned most = n < 1u << 30 ? (unsigned)n : 1u << 30;
    qsr_status status = QSR_OK;
    bool more = true;
    g->z.next_out = bytes;
    g->z.avail_out = most;
    while (g->z.avail_out && more && !status) status = g->inside ? inflate_some(g, e) : begin_member(g, &more, e);
    *ret_n = most - g->z.avail_out;
    return status;
}

static void close_gzip(qsr_codec *codec)
{
    gzip *g = (gzip *)codec;
    inflateEnd(&g->z);
    free(g);
}

qsr_codec *qsr_gzip_new(qsr_reader *reader)
{
    enum { GZIP_WINDOW = 15 + 16 }; /* +16: a gzip header and no other */
    gzip *g = qsr_xcalloc(1, sizeof *g);
    g->codec = (qsr_codec){.get = get, .close = close_gzip, .reader = reader};
    if (inflateInit2(&g->z, GZIP_WINDOW) == Z_OK) return &g->codec;
    free(g);
    return NULL;
}

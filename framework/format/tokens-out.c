#include "format/tokens-out.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/npy.h"

enum { CHUNK = 8192 };

qsr_status qsr_tokens_out_check(const char *path, uint32_t largest, qsr_error *e)
{
    const bool bin = qsr_ends_with(path, ".bin");
    if (!bin && !qsr_ends_with(path, ".npy"))
        return qsr_fail(e, QSR_E_INPUT, "%s: tokens are written as .npy or as .bin (nanoGPT's uint16)", path);
    if (bin && largest > UINT16_MAX)
        return qsr_fail(e, QSR_E_INPUT, "%s: a .bin holds ids up to %d, this vocabulary has %u: write a .npy", path,
                        UINT16_MAX, largest);
    return QSR_OK;
}

static qsr_status put_header(qsr_tokens_out *t, bool again, qsr_error *e)
{
    qsr_text header = {0};
    qsr_npy_header(t->dtype, 1, &t->count, &header); /* of equal length for every count */
    qsr_status status = again ? qsr_writer_patch(&t->file, 0, header.bytes, header.length, e)
                              : qsr_writer_put(&t->file, header.bytes, header.length, e);
    qsr_text_free(&header);
    return status;
}

qsr_status qsr_tokens_out_open(qsr_tokens_out *t, const char *path, uint32_t largest, qsr_error *e)
{
    *t = (qsr_tokens_out){
        .file = {.fd = -1}, .npy = !qsr_ends_with(path, ".bin"), .dtype = largest > UINT16_MAX ? QSR_U32 : QSR_U16};
    qsr_status status = qsr_tokens_out_check(path, largest, e);
    if (!status) status = qsr_writer_open(&t->file, path, e);
    if (!status && t->npy) status = put_header(t, false, e);
    if (status) qsr_tokens_out_abort(t);
    return status;
}

qsr_status qsr_tokens_out_put(qsr_tokens_out *t, const uint32_t *ids, size_t n, qsr_error *e)
{
    unsigned char bytes[4 * CHUNK];
    const size_t width = qsr_dtype_size(t->dtype);
    qsr_status status = QSR_OK;
    t->count += n;
    for (; n && !status; n -= qsr_min_size(n, CHUNK), ids += CHUNK) {
        const size_t some = qsr_min_size(n, CHUNK);
        for (size_t i = 0; i < some; i++)
            for (size_t k = 0; k < width; k++) bytes[i * width + k] = (unsigned char)(ids[i] >> 8 * k);
        status = qsr_writer_put(&t->file, bytes, some * width, e);
    }
    return status;
}

qsr_status qsr_tokens_out_commit(qsr_tokens_out *t, qsr_error *e)
{
    qsr_status status = t->npy ? put_header(t, true, e) : QSR_OK;
    if (!status) return qsr_writer_commit(&t->file, e);
    qsr_tokens_out_abort(t);
    return status;
}

void qsr_tokens_out_abort(qsr_tokens_out *t) { qsr_writer_abort(&t->file); }

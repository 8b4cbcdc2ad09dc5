#include "tokens.h"

#include "base/sizes.h"

void gpt2_tokens_read(const gpt2_tokens *t, size_t begin, size_t n, int64_t *ids)
{
    qsr_to_int(t->file.dtype, (const char *)t->file.data + begin * qsr_dtype_size(t->file.dtype), n, ids);
}

/* One pass over the whole file, so that a bad id is found before the first step and not hours later. Types that cannot hold
 * an id outside the vocabulary need none. */
static qsr_status check_ids(const gpt2_tokens *t, const char *path, size_t vocabulary, qsr_error *e)
{
    enum { CHUNK = 4096 };
    int64_t ids[CHUNK];
    if (t->file.dtype == QSR_U16 && vocabulary > UINT16_MAX) return QSR_OK;
    for (size_t at = 0; at < t->file.count; at += CHUNK) {
        const size_t n = qsr_min_size(CHUNK, t->file.count - at);
        gpt2_tokens_read(t, at, n, ids);
        uint64_t most = 0;
        for (size_t i = 0; i < n; i++) most = (uint64_t)ids[i] > most ? (uint64_t)ids[i] : most;
        if (most < vocabulary) continue;
        size_t i = 0;
        while ((uint64_t)ids[i] < vocabulary) i++;
        return qsr_fail(e, QSR_E_INPUT,
                        "%s: token %zu is %lld, outside the model's vocabulary of %zu: were these tokens made "
                        "for another model?",
                        path, at + i, (long long)ids[i], vocabulary);
    }
    return QSR_OK;
}

qsr_status gpt2_tokens_open(const char *path, size_t vocabulary, gpt2_tokens *ret, qsr_error *e)
{
    gpt2_tokens t;
    qsr_status status = qsr_npy_open(path, &t.file, e);
    if (status) return status;
    switch (t.file.dtype) {
    case QSR_U16:
    case QSR_U32:
    case QSR_I32:
    case QSR_I64:
        status = check_ids(&t, path, vocabulary, e);
        break;
    default:
        status = qsr_fail(e, QSR_E_INPUT, "%s: holds %s, expected token ids as uint16, uint32, int32 or int64", path,
                          qsr_dtype_name(t.file.dtype));
    }
    if (status)
        gpt2_tokens_close(&t);
    else
        *ret = t;
    return status;
}

void gpt2_tokens_close(gpt2_tokens *t) { qsr_npy_close(&t->file); }

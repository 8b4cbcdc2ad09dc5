/* The npy reader under arbitrary bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/npy.h"
#include "fuzz.h"

static void walk(const qsr_npy *npy)
{
    size_t count = 1;
    for (size_t d = 0; d < npy->rank; d++) count *= npy->shape[d];
    const unsigned char *data = npy->data, *end = npy->map.bytes + npy->map.size;
    if (npy->rank > 8 || count != npy->count || (size_t)(end - data) != count * qsr_dtype_size(npy->dtype)) abort();
    if (qsr_dtype_is_real(npy->dtype)) {
        float *out = qsr_xcalloc(count, sizeof *out);
        qsr_to_float(npy->dtype, data, count, out);
        free(out);
    } else {
        int64_t *out = qsr_xcalloc(count, sizeof *out);
        qsr_to_int(npy->dtype, data, count, out);
        free(out);
    }
}

int fuzz_read(const char *path)
{
    qsr_npy npy;
    qsr_error e = {0};
    if (qsr_npy_open(path, &npy, &e)) {
        if (npy.map.bytes || e.code != QSR_E_INPUT || !e.text[0]) abort();
        return 1;
    }
    walk(&npy);
    qsr_npy_close(&npy);
    return 0;
}

bool fuzz_seed(size_t i, const char *path)
{
    static const unsigned char zero[128];
    static const size_t shape[] = {3, 2, 1, 2};
    static const struct {
        qsr_dtype dtype;
        size_t rank;
    } kinds[] = {{QSR_F32, 2}, {QSR_U16, 1}, {QSR_F64, 4}, {QSR_BOOL, 0}, {QSR_F16, 3}, {QSR_I64, 1}};
    if (i >= sizeof kinds / sizeof kinds[0]) return false;
    return qsr_npy_write(path, kinds[i].dtype, kinds[i].rank, shape, zero, NULL) == QSR_OK;
}

void fuzz_repair(uint8_t *bytes, size_t n)
{
    const uint8_t *end = n > 10 ? memchr(bytes + 10, '\n', n - 10) : NULL;
    size_t length = end ? (size_t)(end - bytes) + 1 - 10 : 0;
    if (end) bytes[8] = (uint8_t)length, bytes[9] = (uint8_t)(length >> 8);
}

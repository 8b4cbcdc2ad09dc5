/* The safetensors reader under arbitrary bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/safetensors.h"
#include "fuzz.h"

/* Converts every element, so that a sanitizer or the end of the map notices a tensor outside the file. */
static void walk(const qsr_tensor *t)
{
    size_t count = 1;
    for (size_t d = 0; d < t->rank; d++) count *= t->shape[d];
    if (t->rank > QSR_MAX_RANK || count != t->count) abort();
    if (qsr_dtype_is_real(t->dtype)) {
        float *out = qsr_xcalloc(t->count, sizeof *out);
        qsr_to_float(t->dtype, t->data, t->count, out);
        free(out);
    } else {
        int64_t *out = qsr_xcalloc(t->count, sizeof *out);
        qsr_to_int(t->dtype, t->data, t->count, out);
        free(out);
    }
}

int fuzz_read(const char *path)
{
    qsr_safetensors *st;
    qsr_error e = {0};
    if (qsr_safetensors_open(path, &st, &e)) {
        if (st || e.code != QSR_E_INPUT || !e.text[0]) abort();
        return 1;
    }
    for (size_t i = 0; i < qsr_safetensors_count(st); i++) {
        const qsr_tensor *t = qsr_safetensors_at(st, i);
        if (qsr_safetensors_find(st, t->name) != t) abort();
        walk(t);
    }
    qsr_safetensors_metadata(st, "format");
    qsr_safetensors_close(st);
    return 0;
}

bool fuzz_seed(size_t i, const char *path)
{
    static const double zero[16];
    static const qsr_tensor tensors[] = {
        {"W_enc", QSR_F32, 2, {2, 3}, 6, zero}, {"b", QSR_BF16, 1, {5}, 5, zero},
        {"scalar", QSR_F16, 0, {0}, 1, zero},   {"none", QSR_F64, 3, {0, 4, 2}, 0, zero},
        {"tokens", QSR_U16, 1, {7}, 7, zero},   {"deep", QSR_I8, 8, {1, 1, 2, 1, 1, 3, 1, 1}, 6, zero},
    };
    static const char *const metadata[] = {"format", "pt", NULL};
    if (i > 2) return false;
    return qsr_safetensors_write(path, tensors, i == 0 ? 6 : i, i == 1 ? NULL : metadata, NULL) == QSR_OK;
}

void fuzz_repair(uint8_t *bytes, size_t n)
{
    uint64_t length = 0;
    for (size_t i = 8; i < n; i++)
        if (bytes[i] == '}') length = i + 1 - 8;
    if (n >= 8) memcpy(bytes, &length, sizeof length);
}

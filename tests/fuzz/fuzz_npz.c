/* The npz reader under arbitrary bytes. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "../unit/zip-fixture.h"
#include "base/arena.h"
#include "base/fs.h"
#include "format/npy.h"
#include "format/npz.h"
#include "fuzz.h"

static void walk(const qsr_tensor *t)
{
    size_t count = 1;
    for (size_t d = 0; d < t->rank; d++) count *= t->shape[d];
    if (t->rank > QSR_MAX_RANK || count != t->count) abort();
    float *out = qsr_xcalloc(t->count + 1, sizeof *out);
    int64_t *whole = qsr_xcalloc(t->count + 1, sizeof *whole);
    if (qsr_dtype_is_real(t->dtype)) qsr_to_float(t->dtype, t->data, t->count, out);
    else qsr_to_int(t->dtype, t->data, t->count, whole);
    free(out);
    free(whole);
}

int fuzz_read(const char *path)
{
    qsr_npz *npz;
    qsr_error e = {0};
    bool member;
    qsr_zip_has(path, "data.pkl", &member);
    if (qsr_npz_open(path, &npz, &e)) {
        if (npz || (e.code != QSR_E_INPUT && e.code != QSR_E_NOMEM) || !e.text[0]) abort();
        return 1;
    }
    for (size_t i = 0; i < qsr_npz_count(npz); i++) {
        if (qsr_npz_find(npz, qsr_npz_at(npz, i)->name) != qsr_npz_at(npz, i)) abort();
        walk(qsr_npz_at(npz, i));
    }
    qsr_npz_close(npz);
    return 0;
}

/* Two arrays, one of them in Fortran order, both stored or both deflated. */
bool fuzz_seed(size_t i, const char *path)
{
    static const unsigned char zero[64];
    static const size_t shape[] = {3, 4};
    qsr_text plain = {0}, turned = {0}, out = {0};
    if (i > 1) return false;
    if (!qsr_npy_header(QSR_F32, 2, shape, &plain) || !qsr_npy_header(QSR_F32, 2, shape, &turned)) abort();
    char *order = strstr(turned.bytes + 10, "False");
    memcpy(order, " True", 5);
    qsr_text_append(&plain, zero, 48);
    qsr_text_append(&turned, zero, 48);
    zip_member members[] = {{"W_enc.npy", plain.bytes, plain.length, i == 1, -1, -1, 0, -1},
                            {"W_dec.npy", turned.bytes, turned.length, i == 1, -1, -1, 0, -1}};
    zip_fixture(members, 2, &out);
    bool ok = qsr_write_file(path, out.bytes, out.length, NULL) == QSR_OK;
    qsr_text_free(&plain);
    qsr_text_free(&turned);
    qsr_text_free(&out);
    return ok;
}

static uint32_t word_at(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24; }

static void put_word(uint8_t *p, uint32_t value)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> 8 * i);
}

/* Checksums of stored members, so that what changed inside them is read. */
void fuzz_repair(uint8_t *bytes, size_t n)
{
    for (size_t at = 0; at + 46 <= n; at++) {
        if (memcmp(bytes + at, "PK\1\2", 4) != 0 || bytes[at + 10] != 0) continue;
        size_t local = word_at(bytes + at + 42), size = word_at(bytes + at + 20);
        if (local > n || n - local < 30 || memcmp(bytes + local, "PK\3\4", 4) != 0) continue;
        size_t data = local + 30 + bytes[local + 26] + 256 * (size_t)bytes[local + 27] + bytes[local + 28] + 256 * (size_t)bytes[local + 29];
        if (data > n || size > n - data) continue;
        uint32_t crc = (uint32_t)crc32(0, bytes + data, (uInt)size);
        put_word(bytes + at + 16, crc);
        put_word(bytes + local + 14, crc);
    }
}

#include "zip-fixture.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static void put(qsr_text *out, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) qsr_text_append(out, &(unsigned char){(unsigned char)(i < 8 ? value >> 8 * i : 0)}, 1);
}

/* Raw deflate, without zlib's frame. */
static size_t squeeze(const zip_member *m, unsigned char **ret)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)m->bytes, .avail_in = (uInt)m->n};
    if (deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    size_t room = deflateBound(&z, (uLong)m->n);
    *ret = malloc(room);
    z.next_out = *ret;
    z.avail_out = (uInt)room;
    if (deflate(&z, Z_FINISH) != Z_STREAM_END) abort();
    deflateEnd(&z);
    return z.total_out;
}

/* What the local header and the central one share. */
static void put_entry(const zip_member *m, size_t packed, qsr_text *out)
{
    put(out, 20, 2);
    put(out, m->flags > 0 ? (uint64_t)m->flags : 0, 2);
    put(out, m->method >= 0 ? (uint64_t)m->method : m->deflated ? 8 : 0, 2);
    put(out, 0, 4); /* time, date */
    put(out, m->crc >= 0 ? (uint64_t)m->crc : crc32(0, m->bytes, (uInt)m->n), 4);
    put(out, packed, 4);
    put(out, m->size >= 0 ? (uint64_t)m->size : m->n, 4);
    put(out, strlen(m->name), 2);
    put(out, 0, 2); /* extra */
}

void zip_fixture(const zip_member *members, size_t n, qsr_text *out)
{
    qsr_text central = {0};
    for (size_t i = 0; i < n; i++) {
        const zip_member *m = &members[i];
        unsigned char *squeezed = NULL;
        size_t packed = m->deflated ? squeeze(m, &squeezed) : m->n, at = out->length;
        qsr_text_append(out, "PK\3\4", 4);
        put_entry(m, packed, out);
        qsr_text_puts(out, m->name);
        qsr_text_append(out, squeezed ? (const void *)squeezed : m->bytes, packed);
        free(squeezed);
        qsr_text_append(&central, "PK\1\2", 4);
        put(&central, 20, 2);
        put_entry(m, packed, &central);
        put(&central, 0, 2 + 2 + 2 + 4); /* comment, disk, attributes */
        put(&central, at, 4);
        qsr_text_puts(&central, m->name);
    }
    size_t at = out->length;
    if (n) qsr_text_append(out, central.bytes, central.length);
    qsr_text_append(out, "PK\5\6", 4);
    put(out, 0, 4);
    put(out, n, 2);
    put(out, n, 2);
    put(out, central.length, 4);
    put(out, at, 4);
    put(out, 0, 2);
    qsr_text_free(&central);
}

#include "format/tfevents.h"

#include <string.h>

enum { FLUSH_BYTES = 1 << 16 };

/* ---- CRC-32C, four bits at a time: the reflected polynomial 0x82F63B78 ----------------------------------------------- */

static const uint32_t nibbles[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
                                     0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                     0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};

uint32_t qsr_crc32c(const void *bytes, size_t n)
{
    const unsigned char *from = bytes;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= from[i];
        crc = crc >> 4 ^ nibbles[crc & 15];
        crc = crc >> 4 ^ nibbles[crc & 15];
    }
    return ~crc;
}

uint32_t qsr_crc32c_masked(const void *bytes, size_t n)
{
    uint32_t crc = qsr_crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* ---- protobuf, little-endian whatever the machine ------------------------------------------------------------------ */

static void put_bits(qsr_text *out, uint64_t bits, int bytes)
{
    for (int i = 0; i < bytes; i++) qsr_text_append(out, &(unsigned char){(unsigned char)(bits >> 8 * i)}, 1);
}

static void put_varint(qsr_text *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) put_bits(out, value | 0x80, 1);
    put_bits(out, value, 1);
}

static void put_tag(qsr_text *out, unsigned tag) { put_bits(out, tag, 1); }

static void put_bytes(qsr_text *out, unsigned tag, const void *bytes, size_t n)
{
    put_tag(out, tag);
    put_varint(out, n);
    qsr_text_append(out, bytes, n);
}

static void put_double(qsr_text *out, unsigned tag, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_tag(out, tag);
    put_bits(out, bits, 8);
}

static void put_float(qsr_text *out, unsigned tag, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_tag(out, tag);
    put_bits(out, bits, 4);
}

/* Tag bytes: field << 3 | wire type. */
enum {
    EVENT_WALL_TIME = 0x09,
    EVENT_STEP = 0x10,
    EVENT_VERSION = 0x1a,
    EVENT_SUMMARY = 0x2a,
    SUMMARY_VALUE = 0x0a,
    VALUE_TAG = 0x0a,
    VALUE_SIMPLE = 0x15
};

static void put_record(qsr_text *out, const qsr_text *event)
{
    qsr_text length = {0};
    put_bits(&length, event->length, 8);
    qsr_text_append(out, length.bytes, 8);
    put_bits(out, qsr_crc32c_masked(length.bytes, 8), 4);
    qsr_text_append(out, event->bytes, event->length);
    put_bits(out, qsr_crc32c_masked(event->bytes, event->length), 4);
    qsr_text_free(&length);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

qsr_status qsr_tfevents_open(qsr_tfevents *t, const char *path, double wall_time, qsr_error *e)
{
    static const char version[] = "brain.Event:2";
    *t = (qsr_tfevents){.writer.fd = -1};
    qsr_status status = qsr_writer_open(&t->writer, path, e);
    if (status) return status;
    qsr_text event = {0};
    put_double(&event, EVENT_WALL_TIME, wall_time);
    put_bytes(&event, EVENT_VERSION, version, strlen(version));
    put_record(&t->pending, &event);
    qsr_text_free(&event);
    return QSR_OK;
}

static qsr_status flush(qsr_tfevents *t, qsr_error *e)
{
    qsr_status status = qsr_writer_put(&t->writer, t->pending.bytes, t->pending.length, e);
    t->pending.length = 0;
    return status;
}

qsr_status qsr_tfevents_add(qsr_tfevents *t, double wall_time, int64_t step, const qsr_scalar *scalars, size_t n,
                            qsr_error *e)
{
    qsr_text event = {0}, summary = {0}, value = {0};
    for (size_t i = 0; i < n; i++) {
        value.length = 0;
        put_bytes(&value, VALUE_TAG, scalars[i].tag, strlen(scalars[i].tag));
        put_float(&value, VALUE_SIMPLE, (float)scalars[i].value);
        put_bytes(&summary, SUMMARY_VALUE, value.bytes, value.length);
    }
    put_double(&event, EVENT_WALL_TIME, wall_time);
    put_tag(&event, EVENT_STEP);
    put_varint(&event, (uint64_t)step);
    put_bytes(&event, EVENT_SUMMARY, summary.bytes, summary.length);
    put_record(&t->pending, &event);
    qsr_text_free(&event);
    qsr_text_free(&summary);
    qsr_text_free(&value);
    return t->pending.length < FLUSH_BYTES ? QSR_OK : flush(t, e);
}

qsr_status qsr_tfevents_commit(qsr_tfevents *t, qsr_error *e)
{
    qsr_status status = flush(t, e);
    if (!status) status = qsr_writer_commit(&t->writer, e);
    qsr_tfevents_abort(t);
    return status;
}

void qsr_tfevents_abort(qsr_tfevents *t)
{
    qsr_writer_abort(&t->writer);
    qsr_text_free(&t->pending);
}

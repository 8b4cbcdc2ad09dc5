#include "format/documents.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/codec.h"
#include "format/json.h"

enum { PIECE = 1 << 18, LINE_LIMIT = 1 << 30 };

struct qsr_documents {
    qsr_reader reader;
    qsr_codec *codec; /* NULL: as it is on the disk */
    size_t plain_read;
    bool lines;
    bool begun;                  /* text files: the one document */
    char *buffer;                /* [capacity] */
    size_t begin, end, capacity; /* what of it was read and not yet used */
    size_t line;                 /* number of the line that was read last */
    bool ended;                  /* nothing more comes from the file */
    json_t *record;              /* the line's object */
    bool given;                  /* its text was read */
};

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

static qsr_status get(qsr_documents *d, char *bytes, size_t n, size_t *ret_n, qsr_error *e)
{
    if (d->codec) return d->codec->get(d->codec, bytes, n, ret_n, e);
    qsr_status status = qsr_reader_get(&d->reader, bytes, n, ret_n, e);
    if (!status) d->plain_read += *ret_n;
    return status;
}

void qsr_documents_position(const qsr_documents *d, size_t *ret_read, size_t *ret_size)
{
    *ret_read = d->codec ? d->codec->taken : d->plain_read;
    *ret_size = d->reader.size;
}

/* The length of the name without .gz or .zst. */
static size_t stem_of(const char *path)
{
    const size_t n = strlen(path);
    return n - (qsr_ends_with(path, ".gz") ? 3 : qsr_ends_with(path, ".zst") ? 4 : 0);
}

static bool stem_ends(const char *path, const char *ending)
{
    const size_t n = stem_of(path), k = strlen(ending);
    return n >= k && memcmp(path + n - k, ending, k) == 0;
}

const char *qsr_documents_kind(const char *path)
{
    return stem_ends(path, ".txt") ? "text" : stem_ends(path, ".jsonl") ? "jsonl" : NULL;
}

qsr_status qsr_documents_open(const char *path, qsr_documents **ret, qsr_error *e)
{
    const char *kind = qsr_documents_kind(path);
    if (!kind)
        return qsr_fail(e, QSR_E_INPUT,
                        "%s: a text is called .txt or .jsonl, and .gz or .zst after that where it is compressed", path);
    qsr_documents *d = qsr_xcalloc(1, sizeof *d);
    d->reader.fd = -1;
    d->lines = strcmp(kind, "jsonl") == 0;
    qsr_status status = qsr_reader_open(&d->reader, path, e);
    const bool gzip = qsr_ends_with(path, ".gz"), zstd = qsr_ends_with(path, ".zst");
    if (!status && (gzip || zstd)) {
        d->codec = gzip ? qsr_gzip_new(&d->reader) : qsr_zstd_new(&d->reader);
        if (!d->codec) status = qsr_fail_nomem(e, "decompression", 0);
    }
    d->capacity = PIECE;
    d->buffer = qsr_xcalloc(d->capacity, 1);
    if (status)
        qsr_documents_close(d);
    else
        *ret = d;
    return status;
}

void qsr_documents_close(qsr_documents *d)
{
    if (!d) return;
    if (d->codec) d->codec->close(d->codec);
    qsr_reader_close(&d->reader);
    json_decref(d->record);
    free(d->buffer);
    free(d);
}

/* ---- .jsonl ------------------------------------------------------------------------------------------------------ */

/* More bytes behind those at hand, which move to the head of the buffer. */
static qsr_status fill(qsr_documents *d, qsr_error *e)
{
    memmove(d->buffer, d->buffer + d->begin, d->end - d->begin);
    d->end -= d->begin;
    d->begin = 0;
    if (d->end > LINE_LIMIT)
        return qsr_fail(e, QSR_E_INPUT, "%s:%zu: the line is longer than %d bytes", d->reader.path, d->line + 1,
                        LINE_LIMIT);
    if (d->capacity - d->end < PIECE / 2) {
        d->capacity *= 2;
        d->buffer = qsr_xrealloc(d->buffer, d->capacity, 1);
    }
    size_t n = 0;
    qsr_status status = get(d, d->buffer + d->end, d->capacity - d->end, &n, e);
    d->end += n;
    d->ended = n == 0;
    return status;
}

/* The next line without its end, in the buffer; QSR_END: there is none. */
static qsr_status next_line(qsr_documents *d, const char **ret, size_t *ret_n, qsr_error *e)
{
    const char *stop = NULL;
    size_t seen = 0;
    for (;;) {
        const char *at = d->buffer + d->begin + seen;
        stop = memchr(at, '\n', d->end - d->begin - seen);
        if (stop || d->ended) break;
        seen = d->end - d->begin;
        qsr_status status = fill(d, e);
        if (status) return status;
    }
    if (!stop && d->begin == d->end) return QSR_END;
    *ret = d->buffer + d->begin;
    *ret_n = (stop ? (size_t)(stop - d->buffer) : d->end) - d->begin;
    d->begin = stop ? (size_t)(stop - d->buffer) + 1 : d->end;
    d->line++;
    return QSR_OK;
}

static bool is_blank(const char *line, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(" \t\r", line[i]) || !line[i]) return false;
    return true;
}

static qsr_status read_record(qsr_documents *d, const char *line, size_t n, qsr_error *e)
{
    if (d->line == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) line += 3, n -= 3; /* a byte order mark */
    qsr_status status = qsr_json_record(d->reader.path, d->line, line, n, &d->record, e);
    if (status) return status;
    const json_t *text = json_object_get(d->record, "text");
    const char *wrong = !json_is_object(d->record) ? "the line is not an object"
                        : !text                    ? "there is no \"text\""
                                                   : "\"text\" is not a string";
    if (json_is_string(text)) return QSR_OK;
    json_decref(d->record);
    d->record = NULL;
    return qsr_fail(e, QSR_E_INPUT, "%s:%zu: %s", d->reader.path, d->line, wrong);
}

static qsr_status next_record(qsr_documents *d, qsr_error *e)
{
    const char *line = NULL;
    size_t n = 0;
    json_decref(d->record);
    d->record = NULL;
    d->given = false;
    qsr_status status = QSR_OK;
    do status = next_line(d, &line, &n, e);
    while (!status && is_blank(line, n));
    return status ? status : read_record(d, line, n, e);
}

/* ---- documents --------------------------------------------------------------------------------------------------- */

qsr_status qsr_documents_next(qsr_documents *d, qsr_error *e)
{
    if (d->lines) return next_record(d, e);
    if (d->begun) return QSR_END;
    d->begun = true;
    return QSR_OK;
}

qsr_status qsr_documents_read(qsr_documents *d, const char **ret_bytes, size_t *ret_n, qsr_error *e)
{
    if (!d->lines) {
        *ret_bytes = d->buffer;
        return get(d, d->buffer, d->capacity, ret_n, e);
    }
    const json_t *text = json_object_get(d->record, "text");
    *ret_bytes = d->given ? "" : json_string_value(text);
    *ret_n = d->given ? 0 : json_string_length(text);
    d->given = true;
    return QSR_OK;
}

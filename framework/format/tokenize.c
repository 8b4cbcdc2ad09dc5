#include "format/tokenize.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "format/documents.h"

enum { FLUSH = 1 << 16 }; /* ids that are kept before the sink gets them */

typedef struct {
    qsr_tokenizer *tokenizer;
    const qsr_tokenize_sink *sink;
    qsr_tokenize_state *state;
    qsr_ids ids;
    size_t read_before; /* bytes of the files that are done */
} work;

static qsr_status flush(work *w, const qsr_documents *d, size_t least, qsr_error *e)
{
    size_t read, size;
    if (w->ids.n < least) return QSR_OK;
    qsr_documents_position(d, &read, &size);
    w->state->read = w->read_before + read;
    w->state->tokens += w->ids.n;
    qsr_status status = w->ids.n ? w->sink->ids(w->sink->arg, w->ids.items, w->ids.n, e) : QSR_OK;
    w->ids.n = 0;
    if (!status && w->sink->at) status = w->sink->at(w->sink->arg, w->state, e);
    return status;
}

/* "corpus.txt: " or "corpus.jsonl, document 12: " before what the tokenizer says about a text. */
static qsr_status blame(const work *w, qsr_status status, qsr_error *e)
{
    if (strcmp(qsr_documents_kind(w->state->path), "jsonl") == 0)
        qsr_context(e, "%s, document %llu of all", w->state->path, (unsigned long long)w->state->documents);
    else
        qsr_context(e, "%s", w->state->path);
    return status;
}

static qsr_status encode_document(work *w, qsr_documents *d, qsr_error *e)
{
    const char *bytes;
    size_t n = 1;
    const uint32_t end = qsr_tokenizer_end(w->tokenizer);
    qsr_ids_reserve(&w->ids, 1);
    w->ids.items[w->ids.n++] = end;
    w->state->documents++;
    while (n) {
        qsr_status status = qsr_documents_read(d, &bytes, &n, e);
        if (status) return status;
        w->state->bytes += n;
        status = n ? qsr_tokenizer_put(w->tokenizer, bytes, n, &w->ids, e) : qsr_tokenizer_finish(w->tokenizer, &w->ids, e);
        if (status) return blame(w, status, e);
        if ((status = flush(w, d, FLUSH, e))) return status;
    }
    return QSR_OK;
}

static qsr_status encode_file(work *w, const char *path, qsr_error *e)
{
    qsr_documents *d;
    qsr_status status = qsr_documents_open(path, &d, e);
    if (status) return status;
    w->state->path = path;
    while (!status && !(status = qsr_documents_next(d, e))) status = encode_document(w, d, e);
    if (status == QSR_END) status = flush(w, d, 0, e);
    size_t read, size;
    qsr_documents_position(d, &read, &size);
    w->read_before += size;
    qsr_documents_close(d);
    return status;
}

/* Before any work: a name that says nothing and a file that is missing are found at once. */
static qsr_status look_at(const qsr_strings *paths, qsr_tokenize_state *state, qsr_error *e)
{
    for (size_t i = 0; i < paths->count; i++) {
        qsr_documents *d;
        size_t read, size;
        qsr_status status = qsr_documents_open(paths->items[i], &d, e);
        if (status) return status;
        qsr_documents_position(d, &read, &size);
        state->size += size;
        qsr_documents_close(d);
    }
    return QSR_OK;
}

qsr_status qsr_tokenize(qsr_tokenizer *t, const qsr_strings *paths, const qsr_tokenize_sink *sink, qsr_tokenize_state *ret,
                        qsr_error *e)
{
    work w = {.tokenizer = t, .sink = sink, .state = ret};
    *ret = (qsr_tokenize_state){0};
    qsr_status status = look_at(paths, ret, e);
    for (size_t i = 0; i < paths->count && !status; i++) status = encode_file(&w, paths->items[i], e);
    qsr_ids unused = {0};
    if (status) qsr_tokenizer_finish(t, &unused, NULL);
    free(unused.items);
    free(w.ids.items);
    return status;
}

#include "format/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "format/split.h"

enum { PIECE = 1 << 18 };
static const char RULE[] = "gpt2-bpe/1"; /* changes when the same files would give other ids */

struct qsr_tokenizer {
    char *folder;
    qsr_vocabulary *vocabulary;
    qsr_merges merges;
    qsr_bpe *bpe;
    qsr_splitter *splitter;
    uint32_t end;
    char *text;   /* what has no ids yet, and QSR_BPE_PADDING bytes behind it */
    char *shadow; /* the same where it is no UTF-8, with signs in place of stray bytes; NULL until needed */
    size_t n, capacity, shadow_capacity;
    size_t patience; /* wait for so many bytes: a word without an end need not be split again for each piece */
};

qsr_status qsr_tokenizer_open(const char *folder, qsr_tokenizer **ret, qsr_error *e)
{
    qsr_tokenizer *t = qsr_xcalloc(1, sizeof *t);
    t->folder = strcpy(qsr_xcalloc(strlen(folder) + 1, 1), folder);
    qsr_status status = qsr_vocabulary_open(folder, &t->vocabulary, e);
    if (!status) status = qsr_merges_open(folder, t->vocabulary, &t->merges, e);
    if (!status) status = qsr_vocabulary_end(t->vocabulary, &t->end, e);
    if (!status) status = qsr_splitter_new(&t->splitter, e);
    if (!status) t->bpe = qsr_bpe_new(t->vocabulary, &t->merges);
    if (status)
        qsr_tokenizer_close(t);
    else
        *ret = t;
    return status;
}

void qsr_tokenizer_close(qsr_tokenizer *t)
{
    if (!t) return;
    qsr_splitter_free(t->splitter);
    qsr_bpe_free(t->bpe);
    qsr_merges_close(&t->merges);
    qsr_vocabulary_close(t->vocabulary);
    free(t->folder);
    free(t->text);
    free(t->shadow);
    free(t);
}

const qsr_vocabulary *qsr_tokenizer_vocabulary(const qsr_tokenizer *t) { return t->vocabulary; }
uint32_t qsr_tokenizer_end(const qsr_tokenizer *t) { return t->end; }

uint32_t qsr_tokenizer_largest(const qsr_tokenizer *t)
{
    const uint32_t made = qsr_bpe_largest(t->bpe);
    return made > t->end ? made : t->end;
}

qsr_status qsr_tokenizer_digest(const qsr_tokenizer *t, qsr_digest *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_digest map, merges = {""};
    qsr_status status = qsr_digest_file(qsr_vocabulary_path(t->vocabulary), &map, e);
    if (!status && !qsr_vocabulary_is_tokenizer_json(t->vocabulary))
        status = qsr_digest_file(qsr_path_join(&arena, t->folder, "merges.txt"), &merges, e);
    if (!status) {
        const char *all = qsr_arena_printf(&arena, "%s %s %s %u", RULE, map.hex, merges.hex, t->end);
        *ret = qsr_digest_bytes(all, strlen(all));
    }
    qsr_arena_free(&arena);
    return status;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

/* What the splitter sees: the text itself, or where that is no UTF-8 a copy in which each stray byte is \x01, a sign. */
static const char *as_utf8(qsr_tokenizer *t)
{
    size_t at = qsr_utf8_valid(t->text, t->n, 0);
    if (at == t->n) return t->text;
    if (t->shadow_capacity < t->n) {
        t->shadow_capacity = t->capacity;
        t->shadow = qsr_xrealloc(t->shadow, t->shadow_capacity, 1);
    }
    memcpy(t->shadow, t->text, t->n);
    while (at < t->n) {
        t->shadow[at++] = 1;
        at += qsr_utf8_valid(t->text, t->n, at);
    }
    return t->shadow;
}

/* Encodes words from the head of the text; of a text that goes on, those that what follows cannot change. */
static qsr_status encode_words(qsr_tokenizer *t, bool last, qsr_ids *out, qsr_error *e)
{
    const size_t sure = last ? t->n : t->n > QSR_SPLIT_AHEAD ? t->n - QSR_SPLIT_AHEAD : 0;
    const char *seen = as_utf8(t);
    size_t at = 0, end = 0;
    qsr_status status = QSR_OK;
    while (at < t->n && !status) {
        status = qsr_splitter_next(t->splitter, seen, t->n, at, &end, e);
        if (!status && end > sure) break;
        if (!status) status = qsr_bpe_encode(t->bpe, t->text + at, end - at, out, e);
        at = end;
    }
    if (status) at = t->n;
    memmove(t->text, t->text + at, t->n - at);
    t->n -= at;
    t->patience = 2 * t->n;
    if (!status && t->n > QSR_BPE_WORD_LIMIT)
        status = qsr_fail(e, QSR_E_INPUT, "more than %d bytes in a row are one word: is this a text?", QSR_BPE_WORD_LIMIT);
    return status;
}

static void take(qsr_tokenizer *t, const char *bytes, size_t n)
{
    if (t->capacity < t->n + n + QSR_BPE_PADDING) {
        t->capacity = qsr_max_size(2 * t->capacity, t->n + n + QSR_BPE_PADDING);
        t->text = qsr_xrealloc(t->text, t->capacity, 1);
    }
    memcpy(t->text + t->n, bytes, n);
    t->n += n;
    memset(t->text + t->n, 0, QSR_BPE_PADDING);
}

qsr_status qsr_tokenizer_put(qsr_tokenizer *t, const void *bytes, size_t n, qsr_ids *out, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (const char *from = bytes; n && !status;) {
        const size_t some = qsr_min_size(n, PIECE);
        take(t, from, some);
        from += some;
        n -= some;
        if (t->n >= qsr_max_size(t->patience, PIECE)) status = encode_words(t, false, out, e);
    }
    if (status) t->n = t->patience = 0;
    return status;
}

qsr_status qsr_tokenizer_finish(qsr_tokenizer *t, qsr_ids *out, qsr_error *e)
{
    qsr_status status = t->n ? encode_words(t, true, out, e) : QSR_OK;
    t->n = t->patience = 0;
    return status;
}

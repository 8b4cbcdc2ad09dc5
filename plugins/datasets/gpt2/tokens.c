#include "tokens.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "format/tokens.h"
#include "format/vocabulary.h"

struct gpt2_words {
    char *folder;
    pthread_mutex_t lock; /* of the members below */
    bool looked;
    qsr_vocabulary *vocabulary; /* NULL: none can be read */
    int64_t end;                /* the id that each document begins with; -1: not known */
    bool begins;                /* the first token is it */
};

static struct gpt2_words *new_words(const char *folder)
{
    struct gpt2_words *w = qsr_xcalloc(1, sizeof *w);
    w->folder = strcpy(qsr_xcalloc(strlen(folder) + 1, 1), folder);
    pthread_mutex_init(&w->lock, NULL);
    return w;
}

static void free_words(struct gpt2_words *w)
{
    if (!w) return;
    pthread_mutex_destroy(&w->lock);
    qsr_vocabulary_close(w->vocabulary);
    free(w->folder);
    free(w);
}

qsr_status gpt2_tokens_open(const qsr_strings *files, const char *folder, size_t vocabulary, gpt2_tokens *ret, qsr_error *e)
{
    *ret = (gpt2_tokens){0};
    qsr_status status = qsr_token_files_open(files->items, files->count, vocabulary, &ret->file, e);
    if (status) return status;
    ret->count = qsr_token_files_count(ret->file);
    ret->words = new_words(folder);
    return QSR_OK;
}

void gpt2_tokens_close(gpt2_tokens *t)
{
    free_words(t->words);
    qsr_token_files_close(t->file);
    *t = (gpt2_tokens){0};
}

void gpt2_tokens_read(const gpt2_tokens *t, size_t begin, size_t n, int64_t *ids)
{
    qsr_token_files_read(t->file, begin, n, ids);
}

/* ---- what they stand for ----------------------------------------------------------------------------------------- */

/* The vocabulary says which id ends texts; where none can be read, the model's config.json does. Read once, by whoever asks first:
 * training needs neither. */
static const struct gpt2_words *look(const gpt2_tokens *t)
{
    struct gpt2_words *w = t->words;
    uint32_t end = 0;
    pthread_mutex_lock(&w->lock);
    if (!w->looked) {
        const bool read = qsr_vocabulary_open(w->folder, &w->vocabulary, NULL) == QSR_OK;
        const bool known = read && qsr_vocabulary_end(w->vocabulary, &end, NULL) == QSR_OK;
        w->end = known ? (int64_t)end : qsr_config_end(w->folder);
        w->begins = t->count && qsr_token_files_rank(t->file, w->end, 1);
        w->looked = true;
    }
    pthread_mutex_unlock(&w->lock);
    return w;
}

void gpt2_tokens_documents(const gpt2_tokens *t, size_t begin, size_t n, uint64_t *ret_document)
{
    enum { CHUNK = 1024 };
    int64_t ids[CHUNK];
    const struct gpt2_words *w = look(t);
    uint64_t seen = w->end < 0 ? 0 : qsr_token_files_rank(t->file, w->end, begin);
    for (size_t at = 0; at < n; at += CHUNK) {
        const size_t some = qsr_min_size(CHUNK, n - at);
        gpt2_tokens_read(t, begin + at, some, ids);
        for (size_t i = 0; i < some; i++) {
            seen += w->end >= 0 && ids[i] == w->end;
            ret_document[at + i] = seen - (w->begins && seen);
        }
    }
}

const char *gpt2_tokens_text(const gpt2_tokens *t, int64_t id, size_t *ret_bytes)
{
    const struct gpt2_words *w = look(t);
    return w->vocabulary ? qsr_vocabulary_text(w->vocabulary, id, ret_bytes) : NULL;
}

#include "format/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "format/bytelevel.h"
#include "format/json.h"

enum { FILE_LIMIT = 256 << 20, CONFIG_LIMIT = 16 << 20 };

typedef struct {
    const char *spelling, *text; /* as in the file; the bytes it stands for */
    uint32_t spelling_bytes, text_bytes;
    bool literal; /* stands for its own spelling */
} token;

struct qsr_vocabulary {
    qsr_arena arena;
    const char *folder, *path;
    bool tokenizer_json;
    size_t size;     /* one more than the largest id */
    token *tokens;   /* [size], by id; holes have no spelling */
    uint32_t *slots; /* [n_slots] id + 1 by spelling, open addressing; 0: free */
    size_t n_slots;  /* a power of two, at least twice the number of tokens */
};

/* ---- by spelling ------------------------------------------------------------------------------------------------- */

static size_t slot_of(const qsr_vocabulary *v, const char *spelling, size_t n)
{
    size_t slot = (size_t)qsr_checksum(spelling, n) & (v->n_slots - 1);
    for (; v->slots[slot]; slot = (slot + 1) & (v->n_slots - 1)) {
        const token *t = &v->tokens[v->slots[slot] - 1];
        if (t->spelling_bytes == n && memcmp(t->spelling, spelling, n) == 0) break;
    }
    return slot;
}

int64_t qsr_vocabulary_find(const qsr_vocabulary *v, const char *spelling, size_t n)
{
    return (int64_t)v->slots[slot_of(v, spelling, n)] - 1;
}

const char *qsr_vocabulary_text(const qsr_vocabulary *v, int64_t id, size_t *ret_bytes)
{
    if (id < 0 || (uint64_t)id >= v->size || !v->tokens[id].spelling) return NULL;
    *ret_bytes = v->tokens[id].text_bytes;
    return v->tokens[id].text;
}

bool qsr_vocabulary_is_special(const qsr_vocabulary *v, int64_t id)
{
    const token *t = &v->tokens[id];
    const char first = t->spelling_bytes > 2 ? t->spelling[0] : 0, last = first ? t->spelling[t->spelling_bytes - 1] : 0;
    return t->literal || (first == '<' && last == '>') || (first == '[' && last == ']');
}

const char *qsr_vocabulary_path(const qsr_vocabulary *v) { return v->path; }
bool qsr_vocabulary_is_tokenizer_json(const qsr_vocabulary *v) { return v->tokenizer_json; }
size_t qsr_vocabulary_size(const qsr_vocabulary *v) { return v->size; }

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* An id as a whole number below the limit. */
static qsr_status read_id(const qsr_vocabulary *v, const char *spelling, const json_t *value, size_t *ret, qsr_error *e)
{
    if (!json_is_integer(value))
        return qsr_fail(e, QSR_E_INPUT, "%s: the id of '%.60s' is not a whole number", v->path, spelling);
    const json_int_t id = json_integer_value(value);
    if (id < 0 || id >= QSR_TOKEN_LIMIT)
        return qsr_fail(e, QSR_E_INPUT, "%s: the id of '%.60s' is %lld, outside 0..%d", v->path, spelling, (long long)id,
                        QSR_TOKEN_LIMIT - 1);
    *ret = (size_t)id;
    return QSR_OK;
}

/* Text outside of the byte-level alphabet, such as "<|im start|>" with its blank, stands for itself. `literal`: all of it does. */
static void put_token(qsr_vocabulary *v, size_t id, const char *spelling, bool literal)
{
    size_t n = strlen(spelling), made = 0;
    char *copy = qsr_arena_strndup(&v->arena, spelling, n), *text = qsr_arena_alloc(&v->arena, n + 1, 1);
    literal = literal || !qsr_bytelevel_read(spelling, n, text, &made);
    if (literal) memcpy(text, spelling, made = n);
    v->tokens[id] = (token){copy, text, (uint32_t)n, (uint32_t)made, literal};
    v->slots[slot_of(v, copy, n)] = (uint32_t)id + 1;
}

static qsr_status add_token(qsr_vocabulary *v, const char *spelling, const json_t *value, bool literal, qsr_error *e)
{
    size_t id = 0;
    qsr_status status = read_id(v, spelling, value, &id, e);
    if (status) return status;
    const token *other = &v->tokens[id];
    const int64_t before = qsr_vocabulary_find(v, spelling, strlen(spelling));
    if (before >= 0 && (size_t)before != id)
        return qsr_fail(e, QSR_E_INPUT, "%s: '%.60s' has the ids %lld and %zu", v->path, spelling, (long long)before, id);
    if (before < 0 && other->spelling)
        return qsr_fail(e, QSR_E_INPUT, "%s: '%.60s' and '%.60s' both have the id %zu", v->path, other->spelling, spelling,
                        id);
    put_token(v, id, spelling, literal);
    return QSR_OK;
}

static const char *content_of(const json_t *added) { return json_string_value(json_object_get(added, "content")); }

/* Room for every token, once the largest id is known. */
static qsr_status make_room(qsr_vocabulary *v, const json_t *map, const json_t *added, qsr_error *e)
{
    const char *spelling;
    const json_t *value;
    size_t id = 0, i, n = json_object_size(map) + json_array_size(added);
    qsr_status status = QSR_OK;
    json_object_foreach((json_t *)(uintptr_t)map, spelling, value)
    {
        if ((status = read_id(v, spelling, value, &id, e))) return status;
        v->size = qsr_max_size(v->size, id + 1);
    }
    json_array_foreach(added, i, value)
    {
        if (!content_of(value)) return qsr_fail(e, QSR_E_INPUT, "%s: added token %zu has no content", v->path, i);
        if ((status = read_id(v, content_of(value), json_object_get(value, "id"), &id, e))) return status;
        v->size = qsr_max_size(v->size, id + 1);
    }
    if (!v->size) return qsr_fail(e, QSR_E_INPUT, "%s: the vocabulary is empty", v->path);
    for (v->n_slots = 16; v->n_slots < 2 * n;) v->n_slots *= 2;
    v->tokens = qsr_block_alloc(v->size, sizeof *v->tokens);
    v->slots = qsr_block_alloc(v->n_slots, sizeof *v->slots);
    return v->tokens && v->slots ? QSR_OK : qsr_fail_nomem(e, "a vocabulary", v->size * sizeof *v->tokens);
}

static qsr_status add_tokens(qsr_vocabulary *v, const json_t *map, const json_t *added, qsr_error *e)
{
    const char *spelling;
    const json_t *value;
    size_t i;
    qsr_status status = make_room(v, map, added, e);
    if (status) return status;
    json_object_foreach((json_t *)(uintptr_t)map, spelling,
                        value) if ((status = add_token(v, spelling, value, false, e))) return status;
    json_array_foreach(added, i, value) if ((status = add_token(v, content_of(value), json_object_get(value, "id"), true,
                                                                e))) return status;
    return QSR_OK;
}

static qsr_status read_map(qsr_vocabulary *v, qsr_error *e)
{
    json_t *root;
    qsr_status status = qsr_json_read(v->path, FILE_LIMIT, &root, e);
    if (status) return status;
    const json_t *map = root, *added = NULL;
    if (v->tokenizer_json) {
        map = json_object_get(json_object_get(root, "model"), "vocab");
        added = json_object_get(root, "added_tokens");
    }
    if (!json_is_object(map))
        status = qsr_fail(e, QSR_E_INPUT, "%s: %s is not an object of tokens and ids", v->path,
                          v->tokenizer_json ? "model.vocab" : "the file");
    else if (added && !json_is_null(added) && !json_is_array(added))
        status = qsr_fail(e, QSR_E_INPUT, "%s: added_tokens is not a list", v->path);
    else
        status = add_tokens(v, map, added, e);
    json_decref(root);
    return status;
}

/* vocab.json counts where merges.txt is too, or where nothing else is there. */
static qsr_status choose_file(qsr_vocabulary *v, qsr_error *e)
{
    const char *map = qsr_path_join(&v->arena, v->folder, "vocab.json");
    const char *merges = qsr_path_join(&v->arena, v->folder, "merges.txt");
    const char *all = qsr_path_join(&v->arena, v->folder, "tokenizer.json");
    v->tokenizer_json = qsr_exists(all) && !(qsr_exists(map) && qsr_exists(merges));
    v->path = v->tokenizer_json ? all : map;
    if (v->tokenizer_json || qsr_exists(map)) return QSR_OK;
    if (!qsr_is_folder(v->folder)) return qsr_fail(e, QSR_E_INPUT, "%s is not a folder", v->folder);
    return qsr_fail(e, QSR_E_INPUT, "%s has no tokenizer: neither vocab.json with merges.txt nor tokenizer.json",
                    v->folder);
}

qsr_status qsr_vocabulary_open(const char *folder, qsr_vocabulary **ret, qsr_error *e)
{
    qsr_vocabulary *v = qsr_xcalloc(1, sizeof *v);
    v->folder = qsr_arena_strdup(&v->arena, folder);
    qsr_status status = choose_file(v, e);
    if (!status) status = read_map(v, e);
    if (status)
        qsr_vocabulary_close(v);
    else
        *ret = v;
    return status;
}

void qsr_vocabulary_close(qsr_vocabulary *v)
{
    if (!v) return;
    qsr_block_free(v->tokens);
    qsr_block_free(v->slots);
    qsr_arena_free(&v->arena);
    free(v);
}

/* ---- the end of a text ------------------------------------------------------------------------------------------- */

/* A small JSON file of the folder; NULL: not there. */
static qsr_status read_config(const char *folder, const char *name, json_t **ret, qsr_error *e)
{
    qsr_arena arena = {0};
    const char *path = qsr_path_join(&arena, folder, name);
    *ret = NULL;
    qsr_status status = qsr_exists(path) ? qsr_json_read(path, CONFIG_LIMIT, ret, e) : QSR_OK;
    qsr_arena_free(&arena);
    return status;
}

/* GPT-2's own 50256, left in the config of a model with fewer tokens, is no id of it. */
static int64_t end_in(const json_t *config)
{
    const json_t *value = json_object_get(config, "eos_token_id"), *size = json_object_get(config, "vocab_size");
    if (json_is_array(value)) value = json_array_get(value, 0);
    const json_int_t id = json_integer_value(value),
                     limit = json_is_integer(size) ? json_integer_value(size) : QSR_TOKEN_LIMIT;
    return json_is_integer(value) && id >= 0 && id < limit && id < QSR_TOKEN_LIMIT ? id : -1;
}

int64_t qsr_config_end(const char *folder)
{
    json_t *config;
    if (read_config(folder, "config.json", &config, NULL)) return -1;
    const int64_t id = end_in(config);
    json_decref(config);
    return id;
}

/* "eos_token": a word, or an object with its "content". */
static qsr_status named_end(const qsr_vocabulary *v, int64_t *ret, qsr_error *e)
{
    json_t *config;
    *ret = -1;
    qsr_status status = read_config(v->folder, "tokenizer_config.json", &config, e);
    if (status) return status;
    const json_t *value = json_object_get(config, "eos_token");
    const char *word = json_is_object(value) ? content_of(value) : json_string_value(value);
    if (word) *ret = qsr_vocabulary_find(v, word, strlen(word));
    json_decref(config);
    return QSR_OK;
}

qsr_status qsr_vocabulary_end(const qsr_vocabulary *v, uint32_t *ret_id, qsr_error *e)
{
    static const char usual[] = "<|endoftext|>";
    int64_t id;
    qsr_status status = named_end(v, &id, e);
    if (status) return status;
    if (id < 0) id = qsr_vocabulary_find(v, usual, sizeof usual - 1);
    if (id < 0) id = qsr_config_end(v->folder);
    if (id < 0)
        return qsr_fail(
            e, QSR_E_INPUT,
            "%s: no token ends a text: tokenizer_config.json names no eos_token of this vocabulary, it has no %s, "
            "and config.json has no eos_token_id below its vocab_size",
            v->path, usual);
    *ret_id = (uint32_t)id;
    return QSR_OK;
}

#include "format/merges.h"

#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/sizes.h"
#include "base/text.h"
#include "format/json.h"

enum { FILE_LIMIT = 256 << 20 };

/* One merge as a file has it; `where`, such as "merges.txt:12", is for messages. */
typedef struct {
    const char *where;
    const char *left, *right;
    size_t left_bytes, right_bytes;
} rule;

/* ---- the table --------------------------------------------------------------------------------------------------- */

static qsr_status make_table(qsr_merges *m, const qsr_vocabulary *v, size_t count, qsr_error *e)
{
    const size_t n_ids = qsr_vocabulary_size(v);
    m->shift = 60;
    for (m->n_slots = 16; m->n_slots < 2 * count; m->n_slots *= 2) m->shift--;
    m->slots = qsr_block_raw(m->n_slots, sizeof *m->slots);
    if (!m->slots) return qsr_fail_nomem(e, "the merges of a vocabulary", m->n_slots * sizeof *m->slots);
    for (size_t i = 0; i < m->n_slots; i++) m->slots[i].pair = UINT64_MAX;
    m->made = qsr_block_alloc(n_ids, sizeof *m->made);
    return m->made ? QSR_OK : qsr_fail_nomem(e, "the merges of a vocabulary", n_ids * sizeof *m->made);
}

static qsr_status put_merge(qsr_merges *m, const rule *r, uint32_t left, uint32_t right, uint32_t id, qsr_error *e)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    size_t slot = (size_t)(pair * UINT64_C(0x9e3779b97f4a7c15) >> m->shift);
    for (; m->slots[slot].pair != UINT64_MAX; slot = (slot + 1) & (m->n_slots - 1))
        if (m->slots[slot].pair == pair)
            return qsr_fail(e, QSR_E_INPUT, "%s: '%.*s %.*s' is merge %u already", r->where, (int)r->left_bytes, r->left,
                            (int)r->right_bytes, r->right, m->slots[slot].rank + 1);
    m->slots[slot] = (qsr_merge){pair, (uint32_t)m->count++, id};
    if (id > m->largest) m->largest = id;
    m->made[id] = true;
    return QSR_OK;
}

static qsr_status find_token(const qsr_vocabulary *v, const rule *r, const char *part, size_t n, uint32_t *ret, qsr_error *e)
{
    const int64_t id = qsr_vocabulary_find(v, part, n);
    if (id < 0)
        return qsr_fail(e, QSR_E_INPUT, "%s: '%.*s' is not in %s", r->where, (int)qsr_min_size(n, 60), part,
                        qsr_path_base(qsr_vocabulary_path(v)));
    *ret = (uint32_t)id;
    return QSR_OK;
}

/* A trained merge joins what is there: bytes, and what earlier merges made. */
static qsr_status find_part(const qsr_merges *m, const qsr_vocabulary *v, const rule *r, const char *part, size_t n,
                            uint32_t *ret, qsr_error *e)
{
    size_t bytes = 0;
    qsr_status status = find_token(v, r, part, n, ret, e);
    if (status || m->made[*ret]) return status;
    qsr_vocabulary_text(v, *ret, &bytes);
    if (bytes <= 1) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "%s: no merge before this one makes '%.*s': are the merges complete and in their order?",
                    r->where, (int)qsr_min_size(n, 60), part);
}

/* Each symbol and what they make together must be tokens: the encoder knows ids alone. */
static qsr_status add_rule(qsr_merges *m, const qsr_vocabulary *v, const rule *r, qsr_error *e)
{
    uint32_t left = 0, right = 0, whole = 0;
    qsr_arena arena = {0};
    char *joined = qsr_arena_alloc(&arena, r->left_bytes + r->right_bytes + 1, 1);
    memcpy(joined, r->left, r->left_bytes);
    memcpy(joined + r->left_bytes, r->right, r->right_bytes);
    qsr_status status = find_part(m, v, r, r->left, r->left_bytes, &left, e);
    if (!status) status = find_part(m, v, r, r->right, r->right_bytes, &right, e);
    if (!status) status = find_token(v, r, joined, r->left_bytes + r->right_bytes, &whole, e);
    if (!status) status = put_merge(m, r, left, right, whole, e);
    qsr_arena_free(&arena);
    return status;
}

/* "a b": two symbols, one blank between them. */
static qsr_status split_rule(rule *r, const char *line, size_t n, qsr_error *e)
{
    const char *blank = memchr(line, ' ', n);
    const size_t left = blank ? (size_t)(blank - line) : 0, right = blank ? n - left - 1 : 0;
    if (!left || !right || memchr(blank + 1, ' ', right))
        return qsr_fail(e, QSR_E_INPUT, "%s: '%.*s' is not two symbols with a blank between them", r->where,
                        (int)qsr_min_size(n, 60), line);
    r->left = line, r->left_bytes = left;
    r->right = blank + 1, r->right_bytes = right;
    return QSR_OK;
}

/* ---- merges.txt -------------------------------------------------------------------------------------------------- */

static size_t count_lines(const char *text, size_t n)
{
    size_t count = 1;
    for (const char *at = text; (at = memchr(at, '\n', n - (size_t)(at - text))); at++) count++;
    return count;
}

/* Lines "a b" by rank; the first may be "#version: 0.2"; empty lines are skipped. */
static qsr_status read_lines(const char *path, const char *text, size_t n, const qsr_vocabulary *v, qsr_merges *m,
                             qsr_error *e)
{
    qsr_status status = make_table(m, v, count_lines(text, n), e);
    size_t line = 1;
    for (const char *at = text, *end = text + n; at < end && !status; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        size_t length = (size_t)(stop - at);
        if (length && at[length - 1] == '\r') length--;
        const bool version = line == 1 && length >= 8 && memcmp(at, "#version", 8) == 0;
        char where[4200];
        rule r = {.where = where};
        snprintf(where, sizeof where, "%s:%zu", path, line);
        if (length && !version) status = split_rule(&r, at, length, e);
        if (length && !version && !status) status = add_rule(m, v, &r, e);
        at = stop + 1;
    }
    return status;
}

static qsr_status read_merges_txt(const char *path, const qsr_vocabulary *v, qsr_merges *m, qsr_error *e)
{
    qsr_arena arena = {0};
    char *text;
    size_t n;
    qsr_status status = qsr_read_file(&arena, path, FILE_LIMIT, &text, &n, e);
    if (!status) status = read_lines(path, text, n, v, m, e);
    qsr_arena_free(&arena);
    return status;
}

/* ---- tokenizer.json ---------------------------------------------------------------------------------------------- */

/* What would make other tokens than GPT-2's rule does is refused. */
static qsr_status unsupported(qsr_error *e, const char *path, const char *what)
{
    return qsr_fail(e, QSR_E_UNSUPPORTED, "%s: %s: Quasar encodes as GPT-2 does and no other way", path, what);
}

static bool is_set(const json_t *value) { return value && !json_is_null(value) && !json_is_false(value); }
static bool is_text(const json_t *value) { return json_string_length(value) > 0; }

static qsr_status check_model(const char *path, const json_t *model, qsr_error *e)
{
    static const char *const flags[] = {"dropout", "byte_fallback", "ignore_merges"};
    static const char *const texts[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const char *type = json_string_value(json_object_get(model, "type"));
    char what[80];
    if (type && strcmp(type, "BPE") != 0) {
        snprintf(what, sizeof what, "model.type is '%.40s', not BPE", type);
        return unsupported(e, path, what);
    }
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        snprintf(what, sizeof what, "model.%s is set", flags[i]);
        const json_t *value = json_object_get(model, flags[i]);
        if (is_set(value) && !(json_is_number(value) && json_number_value(value) == 0)) return unsupported(e, path, what);
    }
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(what, sizeof what, "model.%s is set", texts[i]);
        if (is_text(json_object_get(model, texts[i]))) return unsupported(e, path, what);
    }
    return QSR_OK;
}

static qsr_status check_splitting(const char *path, const json_t *root, qsr_error *e)
{
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *list = json_object_get(pre, "pretokenizers");
    if (is_set(json_object_get(root, "normalizer"))) return unsupported(e, path, "there is a normalizer");
    if (json_array_size(list) == 1) pre = json_array_get(list, 0);
    const char *type = json_string_value(json_object_get(pre, "type"));
    if (!type || strcmp(type, "ByteLevel") != 0) return unsupported(e, path, "pre_tokenizer is not ByteLevel alone");
    if (json_is_true(json_object_get(pre, "add_prefix_space")))
        return unsupported(e, path, "pre_tokenizer.add_prefix_space is set");
    if (json_is_false(json_object_get(pre, "use_regex"))) return unsupported(e, path, "pre_tokenizer.use_regex is false");
    return QSR_OK;
}

/* "a b", or ["a", "b"] as newer files have it. */
static qsr_status read_rule(rule *r, const json_t *value, qsr_error *e)
{
    const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
    if (json_is_string(value)) return split_rule(r, json_string_value(value), json_string_length(value), e);
    if (json_array_size(value) != 2 || !is_text(left) || !is_text(right))
        return qsr_fail(e, QSR_E_INPUT, "%s is neither \"a b\" nor [\"a\", \"b\"]", r->where);
    r->left = json_string_value(left), r->left_bytes = json_string_length(left);
    r->right = json_string_value(right), r->right_bytes = json_string_length(right);
    return QSR_OK;
}

static qsr_status read_list(const char *path, const json_t *list, const qsr_vocabulary *v, qsr_merges *m, qsr_error *e)
{
    size_t i;
    const json_t *value;
    if (!json_is_array(list)) return qsr_fail(e, QSR_E_INPUT, "%s: model.merges is not a list", path);
    qsr_status status = make_table(m, v, json_array_size(list), e);
    if (status) return status;
    json_array_foreach(list, i, value)
    {
        char where[4200];
        rule r = {.where = where};
        snprintf(where, sizeof where, "%s: model.merges[%zu]", path, i);
        status = read_rule(&r, value, e);
        if (!status) status = add_rule(m, v, &r, e);
        if (status) return status;
    }
    return QSR_OK;
}

static qsr_status read_tokenizer_json(const char *path, const qsr_vocabulary *v, qsr_merges *m, qsr_error *e)
{
    json_t *root;
    qsr_status status = qsr_json_read(path, FILE_LIMIT, &root, e);
    if (status) return status;
    const json_t *model = json_object_get(root, "model");
    status = check_model(path, model, e);
    if (!status) status = check_splitting(path, root, e);
    if (!status) status = read_list(path, json_object_get(model, "merges"), v, m, e);
    json_decref(root);
    return status;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

/* Every token but a few is a byte, special, or made by a merge; a list that was cut leaves many that are not. */
static qsr_status check_complete(const qsr_merges *m, const qsr_vocabulary *v, qsr_error *e)
{
    enum { FEW = 2 };
    const size_t size = qsr_vocabulary_size(v);
    size_t unmade = 0, longer = 0, bytes = 0, example_bytes = 0;
    const char *text, *example = NULL;
    for (size_t id = 0; id < size; id++) {
        text = qsr_vocabulary_text(v, (int64_t)id, &bytes);
        if (!text || bytes < 2 || qsr_vocabulary_is_special(v, (int64_t)id)) continue;
        longer++;
        if (m->made[id]) continue;
        if (!unmade++) example = text, example_bytes = bytes;
    }
    if (unmade <= qsr_max_size(FEW, size / 100)) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT,
                    "%s: %zu of its %zu tokens of more than one byte are made by none of the %zu merges, such as '%.*s': %s",
                    qsr_vocabulary_path(v), unmade, longer, m->count, (int)qsr_min_size(example_bytes, 60), example,
                    qsr_vocabulary_is_tokenizer_json(v) ? "is model.merges complete?" : "is merges.txt complete?");
}

qsr_status qsr_merges_open(const char *folder, const qsr_vocabulary *v, qsr_merges *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_merges m = {0};
    qsr_status status = qsr_vocabulary_is_tokenizer_json(v)
                            ? read_tokenizer_json(qsr_vocabulary_path(v), v, &m, e)
                            : read_merges_txt(qsr_path_join(&arena, folder, "merges.txt"), v, &m, e);
    qsr_arena_free(&arena);
    if (!status) status = check_complete(&m, v, e);
    if (status)
        qsr_merges_close(&m);
    else
        *ret = m;
    return status;
}

void qsr_merges_close(qsr_merges *m)
{
    qsr_block_free(m->slots);
    qsr_block_free(m->made);
    *m = (qsr_merges){0};
}

#include "format/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "format/bytelevel.h"

enum {
    SHORT = 64,        /* symbols of a word that is searched from end to end for each merge */
    CACHED_BYTES = 24, /* of a word in the cache */
    CACHED_IDS = 9,
    CACHE_SLOTS = 1 << 16, /* of 64 bytes: 4 MiB */
    NO_RANK = -1           /* as uint32_t: above every rank */
};

/* One cache line. Words of more than 24 bytes or 9 tokens are not kept; another word of the same slot replaces it. */
typedef struct {
    uint64_t key[3];  /* the word, padded with zeros */
    uint8_t bytes, n; /* of the word; 0: a free slot */
    uint16_t unused;
    uint32_t ids[CACHED_IDS];
} cached;
_Static_assert(sizeof(cached) == 64, "one cache line");

struct qsr_bpe {
    const qsr_vocabulary *vocabulary;
    const qsr_merges *merges;
    uint32_t byte_id[256]; /* UINT32_MAX: no token */
    uint32_t largest;
    cached *cache; /* [CACHE_SLOTS] */
};

void qsr_ids_reserve(qsr_ids *ids, size_t more)
{
    if (ids->capacity - ids->n >= more) return;
    ids->capacity = qsr_max_size(ids->n + more, 2 * ids->capacity);
    ids->items = qsr_xrealloc(ids->items, ids->capacity, sizeof *ids->items);
}

qsr_bpe *qsr_bpe_new(const qsr_vocabulary *v, const qsr_merges *m)
{
    qsr_bpe *b = qsr_xcalloc(1, sizeof *b);
    *b = (qsr_bpe){.vocabulary = v, .merges = m, .largest = m->largest};
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelling[3];
        qsr_bytelevel_spell((unsigned char)byte, spelling);
        const int64_t id = qsr_vocabulary_find(v, spelling, strlen(spelling));
        b->byte_id[byte] = id < 0 ? UINT32_MAX : (uint32_t)id;
        if (id > b->largest) b->largest = (uint32_t)id;
    }
    b->cache = qsr_xcalloc(CACHE_SLOTS, sizeof *b->cache);
    return b;
}

void qsr_bpe_free(qsr_bpe *b)
{
    if (!b) return;
    free(b->cache);
    free(b);
}

uint32_t qsr_bpe_largest(const qsr_bpe *b) { return b->largest; }

static qsr_status put_bytes(const qsr_bpe *b, const char *word, size_t n, uint32_t *symbols, qsr_error *e)
{
    for (size_t i = 0; i < n; i++) {
        symbols[i] = b->byte_id[(unsigned char)word[i]];
        if (symbols[i] == UINT32_MAX)
            return qsr_fail(e, QSR_E_INPUT, "the byte 0x%02x has no token in %s", (unsigned char)word[i],
                            qsr_vocabulary_path(b->vocabulary));
    }
    return QSR_OK;
}

static uint32_t rank_of(const qsr_merges *m, uint32_t left, uint32_t right)
{
    const qsr_merge *merge = qsr_merges_find(m, left, right);
    return merge ? merge->rank : (uint32_t)NO_RANK;
}

/* ---- short words: all pairs are looked at for each merge --------------------------------------------------------- */

/* Joins every pair of rank `lowest`, from the left; rank[i] is that of (symbols[i], symbols[i + 1]). Returns the new length. */
static size_t join_all(const qsr_merges *m, uint32_t lowest, uint32_t *symbols, uint32_t *rank, size_t n)
{
    size_t made = 0;
    bool joined = false; /* the symbol before: its rank must be looked up again */
    for (size_t i = 0; i < n; made++) {
        const bool join = i + 1 < n && rank[i] == lowest;
        const uint32_t symbol = join ? qsr_merges_find(m, symbols[i], symbols[i + 1])->id : symbols[i];
        const uint32_t right = join || i + 1 >= n ? (uint32_t)NO_RANK : rank[i];
        symbols[made] = symbol;
        if (made && (join || joined)) rank[made - 1] = rank_of(m, symbols[made - 1], symbol);
        rank[made] = right; /* what stands for a joined symbol is set when its right neighbour is there */
        joined = join;
        i += join ? 2 : 1;
    }
    return made;
}

static size_t join_short(const qsr_merges *m, uint32_t *symbols, size_t n)
{
    uint32_t rank[SHORT];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = rank_of(m, symbols[i], symbols[i + 1]);
    while (n > 1) {
        uint32_t lowest = rank[0];
        for (size_t i = 1; i + 1 < n; i++) lowest = rank[i] < lowest ? rank[i] : lowest;
        if (lowest == (uint32_t)NO_RANK) break;
        n = join_all(m, lowest, symbols, rank, n);
    }
    return n;
}

/* ---- long words: a heap of pairs by rank and place --------------------------------------------------------------- */

typedef struct {
    const qsr_merges *merges;
    uint32_t *symbols, *next, *before,
        *rank;      /* [n] by place: a list of the symbols left; rank of the pair that begins here */
    uint64_t *heap; /* rank << 32 | place */
    size_t n, size, capacity;
} long_word;

static void push(long_word *w, uint64_t item)
{
    if (w->size == w->capacity) {
        w->capacity *= 2;
        w->heap = qsr_xrealloc(w->heap, w->capacity, sizeof *w->heap);
    }
    size_t at = w->size++;
    for (; at && w->heap[(at - 1) / 2] > item; at = (at - 1) / 2) w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = item;
}

static uint64_t pop(long_word *w)
{
    const uint64_t first = w->heap[0], last = w->heap[--w->size];
    size_t at = 0, child;
    for (; (child = 2 * at + 1) < w->size; at = child) {
        if (child + 1 < w->size && w->heap[child + 1] < w->heap[child]) child++;
        if (w->heap[child] >= last) break;
        w->heap[at] = w->heap[child];
    }
    if (w->size) w->heap[at] = last;
    return first;
}

static void look_at_pair(long_word *w, size_t place)
{
    const uint32_t after = w->next[place];
    w->rank[place] = after < w->n ? rank_of(w->merges, w->symbols[place], w->symbols[after]) : (uint32_t)NO_RANK;
    if (w->rank[place] != (uint32_t)NO_RANK) push(w, (uint64_t)w->rank[place] << 32 | place);
}

/* The pair that begins at `place` becomes one symbol. Ranks around it are looked up when all pairs of this rank are joined. */
static void join_pair(long_word *w, size_t place)
{
    const uint32_t gone = w->next[place], after = w->next[gone];
    w->symbols[place] = qsr_merges_find(w->merges, w->symbols[place], w->symbols[gone])->id;
    w->next[place] = after;
    if (after < w->n) w->before[after] = (uint32_t)place;
    w->rank[place] = w->rank[gone] = (uint32_t)NO_RANK;
    if (place) w->rank[w->before[place]] = (uint32_t)NO_RANK;
}

/* `joined` has room for the places of one round. */
static void join_rounds(long_word *w, uint32_t *joined)
{
    while (w->size) {
        const uint32_t lowest = (uint32_t)(w->heap[0] >> 32);
        size_t count = 0;
        while (w->size && w->heap[0] >> 32 == lowest) {
            const uint32_t place = (uint32_t)pop(w);
            if (w->rank[place] != lowest) continue; /* joined with another meanwhile */
            join_pair(w, place);
            joined[count++] = place;
        }
        for (size_t i = 0; i < count; i++) {
            if (joined[i]) look_at_pair(w, w->before[joined[i]]);
            look_at_pair(w, joined[i]);
        }
    }
}

static size_t join_long(const qsr_merges *m, uint32_t *symbols, size_t n)
{
    uint32_t *links = qsr_xcalloc(4 * n, sizeof *links);
    long_word w = {m, symbols, links, links + n, links + 2 * n, qsr_xcalloc(n, sizeof *w.heap), n, 0, n};
    for (size_t i = 0; i < n; i++) w.next[i] = (uint32_t)i + 1, w.before[i] = (uint32_t)i - 1;
    for (size_t i = 0; i + 1 < n; i++) look_at_pair(&w, i);
    w.rank[n - 1] = (uint32_t)NO_RANK;
    join_rounds(&w, links + 3 * n);
    size_t made = 0;
    for (size_t i = 0; i < n; i = w.next[i]) symbols[made++] = symbols[i];
    free(links);
    free(w.heap);
    return made;
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static qsr_status encode_anew(qsr_bpe *b, const char *word, size_t n, qsr_ids *out, qsr_error *e)
{
    if (n > QSR_BPE_WORD_LIMIT)
        return qsr_fail(e, QSR_E_INPUT, "%zu bytes in a row are one word, the limit is %d: is this a text?", n,
                        QSR_BPE_WORD_LIMIT);
    qsr_ids_reserve(out, n);
    uint32_t *symbols = out->items + out->n;
    qsr_status status = put_bytes(b, word, n, symbols, e);
    if (!status) out->n += n <= SHORT ? join_short(b->merges, symbols, n) : join_long(b->merges, symbols, n);
    return status;
}

/* The first n <= 24 bytes of the word, the others 0. */
static void load_key(const char *word, size_t n, uint64_t key[3])
{
    memcpy(key, word, CACHED_BYTES);
    for (size_t i = 0; i < 3; i++) {
        const size_t bytes = n > 8 * i ? n - 8 * i : 0;
        if (bytes < 8) key[i] &= bytes ? UINT64_MAX >> (64 - 8 * bytes) : 0;
    }
}

static size_t slot_of(const uint64_t key[3])
{
    uint64_t h = key[0] * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ key[1]) * UINT64_C(0xc2b2ae3d27d4eb4f);
    h = (h ^ h >> 32 ^ key[2]) * UINT64_C(0x165667b19e3779f9);
    return (size_t)(h >> 48) & (CACHE_SLOTS - 1);
}

static bool is_word(const cached *c, const uint64_t key[3], size_t n)
{
    return c->bytes == n && c->key[0] == key[0] && c->key[1] == key[1] && c->key[2] == key[2];
}

qsr_status qsr_bpe_encode(qsr_bpe *b, const char *word, size_t n, qsr_ids *out, qsr_error *e)
{
    if (n > CACHED_BYTES) return encode_anew(b, word, n, out, e);
    uint64_t key[3];
    load_key(word, n, key);
    cached *c = &b->cache[slot_of(key)];
    if (!is_word(c, key, n)) {
        const size_t begin = out->n;
        qsr_status status = encode_anew(b, word, n, out, e);
        if (status || out->n - begin > CACHED_IDS) return status;
        *c = (cached){.bytes = (uint8_t)n, .n = (uint8_t)(out->n - begin)};
        memcpy(c->key, key, sizeof key);
        memcpy(c->ids, out->items + begin, c->n * sizeof *c->ids);
        return QSR_OK;
    }
    qsr_ids_reserve(out, CACHED_IDS);
    memcpy(out->items + out->n, c->ids, sizeof c->ids);
    out->n += c->n;
    return QSR_OK;
}

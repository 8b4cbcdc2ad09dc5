/* tokenizer: GPT-2's ids, against golden ones and against byte-pair encoding written plainly; every byte string comes back. */
#include "../unit.h"

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/text.h"
#include "format/bytelevel.h"
#include "format/json.h"
#include "format/split.h"
#include "format/tokenizer.h"

static qsr_arena arena;
static qsr_rng rng;
static uint64_t draws;

static size_t below(size_t n) { return (size_t)(qsr_rng_bits(&rng, draws++) % n); }
static const char *source(const char *path) { return qsr_arena_printf(&arena, "%s/%s", getenv("QUASAR_SOURCE"), path); }

/* A fresh folder below the test's. */
static const char *folder(void)
{
    static unsigned n;
    const char *path = qsr_arena_printf(&arena, "%s/%u", test_folder(), n++);
    assert_int_equal(qsr_mkdirs(path, NULL), QSR_OK);
    return path;
}

static void put_file(const char *in, const char *name, const char *text, size_t n)
{
    assert_int_equal(qsr_write_file(qsr_path_join(&arena, in, name), text, n, NULL), QSR_OK);
}

static qsr_tokenizer *open_good(const char *path)
{
    qsr_tokenizer *t;
    qsr_error e = {0};
    if (qsr_tokenizer_open(path, &t, &e)) fail_msg("%s", e.text);
    return t;
}

/* The ids of a text that is put in pieces of at most `piece` bytes. */
static qsr_ids encode(qsr_tokenizer *t, const char *text, size_t n, size_t piece)
{
    qsr_ids ids = {0};
    qsr_error e = {0};
    for (size_t at = 0, some; at < n; at += some) {
        some = 1 + below(piece);
        if (some > n - at) some = n - at;
        if (qsr_tokenizer_put(t, text + at, some, &ids, &e)) fail_msg("%s", e.text);
    }
    if (qsr_tokenizer_finish(t, &ids, &e)) fail_msg("%s", e.text);
    return ids;
}

static void assert_decodes(const qsr_tokenizer *t, const qsr_ids *ids, const char *text, size_t n)
{
    size_t at = 0, bytes = 0;
    for (size_t i = 0; i < ids->n; i++, at += bytes) {
        const char *token = qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), ids->items[i], &bytes);
        assert_true(token && bytes <= n - at && memcmp(text + at, token, bytes) == 0);
    }
    assert_int_equal(at, n);
}

/* ---- golden ------------------------------------------------------------------------------------------------------ */

static void gives_the_golden_ids_of_tiny_gpt2(void **state)
{
    (void)state;
    json_t *cases, *each;
    size_t k, i;
    qsr_tokenizer *t = open_good(source("experiments/data/tiny-gpt2"));
    assert_int_equal(qsr_json_read(source("tests/golden/gpt2/encodings.json"), 1 << 20, &cases, NULL), QSR_OK);
    assert_true(json_array_size(cases) > 10);
    json_array_foreach(cases, k, each)
    {
        const json_t *text = json_object_get(each, "text"), *wanted = json_object_get(each, "ids"), *id;
        qsr_ids ids = encode(t, json_string_value(text), json_string_length(text), 7);
        assert_int_equal(ids.n, json_array_size(wanted));
        json_array_foreach(wanted, i, id) assert_int_equal(ids.items[i], json_integer_value(id));
        assert_decodes(t, &ids, json_string_value(text), json_string_length(text));
        free(ids.items);
    }
    assert_int_equal(qsr_tokenizer_end(t), 2047);
    assert_int_equal(qsr_tokenizer_largest(t), 2047);
    json_decref(cases);
    qsr_tokenizer_close(t);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* As the pattern has it, by hand: '|' between words. */
static const char *const splits[] = {
    "Hello| world",
    "don|'t| we|'ll| I|'d| he|'s|'s| they|'re| I|'ve| I|'m",
    "DON|'|T| '|t| ''|ll", /* contractions are lower case; a blank or a sign before takes the apostrophe */
    "a|  | b",
    "a|\n|\n|b| \n",
    "a|\n\n",
    "x|\t| y|\t|z| |\t|w",
    "abc|123|def| 45|.|6|!?!| (|x|_|y|)",
    "  | x",
    "na\xc3\xafve| caf\xc3\xa9| \xce\xa9|\xc2\xbd| \xd9\xa3\xe2\x85\xa7", /* letters, a fraction, an Arabic digit, a Roman numeral */
    "a|\xc2\xa0|b|\xc2\x85|c|\xe3\x80\x80|d|\xe2\x80\xa8|e|\xe1\x9a\x80|f", /* white space beyond ASCII */
    "a|\xe1\xa0\x8e|b|\xe2\x80\x8b|c|\xef\xbb\xbf|d|\x1c|e",               /* no white space, whatever PCRE2 says of U+180E */
    "\xe4\xb8\xad\xe6\x96\x87| \xf0\x9f\x98\x80|x|\xcc\x81",                /* a combining accent is a sign */
};

static void splits_as_the_pattern_says(void **state)
{
    (void)state;
    qsr_splitter *s;
    assert_int_equal(qsr_splitter_new(&s, NULL), QSR_OK);
    for (size_t k = 0; k < sizeof splits / sizeof *splits; k++) {
        char plain[256];
        size_t n = 0, end, at;
        for (const char *c = splits[k]; *c; c++)
            if (*c != '|') plain[n++] = *c;
        for (int way = 0; way < 2; way++) {
            qsr_text got = {0};
            qsr_splitter_plain(s, way);
            for (at = 0; at < n; at = end) {
                assert_int_equal(qsr_splitter_next(s, plain, n, at, &end, NULL), QSR_OK);
                assert_true(end > at && end <= n);
                if (at) qsr_text_puts(&got, "|");
                qsr_text_append(&got, plain + at, end - at);
            }
            assert_string_equal(got.bytes, splits[k]);
            qsr_text_free(&got);
        }
    }
    qsr_splitter_free(s);
}

/* The way without PCRE2 finds what PCRE2 finds, over characters of every kind next to one another. */
static void the_short_way_for_ascii_is_the_pattern(void **state)
{
    (void)state;
    static const char *const pieces[] = {"a", "Z", "0", " ", "  ", "\n", "\t", "'", "'s", "'ll", ".", "_", "\xc3\xa9", "\xc2\xa0", "\x01",
                                         "\xe4\xb8\xad", "\xf0\x9f\x98\x80", "\r\n", "the", "'T", "\x7f"};
    qsr_splitter *fast, *plain;
    rng = qsr_rng_make(1, "split");
    assert_int_equal(qsr_splitter_new(&fast, NULL), QSR_OK);
    assert_int_equal(qsr_splitter_new(&plain, NULL), QSR_OK);
    qsr_splitter_plain(plain, true);
    for (size_t round = 0; round < 20000; round++) {
        char text[64];
        size_t n = 0, a, b;
        for (size_t k = 1 + below(9); k > 0; k--) n += (size_t)sprintf(text + n, "%s", pieces[below(sizeof pieces / sizeof *pieces)]);
        for (size_t at = 0; at < n; at = a) {
            assert_int_equal(qsr_splitter_next(fast, text, n, at, &a, NULL), QSR_OK);
            assert_int_equal(qsr_splitter_next(plain, text, n, at, &b, NULL), QSR_OK);
            if (a != b) fail_msg("'%s' from %zu: %zu, the pattern says %zu", text, at, a, b);
        }
    }
    qsr_splitter_free(fast);
    qsr_splitter_free(plain);
}

static void knows_what_utf8_is(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t valid;
    } cases[] = {{"", 0}, {"abc", 3}, {"abcdefghijk\xc3\xa9", 13}, {"a\xc3", 1}, {"\xc0\x80", 0}, {"\xe0\x9f\x80", 0}, {"\xed\xa0\x80", 0},
                 {"\xf4\x90\x80\x80", 0}, {"\xf4\x8f\xbf\xbf", 4}, {"\xf5\x80\x80\x80", 0}, {"\xe4\xb8", 0}, {"12345678\xff", 8}, {"\x80", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(qsr_utf8_valid(cases[i].text, strlen(cases[i].text), 0), cases[i].valid);
}

/* ---- byte-pair encoding, written plainly ------------------------------------------------------------------------- */

enum { MERGES = 300, TOKENS = 256 + MERGES + 1 };

/* A vocabulary of random merges over few letters, in any order in which each comes after one that makes its parts. */
typedef struct {
    qsr_text bytes[TOKENS];
    size_t n_tokens, n_merges, end;
    size_t left[MERGES], right[MERGES], made[MERGES]; /* by rank */
} plain_bpe;

static size_t token_of(plain_bpe *p, const char *bytes, size_t n)
{
    size_t i = 0;
    while (i < p->n_tokens && (p->bytes[i].length != n || memcmp(p->bytes[i].bytes, bytes, n))) i++;
    if (i == p->n_tokens) qsr_text_append(&p->bytes[p->n_tokens++], bytes, n);
    return i;
}

static bool has_merge(const plain_bpe *p, size_t left, size_t right)
{
    for (size_t i = 0; i < p->n_merges; i++)
        if (p->left[i] == left && p->right[i] == right) return true;
    return false;
}

/* The first rank at which a token is there. */
static size_t since(const plain_bpe *p, size_t token)
{
    size_t i = 0;
    while (token >= 256 && p->made[i] != token) i++;
    return token < 256 ? 0 : i + 1;
}

static plain_bpe *make_plain(const char *letters)
{
    plain_bpe *p = qsr_arena_alloc(&arena, 1, sizeof *p);
    for (int b = 0; b < 256; b++) token_of(p, &(char){(char)b}, 1);
    while (p->n_merges < MERGES) {
        size_t part[2];
        for (int k = 0; k < 2; k++)
            part[k] = below(2) && p->n_tokens > 256 ? 256 + below(p->n_tokens - 256) : (size_t)(unsigned char)letters[below(strlen(letters))];
        if (has_merge(p, part[0], part[1]) || p->bytes[part[0]].length + p->bytes[part[1]].length > 12) continue;
        qsr_text whole = {0};
        for (int k = 0; k < 2; k++) qsr_text_append(&whole, p->bytes[part[k]].bytes, p->bytes[part[k]].length);
        const size_t a = since(p, part[0]), b = since(p, part[1]), least = a > b ? a : b;
        const size_t at = below(4) ? p->n_merges : least + below(p->n_merges + 1 - least);
        memmove(p->left + at + 1, p->left + at, (p->n_merges - at) * sizeof *p->left);
        memmove(p->right + at + 1, p->right + at, (p->n_merges - at) * sizeof *p->right);
        memmove(p->made + at + 1, p->made + at, (p->n_merges - at) * sizeof *p->made);
        p->left[at] = part[0], p->right[at] = part[1], p->made[at] = token_of(p, whole.bytes, whole.length);
        p->n_merges++;
        qsr_text_free(&whole);
    }
    p->end = p->n_tokens;
    return p;
}

static void free_plain(plain_bpe *p)
{
    for (size_t i = 0; i < p->n_tokens; i++) qsr_text_free(&p->bytes[i]);
}

/* gpt-2's encoder.py: the lowest pair, joined wherever it stands, from the left. */
static size_t plain_word(const plain_bpe *p, size_t *ids, size_t n)
{
    for (size_t rank = 0; rank < p->n_merges;) {
        size_t found = 0, made = 0;
        for (size_t i = 0; i + 1 < n; i++) found += ids[i] == p->left[rank] && ids[i + 1] == p->right[rank];
        if (!found) {
            rank++;
            continue;
        }
        for (size_t i = 0; i < n; made++) {
            const bool join = i + 1 < n && ids[i] == p->left[rank] && ids[i + 1] == p->right[rank];
            ids[made] = join ? p->made[rank] : ids[i];
            i += join ? 2 : 1;
        }
        n = made;
        rank = 0; /* what was joined may make a lower pair */
    }
    return n;
}

static void spell(const qsr_text *bytes, qsr_text *out)
{
    for (size_t i = 0; i < bytes->length; i++) {
        char character[3];
        qsr_bytelevel_spell((unsigned char)bytes->bytes[i], character);
        qsr_text_puts(out, character);
    }
}

static void spell_map(const plain_bpe *p, json_t *map)
{
    for (size_t i = 0; i < p->n_tokens; i++) {
        qsr_text key = {0};
        spell(&p->bytes[i], &key);
        json_object_set_new(map, key.bytes, json_integer((json_int_t)i));
        qsr_text_free(&key);
    }
    json_object_set_new(map, "<|endoftext|>", json_integer((json_int_t)p->end));
}

static void spell_merge(const plain_bpe *p, size_t rank, const char *between, qsr_text *out)
{
    spell(&p->bytes[p->left[rank]], out);
    qsr_text_puts(out, between);
    spell(&p->bytes[p->right[rank]], out);
}

/* vocab.json and merges.txt (way 0), or tokenizer.json with merges as texts (1) or pairs (2). */
static const char *write_plain(const plain_bpe *p, int way)
{
    const char *in = folder();
    json_t *map = json_object(), *list = json_array(), *root;
    qsr_text lines = {0};
    qsr_text_puts(&lines, "#version: 0.2\n");
    spell_map(p, map);
    for (size_t i = 0; i < p->n_merges; i++) {
        qsr_text one = {0}, left = {0}, right = {0};
        spell_merge(p, i, " ", &one);
        spell(&p->bytes[p->left[i]], &left);
        spell(&p->bytes[p->right[i]], &right);
        qsr_text_add(&lines, "%s\n", one.bytes);
        json_array_append_new(list, way == 2 ? json_pack("[s, s]", left.bytes, right.bytes) : json_string(one.bytes));
        qsr_text_free(&one), qsr_text_free(&left), qsr_text_free(&right);
    }
    if (way == 0) {
        assert_int_equal(qsr_json_write(qsr_path_join(&arena, in, "vocab.json"), map, NULL), QSR_OK);
        put_file(in, "merges.txt", lines.bytes, lines.length);
    } else {
        root = json_pack("{s: {s: s, s: O, s: O}, s: {s: s, s: b}, s: n, s: [{s: i, s: s}]}", "model", "type", "BPE", "vocab", map, "merges",
                         list, "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "normalizer", "added_tokens", "id",
                         (int)p->end, "content", "<|endoftext|>");
        assert_non_null(root);
        assert_int_equal(qsr_json_write(qsr_path_join(&arena, in, "tokenizer.json"), root, NULL), QSR_OK);
        json_decref(root);
    }
    json_decref(map), json_decref(list);
    qsr_text_free(&lines);
    return in;
}

/* Words by the pattern, stray bytes as signs; then each by itself. */
static void assert_encodes_as(const plain_bpe *p, qsr_splitter *s, qsr_tokenizer *t, const char *text, size_t n)
{
    char seen[4096];
    size_t word[4096], end, got = 0;
    qsr_ids ids = encode(t, text, n, n);
    memcpy(seen, text, n);
    for (size_t at = 0; at < n;) {
        at += qsr_utf8_valid(text, n, at);
        if (at < n) seen[at++] = '#';
    }
    for (size_t at = 0; at < n; at = end) {
        assert_int_equal(qsr_splitter_next(s, seen, n, at, &end, NULL), QSR_OK);
        for (size_t i = at; i < end; i++) word[i - at] = (unsigned char)text[i];
        const size_t count = plain_word(p, word, end - at);
        assert_true(got + count <= ids.n);
        for (size_t i = 0; i < count; i++) assert_int_equal(ids.items[got + i], word[i]);
        got += count;
    }
    assert_int_equal(got, ids.n);
    assert_decodes(t, &ids, text, n);
    free(ids.items);
}

static void agrees_with_plain_bpe_on_random_texts(void **state)
{
    (void)state;
    static const char *const alphabets[] = {"ab", "abc \xc3\xa9", "a1 .", "\x80\xff" "ab"};
    qsr_splitter *s;
    assert_int_equal(qsr_splitter_new(&s, NULL), QSR_OK);
    qsr_splitter_plain(s, true);
    rng = qsr_rng_make(2, "bpe");
    for (size_t k = 0; k < 12; k++) {
        const char *letters = alphabets[k % 4];
        plain_bpe *p = make_plain(letters);
        qsr_tokenizer *t = open_good(write_plain(p, (int)(k % 3)));
        assert_int_equal(qsr_tokenizer_end(t), p->end);
        for (size_t round = 0; round < 60; round++) {
            char text[4096];
            const size_t n = 1 + below(round % 10 ? 100 : 600); /* some words are longer than 64 bytes: the way with a heap */
            for (size_t i = 0; i < n; i++) text[i] = below(20) ? letters[below(strlen(letters))] : (char)below(256);
            assert_encodes_as(p, s, t, text, n);
        }
        qsr_tokenizer_close(t);
        free_plain(p);
    }
    qsr_splitter_free(s);
}

static void random_bytes_come_back(void **state)
{
    (void)state;
    qsr_tokenizer *t = open_good(source("experiments/data/tiny-gpt2"));
    rng = qsr_rng_make(3, "bytes");
    for (size_t round = 0; round < 300; round++) {
        char text[2048];
        const size_t n = 1 + below(sizeof text);
        for (size_t i = 0; i < n; i++) text[i] = (char)(round % 3 ? below(256) : below(12) ? 'a' + below(26) : below(256));
        qsr_ids ids = encode(t, text, n, 64);
        assert_decodes(t, &ids, text, n);
        free(ids.items);
    }
    qsr_tokenizer_close(t);
}

/* More than a piece of the tokenizer's (256 KiB), cut anywhere, within characters and words too; and words without an end. */
static void the_cut_into_pieces_makes_no_difference(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    static const char *const parts[] = {"the ", "beginning", " \n\n", "\xc3\xa9", "\xe4\xb8\xad", "'ll", "  ", "\xff", "12", "\xf0\x9f\x98\x80", "\xe3\x80\x80"};
    qsr_tokenizer *t = open_good(source("experiments/data/tiny-gpt2"));
    char *text = qsr_xcalloc(BYTES + 64, 1);
    rng = qsr_rng_make(4, "cuts");
    for (int kind = 0; kind < 3; kind++) {
        size_t n = 0;
        if (kind) memset(text, kind == 1 ? ' ' : 'e', n = BYTES);
        while (n < BYTES) n += (size_t)sprintf(text + n, "%s", parts[below(sizeof parts / sizeof *parts)]);
        qsr_ids whole = {0};
        assert_int_equal(qsr_tokenizer_put(t, text, n, &whole, NULL), QSR_OK);
        assert_int_equal(qsr_tokenizer_finish(t, &whole, NULL), QSR_OK);
        qsr_ids cut = encode(t, text, n, 70000);
        assert_int_equal(whole.n, cut.n);
        assert_memory_equal(whole.items, cut.items, cut.n * sizeof *cut.items);
        assert_decodes(t, &cut, text, n);
        free(whole.items), free(cut.items);
    }
    free(text);
    qsr_tokenizer_close(t);
}

static void a_word_beyond_the_limit_is_refused_and_the_next_text_is_fine(void **state)
{
    (void)state;
    qsr_tokenizer *t = open_good(source("experiments/data/tiny-gpt2"));
    char *zeros = qsr_xcalloc(1 << 20, 1);
    qsr_ids ids = {0};
    qsr_error e = {0};
    qsr_status status = QSR_OK;
    for (int i = 0; i < 64 && !status; i++) status = qsr_tokenizer_put(t, zeros, 1 << 20, &ids, &e);
    assert_int_equal(status, QSR_E_INPUT);
    assert_string_equal(e.text, "more than 16777216 bytes in a row are one word: is this a text?");
    ids.n = 0;
    assert_int_equal(qsr_tokenizer_put(t, "\n", 1, &ids, &e), QSR_OK);
    assert_int_equal(qsr_tokenizer_finish(t, &ids, &e), QSR_OK);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.items[0], 198);
    free(zeros), free(ids.items);
    qsr_tokenizer_close(t);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* "$" stands for the folder. NULL: the file is not there. */
static const struct {
    const char *vocab, *merges, *all, *config, *text;
} broken[] = {
    {NULL, NULL, NULL, NULL, "$ has no tokenizer: neither vocab.json with merges.txt nor tokenizer.json"},
    {"{\"a\": 0}", NULL, NULL, NULL, "cannot read $/merges.txt: No such file or directory"},
    {"{\"a\": 0", "", NULL, NULL, "$/vocab.json:1:7: '}' expected near end of file"},
    {"[1]", "", NULL, NULL, "$/vocab.json: the file is not an object of tokens and ids"},
    {"{}", "", NULL, NULL, "$/vocab.json: the vocabulary is empty"},
    {"{\"a\": \"0\"}", "", NULL, NULL, "$/vocab.json: the id of 'a' is not a whole number"},
    {"{\"a\": 0.5}", "", NULL, NULL, "$/vocab.json: the id of 'a' is not a whole number"},
    {"{\"a\": -1}", "", NULL, NULL, "$/vocab.json: the id of 'a' is -1, outside 0..16777215"},
    {"{\"a\": 16777216}", "", NULL, NULL, "$/vocab.json: the id of 'a' is 16777216, outside 0..16777215"},
    {"{\"a\": 5, \"b\": 5}", "", NULL, NULL, "$/vocab.json: 'a' and 'b' both have the id 5"},
    {"{\"a\": 5, \"a\": 6}", "", NULL, NULL, "$/vocab.json:1:12: duplicate object key near '\"a\"'"},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b", NULL, NULL,
     "$/vocab.json: no token ends a text: tokenizer_config.json names no eos_token of this vocabulary, it has no <|endoftext|>, and "
     "config.json has no eos_token_id below its vocab_size"},
    {"{\"a\": 0, \"b\": 1}", "#version: 0.2\na b", NULL, NULL, "$/merges.txt:2: 'ab' is not in vocab.json"},
    {"{\"a\": 0, \"b\": 1}", "a c\n", NULL, NULL, "$/merges.txt:1: 'c' is not in vocab.json"},
    {"{\"a\": 0, \"b\": 1}", "\n\r\nab\n", NULL, NULL, "$/merges.txt:3: 'ab' is not two symbols with a blank between them"},
    {"{\"a\": 0, \"b\": 1}", "a  b", NULL, NULL, "$/merges.txt:1: 'a  b' is not two symbols with a blank between them"},
    {"{\"a\": 0, \"b\": 1}", "a ", NULL, NULL, "$/merges.txt:1: 'a ' is not two symbols with a blank between them"},
    {"{\"a\": 0, \"b\": 1}", "a b c", NULL, NULL, "$/merges.txt:1: 'a b c' is not two symbols with a blank between them"},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2}", "a b\r\na b\r\n", NULL, NULL, "$/merges.txt:2: 'a b' is merge 1 already"},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2, \"aba\": 3}", "ab a\na b\n", NULL, NULL,
     "$/merges.txt:1: no merge before this one makes 'ab': are the merges complete and in their order?"},
    {"{\"a\": 0, \"b\": 1, \"ab\": 2, \"aa\": 3, \"bb\": 4, \"ba\": 5, \"<|endoftext|>\": 6}", "a b", NULL, NULL,
     "$/vocab.json: 3 of its 4 tokens of more than one byte are made by none of the 1 merges, such as 'aa': is merges.txt complete?"},
    {NULL, NULL, "{}", NULL, "$/tokenizer.json: model.vocab is not an object of tokens and ids"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": 1}", NULL, "$/tokenizer.json: added_tokens is not a list"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 1}]}", NULL, "$/tokenizer.json: added token 0 has no content"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 1, \"content\": \"a\"}]}", NULL,
     "$/tokenizer.json: 'a' has the ids 0 and 1"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}, \"type\": \"WordPiece\"}}", NULL,
     "$/tokenizer.json: model.type is 'WordPiece', not BPE: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}, \"dropout\": 0.1}}", NULL,
     "$/tokenizer.json: model.dropout is set: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}, \"end_of_word_suffix\": \"</w>\"}}", NULL,
     "$/tokenizer.json: model.end_of_word_suffix is set: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"normalizer\": {\"type\": \"NFC\"}}", NULL,
     "$/tokenizer.json: there is a normalizer: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"Whitespace\"}}", NULL,
     "$/tokenizer.json: pre_tokenizer is not ByteLevel alone: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true}}", NULL,
     "$/tokenizer.json: pre_tokenizer.add_prefix_space is set: Quasar encodes as GPT-2 does and no other way"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", NULL,
     "$/tokenizer.json: model.merges is not a list"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", NULL,
     "$/tokenizer.json: model.merges[0] is neither \"a b\" nor [\"a\", \"b\"]"},
    {NULL, NULL, "{\"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", NULL,
     "$/tokenizer.json: model.merges[0]: 'aa' is not in tokenizer.json"},
    {"{\"a\": 0}", "", NULL, "{\"eos_token_id\": 50256, \"vocab_size\": 1}",
     "$/vocab.json: no token ends a text: tokenizer_config.json names no eos_token of this vocabulary, it has no <|endoftext|>, and "
     "config.json has no eos_token_id below its vocab_size"},
};

static const char *write_folder(const char *vocab, const char *merges, const char *all, const char *config, const char *names)
{
    const char *in = folder();
    if (vocab) put_file(in, "vocab.json", vocab, strlen(vocab));
    if (merges) put_file(in, "merges.txt", merges, strlen(merges));
    if (all) put_file(in, "tokenizer.json", all, strlen(all));
    if (config) put_file(in, "config.json", config, strlen(config));
    if (names) put_file(in, "tokenizer_config.json", names, strlen(names));
    return in;
}

static void says_what_is_wrong_with_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const char *in = write_folder(broken[i].vocab, broken[i].merges, broken[i].all, broken[i].config, NULL);
        qsr_tokenizer *t;
        qsr_error e = {0};
        qsr_text expected = {0};
        for (const char *c = broken[i].text; *c; c++)
            if (*c == '$') qsr_text_puts(&expected, in);
            else qsr_text_append(&expected, c, 1);
        const qsr_status status = qsr_tokenizer_open(in, &t, &e);
        if (!status || strcmp(e.text, expected.bytes)) fail_msg("case %zu gave\n  %s\nexpected\n  %s", i, e.text, expected.bytes);
        qsr_text_free(&expected);
    }
}

/* The merges of tiny-gpt2, cut anywhere but near their end, or in reverse. */
static void merges_that_were_cut_or_shuffled_are_refused(void **state)
{
    (void)state;
    char *map, *merges;
    size_t n, n_merges;
    qsr_error e = {0};
    qsr_tokenizer *t;
    assert_int_equal(qsr_read_file(&arena, source("experiments/data/tiny-gpt2/vocab.json"), 1 << 20, &map, &n, &e), QSR_OK);
    assert_int_equal(qsr_read_file(&arena, source("experiments/data/tiny-gpt2/merges.txt"), 1 << 20, &merges, &n_merges, &e), QSR_OK);
    const char *in = folder(), *at = merges;
    put_file(in, "vocab.json", map, n);
    for (size_t line = 0; line < 1700 && (at = strchr(at, '\n')); line++, at++) {
        if (line % 100) continue;
        put_file(in, "merges.txt", merges, (size_t)(at - merges) + 1);
        assert_int_equal(qsr_tokenizer_open(in, &t, &e), QSR_E_INPUT);
        assert_non_null(strstr(e.text, ": is merges.txt complete?"));
    }
    assert_non_null(at);
    at = strchr(merges, '\n') + 1;
    put_file(in, "merges.txt", at, n_merges - (size_t)(at - merges));
    qsr_tokenizer_close(open_good(in));
    const char *middle = strchr(merges + n_merges / 2, '\n') + 1;
    put_file(in, "merges.txt", qsr_arena_printf(&arena, "%s%.*s", middle, (int)(middle - at), at), n_merges - (size_t)(at - merges));
    assert_int_equal(qsr_tokenizer_open(in, &t, &e), QSR_E_INPUT);
    assert_non_null(strstr(e.text, ": are the merges complete and in their order?"));
}

static void finds_the_token_that_ends_texts(void **state)
{
    (void)state;
    static const struct {
        const char *vocab, *config, *names;
        uint32_t end;
    } cases[] = {
        {"{\"a\": 0, \"<|endoftext|>\": 7}", NULL, NULL, 7},
        {"{\"a\": 0, \"<|endoftext|>\": 7}", "{\"eos_token_id\": 0}", NULL, 7},
        {"{\"a\": 0, \"<|endoftext|>\": 7, \"</s>\": 3}", NULL, "{\"eos_token\": \"</s>\"}", 3},
        {"{\"a\": 0, \"<|endoftext|>\": 7, \"</s>\": 3}", NULL, "{\"eos_token\": {\"content\": \"</s>\"}}", 3},
        {"{\"a\": 0, \"<|endoftext|>\": 7}", NULL, "{\"eos_token\": \"</s>\"}", 7},
        {"{\"a\": 0, \"<|endoftext|>\": 7}", NULL, "{\"eos_token\": null}", 7},
        {"{\"a\": 0}", "{\"eos_token_id\": 8, \"vocab_size\": 9}", NULL, 8},
        {"{\"a\": 0}", "{\"eos_token_id\": [8, 0], \"vocab_size\": 9}", NULL, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_tokenizer *t = open_good(write_folder(cases[i].vocab, "", NULL, cases[i].config, cases[i].names));
        assert_int_equal(qsr_tokenizer_end(t), cases[i].end);
        qsr_tokenizer_close(t);
    }
}

static void a_byte_without_a_token_is_named(void **state)
{
    (void)state;
    const char *in = write_folder("{\"a\": 0, \"<|endoftext|>\": 1}", "", NULL, NULL, NULL);
    qsr_tokenizer *t = open_good(in);
    qsr_ids ids = {0};
    qsr_error e = {0};
    assert_int_equal(qsr_tokenizer_put(t, "aab", 3, &ids, &e), QSR_OK);
    assert_int_equal(qsr_tokenizer_finish(t, &ids, &e), QSR_E_INPUT);
    assert_string_equal(e.text, qsr_arena_printf(&arena, "the byte 0x62 has no token in %s/vocab.json", in));
    free(ids.items);
    qsr_tokenizer_close(t);
}

static void added_tokens_have_texts_and_never_come_from_texts(void **state)
{
    (void)state;
    const char *in = write_folder(NULL, NULL,
                                  "{\"model\": {\"vocab\": {\"<\": 0, \"x\": 1, \">\": 2, \"\xc4\xa0\": 3}, \"merges\": []}, \"pre_tokenizer\": {\"type\": "
                                  "\"ByteLevel\"}, \"added_tokens\": [{\"id\": 9, \"content\": \"<x>\"}, {\"id\": 8, \"content\": \"x x\"}]}",
                                  "{\"eos_token_id\": 9}", NULL);
    qsr_tokenizer *t = open_good(in);
    qsr_ids ids = encode(t, "<x> x", 5, 5);
    static const uint32_t wanted[] = {0, 1, 2, 3, 1};
    size_t n;
    assert_int_equal(ids.n, 5);
    assert_memory_equal(ids.items, wanted, sizeof wanted);
    assert_memory_equal(qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), 8, &n), "x x", 3);
    assert_int_equal(n, 3);
    assert_null(qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), 5, &n));
    assert_null(qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), 10, &n));
    assert_null(qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), -1, &n));
    free(ids.items);
    qsr_tokenizer_close(t);
}

static int tear_down(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_golden_ids_of_tiny_gpt2),
        cmocka_unit_test(splits_as_the_pattern_says),
        cmocka_unit_test(the_short_way_for_ascii_is_the_pattern),
        cmocka_unit_test(knows_what_utf8_is),
        cmocka_unit_test(agrees_with_plain_bpe_on_random_texts),
        cmocka_unit_test(random_bytes_come_back),
        cmocka_unit_test(the_cut_into_pieces_makes_no_difference),
        cmocka_unit_test(a_word_beyond_the_limit_is_refused_and_the_next_text_is_fine),
        cmocka_unit_test(says_what_is_wrong_with_files),
        cmocka_unit_test(merges_that_were_cut_or_shuffled_are_refused),
        cmocka_unit_test(finds_the_token_that_ends_texts),
        cmocka_unit_test(a_byte_without_a_token_is_named),
        cmocka_unit_test(added_tokens_have_texts_and_never_come_from_texts),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}

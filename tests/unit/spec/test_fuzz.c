/* A fuzzer without a corpus, the same on every machine: a few thousand mutations of six specs go through tests/fuzz/fuzz_spec.c,
 * which aborts when a promise is broken. */
#include "../../fuzz/fuzz.h"
#include "../unit.h"
#include "base/rng.h"
#include "base/text.h"

enum { ROUNDS = 4000 };

static const char *const seeds[] = {
    "name: quick\nseed: 49\ndataset: {plugin: gpt2, model: m, tokens: [a.npy, b.npy], hook: {site: resid_pre, layer: 4}}\n"
    "sae: {d_sae: 2048, normalize: token}\nactivation: {plugin: topk, k: 16}\nlosses:\n  mse: {}\n"
    "  auxk: {coeff: 1/32, dead_after: 50_000}\ntrain: {tokens: 960_000, batch: 512, lr: 1e-3}\n",
    "dataset:\n  plugin: synthetic\n  noise: 1e-2\nsae.d_sae: 64\nactivation: &a\n  plugin: topafa\n"
    "losses: {afa2: {plugin: afa, coeff: 1/128, norm: decoder}, mse: {coeff: {from: 1, to: 2, over: 1/2, shape: cosine}}}\n"
    "train: {tokens: 8192}\neval: {tokens: 0}\n",
    "extends: [nowhere.yaml]\nname: \"a\\x1b\\u202e\\tb\"\ndataset: {plugin: synthetic}\nsae: {d_sae: 6}\n",
    "dataset: {plugin: synthetic}\nsae: {d_sae: 64}\nactivation: {plugin: topk, k: 4}\ntrain: {tokens: 8192}\n",
    "dataset: {plugin: synthetic}\nsae: {d_sae: 64}\nactivation: {plugin: topk, k: 4, temp: 1/2}\ntrain: {tokens: 8192}\n"
    "losses: {mse: {}, auxk: {coeff: 1}}\ngrid:\n  - { activation.plugin: [topk, batchtopk], activation.k: [4, 8] }\n"
    "  - { activation.plugin: topafa, losses.afa.coeff: [1/128, 1/32], losses.auxk: [on, off] }\nseeds: [1, 2]\n",
    "dataset: {plugin: gpt2, model: m, hook.layer: 1}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\ngrid:\n"
    "  activation: [{plugin: topk, k: 4}, {plugin: relu}]\n  dataset: {tokens: [[a, b], c], hook: {layer: [3, 4]}}\n"
    "  losses: [{mse: {}}, {b: {plugin: afa, coeff: {from: 1, to: 2}}}]\n",
};
static const char *const words[] = {
    ":",
    "\n",
    "{",
    "}",
    "[",
    "]",
    ",",
    "- ",
    "  ",
    "\t",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!int",
    "<<: ",
    "# ",
    "---\n",
    "null",
    "off",
    "on",
    "true",
    "1/0",
    "-1",
    "1e9",
    "0.5",
    ".k",
    "k: ",
    "plugin: ",
    "relu",
    "topk",
    "losses: ",
    "grid: ",
    "seeds: ",
    "[1, 2]",
    "[on, off]",
    "activation.k: ",
    "hook.layer: 3",
    "\xff",
    "\x1b",
    "\xe2\x80\xae",
    "\xc2\x85",
    "|\n",
    ">-\n",
    "? ",
    "%YAML 1.1\n",
    "\r\n",
    "99999999999999999999",
};
static const char *const overrides[] = {"activation.k=3",
                                        "losses.auxk=off",
                                        "losses.afa.coeff=1/2",
                                        "train={tokens: 4096}",
                                        "dataset.tokens=[[x, y]]",
                                        "seed=7",
                                        "a.b.c=d",
                                        "activation.k=8,16",
                                        "activation.plugin=topk, relu,topafa",
                                        "losses.auxk=[on,off]",
                                        "seeds=[1,[2]]",
                                        "grid=off",
                                        "grid=[{activation.k: [1, 2]}]",
                                        "activation=[{plugin: relu}, {plugin: topk, k: [1]}]",
                                        "=",
                                        "k",
                                        "activation=&a [*a]"};

#define COUNT(table_) (sizeof table_ / sizeof table_[0])

typedef struct {
    qsr_rng rng;
    uint64_t at;
} dice;

static size_t below(dice *d, size_t n) { return n ? (size_t)qsr_rng_below(&d->rng, d->at++, n) : 0; }

/* Replaces `cut` bytes at `at` by `n` others. */
static void splice(qsr_text *text, size_t at, size_t cut, const char *bytes, size_t n)
{
    qsr_text out = {0};
    qsr_text_append(&out, text->bytes, at);
    qsr_text_append(&out, bytes, n);
    qsr_text_append(&out, text->bytes + at + cut, text->length - at - cut);
    qsr_text_free(text);
    *text = out;
}

static void mutate(dice *d, qsr_text *text)
{
    size_t at = below(d, text->length + 1), rest = text->length - at, cut = below(d, rest < 12 ? rest + 1 : 12);
    char byte = (char)below(d, 256);
    const char *word = words[below(d, COUNT(words))], *other = seeds[below(d, COUNT(seeds))];
    size_t from = below(d, strlen(other));
    switch (below(d, 6)) {
    case 0:
        splice(text, at, rest ? 1 : 0, &byte, 1);
        break;
    case 1:
        splice(text, at, 0, word, strlen(word));
        break;
    case 2:
        splice(text, at, cut, "", 0);
        break;
    case 3:
        splice(text, at, cut, word, strlen(word));
        break;
    case 4:
        splice(text, at, 0, other + from, below(d, strlen(other) - from));
        break;
    default:
        break; /* as it is, perhaps with overrides */
    }
}

static void keeps_its_promises_under_mutation(void **state)
{
    dice d = {qsr_rng_make(20, "fuzz"), 0};
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        qsr_text text = {0};
        qsr_text_puts(&text, seeds[below(&d, COUNT(seeds))]);
        for (size_t n = below(&d, 4); n > 0; n--) mutate(&d, &text);
        for (size_t n = below(&d, 3); n > 0; n--) {
            const char *argument = overrides[below(&d, COUNT(overrides))];
            qsr_text_append(&text, "", 1);
            qsr_text_puts(&text, argument);
        }
        LLVMFuzzerTestOneInput((const uint8_t *)text.bytes, text.length);
        qsr_text_free(&text);
    }
}

/* Texts that cost more than they weigh. */
static void stays_quick_on_hostile_texts(void **state)
{
    static const char *const pieces[] = {"[",  "{",         "- ", "a: {", "k\n",      "&a *a\n",
                                         "? ", "\"\\u0041", "a.", "'",    "a: b\n- ", "!a "};
    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        qsr_text text = {0};
        while (text.length < 100000) qsr_text_puts(&text, pieces[i]);
        LLVMFuzzerTestOneInput((const uint8_t *)text.bytes, text.length);
        qsr_text_free(&text);
    }
    qsr_text keys = {0};
    for (int i = 0; i < 9000; i++) qsr_text_add(&keys, "k%d: %d\n", i, i);
    LLVMFuzzerTestOneInput((const uint8_t *)keys.bytes, keys.length);
    qsr_text_free(&keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keeps_its_promises_under_mutation),
                                       cmocka_unit_test(stays_quick_on_hostile_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

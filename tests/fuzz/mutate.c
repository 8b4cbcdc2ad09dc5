#include "mutate.h"

#include <string.h>

#include "base/rng.h"
#include "base/sizes.h"

static qsr_rng rng;
static uint64_t drawn;

void mutate_begin(uint64_t seed)
{
    rng = qsr_rng_make(seed, "fuzz");
    drawn = 0;
}

size_t mutate_below(size_t n) { return (size_t)qsr_rng_below(&rng, drawn++, n); }

/* Replaces `cut` bytes at `at` by m others, as far as there is room. */
static void splice(mutant *in, size_t at, size_t cut, const void *with, size_t m)
{
    if (in->n - cut + m > MUTANT_MOST) return;
    uint8_t copy[MUTANT_MOST];
    memcpy(copy, with, m); /* `with` may be a part of the input itself */
    memmove(in->bytes + at + m, in->bytes + at + cut, in->n - at - cut);
    memcpy(in->bytes + at, copy, m);
    in->n += m - cut;
}

static void change_digit(mutant *in)
{
    size_t from = mutate_below(in->n);
    for (size_t i = 0; i < in->n; i++) {
        uint8_t *c = &in->bytes[(from + i) % in->n];
        if (*c < '0' || *c > '9') continue;
        *c = (uint8_t) "0123456789-"[mutate_below(11)];
        return;
    }
}

static void put_word(mutant *in)
{
    static const char *const words[] = {"18446744073709551615",
                                        "9223372036854775807",
                                        "-1",
                                        "0",
                                        "[",
                                        "{",
                                        "}",
                                        "]",
                                        ",",
                                        "\"",
                                        "'",
                                        ":",
                                        "(",
                                        ")",
                                        "F64",
                                        "BF16",
                                        "U8",
                                        "f8",
                                        "u1",
                                        ">",
                                        "|",
                                        "\\",
                                        "\\u0000",
                                        "\n",
                                        "shape",
                                        "dtype",
                                        "descr",
                                        "__metadata__",
                                        "True",
                                        "1e3",
                                        "4294967296"};
    const char *word = words[mutate_below(sizeof words / sizeof words[0])];
    size_t at = mutate_below(in->n + 1), cut = mutate_below(2) ? qsr_min_size(strlen(word), in->n - at) : 0;
    splice(in, at, cut, word, strlen(word));
}

void mutate(mutant *in, size_t within)
{
    if (!in->n) return;
    size_t at = mutate_below(qsr_min_size(in->n, within)), run = qsr_min_size(1 + mutate_below(16), in->n - at);
    switch (mutate_below(8)) {
    case 0:
        in->bytes[at] ^= (uint8_t)(1u << mutate_below(8));
        break;
    case 1:
        in->bytes[at] = (uint8_t)mutate_below(256);
        break;
    case 2:
        splice(in, at, run, "", 0);
        break;
    case 3:
        splice(in, mutate_below(in->n + 1), 0, in->bytes + at, run);
        break;
    case 4:
        in->n = at;
        break;
    case 5:
        put_word(in);
        break;
    default:
        change_digit(in);
        break; /* numbers are where lies hide: more often */
    }
}

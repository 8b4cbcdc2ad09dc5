/* A fuzzer's first minutes, always the same: ROUNDS mutations of the seeds. Fails by crashing, by a sanitizer, by abort() in the
 * entry, or when mutations are not both accepted and refused (then they test nothing). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "fuzz.h"

enum { ROUNDS = 20000, MOST_SEEDS = 16, MOST_BYTES = 4096 };

static qsr_rng rng;
static uint64_t drawn;
static size_t below(size_t n) { return (size_t)qsr_rng_below(&rng, drawn++, n); }

typedef struct {
    uint8_t bytes[MOST_BYTES];
    size_t n;
} input;

/* Replaces `cut` bytes at `at` by m others, as far as there is room. */
static void splice(input *in, size_t at, size_t cut, const void *with, size_t m)
{
    if (in->n - cut + m > MOST_BYTES) return;
    uint8_t copy[MOST_BYTES];
    memcpy(copy, with, m); /* `with` may be a part of the input itself */
    memmove(in->bytes + at + m, in->bytes + at + cut, in->n - at - cut);
    memcpy(in->bytes + at, copy, m);
    in->n += m - cut;
}

static void change_digit(input *in)
{
    size_t from = below(in->n);
    for (size_t i = 0; i < in->n; i++) {
        uint8_t *c = &in->bytes[(from + i) % in->n];
        if (*c < '0' || *c > '9') continue;
        *c = (uint8_t) "0123456789-"[below(11)];
        return;
    }
}

static void put_word(input *in)
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
    const char *word = words[below(sizeof words / sizeof words[0])];
    size_t at = below(in->n + 1), cut = below(2) ? qsr_min_size(strlen(word), in->n - at) : 0;
    splice(in, at, cut, word, strlen(word));
}

static void mutate(input *in)
{
    if (!in->n) return;
    size_t at = below(in->n), run = qsr_min_size(1 + below(16), in->n - at);
    switch (below(8)) {
    case 0:
        in->bytes[at] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        in->bytes[at] = (uint8_t)below(256);
        break;
    case 2:
        splice(in, at, run, "", 0);
        break;
    case 3:
        splice(in, below(in->n + 1), 0, in->bytes + at, run);
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

static size_t load_seeds(input *seeds)
{
    char aside[] = "/tmp/quasar-fuzz-XXXXXX";
    int fd = mkstemp(aside);
    size_t n = 0;
    if (fd < 0) abort();
    close(fd);
    for (; n < MOST_SEEDS && fuzz_seed(n, aside); n++) {
        qsr_map map;
        if (qsr_map_open(aside, &map, NULL) || map.size > MOST_BYTES || fuzz_read(aside) != 0) abort();
        memcpy(seeds[n].bytes, map.bytes, map.size);
        seeds[n].n = map.size;
        qsr_map_close(&map);
    }
    unlink(aside);
    return n;
}

int main(void)
{
    static input seeds[MOST_SEEDS], in;
    size_t n = load_seeds(seeds), accepted = 0, refused = 0;
    rng = qsr_rng_make(1, "fuzz");
    for (size_t round = 0; round < ROUNDS; round++) {
        in = seeds[below(n)];
        for (size_t i = 1 + below(3); i > 0; i--) mutate(&in);
        if (below(2)) fuzz_repair(in.bytes, in.n);
        if (fuzz_read(fuzz_file(in.bytes, in.n)) == 0)
            accepted++;
        else
            refused++;
    }
    printf("%zu accepted, %zu refused\n", accepted, refused);
    return accepted > ROUNDS / 100 && refused > ROUNDS / 2 ? 0 : 1;
}

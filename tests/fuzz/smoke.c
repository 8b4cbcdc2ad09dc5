/* A fuzzer's first minutes, always the same: ROUNDS mutations of the seeds. Fails by crashing, by a sanitizer, by abort() in the
 * entry, or when mutations are not both accepted and refused (then they test nothing). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "fuzz.h"
#include "mutate.h"

enum { ROUNDS = 20000, MOST_SEEDS = 16 };

static size_t load_seeds(mutant *seeds)
{
    char aside[] = "/tmp/quasar-fuzz-XXXXXX";
    int fd = mkstemp(aside);
    size_t n = 0;
    if (fd < 0) abort();
    close(fd);
    for (; n < MOST_SEEDS && fuzz_seed(n, aside); n++) {
        qsr_map map;
        if (qsr_map_open(aside, &map, NULL) || map.size > MUTANT_MOST || fuzz_read(aside) != 0) abort();
        memcpy(seeds[n].bytes, map.bytes, map.size);
        seeds[n].n = map.size;
        qsr_map_close(&map);
    }
    unlink(aside);
    return n;
}

int main(void)
{
    static mutant seeds[MOST_SEEDS], in;
    size_t n = load_seeds(seeds), accepted = 0, refused = 0;
    mutate_begin(1);
    for (size_t round = 0; round < ROUNDS; round++) {
        in = seeds[mutate_below(n)];
        for (size_t i = 1 + mutate_below(3); i > 0; i--) mutate(&in, in.n);
        if (mutate_below(2)) fuzz_repair(in.bytes, in.n);
        if (fuzz_read(fuzz_file(in.bytes, in.n)) == 0)
            accepted++;
        else
            refused++;
    }
    printf("%zu accepted, %zu refused\n", accepted, refused);
    return accepted > ROUNDS / 100 && refused > ROUNDS / 2 ? 0 : 1;
}

/* tests/fuzz/mutate: small damage to files, the same on every machine. */
#ifndef QSR_TESTS_MUTATE_H
#define QSR_TESTS_MUTATE_H
#include <stddef.h>
#include <stdint.h>

enum { MUTANT_MOST = 16384 };

typedef struct {
    uint8_t bytes[MUTANT_MOST];
    size_t n;
} mutant;

void mutate_begin(uint64_t seed);
size_t mutate_below(size_t n); /* the next random number, in [0, n) */
/* One change: a bit, a byte, a run left out or doubled, the end cut off, a digit, a word that formats know. Most of them lie
 * below byte `within`. */
void mutate(mutant *, size_t within);
#endif

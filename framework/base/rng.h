/* base/rng: random numbers as a pure function of (seed, stream name, index): Philox4x32-10.
 * Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 * No state: nothing to save in a checkpoint, any thread, and a new consumer never shifts another's numbers. */
#ifndef QSR_BASE_RNG_H
#define QSR_BASE_RNG_H
#include <stdint.h>

typedef struct {
    uint32_t key[2];   /* from the seed */
    uint32_t salt[2];  /* from the stream's name */
} qsr_rng;

/* out = Philox4x32-10(counter, key): the published function, for its known-answer test. */
void qsr_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

qsr_rng qsr_rng_make(uint64_t seed, const char *stream);
uint64_t qsr_rng_bits(const qsr_rng *, uint64_t index);
double qsr_rng_unit(const qsr_rng *, uint64_t index);                    /* uniform in [0, 1), 53 bits */
uint64_t qsr_rng_below(const qsr_rng *, uint64_t index, uint64_t n);     /* uniform in [0, n); n > 0 */
double qsr_rng_normal(const qsr_rng *, uint64_t index);                  /* standard normal (Box-Muller) */
/* perm[0..n) = a uniformly random permutation of 0..n-1, a function of (rng, n). */
void qsr_rng_permute(const qsr_rng *, uint32_t *perm, uint32_t n);

/* 64-bit FNV-1a of a name, for salts and for keys in tables. */
uint64_t qsr_hash_name(const char *name);
#endif

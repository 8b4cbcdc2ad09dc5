#include "base/rng.h"

#include <math.h>

__extension__ typedef unsigned __int128 wide;

static uint32_t multiply(uint32_t a, uint32_t b, uint32_t *high)
{
    uint64_t product = (uint64_t)a * b;
    *high = (uint32_t)(product >> 32);
    return (uint32_t)product;
}

void qsr_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint32_t high0, high1;
        uint32_t low0 = multiply(0xD2511F53u, c0, &high0);
        uint32_t low1 = multiply(0xCD9E8D57u, c2, &high1);
        c0 = high1 ^ c1 ^ k0;
        c2 = high0 ^ c3 ^ k1;
        c1 = low1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint64_t qsr_hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return hash;
}

qsr_rng qsr_rng_make(uint64_t seed, const char *stream)
{
    uint64_t salt = qsr_hash_name(stream);
    return (qsr_rng){{(uint32_t)seed, (uint32_t)(seed >> 32)}, {(uint32_t)salt, (uint32_t)(salt >> 32)}};
}

static void draw(const qsr_rng *rng, uint64_t index, uint32_t out[4])
{
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), rng->salt[0], rng->salt[1]};
    qsr_philox(counter, rng->key, out);
}

uint64_t qsr_rng_bits(const qsr_rng *rng, uint64_t index)
{
    uint32_t out[4];
    draw(rng, index, out);
    return (uint64_t)out[1] << 32 | out[0];
}

double qsr_rng_unit(const qsr_rng *rng, uint64_t index) { return (double)(qsr_rng_bits(rng, index) >> 11) * 0x1p-53; }

/* 128-bit multiply-high keeps the bias below n / 2^64 (D. Lemire, "Fast random integer generation in an interval", 2019). */
uint64_t qsr_rng_below(const qsr_rng *rng, uint64_t index, uint64_t n)
{
    return (uint64_t)(((wide)qsr_rng_bits(rng, index) * n) >> 64);
}

double qsr_rng_normal(const qsr_rng *rng, uint64_t index)
{
    uint32_t out[4];
    draw(rng, index, out);
    double u = ((double)((((uint64_t)out[1] << 32 | out[0]) >> 11) + 1)) * 0x1p-53; /* (0, 1]: its log is finite */
    double v = (double)(((uint64_t)out[3] << 32 | out[2]) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586476925286766559 * v);
}

void qsr_rng_permute(const qsr_rng *rng, uint32_t *perm, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) perm[i] = i;
    for (uint32_t i = n; i > 1; i--) { /* Fisher-Yates */
        uint32_t j = (uint32_t)qsr_rng_below(rng, i, i), swap = perm[i - 1];
        perm[i - 1] = perm[j];
        perm[j] = swap;
    }
}

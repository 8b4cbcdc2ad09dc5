/* Random numbers: the published test vectors, and the laws of what is made of them. Statistical limits are five standard errors. */
#include "../unit.h"
#include "base/rng.h"

/* Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds. */
static void philox_gives_the_published_numbers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < 3; i++) {
        uint32_t out[4];
        qsr_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

/* http://www.isthe.com/chongo/tech/comp/fnv/: FNV-1a, 64 bits. */
static void names_are_hashed_as_published(void **state)
{
    (void)state;
    assert_true(qsr_hash_name("") == 0xcbf29ce484222325u);
    assert_true(qsr_hash_name("a") == 0xaf63dc4c8601ec8cu);
    assert_true(qsr_hash_name("foobar") == 0x85944171f73967e8u);
}

static void streams_and_seeds_are_different_numbers(void **state)
{
    (void)state;
    qsr_rng a = qsr_rng_make(1, "init"), again = qsr_rng_make(1, "init"), stream = qsr_rng_make(1, "data");
    qsr_rng seed = qsr_rng_make(2, "init"), high = qsr_rng_make(1 + ((uint64_t)1 << 32), "init");
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(qsr_rng_bits(&a, i) == qsr_rng_bits(&again, i));
        assert_true(qsr_rng_bits(&a, i) != qsr_rng_bits(&stream, i));
        assert_true(qsr_rng_bits(&a, i) != qsr_rng_bits(&seed, i));
        assert_true(qsr_rng_bits(&a, i) != qsr_rng_bits(&high, i));
        assert_true(qsr_rng_bits(&a, i) != qsr_rng_bits(&a, i + ((uint64_t)1 << 32)));
    }
}

/* Checkpoints and cell ids stand on these numbers: a change of the mapping from (seed, name, index) must be noticed. */
static void the_mapping_is_pinned(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(49, "init");
    uint64_t salt = qsr_hash_name("init");
    for (uint64_t i = 0; i < 3; i++) {
        uint64_t index = i * 0x123456789abcdefu;
        const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)salt, (uint32_t)(salt >> 32)};
        uint32_t out[4];
        qsr_philox(counter, (const uint32_t[]){49, 0}, out);
        assert_true(qsr_rng_bits(&rng, index) == ((uint64_t)out[1] << 32 | out[0]));
        assert_true(qsr_rng_unit(&rng, index) == (double)(qsr_rng_bits(&rng, index) >> 11) / 9007199254740992.0);
    }
}

enum { N = 100000 };

static void units_are_uniform(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(3, "unit");
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < N; i++) {
        double u = qsr_rng_unit(&rng, i);
        assert_true(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    assert_true(fabs(sum / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
    assert_true(fabs(squares / N - 1.0 / 3) < 5 * sqrt(4.0 / 45 / N));
}

static void below_reaches_every_number_alike(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(4, "below");
    size_t count[7] = {0};
    for (uint64_t i = 0; i < N; i++) {
        uint64_t value = qsr_rng_below(&rng, i, 7);
        assert_true(value < 7);
        count[value]++;
    }
    for (size_t i = 0; i < 7; i++) assert_true(fabs(count[i] - N / 7.0) < 5 * sqrt(N / 7.0));
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(qsr_rng_below(&rng, i, 1) == 0);
        assert_true(qsr_rng_below(&rng, i, UINT64_MAX) < UINT64_MAX);
    }
}

static void normals_have_the_moments_of_the_normal(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(5, "normal");
    double sum = 0, squares = 0, fourth = 0, beyond = 0;
    for (uint64_t i = 0; i < N; i++) {
        double z = qsr_rng_normal(&rng, i);
        assert_true(isfinite(z));
        sum += z;
        squares += z * z;
        fourth += z * z * z * z;
        beyond += z > 1.959963984540054;
    }
    assert_true(fabs(sum / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(squares / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    assert_true(fabs(beyond / N - 0.025) < 5 * sqrt(0.025 * 0.975 / N));
}

static void permutations_are_permutations_and_all_alike(void **state)
{
    (void)state;
    enum { LENGTH = 1000, TRIES = 6000 };
    uint32_t perm[LENGTH], seen[LENGTH] = {0}, orders[6] = {0};
    qsr_rng rng = qsr_rng_make(6, "permute");
    qsr_rng_permute(&rng, perm, LENGTH);
    for (size_t i = 0; i < LENGTH; i++) seen[perm[i]]++;
    for (size_t i = 0; i < LENGTH; i++) assert_int_equal(seen[i], 1);
    qsr_rng_permute(&rng, perm, 1);
    assert_int_equal(perm[0], 0);
    qsr_rng_permute(&rng, perm, 0);
    for (uint64_t seed = 0; seed < TRIES; seed++) {
        qsr_rng each = qsr_rng_make(seed, "permute");
        qsr_rng_permute(&each, perm, 3);
        orders[perm[0] * 2 + (perm[1] > perm[2])]++;
    }
    for (size_t i = 0; i < 6; i++) assert_true(fabs(orders[i] - TRIES / 6.0) < 5 * sqrt(TRIES / 6.0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(names_are_hashed_as_published),
        cmocka_unit_test(streams_and_seeds_are_different_numbers),
        cmocka_unit_test(the_mapping_is_pinned),
        cmocka_unit_test(units_are_uniform),
        cmocka_unit_test(below_reaches_every_number_alike),
        cmocka_unit_test(normals_have_the_moments_of_the_normal),
        cmocka_unit_test(permutations_are_permutations_and_all_alike),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}

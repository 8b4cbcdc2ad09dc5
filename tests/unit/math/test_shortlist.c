/* shortlist: a head of the order by value, then index, has no gaps and fits its room; every instruction set gathers alike. */
#include "../unit.h"

#include <float.h>

#include "base/rng.h"
#include "math/select.h"
#include "math/shortlist.h"

enum { MOST = 5000 };
static float v[MOST], value[MOST + QSR_SELECT_LANES];
static uint32_t got[MOST + QSR_SELECT_LANES], want[MOST + QSR_SELECT_LANES];

enum { KINDS = 8 };
static void fill(int kind, size_t n, uint64_t seed)
{
    qsr_rng rng = qsr_rng_make(seed, "shortlist");
    for (size_t i = 0; i < n; i++) {
        double z = qsr_rng_normal(&rng, i);
        const double all[KINDS] = {
            z, round(z * 2), exp(8 * z), z > 2 ? z : -1, 1, i % 7 ? z : i % 2 ? NAN : INFINITY, z * 1e-42, z * 1e30};
        v[i] = (float)all[kind];
    }
}

/* What was taken is exactly the largest of as many. */
static void check_head(size_t n, size_t least, size_t room, float *guess)
{
    bool all;
    size_t positive = 0, count = qsr_shortlist_take(v, n, least, room, guess, got, value, &all);
    for (size_t i = 0; i < n; i++) positive += v[i] > 0;
    assert_int_equal(all, positive <= room);
    assert_true(count <= room);
    assert_true(all ? count == positive : count >= least);
    assert_int_equal(qsr_select_largest(v, n, count, want), count);
    assert_memory_equal(got, want, count * sizeof *got);
    for (size_t i = 0; i < count; i++) assert_memory_equal(&value[i], &v[got[i]], sizeof *value);
}

static void a_head_has_no_gaps(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 300, 2048, 4999}, ks[] = {1, 2, 31, 200, 1000};
    for (int kind = 0; kind < KINDS; kind++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
                const float guesses[] = {0, 1, 1e-30f, 1e30f, FLT_TRUE_MIN, INFINITY};
                fill(kind, sizes[s], (uint64_t)kind * 100 + s);
                for (size_t g = 0; g < sizeof guesses / sizeof *guesses; g++) {
                    float guess = guesses[g];
                    check_head(sizes[s], qsr_shortlist_least(ks[i]), qsr_shortlist_room(ks[i]), &guess);
                    check_head(sizes[s], ks[i], ks[i], &guess); /* no room to spare */
                }
            }
}

/* Each row begins with the bound of the row before, which is far off where their scales are. */
static void guesses_do_not_show(void **state)
{
    (void)state;
    float guess = 0;
    for (uint64_t row = 0; row < 200; row++) {
        fill(row % 5 == 4 ? 4 : 0, 3000, row);
        for (size_t i = 0; i < 3000; i++) v[i] *= ldexpf(1, (int)(row * row % 41) - 20);
        check_head(3000, 150, 170, &guess);
    }
}

static void passes_agree(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    static const size_t sizes[] = {1, 15, 16, 17, 31, 100, 333, 4999};
    static uint8_t named[MOST];
    for (size_t s = 0; s < 3; s++) {
        const qsr_shortlist_passes *p = qsr_shortlist_passes_named(sets[s]);
        if (!p) print_message("%s: not tested, this processor lacks it\n", sets[s]);
        for (size_t c = 0; p && c < sizeof sizes / sizeof *sizes; c++)
            for (unsigned modulus = 1; modulus < 40; modulus += 6) {
                qsr_places places;
                size_t n = sizes[c], expected = 0;
                assert_int_equal(qsr_places_create(n, &places, NULL), QSR_OK);
                for (size_t i = 0; i < n; i++) expected += named[i] = i % modulus == 0;
                qsr_places_set(&places, named);
                assert_int_equal(places.n, expected);
                fill((int)modulus % KINDS, n, c);
                p->gather(&places, v, value);
                for (size_t i = 0; i < places.n; i++) assert_memory_equal(&value[i], &v[places.index[i]], sizeof *value);
                qsr_places_free(&places);
            }
    }
    assert_null(qsr_shortlist_passes_named("sse9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_no_gaps),
        cmocka_unit_test(guesses_do_not_show),
        cmocka_unit_test(passes_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

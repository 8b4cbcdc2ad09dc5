/* Matching: the assignment against brute force and against itself, dictionaries with known answers. */
#include "eval/match.h"

#include "../unit.h"
#include "base/rng.h"

enum { SMALL = 7 };

/* The best total over all ways to give rows i.. a free column each. */
static double brute_force(const float *value, size_t rows, size_t cols, size_t i, unsigned used)
{
    double best = i == rows ? 0 : -INFINITY;
    for (size_t j = 0; i < rows && j < cols; j++)
        if (!(used & 1u << j))
            best = fmax(best, value[i * cols + j] + brute_force(value, rows, cols, i + 1, used | 1u << j));
    return best;
}

static double check_assignment(const float *value, size_t rows, size_t cols)
{
    uint32_t *col = calloc(rows + 1, sizeof *col);
    char *taken = calloc(cols + 1, 1);
    double total = -1, gap = -1, sum = 0;
    qsr_error e = {0};
    assert_int_equal(qsr_match_assign(value, rows, cols, col, &total, &gap, &e), QSR_OK);
    for (size_t i = 0; i < rows; i++) {
        assert_true(col[i] < cols && !taken[col[i]]);
        taken[col[i]] = 1;
        sum += value[i * cols + col[i]];
    }
    assert_close(sum, total, 1e-15);
    assert_true(fabs(gap) <= 1e-12 * fmax(1, fabs(total)) * (double)(rows + 1)); /* rounding of the duals */
    free(col);
    free(taken);
    return total;
}

static void is_the_best_of_all_on_small_sizes(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(3, "test/match");
    uint64_t at = 0;
    for (int trial = 0; trial < 1500; trial++) {
        float value[SMALL * SMALL];
        size_t rows = 1 + qsr_rng_below(&rng, at, SMALL), cols = rows + qsr_rng_below(&rng, at + 1, SMALL - rows + 1);
        uint64_t kind = qsr_rng_below(&rng, at + 2, 3);
        at += 3;
        for (size_t i = 0; i < rows * cols; i++, at++) {
            if (kind == 0) value[i] = (float)qsr_rng_unit(&rng, at);
            if (kind == 1) value[i] = (float)qsr_rng_below(&rng, at, 3) - 1; /* ties everywhere */
            if (kind == 2) value[i] = (float)(1e3 * qsr_rng_normal(&rng, at));
        }
        assert_close(check_assignment(value, rows, cols), brute_force(value, rows, cols, 0, 0), 1e-14);
    }
}

static void closes_the_gap_on_larger_sizes(void **state)
{
    (void)state;
    const size_t shapes[][2] = {{200, 200}, {150, 400}, {1, 300}, {0, 5}};
    for (size_t s = 0; s < 4; s++) {
        size_t n = shapes[s][0] * shapes[s][1];
        qsr_rng rng = qsr_rng_make(s, "test/match");
        float *value = calloc(n + 1, sizeof *value);
        for (size_t i = 0; i < n; i++) value[i] = (float)qsr_rng_unit(&rng, i);
        check_assignment(value, shapes[s][0], shapes[s][1]);
        for (size_t i = 0; i < n; i++) value[i] = 0.5f; /* nothing to choose */
        assert_close(check_assignment(value, shapes[s][0], shapes[s][1]), 0.5 * (double)shapes[s][0], 1e-14);
        for (size_t i = 0; i < n; i++)
            value[i] = (float)(i / shapes[s][1]) * (float)(i % shapes[s][1]); /* hard for bidding */
        check_assignment(value, shapes[s][0], shapes[s][1]);
        free(value);
    }
}

static void refuses_what_cannot_be_assigned(void **state)
{
    (void)state;
    const float value[] = {1, 2, 3, NAN, 5, 6}, infinite[] = {1, INFINITY};
    uint32_t col[3];
    double total;
    qsr_error e = {0};
    assert_int_equal(qsr_match_assign(value, 2, 3, col, &total, NULL, &e), QSR_E_NUMERIC);
    assert_string_equal(e.text, "row 1, column 0 of an assignment is not finite");
    assert_int_equal(qsr_match_assign(infinite, 1, 2, col, &total, NULL, &e), QSR_E_NUMERIC);
    assert_int_equal(qsr_match_assign(value, 3, 1, col, &total, NULL, &e), QSR_E_INTERNAL);
}

/* ---- dictionaries ------------------------------------------------------------------------------------------------ */

enum { D = 24, FEATURES = 300, ROWS = 420 };

/* The dictionary holds feature f at row place[f], scaled and, for every third, turned round; other rows are noise. */
static void draw(float *features, float *dictionary, uint32_t *place)
{
    qsr_rng rng = qsr_rng_make(9, "test/match");
    qsr_rng_permute(&rng, place, ROWS);
    rng = qsr_rng_make(10, "test/match");
    for (size_t i = 0; i < FEATURES * D; i++) features[i] = (float)qsr_rng_normal(&rng, i);
    for (size_t i = 0; i < ROWS * D; i++) dictionary[i] = (float)qsr_rng_normal(&rng, i + FEATURES * D);
    for (size_t f = 0; f < FEATURES; f++)
        for (size_t i = 0; i < D; i++) dictionary[place[f] * D + i] = (f % 3 ? 2.0f : -0.5f) * features[f * D + i];
}

static void finds_features_in_a_dictionary(void **state)
{
    (void)state;
    static float features[FEATURES * D], dictionary[ROWS * D];
    static uint32_t place[ROWS], partner[ROWS];
    qsr_error e = {0};
    qsr_match match;
    draw(features, dictionary, place);
    assert_int_equal(qsr_match_of(NULL, features, FEATURES, dictionary, ROWS, D, &match, partner, &e), QSR_OK);
    for (size_t f = 0; f < FEATURES; f++) assert_int_equal(partner[f], place[f]);
    assert_close(match.mcc, 1, 1e-6); /* cosines in float32 */
    assert_true(fabs(match.gap) < 1e-12);
    /* mmcs is signed: the features that were turned round find something else, less than themselves. */
    assert_true(match.mmcs > 0.7 && match.mmcs < 0.95);
    double there = match.mmcs, back = match.mmcs_back;
    /* Seen from the other side, rows without a feature have no partner and count 0. */
    assert_int_equal(qsr_match_of(NULL, dictionary, ROWS, features, FEATURES, D, &match, partner, &e), QSR_OK);
    assert_close(match.mcc, (double)FEATURES / ROWS, 1e-6);
    assert_true(match.mmcs == back && match.mmcs_back == there);
    for (size_t f = 0; f < FEATURES; f++) assert_int_equal(partner[place[f]], f);
    for (size_t k = FEATURES; k < ROWS; k++) assert_int_equal(partner[place[k]], UINT32_MAX);
    /* A dictionary against itself. */
    assert_int_equal(qsr_match_of(NULL, dictionary, ROWS, dictionary, ROWS, D, &match, NULL, &e), QSR_OK);
    assert_close(match.mcc, 1, 1e-6);
    assert_close(match.mmcs, 1, 1e-6);
}

static void mmcs_is_the_mean_of_the_largest_cosine(void **state)
{
    (void)state;
    const float features[] = {1, 0, 0, 1, 0, 0}, dictionary[] = {3, 4, -5, 0};
    qsr_error e = {0};
    qsr_match match;
    uint32_t partner[3];
    assert_int_equal(qsr_match_of(NULL, features, 3, dictionary, 2, 2, &match, partner, &e), QSR_OK);
    assert_close(match.mmcs, (0.6 + 0.8 + 0) / 3, 1e-7);
    assert_close(match.mmcs_back, (0.8 + 0) / 2, 1e-7);
    assert_close(match.mcc, (1 + 0.8) / 3, 1e-7); /* (1, 0) with (-5, 0), (0, 1) with (3, 4); a row of zeros with none */
    assert_true(partner[0] == 1 && partner[1] == 0 && partner[2] == UINT32_MAX);
    assert_int_equal(qsr_match_of(NULL, features, 3, dictionary, 0, 2, &match, partner, &e), QSR_OK);
    assert_true(isnan(match.mmcs) && isnan(match.mcc));
    const float broken[] = {1, NAN, 0, 1};
    assert_int_equal(qsr_match_of(NULL, features, 3, broken, 2, 2, &match, NULL, &e), QSR_E_NUMERIC);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    static float features[FEATURES * D], dictionary[ROWS * D];
    static uint32_t place[ROWS], partner[3][FEATURES];
    qsr_error e = {0};
    qsr_match match[3];
    draw(features, dictionary, place);
    for (unsigned t = 0; t < 3; t++) {
        qsr_pool *pool;
        assert_int_equal(qsr_pool_create(t + 1, &pool, &e), QSR_OK);
        assert_int_equal(qsr_match_of(pool, features, FEATURES, dictionary, ROWS, D, &match[t], partner[t], &e), QSR_OK);
        qsr_pool_free(pool);
        assert_memory_equal(&match[0], &match[t], sizeof *match);
        assert_memory_equal(partner[0], partner[t], sizeof *partner);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_best_of_all_on_small_sizes),      cmocka_unit_test(closes_the_gap_on_larger_sizes),
        cmocka_unit_test(refuses_what_cannot_be_assigned),        cmocka_unit_test(finds_features_in_a_dictionary),
        cmocka_unit_test(mmcs_is_the_mean_of_the_largest_cosine), cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

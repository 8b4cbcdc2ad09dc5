/* Sparse codes: compacting, copying and finding against plain arrays. */
#include "../unit.h"

#include "base/rng.h"
#include "model/code.h"

enum { ROWS = 9, D_SAE = 40 };

/* Row r holds latent j where a coin says so; row 2 is empty, row 5 full. */
static qsr_code random_code(uint32_t planes, uint64_t seed)
{
    qsr_code c;
    assert_int_equal(qsr_code_alloc(ROWS, D_SAE, ROWS * D_SAE, planes, &c, NULL), QSR_OK);
    qsr_rng rng = qsr_rng_make(seed, "code");
    size_t n = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (uint32_t j = 0; j < D_SAE; j++) {
            if (r == 2 || (r != 5 && qsr_rng_unit(&rng, r * D_SAE + j) < 0.6)) continue;
            c.latent[n] = j;
            c.value[n] = (float)n / 4;
            for (uint32_t p = 0; p < planes; p++) c.plane[p][n] = (float)n + 0.5f + (float)p;
            n++;
        }
        c.row_begin[r + 1] = n;
    }
    return c;
}

static void a_new_code_is_empty(void **state)
{
    (void)state;
    for (uint32_t planes = 0; planes < 3; planes++) {
        qsr_code c;
        assert_int_equal(qsr_code_alloc(3, D_SAE, 0, planes, &c, NULL), QSR_OK);
        for (size_t r = 0; r <= 3; r++) assert_int_equal(c.row_begin[r], 0);
        assert_true((c.plane[0] != NULL) == (planes > 0) && (c.plane[1] != NULL) == (planes > 1));
        qsr_code_free(&c);
        assert_null(c.latent);
    }
}

static void too_large_a_code_is_refused(void **state)
{
    (void)state;
    qsr_code c;
    qsr_error e = {0};
    assert_int_equal(qsr_code_alloc(1, D_SAE, SIZE_MAX / 2, 0, &c, &e), QSR_E_NOMEM);
    assert_non_null(strstr(e.text, "a block of codes"));
}

static void compacting_keeps_what_is_marked(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 12; seed++) {
        uint32_t planes = (uint32_t)(seed % 3);
        qsr_code c = random_code(planes, seed), whole = random_code(planes, seed);
        uint8_t keep[ROWS * D_SAE];
        qsr_rng rng = qsr_rng_make(seed, "keep");
        double share = (double)(seed / 3) / 3; /* 0, 1/3, 2/3, 1 */
        for (size_t e = 0; e < ROWS * D_SAE; e++) keep[e] = qsr_rng_unit(&rng, e) < share;
        qsr_code_compact(&c, keep);
        size_t at = 0;
        for (size_t r = 0; r < ROWS; r++) {
            assert_int_equal(c.row_begin[r], at);
            for (size_t e = whole.row_begin[r]; e < whole.row_begin[r + 1]; e++) {
                if (!keep[e]) continue;
                assert_int_equal(c.latent[at], whole.latent[e]);
                assert_true(c.value[at] == whole.value[e]);
                for (uint32_t p = 0; p < planes; p++) assert_true(c.plane[p][at] == whole.plane[p][e]);
                at++;
            }
        }
        assert_int_equal(c.row_begin[ROWS], at);
        qsr_code_free(&c);
        qsr_code_free(&whole);
    }
}

static void a_copy_is_exact_and_its_own(void **state)
{
    (void)state;
    for (uint32_t planes = 0; planes < 3; planes++) {
        qsr_code from = random_code(planes, planes), c;
        size_t n = from.row_begin[ROWS];
        assert_int_equal(qsr_code_copy(&from, &c, NULL), QSR_OK);
        assert_int_equal(c.capacity, n);
        assert_true(c.rows == ROWS && c.d_sae == D_SAE && c.planes == planes);
        assert_memory_equal(c.row_begin, from.row_begin, (ROWS + 1) * sizeof *c.row_begin);
        assert_memory_equal(c.latent, from.latent, n * sizeof *c.latent);
        assert_memory_equal(c.value, from.value, n * sizeof *c.value);
        for (uint32_t p = 0; p < planes; p++) assert_memory_equal(c.plane[p], from.plane[p], n * sizeof(float));
        from.value[0] = -1;
        assert_true(c.value[0] != -1);
        qsr_code_free(&from);
        qsr_code_free(&c);
    }
    qsr_code empty, c;
    assert_int_equal(qsr_code_alloc(2, D_SAE, 10, 1, &empty, NULL), QSR_OK);
    assert_int_equal(qsr_code_copy(&empty, &c, NULL), QSR_OK);
    assert_int_equal(c.row_begin[2], 0);
    qsr_code_free(&empty);
    qsr_code_free(&c);
}

static void find_gives_the_first_entry_from_a_latent_on(void **state)
{
    (void)state;
    qsr_code c = random_code(0, 1);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t latent = 0; latent <= D_SAE + 1; latent++) {
            size_t want = c.row_begin[r];
            while (want < c.row_begin[r + 1] && c.latent[want] < latent) want++;
            assert_int_equal(qsr_code_find(&c, r, latent), want);
        }
    qsr_code_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_code_is_empty),
        cmocka_unit_test(too_large_a_code_is_refused),
        cmocka_unit_test(compacting_keeps_what_is_marked),
        cmocka_unit_test(a_copy_is_exact_and_its_own),
        cmocka_unit_test(find_gives_the_first_entry_from_a_latent_on),
    };
    return cmocka_run_group_tests_name("codes", tests, NULL, NULL);
}

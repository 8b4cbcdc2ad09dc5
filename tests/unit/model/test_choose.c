/* The host's own row top-k: the choice is that of dot products in double, however float32 rounded them; where nothing is near it is
 * the plain selection; equal latents tie to the smaller index. */
#include "../unit.h"

#include "base/arena.h"
#include "base/rng.h"
#include "math/blas.h"
#include "math/rows.h"
#include "math/select.h"
#include "model/choose.h"
#include "model/code.h"

enum { ROWS = 40 };

typedef struct {
    qsr_params p;
    float *xc, *pre;
    qsr_code code;
} problem;

static void normal(float *v, size_t n, const char *stream)
{
    qsr_rng rng = qsr_rng_make(5, stream);
    for (size_t i = 0; i < n; i++) v[i] = (float)qsr_rng_normal(&rng, i);
}

static problem make(size_t d_in, size_t d_sae, bool bias)
{
    problem x;
    assert_int_equal(qsr_params_alloc(d_in, d_sae, &x.p, NULL), QSR_OK);
    x.p.encoder_bias = bias;
    x.xc = calloc(ROWS * d_in, sizeof *x.xc);
    x.pre = calloc(ROWS * d_sae, sizeof *x.pre);
    assert_int_equal(qsr_code_alloc(ROWS, d_sae, ROWS * d_sae, 0, &x.code, NULL), QSR_OK);
    normal(x.xc, ROWS * d_in, "x");
    normal(x.p.w_enc, d_in * d_sae, "w");
    if (bias) normal(x.p.b_enc, d_sae, "b");
    return x;
}

static void unmake(problem *x)
{
    qsr_params_free(&x->p);
    free(x->xc);
    free(x->pre);
    qsr_code_free(&x->code);
}

static double exact(const problem *x, size_t r, size_t j)
{
    return qsr_row_dot(x->xc + r * x->p.d_in, x->p.w_enc + j * x->p.d_in, x->p.d_in) +
           (x->p.encoder_bias ? x->p.b_enc[j] : 0);
}

/* pre as BLAS makes it, or from double with relative noise of 2^-20: what a bad kernel might do. */
static void encode(problem *x, bool noisy)
{
    const qsr_params *p = &x->p;
    qsr_rng rng = qsr_rng_make(6, "noise");
    qsr_gemm(false, true, ROWS, p->d_sae, p->d_in, 1, x->xc, p->d_in, p->w_enc, p->d_in, 0, x->pre, p->d_sae);
    for (size_t i = 0; i < ROWS * p->d_sae; i++) {
        if (p->encoder_bias) x->pre[i] += p->b_enc[i % p->d_sae];
        if (noisy)
            x->pre[i] = (float)(exact(x, i / p->d_sae, i % p->d_sae) * (1 + 0x1p-20 * (2 * qsr_rng_unit(&rng, i) - 1)));
    }
}

typedef struct {
    double value;
    uint32_t latent;
} entry;

static int larger_first(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

/* Row r of the code holds the k largest positive by exact value, ties to the smaller latent, with the values of pre. */
static void check_row(const problem *x, size_t r, size_t k)
{
    size_t n = x->p.d_sae, positive = 0;
    entry *all = calloc(n, sizeof *all);
    uint8_t *wanted = calloc(n, 1);
    for (size_t j = 0; j < n; j++)
        if (x->pre[r * n + j] > 0) all[positive++] = (entry){exact(x, r, j), (uint32_t)j};
    qsort(all, positive, sizeof *all, larger_first);
    for (size_t i = 0; i < k && i < positive; i++) wanted[all[i].latent] = 1;
    size_t e = x->code.row_begin[r];
    for (uint32_t j = 0; j < n; j++) {
        if (!wanted[j]) continue;
        assert_true(e < x->code.row_begin[r + 1]);
        assert_int_equal(x->code.latent[e], j);
        assert_true(x->code.value[e] == x->pre[r * n + j]);
        e++;
    }
    assert_int_equal(e, x->code.row_begin[r + 1]);
    free(all);
    free(wanted);
}

static void check(problem *x, size_t k)
{
    qsr_choose_rows(&x->p, k, x->xc, ROWS, x->pre, &x->code);
    for (size_t r = 0; r < ROWS; r++) check_row(x, r, k);
}

static const size_t ks[] = {1, 2, 5, 17, 64, 299, 300, 301};

static void random_rows_are_chosen_by_exact_value(void **state)
{
    (void)state;
    for (int c = 0; c < 4; c++) {
        problem x = make(24, 301, c & 1);
        encode(&x, c & 2);
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) check(&x, ks[i]);
        unmake(&x);
    }
}

/* Latents in near-copies of eight: within a group only bits beyond float32's product decide. */
static void crowds_of_near_equals_are_settled_in_double(void **state)
{
    (void)state;
    for (int noisy = 0; noisy < 2; noisy++) {
        problem x = make(64, 304, noisy);
        for (size_t j = 0; j < 304; j++)
            for (size_t i = 0; i < 64; i++) {
                float w = x.p.w_enc[j / 8 * 8 * 64 + i];
                x.p.w_enc[j * 64 + i] = i == j % 8 ? nextafterf(w, 10) : w;
                x.p.b_enc[j] = x.p.b_enc[j / 8 * 8];
            }
        encode(&x, noisy);
        size_t moved = 0;
        uint32_t plain[304];
        for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
            check(&x, ks[i]);
            for (size_t r = 0; r < ROWS; r++) {
                size_t n = qsr_select_largest(x.pre + r * 304, 304, ks[i], plain), begin = x.code.row_begin[r];
                assert_int_equal(n, x.code.row_begin[r + 1] - begin);
                moved += memcmp(plain, x.code.latent + begin, n * sizeof *plain) != 0;
            }
        }
        assert_true(moved > 20); /* plain selection decides otherwise often enough for this to be a test */
        unmake(&x);
    }
}

static void equal_latents_tie_to_the_smaller(void **state)
{
    (void)state;
    problem x = make(24, 301, true);
    for (size_t j = 0; j < 301; j++) { /* seven different ones */
        memcpy(x.p.w_enc + j * 24, x.p.w_enc + j % 7 * 24, 24 * sizeof(float));
        x.p.b_enc[j] = x.p.b_enc[j % 7];
    }
    encode(&x, true);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) check(&x, ks[i]);
    unmake(&x);
}

/* Small whole numbers: every product is exact, so ties are true ties and plain selection is right. */
static void exact_products_give_the_plain_selection(void **state)
{
    (void)state;
    problem x = make(12, 301, false);
    for (size_t i = 0; i < ROWS * 12; i++) x.xc[i] = roundf(2 * x.xc[i]);
    for (size_t i = 0; i < 301 * 12; i++) x.p.w_enc[i] = roundf(2 * x.p.w_enc[i]);
    encode(&x, false);
    uint32_t plain[301];
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
        check(&x, ks[i]);
        for (size_t r = 0; r < ROWS; r++) {
            size_t n = qsr_select_largest(x.pre + r * 301, 301, ks[i], plain);
            assert_int_equal(n, x.code.row_begin[r + 1] - x.code.row_begin[r]);
            assert_memory_equal(plain, x.code.latent + x.code.row_begin[r], n * sizeof *plain);
        }
    }
    unmake(&x);
}

/* More doubtful latents than it looks at again: then as plain selection has it, and still the smaller latents. */
static void a_row_of_equals_is_cut_at_k(void **state)
{
    (void)state;
    problem x = make(8, 2500, false);
    for (size_t j = 0; j < 2500; j++) memcpy(x.p.w_enc + j * 8, x.p.w_enc, 8 * sizeof(float));
    for (size_t i = 0; i < ROWS * 2500; i++) x.pre[i] = (float)exact(&x, i / 2500, 0);
    check(&x, 32);
    check(&x, 2000);
    unmake(&x);
}

static void rows_without_positives_keep_nothing(void **state)
{
    (void)state;
    problem x = make(24, 301, false);
    encode(&x, false);
    for (size_t j = 0; j < 301; j++) {
        x.pre[3 * 301 + j] = -1;
        x.pre[4 * 301 + j] = NAN;
        x.pre[5 * 301 + j] = j == 100 ? 2 : 0;
    }
    qsr_choose_rows(&x.p, 5, x.xc, ROWS, x.pre, &x.code);
    for (size_t r = 0; r < ROWS; r++)
        assert_int_equal(x.code.row_begin[r + 1] - x.code.row_begin[r], r == 3 || r == 4 ? 0 : r == 5 ? 1 : 5);
    assert_int_equal(x.code.latent[x.code.row_begin[5]], 100);
    unmake(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_rows_are_chosen_by_exact_value),
        cmocka_unit_test(crowds_of_near_equals_are_settled_in_double),
        cmocka_unit_test(equal_latents_tie_to_the_smaller),
        cmocka_unit_test(exact_products_give_the_plain_selection),
        cmocka_unit_test(a_row_of_equals_is_cut_at_k),
        cmocka_unit_test(rows_without_positives_keep_nothing),
    };
    qsr_blas_start(); /* one thread, as in the program */
    return cmocka_run_group_tests_name("row top-k", tests, NULL, NULL);
}

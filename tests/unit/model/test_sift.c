/* Screened selection gives the bytes of selection on all pre-activations: for rows and latents of every kind, where bounds are of use and
 * where they are not. */
#include "../unit.h"

#include "base/rng.h"
#include "model/sift.h"

enum { ROWS = 37, D = 100, N = 1203 };
static qsr_rng rng;

typedef struct {
    qsr_params p;
    qsr_packed packed;
    qsr_screen screen;
    float *xc, *pre, *scratch, *bounds, *again;
    uint32_t *number;
    qsr_code wanted, got;
    qsr_sift_count count;
} problem;

static double normal(uint64_t i) { return qsr_rng_normal(&rng, i); }

typedef float operand(uint64_t i);
static float gaussian(uint64_t i) { return (float)normal(i); }
static float heavy(uint64_t i) { return (float)(pow(fabs(normal(i)), 5) * (normal(i + (1u << 24)) > 0 ? 1 : -1)); }
static float whole(uint64_t i) { return (float)round(normal(i)); }
static float huge(uint64_t i) { return (float)(normal(i) * 1e25); }
static float large(uint64_t i) { return (float)(normal(i) * 1e15); }
static float denormal(uint64_t i) { return (float)(normal(i) * 1e-39); }
static float small(uint64_t i) { return (float)(normal(i) * 1e-22); }
static float negative(uint64_t i) { return (float)-fabs(normal(i)); }
static float zero(uint64_t i) { return (void)i, 0; }

static void fill(float *v, size_t n, operand *make, const char *stream)
{
    rng = qsr_rng_make(3, stream);
    for (size_t i = 0; i < n; i++) v[i] = make(i);
}

static problem make(operand *x, operand *w, operand *bias)
{
    problem q = {0};
    assert_int_equal(qsr_params_alloc(D, N, &q.p, NULL), QSR_OK);
    q.p.encoder_bias = bias != NULL;
    q.xc = calloc(ROWS * D, 4);
    fill(q.xc, ROWS * D, x, "x");
    fill(q.p.w_enc, N * D, w, "w");
    if (bias) fill(q.p.b_enc, N, bias, "b");
    assert_int_equal(qsr_packed_create(qsr_tiles_get(), q.p.w_enc, N, D, false, &q.packed, NULL), QSR_OK);
    assert_int_equal(qsr_screen_create(N, D, &q.screen, NULL), QSR_OK);
    assert_int_equal(qsr_code_alloc(ROWS, N, ROWS * N, 0, &q.wanted, NULL), QSR_OK);
    assert_int_equal(qsr_code_alloc(ROWS, N, ROWS * N, 0, &q.got, NULL), QSR_OK);
    q.pre = calloc(ROWS * N, 4);
    q.again = calloc(ROWS * D, 4);
    q.number = calloc(ROWS, 4);
    q.scratch = calloc(qsr_product_scratch(&q.packed), 4);
    q.bounds = calloc(qsr_screen_scratch(&q.screen, ROWS), 4);
    return q;
}

static void unmake(problem *q)
{
    qsr_params_free(&q->p);
    qsr_packed_free(&q->packed);
    qsr_screen_free(&q->screen);
    qsr_code_free(&q->wanted);
    qsr_code_free(&q->got);
    void *all[] = {q->xc, q->pre, q->again, q->number, q->scratch, q->bounds};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static qsr_sifting begin(problem *q, size_t k)
{
    const float *bias = q->p.encoder_bias ? q->p.b_enc : NULL;
    qsr_sifting s = {.p = &q->p,
                     .product = &q->packed,
                     .rows = ROWS,
                     .xc = q->xc,
                     .upper = q->pre,
                     .again = q->again,
                     .number = q->number,
                     .scratch = q->scratch};
    qsr_screen_fill(&q->screen, q->p.w_enc, NULL);
    qsr_screen_rows(&q->screen, q->xc, ROWS, k, bias, q->bounds, q->pre, N, &s.bounds);
    q->got.rows = q->wanted.rows = ROWS;
    q->got.row_begin[0] = q->wanted.row_begin[0] = 0;
    return s;
}

/* All pre-activations, by the full product. */
static void multiply(problem *q)
{
    qsr_product_all(&q->packed, q->xc, ROWS, q->p.encoder_bias ? q->p.b_enc : NULL, q->scratch, q->pre, N);
}

static void compare(problem *q, const char *what, size_t k)
{
    size_t n = q->wanted.row_begin[ROWS];
    if (memcmp(q->wanted.row_begin, q->got.row_begin, (ROWS + 1) * sizeof(size_t)) ||
        memcmp(q->wanted.latent, q->got.latent, n * sizeof(uint32_t)) ||
        memcmp(q->wanted.value, q->got.value, n * sizeof(float)))
        fail_msg("%s, k %zu: another code", what, k);
}

static void check_largest(problem *q, const char *what, size_t k)
{
    qsr_sifting s = begin(q, k);
    qsr_sift_largest(&s, k, &q->got);
    q->count = s.count;
    multiply(q);
    qsr_choose_rows(&q->p, k, q->xc, ROWS, q->pre, &q->wanted);
    compare(q, what, k);
}

static void check_above(problem *q, const char *what, const float *threshold, float scalar)
{
    qsr_sifting s = begin(q, 0);
    qsr_sift_above(&s, threshold, scalar, &q->got);
    q->count = s.count;
    multiply(q);
    size_t n = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (uint32_t j = 0; j < N; j++) {
            float v = q->pre[r * N + j];
            if (v > (threshold ? threshold[j] : scalar)) q->wanted.latent[n] = j, q->wanted.value[n++] = v;
        }
        q->wanted.row_begin[r + 1] = n;
    }
    compare(q, what, 0);
}

static const size_t ks[] = {1, 2, 8, 18, 75, 76, 500, N};
enum { KS = sizeof ks / sizeof *ks };

static const struct {
    const char *name;
    operand *x, *w, *bias;
} kinds[] = {
    {"gaussian", gaussian, gaussian, NULL},
    {"gaussian with bias", gaussian, gaussian, gaussian},
    {"heavy rows", heavy, gaussian, NULL},
    {"heavy latents", gaussian, heavy, NULL},
    {"heavy both", heavy, heavy, heavy},
    {"tied", whole, whole, NULL},
    {"tied with bias", whole, whole, whole},
    {"huge rows", huge, gaussian, NULL},
    {"huge both", huge, huge, NULL},
    {"large both", large, large, NULL},
    {"denormal rows", denormal, gaussian, NULL},
    {"denormal latents", gaussian, denormal, NULL},
    {"denormal products", small, small, NULL},
    {"denormal all", denormal, denormal, denormal},
    {"zero rows", zero, gaussian, NULL},
    {"zero rows with bias", zero, gaussian, gaussian},
    {"zero latents", gaussian, zero, gaussian},
    {"nothing positive", negative, negative, NULL},
    {"negative bias", gaussian, gaussian, huge},
    {"only negative", gaussian, zero, negative},
};

static void every_kind_of_rows_and_latents(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    for (size_t c = 0; c < sizeof kinds / sizeof *kinds; c++) {
        problem q = make(kinds[c].x, kinds[c].w, kinds[c].bias);
        for (size_t i = 0; i < KS; i++) check_largest(&q, kinds[c].name, ks[i]);
        const float thresholds[] = {0, 1, 15, 25, 1e20f, 1e-38f, -1};
        for (size_t i = 0; i < 7; i++) check_above(&q, kinds[c].name, NULL, thresholds[i]);
        unmake(&q);
    }
}

/* Thresholds at the values themselves, one float below and one above: nothing may slip by. */
static void thresholds_at_the_values(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    problem q = make(gaussian, gaussian, gaussian);
    float threshold[N];
    multiply(&q);
    for (size_t j = 0; j < N; j++) {
        float v = q.pre[j % ROWS * N + j];
        threshold[j] = j % 3 == 0 ? v : nextafterf(v, j % 3 == 1 ? INFINITY : -INFINITY);
        if (threshold[j] < 0) threshold[j] = 20;
    }
    check_above(&q, "at the values", threshold, 0);
    unmake(&q);
}

/* Copies of a latent tie to the bit; copies that differ in a last bit are near ties, which double decides. */
static void duplicated_latents(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    for (int nudged = 0; nudged < 2; nudged++) {
        problem q = make(gaussian, gaussian, NULL);
        for (size_t j = 0; j < N; j++) {
            memcpy(q.p.w_enc + j * D, q.p.w_enc + j % 90 * D, D * sizeof(float));
            if (nudged && j >= 90) q.p.w_enc[j * D + j % D] = nextafterf(q.p.w_enc[j * D + j % D], j % 2 ? 10 : -10);
        }
        for (size_t i = 0; i < KS; i++) check_largest(&q, "duplicated", ks[i]);
        unmake(&q);
    }
}

/* One loud latent must not hide the others' bounds, nor one loud row those of its block. */
static void one_of_a_kind(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    static const float factors[] = {1e3f, 1e12f, 1e30f, 1e-12f, 1e-38f};
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        problem q = make(gaussian, gaussian, gaussian);
        for (size_t i = 0; i < D; i++) q.p.w_enc[17 * D + i] *= factors[f];
        for (size_t i = 0; i < D; i++) q.xc[3 * D + i] *= factors[f];
        for (size_t i = 0; i < KS; i++) check_largest(&q, "one of a kind", ks[i]);
        check_above(&q, "one of a kind", NULL, 12);
        unmake(&q);
    }
}

/* The largest latents are rounded down in every column, the others not at all: rounding reverses their order by nearly all that the bound
 * allows. */
static void rounding_that_conspires(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    problem q = make(gaussian, gaussian, NULL);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < D; i++) q.xc[r * D + i] = ldexpf(1, (int)(r % 5));
    for (size_t j = 0; j < N; j++)
        for (size_t i = 0; i < D; i++)
            q.p.w_enc[j * D + i] = j % 100 == 50                     ? 1 + 0x1p-8f - 0x1p-20f * (float)(j / 100)
                                   : (i * 7 + j) % 100 < 30 + j % 17 ? 1 + 0x1p-7f
                                                                     : 1;
    for (size_t i = 0; i < KS; i++) check_largest(&q, "conspiring", ks[i]);
    check_largest(&q, "conspiring", 1);
    assert_int_equal(q.got.latent[0], 50);
    check_above(&q, "conspiring", NULL, q.got.value[0] * (1 - 0x1p-12f));
    assert_true(q.got.row_begin[1] > 0 && q.got.latent[0] % 100 == 50);
    unmake(&q);
}

static void not_finite(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    problem q = make(gaussian, gaussian, gaussian);
    q.p.b_enc[5] = NAN;
    q.p.b_enc[7] = INFINITY;
    q.p.b_enc[9] = -INFINITY;
    for (size_t i = 0; i < KS - 1; i++) check_above(&q, "not finite", NULL, (float)ks[i]);
    q.p.w_enc[700 * D] = NAN;
    check_above(&q, "not finite", NULL, 3);
    assert_int_equal(q.count.full, ROWS);
    unmake(&q);
}

/* On ordinary rows the bounds are of use: a few candidates for each kept latent, no row through the full product. Where all latents are
 * alike they are of none. */
static void bounds_leave_few_candidates(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    operand *xs[] = {gaussian, heavy};
    for (int i = 0; i < 2; i++) {
        problem q = make(xs[i], gaussian, NULL);
        check_largest(&q, "few", 8);
        assert_int_equal(q.count.rows, ROWS);
        assert_int_equal(q.count.full, 0);
        assert_in_range(q.count.pairs, 8 * ROWS, 3 * 8 * ROWS);
        unmake(&q);
    }
}

/* A dictionary of copies leaves more candidates than there is room for. */
static void copies_go_through_the_full_product(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    enum { MANY = 2500, WIDTH = 8 };
    qsr_params p;
    qsr_packed packed;
    qsr_screen screen;
    qsr_code got;
    float x[3 * WIDTH];
    assert_int_equal(qsr_params_alloc(WIDTH, MANY, &p, NULL), QSR_OK);
    fill(x, 3 * WIDTH, gaussian, "x");
    for (size_t j = 0; j < MANY; j++) memcpy(p.w_enc + j * WIDTH, x, WIDTH * sizeof(float));
    assert_int_equal(qsr_packed_create(qsr_tiles_get(), p.w_enc, MANY, WIDTH, false, &packed, NULL), QSR_OK);
    assert_int_equal(qsr_screen_create(MANY, WIDTH, &screen, NULL), QSR_OK);
    assert_int_equal(qsr_code_alloc(3, MANY, 3 * MANY, 0, &got, NULL), QSR_OK);
    float *scratch = calloc(qsr_product_scratch(&packed), 4), *bounds = calloc(qsr_screen_scratch(&screen, 3), 4);
    float *upper = calloc(3 * MANY, 4), again[3 * WIDTH];
    uint32_t number[3];
    qsr_sifting s = {.p = &p,
                     .product = &packed,
                     .rows = 3,
                     .xc = x,
                     .upper = upper,
                     .again = again,
                     .number = number,
                     .scratch = scratch};
    qsr_screen_fill(&screen, p.w_enc, NULL);
    qsr_screen_rows(&screen, x, 3, 7, NULL, bounds, upper, MANY, &s.bounds);
    got.rows = 3;
    qsr_sift_largest(&s, 7, &got);
    assert_true(s.count.full >= 1);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(got.latent[i], i); /* row 0 is the latent itself, so positive */
    qsr_params_free(&p);
    qsr_packed_free(&packed);
    qsr_screen_free(&screen);
    qsr_code_free(&got);
    free(scratch);
    free(bounds);
    free(upper);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_rows_and_latents),
        cmocka_unit_test(thresholds_at_the_values),
        cmocka_unit_test(duplicated_latents),
        cmocka_unit_test(one_of_a_kind),
        cmocka_unit_test(rounding_that_conspires),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(bounds_leave_few_candidates),
        cmocka_unit_test(copies_go_through_the_full_product),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

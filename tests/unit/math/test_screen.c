/* screen: the bounds hold for the values that math/product computes, for operands of every kind, and are narrow for ordinary ones. */
#include "../unit.h"

#include "base/rng.h"
#include "math/screen.h"

typedef struct {
    size_t d, n, rows;
} shape;
static const shape shapes[] = {{1, 1, 1},   {2, 33, 3},    {31, 32, 14},  {32, 31, 15},  {33, 64, 29},
                               {63, 65, 7}, {768, 97, 40}, {130, 47, 43}, {2049, 40, 30}};

typedef struct {
    shape s;
    float *x, *w, *bias, *upper, *scratch;
    qsr_screen screen;
    qsr_packed product;
    size_t bounded; /* rows that had a bound */
    double widest;  /* of U - L over |x||w| */
} problem;

static qsr_rng rng;

static double normal(uint64_t i) { return qsr_rng_normal(&rng, i); }

/* The operands of a case; i counts all of them. */
typedef float operand(uint64_t i, size_t column);
static float gaussian(uint64_t i, size_t column) { return (void)column, (float)normal(i); }
static float heavy(uint64_t i, size_t column)
{
    return (void)column, (float)(pow(fabs(normal(i)), 7) * (normal(i + 1000000) > 0 ? 1 : -1));
}
static float tiny(uint64_t i, size_t column) { return (void)column, (float)(normal(i) * 1e-19); }
static float denormal(uint64_t i, size_t column) { return (void)column, (float)(normal(i) * 1e-40); }
static float mixed(uint64_t i, size_t column) { return (float)(normal(i) * pow(10, (double)(column % 70) - 35)); }
static float large(uint64_t i, size_t column) { return (void)column, (float)(normal(i) * 1e15); }
static float huge(uint64_t i, size_t column) { return (void)column, (float)fmin(3e38, fabs(normal(i)) * 2e38); }
static float cancelling(uint64_t i, size_t column) { return (float)((column % 2 ? 1 : -1) * (1e4 + normal(i))); }
static float halfway(uint64_t i, size_t column)
{
    return (void)column, (float)(1 + 0x1p-8 * (double)(i % 3)) * (1 + 0x1p-20f);
}
static float zero(uint64_t i, size_t column) { return (void)i, (void)column, 0; }

static void fill(float *v, size_t rows, size_t d, operand *make, const char *stream)
{
    rng = qsr_rng_make(1, stream);
    for (size_t i = 0; i < rows * d; i++) v[i] = make(i, i % d);
}

static problem make(shape s, operand *x, operand *w, double bias)
{
    problem q = {.s = s, .x = calloc(s.rows * s.d, 4), .w = calloc(s.n * s.d, 4), .bias = calloc(s.n, 4)};
    fill(q.x, s.rows, s.d, x, "x");
    fill(q.w, s.n, s.d, w, "w");
    fill(q.bias, s.n, 1, gaussian, "bias");
    for (size_t j = 0; j < s.n; j++) q.bias[j] *= (float)bias;
    assert_int_equal(qsr_screen_create(s.n, s.d, &q.screen, NULL), QSR_OK);
    assert_int_equal(qsr_packed_create(qsr_tiles_get(), q.w, s.n, s.d, false, &q.product, NULL), QSR_OK);
    q.scratch = calloc(qsr_screen_scratch(&q.screen, s.rows), 4);
    q.upper = calloc(s.rows * (s.n + 1), 4);
    return q;
}

static void unmake(problem *q)
{
    qsr_screen_free(&q->screen);
    qsr_packed_free(&q->product);
    float *all[] = {q->x, q->w, q->bias, q->upper, q->scratch};
    for (size_t i = 0; i < 5; i++) free(all[i]);
}

static double norm(const float *v, size_t d)
{
    double sum = 0;
    for (size_t i = 0; i < d; i++) sum += (double)v[i] * v[i];
    return sqrt(sum);
}

static void check_row(problem *q, const qsr_screened *block, size_t r, const float *value)
{
    const float *upper = q->upper + r * (q->s.n + 1);
    if (isnan(block->scale[r])) return;
    q->bounded++;
    for (size_t j = 0; j < q->s.n; j++) {
        double width = 2 * (double)block->scale[r] * block->m[j];
        double magnitude = norm(q->x + r * q->s.d, q->s.d) * norm(q->w + j * q->s.d, q->s.d);
        if (!((double)value[j] <= (double)upper[j] + block->a) ||
            !((double)value[j] >= upper[j] - width - 2 * (double)block->a))
            fail_msg("row %zu, latent %zu: %.9g is outside of %.9g - %.9g", r, j, value[j], upper[j], width);
        if (magnitude > 0) q->widest = fmax(q->widest, width / magnitude);
    }
}

/* As many lower bounds reach a group's largest as say so: each group is the largest of some latents of its own. */
static void check_groups(const problem *q, const qsr_screened *block, size_t r)
{
    const float *upper = q->upper + r * (q->s.n + 1), *most = block->most + r * block->groups;
    if (isnan(block->scale[r]) || !block->groups) return;
    for (size_t g = 0; g < block->groups; g++) {
        size_t groups = 0, latents = 0;
        for (size_t h = 0; h < block->groups; h++) groups += most[h] >= most[g];
        for (size_t j = 0; j < q->s.n; j++) latents += fmaf(-2 * block->scale[r], block->m[j], upper[j]) >= most[g];
        assert_true(most[g] == 0 || latents >= groups);
    }
}

static void check(problem *q, bool biased)
{
    qsr_screened block;
    const float *bias = biased ? q->bias : NULL;
    size_t ld = q->s.n + 1;
    uint32_t *latent = calloc(q->s.n, sizeof *latent);
    float *value = calloc(q->s.n, sizeof *value);
    for (uint32_t j = 0; j < q->s.n; j++) latent[j] = j;
    for (size_t i = 0; i < q->s.rows * ld; i++) q->upper[i] = 1234;
    qsr_screen_fill(&q->screen, q->w, NULL);
    qsr_screen_rows(&q->screen, q->x, q->s.rows, q->s.n / 9, bias, q->scratch, q->upper, ld, &block);
    for (size_t r = 0; r < q->s.rows; r++) {
        qsr_product_entries(&q->product, latent, q->s.n, q->x + r * q->s.d, bias, value);
        check_row(q, &block, r, value);
        assert_true(q->upper[r * ld + q->s.n] == 1234);
        check_groups(q, &block, r);
    }
    free(latent);
    free(value);
}

/* bounded: how many rows of all must have a bound, in parts of a hundred; widest: what U - L must stay below, over |x||w|. */
static void every_shape(operand *x, operand *w, double bias, size_t bounded, double widest)
{
    if (!qsr_screen_tiles_get()) skip();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        problem q = make(shapes[i], x, w, bias);
        check(&q, bias != 0);
        assert_true(100 * q.bounded >= bounded * q.s.rows);
        if (!(q.widest <= widest)) fail_msg("the bound is %g wide", q.widest);
        unmake(&q);
    }
}

/* Each operand is rounded by at most 2^-8 of itself (to nearest, so by half of that, plus what a single column may be off by), and both count
 * in U and in L: 4 * 2^-8 = 0.0157. Rounding of sums adds 2 * 7.3 d 2^-24 at most, 0.0018 for 2049 columns. */
static void bounds_hold_and_are_narrow_for_ordinary_rows(void **state)
{
    (void)state;
    every_shape(gaussian, gaussian, 0, 100, 0.0215);
    every_shape(gaussian, gaussian, 0.1, 100, 0.0215);
    every_shape(heavy, gaussian, 0, 100, 0.0215);
    every_shape(gaussian, heavy, 0, 100, 0.0215);
    every_shape(halfway, halfway, 0, 100, 0.0215);
}

static void bounds_hold_for_small_and_large(void **state)
{
    (void)state;
    every_shape(tiny, tiny, 0, 100, INFINITY);
    every_shape(denormal, gaussian, 0, 100, INFINITY);
    every_shape(gaussian, denormal, 1, 100, INFINITY);
    every_shape(denormal, denormal, 1e-40, 100, INFINITY);
    every_shape(large, large, 1e30, 100, INFINITY);
    every_shape(gaussian, gaussian, 1e9, 100, INFINITY);
    every_shape(mixed, gaussian, 1, 0, INFINITY);
    every_shape(gaussian, mixed, 0, 0, INFINITY);
    every_shape(mixed, mixed, 0, 0, INFINITY);
    every_shape(cancelling, gaussian, 0, 100, INFINITY);
    every_shape(cancelling, cancelling, 1, 100, INFINITY);
    every_shape(zero, gaussian, 1, 100, INFINITY);
    every_shape(gaussian, zero, 1, 100, INFINITY);
}

static void overflow_has_no_bound(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    operand *kinds[][2] = {{huge, huge}, {huge, gaussian}, {gaussian, huge}};
    for (size_t i = 0; i < 3; i++) {
        problem q = make(shapes[6], kinds[i][0], kinds[i][1], 0);
        check(&q, false);
        assert_int_equal(q.bounded, 0);
        unmake(&q);
    }
}

static void what_is_not_finite_has_no_bound(void **state)
{
    (void)state;
    if (!qsr_screen_tiles_get()) skip();
    problem q = make(shapes[6], gaussian, gaussian, 0);
    q.x[3 * q.s.d + 5] = NAN;
    q.x[7 * q.s.d + 5] = INFINITY;
    check(&q, false);
    assert_int_equal(q.bounded, q.s.rows - 2);
    q.w[11 * q.s.d] = NAN;
    q.bounded = 0;
    check(&q, false);
    assert_int_equal(q.bounded, 0);
    unmake(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_hold_and_are_narrow_for_ordinary_rows),
        cmocka_unit_test(bounds_hold_for_small_and_large),
        cmocka_unit_test(overflow_has_no_bound),
        cmocka_unit_test(what_is_not_finite_has_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

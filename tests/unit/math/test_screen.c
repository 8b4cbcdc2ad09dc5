/* screen: the bounds hold for the values that math/product computes, for operands of every kind, and are narrow for ordinary ones. */
#include "../unit.h"

#include "base/rng.h"
#include "base/sizes.h"
#include "math/screen.h"

typedef struct {
    size_t d, n, rows;
} shape;
static const shape shapes[] = {{1, 1, 1},   {2, 33, 3},    {31, 32, 14},  {32, 31, 15},  {33, 64, 29},
                               {63, 65, 7}, {768, 97, 40}, {130, 47, 43}, {2049, 40, 30}};

typedef struct {
    shape s;
    qsr_screen_kind kind;
    bool in_order;
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

/* The ways a product can be bound: the kind, and whether latents are kept in order. */
static const struct {
    const char *name;
    qsr_screen_kind kind;
    bool in_order;
} ways[] = {{"bf16", QSR_SCREEN_BF16, false}, {"bf16 in order", QSR_SCREEN_BF16, true}, {"int8", QSR_SCREEN_INT8, false}};
enum { WAYS = 3 };

static bool possible(size_t way) { return qsr_screen_tiles_get(ways[way].kind) != NULL; }

static void skip_without_any(void)
{
    if (!possible(0) && !possible(2)) skip();
}

static problem make(size_t way, shape s, operand *x, operand *w, double bias)
{
    problem q = {.s = s,
                 .kind = ways[way].kind,
                 .in_order = ways[way].in_order,
                 .x = calloc(s.rows * s.d, 4),
                 .w = calloc(s.n * s.d, 4),
                 .bias = calloc(s.n, 4)};
    fill(q.x, s.rows, s.d, x, "x");
    fill(q.w, s.n, s.d, w, "w");
    fill(q.bias, s.n, 1, gaussian, "bias");
    for (size_t j = 0; j < s.n; j++) q.bias[j] *= (float)bias;
    assert_int_equal(qsr_screen_create(q.kind, q.in_order, s.n, s.d, &q.screen, NULL), QSR_OK);
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

/* Pair by pair, with gaps and in no order. */
static void check_pairs(problem *q, const float *bias, const float *value, size_t r)
{
    qsr_screened block;
    uint32_t latent[50];
    float upper[50];
    size_t n = 0;
    qsr_screen_begin_pairs(&q->screen, q->x, q->s.rows, bias, q->scratch, &block);
    if (isnan(block.scale[r])) return;
    for (size_t i = 0; n < 50 && i < q->s.n; i++)
        if (i % 7 != 3) latent[n++] = (uint32_t)(q->s.n - 1 - i);
    qsr_screen_prefetch(&q->screen, latent, n);
    qsr_screen_pairs(&q->screen, &block, r, latent, n, upper);
    for (size_t i = 0; i < n; i++) {
        double width = 2 * (double)block.scale[r] * block.m[latent[i]], v = value[latent[i]];
        if (!(v <= (double)upper[i] + block.a) || !(v >= upper[i] - width - 2 * (double)block.a))
            fail_msg("pair of row %zu, latent %u: %.9g is outside of %.9g - %.9g", r, latent[i], v, upper[i], width);
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
    size_t before = q->bounded;
    size_t bounded = qsr_screen_begin(&q->screen, q->x, q->s.rows, q->s.n / 9, bias, INFINITY, q->scratch, &block);
    for (size_t end, begin = 0; begin < q->s.rows; begin = end) {
        end = qsr_screen_rows(&q->screen, &block, begin, q->upper + begin * ld, ld);
        assert_in_range(end, begin + 1, qsr_min_size(q->s.rows, begin + qsr_screen_together(&q->screen)));
    }
    for (size_t r = 0; r < q->s.rows; r++) {
        qsr_product_entries(&q->product, latent, q->s.n, q->x + r * q->s.d, bias, value);
        check_row(q, &block, r, value);
        assert_true(q->upper[r * ld + q->s.n] == 1234);
        check_groups(q, &block, r);
    }
    assert_int_equal(q->bounded - before, bounded);
    for (size_t r = 0; q->in_order && r < q->s.rows; r++) {
        qsr_product_entries(&q->product, latent, q->s.n, q->x + r * q->s.d, bias, value);
        check_pairs(q, bias, value, r);
    }
    free(latent);
    free(value);
}

/* bounded: how many rows of all must have a bound, in parts of a hundred; widest: what U - L must stay below, over |x||w|, with bfloat16
 * and with integers. */
static void every_shape(operand *x, operand *w, double bias, size_t bounded, double widest, double widest8)
{
    skip_without_any();
    for (size_t i = 0; i < WAYS * sizeof shapes / sizeof *shapes; i++) {
        if (!possible(i % WAYS)) continue;
        problem q = make(i % WAYS, shapes[i / WAYS], x, w, bias);
        check(&q, bias != 0);
        assert_true(100 * q.bounded >= bounded * q.s.rows);
        if (!(q.widest <= (q.kind == QSR_SCREEN_INT8 ? widest8 : widest)))
            fail_msg("%s, d %zu: the bound is %g wide", ways[i % WAYS].name, q.s.d, q.widest);
        unmake(&q);
    }
}

/* bfloat16: each operand is rounded by at most 2^-8 of itself (to nearest, so by half of that, plus what a single column may be off by), and
 * both count in U and in L: 4 * 2^-8 = 0.0157. Rounding of sums adds 2 * 7.3 d 2^-24 at most, 0.0018 for 2049 columns. Integers: each
 * column is off by max |x_i| / 254 at most, a vector by as much times the root of d / 3 for columns that are spread, of d at most; a
 * Gaussian's largest column is 4 times the usual one, so 4 * 4 / 254 / 1.7 = 0.037, and a row may be off by more than the block. Of heavy rows
 * one column is nearly all, so 2 * root(2049) / 254 = 0.36. */
static void bounds_hold_and_are_narrow_for_ordinary_rows(void **state)
{
    (void)state;
    every_shape(gaussian, gaussian, 0, 100, 0.0215, 0.05);
    every_shape(gaussian, gaussian, 0.1, 100, 0.0215, 0.05);
    every_shape(heavy, gaussian, 0, 100, 0.0215, 0.5);
    every_shape(gaussian, heavy, 0, 100, 0.0215, 0.5);
    every_shape(halfway, halfway, 0, 100, 0.0215, 0.05);
}

static void bounds_hold_for_small_and_large(void **state)
{
    (void)state;
    every_shape(tiny, tiny, 0, 100, INFINITY, INFINITY);
    every_shape(denormal, gaussian, 0, 100, INFINITY, INFINITY);
    every_shape(gaussian, denormal, 1, 100, INFINITY, INFINITY);
    every_shape(denormal, denormal, 1e-40, 100, INFINITY, INFINITY);
    every_shape(large, large, 1e30, 100, INFINITY, INFINITY);
    every_shape(gaussian, gaussian, 1e9, 100, INFINITY, INFINITY);
    every_shape(mixed, gaussian, 1, 0, INFINITY, INFINITY);
    every_shape(gaussian, mixed, 0, 0, INFINITY, INFINITY);
    every_shape(mixed, mixed, 0, 0, INFINITY, INFINITY);
    every_shape(cancelling, gaussian, 0, 100, INFINITY, INFINITY);
    every_shape(cancelling, cancelling, 1, 100, INFINITY, INFINITY);
    every_shape(zero, gaussian, 1, 100, INFINITY, INFINITY);
    every_shape(gaussian, zero, 1, 100, INFINITY, INFINITY);
}

static void overflow_has_no_bound(void **state)
{
    (void)state;
    skip_without_any();
    operand *kinds[][2] = {{huge, huge}, {huge, gaussian}, {gaussian, huge}};
    for (size_t i = 0; i < 3 * WAYS; i++) {
        if (!possible(i % WAYS)) continue;
        problem q = make(i % WAYS, shapes[6], kinds[i / WAYS][0], kinds[i / WAYS][1], 0);
        check(&q, false);
        assert_int_equal(q.bounded, 0);
        unmake(&q);
    }
}

static void what_is_not_finite_has_no_bound(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make(way, shapes[6], gaussian, gaussian, 0);
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
}

/* Integers at their ends: sums of 131072 products of 127 and 127, of either sign, and steps that rounding cannot tell apart. */
static void sums_of_the_largest_integers_do_not_overflow(void **state)
{
    (void)state;
    if (!possible(2)) skip();
    problem q = make(2, (shape){QSR_SCREEN_MOST_DEPTH, 4, 3}, zero, zero, 0);
    for (size_t i = 0; i < q.s.d; i++)
        for (size_t r = 0; r < 4; r++) {
            float sign = r == 1 ? -1 : r == 2 && i % 2 ? -1 : 1;
            q.w[r * q.s.d + i] = sign * (r == 3 && i % 2 ? 126.49999f : 127);
            if (r < 3) q.x[r * q.s.d + i] = sign * 127;
        }
    check(&q, false);
    assert_int_equal(q.bounded, q.s.rows);
    assert_true(q.widest < 0.05); /* 2.2 d u and what 126.49999 is off by */
    unmake(&q);
}

/* A row that is off by more than it may be has no bound. */
static void coarse_rows_have_no_bound(void **state)
{
    (void)state;
    if (!possible(2)) skip();
    problem q = make(2, shapes[6], gaussian, gaussian, 0);
    qsr_screened block;
    qsr_screen_fill(&q.screen, q.w, NULL);
    for (size_t r = 0; r < q.s.rows; r += 5) q.x[r * q.s.d + r] = 500;
    size_t fine = q.s.rows - qsr_div_up(q.s.rows, 5);
    assert_int_equal(qsr_screen_begin(&q.screen, q.x, q.s.rows, 0, NULL, 0.02, q.scratch, &block), fine);
    for (size_t r = 0; r < q.s.rows; r++) assert_true(isnan(block.scale[r]) == (r % 5 == 0));
    unmake(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_hold_and_are_narrow_for_ordinary_rows),
        cmocka_unit_test(bounds_hold_for_small_and_large),
        cmocka_unit_test(overflow_has_no_bound),
        cmocka_unit_test(what_is_not_finite_has_no_bound),
        cmocka_unit_test(sums_of_the_largest_integers_do_not_overflow),
        cmocka_unit_test(coarse_rows_have_no_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

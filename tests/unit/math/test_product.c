/* product: with tiles, every value is the chain of fused multiply-adds that product.h promises, whatever the shapes, the packing and
 * the company; without, it is right. */
#include "../unit.h"

#include "base/rng.h"
#include "math/product.h"

static const char *const sets[] = {"portable", "avx2", "avx512"};

typedef struct {
    size_t d, n, rows;
} shape;
/* Edges of lanes, panels, tile heights, and of the depth of a chunk (1024 columns). */
static const shape shapes[] = {{1, 1, 1},   {3, 2, 5},     {15, 31, 6},    {16, 32, 14},  {17, 33, 15},  {64, 100, 29},
                               {96, 65, 7}, {130, 47, 43}, {1024, 33, 16}, {1025, 20, 9}, {2100, 40, 3}, {24, 256, 300}};

static void fill(float *v, size_t n, const char *stream)
{
    qsr_rng rng = qsr_rng_make(1, stream);
    for (size_t i = 0; i < n; i++) v[i] = (float)qsr_rng_normal(&rng, i);
}

static float chain(const float *x, const float *w, size_t d)
{
    float sum = 0;
    for (size_t k = 0; k < d; k++) sum = fmaf(x[k], w[k], sum);
    return sum;
}

static double magnitude(const float *x, const float *w, size_t d)
{
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += fabs((double)x[k] * w[k]);
    return sum;
}

typedef struct {
    shape s;
    float *x, *w, *bias, *out, *scratch;
    qsr_packed p;
} problem;

static problem make(const qsr_tiles *tiles, shape s, bool packed)
{
    problem q = {.s = s, .x = calloc(s.rows * s.d, 4), .w = calloc(s.n * s.d, 4), .bias = calloc(s.n, 4)};
    fill(q.x, s.rows * s.d, "x");
    fill(q.w, s.n * s.d, "w");
    fill(q.bias, s.n, "bias");
    assert_int_equal(qsr_packed_create(tiles, q.w, s.n, s.d, packed, &q.p, NULL), QSR_OK);
    qsr_packed_fill(&q.p, NULL);
    q.scratch = calloc(qsr_product_scratch(&q.p), 4);
    q.out = calloc(s.rows * (s.n + 3), 4);
    return q;
}

static void unmake(problem *q)
{
    qsr_packed_free(&q->p);
    float *all[] = {q->x, q->w, q->bias, q->out, q->scratch};
    for (size_t i = 0; i < 5; i++) free(all[i]);
}

/* With tiles the very bytes; through OpenBLAS within d + 1 roundings of the magnitude of the sum. */
static void check(const problem *q, size_t r, size_t j, bool biased, float value)
{
    size_t d = q->s.d;
    const float *x = q->x + r * d, *w = q->w + j * d;
    float wanted = chain(x, w, d);
    if (biased) wanted += q->bias[j];
    if (q->p.tiles)
        assert_memory_equal(&value, &wanted, sizeof value);
    else
        assert_true(fabs((double)value - wanted) <=
                    2 * ((double)d + 2) * 0x1p-24 * (magnitude(x, w, d) + fabs((double)q->bias[j])));
}

static void check_all(problem *q, bool biased)
{
    size_t ld = q->s.n + 3;
    for (size_t i = 0; i < q->s.rows * ld; i++) q->out[i] = 1234;
    qsr_product_all(&q->p, q->x, q->s.rows, biased ? q->bias : NULL, q->scratch, q->out, ld);
    for (size_t r = 0; r < q->s.rows; r++) {
        for (size_t j = 0; j < q->s.n; j++) check(q, r, j, biased, q->out[r * ld + j]);
        for (size_t j = q->s.n; j < ld; j++) assert_true(q->out[r * ld + j] == 1234);
    }
}

static void check_chosen(problem *q, bool biased)
{
    uint32_t *latent = calloc(q->s.n, sizeof *latent);
    size_t n = 0;
    for (size_t j = 0; j < q->s.n; j++)
        if (j % 3 != 1) latent[n++] = (uint32_t)j;
    qsr_product_chosen(&q->p, latent, n, q->x, q->s.rows, biased ? q->bias : NULL, q->scratch, q->out, n);
    for (size_t r = 0; r < q->s.rows; r++)
        for (size_t i = 0; i < n; i++) check(q, r, latent[i], biased, q->out[r * n + i]);
    for (size_t r = 0; q->p.tiles && r < q->s.rows; r++) {
        qsr_product_entries(&q->p, latent, n, q->x + r * q->s.d, biased ? q->bias : NULL, q->out);
        for (size_t i = 0; i < n; i++) check(q, r, latent[i], biased, q->out[i]);
    }
    free(latent);
}

static void check_panels(problem *q)
{
    size_t width = qsr_packed_width(&q->p), rows = q->s.rows;
    float *packed = calloc(qsr_product_rows_room(&q->p, rows), sizeof *packed), *out = calloc(rows * width, sizeof *out);
    qsr_product_pack_rows(&q->p, q->x, rows, packed);
    for (size_t begin = 0; begin < q->s.n; begin += width) {
        qsr_product_panel(&q->p, packed, rows, begin / width, out);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < width && begin + i < q->s.n; i++) check(q, r, begin + i, false, out[r * width + i]);
    }
    free(packed);
    free(out);
}

static void every_set(void (*test)(const qsr_tiles *, shape))
{
    for (size_t s = 0; s < sizeof sets / sizeof *sets; s++) {
        const qsr_tiles *tiles = qsr_tiles_named(sets[s]);
        if (!tiles && s) print_message("%s: not tested, this processor lacks it\n", sets[s]);
        for (size_t i = 0; (tiles || !s) && i < sizeof shapes / sizeof *shapes; i++) test(tiles, shapes[i]);
    }
}

static void values_with(const qsr_tiles *tiles, shape s)
{
    for (int packed = 0; packed < 2; packed++) {
        problem q = make(tiles, s, packed);
        check_all(&q, false);
        check_all(&q, true);
        check_chosen(&q, false);
        check_chosen(&q, true);
        if (tiles && packed) check_panels(&q);
        unmake(&q);
    }
}

static void values_are_chains_of_their_row_and_latent(void **state)
{
    (void)state;
    every_set(values_with);
}

/* Infinities and NaN stay in the values they belong to: padding multiplies zeros by nothing of theirs. */
static void bad_rows_with(const qsr_tiles *tiles, shape s)
{
    if (!tiles || s.rows < 3 || s.n < 3) return;
    problem q = make(tiles, s, true);
    q.x[s.d] = INFINITY;
    q.w[2 * s.d + s.d - 1] = NAN;
    qsr_packed_fill(&q.p, NULL);
    qsr_product_all(&q.p, q.x, s.rows, NULL, q.scratch, q.out, s.n);
    for (size_t r = 0; r < s.rows; r++)
        for (size_t j = 0; j < s.n; j++) {
            float wanted = chain(q.x + r * s.d, q.w + j * s.d, s.d), value = q.out[r * s.n + j];
            assert_true(isnan(wanted) ? isnan(value) : value == wanted);
        }
    unmake(&q);
}

static void what_is_not_finite_stays_where_it_is(void **state)
{
    (void)state;
    every_set(bad_rows_with);
}

static void packed_panels_follow_the_weights(void **state)
{
    (void)state;
    const qsr_tiles *tiles = qsr_tiles_get();
    problem q = make(tiles, (shape){40, 70, 20}, true);
    fill(q.w, 70 * 40, "other weights");
    qsr_packed_fill(&q.p, NULL);
    check_all(&q, false);
    unmake(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_chains_of_their_row_and_latent),
        cmocka_unit_test(what_is_not_finite_stays_where_it_is),
        cmocka_unit_test(packed_panels_follow_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

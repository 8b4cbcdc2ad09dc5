/* Screened selection gives the bytes of selection on all pre-activations: for rows and latents of every kind, where bounds are of use and
 * where they are not. */
#include "../unit.h"

#include "base/rng.h"
#include "math/select.h"
#include "model/sift.h"

enum { ROWS = 37, D = 100, N = 1203 };
static qsr_rng rng;

typedef struct {
    const char *way;
    size_t rows;
    qsr_params p;
    qsr_packed packed;
    qsr_sieve sieve;
    qsr_sift_room room;
    float *xc, *pre, *scratch;
    qsr_code wanted, got;
    qsr_sift_count count;
} problem;

/* The ways to sift: by bfloat16, by integers and then bfloat16, by integers alone where the processor has no more. */
static const char *const ways[] = {"bf16", "int8", "int8 alone"};
enum { WAYS = 3 };

static bool possible(size_t way) { return qsr_screen_tiles_get(way ? QSR_SCREEN_INT8 : QSR_SCREEN_BF16) != NULL; }

static void skip_without_any(void)
{
    if (!possible(0) && !possible(1)) skip();
}

static void make_sieve(size_t way, size_t n, size_t d, size_t rows, qsr_sieve *sieve, qsr_sift_room *room)
{
    assert_int_equal(qsr_sieve_create(way > 0, n, d, sieve, NULL), QSR_OK);
    if (way == 2) qsr_screen_free(&sieve->bf16);
    assert_int_equal(qsr_sift_room_create(sieve, rows, d, room, NULL), QSR_OK);
}

static double normal(uint64_t i) { return qsr_rng_normal(&rng, i); }

typedef float operand(uint64_t i);
static float gaussian(uint64_t i) { return (float)normal(i); }
static float heavy(uint64_t i) { return (float)(pow(fabs(normal(i)), 5) * (normal(i + (1u << 24)) > 0 ? 1 : -1)); }
static float whole(uint64_t i) { return (float)round(normal(i)); }
static float huge(uint64_t i) { return (float)(normal(i) * 1e25); }
static float large(uint64_t i) { return (float)(normal(i) * 1e15); }
static float denormal(uint64_t i) { return (float)(normal(i) * 1e-39); }
static float small(uint64_t i) { return (float)(normal(i) * 1e-22); }
static float wide(uint64_t i) { return (float)copysign(fmin(exp(40 * normal(i)), 3e38), normal(i + (1u << 24))); }
static float negative(uint64_t i) { return (float)-fabs(normal(i)); }
static float zero(uint64_t i) { return (void)i, 0; }

static void fill(float *v, size_t n, operand *make, const char *stream)
{
    rng = qsr_rng_make(3, stream);
    for (size_t i = 0; i < n; i++) v[i] = make(i);
}

static problem make_sized(size_t way, size_t rows, size_t d, size_t n, operand *x, operand *w, operand *bias)
{
    problem q = {.way = ways[way], .rows = rows};
    assert_int_equal(qsr_params_alloc(d, n, &q.p, NULL), QSR_OK);
    q.p.encoder_bias = bias != NULL;
    q.xc = calloc(rows * d, 4);
    fill(q.xc, rows * d, x, "x");
    fill(q.p.w_enc, n * d, w, "w");
    if (bias) fill(q.p.b_enc, n, bias, "b");
    assert_int_equal(qsr_packed_create(qsr_tiles_get(), q.p.w_enc, n, d, false, &q.packed, NULL), QSR_OK);
    make_sieve(way, n, d, rows, &q.sieve, &q.room);
    assert_int_equal(qsr_code_alloc(rows, n, rows * n + QSR_SELECT_LANES, 0, &q.wanted, NULL), QSR_OK);
    assert_int_equal(qsr_code_alloc(rows, n, rows * n + QSR_SELECT_LANES, 1, &q.got, NULL), QSR_OK);
    q.pre = calloc(rows * n, 4);
    q.scratch = calloc(qsr_product_scratch(&q.packed), 4);
    return q;
}

static problem make(size_t way, operand *x, operand *w, operand *bias) { return make_sized(way, ROWS, D, N, x, w, bias); }

static void unmake(problem *q)
{
    qsr_params_free(&q->p);
    qsr_packed_free(&q->packed);
    qsr_sieve_free(&q->sieve);
    qsr_sift_room_free(&q->room);
    qsr_code_free(&q->wanted);
    qsr_code_free(&q->got);
    void *all[] = {q->xc, q->pre, q->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static qsr_sifting begin(problem *q)
{
    qsr_sifting s = {.p = &q->p,
                     .product = &q->packed,
                     .sieve = &q->sieve,
                     .room = &q->room,
                     .rows = q->rows,
                     .xc = q->xc,
                     .upper = q->pre,
                     .scratch = q->scratch};
    qsr_sieve_fill(&q->sieve, q->p.w_enc, NULL);
    memset(q->room.idle, 0, sizeof q->room.idle);
    for (size_t i = 0; i < q->rows * q->p.d_sae; i++) q->pre[i] = 1e30f;
    q->got.rows = q->wanted.rows = q->rows;
    q->got.row_begin[0] = q->wanted.row_begin[0] = 0;
    return s;
}

/* All pre-activations, by the full product. */
static void multiply(problem *q)
{
    qsr_product_all(&q->packed, q->xc, q->rows, q->p.encoder_bias ? q->p.b_enc : NULL, q->scratch, q->pre, q->p.d_sae);
}

static void compare(problem *q, const char *what, size_t k)
{
    size_t n = q->wanted.row_begin[q->rows];
    if (memcmp(q->wanted.row_begin, q->got.row_begin, (q->rows + 1) * sizeof(size_t)) ||
        memcmp(q->wanted.latent, q->got.latent, n * sizeof(uint32_t)) ||
        memcmp(q->wanted.value, q->got.value, n * sizeof(float)))
        fail_msg("%s, k %zu: another code by %s", what, k, q->way);
}

static void check_largest(problem *q, const char *what, size_t k)
{
    qsr_sifting s = begin(q);
    qsr_sift_largest(&s, k, &q->got);
    q->count = s.count;
    multiply(q);
    qsr_choose_rows(&q->p, k, q->xc, q->rows, q->pre, &q->wanted);
    compare(q, what, k);
}

static void check_above(problem *q, const char *what, const float *threshold, float scalar)
{
    qsr_sifting s = begin(q);
    qsr_sift_above(&s, threshold, scalar, &q->got);
    q->count = s.count;
    multiply(q);
    size_t n = 0;
    for (size_t r = 0; r < q->rows; r++) {
        for (uint32_t j = 0; j < q->p.d_sae; j++) {
            float v = q->pre[r * q->p.d_sae + j];
            if (v > (threshold ? threshold[j] : scalar)) q->wanted.latent[n] = j, q->wanted.value[n++] = v;
        }
        q->wanted.row_begin[r + 1] = n;
    }
    compare(q, what, 0);
}

/* The same with a window below the thresholds, whose entries have no value. */
static void check_window(problem *q, const char *what, const float *threshold, const float *edge)
{
    qsr_sifting s = begin(q);
    qsr_sift_window(&s, threshold, edge, &q->got);
    multiply(q);
    size_t n = 0;
    for (size_t r = 0; r < q->rows; r++) {
        for (uint32_t j = 0; j < q->p.d_sae; j++) {
            float v = q->pre[r * q->p.d_sae + j];
            if (!(v > edge[j])) continue;
            q->wanted.latent[n] = j;
            q->wanted.value[n] = v > threshold[j] ? v : 0;
            if (memcmp(&q->got.plane[0][n], &v, sizeof v)) fail_msg("%s: plane of row %zu, latent %u", what, r, j);
            n++;
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
    {"wide rows", wide, gaussian, NULL},
    {"wide latents", gaussian, wide, NULL},
    {"wide both", wide, wide, wide},
    {"wide bias", gaussian, denormal, wide},
    {"zero rows", zero, gaussian, NULL},
    {"zero rows with bias", zero, gaussian, gaussian},
    {"zero latents", gaussian, zero, gaussian},
    {"nothing positive", negative, negative, NULL},
    {"negative bias", gaussian, gaussian, huge},
    {"only negative", gaussian, zero, negative},
};

/* What may be among the largest of a batch: all that reach the floor are there, with bounds on both sides of their values. */
static void check_candidates(problem *q, const char *what, float floor)
{
    qsr_sifting s = begin(q);
    qsr_sift_candidates(&s, floor, &q->got);
    multiply(q);
    for (size_t r = 0; r < q->rows; r++) {
        size_t e = q->got.row_begin[r], end = q->got.row_begin[r + 1];
        for (uint32_t j = 0; j < q->p.d_sae; j++) {
            float v = q->pre[r * q->p.d_sae + j], a = 2 * qsr_screen_flushed(q->p.d_in);
            bool listed = e < end && q->got.latent[e] == j;
            if (v >= floor + a && !listed) fail_msg("%s: %.9g of row %zu, latent %u is not there", what, v, r, j);
            if (listed && !(v <= q->got.value[e] + a && v >= q->got.plane[0][e] - a))
                fail_msg("%s: %.9g is not in %.9g .. %.9g", what, v, q->got.plane[0][e], q->got.value[e]);
            e += listed;
        }
        assert_true(e == end);
    }
}

static void one_kind(size_t way, size_t kind)
{
    problem q = make(way, kinds[kind].x, kinds[kind].w, kinds[kind].bias);
    for (size_t i = 0; i < KS; i++) check_largest(&q, kinds[kind].name, ks[i]);
    const float thresholds[] = {0, 1, 15, 25, 1e20f, 1e-38f, -1};
    for (size_t i = 0; i < 7; i++) check_above(&q, kinds[kind].name, NULL, thresholds[i]);
    for (size_t i = 0; i < 7; i++) check_candidates(&q, kinds[kind].name, thresholds[i]);
    unmake(&q);
}

static void every_kind_of_rows_and_latents(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t c = 0; c < sizeof kinds / sizeof *kinds; c++)
        for (size_t way = 0; way < WAYS; way++)
            if (possible(way)) one_kind(way, c);
}

/* Thresholds at the values themselves, one float below and one above: nothing may slip by. */
static void thresholds_at_the_values(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make(way, gaussian, gaussian, gaussian);
        float threshold[N];
        multiply(&q);
        for (size_t j = 0; j < N; j++) {
            float v = q.pre[j % ROWS * N + j];
            threshold[j] = j % 3 == 0 ? v : nextafterf(v, j % 3 == 1 ? INFINITY : -INFINITY);
            if (threshold[j] < 0) threshold[j] = 20;
        }
        check_above(&q, "at the values", threshold, 0);
        float edge[N];
        for (size_t j = 0; j < N; j++) edge[j] = j % 5 ? threshold[j] - 3 * (float)(j % 4) : threshold[j];
        check_window(&q, "at the values", edge, edge);
        check_window(&q, "at the values", threshold, edge);
        edge[7] = -INFINITY;
        check_window(&q, "an edge for all", threshold, edge);
        for (size_t j = 0; j < N; j++) edge[j] = -INFINITY;
        check_window(&q, "every edge for all", threshold, edge);
        unmake(&q);
    }
}

/* Copies of a latent tie to the bit; copies that differ in a last bit are near ties, which double decides. */
static void duplicated_latents(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t c = 0; c < 2 * WAYS; c++) {
        bool nudged = c % 2;
        if (!possible(c / 2)) continue;
        problem q = make(c / 2, gaussian, gaussian, NULL);
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
    skip_without_any();
    static const float factors[] = {1e3f, 1e12f, 1e30f, 1e-12f, 1e-38f};
    enum { FACTORS = sizeof factors / sizeof *factors };
    for (size_t f = 0; f < FACTORS * WAYS; f++) {
        if (!possible(f / FACTORS)) continue;
        problem q = make(f / FACTORS, gaussian, gaussian, gaussian);
        for (size_t i = 0; i < D; i++) q.p.w_enc[17 * D + i] *= factors[f % FACTORS];
        for (size_t i = 0; i < D; i++) q.xc[3 * D + i] *= factors[f % FACTORS];
        for (size_t i = 0; i < KS; i++) check_largest(&q, "one of a kind", ks[i]);
        check_above(&q, "one of a kind", NULL, 12);
        unmake(&q);
    }
}

/* One latent far above all others, whose values go down to the smallest numbers: few of a row's values share a range. */
static void one_far_above(void **state)
{
    (void)state;
    skip_without_any();
    static const float factors[] = {1e-35f, 1e-37f, 1e-39f, 1e-43f};
    enum { FACTORS = sizeof factors / sizeof *factors };
    for (size_t f = 0; f < (FACTORS + 1) * WAYS; f++) {
        if (!possible(f / (FACTORS + 1))) continue;
        problem q = make(f / (FACTORS + 1), gaussian, gaussian, NULL);
        for (size_t j = 0; j < N; j++) {
            size_t kind = f % (FACTORS + 1);
            float factor = factors[kind < FACTORS ? kind : j % FACTORS]; /* the last: latents of all ranges */
            for (size_t i = 0; j != 17 && i < D; i++) q.p.w_enc[j * D + i] *= factor;
        }
        for (size_t i = 0; i < KS; i++) check_largest(&q, "one far above", ks[i]);
        check_above(&q, "one far above", NULL, 1e-38f);
        unmake(&q);
    }
}

/* Rounding that conspires: the largest latents are rounded down in every column, the others not at all, so that rounding reverses their
 * order by nearly all that the bound allows. With integers a first column sets the step, and the others lie half a step beside. */
static void conspire(problem *q, bool integers)
{
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < D; i++) q->xc[r * D + i] = ldexpf(1, (int)(r % 5));
    for (size_t j = 0; j < N; j++)
        for (size_t i = 0; i < D; i++) {
            bool largest = j % 100 == 50, up = (i * 7 + j) % 100 < 30 + j % 17;
            float *w = q->p.w_enc + j * D + i;
            if (integers)
                *w = i == 0 ? 127 : largest ? 50.4999f - 0x1p-15f * (float)(j / 100) : up ? 50.5001f : 50;
            else
                *w = largest ? 1 + 0x1p-8f - 0x1p-20f * (float)(j / 100) : up ? 1 + 0x1p-7f : 1;
        }
}

static void rounding_that_conspires(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make(way, gaussian, gaussian, NULL);
        conspire(&q, way > 0);
        for (size_t i = 0; i < KS; i++) check_largest(&q, "conspiring", ks[i]);
        check_largest(&q, "conspiring", 1);
        assert_int_equal(q.got.latent[0], 50);
        check_above(&q, "conspiring", NULL, q.got.value[0] * (1 - 0x1p-12f));
        assert_true(q.got.row_begin[1] > 0 && q.got.latent[0] % 100 == 50);
        unmake(&q);
    }
}

/* Rows of every kind in one block, so that some go through each of the screens and come back in their order: a large column that makes
 * integers coarse, and one that is too large for any bound. */
static void rows_of_all_kinds_in_a_block(void **state)
{
    (void)state;
    skip_without_any();
    enum { WIDE = 1300, FEW = 23 };
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make_sized(way, FEW, WIDE, N, gaussian, gaussian, gaussian);
        for (size_t r = 1; r < FEW; r += 3) q.xc[r * WIDE + r] = r % 2 ? 90 : 1e38f;
        for (size_t i = 0; i < KS; i++) check_largest(&q, "mixed", ks[i]);
        check_candidates(&q, "mixed", 60);
        check_above(&q, "mixed", NULL, 80);
        check_largest(&q, "mixed", 8);
        assert_in_range(q.count.full, FEW / 6, way == 2 ? FEW / 2 : FEW / 6 + 1);
        assert_int_equal(q.count.bf16, way == 1 ? (FEW + 1) / 3 : 0);
        unmake(&q);
    }
}

static void not_finite(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make(way, gaussian, gaussian, gaussian);
        q.p.b_enc[5] = NAN;
        q.p.b_enc[7] = INFINITY;
        q.p.b_enc[9] = -INFINITY;
        for (size_t i = 0; i < KS - 1; i++) check_above(&q, "not finite", NULL, (float)ks[i]);
        q.xc[5 * D + 7] = NAN;
        q.xc[6 * D + 7] = INFINITY;
        check_above(&q, "not finite", NULL, 30);
        assert_int_equal(q.count.full, 2);
        q.p.w_enc[700 * D] = NAN;
        check_above(&q, "not finite", NULL, 3);
        assert_int_equal(q.count.full, ROWS);
        unmake(&q);
    }
}

/* On ordinary rows the bounds are of use: few values for each kept latent, no row through the next product. */
static void bounds_leave_few_candidates(void **state)
{
    (void)state;
    skip_without_any();
    operand *xs[] = {gaussian, heavy};
    for (size_t c = 0; c < 2 * WAYS; c++) {
        size_t way = c / 2;
        if (!possible(way)) continue;
        problem q = make(way, xs[c % 2], gaussian, NULL);
        check_largest(&q, "few", 8);
        assert_int_equal(q.count.rows, ROWS);
        assert_int_equal(q.count.full, 0);
        assert_int_equal(q.count.bf16, 0);
        assert_in_range(q.count.pairs, 8 * ROWS, 3 * 8 * ROWS);
        assert_true(way == 1 ? q.count.bounds > 0 : q.count.bounds == 0);
        unmake(&q);
    }
}

/* A dictionary of copies leaves more candidates than there is room for. */
static void copies_go_through_the_full_product(size_t way)
{
    enum { MANY = 2500, WIDTH = 8 };
    qsr_params p;
    qsr_packed packed;
    qsr_sieve sieve;
    qsr_sift_room room;
    qsr_code got;
    float x[3 * WIDTH];
    assert_int_equal(qsr_params_alloc(WIDTH, MANY, &p, NULL), QSR_OK);
    fill(x, 3 * WIDTH, gaussian, "x");
    for (size_t j = 0; j < MANY; j++) memcpy(p.w_enc + j * WIDTH, x, WIDTH * sizeof(float));
    assert_int_equal(qsr_packed_create(qsr_tiles_get(), p.w_enc, MANY, WIDTH, false, &packed, NULL), QSR_OK);
    make_sieve(way, MANY, WIDTH, 3, &sieve, &room);
    assert_int_equal(qsr_code_alloc(3, MANY, 3 * MANY, 0, &got, NULL), QSR_OK);
    float *scratch = calloc(qsr_product_scratch(&packed), 4), *upper = calloc(3 * MANY, 4);
    qsr_sifting s = {.p = &p,
                     .product = &packed,
                     .sieve = &sieve,
                     .room = &room,
                     .rows = 3,
                     .xc = x,
                     .upper = upper,
                     .scratch = scratch};
    qsr_sieve_fill(&sieve, p.w_enc, NULL);
    got.rows = 3;
    qsr_sift_largest(&s, 7, &got);
    assert_true(s.count.full >= 1);
    for (uint32_t i = 0; i < 7; i++) assert_int_equal(got.latent[i], i); /* row 0 is the latent itself, so positive */
    qsr_params_free(&p);
    qsr_packed_free(&packed);
    qsr_sieve_free(&sieve);
    qsr_sift_room_free(&room);
    qsr_code_free(&got);
    free(scratch);
    free(upper);
}

/* A screen that was of no use to a block is left out for some, and tried again then. */
static void a_screen_of_no_use_rests(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++) {
        if (!possible(way)) continue;
        problem q = make(way, gaussian, gaussian, NULL);
        qsr_sifting s = begin(&q);
        for (int block = 0; block < 17; block++) {
            s.count = (qsr_sift_count){0};
            qsr_sift_above(&s, NULL, -1, &q.got); /* half of the latents */
            assert_int_equal(s.count.full, ROWS);
            assert_int_equal(s.count.bf16, way == 1 && block % 16 == 0 ? ROWS : 0);
        }
        s.count = (qsr_sift_count){0};
        for (int block = 0; block < 16; block++) qsr_sift_above(&s, NULL, 30, &q.got);
        assert_in_range(s.count.full, ROWS * 15, ROWS * 15); /* 15 of them without */
        s.count = (qsr_sift_count){0};
        qsr_sift_above(&s, NULL, 30, &q.got);
        assert_int_equal(s.count.full, 0);
        unmake(&q);
    }
}

static void copies(void **state)
{
    (void)state;
    skip_without_any();
    for (size_t way = 0; way < WAYS; way++)
        if (possible(way)) copies_go_through_the_full_product(way);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_rows_and_latents),
        cmocka_unit_test(thresholds_at_the_values),
        cmocka_unit_test(duplicated_latents),
        cmocka_unit_test(one_of_a_kind),
        cmocka_unit_test(one_far_above),
        cmocka_unit_test(rounding_that_conspires),
        cmocka_unit_test(rows_of_all_kinds_in_a_block),
        cmocka_unit_test(not_finite),
        cmocka_unit_test(bounds_leave_few_candidates),
        cmocka_unit_test(a_screen_of_no_use_rests),
        cmocka_unit_test(copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Coherence: the golden decoder, a plain double loop, threads. */
#include "eval/coherence.h"

#include "../unit.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "format/safetensors.h"

static qsr_coherence nearest_with(unsigned threads, const float *w, size_t rows, size_t d, qsr_neighbour *ret_nearest)
{
    qsr_error e = {0};
    qsr_pool *pool;
    qsr_coherence ret;
    assert_int_equal(qsr_pool_create(threads, &pool, &e), QSR_OK);
    assert_int_equal(qsr_coherence_of(pool, w, rows, d, &ret, ret_nearest, &e), QSR_OK);
    qsr_pool_free(pool);
    return ret;
}

static qsr_coherence coherence_with(unsigned threads, const float *w, size_t rows, size_t d)
{
    return nearest_with(threads, w, rows, d, NULL);
}

static qsr_coherence naive(const float *w, size_t rows, size_t d)
{
    qsr_coherence c = {0, 0, -INFINITY, 0};
    double pairs = (double)rows * (double)(rows - 1);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < rows; j++) {
            double dot = 0, a = 0, b = 0;
            if (i == j) continue;
            for (size_t k = 0; k < d; k++) {
                dot += (double)w[i * d + k] * w[j * d + k];
                a += (double)w[i * d + k] * w[i * d + k];
                b += (double)w[j * d + k] * w[j * d + k];
            }
            double cosine = a > 0 && b > 0 ? fabs(dot) / sqrt(a * b) : 0;
            c.coherence_max = fmax(c.coherence_max, cosine);
            c.coherence_mean += cosine / pairs;
            c.epsilon_max = fmax(c.epsilon_max, dot);
            c.epsilon_mean += dot / pairs;
        }
    return c;
}

/* One float32 product of d terms is off by a few units of 2^-24 of its largest partial sums; means and maxima no more. */
static void assert_same(qsr_coherence a, qsr_coherence b, double scale)
{
    assert_true(fabs(a.coherence_max - b.coherence_max) < 1e-6 && fabs(a.coherence_mean - b.coherence_mean) < 1e-7);
    assert_true(fabs(a.epsilon_max - b.epsilon_max) < 1e-6 * scale && fabs(a.epsilon_mean - b.epsilon_mean) < 1e-7 * scale);
}

static void the_golden_decoder_has_its_published_epsilon(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_error e = {0};
    qsr_safetensors *file;
    const char *path = qsr_path_join(&arena, getenv("QUASAR_SOURCE"), "tests/golden/inputs/init.safetensors");
    assert_int_equal(qsr_safetensors_open(path, &file, &e), QSR_OK);
    const qsr_tensor *w_dec = qsr_safetensors_find(file, "W_dec");
    assert_non_null(w_dec);
    float *w = qsr_arena_alloc(&arena, w_dec->count, sizeof *w);
    qsr_to_float(w_dec->dtype, w_dec->data, w_dec->count, w);
    qsr_coherence c = coherence_with(2, w, w_dec->shape[0], w_dec->shape[1]);
    /* Row 0 of golden/topk/metrics.csv, made in float64 from these weights. */
    assert_close(c.epsilon_max / 0.38329177424742517, 1, 2e-6);
    assert_true(fabs(c.epsilon_mean - 7.090150879877585e-05) < 1e-9);
    assert_same(c, naive(w, w_dec->shape[0], w_dec->shape[1]), 1);
    qsr_safetensors_close(file);
    qsr_arena_free(&arena);
}

static float *draw(size_t rows, size_t d, double offset)
{
    qsr_rng rng = qsr_rng_make(rows, "test/coherence");
    float *w = calloc(rows * d, sizeof *w);
    for (size_t i = 0; i < rows * d; i++) w[i] = (float)(qsr_rng_normal(&rng, i) + offset);
    return w;
}

static void agrees_with_a_plain_double_loop(void **state)
{
    (void)state;
    const size_t rows[] = {2, 3, 255, 256, 257, 530};
    for (size_t i = 0; i < 6; i++) {
        float *w = draw(rows[i], 17, i % 2 ? 0.5 : -0.1);
        memset(w + 17, 0, 17 * sizeof *w); /* a row of zeros */
        assert_same(coherence_with(1, w, rows[i], 17), naive(w, rows[i], 17), 17);
        free(w);
    }
}

static void knows_the_simple_cases(void **state)
{
    (void)state;
    const float opposite[] = {1, 0, -2, 0}, axes[] = {3, 0, 0, 0, 2, 0, 0, 0, 1};
    qsr_coherence c = coherence_with(1, opposite, 2, 2);
    assert_true(c.coherence_max == 1 && c.coherence_mean == 1 && c.epsilon_max == -2 && c.epsilon_mean == -2);
    c = coherence_with(1, axes, 3, 3);
    assert_true(c.coherence_max == 0 && c.coherence_mean == 0 && c.epsilon_max == 0 && c.epsilon_mean == 0);
    c = coherence_with(1, axes, 1, 3);
    assert_true(isnan(c.coherence_max) && isnan(c.coherence_mean) && isnan(c.epsilon_max) && isnan(c.epsilon_mean));
}

/* Small whole numbers make every product and norm exact, and ties between neighbours frequent. */
static float *draw_whole(size_t rows, size_t d)
{
    qsr_rng rng = qsr_rng_make(rows, "test/nearest");
    float *w = calloc(rows * d, sizeof *w);
    for (size_t i = 0; i < rows * d; i++) w[i] = (float)((int)(qsr_rng_bits(&rng, i) % 3) - 1);
    return w;
}

/* A pair is taken in the order of its rows, as there: the three factors round differently in another order. */
static double cosine_of(const float *w, size_t d, size_t one, size_t other)
{
    double dot = 0, a = 0, b = 0;
    size_t i = one < other ? one : other, k = one < other ? other : one;
    for (size_t c = 0; c < d; c++) {
        dot += (double)w[i * d + c] * w[k * d + c];
        a += (double)w[i * d + c] * w[i * d + c];
        b += (double)w[k * d + c] * w[k * d + c];
    }
    return a > 0 && b > 0 ? fabs(dot) * (1 / sqrt(a)) * (1 / sqrt(b)) * (dot < 0 ? -1 : 1) : 0;
}

static void finds_the_nearest_of_every_row(void **state)
{
    (void)state;
    const size_t rows[] = {2, 255, 256, 257, 700};
    for (size_t n = 0; n < 5; n++) {
        size_t d = 7, wrong = 0;
        float *w = draw_whole(rows[n], d);
        memset(w + d, 0, d * sizeof *w); /* a row of zeros */
        qsr_neighbour *nearest = calloc(rows[n], sizeof *nearest);
        qsr_coherence c = nearest_with(2, w, rows[n], d, nearest);
        double largest = 0;
        for (size_t i = 0; i < rows[n]; i++) {
            assert_true(nearest[i].other < rows[n] && nearest[i].other != i);
            assert_true(nearest[i].cosine == cosine_of(w, d, i, nearest[i].other));
            largest = fmax(largest, fabs(nearest[i].cosine));
            for (size_t k = 0; k < rows[n]; k++) {
                double cosine = fabs(cosine_of(w, d, i, k)), found = fabs(nearest[i].cosine);
                if (k != i) wrong += cosine > found || (cosine == found && k < nearest[i].other);
            }
        }
        assert_int_equal(wrong, 0);
        assert_true(largest == c.coherence_max);
        free(nearest);
        free(w);
    }
}

/* Rows so long that their columns are packed in several ranges: those of draw_whole with zeros behind them. */
static void long_rows_are_those_of_short_ones(void **state)
{
    (void)state;
    enum { ROWS = 700, SHORT = 7, LONG = 30000 };
    float *w = draw_whole(ROWS, SHORT), *long_rows = calloc((size_t)ROWS * LONG, sizeof *long_rows);
    qsr_neighbour few[ROWS], many[ROWS];
    for (size_t i = 0; i < ROWS; i++) memcpy(long_rows + i * LONG, w + i * SHORT, SHORT * sizeof *w);
    const qsr_coherence a = nearest_with(2, w, ROWS, SHORT, few), b = nearest_with(2, long_rows, ROWS, LONG, many);
    assert_true(a.coherence_max == b.coherence_max && a.epsilon_max == b.epsilon_max);
    /* 244,650 additions in double, in another order */
    assert_true(fabs(a.coherence_mean - b.coherence_mean) < 1e-10 && fabs(a.epsilon_mean - b.epsilon_mean) < 1e-10);
    for (size_t i = 0; i < ROWS; i++) assert_true(few[i].cosine == many[i].cosine && few[i].other == many[i].other);
    free(long_rows);
    free(w);
}

static void rows_at_right_angles_have_the_first_as_neighbour(void **state)
{
    (void)state;
    enum { ROWS = 600 };
    float *w = calloc((size_t)ROWS * ROWS, sizeof *w);
    qsr_neighbour nearest[ROWS];
    for (size_t i = 0; i < ROWS; i++) w[i * ROWS + i] = 1;
    w[17 * ROWS + 500] = -1; /* but for these two */
    nearest_with(2, w, ROWS, ROWS, nearest);
    for (size_t i = 0; i < ROWS; i++) {
        const uint32_t other = i == 17 ? 500 : i == 500 ? 17 : i == 0;
        assert_true(nearest[i].other == other && fabs(nearest[i].cosine - (other > 1 ? -sqrt(0.5) : 0)) < 1e-15);
    }
    free(w);
}

static void a_lone_row_has_no_neighbour(void **state)
{
    (void)state;
    qsr_neighbour nearest = {0};
    nearest_with(1, (const float[]){1, 2}, 1, 2, &nearest);
    assert_true(isnan(nearest.cosine) && nearest.other == UINT32_MAX);
}

static void threads_change_no_neighbour(void **state)
{
    (void)state;
    float *w = draw_whole(1100, 5);
    qsr_neighbour one[1100], many[1100];
    memset(one, 0, sizeof one);
    memset(many, 0, sizeof many);
    nearest_with(1, w, 1100, 5, one);
    for (unsigned threads = 2; threads <= 4; threads++) {
        nearest_with(threads, w, 1100, 5, many);
        for (size_t i = 0; i < 1100; i++) assert_true(one[i].cosine == many[i].cosine && one[i].other == many[i].other);
    }
    free(w);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    float *w = draw(1100, 33, 0);
    qsr_coherence one = coherence_with(1, w, 1100, 33), none;
    for (unsigned threads = 2; threads <= 3; threads++) {
        qsr_coherence many = coherence_with(threads, w, 1100, 33);
        assert_memory_equal(&one, &many, sizeof one);
    }
    assert_int_equal(qsr_coherence_of(NULL, w, 1100, 33, &none, NULL, NULL), QSR_OK);
    assert_memory_equal(&one, &none, sizeof one);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_decoder_has_its_published_epsilon),
        cmocka_unit_test(agrees_with_a_plain_double_loop),
        cmocka_unit_test(knows_the_simple_cases),
        cmocka_unit_test(finds_the_nearest_of_every_row),
        cmocka_unit_test(long_rows_are_those_of_short_ones),
        cmocka_unit_test(rows_at_right_angles_have_the_first_as_neighbour),
        cmocka_unit_test(a_lone_row_has_no_neighbour),
        cmocka_unit_test(threads_change_no_neighbour),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Metrics: closed forms, and that neither tiles nor threads nor a large mean can move them. */
#include "eval/metric.h"

#include "../unit.h"
#include "base/arena.h"
#include "base/rng.h"
#include "math/pool.h"

/* Rows of an evaluation, in both spaces, with their code. */
typedef struct {
    size_t rows, d_in, d_sae;
    float *raw, *raw_hat, *x, *x_hat;
    qsr_row_scale *scale;
    qsr_code code;
    float *dec_norm;
    double b_dec_norm;
} sample;

static qsr_metric_tile tile_of(const sample *s, qsr_code *view, size_t begin)
{
    size_t rows = s->rows - begin < QSR_METRIC_TILE_ROWS ? s->rows - begin : QSR_METRIC_TILE_ROWS, at = begin * s->d_in;
    *view = s->code;
    view->rows = rows;
    view->row_begin += begin;
    return (qsr_metric_tile){.rows = rows,
                             .d_in = s->d_in,
                             .d_sae = s->d_sae,
                             .raw = s->raw + at,
                             .raw_hat = s->raw_hat + at,
                             .x = s->x + at,
                             .x_hat = s->x_hat + at,
                             .scale = s->scale ? s->scale + begin : NULL,
                             .code = view,
                             .dec_norm = s->dec_norm,
                             .b_dec_norm = s->b_dec_norm};
}

typedef struct {
    const sample *sample;
    qsr_tile_sums **sums; /* one per tile */
} wave;

static qsr_status sum_tiles(void *arg, size_t begin, size_t end)
{
    wave *w = arg;
    for (size_t t = begin; t < end; t++) {
        qsr_code view;
        qsr_metric_tile tile = tile_of(w->sample, &view, t * QSR_METRIC_TILE_ROWS);
        qsr_metric_tile_sums(&tile, w->sums[t]);
    }
    return QSR_OK;
}

static qsr_metrics evaluate(const sample *s, unsigned threads)
{
    qsr_error e = {0};
    qsr_pool *pool;
    qsr_metric *metric;
    qsr_metrics ret;
    size_t tiles = (s->rows + QSR_METRIC_TILE_ROWS - 1) / QSR_METRIC_TILE_ROWS;
    wave w = {s, calloc(tiles + 1, sizeof *w.sums)};
    assert_int_equal(qsr_pool_create(threads, &pool, &e), QSR_OK);
    assert_int_equal(qsr_metric_create(s->d_in, s->d_sae, &metric, &e), QSR_OK);
    for (size_t t = 0; t < tiles; t++) assert_int_equal(qsr_tile_sums_create(s->d_in, s->d_sae, &w.sums[t], &e), QSR_OK);
    assert_int_equal(qsr_pool_run(pool, tiles, 1, sum_tiles, &w), QSR_OK);
    for (size_t t = 0; t < tiles; t++) {
        assert_int_equal(qsr_metric_add(metric, t, w.sums[t], &e), QSR_OK);
        qsr_tile_sums_free(w.sums[t]);
    }
    assert_int_equal(qsr_metric_tokens(metric), s->rows);
    qsr_metric_finish(metric, &ret);
    qsr_metric_free(metric);
    qsr_pool_free(pool);
    free(w.sums);
    return ret;
}

static double value_of(const sample *s, const char *name)
{
    qsr_metrics m = evaluate(s, 1);
    return qsr_metrics_get(&m, name);
}

/* A sample in one space without code, borrowing its arrays. */
static sample plain(size_t rows, size_t d, float *x, float *x_hat)
{
    static size_t no_entries[2048];
    static uint32_t latent[1];
    static float code_value[1], dec_norm[] = {1, 1};
    return (sample){.rows = rows,
                    .d_in = d,
                    .d_sae = 2,
                    .raw = x,
                    .raw_hat = x_hat,
                    .x = x,
                    .x_hat = x_hat,
                    .code = {.rows = rows, .d_sae = 2, .row_begin = no_entries, .latent = latent, .value = code_value},
                    .dec_norm = dec_norm,
                    .b_dec_norm = 1};
}

/* ---- closed forms ------------------------------------------------------------------------------------------------ */

static void the_two_by_two_example_explains_80_percent(void **state)
{
    (void)state;
    float x[] = {2, 0, 0, 4}, x_hat[] = {2, 1, 0, 3};
    sample s = plain(2, 2, x, x_hat);
    assert_close(value_of(&s, "explained_variance"), 0.8, 1e-15);
    assert_close(value_of(&s, "fvu"), 0.2, 1e-15);
    assert_close(value_of(&s, "mse"), 0.5, 1e-15);
    assert_close(value_of(&s, "nmse"), 0.1, 1e-15);
    assert_close(value_of(&s, "cosine"), (2 / sqrt(5) + 1) / 2, 1e-15);
    assert_close(value_of(&s, "l2_ratio"), (sqrt(5) / 2 + 0.75) / 2, 1e-15);
    assert_close(value_of(&s, "relative_reconstruction_bias"), 14.0 / 16, 1e-15);
    assert_close(value_of(&s, "token_nmse_median"), (1.0 / 4 + 1.0 / 16) / 2, 1e-15);
    assert_close(value_of(&s, "explained_variance_norm"), 0.8, 1e-15);
    assert_true(value_of(&s, "tokens") == 2);
    assert_true(isnan(value_of(&s, "no such metric")));
}

static void predicting_the_mean_gives_fvu_one(void **state)
{
    (void)state;
    enum { ROWS = 700, D = 3 };
    static float x[ROWS * D], x_hat[ROWS * D];
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < D; i++) {
            x[r * D + i] = (float)(100 * i) + (r % 2 ? 1 : -1) * (float)(r / 2 + 1); /* mean 100 i, exactly */
            x_hat[r * D + i] = (float)(100 * i);
        }
    sample s = plain(ROWS, D, x, x_hat);
    assert_close(value_of(&s, "fvu"), 1, 1e-14);
    s.raw_hat = s.x_hat = x;
    assert_true(value_of(&s, "fvu") == 0 && value_of(&s, "nmse") == 0 && value_of(&s, "explained_variance") == 1);
    assert_close(value_of(&s, "cosine"), 1, 1e-14);
    assert_true(value_of(&s, "l2_ratio") == 1 && value_of(&s, "relative_reconstruction_bias") == 1);
}

static void undefined_values_are_nan(void **state)
{
    (void)state;
    float zero[4] = {0}, same[] = {3, 1, 3, 1};
    sample s = plain(2, 2, zero, zero);
    const char *undefined[] = {"nmse",
                               "fvu",
                               "explained_variance",
                               "cosine",
                               "l2_ratio",
                               "relative_reconstruction_bias",
                               "norm_ratio_median",
                               "token_nmse_median",
                               "coherence_lb_median"};
    for (size_t i = 0; i < sizeof undefined / sizeof *undefined; i++) assert_true(isnan(value_of(&s, undefined[i])));
    assert_true(value_of(&s, "mse") == 0 && value_of(&s, "silent_fraction") == 1);
    s = plain(2, 2, same, zero); /* rows without spread; nothing reconstructed */
    s.b_dec_norm = 0;
    assert_true(isnan(value_of(&s, "fvu")));
    assert_true(value_of(&s, "nmse") == 1 && value_of(&s, "cosine") == 0 && value_of(&s, "l2_ratio") == 0);
    assert_true(value_of(&s, "epsilon_lbo_infinite") == 2 && isnan(value_of(&s, "epsilon_lbo_median")));
    s = plain(0, 2, zero, zero);
    assert_true(isnan(value_of(&s, "l0")) && isnan(value_of(&s, "mse")) && isnan(value_of(&s, "silent_fraction")));
}

static void codes_are_counted_by_what_is_not_zero(void **state)
{
    (void)state;
    float x[] = {3, 4, 0, 5, 1, 1}, dec_norm[] = {1, 2, 1, 1};
    size_t row_begin[] = {0, 2, 3, 5};
    uint32_t latent[] = {0, 1, 1, 1, 2};
    float code_value[] = {1, 2, -3, 0.5f, 0};
    sample s = plain(3, 2, x, x);
    s.d_sae = 4;
    s.code = (qsr_code){.rows = 3, .d_sae = 4, .row_begin = row_begin, .latent = latent, .value = code_value};
    s.dec_norm = dec_norm;
    s.b_dec_norm = 2;
    qsr_metrics m = evaluate(&s, 1);
    assert_close(qsr_metrics_get(&m, "l0"), 4.0 / 3, 1e-15);
    assert_close(qsr_metrics_get(&m, "l1"), 6.5 / 3, 1e-15);
    assert_close(qsr_metrics_get(&m, "mdl_bits_naive"), 4.0 / 3 * 9, 1e-15);
    assert_true(qsr_metrics_get(&m, "silent_fraction") == 0.5 && m.silent == 2);
    /* ||f~||^2: 1 + 16 + 4 = 21, 36 + 4 = 40, 1 + 4 = 5 against ||z||^2 = 25, 25, 2 */
    assert_close(qsr_metrics_get(&m, "epsilon_lbo_median"), 15.0 / (3 * 40), 1e-15);
    assert_close(qsr_metrics_get(&m, "epsilon_lbo_mean"), (4.0 / 63 + 15.0 / 120 + 3.0 / 15) / 3, 1e-15);
    assert_close(qsr_metrics_get(&m, "norm_ratio_median"), sqrt(40.0 / 25), 1e-15);
    /* |25 - 21| / (49 - 21), |25 - 40| / (64 - 40), |2 - 5| / (9 - 5) */
    assert_close(qsr_metrics_get(&m, "coherence_lb_median"), 0.625, 1e-15);
    assert_true(qsr_metrics_get(&m, "epsilon_lbo_infinite") == 0);
    /* latent 0 fired on 1 of 3 tokens (log10 -0.477), latent 1 on all (0) */
    assert_true(m.firing[QSR_FIRING_BINS - 2] == 1 && m.firing[QSR_FIRING_BINS - 1] == 1);
    assert_true(m.l0[0] == 0 && m.l0[1] == 2 && m.l0[2] == 1);
}

static void published_description_lengths(void **state)
{
    (void)state;
    /* Layer 6 of the published runs: batchtopk 21079 bits at L0 1024 with 12288 latents. */
    enum { L0 = 1024, D_SAE = 12288 };
    static uint32_t latent[L0];
    static float code_value[L0], dec_norm[D_SAE];
    size_t row_begin[] = {0, L0};
    float x[] = {1};
    for (uint32_t j = 0; j < L0; j++) {
        latent[j] = 12 * j;
        code_value[j] = 1;
    }
    sample s = plain(1, 1, x, x);
    s.d_sae = D_SAE;
    s.dec_norm = dec_norm;
    s.code = (qsr_code){.rows = 1, .d_sae = D_SAE, .row_begin = row_begin, .latent = latent, .value = code_value};
    assert_true(fabs(value_of(&s, "mdl_bits_naive") - 21079) < 0.5);
}

/* ---- random samples ---------------------------------------------------------------------------------------------- */

enum { D_IN = 7, D_SAE_RANDOM = 20, MOST_ROWS = 600 };

/* Rows with their own mean and spread, and a code that the reconstruction has little to do with. */
static sample draw(qsr_arena *arena, size_t rows, double mean)
{
    qsr_rng rng = qsr_rng_make(11, "test/metric");
    uint64_t at = 0;
    sample s = {.rows = rows, .d_in = D_IN, .d_sae = D_SAE_RANDOM, .b_dec_norm = 0.7};
    s.x = qsr_arena_alloc(arena, rows * D_IN, sizeof(float));
    s.x_hat = qsr_arena_alloc(arena, rows * D_IN, sizeof(float));
    s.raw = qsr_arena_alloc(arena, rows * D_IN, sizeof(float));
    s.raw_hat = qsr_arena_alloc(arena, rows * D_IN, sizeof(float));
    s.scale = qsr_arena_alloc(arena, rows, sizeof *s.scale);
    s.dec_norm = qsr_arena_alloc(arena, D_SAE_RANDOM, sizeof(float));
    s.code.row_begin = qsr_arena_alloc(arena, rows + 1, sizeof(size_t));
    s.code.latent = qsr_arena_alloc(arena, rows * D_SAE_RANDOM, sizeof(uint32_t));
    s.code.value = qsr_arena_alloc(arena, rows * D_SAE_RANDOM, sizeof(float));
    for (size_t j = 0; j < D_SAE_RANDOM; j++) s.dec_norm[j] = (float)(0.5 + qsr_rng_unit(&rng, at++));
    for (size_t r = 0; r < rows; r++) {
        s.scale[r] = (qsr_row_scale){.mean = mean + qsr_rng_normal(&rng, at), .spread = 0.5 + qsr_rng_unit(&rng, at + 1)};
        at += 2;
        for (size_t i = r * D_IN; i < (r + 1) * D_IN; i++) {
            s.x[i] = (float)qsr_rng_normal(&rng, at++);
            s.x_hat[i] = s.x[i] + (float)(0.3 * qsr_rng_normal(&rng, at++));
            s.raw[i] = (float)(s.x[i] * s.scale[r].spread + s.scale[r].mean);
            s.raw_hat[i] = (float)(s.x_hat[i] * s.scale[r].spread + s.scale[r].mean);
        }
        size_t n = s.code.row_begin[r];
        for (uint32_t j = 0; j + 1 < D_SAE_RANDOM; j++) { /* the last latent stays silent */
            if (qsr_rng_unit(&rng, at++) > 0.2) continue;
            s.code.latent[n] = j;
            s.code.value[n++] = (float)qsr_rng_normal(&rng, at++);
        }
        s.code.row_begin[r + 1] = n;
    }
    return s;
}

typedef struct {
    double mse, nmse, fvu, cosine, ratio, bias;
} reference;

/* The formulas as they are written, over all rows at once, in long double. */
static reference naive(const float *x, const float *x_hat, size_t rows)
{
    long double mean[D_IN] = {0}, error = 0, square = 0, hat = 0, product = 0, scatter = 0, cosine = 0, ratio = 0;
    for (size_t i = 0; i < rows * D_IN; i++) mean[i % D_IN] += (long double)x[i] / (long double)rows;
    for (size_t r = 0; r < rows; r++) {
        long double xx = 0, hh = 0, xh = 0;
        for (size_t i = r * D_IN; i < (r + 1) * D_IN; i++) {
            long double a = x[i], b = x_hat[i];
            xx += a * a;
            hh += b * b;
            xh += a * b;
            error += (a - b) * (a - b);
            scatter += (a - mean[i % D_IN]) * (a - mean[i % D_IN]);
        }
        square += xx;
        hat += hh;
        product += xh;
        cosine += xh / sqrtl(xx * hh);
        ratio += sqrtl(hh / xx);
    }
    long double n = (long double)rows;
    return (reference){(double)(error / n / D_IN), (double)(error / square), (double)(error / scatter),
                       (double)(cosine / n),       (double)(ratio / n),      (double)(hat / product)};
}

static void check_space(const qsr_metrics *m, reference r, const char *suffix, double tolerance)
{
    const char *names[] = {"mse", "nmse", "fvu", "cosine", "l2_ratio", "relative_reconstruction_bias"};
    double values[] = {r.mse, r.nmse, r.fvu, r.cosine, r.ratio, r.bias};
    for (size_t i = 0; i < 6; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%s", names[i], suffix);
        assert_close(qsr_metrics_get(m, name) / values[i], 1, tolerance);
    }
}

static void any_number_of_rows_gives_the_plain_formulas(void **state)
{
    (void)state;
    const size_t rows[] = {2, 255, 256, 257, 512, MOST_ROWS};
    const double means[] = {0, 1e7}; /* at 1e7 float32 rows have a spread of a few units of their last place */
    for (size_t i = 0; i < 6; i++)
        for (size_t k = 0; k < 2; k++) {
            qsr_arena arena = {0};
            sample s = draw(&arena, rows[i], means[k]);
            qsr_metrics m = evaluate(&s, 1);
            /* 4,200 additions in double. At 1e7 a tile's mean is known to 1e-9 and differs from the next one's by about 0.1, to
             * which the scatter owes one part in 256. Sums of squares less a squared mean would be off by 1e-2. */
            check_space(&m, naive(s.raw, s.raw_hat, rows[i]), "", k ? 1e-10 : 1e-12);
            check_space(&m, naive(s.x, s.x_hat, rows[i]), "_norm", 1e-12);
            qsr_arena_free(&arena);
        }
}

static void same_metrics(const qsr_metrics *a, const qsr_metrics *b)
{
    for (size_t i = 0; i < QSR_METRIC_VALUES; i++) {
        assert_string_equal(a->items[i].name, b->items[i].name);
        assert_memory_equal(&a->items[i].value, &b->items[i].value, sizeof(double));
    }
    assert_memory_equal(a->firing, b->firing, sizeof a->firing);
    assert_memory_equal(a->l0, b->l0, sizeof a->l0);
    assert_int_equal(a->silent, b->silent);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    sample s = draw(&arena, MOST_ROWS, 3);
    qsr_metrics one = evaluate(&s, 1), two = evaluate(&s, 2), three = evaluate(&s, 3);
    same_metrics(&one, &two);
    same_metrics(&one, &three);
    assert_close(qsr_metrics_get(&one, "silent_fraction"), 1.0 / D_SAE_RANDOM, 1e-15);
    qsr_arena_free(&arena);
}

/* Rows arrive in batches of any size and are put together into tiles: sums that saw other rows before must not remember. */
static void sums_are_overwritten_by_each_tile(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_error e = {0};
    sample s = draw(&arena, MOST_ROWS, 3);
    qsr_metric *metric;
    qsr_tile_sums *sums;
    qsr_metrics once = evaluate(&s, 1), reused;
    assert_int_equal(qsr_metric_create(s.d_in, s.d_sae, &metric, &e), QSR_OK);
    assert_int_equal(qsr_tile_sums_create(s.d_in, s.d_sae, &sums, &e), QSR_OK);
    const size_t order[] = {2, 1, 0, 0, 1, 2};
    for (size_t i = 0; i < 6; i++) {
        qsr_code view;
        qsr_metric_tile tile = tile_of(&s, &view, order[i] * QSR_METRIC_TILE_ROWS);
        qsr_metric_tile_sums(&tile, sums);
        if (i >= 3) assert_int_equal(qsr_metric_add(metric, order[i], sums, &e), QSR_OK);
    }
    uint64_t fired = 0;
    for (size_t j = 0; j < s.d_sae; j++) fired += qsr_metric_fired(metric)[j];
    assert_int_equal(fired, s.code.row_begin[MOST_ROWS]);
    qsr_metric_finish(metric, &reused);
    same_metrics(&once, &reused);
    qsr_tile_sums_free(sums);
    qsr_metric_free(metric);
    qsr_arena_free(&arena);
}

static void tiles_out_of_order_are_refused(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_error e = {0};
    sample s = draw(&arena, 300, 0);
    qsr_metric *metric;
    qsr_tile_sums *sums;
    qsr_code view;
    assert_int_equal(qsr_metric_create(s.d_in, s.d_sae, &metric, &e), QSR_OK);
    assert_int_equal(qsr_tile_sums_create(s.d_in, s.d_sae, &sums, &e), QSR_OK);
    qsr_metric_tile tile = tile_of(&s, &view, QSR_METRIC_TILE_ROWS);
    qsr_metric_tile_sums(&tile, sums);
    assert_int_equal(qsr_metric_add(metric, 1, sums, &e), QSR_E_INTERNAL);
    assert_int_equal(qsr_metric_add(metric, 0, sums, &e), QSR_OK);
    assert_int_equal(qsr_metric_add(metric, 1, sums, &e), QSR_E_INTERNAL); /* the first was short */
    assert_int_equal(qsr_metric_tokens(metric), 300 - QSR_METRIC_TILE_ROWS);
    qsr_tile_sums_free(sums);
    qsr_metric_free(metric);
    qsr_arena_free(&arena);
}

/* With an orthonormal decoder ||f~|| is ||x_hat|| in training space; the spread and mean of each token must carry that over to
 * model space, where ||f~|| is then ||z_hat||. */
static void model_space_features_keep_the_pythagorean_case(void **state)
{
    (void)state;
    enum { ROWS = 40, D = 8 };
    float x[ROWS * D], raw[ROWS * D], dec_norm[D], code_value[ROWS * D];
    qsr_row_scale scale[ROWS];
    size_t row_begin[ROWS + 1];
    uint32_t latent[ROWS * D];
    qsr_rng rng = qsr_rng_make(5, "test/metric");
    for (size_t i = 0; i < D; i++) dec_norm[i] = 1;
    for (size_t r = 0; r < ROWS; r++) {
        scale[r] =
            (qsr_row_scale){.mean = 5 * qsr_rng_normal(&rng, 2 * r), .spread = 1 + 9 * qsr_rng_unit(&rng, 2 * r + 1)};
        for (size_t i = 0; i < D; i++) {
            x[r * D + i] =
                (i % 2 ? -1.0f : 1.0f) * (float)(1 + i / 2 + r); /* no mean over dimensions, as token normalisation */
            raw[r * D + i] = (float)(x[r * D + i] * scale[r].spread + scale[r].mean);
            latent[r * D + i] = (uint32_t)i;
            code_value[r * D + i] = x[r * D + i];
        }
        row_begin[r] = r * D;
    }
    row_begin[ROWS] = ROWS * D;
    sample s = {ROWS,     D,     D,
                raw,      raw,   x,
                x,        scale, {.rows = ROWS, .d_sae = D, .row_begin = row_begin, .latent = latent, .value = code_value},
                dec_norm, 0};
    assert_close(value_of(&s, "norm_ratio_median"), 1, 1e-6); /* raw is rounded to float32 */
    assert_true(value_of(&s, "epsilon_lbo_mean") < 1e-6);
    assert_true(value_of(&s, "coherence_lb_median") < 1e-12);
}

/* coherence_lb must stay a bound when x_hat has been rounded to float32. ||x_hat||^2 is then off by at most 2^-23 of ||f~||_1^2,
 * which is below (1 + 2^16) denominators: 2^-7 of slack. */
static void coherence_lb_stays_a_bound_in_float32(void **state)
{
    (void)state;
    enum { D = 4, TRIALS = 200 };
    qsr_rng rng = qsr_rng_make(6, "test/metric");
    for (uint64_t trial = 0; trial < TRIALS; trial++) {
        float a[D] = {0}, b[D] = {0}, x[D], dec_norm[2], code_value[2];
        size_t row_begin[] = {0, 2};
        uint32_t latent[] = {0, 1};
        double angle = 1.5 * qsr_rng_unit(&rng, 3 * trial);
        a[0] = 1;
        b[0] = (float)cos(angle);
        b[1] = (float)sin(angle);
        dec_norm[0] = 1;
        dec_norm[1] = (float)sqrt((double)b[0] * b[0] + (double)b[1] * b[1]);
        code_value[0] = (float)(1 + qsr_rng_unit(&rng, 3 * trial + 1));
        code_value[1] = (float)pow(10, -6 * qsr_rng_unit(&rng, 3 * trial + 2)); /* down to where nothing may be said */
        for (size_t i = 0; i < D; i++) x[i] = code_value[0] * a[i] + code_value[1] * b[i];
        sample s = plain(1, D, x, x);
        s.code = (qsr_code){.rows = 1, .d_sae = 2, .row_begin = row_begin, .latent = latent, .value = code_value};
        s.dec_norm = dec_norm;
        s.b_dec_norm = 0;
        double lb = value_of(&s, "coherence_lb_median");
        if (code_value[1] > 1e-4f) assert_false(isnan(lb));
        if (!isnan(lb)) assert_true(lb <= cos(angle) + 0x1p-7);
        if (code_value[1] > 1e-2f) assert_close(lb, cos(angle), 1e-4); /* two directions: the bound is the cosine */
    }
}

static void histogram_bins_are_quarters_of_a_decade(void **state)
{
    (void)state;
    enum { ROWS = 1000, D_SAE = 5 };
    static const size_t fires[D_SAE] = {0, 1, 10, 100, 178}; /* log10: none, -3, -2, -1, -0.7496 */
    static float x[ROWS], code_value[ROWS * D_SAE], dec_norm[D_SAE];
    static size_t row_begin[ROWS + 1];
    static uint32_t latent[ROWS * D_SAE];
    size_t n = 0;
    for (size_t r = 0; r < ROWS; r++) {
        x[r] = 1;
        for (uint32_t j = 0; j < D_SAE; j++) {
            if (r >= fires[j]) continue;
            latent[n] = j;
            code_value[n++] = 1;
        }
        row_begin[r + 1] = n;
    }
    sample s = plain(ROWS, 1, x, x);
    s.d_sae = D_SAE;
    s.dec_norm = dec_norm;
    s.code = (qsr_code){.rows = ROWS, .d_sae = D_SAE, .row_begin = row_begin, .latent = latent, .value = code_value};
    qsr_metrics m = evaluate(&s, 2);
    for (size_t i = 0; i < QSR_FIRING_BINS; i++) {
        double low = QSR_FIRING_LOW + (double)i * QSR_FIRING_WIDTH;
        assert_int_equal(m.firing[i], low == -3 || low == -2 || low == -1 || low == -0.75);
    }
    assert_true(m.silent == 1 && qsr_metrics_get(&m, "silent_fraction") == 0.2);
    assert_true(m.l0[0] == ROWS - 178 && m.l0[1] == 78 && m.l0[2] == 90 && m.l0[3] == 9 && m.l0[4] == 1 && m.l0[5] == 0);
}

static void the_last_bin_of_l0_takes_the_rest(void **state)
{
    (void)state;
    enum { D_SAE = QSR_L0_BINS + 100 };
    static float x[] = {1, 1, 1}, code_value[3 * D_SAE], dec_norm[D_SAE];
    static uint32_t latent[3 * D_SAE];
    size_t row_begin[] = {0, QSR_L0_BINS - 2, 2 * QSR_L0_BINS - 3, 2 * QSR_L0_BINS - 3 + D_SAE};
    for (size_t r = 0; r < 3; r++)
        for (size_t i = row_begin[r]; i < row_begin[r + 1]; i++) {
            latent[i] = (uint32_t)(i - row_begin[r]);
            code_value[i] = 1;
        }
    sample s = plain(3, 1, x, x);
    s.d_sae = D_SAE;
    s.dec_norm = dec_norm;
    s.code = (qsr_code){.rows = 3, .d_sae = D_SAE, .row_begin = row_begin, .latent = latent, .value = code_value};
    qsr_metrics m = evaluate(&s, 1);
    assert_true(m.l0[QSR_L0_BINS - 2] == 1 && m.l0[QSR_L0_BINS - 1] == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_two_by_two_example_explains_80_percent),
        cmocka_unit_test(predicting_the_mean_gives_fvu_one),
        cmocka_unit_test(undefined_values_are_nan),
        cmocka_unit_test(codes_are_counted_by_what_is_not_zero),
        cmocka_unit_test(published_description_lengths),
        cmocka_unit_test(any_number_of_rows_gives_the_plain_formulas),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(sums_are_overwritten_by_each_tile),
        cmocka_unit_test(tiles_out_of_order_are_refused),
        cmocka_unit_test(model_space_features_keep_the_pythagorean_case),
        cmocka_unit_test(coherence_lb_stays_a_bound_in_float32),
        cmocka_unit_test(histogram_bins_are_quarters_of_a_decade),
        cmocka_unit_test(the_last_bin_of_l0_takes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

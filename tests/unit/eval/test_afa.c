/* AFA diagnostics: the published medians from the published tokens, and which of the two lower bounds is one. */
#include "eval/afa.h"

#include "../unit.h"
#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "eval/statistics.h"

enum { LAYERS = 12, PER_LAYER = 1000, PAPER_WIDTH = 24576 };

/* Rounds half up to five significant digits, then to `places` decimals: how the printed medians came about (layer 11's
 * 21.50459 was printed as 21.51, by way of 21.505). */
static double printed(double value, int places)
{
    double five = pow(10, 4 - floor(log10(value))), last = pow(10, places);
    return floor(floor(value * five + 0.5) / five * last + 0.5 + 1e-9) / last;
}

static void medians_are_the_published_ones(void **state)
{
    (void)state;
    static const double epsilon_printed[LAYERS] = {2.39,  2.44,  6.07,  9.78,  13.63, 16.86,
                                                   20.46, 22.71, 24.87, 24.70, 21.51, 11.66};
    static const double nmse_printed[LAYERS] = {.00097, .0121, .0167, .0289, .0430, .0545,
                                                .0663,  .0774, .0840, .0915, .1051, .0818};
    /* The same medians with all their digits, computed independently. */
    static const double epsilon_known[LAYERS] = {2.39157,  2.44084,  6.06595,  9.78048,  13.63438, 16.85788,
                                                 20.45746, 22.70890, 24.86692, 24.69714, 21.50459, 11.66351};
    qsr_arena arena = {0};
    qsr_error e = {0};
    char *text, *at;
    size_t count[LAYERS] = {0};
    double *epsilon = qsr_arena_alloc(&arena, LAYERS * PER_LAYER, sizeof *epsilon);
    double *nmse = qsr_arena_alloc(&arena, LAYERS * PER_LAYER, sizeof *nmse);
    const char *path = qsr_path_join(&arena, getenv("QUASAR_SOURCE"), "tests/golden/paper/gpt2_tokens.csv");
    assert_int_equal(qsr_read_file(&arena, path, 1 << 20, &text, NULL, &e), QSR_OK);
    at = strchr(text, '\n');
    while (at && at[1]) {
        int layer;
        double ztz, ftf, norm_z, norm_f, norm_z_hat, l_recon;
        assert_int_equal(
            sscanf(at + 1, "%d,%lf,%lf,%lf,%lf,%lf,%lf", &layer, &ztz, &ftf, &norm_z, &norm_f, &norm_z_hat, &l_recon), 7);
        assert_in_range(layer, 1, LAYERS);
        size_t i = count[layer - 1]++;
        assert_true(i < PER_LAYER);
        assert_close(norm_z * norm_z / ztz, 1, 1e-6); /* both are float32: the norm's rounding counts twice */
        assert_close(norm_f * norm_f / ftf, 1, 1e-6);
        epsilon[(size_t)(layer - 1) * PER_LAYER + i] = qsr_afa_epsilon_lbo(ztz, ftf, PAPER_WIDTH);
        nmse[(size_t)(layer - 1) * PER_LAYER + i] = qsr_afa_token_nmse(l_recon, ztz);
        at = strchr(at + 1, '\n');
    }
    for (size_t layer = 0; layer < LAYERS; layer++) {
        assert_int_equal(count[layer], PER_LAYER);
        double epsilon_median = 1e6 * qsr_median(epsilon + layer * PER_LAYER, PER_LAYER);
        double nmse_median = qsr_median(nmse + layer * PER_LAYER, PER_LAYER);
        assert_true(fabs(epsilon_median - epsilon_known[layer]) <= 5.0001e-6);
        assert_close(printed(epsilon_median, 2), epsilon_printed[layer], 1e-12);
        assert_close(printed(nmse_median, layer ? 4 : 5), nmse_printed[layer], 1e-12);
    }
    qsr_arena_free(&arena);
}

static void formulas_at_their_edges(void **state)
{
    (void)state;
    assert_close(qsr_afa_epsilon_lbo(3, 2, 11), 0.05, 1e-15);
    assert_close(qsr_afa_epsilon_lbo(1, 2, 11), 0.05, 1e-15);
    assert_true(qsr_afa_epsilon_lbo(3, 0, 11) == INFINITY && qsr_afa_epsilon_lbo(0, 0, 11) == INFINITY);
    assert_true(isnan(qsr_afa_epsilon_lbo(3, 2, 1)));
    assert_close(qsr_afa_norm_ratio(9, 4), 2.0 / 3, 1e-15);
    assert_true(isnan(qsr_afa_norm_ratio(0, 4)) && isnan(qsr_afa_token_nmse(1, 0)));
    assert_true(isnan(qsr_afa_coherence_lb(1, (qsr_afa_features){0, 0})));       /* no direction */
    assert_true(isnan(qsr_afa_coherence_lb(9, (qsr_afa_features){3, 9})));       /* one */
    assert_close(qsr_afa_coherence_lb(49, (qsr_afa_features){7, 25}), 1, 1e-15); /* 3 and 4, parallel */
    assert_close(qsr_afa_coherence_lb(25, (qsr_afa_features){7, 25}), 0, 1e-15); /* orthogonal */
}

static void features_count_decoder_norms_and_the_bias(void **state)
{
    (void)state;
    const uint32_t latent[] = {1, 3};
    const float value[] = {2, -3}, dec_norm[] = {9, 0.5f, 9, 2};
    qsr_afa_features f = qsr_afa_features_of(latent, value, 2, dec_norm, 4);
    assert_close(f.sum, 1 + 6 + 4, 1e-15);
    assert_close(f.square, 1 + 36 + 16, 1e-15);
    f = qsr_afa_features_of(NULL, NULL, 0, dec_norm, 0);
    assert_true(f.sum == 0 && f.square == 0);
}

static void zf_lines_are_where_epsilon_is_exactly_that(void **state)
{
    (void)state;
    const double e[] = {0.25, 0.5, 1};
    for (size_t i = 0; i < 3; i++) {
        double low = qsr_afa_zf_lower(7, e[i]), high = qsr_afa_zf_upper(7, e[i]);
        assert_close(qsr_afa_epsilon_lbo(49, low * low, 101) * 100, e[i], 1e-14);
        assert_true(low < 7);
        if (e[i] < 1) {
            assert_close(qsr_afa_epsilon_lbo(49, high * high, 101) * 100, e[i], 1e-14);
            assert_true(high > 7);
        } else {
            assert_true(isnan(high));
        }
    }
}

/* ---- which one is a bound ---------------------------------------------------------------------------------------- */

enum { D = 12, N = 9 }; /* N - 1 latents; the last direction is b_dec */

typedef struct {
    double w[N][D], norm[N], f[N], x_hat[D];
} decoder;

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < D; i++) sum += a[i] * b[i];
    return sum;
}

/* Directions of many kinds: random, nearly parallel, opposite, orthogonal; codes with a few giants, with signs, with gaps. */
static void draw(decoder *m, const qsr_rng *rng, uint64_t *at)
{
    uint64_t kind = qsr_rng_below(rng, (*at)++, 4);
    for (size_t j = 0; j < N; j++)
        for (size_t i = 0; i < D; i++) {
            double noise = qsr_rng_normal(rng, (*at)++);
            if (kind == 0) m->w[j][i] = noise;
            if (kind == 1) m->w[j][i] = (j % 2 ? 1 : -1) * (double)(i + 1) + 1e-3 * noise;
            if (kind == 2) m->w[j][i] = i == j ? 1 + fabs(noise) : 0;
            if (kind == 3) m->w[j][i] = (i == j) + 0.05 * noise;
        }
    memset(m->x_hat, 0, sizeof m->x_hat);
    for (size_t j = 0; j < N; j++) {
        double size = pow(10, 3 * qsr_rng_unit(rng, *at + 1) - 1.5);
        m->norm[j] = sqrt(dot(m->w[j], m->w[j]));
        m->f[j] = qsr_rng_unit(rng, *at) < 0.3 ? 0 : (qsr_rng_unit(rng, *at + 2) < 0.2 ? -size : size);
        if (j == N - 1) m->f[j] = 1;
        *at += 3;
        for (size_t i = 0; i < D; i++) m->x_hat[i] += m->f[j] * m->w[j][i];
    }
}

static double largest_cosine(const decoder *m)
{
    double largest = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < i; j++) largest = fmax(largest, fabs(dot(m->w[i], m->w[j])) / m->norm[i] / m->norm[j]);
    return largest;
}

static void coherence_lb_is_a_bound_and_epsilon_lbo_is_not(void **state)
{
    (void)state;
    qsr_rng rng = qsr_rng_make(7, "test/afa");
    uint64_t at = 0, tight = 0, broken = 0, defined = 0;
    for (int trial = 0; trial < 4000; trial++) {
        decoder m;
        draw(&m, &rng, &at);
        double sum = 0, square = 0, z[D], largest = largest_cosine(&m);
        for (size_t j = 0; j < N; j++) {
            sum += fabs(m.f[j]) * m.norm[j];
            square += m.f[j] * m.f[j] * m.norm[j] * m.norm[j];
        }
        for (size_t i = 0; i < D; i++) z[i] = m.x_hat[i] + 0.5 * qsr_rng_normal(&rng, at++);
        double lb = qsr_afa_coherence_lb(dot(m.x_hat, m.x_hat), (qsr_afa_features){sum, square});
        if (!isnan(lb)) {
            assert_true(lb <= largest + 1e-9); /* sums in double, quotient above 2^-16 */
            defined++;
            tight += lb > 0.9 * largest;
        }
        broken += qsr_afa_epsilon_lbo(dot(z, z), square, N - 1) > largest + 1e-9;
    }
    assert_true(defined > 3500 && tight > 100); /* the bound is neither rare nor idle */
    assert_true(broken > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians_are_the_published_ones),
        cmocka_unit_test(formulas_at_their_edges),
        cmocka_unit_test(features_count_decoder_norms_and_the_bias),
        cmocka_unit_test(zf_lines_are_where_epsilon_is_exactly_that),
        cmocka_unit_test(coherence_lb_is_a_bound_and_epsilon_lbo_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

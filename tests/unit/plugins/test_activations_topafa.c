/* topafa against the definition: sort everything, argmin in double. Once by itself, and once with the passes of a host. */
#include "../unit.h"

#include "../fake_host.h"
#include "math/prefix.h"

struct item {
    double s;
    uint32_t latent;
};

static int larger_first(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->s != y->s) return x->s < y->s ? 1 : -1;
    return x->latent < y->latent ? -1 : x->latent > y->latent;
}

/* kept[d] = whether the latent stays; returns how many do. */
static size_t brute_force(const float *pre, const float *norm, size_t d, double n, uint8_t *kept)
{
    struct item *item = malloc(d * sizeof *item);
    double *c = malloc(d * sizeof *c), sum = 0;
    assert_true(item && c);
    size_t m = 0, best = 0;
    for (size_t j = 0; j < d; j++)
        if (pre[j] > 0) item[m++] = (struct item){(double)pre[j] * norm[j] * ((double)pre[j] * norm[j]), (uint32_t)j};
    qsort(item, m, sizeof *item, larger_first);
    for (size_t i = 0; i < m; i++) c[i] = sqrt(sum += item[i].s);
    for (size_t i = 1; i < m; i++)
        if (fabs(c[i] - n) < fabs(c[best] - n)) best = i;
    if (m && c[m - 1] <= n) best = m - 1;
    memset(kept, 0, d);
    for (size_t i = 0; m && i <= best; i++) kept[item[i].latent] = 1;
    free(item);
    free(c);
    return m ? best + 1 : 0;
}

static const qsr_shape shape = {.struct_size = sizeof shape, .d_in = 4, .d_sae = 4, .batch_rows = 4};

static qsr_status forward(fake_made *made, const float *pre, const float *norm, size_t rows, size_t d, const double *n,
                          qsr_code *code)
{
    const qsr_activation_ops *ops = made->ops;
    const qsr_rows in = {.struct_size = sizeof in,
                         .mode = QSR_TRAIN,
                         .rows = rows,
                         .d_sae = d,
                         .d_in = 4,
                         .batch_rows = rows,
                         .pre = pre,
                         .ld_pre = d,
                         .input_norm = n,
                         .dec_norm = norm};
    const qsr_status status = ops->forward(made->instance, &in, code);
    fake_host_end_call(made->host);
    return status;
}

/* Returns how many latents stay. */
static size_t check_row(fake_made *made, const float *pre, const float *norm, size_t d, double n)
{
    qsr_code *code = fake_code_create(1, d, 0);
    uint8_t *kept = malloc(d);
    assert_non_null(kept);
    const size_t expected = brute_force(pre, norm, d, n, kept);
    assert_int_equal(forward(made, pre, norm, 1, d, &n, code), QSR_OK);
    assert_int_equal(code->row_begin[1], expected);
    size_t i = 0;
    for (size_t j = 0; j < d; j++) {
        if (!kept[j]) continue;
        assert_int_equal(code->latent[i], j);
        assert_true(code->value[i++] == pre[j]);
    }
    fake_code_free(code);
    free(kept);
    return expected;
}

static qsr_status nearest_norm(const qsr_host *host, const float *v, const float *weight, size_t n, double target, float *guess,
                               uint32_t *index, float *value, size_t *ret_count)
{
    *ret_count = qsr_prefix(v, weight, n, target, guess, host->scratch(host, qsr_prefix_scratch(n), 1), index, value);
    return *ret_count == SIZE_MAX ? QSR_E_NUMERIC : QSR_OK;
}

static const qsr_host_passes passes = {.struct_size = sizeof passes, .nearest_norm = nearest_norm};
static const qsr_host_passes *offered; /* NULL in the first round */

static fake_made make(void)
{
    const qsr_plugin *plugin = fake_plugin("activations", "topafa");
    return fake_make_with(plugin, &shape, fake_options(plugin, NULL), offered);
}

static void equals_brute_force_on_random_rows(void **state)
{
    (void)state;
    static const size_t widths[] = {1, 2, 7, 64, 500, 3000};
    fake_made made = make();
    float *pre = malloc(3000 * sizeof *pre), *norm = malloc(3000 * sizeof *norm);
    assert_true(pre && norm);
    for (uint64_t seed = 0; seed < 240; seed++) {
        const size_t d = widths[seed % 6];
        double total = 0;
        for (size_t j = 0; j < d; j++) {
            pre[j] = (float)(fake_normal(seed, j) * exp(4 * fake_uniform(seed + 1000, j)));
            norm[j] = (float)(0.5 + fake_uniform(seed + 2000, j));
            if (pre[j] > 0) total += (double)pre[j] * norm[j] * pre[j] * norm[j];
        }
        check_row(&made, pre, norm, d, sqrt(total) * 1.2 * fake_uniform(seed + 3000, 0));
    }
    free(pre);
    free(norm);
    fake_unmake(&made);
}

/* All s are small integers: c_i are exact roots, and targets can sit on them, on midpoints and on the total. */
static void equals_brute_force_on_ties(void **state)
{
    (void)state;
    enum { WIDTH = 300 };
    fake_made made = make();
    float pre[WIDTH], norm[WIDTH];
    size_t fewest = WIDTH, most = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        double sum = 0;
        for (size_t j = 0; j < WIDTH; j++) {
            pre[j] = (float)floor(4 * fake_uniform(seed, j)) - 1; /* -1, 0, 1, 2 */
            norm[j] = seed % 2 ? 1 : (float)(1 + floor(2 * fake_uniform(seed + 500, j)));
            if (pre[j] > 0) sum += (double)pre[j] * norm[j] * pre[j] * norm[j];
        }
        const double part = floor(sum * fake_uniform(seed + 900, 0)), next = sqrt(part) + sqrt(part + 1);
        const double targets[] = {sqrt(part), next / 2, sqrt(sum), nextafter(sqrt(sum), 0), nextafter(sqrt(sum), INFINITY)};
        for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
            const size_t kept = check_row(&made, pre, norm, WIDTH, targets[i]);
            fewest = kept < fewest ? kept : fewest;
            most = kept > most ? kept : most;
        }
    }
    assert_true(fewest < WIDTH / 10 && most > WIDTH / 3);
    fake_unmake(&made);
}

/* Targets within one double of where the decision changes: sums in another order would decide otherwise. */
static void equals_brute_force_within_rounding_of_every_decision(void **state)
{
    (void)state;
    enum { WIDTH = 400 };
    fake_made made = make();
    float pre[WIDTH], norm[WIDTH];
    for (uint64_t seed = 0; seed < 4; seed++) {
        struct item item[WIDTH];
        double c[WIDTH], sum = 0;
        size_t m = 0;
        for (size_t j = 0; j < WIDTH; j++) {
            pre[j] = (float)fake_normal(seed, j);
            norm[j] = (float)(0.5 + fake_uniform(seed, j));
            if (pre[j] > 0) item[m++] = (struct item){pow((double)pre[j] * norm[j], 2), (uint32_t)j};
        }
        qsort(item, m, sizeof *item, larger_first);
        for (size_t i = 0; i < m; i++) c[i] = sqrt(sum += item[i].s);
        for (size_t i = 0; i < m; i++) {
            const double middle = i ? (c[i - 1] + c[i]) / 2 : c[i], targets[] = {middle, c[i]};
            for (size_t t = 0; t < 2; t++) {
                check_row(&made, pre, norm, WIDTH, targets[t]);
                check_row(&made, pre, norm, WIDTH, nextafter(targets[t], 0));
                check_row(&made, pre, norm, WIDTH, nextafter(targets[t], INFINITY));
            }
        }
    }
    fake_unmake(&made);
}

/* c does not move within a double's precision at the end of such rows, and argmin takes the first of equals. */
static void equals_brute_force_on_vanishing_tails(void **state)
{
    (void)state;
    enum { WIDTH = 200 };
    fake_made made = make();
    float pre[WIDTH], norm[WIDTH];
    for (uint64_t seed = 0; seed < 100; seed++) {
        for (size_t j = 0; j < WIDTH; j++) {
            pre[j] = (float)exp(-0.5 * (double)(j * 7919 % WIDTH));
            norm[j] = j % 11 ? 1 : 0;
        }
        double total = 0;
        for (size_t j = 0; j < WIDTH; j++) total += (double)pre[j] * norm[j] * pre[j] * norm[j];
        check_row(&made, pre, norm, WIDTH, sqrt(total) * (1 + 1e-15 * ((double)seed - 50)));
        check_row(&made, pre, norm, WIDTH, sqrt(total) * fake_uniform(seed, 1));
    }
    fake_unmake(&made);
}

static void handles_the_corner_rows(void **state)
{
    (void)state;
    fake_made made = make();
    const float norm[] = {1, 1, 1, 1}, none[] = {0, 0, 0, 0};
    const float negative[] = {-1, -2, -0.0f, 0}, row[] = {-1, 3, 4, 12};
    assert_int_equal(check_row(&made, negative, norm, 4, 2), 0);
    assert_int_equal(check_row(&made, row, norm, 4, 12.1), 1);
    assert_int_equal(check_row(&made, row, norm, 4, 12.7), 2); /* c = 12, 12.65, 13 */
    assert_int_equal(check_row(&made, row, norm, 4, 13), 3);
    assert_int_equal(check_row(&made, row, norm, 4, 1000), 3);
    assert_int_equal(check_row(&made, row, norm, 4, 5), 1); /* below c_1 / 2: none would be nearer, one stays */
    assert_int_equal(check_row(&made, row, norm, 4, 0), 1);
    assert_int_equal(check_row(&made, row, none, 4, 0), 3); /* c = 0 = n: all positive ones */
    assert_int_equal(check_row(&made, row, none, 4, 1), 3);
    const float pair[] = {2, 2, 2, 2};
    assert_int_equal(check_row(&made, pair, norm, 4, 2), 1);
    assert_int_equal(check_row(&made, pair, norm, 4, (2 + sqrt(8)) / 2), 1); /* the smaller count on a tie */
    fake_unmake(&made);
}

static void rows_do_not_touch_each_other(void **state)
{
    (void)state;
    enum { ROWS = 12, WIDTH = 80 };
    fake_made made = make();
    float pre[ROWS * WIDTH], norm[WIDTH];
    double n[ROWS];
    uint8_t kept[WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++) pre[i] = (float)fake_normal(9, i);
    for (size_t j = 0; j < WIDTH; j++) norm[j] = 1 + (float)j / WIDTH;
    for (size_t r = 0; r < ROWS; r++) n[r] = (double)r;
    qsr_code *code = fake_code_create(ROWS, WIDTH, 0);
    assert_int_equal(forward(&made, pre, norm, ROWS, WIDTH, n, code), QSR_OK);
    for (size_t r = 0; r < ROWS; r++) {
        const size_t count = brute_force(pre + r * WIDTH, norm, WIDTH, n[r], kept);
        assert_int_equal(code->row_begin[r + 1] - code->row_begin[r], count);
        for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++) assert_true(kept[code->latent[i]]);
    }
    fake_code_free(code);
    fake_unmake(&made);
}

static void refuses_norms_that_are_not_finite(void **state)
{
    (void)state;
    fake_made made = make();
    const float norm[] = {1, 1}, good[] = {1, 1}, bad[] = {1, INFINITY};
    const double n = 1, infinite = INFINITY;
    qsr_code *code = fake_code_create(1, 2, 0);
    assert_int_equal(forward(&made, bad, norm, 1, 2, &n, code), QSR_E_NUMERIC);
    assert_string_equal(made.host->error, "row 0 of the batch: the norm of its activations is not finite");
    assert_int_equal(forward(&made, good, norm, 1, 2, &infinite, code), QSR_E_NUMERIC);
    assert_string_equal(made.host->error, "row 0 of the batch: the norm of its input is not finite");
    fake_code_free(code);
    fake_unmake(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_brute_force_on_random_rows),
        cmocka_unit_test(equals_brute_force_on_ties),
        cmocka_unit_test(equals_brute_force_within_rounding_of_every_decision),
        cmocka_unit_test(equals_brute_force_on_vanishing_tails),
        cmocka_unit_test(handles_the_corner_rows),
        cmocka_unit_test(rows_do_not_touch_each_other),
        cmocka_unit_test(refuses_norms_that_are_not_finite),
    };
    const int failed = cmocka_run_group_tests_name("by itself", tests, NULL, NULL);
    offered = &passes;
    return failed + cmocka_run_group_tests_name("with the passes of a host", tests, NULL, NULL);
}

/* The synthetic dataset: what its option table promises, measured. Features are fewer than dimensions here, so that a row can be
 * solved for the features in it. Statistical limits are five standard errors; seeds are fixed. */
#include "../fake_host.h"
#include "../unit.h"

enum { ROWS = 20000, CHUNK = 500, MOST = 32 };

typedef struct {
    fake_host *fake;
    const qsr_plugin *plugin;
    const qsr_dataset_ops *ops;
    void *options;
    qsr_instance *instance;
    const float *features; /* [n][d_in] */
    size_t n, d_in;
    double inverse[MOST][MOST]; /* of the features' Gram matrix */
} subject;

static qsr_status make(subject *s, uint64_t seed, void *options)
{
    *s = (subject){.plugin = fake_plugin("datasets", "synthetic"), .options = options};
    s->ops = s->plugin->ops;
    s->fake = fake_host_create();
    s->fake->seed = seed;
    qsr_status status =
        s->plugin->create(&s->fake->host, &(qsr_shape){.struct_size = sizeof(qsr_shape)}, options, &s->instance);
    if (status) return status;
    const qsr_truth_ops *truth = s->plugin->extension(QSR_EXT_TRUTH);
    assert_int_equal(truth->get(s->instance, &s->features, &s->n, &s->d_in), QSR_OK);
    return QSR_OK;
}

static void drop(subject *s)
{
    if (s->plugin->destroy) s->plugin->destroy(s->instance);
    fake_host_free(s->fake);
    free(s->options);
}

#define OPTIONS(...) fake_options(fake_plugin("datasets", "synthetic"), __VA_ARGS__, NULL)

static void read_rows(const subject *s, uint64_t first, size_t n, float *out)
{
    uint64_t units[1024];
    for (size_t i = 0; i < n; i++) units[i] = first + i;
    assert_int_equal(s->ops->read(s->instance, units, n, out), QSR_OK);
}

/* Gauss-Jordan on [Gram | 1]; the Gram matrix of few random unit vectors is well conditioned. */
static void invert_gram(subject *s)
{
    static double a[MOST][2 * MOST];
    assert_true(s->n <= MOST);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->n; j++) {
            double dot = 0;
            for (size_t d = 0; d < s->d_in; d++) dot += (double)s->features[i * s->d_in + d] * s->features[j * s->d_in + d];
            a[i][j] = dot;
            a[i][s->n + j] = i == j;
        }
    for (size_t i = 0; i < s->n; i++) {
        double pivot = a[i][i];
        for (size_t j = 0; j < 2 * s->n; j++) a[i][j] /= pivot;
        for (size_t r = 0; r < s->n; r++) {
            double factor = a[r][i];
            for (size_t j = 0; r != i && j < 2 * s->n; j++) a[r][j] -= factor * a[i][j];
        }
    }
    for (size_t i = 0; i < s->n; i++) memcpy(s->inverse[i], &a[i][s->n], s->n * sizeof a[i][0]);
}

/* The magnitude of every feature in a row without noise. */
static void solve(const subject *s, const float *row, double *magnitude)
{
    double dot[MOST] = {0};
    for (size_t i = 0; i < s->n; i++)
        for (size_t d = 0; d < s->d_in; d++) dot[i] += (double)s->features[i * s->d_in + d] * row[d];
    for (size_t i = 0; i < s->n; i++) {
        magnitude[i] = 0;
        for (size_t j = 0; j < s->n; j++) magnitude[i] += s->inverse[i][j] * dot[j];
    }
}

/* Counts over ROWS rows: how often each feature fires, each pair fires together; sums of magnitudes. */
typedef struct {
    double fired[MOST], both[MOST][MOST], sum, squares;
} counts;

static void count(subject *s, counts *c)
{
    float *rows = malloc(CHUNK * s->d_in * sizeof *rows);
    *c = (counts){.sum = 0};
    invert_gram(s);
    for (size_t first = 0; first < ROWS; first += CHUNK) {
        read_rows(s, first, CHUNK, rows);
        for (size_t r = 0; r < CHUNK; r++) {
            double m[MOST];
            size_t on[MOST], n = 0;
            solve(s, rows + r * s->d_in, m);
            for (size_t i = 0; i < s->n; i++)
                if (m[i] > 1e-4) on[n++] = i, c->fired[i]++, c->sum += m[i], c->squares += m[i] * m[i];
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < n; j++) c->both[on[i]][on[j]]++;
        }
    }
    free(rows);
}

/* min(1, c w_i) with sum l0, by bisection on c: another way than the plugin's. */
static void expected_probabilities(size_t n, double l0, double exponent, double *p)
{
    double low = 0, high = 1e12;
    for (int step = 0; step < 200; step++) {
        double c = (low + high) / 2, sum = 0;
        for (size_t i = 0; i < n; i++) sum += p[i] = fmin(1, c * pow((double)i + 1, -exponent));
        if (sum < l0)
            low = c;
        else
            high = c;
    }
}

static void check_firing(subject *s, double l0, double exponent)
{
    counts c;
    double p[MOST], total = 0, variance = 0;
    count(s, &c);
    expected_probabilities(s->n, l0, exponent, p);
    for (size_t i = 0; i < s->n; i++) {
        double v = p[i] * (1 - p[i]) / ROWS;
        if (fabs(c.fired[i] / ROWS - p[i]) > 5 * sqrt(v) + 1e-12)
            fail_msg("feature %zu fires with %g, not %g", i, c.fired[i] / ROWS, p[i]);
        total += c.fired[i] / ROWS;
        variance += v;
    }
    assert_true(fabs(total - l0) <= 5 * sqrt(variance) + 1e-9);
}

static void fires_as_often_as_l0_says(void **state)
{
    (void)state;
    subject s;
    assert_int_equal(make(&s, 1, OPTIONS("d_in", "64", "features", "32", "l0", "3.5")), QSR_OK);
    check_firing(&s, 3.5, 0);
    drop(&s);
}

static void zipf_falls_with_the_index(void **state)
{
    (void)state;
    subject s;
    assert_int_equal(make(&s, 2, OPTIONS("d_in", "64", "features", "32", "l0", "1", "firing", "zipf")), QSR_OK);
    check_firing(&s, 1, 1);
    drop(&s);
}

static void clipped_probabilities_keep_the_sum(void **state)
{
    (void)state;
    subject s;
    assert_int_equal(make(&s, 3, OPTIONS("d_in", "64", "features", "32", "l0", "9", "firing", "zipf", "exponent", "2")),
                     QSR_OK);
    check_firing(&s, 9, 2);
    drop(&s);
    assert_int_equal(make(&s, 3, OPTIONS("d_in", "64", "features", "8", "l0", "8", "firing", "zipf", "exponent", "10")),
                     QSR_OK);
    check_firing(&s, 8, 0); /* all certain */
    drop(&s);
}

static double coefficient(const counts *c, size_t i, size_t j)
{
    double p = c->fired[i] / ROWS, q = c->fired[j] / ROWS;
    return (c->both[i][j] / ROWS - p * q) / sqrt(p * (1 - p) * q * (1 - q));
}

static void groups_fire_together(void **state)
{
    (void)state;
    subject s;
    counts c;
    void *options = OPTIONS("d_in", "64", "features", "30", "l0", "4", "correlation", "0.6", "group", "4");
    assert_int_equal(make(&s, 4, options), QSR_OK);
    check_firing(&s, 4, 0); /* the last group has only two members */
    count(&s, &c);
    for (size_t i = 0; i < s.n; i++)
        for (size_t j = 0; j < i; j++) {
            double expected = i / 4 == j / 4 ? 0.6 : 0;
            /* standard error of a correlation coefficient, generously: 1 / sqrt(N) times the kurtosis of rare events */
            if (fabs(coefficient(&c, i, j) - expected) > 5 * sqrt(2.5 / ROWS))
                fail_msg("features %zu and %zu: %g", i, j, coefficient(&c, i, j));
        }
    drop(&s);
}

static void correlation_one_binds_groups_entirely(void **state)
{
    (void)state;
    subject s;
    counts c;
    void *options = OPTIONS("d_in", "64", "features", "32", "l0", "5", "firing", "zipf", "correlation", "1", "group", "8");
    assert_int_equal(make(&s, 5, options), QSR_OK);
    check_firing(&s, 5, 1);
    count(&s, &c);
    for (size_t i = 0; i < s.n; i++) /* a rarer member never fires without the more frequent ones of its group */
        if (i % 8) assert_true(c.both[i][i - 1] == c.fired[i]);
    drop(&s);
}

static void magnitudes_have_their_mean_and_deviation(void **state)
{
    (void)state;
    subject s;
    counts c;
    double n = 0;
    assert_int_equal(make(&s, 6, OPTIONS("features", "16", "l0", "2", "magnitude", "3", "magnitude_std", "0.5")), QSR_OK);
    count(&s, &c);
    for (size_t i = 0; i < s.n; i++) n += c.fired[i];
    double mean = c.sum / n, variance = c.squares / n - mean * mean;
    assert_true(fabs(mean - 3) < 5 * 0.5 / sqrt(n));
    assert_true(fabs(variance - 0.25) < 5 * 0.25 * sqrt(2 / n));
    drop(&s);
}

static void noise_is_added_to_the_same_rows(void **state)
{
    (void)state;
    subject clean, noisy;
    static float a[1000 * 64], b[1000 * 64];
    double sum = 0, squares = 0, n = 1000 * 64;
    assert_int_equal(make(&clean, 7, OPTIONS("l0", "8")), QSR_OK);
    assert_int_equal(make(&noisy, 7, OPTIONS("l0", "8", "noise", "0.5")), QSR_OK);
    read_rows(&clean, 0, 1000, a);
    read_rows(&noisy, 0, 1000, b);
    for (size_t i = 0; i < 1000 * 64; i++) {
        double d = (double)b[i] - a[i];
        sum += d;
        squares += d * d;
    }
    assert_true(fabs(sum / n) < 5 * 0.5 / sqrt(n));
    assert_true(fabs(squares / n - 0.25) < 5 * 0.25 * sqrt(2 / n));
    drop(&clean);
    drop(&noisy);
}

static void features_are_unit_vectors_in_all_directions(void **state)
{
    (void)state;
    subject s;
    double mean[64] = {0}, square_of_mean = 0;
    assert_int_equal(make(&s, 8, OPTIONS("features", "2000")), QSR_OK);
    assert_int_equal(s.n, 2000);
    assert_int_equal(s.d_in, 64);
    for (size_t i = 0; i < s.n; i++) {
        double square = 0;
        for (size_t d = 0; d < 64; d++) {
            double v = s.features[i * 64 + d];
            square += v * v;
            mean[d] += v / 2000;
        }
        assert_close(square, 1, 1e-6); /* 64 float roundings of 6e-8 each */
    }
    for (size_t d = 0; d < 64; d++) square_of_mean += mean[d] * mean[d];
    assert_true(square_of_mean <
                1.0 / 2000 * (1 + 5 * sqrt(2.0 / 64))); /* 1/n in expectation, chi-squared with 64 degrees */
    drop(&s);
}

static void rows_are_a_pure_function_of_seed_and_index(void **state)
{
    (void)state;
    subject a, b, other;
    static float together[40 * 64], alone[64];
    const uint64_t units[] = {(uint64_t)1 << 48, 3, 0, UINT64_MAX - 1, 3, 17};
    assert_int_equal(make(&a, 9, OPTIONS("noise", "0.1", "correlation", "0.5")), QSR_OK);
    assert_int_equal(make(&b, 9, OPTIONS("noise", "0.1", "correlation", "0.5")), QSR_OK);
    assert_int_equal(make(&other, 10, OPTIONS("noise", "0.1", "correlation", "0.5")), QSR_OK);
    assert_int_equal(a.ops->read(a.instance, units, 6, together), QSR_OK);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(b.ops->read(b.instance, &units[i], 1, alone), QSR_OK);
        assert_memory_equal(alone, together + i * 64, sizeof alone);
        assert_int_equal(other.ops->read(other.instance, &units[i], 1, alone), QSR_OK);
        assert_memory_not_equal(alone, together + i * 64, sizeof alone);
    }
    assert_memory_not_equal(together, together + 64, sizeof alone);
    drop(&a);
    drop(&b);
    drop(&other);
}

static void describes_rows_without_end(void **state)
{
    (void)state;
    subject s;
    qsr_dataset_info info = {0};
    assert_int_equal(make(&s, 1, OPTIONS("d_in", "24")), QSR_OK);
    assert_int_equal(s.ops->describe(s.instance, &info), QSR_OK);
    assert_int_equal(info.d_in, 24);
    assert_true(info.units == UINT64_MAX);
    assert_int_equal(info.rows_per_unit, 1);
    assert_true(info.units_per_read >= 1);
    drop(&s);
}

static void refuses_options_that_contradict_each_other(void **state)
{
    (void)state;
    subject s;
    assert_int_equal(make(&s, 1, OPTIONS("features", "4", "l0", "4.5")), QSR_E_OPTION);
    assert_string_equal(s.fake->error, "l0=4.5 exceeds features=4");
    assert_string_equal(s.fake->option, "l0");
    drop(&s);
    assert_int_equal(make(&s, 1, OPTIONS("features", "4", "l0", "2", "group", "5", "correlation", "0.5")), QSR_E_OPTION);
    assert_string_equal(s.fake->error, "group=5 exceeds features=4");
    drop(&s);
}

static void survives_refused_memory(void **state)
{
    (void)state;
    const qsr_plugin *plugin = fake_plugin("datasets", "synthetic");
    void *options = fake_options(plugin, NULL);
    qsr_status status = QSR_E_NOMEM;
    size_t refuse = 0;
    while (status) {
        fake_host *fake = fake_host_create();
        qsr_instance *instance = NULL;
        fake->refuse_alloc = ++refuse;
        status = plugin->create(&fake->host, &(qsr_shape){.struct_size = sizeof(qsr_shape)}, options, &instance);
        assert_true(status == QSR_E_NOMEM || (status == QSR_OK && fake->allocs < refuse));
        fake_host_free(fake);
    }
    assert_true(refuse > 1);
    free(options);
}

static void options_are_documented(void **state)
{
    (void)state;
    const qsr_plugin *plugin = fake_plugin("datasets", "synthetic");
    for (size_t i = 0; i < plugin->n_options; i++) {
        const qsr_option *o = &plugin->options[i];
        assert_non_null(o->help);
        assert_non_null(o->def);
        assert_true((o->flags & QSR_OPT_RANGE) || o->choices);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_as_often_as_l0_says),
        cmocka_unit_test(zipf_falls_with_the_index),
        cmocka_unit_test(clipped_probabilities_keep_the_sum),
        cmocka_unit_test(groups_fire_together),
        cmocka_unit_test(correlation_one_binds_groups_entirely),
        cmocka_unit_test(magnitudes_have_their_mean_and_deviation),
        cmocka_unit_test(noise_is_added_to_the_same_rows),
        cmocka_unit_test(features_are_unit_vectors_in_all_directions),
        cmocka_unit_test(rows_are_a_pure_function_of_seed_and_index),
        cmocka_unit_test(describes_rows_without_end),
        cmocka_unit_test(refuses_options_that_contradict_each_other),
        cmocka_unit_test(survives_refused_memory),
        cmocka_unit_test(options_are_documented),
    };
    return cmocka_run_group_tests_name("synthetic", tests, NULL, NULL);
}

/* Caches: training from one gives the bytes of training from the dataset that filled it, however its shards are cut; a cache that was
 * interrupted or damaged ends with the bytes of an undisturbed one; 16 bits round as they should; a reader of a growing cache waits. */
#include "../unit.h"

#include <sys/wait.h>
#include <unistd.h>

#include "../bench.h"
#include "lab/cache.h"

#define OUTPUTS "train: {tokens: 1500, batch: 100, log_every: 1}\neval: {tokens: 230}\n"

static qsr_arena arena;

static const char *in_folder(const char *name) { return qsr_path_join(&arena, test_folder(), name); }

static qsr_spec *live_spec(const char *dataset)
{
    return bench_spec("name: live\ndataset: {plugin: %s}\nactivation: {plugin: topk, k: 3}\nsae: {d_sae: 40}\n" OUTPUTS,
                      dataset);
}

static qsr_spec *cached_spec(const char *folder, const char *options)
{
    return bench_spec("name: cached\ndataset: {plugin: activations, cache: %s%s}\nactivation: {plugin: topk, k: 3}\n"
                      "sae: {d_sae: 40}\n" OUTPUTS,
                      folder, options);
}

/* Fills a cache; returns the status, with *e set. */
static qsr_status fill(const qsr_spec *const *specs, size_t n, const char *folder, qsr_dtype dtype, size_t shard_bytes,
                       const volatile sig_atomic_t *stop, qsr_error *e)
{
    const qsr_cache_options options = {
        .out = folder, .dtype = dtype, .shard_bytes = shard_bytes, .pool = bench_pool(2), .stop = stop};
    qsr_problems problems = {0};
    qsr_cache_job job;
    qsr_status status = qsr_cache_job_open(specs, n, &options, &job, &problems, e);
    if (!status) {
        status = qsr_cache_job_run(&job, e);
        qsr_cache_job_close(&job);
    }
    qsr_problems_free(&problems);
    return status;
}

static void fill_well(const qsr_spec *spec, const char *folder, qsr_dtype dtype, size_t shard_bytes)
{
    qsr_error e = {0};
    if (fill(&spec, 1, folder, dtype, shard_bytes, NULL, &e)) fail_msg("%s", e.text);
}

static void same_runs(const char *a, const char *b)
{
    static const char *const files[] = {"metrics.jsonl", "tokens.csv", "latents.csv", "sae/sae_weights.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) bench_same_file(a, b, files[i]);
}

static void training_from_a_cache_is_training_live(void **state)
{
    (void)state;
    static const struct {
        const char *dataset, *options; /* of the host, for both */
        size_t shard_bytes;
    } cases[] = {
        {"counted, d_in: 12, index: false, units: 900", "", 5000},
        {"counted, d_in: 12, index: false, units: 900", "", 1 << 20},
        {"counted, d_in: 12, index: false, units: 300, rows_per_unit: 5, units_per_read: 7", ", skip_first: 1, buffer: 333",
         1},
        {"counted, d_in: 12, index: false, units: 300, rows_per_unit: 5", ", skip_first: 2, shuffle: false", 10000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[32];
        snprintf(folder, sizeof folder, "equal-%zu", i);
        qsr_spec *live = live_spec(qsr_arena_printf(&arena, "%s%s", cases[i].dataset, cases[i].options));
        fill_well(live, in_folder(folder), QSR_F32, cases[i].shard_bytes);
        qsr_spec *from = cached_spec(in_folder(folder), cases[i].options);
        const qsr_run_summary a = bench_run(live, folder + 1, bench_pool(1)),
                              b = bench_run(from, folder + 1, bench_pool(3));
        assert_int_equal(a.outcome, QSR_RUN_COMPLETED);
        assert_int_equal(b.outcome, QSR_RUN_COMPLETED);
        same_runs(a.folder, b.folder);
        qsr_spec_free(live);
        qsr_spec_free(from);
    }
}

/* ---- interrupted, damaged --------------------------------------------------------------------------------------- */

static const char *const shard_2 = "shard-000002.safetensors";

static void a_cache_ends_with_the_same_bytes_whatever_happened(void **state)
{
    (void)state;
    qsr_spec *spec = live_spec("counted, d_in: 12, index: false, units: 400, rows_per_unit: 4, skip_first: 1");
    const char *whole = in_folder("whole"), *broken = in_folder("broken");
    volatile sig_atomic_t stop = 1;
    qsr_error e = {0};
    fill_well(spec, whole, QSR_F32, 20000);
    assert_int_equal(fill(&(const qsr_spec *){spec}, 1, broken, QSR_F32, 20000, &stop, &e), QSR_END);
    assert_true(qsr_cache_exists(broken));
    assert_false(qsr_exists(qsr_cache_shard_file(&arena, broken, 0)));
    fill_well(spec, broken, QSR_F32, 20000);
    bench_same_file(whole, broken, "cache.json");
    for (int damage = 0; damage < 3; damage++) {
        const char *path = qsr_path_join(&arena, broken, shard_2);
        if (damage == 0) unlink(path);
        if (damage == 1) assert_int_equal(truncate(path, 1000), 0);
        if (damage == 2) assert_ok(qsr_write_file(path, "rubbish", 7, NULL));
        assert_ok(qsr_write_file(qsr_path_join(&arena, broken, "shard-000007.safetensors.tmp-1"), "x", 1,
                                 NULL)); /* of a killed writer */
        fill_well(spec, broken, QSR_F32, 20000);
        bench_same_file(whole, broken, "cache.json");
        bench_same_file(whole, broken, shard_2);
        assert_false(qsr_exists(qsr_path_join(&arena, broken, "shard-000007.safetensors.tmp-1")));
    }
    qsr_spec_free(spec);
}

static void another_cache_is_not_overwritten(void **state)
{
    (void)state;
    static const char *const others[] = {"counted, d_in: 12, index: false, units: 401",
                                         "counted, d_in: 12, index: true, units: 400",
                                         "counted, d_in: 12, index: false, units: 400, seed: 1"};
    static const char *const why[] = {"units=400 there, 401 here", "index=false there, true here", "seed=0 there, 1 here"};
    qsr_spec *spec = live_spec("counted, d_in: 12, index: false, units: 400");
    const char *folder = in_folder("mine");
    fill_well(spec, folder, QSR_F32, 20000);
    for (size_t i = 0; i < 3; i++) {
        qsr_spec *other = live_spec(others[i]);
        qsr_error e = {0};
        assert_int_equal(fill(&(const qsr_spec *){other}, 1, folder, QSR_F32, 20000, NULL, &e), QSR_E_INPUT);
        assert_string_equal(
            e.text,
            qsr_arena_printf(&arena, "%s holds another cache (%s): choose another folder, or delete it", folder, why[i]));
        qsr_spec_free(other);
    }
    qsr_error e = {0};
    assert_int_equal(fill(&(const qsr_spec *){spec}, 1, folder, QSR_F16, 20000, NULL, &e), QSR_E_INPUT);
    assert_non_null(strstr(e.text, "dtype=F32 there, F16 here"));
    qsr_spec_free(spec);
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static void sixteen_bits_are_the_rounded_rows(void **state)
{
    (void)state;
    static const qsr_dtype dtypes[] = {QSR_F16, QSR_BF16};
    qsr_spec *spec = live_spec("counted, d_in: 12, index: false, units: 300, rows_per_unit: 2");
    qsr_dataset live, cached;
    uint64_t units[300];
    float *rows = calloc(300 * 24, sizeof *rows), *want = calloc(300 * 24, sizeof *want);
    for (size_t u = 0; u < 300; u++) units[u] = 299 - u;
    assert_ok(qsr_dataset_open(spec, bench_pool(2), &live, NULL));
    assert_ok(qsr_dataset_read(&live, units, 300, rows, NULL));
    for (size_t i = 0; i < 2; i++) {
        const char *folder = in_folder(qsr_dtype_name(dtypes[i]));
        uint16_t *bits = calloc(300 * 24, sizeof *bits);
        fill_well(spec, folder, dtypes[i], 3000);
        qsr_spec *from = cached_spec(folder, "");
        assert_ok(qsr_dataset_open(from, bench_pool(2), &cached, NULL));
        qsr_from_float(dtypes[i], rows, 300 * 24, bits);
        qsr_to_float(dtypes[i], bits, 300 * 24, want);
        float *got = calloc(300 * 24, sizeof *got);
        assert_ok(qsr_dataset_read(&cached, units, 300, got, NULL));
        assert_memory_equal(got, want, 300 * 24 * sizeof *got);
        qsr_dataset_close(&cached);
        qsr_spec_free(from);
        free(bits);
        free(got);
    }
    qsr_dataset_close(&live);
    qsr_spec_free(spec);
    free(rows);
    free(want);
}

static void the_mean_norm_is_that_of_the_rows_that_are_kept(void **state)
{
    (void)state;
    qsr_spec *spec = live_spec(
        "counted, d_in: 1, index: true, units: 100, rows_per_unit: 4, skip_first: 1, drop_begin: 0, drop_end: 40");
    const char *folder = in_folder("norm");
    qsr_cache cache;
    double sum = 0;
    fill_well(spec, folder, QSR_F32, 100);
    for (size_t row = 40; row < 400; row++) sum += row % 4 ? (double)row : 0;
    assert_ok(qsr_cache_open(folder, &cache, NULL));
    assert_int_equal(json_integer_value(json_object_get(cache.root, "rows")), 400);
    assert_int_equal(json_integer_value(json_object_get(cache.root, "rows_kept")), 270);
    assert_close(json_number_value(json_object_get(cache.root, "mean_norm")), sum / 270, 1e-12); /* both sums in double */
    qsr_cache_close(&cache);
    qsr_spec_free(spec);
}

/* ---- growing ---------------------------------------------------------------------------------------------------- */

/* A child fills the cache; the parent opens it as soon as its cache.json is there and must get every row. */
static void a_growing_cache_can_be_read(void **state)
{
    (void)state;
    const char *folder = in_folder("growing");
    const pid_t child = fork();
    if (child == 0) {
        qsr_spec *spec = live_spec("counted, d_in: 12, index: false, units: 20000");
        qsr_cache_options options = {
            .out = folder, .dtype = QSR_F32, .shard_bytes = 5000}; /* no pool: no threads after a fork */
        qsr_problems problems = {0};
        qsr_cache_job job;
        qsr_error e = {0};
        _exit(qsr_cache_job_open(&(const qsr_spec *){spec}, 1, &options, &job, &problems, &e) ||
              qsr_cache_job_run(&job, &e));
    }
    int code = 0;
    while (!qsr_cache_exists(folder)) {
        if (waitpid(child, &code, WNOHANG) == child) fail_msg("the writer ended (state %d) before it began", code);
        usleep(1000);
    }
    qsr_spec *from = cached_spec(folder, ", buffer: 500"),
             *live = live_spec("counted, d_in: 12, index: false, units: 20000, buffer: 500");
    qsr_dataset cached, direct;
    qsr_error e = {0};
    if (qsr_dataset_open(from, bench_pool(2), &cached, &e)) fail_msg("%s", e.text);
    assert_ok(qsr_dataset_open(live, bench_pool(2), &direct, NULL));
    assert_true(cached.train_units == direct.train_units && cached.held_first == direct.held_first);
    uint64_t *units = calloc(20000, sizeof *units);
    float *got = calloc(20000 * 12, sizeof *got), *want = calloc(20000 * 12, sizeof *want);
    for (size_t u = 0; u < 20000; u++) units[u] = u;
    if (qsr_dataset_read(&cached, units, 20000, got, &e)) fail_msg("%s", e.text);
    assert_ok(qsr_dataset_read(&direct, units, 20000, want, NULL));
    assert_memory_equal(got, want, 20000 * 12 * sizeof *got);
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
    qsr_dataset_close(&cached);
    qsr_dataset_close(&direct);
    qsr_spec_free(from);
    qsr_spec_free(live);
    free(units);
    free(got);
    free(want);
}

static int end(void **state)
{
    (void)state;
    qsr_arena_free(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_growing_cache_can_be_read), /* first: it forks, and no pool may have threads yet */
        cmocka_unit_test(training_from_a_cache_is_training_live),
        cmocka_unit_test(a_cache_ends_with_the_same_bytes_whatever_happened),
        cmocka_unit_test(another_cache_is_not_overwritten),
        cmocka_unit_test(sixteen_bits_are_the_rounded_rows),
        cmocka_unit_test(the_mean_norm_is_that_of_the_rows_that_are_kept),
    };
    int failures = cmocka_run_group_tests_name("caches", tests, NULL, end);
    bench_end();
    return failures;
}

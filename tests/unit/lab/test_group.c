/* Cells that share a stream, met in every state: finished, interrupted, fresh. Whatever the others are, each ends as it would
 * alone. */
#include "../unit.h"

#include <math.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "../bench.h"
#include "base/clock.h"
#include "base/fs.h"
#include "data/feed.h"
#include "format/npy.h"
#include "lab/forecast.h"
#include "lab/run.h"

static const char *const result_files[] = {"metrics.jsonl", "result.json", "tokens.csv", "latents.csv", "top_contexts.jsonl", "sae/sae_weights.safetensors"};

static qsr_spec *make_spec(int k)
{
    return bench_spec("name: group\ndataset: {plugin: synthetic, d_in: 12, features: 20, buffer: 500}\nsae: {d_sae: 30}\n"
                      "activation: {plugin: topk, k: %d}\ntrain: {tokens: 400, batch: 50, log_every: 1}\neval: {tokens: 300}\n",
                      k);
}

/* Below this program's own test_folder(), which is another one than bench.c's. */
static qsr_status run_on(unsigned threads, const qsr_spec *const *specs, size_t n, const qsr_run_options *more, const char *out,
                         qsr_run_summary *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_run_options options = *more;
    qsr_problems problems = {0};
    options.out = qsr_path_join(&arena, test_folder(), out);
    options.pool = bench_pool(threads);
    options.registry = bench_registry();
    qsr_status status = qsr_lab_run(specs, n, &options, ret, &problems, e);
    qsr_problems_free(&problems);
    qsr_arena_free(&arena);
    return status;
}

static qsr_status run_cells(const qsr_spec *const *specs, size_t n, const qsr_run_options *more, const char *out,
                            qsr_run_summary *ret, qsr_error *e)
{
    return run_on(2, specs, n, more, out, ret, e);
}

static qsr_run_summary run_one(const qsr_spec *spec, const char *out)
{
    qsr_run_summary summary;
    qsr_error e = {0};
    if (run_cells(&spec, 1, &(qsr_run_options){0}, out, &summary, &e)) fail_msg("%s", e.text);
    return summary;
}

static void a_finished_cell_keeps_no_other_from_starting(void **state)
{
    (void)state;
    const qsr_spec *specs[] = {make_spec(3), make_spec(5)};
    qsr_run_summary alone[2] = {run_one(specs[0], "first"), run_one(specs[1], "second")}, both[2];
    qsr_error e = {0};
    assert_ok(run_cells(specs, 2, &(qsr_run_options){0}, "first", both, &e));
    assert_int_equal(both[0].outcome, QSR_RUN_SKIPPED);
    assert_int_equal(both[1].outcome, QSR_RUN_COMPLETED);
    for (size_t f = 0; f < sizeof result_files / sizeof *result_files; f++)
        bench_same_file(alone[1].folder, both[1].folder, result_files[f]);
    for (size_t i = 0; i < 2; i++) qsr_spec_free((qsr_spec *)(uintptr_t)specs[i]);
}

static volatile sig_atomic_t stop;

static void stop_at_last_step(void *ctx, const qsr_spec *spec, const qsr_step_report *report)
{
    (void)ctx, (void)spec;
    if (report->step == 7) stop = 1;
}

static void a_stop_before_the_evaluation_is_an_interruption(void **state)
{
    (void)state;
    const qsr_spec *spec = make_spec(4);
    qsr_run_summary whole = run_one(spec, "whole"), now;
    qsr_error e = {0};
    stop = 0;
    assert_ok(run_cells(&spec, 1, &(qsr_run_options){.stop = &stop, .watcher = {.step = stop_at_last_step}}, "stopped", &now, &e));
    assert_int_equal(now.outcome, QSR_RUN_INTERRUPTED);
    assert_ok(run_cells(&spec, 1, &(qsr_run_options){0}, "stopped", &now, &e));
    assert_int_equal(now.outcome, QSR_RUN_COMPLETED);
    assert_true(now.resumed);
    for (size_t f = 0; f < sizeof result_files / sizeof *result_files; f++)
        bench_same_file(whole.folder, now.folder, result_files[f]);
    qsr_spec_free((qsr_spec *)(uintptr_t)spec);
}

/* A file of `rows` rows of 4 numbers, the last of them not finite if `bad`; returns its path, in the arena. */
static const char *write_rows(qsr_arena *arena, const char *name, size_t rows, bool bad)
{
    const char *path = qsr_path_join(arena, test_folder(), name);
    float *v = qsr_arena_alloc(arena, rows * 4, sizeof *v);
    bench_normal(v, rows * 4, rows, 1);
    if (bad) v[5] = INFINITY;
    assert_ok(qsr_npy_write(path, QSR_F32, 2, (size_t[]){rows, 4}, v, NULL));
    return path;
}

static qsr_spec *file_spec(const char *path)
{
    return bench_spec("name: files\ndataset: {plugin: activations, path: '%s', buffer: 50}\nsae: {d_sae: 6}\n"
                      "activation: {plugin: topk, k: 2}\ntrain: {tokens: 100, batch: 50}\neval: {tokens: 20}\n",
                      path);
}

static void a_missing_input_is_noticed(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    write_rows(&arena, "shard-1.npy", 80, false);
    const char *second = write_rows(&arena, "shard-2.npy", 70, false);
    const qsr_spec *spec = file_spec(qsr_path_join(&arena, test_folder(), "shard-*.npy"));
    qsr_run_summary summary = run_one(spec, "shards");
    assert_int_equal(summary.outcome, QSR_RUN_COMPLETED);
    summary = run_one(spec, "shards");
    assert_int_equal(summary.outcome, QSR_RUN_SKIPPED);
    assert_int_equal(unlink(second), 0);
    summary = run_one(spec, "shards");
    assert_int_equal(summary.outcome, QSR_RUN_STALE);
    assert_non_null(strstr(summary.reason, "shard-2.npy"));
    qsr_spec_free((qsr_spec *)(uintptr_t)spec);
    qsr_arena_free(&arena);
}

static void a_group_that_fails_late_leaves_no_error_behind(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    const qsr_spec *specs[] = {file_spec(write_rows(&arena, "good.npy", 150, false)),
                               file_spec(write_rows(&arena, "bad.npy", 150, true))};
    qsr_run_summary summaries[2];
    qsr_error e = {0};
    assert_ok(run_cells(specs, 2, &(qsr_run_options){0}, "late", summaries, &e));
    assert_int_equal(e.code, QSR_OK);
    assert_int_equal(summaries[0].outcome, QSR_RUN_COMPLETED);
    assert_int_equal(summaries[1].outcome, QSR_RUN_FAILED);
    assert_non_null(strstr(summaries[1].reason, "finite"));
    for (size_t i = 0; i < 2; i++) qsr_spec_free((qsr_spec *)(uintptr_t)specs[i]);
    qsr_arena_free(&arena);
}

/* ---- reading ahead ----------------------------------------------------------------------------------------------- */

/* Windows of many units, some in windows that are short, masked, or empty; rows of their own; texts of the model's. */
static const char *const streams[] = {
    "plugin: counted, index: false, units: 90, rows_per_unit: 7, skip_first: 1, units_per_read: 3, buffer: 100",
    "plugin: counted, index: false, units: 90, rows_per_unit: 7, units_per_read: 4, buffer: 60, drop: 3, drop_begin: 140, drop_end: 300",
    "plugin: counted, index: false, units: 90, rows_per_unit: 7, units_per_read: 4, buffer: 60, shuffle: false",
    "plugin: counted, index: false, units: 90, rows_per_unit: 7, buffer: 5000",
    "plugin: counted, index: false, units: 900, buffer: 100",
    "plugin: synthetic, d_in: 4, features: 9, buffer: 100",
};
enum { STREAMS = sizeof streams / sizeof *streams };

static qsr_spec *stream_spec(const char *stream, const char *more, int k)
{
    return bench_spec("name: ahead\ndataset: {%s%s}\nsae: {d_sae: 12}\nactivation: {plugin: topk, k: %d}\n"
                      "train: {tokens: 1500, batch: 50, log_every: 1, checkpoint_every: 7}\neval: {tokens: 40}\n",
                      stream, more, k);
}

static void run_both(const qsr_spec *const specs[2], const qsr_run_options *options, unsigned threads, const char *out, qsr_run_summary both[2])
{
    qsr_error e = {0};
    if (run_on(threads, specs, 2, options, out, both, &e)) fail_msg("%s: %s", out, e.text);
}

static void reading_ahead_changes_no_byte(void **state)
{
    (void)state;
    for (size_t s = 0; s < STREAMS; s++) {
        const qsr_spec *specs[] = {stream_spec(streams[s], "", 2), stream_spec(streams[s], "", 3)};
        qsr_run_summary plain[2], ahead[2];
        char name[64];
        snprintf(name, sizeof name, "turns-%zu", s);
        run_both(specs, &(qsr_run_options){.read_in_turn = true}, 2, name, plain);
        for (unsigned threads = 1; threads <= 3; threads++) {
            snprintf(name, sizeof name, "ahead-%zu-%u", s, threads);
            run_both(specs, &(qsr_run_options){0}, threads, name, ahead);
            for (size_t i = 0; i < 2; i++) {
                assert_int_equal(ahead[i].outcome, QSR_RUN_COMPLETED);
                for (size_t f = 0; f < sizeof result_files / sizeof *result_files; f++)
                    bench_same_file(plain[i].folder, ahead[i].folder, result_files[f]);
            }
        }
        for (size_t i = 0; i < 2; i++) qsr_spec_free((qsr_spec *)(uintptr_t)specs[i]);
    }
}

static uint64_t stop_at;

static void stop_there(void *ctx, const qsr_spec *spec, const qsr_step_report *report)
{
    (void)ctx, (void)spec;
    if (report->step == stop_at) stop = 1;
}

/* Reads are slow: when training stops, one is under way. */
static void an_interruption_while_data_is_read_loses_nothing(void **state)
{
    (void)state;
    const char *stream = streams[0];
    const qsr_spec *calm[] = {stream_spec(stream, "", 2), stream_spec(stream, "", 3)};
    const qsr_spec *slow[] = {stream_spec(stream, ", pause: 2", 2), stream_spec(stream, ", pause: 2", 3)};
    qsr_run_summary whole[2], now[2];
    run_both(calm, &(qsr_run_options){0}, 2, "calm", whole);
    for (unsigned threads = 1; threads <= 2; threads++) {
        char name[64];
        snprintf(name, sizeof name, "hasty-%u", threads);
        for (stop_at = 0; stop_at < 28; stop_at += 9) {
            stop = 0;
            run_both(slow, &(qsr_run_options){.stop = &stop, .watcher = {.step = stop_there}}, threads, name, now);
            for (size_t i = 0; i < 2; i++) assert_int_equal(now[i].outcome, QSR_RUN_INTERRUPTED);
        }
        run_both(slow, &(qsr_run_options){0}, threads, name, now);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(now[i].outcome, QSR_RUN_COMPLETED);
            for (size_t f = 0; f < sizeof result_files / sizeof *result_files; f++)
                bench_same_file(whole[i].folder, now[i].folder, result_files[f]);
        }
    }
    for (size_t i = 0; i < 2; i++) qsr_spec_free((qsr_spec *)(uintptr_t)calm[i]), qsr_spec_free((qsr_spec *)(uintptr_t)slow[i]);
}

static void on_alarm(int number)
{
    (void)number;
    stop = 1;
}

/* The first window takes 400 reads of 50 ms, for b_dec's start or for the first step; the signal comes in the midst of them. */
static void an_interruption_in_the_first_window_does_not_wait_for_it(void **state)
{
    (void)state;
    const struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    static const char *const starts[] = {"zero", "mean"};
    signal(SIGALRM, on_alarm);
    for (int i = 0; i < 8; i++) {
        const qsr_spec *spec = bench_spec("name: long\ndataset: {plugin: counted, index: false, units: 900, rows_per_unit: 5, units_per_read: 1, "
                                          "buffer: 2000, pause: 50}\nsae: {d_sae: 12, b_dec_init: %s}\nactivation: {plugin: topk, k: 2}\n"
                                          "train: {tokens: 1500, batch: 50}\neval: {tokens: 40}\n",
                                          starts[i & 1]);
        qsr_run_summary now;
        qsr_error e = {0};
        char name[64];
        snprintf(name, sizeof name, "long-%d", i);
        stop = 0;
        const double begun = qsr_clock();
        setitimer(ITIMER_REAL, &soon, NULL);
        assert_ok(run_on(i & 2 ? 2 : 1, &spec, 1, &(qsr_run_options){.stop = &stop, .read_in_turn = i & 4}, name, &now, &e));
        assert_true(qsr_clock() - begun < 8); /* of 20 s, or 10 on two threads */
        assert_true(stop);
        assert_int_equal(now.outcome, QSR_RUN_PENDING);
        assert_non_null(strstr(now.reason, "interrupted while"));
        qsr_spec_free((qsr_spec *)(uintptr_t)spec);
    }
    signal(SIGALRM, SIG_DFL);
}

/* The row is beyond those that b_dec would start from: training gets so far as it would without reading ahead, and the words are the same. */
static void an_error_in_the_stream_comes_where_it_belongs(void **state)
{
    (void)state;
    static const size_t which[] = {0, 1, 2, 4};
    for (size_t w = 0; w < sizeof which / sizeof *which; w++) {
        const qsr_spec *spec = bench_spec("name: broken\ndataset: {%s, bad_row: 404}\nsae: {d_sae: 12, b_dec_init: zero}\n"
                                          "activation: {plugin: topk, k: 2}\ntrain: {tokens: 1500, batch: 50, log_every: 1}\n"
                                          "eval: {tokens: 40}\n",
                                          streams[which[w]]);
        qsr_run_summary plain, ahead;
        qsr_error e = {0};
        char name[64];
        snprintf(name, sizeof name, "broken-%zu", w);
        assert_ok(run_on(2, &spec, 1, &(qsr_run_options){.read_in_turn = true}, name, &plain, &e));
        assert_int_equal(plain.outcome, QSR_RUN_FAILED);
        assert_non_null(strstr(plain.reason, "finite"));
        for (unsigned threads = 1; threads <= 3; threads++) {
            snprintf(name, sizeof name, "broken-%zu-%u", w, threads);
            assert_ok(run_on(threads, &spec, 1, &(qsr_run_options){0}, name, &ahead, &e));
            assert_int_equal(ahead.outcome, QSR_RUN_FAILED);
            assert_string_equal(ahead.reason, plain.reason);
            bench_same_file(plain.folder, ahead.folder, "metrics.jsonl");
            bench_same_file(plain.folder, ahead.folder, "result.json");
        }
        qsr_spec_free((qsr_spec *)(uintptr_t)spec);
    }
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static qsr_spec *planned(const char *dataset, const char *activation)
{
    return bench_spec("name: plan\ndataset: {plugin: %s, d_in: 12, buffer: 500}\nsae: {d_sae: 3000}\n"
                      "activation: {plugin: %s}\ntrain: {tokens: 400, batch: 50}\neval: {tokens: 300}\n",
                      dataset, activation);
}

static size_t bytes_of_group(const qsr_spec *const *specs, size_t n)
{
    qsr_plan plan;
    qsr_plan_make(specs, n, &(qsr_run_options){.pool = bench_pool(2), .memory = (size_t)1 << 40}, true, &plan);
    assert_int_equal(plan.n, 1);
    size_t bytes = plan.groups[0].bytes;
    qsr_plan_free(&plan);
    return bytes;
}

static void memory_is_that_of_cells_and_one_window_per_tap(void **state)
{
    (void)state;
    const qsr_spec *specs[] = {planned("counted, units: 300, index: false, rows_per_unit: 5", "topk, k: 3"),
                               planned("counted, units: 300, index: false, rows_per_unit: 5", "relu")};
    const qsr_spec *rows = planned("synthetic, features: 20", "topk, k: 3");
    size_t cell[2] = {qsr_plan_cell_bytes(specs[0], 12, 2), qsr_plan_cell_bytes(specs[1], 12, 2)};
    const size_t piece = 50 * 12 * sizeof(float), pieces = qsr_feed_pieces(piece, true); /* under way to the cells, with those read ahead */
    assert_true(pieces > 1);
    assert_int_equal(bytes_of_group(specs, 1), cell[0] + 500 * 12 * sizeof(float) + pieces * piece);
    assert_int_equal(bytes_of_group(specs, 2), cell[0] + cell[1] + 500 * 12 * sizeof(float) + pieces * piece);
    assert_int_equal(bytes_of_group(&rows, 1), cell[0] + pieces * piece); /* rows are read where they are wanted */
    qsr_spec_free((qsr_spec *)(uintptr_t)rows);
    for (size_t i = 0; i < 2; i++) qsr_spec_free((qsr_spec *)(uintptr_t)specs[i]);
}

static void a_rule_says_how_many_latents_are_kept(void **state)
{
    (void)state;
    static const struct {
        const char *activation;
        size_t kept;
    } cases[] = {{"topk, k: 3", 3}, {"batchtopk, k: 7", 7}, {"relu", 0}, {"topafa", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_spec *spec = planned("synthetic, features: 20", cases[i].activation);
        assert_int_equal(qsr_plan_kept(spec, 12), cases[i].kept);
        qsr_spec_free(spec);
    }
}

static void threads_hold_dense_codes_of_their_own(void **state)
{
    (void)state;
    qsr_spec *dense = planned("synthetic, features: 20", "relu"), *sparse = planned("synthetic, features: 20", "topk, k: 3");
    dense->train.batch = sparse->train.batch = 1 << 20;
    size_t rows = qsr_block_rows(1 << 20), per_thread = rows * 3000 * 8, codes = rows * 1500 * 30;
    size_t more = qsr_plan_cell_bytes(dense, 12, 65) - qsr_plan_cell_bytes(dense, 12, 64);
    assert_int_equal(more, per_thread + codes + 2 * rows * 12 * sizeof(float));
    assert_true(qsr_plan_cell_bytes(sparse, 12, 65) - qsr_plan_cell_bytes(sparse, 12, 64) < more / 2);
    qsr_spec_free(dense);
    qsr_spec_free(sparse);
}

/* What is kept for auxk is counted where latents can be dead before training ends: 5 of them, and some in reserve. */
static void what_losses_look_at_is_held(void **state)
{
    (void)state;
    static const struct {
        int tokens;
        const char *k;
        size_t kept;
    } cases[] = {{800, "5", 0}, {1050, "5", 5 + 32 + 16}, {1050, "12", 12 + 33 + 17}, {1050, "13", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_spec *spec[2];
        for (int with = 0; with < 2; with++)
            spec[with] = bench_spec("name: look\ndataset: {plugin: synthetic, d_in: 12}\nactivation: {plugin: topk, k: 20}\n"
                                    "losses: {mse: {}, auxk: {k: %s, dead_after: %s}}\nsae: {d_sae: 300}\n"
                                    "train: {tokens: %d, batch: 50}\n",
                                    cases[i].k, with ? "1000" : "1_000_000", cases[i].tokens);
        assert_int_equal(qsr_plan_cell_bytes(spec[1], 12, 1) - qsr_plan_cell_bytes(spec[0], 12, 1), 50 * 8 * cases[i].kept);
        for (int with = 0; with < 2; with++) qsr_spec_free(spec[with]);
    }
}

/* Measured by `quasar bench` with full products, in products of the batch. */
static void steps_cost_what_was_measured(void **state)
{
    (void)state;
    static const struct {
        size_t d_in, d_sae, batch;
        int k;
        double products;
    } cases[] = {{768, 12288, 4096, 32, 1.11}, {256, 2048, 1024, 32, 1.54}, {64, 512, 256, 16, 4.3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qsr_spec *spec = bench_spec("dataset: {plugin: synthetic}\nactivation: {plugin: topk, k: %d}\nsae: {d_sae: %zu}\n"
                                    "train: {tokens: 100000, batch: %zu}\neval: {tokens: 300}\n", cases[i].k, cases[i].d_sae, cases[i].batch);
        double foreseen = qsr_forecast_products(spec, cases[i].d_in) / cases[i].products;
        assert_true(foreseen > 0.7 && foreseen < 1.3);
        qsr_spec_free(spec);
    }
    qsr_spec *unknown = planned("synthetic, features: 20", "relu"), *known = planned("synthetic, features: 20", "topk, k: 3");
    assert_true(qsr_forecast_products(unknown, 12) > qsr_forecast_products(known, 12));
    assert_true(isfinite(qsr_forecast_products(known, 0))); /* a dataset that cannot be opened */
    qsr_spec_free(unknown);
    qsr_spec_free(known);
}

int main(void)
{
    setenv("QUASAR_LOG", "none", 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_finished_cell_keeps_no_other_from_starting),
        cmocka_unit_test(a_stop_before_the_evaluation_is_an_interruption),
        cmocka_unit_test(a_missing_input_is_noticed),
        cmocka_unit_test(a_group_that_fails_late_leaves_no_error_behind),
        cmocka_unit_test(reading_ahead_changes_no_byte),
        cmocka_unit_test(an_interruption_while_data_is_read_loses_nothing),
        cmocka_unit_test(an_interruption_in_the_first_window_does_not_wait_for_it),
        cmocka_unit_test(an_error_in_the_stream_comes_where_it_belongs),
        cmocka_unit_test(memory_is_that_of_cells_and_one_window_per_tap),
        cmocka_unit_test(a_rule_says_how_many_latents_are_kept),
        cmocka_unit_test(threads_hold_dense_codes_of_their_own),
        cmocka_unit_test(what_losses_look_at_is_held),
        cmocka_unit_test(steps_cost_what_was_measured),
    };
    int failures = cmocka_run_group_tests_name("groups of cells", tests, NULL, NULL);
    if (!getenv("KEEP")) qsr_remove_tree(test_folder(), NULL);
    bench_end();
    return failures;
}

/* Runs on disk: which files they leave and what is in them, what is skipped, what is stale, how a cell fails without touching the
 * others, and that interruptions and company do not show. */
#include "../unit.h"

#include <dirent.h>
#include <unistd.h>

#include "../bench.h"
#include "format/json.h"
#include "format/npy.h"
#include "format/safetensors.h"

static const char *const files[] = {"latents.csv", "manifest.json", "metrics.jsonl", "result.json",       "sae",
                                    "spec.yaml",   "timing.jsonl",  "tokens.csv",    "top_contexts.jsonl"};

/* ---- looking at runs --------------------------------------------------------------------------------------------- */

static int shown(const struct dirent *entry) { return entry->d_name[0] != '.'; }

/* The names in a folder, in order, with a space after each; in the arena. */
static const char *names_in(qsr_arena *arena, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, shown, alphasort);
    if (n < 0) fail_msg("no folder %s", folder);
    const char *names = "";
    for (int i = 0; i < n; i++) {
        names = qsr_arena_printf(arena, "%s%s ", names, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return names;
}

static json_t *json_of(const char *folder, const char *file)
{
    qsr_arena arena = {0};
    json_t *json;
    qsr_error e = {0};
    if (qsr_json_read(qsr_path_join(&arena, folder, file), 1 << 20, &json, &e)) fail_msg("%s", e.text);
    qsr_arena_free(&arena);
    return json;
}

static const char *word_at(const json_t *json, const char *key)
{
    const char *word = json_string_value(json_object_get(json, key));
    return word ? word : "";
}

static void same_results(const char *a, const char *b)
{
    static const char *const same[] = {"metrics.jsonl", "result.json",  "tokens.csv",
                                       "latents.csv",   "sae/cfg.json", "sae/sae_weights.safetensors", "top_contexts.jsonl"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) bench_same_file(a, b, same[i]);
}

static qsr_run_options options_for(const char *out)
{
    static qsr_arena paths; /* until the end */
    const char *folder = qsr_path_join(&paths, test_folder(), out);
    return (qsr_run_options){.out = folder, .pool = bench_pool(2), .registry = bench_registry()};
}

static void run_cells(const qsr_spec *const *cells, size_t n, const qsr_run_options *options, qsr_run_summary *ret)
{
    qsr_problems problems = {0};
    qsr_error e = {0};
    if (qsr_lab_run(cells, n, options, ret, &problems, &e)) fail_msg("%s", e.text);
    qsr_problems_free(&problems);
}

static qsr_run_summary run_one(const qsr_spec *spec, const qsr_run_options *options)
{
    qsr_run_summary summary;
    run_cells((const qsr_spec *const[]){spec}, 1, options, &summary);
    return summary;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

enum { BATCH = 50, STEPS = 7 };

static qsr_spec *small(const char *activation, const char *losses, const char *more)
{
    return bench_spec("name: small\ndataset: {plugin: counted, d_in: 12, index: false, units: 600, %s}\n"
                      "activation: {plugin: %s}\nlosses: {%s}\nsae: {d_sae: 31}\n"
                      "train: {tokens: %d, batch: %d, log_every: 2, dead_after: 80}\neval: {tokens: 77}\n",
                      more, activation, losses, STEPS * BATCH + 13, BATCH);
}

static void check_metrics(const char *folder, size_t n_losses, const char *const *losses)
{
    static const int logged[] = {0, 2, 4, 6};
    qsr_arena arena = {0};
    char *line, *rest = bench_file(&arena, folder, "metrics.jsonl", NULL);
    size_t n = 0;
    for (; (line = strsep(&rest, "\n")) && *line; n++) {
        json_error_t e;
        json_t *values = json_loads(line, JSON_REJECT_DUPLICATES, &e);
        static const char *const keys[] = {"loss", "l0", "l1", "dead", "dead_in_batch", "grad_norm", "lr"};
        double sum = 0;
        assert_non_null(values);
        assert_in_range(n, 0, 3);
        assert_int_equal(json_integer_value(json_object_get(values, "step")), logged[n]);
        assert_int_equal(json_integer_value(json_object_get(values, "tokens")), (logged[n] + 1) * BATCH);
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            assert_true(json_is_number(json_object_get(values, keys[i])));
        for (size_t i = 0; i < n_losses; i++) sum += json_number_value(json_object_get(values, losses[i]));
        assert_close(json_number_value(json_object_get(values, "loss")), sum, 1e-15); /* the sum of its parts */
        json_decref(values);
    }
    assert_int_equal(n, 4); /* the last line is whole */
    qsr_arena_free(&arena);
}

/* The phases of each line make up its steps, and the lines together the seconds of the last one. */
static void check_profile(const char *folder)
{
    qsr_arena arena = {0};
    char *line, *rest = bench_file(&arena, folder, "timing.jsonl", NULL);
    double taken = 0, last = 0;
    size_t n = 0, steps = 0;
    for (; (line = strsep(&rest, "\n")) && *line; n++) {
        json_t *values = json_loads(line, JSON_REJECT_DUPLICATES, NULL), *profile = json_object_get(values, "profile");
        json_t *phases = json_object_get(profile, "phases"), *encode = json_array_get(phases, 1 + QSR_PHASE_ENCODE);
        double step = json_number_value(json_object_get(profile, "step_ms")), sum = 0;
        json_int_t of = json_integer_value(json_object_get(profile, "steps"));
        assert_int_equal(of, n == 0 ? 1 : 2);
        assert_int_equal(json_array_size(phases), 1 + QSR_PHASES);
        assert_string_equal(word_at(json_array_get(phases, 0), "name"), "data");
        for (size_t p = 0; p < QSR_PHASES; p++) {
            assert_string_equal(word_at(json_array_get(phases, 1 + p), "name"), qsr_phase_names[p]);
            sum += json_number_value(json_object_get(json_array_get(phases, 1 + p), "ms"));
        }
        assert_close(sum, step, 1e-9);
        assert_close(json_number_value(json_object_get(encode, "gflops")) * json_number_value(json_object_get(encode, "ms")),
                     2e-6 * BATCH * 12 * 31, 1e-9);
        assert_true(json_number_value(json_object_get(profile, "l0")) == 3);
        steps += (size_t)of;
        taken += 1e-3 * step * (double)of;
        last = json_number_value(json_object_get(values, "step_seconds"));
        json_decref(values);
    }
    assert_int_equal(steps, STEPS);
    assert_close(taken, last, 1e-9);
    qsr_arena_free(&arena);
}

static void check_result(const char *folder, const qsr_spec *spec)
{
    json_t *result = json_of(folder, "result.json"), *metrics = json_object_get(result, "metrics");
    json_t *train = json_object_get(result, "train"), *eval = json_object_get(result, "eval");
    assert_string_equal(word_at(result, "status"), "completed");
    assert_true(json_is_null(json_object_get(result, "reason")));
    assert_string_equal(word_at(result, "cell"), spec->id);
    static const char *const keys[] = {"l0",           "nmse", "fvu", "explained_variance", "cosine", "epsilon_lbo_median",
                                       "coherence_max"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_true(json_is_number(json_object_get(metrics, keys[i])));
    assert_true(json_number_value(json_object_get(metrics, "tokens")) == 77);
    assert_int_equal(json_integer_value(json_object_get(train, "steps")), STEPS);
    assert_int_equal(json_integer_value(json_object_get(train, "tokens")), STEPS * BATCH); /* rounded down, and said so */
    assert_int_equal(json_integer_value(json_object_get(train, "tokens_asked")), STEPS * BATCH + 13);
    assert_int_equal(json_integer_value(json_object_get(eval, "tokens")), 77);
    assert_true(json_is_true(json_object_get(eval, "held_out")));
    const json_t *l0 = json_object_get(json_object_get(result, "l0_histogram"), "tokens");
    json_int_t tokens = 0, latents = 0;
    for (size_t i = 0; i < json_array_size(l0); i++) {
        tokens += json_integer_value(json_array_get(l0, i));
        latents += (json_int_t)i * json_integer_value(json_array_get(l0, i));
    }
    assert_int_equal(tokens, 77);
    assert_close((double)latents / 77, json_number_value(json_object_get(metrics, "l0")), 1e-12);
    json_decref(result);
}

static void check_manifest(const char *folder, const qsr_spec *spec)
{
    json_t *manifest = json_of(folder, "manifest.json"), *split = json_object_get(manifest, "split");
    json_t *machine = json_object_get(manifest, "machine"), *plugins = json_object_get(manifest, "plugins");
    assert_string_equal(word_at(manifest, "cell"), spec->id);
    assert_true(*word_at(manifest, "quasar") && *word_at(manifest, "started") && *word_at(manifest, "finished"));
    assert_true(*word_at(machine, "isa") && *word_at(machine, "blas") && *word_at(machine, "blas_kernel"));
    assert_int_equal(json_integer_value(json_object_get(machine, "threads")), 2);
    assert_int_equal(json_integer_value(json_object_get(split, "held_out_first")), 523);
    assert_int_equal(json_integer_value(json_object_get(split, "held_out_units")), 77);
    assert_true(json_is_object(json_object_get(plugins, "dataset/counted")) &&
                json_is_object(json_object_get(plugins, "loss/mse")));
    json_decref(manifest);
}

static void check_weights(const char *folder)
{
    qsr_arena arena = {0};
    qsr_safetensors *file;
    json_t *cfg = json_of(folder, "sae/cfg.json");
    assert_ok(qsr_safetensors_open(qsr_path_join(&arena, folder, "sae/sae_weights.safetensors"), &file, NULL));
    const qsr_tensor *w_dec = qsr_safetensors_find(file, "W_dec");
    assert_true(w_dec && w_dec->shape[0] == 31 && w_dec->shape[1] == 12);
    assert_int_equal(json_integer_value(json_object_get(cfg, "d_sae")), 31);
    assert_string_equal(names_in(&arena, qsr_path_join(&arena, folder, "sae")), "cfg.json sae_weights.safetensors ");
    json_decref(cfg);
    qsr_safetensors_close(file);
    qsr_arena_free(&arena);
}

static void check_tokens(const char *folder)
{
    qsr_arena arena = {0};
    char *line, *rest = bench_file(&arena, folder, "tokens.csv", NULL);
    size_t rows = 0;
    assert_string_equal(strsep(&rest, "\n"), "layer,ztz,ftf,norm_z,norm_f,norm_z_hat,l_recon,l0");
    for (; (line = strsep(&rest, "\n")) && *line; rows++) {
        size_t commas = 0;
        for (; *line; line++) commas += *line == ',';
        assert_int_equal(commas, 7);
    }
    assert_int_equal(rows, 77);
    qsr_arena_free(&arena);
}

/* spec.yaml in the folder is the whole experiment: run again from there it gives the same results. */
static void check_spec(const char *folder, const char *out)
{
    qsr_arena arena = {0};
    qsr_spec_env env = qsr_registry_env(bench_registry());
    qsr_problems problems = {0};
    qsr_spec *spec;
    assert_ok(qsr_spec_load(qsr_path_join(&arena, folder, "spec.yaml"), NULL, 0, &env, &spec, &problems));
    qsr_run_options options = options_for(out);
    qsr_run_summary again = run_one(spec, &options);
    assert_int_equal(again.outcome, QSR_RUN_COMPLETED);
    bench_same_file(folder, again.folder, "metrics.jsonl");
    bench_same_file(folder, again.folder, "sae/sae_weights.safetensors");
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_arena_free(&arena);
}

static void a_run_leaves_complete_files_and_nothing_else(void **state)
{
    (void)state;
    static const char *const losses[] = {"loss.mse", "loss.auxk", "loss.second"};
    qsr_arena arena = {0};
    qsr_spec *spec = small("topk, k: 4", "mse: {}, auxk: {}, second: {plugin: l1, coeff: 0.01}", "buffer: 100");
    qsr_run_options options = options_for("files");
    qsr_run_summary run = run_one(spec, &options);
    assert_int_equal(run.outcome, QSR_RUN_COMPLETED);
    assert_int_equal(run.steps, STEPS);
    assert_int_equal(run.tokens, STEPS * BATCH);
    const char *expected = "";
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        expected = qsr_arena_printf(&arena, "%s%s ", expected, files[i]);
    assert_string_equal(names_in(&arena, run.folder), expected); /* no checkpoint, nothing written aside */
    assert_string_equal(run.folder, qsr_arena_printf(&arena, "%s/small/%s", options.out, spec->id));
    check_metrics(run.folder, 3, losses);
    check_result(run.folder, spec);
    check_manifest(run.folder, spec);
    check_weights(run.folder);
    check_tokens(run.folder);
    check_spec(run.folder, "files-again");
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

static void a_profile_adds_to_the_timing_and_to_nothing_else(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_spec *spec = small("topk, k: 3", "mse: {}", "buffer: 100");
    qsr_run_options options = options_for("plain");
    qsr_run_summary plain = run_one(spec, &options);
    assert_null(strstr(bench_file(&arena, plain.folder, "timing.jsonl", NULL), "profile"));
    options = options_for("profiled");
    options.profile = true;
    qsr_run_summary run = run_one(spec, &options);
    check_profile(run.folder);
    same_results(plain.folder, run.folder);
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

static void without_held_out_rows_only_weights_are_judged(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_spec *spec =
        bench_spec("name: none\ndataset: {plugin: counted, units: 100, epochs: 1}\nactivation: {plugin: topk, k: 2}\n"
                   "sae: {d_sae: 9}\ntrain: {tokens: 100, batch: 10}\neval: {tokens: 0}\n");
    qsr_run_options options = options_for("none");
    qsr_run_summary run = run_one(spec, &options);
    assert_int_equal(run.outcome, QSR_RUN_COMPLETED);
    assert_null(strstr(names_in(&arena, run.folder), "tokens.csv"));
    json_t *result = json_of(run.folder, "result.json"), *metrics = json_object_get(result, "metrics");
    assert_true(json_is_number(json_object_get(metrics, "coherence_max")));
    assert_null(json_object_get(metrics, "nmse"));
    json_decref(result);
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

/* ---- again ------------------------------------------------------------------------------------------------------- */

static void what_is_complete_is_left_alone(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    qsr_spec *spec = small("topk, k: 4", "mse: {}", "buffer: 100");
    qsr_run_options options = options_for("again");
    qsr_run_summary first = run_one(spec, &options);
    const char *manifest = bench_file(&arena, first.folder, "manifest.json", NULL),
               *result = bench_file(&arena, first.folder, "result.json", NULL);
    qsr_run_summary second = run_one(spec, &options);
    assert_int_equal(second.outcome, QSR_RUN_SKIPPED);
    assert_string_equal(second.folder, first.folder);
    assert_true(second.evaluated);
    assert_true(qsr_evaluation_get(&second.evaluation, "nmse") == qsr_evaluation_get(&first.evaluation, "nmse"));
    assert_string_equal(bench_file(&arena, first.folder, "manifest.json", NULL), manifest);
    options.rerun = QSR_RERUN_FAILED | QSR_RERUN_STALE;
    assert_int_equal(run_one(spec, &options).outcome, QSR_RUN_SKIPPED); /* it is neither */
    options.rerun = QSR_RERUN_ALL;
    assert_int_equal(run_one(spec, &options).outcome, QSR_RUN_COMPLETED);
    assert_string_equal(bench_file(&arena, first.folder, "result.json", NULL), result);
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

static void write_rows(const char *path, uint64_t seed)
{
    float rows[200 * 6];
    bench_normal(rows, 200 * 6, seed, 1);
    assert_ok(qsr_npy_write(path, QSR_F32, 2, (size_t[]){200, 6}, rows, NULL));
}

static void set_in_manifest(const char *folder, const char *key, const char *value)
{
    qsr_arena arena = {0};
    json_t *manifest = json_of(folder, "manifest.json");
    json_object_set_new(manifest, key, json_string(value));
    assert_ok(qsr_json_write(qsr_path_join(&arena, folder, "manifest.json"), manifest, NULL));
    json_decref(manifest);
    qsr_arena_free(&arena);
}

static void changed_inputs_make_a_run_stale(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    char *path = qsr_path_join(&arena, test_folder(), "rows.npy");
    write_rows(path, 1);
    qsr_spec *spec = bench_spec("name: stale\ndataset: {plugin: activations, path: %s}\nactivation: {plugin: topk, k: 2}\n"
                                "sae: {d_sae: 9}\ntrain: {tokens: 150, batch: 30}\neval: {tokens: 20}\n",
                                path);
    qsr_run_options options = options_for("stale");
    qsr_run_summary first = run_one(spec, &options);
    const char *old = bench_file(&arena, first.folder, "result.json", NULL);
    write_rows(path, 1);
    assert_int_equal(run_one(spec, &options).outcome, QSR_RUN_SKIPPED); /* the same bytes, newly written */
    write_rows(path, 2);
    qsr_run_summary now = run_one(spec, &options);
    assert_int_equal(now.outcome, QSR_RUN_STALE);
    const char *begins = qsr_arena_printf(&arena, "the input %s has changed", path);
    assert_int_equal(strncmp(now.reason, begins, strlen(begins)), 0);
    assert_non_null(strstr(now.reason, "; --rerun stale trains it again"));
    assert_string_equal(bench_file(&arena, first.folder, "result.json", NULL), old);
    options.rerun = QSR_RERUN_STALE;
    assert_int_equal(run_one(spec, &options).outcome, QSR_RUN_COMPLETED);
    assert_string_not_equal(bench_file(&arena, first.folder, "result.json", NULL), old);
    options.rerun = 0;
    assert_int_equal(run_one(spec, &options).outcome, QSR_RUN_SKIPPED);
    set_in_manifest(first.folder, "quasar", "0.0.1");
    now = run_one(spec, &options);
    assert_int_equal(now.outcome, QSR_RUN_STALE);
    assert_int_equal(strncmp(now.reason, "Quasar was 0.0.1 and is ", 24), 0);
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

/* ---- failures ---------------------------------------------------------------------------------------------------- */

static qsr_spec *on_bad_rows(const char *name, const char *dataset, const char *sae)
{
    return bench_spec("name: %s\ndataset: {plugin: counted, d_in: 6, index: false, units: 300, shuffle: false, %s}\n"
                      "activation: {plugin: topk, k: 3}\nsae: {d_sae: 15, b_dec_init: zero, %s}\n"
                      "train: {tokens: 100, batch: 10, log_every: 1}\neval: {tokens: 40}\n",
                      name, dataset, sae);
}

static size_t lines_in(const char *folder, const char *file)
{
    qsr_arena arena = {0};
    size_t n = 0;
    for (const char *c = bench_file(&arena, folder, file, NULL); *c; c++) n += *c == '\n';
    qsr_arena_free(&arena);
    return n;
}

static void check_failure(const qsr_run_summary *run, const char *reason, size_t steps, const char *leaves)
{
    qsr_arena arena = {0};
    assert_int_equal(run->outcome, QSR_RUN_FAILED);
    if (strncmp(run->reason, reason, strlen(reason)) != 0) fail_msg("%s, not %s", run->reason, reason);
    assert_string_equal(names_in(&arena, run->folder), leaves);
    assert_int_equal(lines_in(run->folder, "metrics.jsonl"), steps);
    json_t *result = json_of(run->folder, "result.json");
    assert_string_equal(word_at(result, "status"), "failed");
    assert_string_equal(word_at(result, "reason"), run->reason);
    assert_int_equal(json_object_size(json_object_get(result, "metrics")), 0);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(result, "train"), "steps")), steps);
    json_decref(result);
    qsr_arena_free(&arena);
}

#define FAILED_FILES "manifest.json metrics.jsonl result.json spec.yaml timing.jsonl "

/* Row 36 is finite, but too large for a cell that takes rows as they are; token normalisation brings it down to size. */
static void a_cell_that_fails_leaves_its_reason_and_the_others_alone(void **state)
{
    (void)state;
    const char *huge = "bad: huge, bad_row: 36, bad_column: 2";
    qsr_spec *cells[] = {on_bad_rows("fine", huge, "normalize: token"), on_bad_rows("fails", huge, "normalize: none"),
                         on_bad_rows("other", huge, "normalize: token, init: released")};
    qsr_run_options options = options_for("failing");
    qsr_run_summary together[3];
    run_cells((const qsr_spec *const *)cells, 3, &options, together);
    check_failure(&together[1], "step 3: the loss is ", 3, FAILED_FILES);
    qsr_run_options apart = options_for("apart");
    for (size_t i = 0; i < 3; i += 2) {
        assert_int_equal(together[i].outcome, QSR_RUN_COMPLETED);
        qsr_run_summary alone = run_one(cells[i], &apart);
        same_results(together[i].folder, alone.folder);
    }
    qsr_run_summary again = run_one(cells[1], &options); /* shown, not tried again */
    assert_int_equal(again.outcome, QSR_RUN_FAILED);
    assert_non_null(strstr(again.reason, "step 3: the loss is "));
    options.rerun = QSR_RERUN_FAILED;
    again = run_one(cells[1], &options);
    check_failure(&again, "step 3: the loss is ", 3, FAILED_FILES);
    for (size_t i = 0; i < 3; i++) qsr_spec_free(cells[i]);
}

static void rows_that_turn_bad_later_fail_the_cells(void **state)
{
    (void)state;
    qsr_spec *cells[] = {on_bad_rows("one", "bad_row: 57", "normalize: none"),
                         on_bad_rows("two", "bad_row: 57", "normalize: token")};
    qsr_run_options options = options_for("later");
    qsr_run_summary runs[2];
    run_cells((const qsr_spec *const *)cells, 2, &options, runs);
    for (size_t i = 0; i < 2; i++) {
        check_failure(&runs[i], "row 57 of counted has nan in column 0: data must be finite", 5, FAILED_FILES);
        qsr_spec_free(cells[i]);
    }
}

static void bad_rows_before_the_first_step_are_bad_input(void **state)
{
    (void)state;
    static const char *const datasets[] = {"bad_row: 7", "bad_row: 0, bad: inf"};
    for (size_t i = 0; i < 2; i++) {
        qsr_spec *spec = on_bad_rows("early", datasets[i], "normalize: token");
        qsr_run_options options = options_for("early");
        qsr_run_summary summary;
        qsr_problems problems = {0};
        qsr_error e = {0};
        assert_int_equal(qsr_lab_run((const qsr_spec *const[]){spec}, 1, &options, &summary, &problems, &e), QSR_E_INPUT);
        assert_non_null(strstr(e.text, "data must be finite"));
        assert_false(qsr_exists(options.out)); /* nothing on disk */
        qsr_problems_free(&problems);
        qsr_spec_free(spec);
    }
}

static void bad_rows_among_the_held_out_fail_the_evaluation(void **state)
{
    (void)state;
    qsr_spec *spec = on_bad_rows("held", "bad_row: 290", "normalize: token");
    qsr_run_options options = options_for("held");
    qsr_run_summary run = run_one(spec, &options);
    qsr_arena arena = {0};
    assert_int_equal(run.outcome, QSR_RUN_FAILED);
    assert_string_equal(run.reason, "row 290 of counted has nan in column 0: data must be finite");
    const char *names = names_in(&arena, run.folder);
    assert_null(strstr(names, "tokens.csv"));
    assert_non_null(strstr(names, "sae ")); /* what was trained is not lost */
    assert_null(strstr(names, "tmp"));
    qsr_spec_free(spec);
    qsr_arena_free(&arena);
}

/* ---- interruptions, company -------------------------------------------------------------------------------------- */

static const char *const learners[][2] = {
    {"topk, k: 4", "mse: {}, auxk: {k: 5}"},
    {"batchtopk, k: 4", "mse: {}, auxk: {detach_residual: false}"},
    {"topafa", "mse: {}, afa: {norm: decoder}"},
    {"relu", "mse: {}, l1: {coeff: 0.01}"},
    {"jumprelu, bandwidth: 0.5", "mse: {}, l0: {coeff: 0.01}"},
};
enum { LEARNERS = sizeof learners / sizeof *learners };

typedef struct {
    volatile sig_atomic_t stop;
    uint64_t after; /* stop once this step is done */
} stopping;

static void stop_after(void *ctx, const qsr_spec *spec, const qsr_step_report *report)
{
    stopping *s = ctx;
    (void)spec;
    if (report->step == s->after) s->stop = 1;
}

/* Stopped after step `at`, and gone on with by another call. */
static void interrupt(const qsr_spec *spec, uint64_t at, const char *whole)
{
    qsr_run_options options = options_for("stopped");
    stopping stopper = {0, at};
    options.watcher = (qsr_run_watcher){.ctx = &stopper, .step = stop_after};
    options.stop = &stopper.stop;
    options.rerun = QSR_RERUN_ALL;
    qsr_run_summary run = run_one(spec, &options);
    assert_int_equal(run.outcome, QSR_RUN_INTERRUPTED);
    assert_int_equal(run.steps, at + 1);
    qsr_run_options again = options_for("stopped");
    again.pool = bench_pool(3);
    run = run_one(spec, &again);
    assert_int_equal(run.outcome, QSR_RUN_COMPLETED);
    assert_true(run.resumed);
    same_results(run.folder, whole);
}

static void interruptions_do_not_show(void **state)
{
    (void)state;
    for (size_t i = 0; i < LEARNERS; i++) {
        qsr_spec *spec = small(learners[i][0], learners[i][1], "buffer: 100");
        qsr_run_options options = options_for("whole");
        qsr_run_summary whole = run_one(spec, &options);
        interrupt(spec, i, whole.folder);
        if (i == 1) interrupt(spec, STEPS - 1, whole.folder); /* all trained, nothing judged */
        qsr_spec_free(spec);
    }
}

static void company_does_not_show(void **state)
{
    (void)state;
    qsr_spec *specs[LEARNERS];
    qsr_run_summary together[LEARNERS];
    for (size_t i = 0; i < LEARNERS; i++) specs[i] = small(learners[i][0], learners[i][1], "buffer: 100");
    qsr_run_options options = options_for("together"), alone = options_for("whole");
    run_cells((const qsr_spec *const *)specs, LEARNERS, &options, together);
    for (size_t i = 0; i < LEARNERS; i++) {
        assert_int_equal(together[i].outcome, QSR_RUN_COMPLETED);
        same_results(together[i].folder, run_one(specs[i], &alone).folder);
        qsr_spec_free(specs[i]);
    }
}

int main(void)
{
    setenv("QUASAR_LOG", "none", 0); /* batchtopk warns of its two l0, which are apart after seven steps */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_leaves_complete_files_and_nothing_else),
        cmocka_unit_test(a_profile_adds_to_the_timing_and_to_nothing_else),
        cmocka_unit_test(without_held_out_rows_only_weights_are_judged),
        cmocka_unit_test(what_is_complete_is_left_alone),
        cmocka_unit_test(changed_inputs_make_a_run_stale),
        cmocka_unit_test(a_cell_that_fails_leaves_its_reason_and_the_others_alone),
        cmocka_unit_test(rows_that_turn_bad_later_fail_the_cells),
        cmocka_unit_test(bad_rows_before_the_first_step_are_bad_input),
        cmocka_unit_test(bad_rows_among_the_held_out_fail_the_evaluation),
        cmocka_unit_test(interruptions_do_not_show),
        cmocka_unit_test(company_does_not_show),
    };
    int failures = cmocka_run_group_tests_name("runs on disk", tests, NULL, NULL);
    bench_end();
    return failures;
}

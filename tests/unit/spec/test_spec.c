#include "../unit.h"
#include "base/fs.h"
#include "fake.h"
#include "spec/load.h"

#define BASE "dataset: {plugin: synthetic}\nsae: {d_sae: 64}\nactivation: {plugin: topk, k: 4}\ntrain: {tokens: 8192}\n"

static qsr_spec *load_named(const char *name, const char *text, const char *const *overrides, size_t n)
{
    qsr_problems problems = {0};
    qsr_text out = {0};
    qsr_spec *spec = NULL;
    qsr_spec_load_text(name, text, strlen(text), overrides, n, &fake_env, &spec, &problems);
    qsr_problems_write(&problems, &out);
    if (!spec) fail_msg("%s", out.bytes);
    qsr_problems_free(&problems);
    qsr_text_free(&out);
    return spec;
}

static qsr_spec *load(const char *text) { return load_named("dir/test.yaml", text, NULL, 0); }

static void fills_every_field(void **state)
{
    (void)state;
    qsr_spec *spec =
        load("name: n\nseed: 49\n"
             "dataset: {plugin: gpt2, model: m, tokens: [a, /b], hook: {layer: 4}, seed: 5, skip_first: 1, epochs: 2}\n"
             "sae: {d_sae: 2048, normalize: none, init_from: ../w.safetensors}\n"
             "activation: {plugin: topk, k: 16}\nlosses: {mse: {}, auxk: {coeff: 1/32, dead_after: 50_000}}\n"
             "train: {tokens: 960_000, batch: 512, lr: 1e-3, decoder_norm: none}\n");
    const struct fake_gpt2 *gpt2 = spec->dataset.values;
    const struct fake_auxk *auxk = spec->losses[1].values;
    assert_string_equal(spec->name, "n");
    assert_int_equal(spec->seed, 49);
    assert_int_equal(spec->data.seed, 5);
    assert_int_equal(spec->data.skip_first, 1);
    assert_int_equal(spec->data.epochs, 2);
    assert_int_equal(spec->data.buffer, 65536);
    assert_true(spec->data.shuffle);
    assert_string_equal(gpt2->model, "dir/m");
    assert_int_equal(gpt2->tokens.count, 2);
    assert_string_equal(gpt2->tokens.items[0], "dir/a");
    assert_string_equal(gpt2->tokens.items[1], "/b");
    assert_int_equal(gpt2->layer, 4);
    assert_string_equal(gpt2->site, "resid_pre");
    assert_int_equal(spec->sae.d_sae, 2048);
    assert_string_equal(spec->sae.normalize, "none");
    assert_string_equal(spec->sae.pre_bias, "auto");
    assert_string_equal(spec->sae.init, "tied");
    assert_true(spec->sae.init_scale == 1);
    assert_string_equal(spec->sae.init_from, "dir/../w.safetensors");
    assert_int_equal(((const struct fake_topk *)spec->activation.values)->k, 16);
    assert_int_equal(spec->n_losses, 2);
    assert_string_equal(spec->losses[1].instance, "auxk");
    assert_true(auxk->coeff == 1.0 / 32 && auxk->detach_residual && auxk->dead_after == 50000 && auxk->k == 0);
    assert_int_equal(spec->train.tokens, 960000);
    assert_int_equal(spec->train.batch, 512);
    assert_true(spec->train.lr == 1e-3 && spec->train.beta1 == 0.9 && spec->train.beta2 == 0.99 &&
                spec->train.clip_norm == 1);
    assert_int_equal(spec->train.dead_after, 1000000);
    assert_int_equal(spec->train.log_every, 10);
    assert_int_equal(spec->train.checkpoint_every, 500);
    assert_int_equal(spec->eval.tokens, 65536);
    assert_memory_equal(spec->id, "topk-k16-2048-gpt2-", 19);
    assert_int_equal(strlen(spec->id), 19 + 12);
    qsr_spec_free(spec);
}

static void has_the_defaults_of_the_design(void **state)
{
    (void)state;
    qsr_spec *spec = load_named("dir/.odd name!.yaml", BASE, NULL, 0);
    assert_string_equal(spec->name, "-odd-name-");
    assert_true(spec->seed == 0 && spec->data.seed == 0 && spec->data.skip_first == 0 && spec->data.epochs == 0);
    assert_int_equal(spec->n_losses, 1);
    assert_string_equal(spec->losses[0].plugin->name, "mse");
    assert_string_equal(spec->sae.normalize, "token");
    assert_string_equal(spec->sae.b_dec_init, "mean");
    assert_null(spec->sae.init_from);
    assert_true(spec->train.lr == 3e-4 && spec->train.warmup == 0 && spec->train.decay == 0);
    assert_int_equal(spec->train.batch, 4096);
    assert_string_equal(spec->train.decoder_norm, "after_step");
    qsr_spec_free(spec);
}

static void overrides_resolve_paths_from_here(void **state)
{
    static const char *const overrides[] = {"dataset={plugin: gpt2, model: m, hook.layer: 1}", "sae.init_from=w"};
    (void)state;
    qsr_spec *spec = load_named("dir/test.yaml", BASE, overrides, 2);
    assert_string_equal(((const struct fake_gpt2 *)spec->dataset.values)->model, "m");
    assert_string_equal(spec->sae.init_from, "w");
    qsr_spec_free(spec);
}

/* ---- identity -------------------------------------------------------------------------------------------------------- */

static void assert_ids(const char *text, const char *other, bool equal)
{
    qsr_spec *a = load(text), *b = load(other);
    if ((strcmp(a->id, b->id) == 0) != equal) fail_msg("%s and %s for\n%s\nand\n%s", a->id, b->id, text, other);
    qsr_spec_free(a);
    qsr_spec_free(b);
}

static void equal_experiments_have_equal_ids(void **state)
{
    (void)state;
    assert_ids(BASE, "name: other\n" BASE, true);
    assert_ids(BASE,
               "train: {log_every: 1, tokens: 8_192, checkpoint_every: 7, batch: 4096}\nlosses: {mse: {coeff: 1}}\n"
               "activation: {k: 04, plugin: topk, temp: 1.0}\nsae.d_sae: 64\ndataset: {noise: 0, plugin: synthetic}\n",
               true);
    assert_ids(BASE "losses: {afa: {coeff: 1/32}}", BASE "losses: {afa: {coeff: 0.03125, plugin: afa}}", true);
    assert_ids(BASE "losses: {auxk: {coeff: 1, k: 0}}", BASE "losses: {auxk: {coeff: 1}, mse: off}", true);
}

static void different_experiments_have_different_ids(void **state)
{
    static const char *const others[] = {
        BASE "seed: 1",
        BASE "dataset.seed: 1",
        BASE "eval.tokens: 0",
        BASE "losses: {mse: {coeff: 2}}",
        BASE "losses: {mse: {}, afa: {coeff: 1}}",
        BASE "losses: {mse: {}, b: {plugin: afa, coeff: 1}}",
        BASE "losses: {afa: {coeff: 1}, mse: {}}",
        BASE "losses: {mse: {coeff: {from: 1, to: 1}}}",
        BASE "activation.temp: 0.5",
        BASE "sae.init_from: x",
        BASE "sae.init_from: ./x",
    };
    enum { COUNT = sizeof others / sizeof others[0] };
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        assert_ids(BASE, others[i], false);
        for (size_t j = 0; j < i; j++) assert_ids(others[i], others[j], false);
    }
}

static void ids_stay_what_they_were(void **state)
{
    (void)state;
    qsr_spec *spec = load(BASE);
    assert_string_equal(spec->id, "topk-k4-64-synthetic-337218fece34"); /* on disk since 0.1.0: never change it silently */
    qsr_spec_free(spec);
    spec = load("dataset: {plugin: gpt2, model: m, hook.layer: 1}\nsae: {d_sae: 123456789}\ntrain: {tokens: 8192}\n"
                "activation: {plugin: topk, k: 123456789, temperature: 0.12345678901234567}\n");
    assert_memory_equal(spec->id, "topk-k123456789-123456789-gpt2-", 31); /* what is too long is left out */
    qsr_spec_free(spec);
}

static void every_dump_loads_to_the_same_experiment(void **state)
{
    static const char text[] =
        "dataset: {plugin: gpt2, model: \"a b\", tokens: ['x, y', \"t\\tu\\\"\\\\\\u2028\\x7f\\x85\\U0001F600ü\"], "
        "hook.layer: 3}\n"
        "sae: {d_sae: 64, init_from: 'null'}\nactivation: {plugin: topk, k: {from: 9, to: 4, over: 1/3}}\n"
        "losses: {b: {plugin: afa, coeff: 1/3}, mse: {coeff: {from: 0.1, to: 1e-9, shape: cosine}}}\n"
        "train: {tokens: 8192, log_every: 3}\n";
    (void)state;
    qsr_spec *spec = load(text);
    for (int canonical = 0; canonical < 2; canonical++) {
        qsr_text dump = {0}, again = {0};
        qsr_spec_dump(spec, canonical, &dump);
        qsr_spec *loaded = load(dump.bytes);
        assert_string_equal(loaded->id, spec->id);
        assert_string_equal(loaded->name, spec->name);
        assert_int_equal(loaded->train.log_every, 3);
        qsr_spec_dump(loaded, canonical, &again);
        assert_string_equal(dump.bytes, again.bytes);
        assert_string_equal(((const struct fake_gpt2 *)loaded->dataset.values)->tokens.items[1],
                            ((const struct fake_gpt2 *)spec->dataset.values)->tokens.items[1]);
        qsr_spec_free(loaded);
        qsr_text_free(&dump);
        qsr_text_free(&again);
    }
    qsr_spec_free(spec);
}

static void a_full_dump_writes_every_option(void **state)
{
    (void)state;
    qsr_text dump = {0};
    qsr_spec *spec = load("seed: 3\n" BASE);
    qsr_spec_dump(spec, false, &dump);
    assert_string_equal(
        dump.bytes,
        "name: test\nseed: 3\n"
        "dataset:\n  plugin: synthetic\n  seed: 0\n  skip_first: 0\n  shuffle: true\n  buffer: 65536\n  epochs: 0\n"
        "  d_in: 64\n  features: 256\n  l0: 8\n  noise: 0\n  firing: uniform\n"
        "sae:\n  d_sae: 64\n  normalize: token\n  pre_bias: auto\n  encoder_bias: auto\n  init: tied\n"
        "  init_scale: 1\n  b_dec_init: mean\n  screen: auto\n"
        "activation:\n  plugin: topk\n  k: 4\n  temperature: 1\n"
        "losses:\n  mse:\n    plugin: mse\n    coeff: 1\n"
        "train:\n  tokens: 8192\n  batch: 4096\n  lr: 0.0003\n  beta1: 0.9\n  beta2: 0.99\n  clip_norm: 1\n"
        "  warmup: 0\n  decay: 0\n  dead_after: 1000000\n  decoder_norm: after_step\n  log_every: 10\n"
        "  checkpoint_every: 500\n"
        "eval:\n  tokens: 65536\n  latents: true\n  top_contexts: 5\n  context_before: 16\n  context_after: 8\n"
        "  ce_tokens: 16384\n");
    qsr_text_free(&dump);
    qsr_spec_free(spec);
}

static void an_absolute_dump_means_the_same_everywhere(void **state)
{
    (void)state;
    qsr_text dump = {0};
    qsr_spec *spec = load("dataset: {plugin: gpt2, model: m, hook.layer: 1}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                          "activation: {plugin: relu}\n");
    qsr_spec_dump_absolute(spec, &dump);
    qsr_spec *loaded = load_named("/elsewhere/spec.yaml", dump.bytes, NULL, 0);
    qsr_arena arena = {0};
    const char *model = ((const struct fake_gpt2 *)loaded->dataset.values)->model;
    assert_int_equal(model[0], '/');
    assert_string_equal(model, qsr_path_absolute(&arena, "dir/m"));
    qsr_arena_free(&arena);
    qsr_text_free(&dump);
    qsr_spec_free(loaded);
    qsr_spec_free(spec);
}

/* ---- schedules, places ----------------------------------------------------------------------------------------------- */

static void schedules_move_values(void **state)
{
    (void)state;
    qsr_spec *spec = load("dataset: {plugin: synthetic}\nsae: {d_sae: 64}\ntrain: {tokens: 8192}\n"
                          "activation: {plugin: topk, k: {from: 10, to: 2, over: 1/2}}\n"
                          "losses: {mse: {coeff: {from: 1, to: 3, shape: cosine}}, afa: {coeff: 7}}\n");
    const int64_t *k = &((const struct fake_topk *)spec->activation.values)->k;
    const double *coeff = &((const struct fake_coeff *)spec->losses[0].values)->coeff;
    assert_int_equal(*k, 10);
    qsr_spec_schedule(&spec->activation, 10, 100);
    assert_int_equal(*k, 8); /* 10 - 8 * 10 / 50 = 8.4 */
    qsr_spec_schedule(&spec->activation, 49, 100);
    assert_int_equal(*k, 2); /* 2.16 */
    qsr_spec_schedule(&spec->activation, 50, 100);
    assert_int_equal(*k, 2);
    qsr_spec_schedule(&spec->activation, UINT64_MAX, 100);
    assert_int_equal(*k, 2);
    qsr_spec_schedule(&spec->losses[0], 0, 100);
    assert_true(*coeff == 1);
    qsr_spec_schedule(&spec->losses[0], 25, 100);
    assert_close(*coeff, 2 - sqrt(0.5), 1e-14); /* 2 - cos(pi / 4) */
    qsr_spec_schedule(&spec->losses[0], 50, 100);
    assert_close(*coeff, 2, 1e-14);
    qsr_spec_schedule(&spec->losses[0], 100, 100);
    assert_true(*coeff == 3);
    qsr_spec_schedule(&spec->losses[1], 50, 100);
    assert_true(((const struct fake_afa *)spec->losses[1].values)->coeff == 7);
    qsr_spec_free(spec);
}

static void blames_where_an_option_was_written(void **state)
{
    static const char *const overrides[] = {"losses.afa.coeff=3"};
    qsr_problems problems = {0};
    qsr_text out = {0};
    qsr_error e = {0};
    (void)state;
    qsr_spec *spec = load_named("t.yaml", BASE, overrides, 1);
    qsr_fail_option(&e, QSR_E_OPTION, "k", "k=4 exceeds d_sae=%d", 2);
    qsr_spec_blame(spec, &spec->activation, &e, &problems);
    qsr_fail_option(&e, QSR_E_OPTION, "noise", "too quiet");
    qsr_spec_blame(spec, &spec->dataset, &e, &problems);
    qsr_fail_option(&e, QSR_E_OPTION, "coeff", "too large");
    qsr_spec_blame(spec, &spec->losses[1], &e, &problems);
    qsr_fail(&e, QSR_E_UNSUPPORTED, "cannot");
    qsr_spec_blame(spec, &spec->losses[0], &e, &problems);
    qsr_spec_free(spec);
    qsr_problems_write(&problems, &out);
    assert_string_equal(out.bytes,
                        "t.yaml:1:1: dataset.noise: too quiet\n    dataset: {plugin: synthetic}\n    ^~~~~~~\n"
                        "t.yaml:3:31: activation.k: k=4 exceeds d_sae=2\n    activation: {plugin: topk, k: 4}\n"
                        "                                  ^\n"
                        "t.yaml: losses.mse: cannot\n"
                        "command line: losses.afa.coeff: too large\n    losses.afa.coeff=3\n                     ^\n");
    qsr_text_free(&out);
    qsr_problems_free(&problems);
}

static void places_are_values_or_the_block_above(void **state)
{
    (void)state;
    qsr_spec *spec = load(BASE);
    assert_int_equal(qsr_spec_place(spec, "sae.d_sae").line, 2);
    assert_int_equal(qsr_spec_place(spec, "sae.d_sae").col, 14);
    assert_int_equal(qsr_spec_place(spec, "sae.init_from").col, 1);
    assert_int_equal(qsr_spec_place(spec, "eval.tokens").line, 0);
    qsr_spec_free(spec);
}

/* ---- files ----------------------------------------------------------------------------------------------------------- */

static void assert_unloadable(const char *path, const char *message)
{
    qsr_problems problems = {0};
    qsr_text out = {0};
    qsr_spec *spec = NULL;
    assert_true(qsr_spec_load(path, NULL, 0, &fake_env, &spec, &problems) != QSR_OK);
    assert_null(spec);
    qsr_problems_write(&problems, &out);
    assert_string_equal(out.bytes, message);
    qsr_text_free(&out);
    qsr_problems_free(&problems);
}

static void refuses_what_is_no_spec_file(void **state)
{
    qsr_error e = {0};
    qsr_arena arena = {0};
    (void)state;
    const char *large = qsr_arena_printf(&arena, "%s/large.yaml", test_folder());
    char *spaces = qsr_arena_alloc(&arena, (1 << 20) + 1, 1);
    memset(spaces, ' ', (1 << 20) + 1);
    assert_int_equal(qsr_write_file(large, spaces, (1 << 20) + 1, &e), QSR_OK);
    assert_unloadable("/nowhere/at/all.yaml", "cannot read /nowhere/at/all.yaml: No such file or directory\n");
    assert_unloadable("/", "cannot read /: it is a folder, not a file\n");
    assert_unloadable(large, qsr_arena_printf(&arena, "%s is too large: 1.0 MiB, the limit is 1.0 MiB\n", large));
    qsr_arena_free(&arena);
    assert_int_equal(qsr_remove_tree(test_folder(), &e), QSR_OK);
}

/* A chain of n files, each extending the next. */
static void write_chain(qsr_arena *arena, int n)
{
    qsr_error e = {0};
    for (int i = 0; i < n; i++) {
        const char *text = qsr_arena_printf(arena, "extends: %d.yaml\n%s", i + 1, i == 0 ? BASE : "");
        if (i == n - 1) text = "seed: 77\n";
        assert_int_equal(qsr_write_file(qsr_arena_printf(arena, "%s/%d.yaml", test_folder(), i), text, strlen(text), &e),
                         QSR_OK);
    }
}

static void extends_reaches_sixteen_files_deep(void **state)
{
    qsr_problems problems = {0};
    qsr_arena arena = {0};
    qsr_spec *spec = NULL;
    (void)state;
    assert_int_equal(qsr_mkdirs(test_folder(), NULL), QSR_OK);
    const char *path = qsr_arena_printf(&arena, "%s/0.yaml", test_folder());
    write_chain(&arena, 1 + QSR_EXTENDS_DEPTH);
    assert_int_equal(qsr_spec_load(path, NULL, 0, &fake_env, &spec, &problems), QSR_OK);
    assert_int_equal(spec->seed, 77);
    qsr_spec_free(spec);
    write_chain(&arena, 2 + QSR_EXTENDS_DEPTH);
    assert_int_equal(qsr_spec_load(path, NULL, 0, &fake_env, &spec, &problems), QSR_E_OPTION);
    assert_int_equal(problems.count, 1);
    assert_string_equal(problems.items[0].text, "more than 16 files deep");
    assert_true(qsr_ends_with(problems.items[0].mark.source->name, "/16.yaml"));
    qsr_problems_free(&problems);
    qsr_arena_free(&arena);
    assert_int_equal(qsr_remove_tree(test_folder(), NULL), QSR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_every_field),
        cmocka_unit_test(has_the_defaults_of_the_design),
        cmocka_unit_test(overrides_resolve_paths_from_here),
        cmocka_unit_test(equal_experiments_have_equal_ids),
        cmocka_unit_test(different_experiments_have_different_ids),
        cmocka_unit_test(ids_stay_what_they_were),
        cmocka_unit_test(every_dump_loads_to_the_same_experiment),
        cmocka_unit_test(a_full_dump_writes_every_option),
        cmocka_unit_test(an_absolute_dump_means_the_same_everywhere),
        cmocka_unit_test(schedules_move_values),
        cmocka_unit_test(blames_where_an_option_was_written),
        cmocka_unit_test(places_are_values_or_the_block_above),
        cmocka_unit_test(refuses_what_is_no_spec_file),
        cmocka_unit_test(extends_reaches_sixteen_files_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

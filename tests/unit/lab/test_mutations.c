/* The program given slightly damaged files: each round changes one of the inputs of a small experiment and runs it. Whatever the
 * damage, it ends with 0, 1 or 2, never by a signal or with a sanitizer's report, says something when it did not work, and leaves
 * nothing behind when it ends with 2. What it says is the business of test_bad_input.c. */
#include <sys/stat.h>
#include <unistd.h>

#include "../../fuzz/mutate.h"
#include "../unit.h"
#include "bad-files.h"
#include "base/arena.h"
#include "base/fs.h"
#include "child.h"

enum { ROUNDS = 40, MOST_SECONDS = 30 /* of one run; it takes 0.1 */, HEADERS = 600 };

/* Every experiment ends soon, whatever number its spec gets: epochs bounds the tokens. */
static const char
    stored[] = "name: tiny\n"
               "dataset: { plugin: activations, path: [x.npy, y.safetensors], epochs: 2, buffer: 32 }\n"
               "sae: { d_sae: 4, init_from: init.safetensors, normalize: dataset }\n"
               "activation: { plugin: jumprelu, bandwidth: 1/4 }\n"
               "losses: { mse: {}, l0: { coeff: 1e-3 }, auxk: { dead_after: 32 } }\n"
               "train: { tokens: 64, batch: 16, warmup: 0.2 }\n"
               "eval: { tokens: 16 }\n",
    live[] = "name: tiny\n"
             "dataset: { plugin: gpt2, model: model, tokens: tokens.npy, hook: { layer: 1 }, context: 8, epochs: 2 }\n"
             "sae: { d_sae: 4 }\n"
             "activation: { plugin: topk, k: 2 }\n"
             "train: { tokens: 64, batch: 16 }\n"
             "eval: { tokens: 16 }\n";

static void make(const char *head, const char *body)
{
    char *h = strdup(head), *b = strdup(body);
    assert_true(make_file(h, b));
    free(h);
    free(b);
}

static void make_inputs(void)
{
    make("@file stored.yaml", stored);
    make("@file live.yaml", live);
    make("@npy x.npy", "array <f4 40x8\n");
    make("@safetensors y.safetensors", "tensor activations BF16 40x8\n");
    make("@safetensors init.safetensors",
         "tensor W_enc F32 8x4\ntensor W_dec F32 4x8\ntensor b_enc F32 4 zero\ntensor b_dec F64 8\n"
         "tensor threshold F32 4 zero\n");
    make("@gpt2 model", "");
    make("@npy tokens.npy", "array <u2 96\n");
}

static void read_mutant(const char *path, mutant *ret)
{
    qsr_map map;
    assert_int_equal(qsr_map_open(path, &map, NULL), QSR_OK);
    assert_true(map.size <= MUTANT_MOST);
    memcpy(ret->bytes, map.bytes, map.size);
    ret->n = map.size;
    qsr_map_close(&map);
}

/* Runs the experiment; false, with a note, when it ended as it must not. */
static bool run_once(const char *folder, const char *spec, int *ret_code)
{
    qsr_arena arena = {0};
    const char *argv[] = {
        qsr_path_join(&arena, build_folder(), "quasar"), "run", spec, "--quiet", "--threads", "1", "--out", "out", NULL};
    child run = {.folder = folder, .argv = argv, .aside = test_folder(), .most_seconds = MOST_SECONDS};
    ended e = run_child(&run);
    const char *wrong = NULL;
    if (e.signal || e.code < 0 || e.code > 2)
        wrong = "ended as it must not";
    else if (e.code && !e.err.length)
        wrong = "said nothing";
    else if (e.code == 2 && qsr_exists("out"))
        wrong = "left something behind";
    if (wrong)
        fprintf(stderr, "%s: %s: exit code %d, signal %d\n%s", spec, wrong, e.code, e.signal,
                e.err.bytes ? e.err.bytes : "");
    *ret_code = e.code;
    free_ended(&e);
    assert_int_equal(qsr_remove_tree("out", NULL), QSR_OK);
    qsr_arena_free(&arena);
    return !wrong;
}

/* Damages `path` in ROUNDS ways; a file that brings the program to its knees stays in the folder for looking at. */
static void damage(const char *folder, const char *spec, const char *path, unsigned ended_with[3])
{
    static mutant whole, damaged;
    read_mutant(path, &whole);
    for (unsigned round = 0; round < ROUNDS; round++) {
        int code;
        damaged = whole;
        for (size_t i = 1 + mutate_below(2); i > 0; i--) mutate(&damaged, mutate_below(4) ? HEADERS : MUTANT_MOST);
        assert_int_equal(qsr_write_file(path, damaged.bytes, damaged.n, NULL), QSR_OK);
        if (!run_once(folder, spec, &code)) fail_msg("round %u of %s/%s", round, folder, path);
        ended_with[code]++;
    }
    assert_int_equal(qsr_write_file(path, whole.bytes, whole.n, NULL), QSR_OK);
}

static void ends_in_order_whatever_is_damaged(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *path;
    } inputs[] = {{"stored.yaml", "stored.yaml"},           {"stored.yaml", "x.npy"},   {"stored.yaml", "y.safetensors"},
                  {"stored.yaml", "init.safetensors"},      {"live.yaml", "live.yaml"}, {"live.yaml", "model/config.json"},
                  {"live.yaml", "model/model.safetensors"}, {"live.yaml", "tokens.npy"}};
    unsigned total[3] = {0};
    char folder[256];
    int code;
    snprintf(folder, sizeof folder, "%s/here", test_folder());
    assert_int_equal(qsr_mkdirs(folder, NULL), QSR_OK);
    assert_int_equal(chdir(folder), 0);
    make_inputs();
    mutate_begin(2);
    assert_true(run_once(folder, "stored.yaml", &code) && code == 0);
    assert_true(run_once(folder, "live.yaml", &code) && code == 0);
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        unsigned ended_with[3] = {0};
        damage(folder, inputs[i].spec, inputs[i].path, ended_with);
        print_message("%-24s %3u completed, %3u failed, %3u refused\n", inputs[i].path, ended_with[0], ended_with[1],
                      ended_with[2]);
        for (int c = 0; c < 3; c++) total[c] += ended_with[c];
        assert_true(ended_with[2] > ROUNDS / 8); /* else the damage is too small to test anything */
    }
    assert_true(total[0] > ROUNDS / 2);
    assert_int_equal(chdir("/"), 0);
    qsr_remove_tree(test_folder(), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ends_in_order_whatever_is_damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

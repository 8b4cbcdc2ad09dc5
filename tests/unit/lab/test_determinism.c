/* The determinism contract: the same spec gives the same bytes for 1, 2 and 3 threads, run after run, under each set of kernels:
 * weights, moments, losses and evaluation of trainings in memory, and the files of whole runs; log_every decides which lines appear
 * and nothing else. Batches, widths and dictionaries are multiples of nothing. */
#include "../unit.h"

#include <unistd.h>

#include "../bench.h"
#include "format/npy.h"
#include "math/kernel.h"

static const struct {
    const char *activation, *losses, *sae, *train;
} learners[] = {
    {"topk, k: 8", "mse: {}, auxk: {k: 20, dead_after: 100}", "init: tied", "decoder_norm: after_step"},
    {"batchtopk, k: 8", "mse: {}, auxk: {dead_after: 100, detach_residual: false}", "init: released",
     "decoder_norm: before_step, warmup: 0.5"},
    {"topafa", "mse: {}, afa: {norm: decoder, target: centred}, l1: {coeff: 0.001}", "init_scale: 2",
     "decoder_norm: none, lr: 0.003"},
    {"relu", "mse: {}, l1: {coeff: 0.01}, afa: {}", "pre_bias: false", "clip_norm: 0.1"},
    {"jumprelu, bandwidth: 0.2", "mse: {}, l0: {coeff: 0.001}, prefixes: {first: 50, second: 150, top: 9, mode: after}",
     "init: released, init_scale: 5", "decay: 0.5"},
};
enum { LEARNERS = sizeof learners / sizeof *learners };

/* counted takes every row for the mean of b_dec; synthetic is endless, so its specs start at zero and without a scale. */
static const struct {
    const char *dataset, *sae;
    int batch, steps, eval;
} shapes[] = {
    {"plugin: counted, d_in: 24, index: false, units: 900, rows_per_unit: 3, skip_first: 1, buffer: 500",
     "d_sae: 301, normalize: dataset, b_dec_init: mean", 77, 5, 600},
    {"plugin: counted, d_in: 24, index: false, units: 900, rows_per_unit: 3, skip_first: 1, buffer: 100, drop: 3",
     "d_sae: 301, normalize: dataset, b_dec_init: mean", 77, 5, 600},
    {"plugin: synthetic, d_in: 53, features: 80, noise: 0.1, buffer: 1000",
     "d_sae: 301, normalize: token, b_dec_init: zero", 192, 4, 300},
    {"plugin: synthetic, d_in: 128, features: 80, firing: zipf, correlation: 0.5, buffer: 3000",
     "d_sae: 257, normalize: none, b_dec_init: zero", 1030, 3, 257},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static qsr_spec *synthetic_spec(size_t learner, size_t shape, int log_every)
{
    return bench_spec("name: same\nseed: 5\ndataset: {%s}\nactivation: {plugin: %s}\nlosses: {%s}\nsae: {%s, %s}\n"
                      "train: {tokens: %d, batch: %d, log_every: %d, dead_after: 200, %s}\neval: {tokens: %d}\n",
                      shapes[shape].dataset, learners[learner].activation, learners[learner].losses, shapes[shape].sae,
                      learners[learner].sae, shapes[shape].batch * shapes[shape].steps, shapes[shape].batch, log_every,
                      learners[learner].train, shapes[shape].eval);
}

/* Few tokens, so that all of them are soon read. */
static const char *token_file(void)
{
    static char path[4096];
    uint16_t tokens[2600];
    for (size_t i = 0; i < 2600; i++) tokens[i] = (uint16_t)(i * i * 7919 % 2048);
    snprintf(path, sizeof path, "%s/tokens-%ld.npy", test_folder(), (long)getpid());
    assert_ok(qsr_npy_write(path, QSR_U16, 1, (size_t[]){2600}, tokens, NULL));
    return path;
}

static qsr_spec *gpt2_spec(size_t learner, const char *tokens)
{
    return bench_spec("name: same\nseed: 5\nactivation: {plugin: %s}\nlosses: {%s}\nsae: {d_sae: 301, %s}\n"
                      "dataset: {plugin: gpt2, model: %s/experiments/data/tiny-gpt2, tokens: %s, hook: {site: resid_post, "
                      "layer: 0}, context: 13, skip_first: 1, forward_contexts: 5, buffer: 700}\n"
                      "train: {tokens: 400, batch: 77, log_every: 1, dead_after: 200, %s}\neval: {tokens: 300}\n",
                      learners[learner].activation, learners[learner].losses, learners[learner].sae, bench_source(), tokens,
                      learners[learner].train);
}

/* ---- a training in memory: every number it made, as text and bytes ------------------------------------------------ */

static void add_floats(qsr_text *out, const char *name, const float *v, size_t n)
{
    qsr_text_add(out, "%s %s\n", name, qsr_digest_bytes(v, n * sizeof *v).hex);
}

static void add_step(qsr_text *out, const qsr_learner *l)
{
    size_t weights = l->d_in * l->d_sae;
    qsr_text_add(out, "step %zu: loss %a, l0 %a, l1 %a, norm %a, dead %zu of %zu\n", (size_t)l->report.step, l->report.loss,
                 l->report.l0, l->report.l1, l->report.grad_norm, (size_t)l->report.dead_in_batch, (size_t)l->report.dead);
    for (size_t i = 0; i < l->n_losses; i++) qsr_text_add(out, "%s %a\n", l->losses[i].name, l->losses[i].value);
    add_floats(out, "xhat", l->xhat, l->batch * l->d_in);
    add_floats(out, "W_enc", l->sae.params.w_enc, weights);
    add_floats(out, "W_dec", l->sae.params.w_dec, weights);
    add_floats(out, "b_enc", l->sae.params.b_enc, l->d_sae);
    add_floats(out, "b_dec", l->sae.params.b_dec, l->d_in);
    if (l->n_params) add_floats(out, l->param[0].name, l->param[0].value, l->d_sae);
    add_floats(out, "moments", l->adam.w_enc.v, weights);
}

static void add_evaluation(qsr_text *out, const qsr_learner *l, const qsr_dataset *data)
{
    qsr_judged judged = {.sae = &l->sae, .layer = -1};
    qsr_evaluate_options options = {0};
    double value;
    const char *name;
    assert_ok(qsr_evaluate(&judged, 1, data, &options, NULL));
    assert_int_equal(judged.error.code, QSR_OK);
    for (size_t i = 0; (name = qsr_evaluation_value(&judged.evaluation, i, &value)); i++)
        qsr_text_add(out, "%s %a\n", name, value);
}

static void trace(const qsr_spec *spec, unsigned threads, qsr_text *out)
{
    qsr_dataset data;
    qsr_learner *l;
    qsr_cursor *cursor;
    qsr_error e = {0};
    if (qsr_dataset_open(spec, bench_pool(threads), &data, &e)) fail_msg("%s", e.text);
    if (qsr_learner_create(spec, data.d_in, bench_pool(threads), &l, NULL, &e)) fail_msg("%s", e.text);
    if (qsr_learner_start(l, &data, &e)) fail_msg("%s", e.text);
    assert_ok(qsr_cursor_create(&data, &spec->data, &cursor, NULL));
    float *rows = calloc(l->batch * l->d_in, sizeof *rows);
    for (size_t got; l->step < l->steps; add_step(out, l)) {
        assert_ok(qsr_cursor_next(cursor, l->batch, rows, &got, NULL));
        if (qsr_learner_step(l, rows, &e)) fail_msg("%s", e.text);
    }
    add_evaluation(out, l, &data);
    free(rows);
    qsr_cursor_free(cursor);
    qsr_learner_free(l);
    qsr_dataset_close(&data);
}

static void same_trace(const char *what, const char *a, const char *b)
{
    if (strcmp(a, b) == 0) return;
    size_t at = 0;
    while (a[at] == b[at]) at++;
    while (at && a[at - 1] != '\n') at--;
    fail_msg("%s: first differ in\n%.200s\nand\n%.200s", what, a + at, b + at);
}

/* One, two, three threads, and two once more. */
static void same_whatever_the_threads(const qsr_spec *spec)
{
    static const unsigned threads[] = {1, 2, 3, 2};
    qsr_text first = {0};
    for (size_t i = 0; i < 4; i++) {
        qsr_text now = {0};
        trace(spec, threads[i], i ? &now : &first);
        if (i) same_trace(spec->id, first.bytes, now.bytes);
        qsr_text_free(&now);
    }
    qsr_text_free(&first);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    for (size_t l = 0; l < LEARNERS; l++)
        for (size_t s = 0; s < SHAPES; s++) {
            qsr_spec *spec = synthetic_spec(l, s, 1);
            same_whatever_the_threads(spec);
            qsr_spec_free(spec);
        }
}

static void threads_do_not_show_on_gpt2(void **state)
{
    (void)state;
    const char *tokens = token_file();
    for (size_t l = 0; l < LEARNERS; l++) {
        qsr_spec *spec = gpt2_spec(l, tokens);
        same_whatever_the_threads(spec);
        qsr_spec_free(spec);
    }
}

/* ---- whole runs -------------------------------------------------------------------------------------------------- */

static void files_of_a_run_do_not_show_threads(void **state)
{
    (void)state;
    static const char *const outs[] = {"one", "two", "three", "again"};
    static const char *const files[] = {"metrics.jsonl", "result.json", "tokens.csv", "latents.csv", "top_contexts.jsonl", "sae/cfg.json",
                                        "sae/sae_weights.safetensors"};
    for (size_t l = 1; l < LEARNERS; l += 3) { /* batchtopk with auxk, jumprelu */
        qsr_spec *spec = synthetic_spec(l, 0, 1);
        qsr_run_summary runs[4];
        for (unsigned i = 0; i < 4; i++) {
            runs[i] = bench_run(spec, outs[i], bench_pool(i % 3 + 1));
            assert_int_equal(runs[i].outcome, QSR_RUN_COMPLETED);
            for (size_t f = 0; f < sizeof files / sizeof *files; f++)
                bench_same_file(runs[0].folder, runs[i].folder, files[f]);
        }
        qsr_spec_free(spec);
    }
}

static size_t lines_of(char *text, char **lines, size_t most)
{
    size_t n = 0;
    for (char *line, *rest = text; (line = strsep(&rest, "\n")) && *line;) {
        assert_true(n < most);
        lines[n++] = line;
    }
    return n;
}

static void log_every_decides_which_lines_appear(void **state)
{
    (void)state;
    for (size_t l = 0; l < 2; l++) {
        qsr_arena arena = {0};
        qsr_spec *specs[] = {synthetic_spec(l, 0, 1), synthetic_spec(l, 0, 3)};
        qsr_run_summary dense = bench_run(specs[0], "dense", bench_pool(2)),
                        sparse = bench_run(specs[1], "sparse", bench_pool(2));
        char *all[8], *some[8];
        assert_int_equal(lines_of(bench_file(&arena, dense.folder, "metrics.jsonl", NULL), all, 8), 5);
        assert_int_equal(lines_of(bench_file(&arena, sparse.folder, "metrics.jsonl", NULL), some, 8), 3);
        assert_string_equal(some[0], all[0]); /* steps that 3 divides, and the last */
        assert_string_equal(some[1], all[3]);
        assert_string_equal(some[2], all[4]);
        assert_string_equal(specs[0]->id, specs[1]->id);
        static const char *const files[] = {"result.json", "tokens.csv", "latents.csv", "top_contexts.jsonl", "sae/cfg.json", "sae/sae_weights.safetensors"};
        for (size_t i = 0; i < 4; i++) bench_same_file(dense.folder, sparse.folder, files[i]);
        for (size_t i = 0; i < 2; i++) qsr_spec_free(specs[i]);
        qsr_arena_free(&arena);
    }
}

/* ---- instruction sets -------------------------------------------------------------------------------------------- */

static void trace_everything(const char *path, const char *tokens, unsigned threads)
{
    qsr_text out = {0};
    for (size_t l = 0; l < LEARNERS; l++)
        for (size_t s = 0; s <= SHAPES; s++) {
            qsr_spec *spec = s < SHAPES ? synthetic_spec(l, s, 1) : gpt2_spec(l, tokens);
            qsr_text_add(&out, "%s\n", spec->id);
            trace(spec, threads, &out);
            qsr_spec_free(spec);
        }
    assert_ok(qsr_write_file(path, out.bytes, out.length, NULL));
    qsr_text_free(&out);
}

/* This program again, as a process of its own, since kernels are chosen once for each. */
static const char *trace_everything_under(const char *isa, const char *tokens, unsigned threads, qsr_arena *arena)
{
    char self[4096], command[16384];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    const char *name = qsr_arena_printf(arena, "%s-%u", isa, threads);
    snprintf(command, sizeof command, "QUASAR_ISA=%s '%s' '%s' '%s' %u", isa, self,
             qsr_path_join(arena, test_folder(), name), tokens, threads);
    if (system(command) != 0) fail_msg("%s failed", command);
    const char *text = bench_file(arena, test_folder(), name, NULL);
    assert_true(strlen(text) > 10000);
    return text;
}

/* The numbers of a first step, of which the line after "step 0: " has loss, l0, l1 and the gradient's norm. */
static const char *next_first_step(const char *trace, double number[4])
{
    const char *at = strstr(trace, "step 0: ");
    if (!at) return NULL;
    assert_int_equal(sscanf(at, "step 0: loss %la, l0 %la, l1 %la, norm %la", &number[0], &number[1], &number[2], &number[3]), 4);
    return at + 1;
}

/* First steps start from the same weights, so sets differ by rounding alone: a sum of d <= 128 products in float32 is off by some
 * sqrt(d) 2^-24 of its magnitude, 7e-7. Later steps are no comparison: Adam's first steps have the size lr whatever the gradient's, and
 * where a gradient is rounding they go anywhere. */
static size_t close_first_steps(const char *what, const char *a, const char *b)
{
    double x[4], y[4];
    size_t steps = 0;
    for (; (a = next_first_step(a, x)) && (b = next_first_step(b, y)); steps++)
        for (int i = 0; i < 4; i++)
            if (!(fabs(x[i] - y[i]) <= 1e-5 * fabs(x[i]))) fail_msg("%s: %.9g and %.9g, number %d of first step %zu", what, x[i], y[i], i, steps);
    return steps;
}

/* Each set repeats itself to the byte on another number of threads in a process of its own, and is as near to the portable one as rounding
 * allows. */
static void kernels_of_every_instruction_set_repeat_themselves(void **state)
{
    (void)state;
    static const char *const sets[] = {"portable", "avx2", "avx512"};
    const char *tokens = token_file(), *portable = NULL;
    qsr_arena arena = {0};
    for (size_t i = 0; i < 3; i++) {
        if (!qsr_kernels_named(sets[i])) continue; /* not built, or not on this processor */
        const char *now = trace_everything_under(sets[i], tokens, 1, &arena);
        same_trace(sets[i], now, trace_everything_under(sets[i], tokens, 3, &arena));
        if (!portable) portable = now;
        assert_int_equal(close_first_steps(sets[i], portable, now), LEARNERS * (SHAPES + 1));
    }
    qsr_arena_free(&arena);
}

int main(int argc, char **argv)
{
    setenv("QUASAR_LOG", "none", 0); /* batchtopk warns of its two l0, which are apart after three steps */
    if (argc == 4) {
        trace_everything(argv[1], argv[2], (unsigned)atoi(argv[3]));
        bench_end();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(threads_do_not_show_on_gpt2),
        cmocka_unit_test(files_of_a_run_do_not_show_threads),
        cmocka_unit_test(log_every_decides_which_lines_appear),
        cmocka_unit_test(kernels_of_every_instruction_set_repeat_themselves),
    };
    int failures = cmocka_run_group_tests_name("determinism", tests, NULL, NULL);
    bench_end();
    return failures;
}

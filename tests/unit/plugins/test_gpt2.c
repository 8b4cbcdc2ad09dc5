/* The gpt2 plugin: hidden states against golden ones and against a plain forward pass in double, purity of read(), and what
 * it says about broken folders. */
#include "../unit.h"
#include "gpt2-fixture.h"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "format/npy.h"

static qsr_arena arena;

static const char *source(const char *path) { return qsr_arena_printf(&arena, "%s/%s", getenv("QUASAR_SOURCE"), path); }
static const char *work(const char *name) { return qsr_arena_printf(&arena, "%s/%s", test_folder(), name); }
static const char *number(size_t n) { return qsr_arena_printf(&arena, "%zu", n); }

/* A dataset that must open. */
static void open_good(const setting *settings, opened *ret)
{
    qsr_error e = {0};
    if (open_dataset(settings, 0, ret, &e)) fail_msg("%s: %s", e.option, e.text);
}

static void read_good(const opened *o, const uint64_t *units, size_t n, float *out)
{
    qsr_error e = {0};
    if (read_units(o, units, n, out, &e)) fail_msg("%s", e.text);
}

/* The rows of units 0..n-1, in passes as the plugin likes them. */
static float *read_all(const opened *o, size_t n)
{
    const size_t each = o->info.rows_per_unit * o->info.d_in;
    float *out = qsr_xcalloc(n * each, sizeof *out);
    for (size_t u = 0; u < n;) {
        uint64_t units[64];
        size_t some = 0;
        while (u + some < n && some < o->info.units_per_read) units[some] = u + some, some++;
        read_good(o, units, some, out + u * each);
        u += some;
    }
    return out;
}

/* Largest |got - wanted| / |wanted| of a row. */
static double worst_row(const float *got, const double *wanted, size_t rows, size_t d)
{
    double worst = 0;
    for (size_t r = 0; r < rows; r++) {
        double error = 0, norm = 0;
        for (size_t i = r * d; i < (r + 1) * d; i++)
            error += (got[i] - wanted[i]) * (got[i] - wanted[i]), norm += wanted[i] * wanted[i];
        worst = fmax(worst, isfinite(error) ? sqrt(error / norm) : INFINITY);
    }
    return worst;
}

/* ---- golden hidden states ---------------------------------------------------------------------------------------- */

static void tiny_settings(setting s[7], const char *tokens, const char *site, size_t layer, size_t context, size_t contexts)
{
    const setting all[7] = {{"model", source("experiments/data/tiny-gpt2")},
                            {"tokens", tokens},
                            {"hook.site", site},
                            {"hook.layer", number(layer)},
                            {"context", number(context)},
                            {"forward_contexts", number(contexts)}};
    memcpy(s, all, sizeof all);
}

/* Computed in double from the same F16 weights (golden/README), so the difference is float32's rounding: about 1e-6. */
static void reaches_the_golden_hidden_states_of_every_layer(void **state)
{
    (void)state;
    qsr_safetensors *golden;
    qsr_error e = {0};
    assert_int_equal(qsr_safetensors_open(source("tests/golden/gpt2/resid_pre.safetensors"), &golden, &e), QSR_OK);
    double worst = 0;
    for (size_t layer = 0; layer < 6; layer++) {
        setting s[7];
        opened o;
        double wanted[256 * 128];
        const qsr_tensor *t = qsr_safetensors_find(golden, qsr_arena_printf(&arena, "layer.%zu", layer));
        assert_true(t && t->count == 256 * 128 && t->dtype == QSR_F32);
        for (size_t i = 0; i < t->count; i++) wanted[i] = ((const float *)t->data)[i];
        tiny_settings(s, source("tests/golden/gpt2/tokens.npy"), "resid_pre", layer, 64, 3);
        open_good(s, &o);
        assert_int_equal(o.info.units, 4);
        assert_int_equal(o.info.d_in, 128);
        float *got = read_all(&o, 4);
        worst = fmax(worst, worst_row(got, wanted, 256, 128));
        free(got);
        close_dataset(&o);
    }
    print_message("largest relative error of a row against the golden hidden states: %.1e\n", worst);
    assert_true(worst < 5e-6); /* asked for: 1e-4 */
    qsr_safetensors_close(golden);
}

static void resid_post_is_the_next_layers_resid_pre(void **state)
{
    (void)state;
    for (size_t layer = 0; layer < 5; layer += 2) {
        setting s[7];
        opened post, pre;
        tiny_settings(s, source("tests/golden/gpt2/tokens.npy"), "resid_post", layer, 64, 2);
        open_good(s, &post);
        tiny_settings(s, source("tests/golden/gpt2/tokens.npy"), "resid_pre", layer + 1, 64, 2);
        open_good(s, &pre);
        float *a = read_all(&post, 4), *b = read_all(&pre, 4);
        assert_memory_equal(a, b, 256 * 128 * sizeof *a);
        free(a);
        free(b);
        close_dataset(&post);
        close_dataset(&pre);
    }
}

/* ---- an odd shape against double --------------------------------------------------------------------------------- */

static const shape odd = {.d = 96, .heads = 3, .layers = 3, .positions = 50, .vocabulary = 313, .inner = 384};

/* 3 contexts of 50 and a rest; every type that may hold ids. */
static const char *odd_tokens(qsr_dtype dtype, size_t count, size_t vocabulary, int64_t *ids)
{
    qsr_rng rng = qsr_rng_make(11, "tokens");
    char *stored = qsr_arena_alloc(&arena, count, 8);
    for (size_t i = 0; i < count; i++) {
        uint64_t id = qsr_rng_below(&rng, i, vocabulary);
        memcpy(stored + i * qsr_dtype_size(dtype), &id, qsr_dtype_size(dtype)); /* little-endian */
        if (ids) ids[i] = (int64_t)id;
    }
    const char *path = work(qsr_arena_printf(&arena, "tokens-%s-%zu.npy", qsr_dtype_name(dtype), count));
    qsr_error e = {0};
    const size_t table[2] = {2, count / 2}, rank = count % 2 ? 1 : 2;
    if (qsr_npy_write(path, dtype, rank, rank == 2 ? table : &count, stored, &e)) fail_msg("%s", e.text);
    return path;
}

static void matches_double(const random_model *m, const char *folder, const char *tokens, const int64_t *ids,
                           const char *site, size_t layer)
{
    const setting s[] = {{"model", folder},
                         {"tokens", tokens},
                         {"hook.site", site},
                         {"hook.layer", number(layer)},
                         {"context", number(m->shape.positions)},
                         {"forward_contexts", "2"},
                         {0}};
    const size_t each = m->shape.positions * m->shape.d;
    opened o;
    open_good(s, &o);
    assert_int_equal(o.info.units, 3);
    float *got = read_all(&o, 3);
    double *wanted = qsr_xcalloc(each, sizeof *wanted);
    for (size_t u = 0; u < 3; u++) {
        reference_at(m, ids + u * m->shape.positions, m->shape.positions, 4 * (layer + (strcmp(site, "resid_post") == 0)), wanted);
        const double worst = worst_row(got + u * each, wanted, m->shape.positions, m->shape.d);
        if (!(worst < 5e-6)) fail_msg("%s %zu, unit %zu of %s: relative error %g", site, layer, u, folder, worst);
    }
    free(wanted);
    free(got);
    close_dataset(&o);
}

static void odd_shape_matches_double_in_every_dtype(void **state)
{
    (void)state;
    static const qsr_dtype dtypes[] = {QSR_F32, QSR_F16, QSR_BF16}, id_types[] = {QSR_U16, QSR_U32, QSR_I64};
    for (size_t i = 0; i < 6; i++) {
        const char *folder = work(qsr_arena_printf(&arena, "odd-%zu", i)), *prefix = i % 2 ? "transformer." : "";
        int64_t ids[164];
        random_model m;
        make_model(odd, dtypes[i / 2], &m);
        write_model(&m, folder, dtypes[i / 2], prefix);
        const char *tokens = odd_tokens(id_types[i / 2], 164, odd.vocabulary, ids);
        matches_double(&m, folder, tokens, ids, "resid_pre", i % 3);
        matches_double(&m, folder, tokens, ids, "resid_post", 2);
        free_model(&m);
    }
}

/* n_inner, contexts longer than a tile of queries, one head, many heads, a context of one token. */
static void other_shapes_match_double(void **state)
{
    (void)state;
    static const shape shapes[] = {{.d = 8, .heads = 1, .layers = 1, .positions = 150, .vocabulary = 20, .inner = 5},
                                   {.d = 40, .heads = 20, .layers = 2, .positions = 65, .vocabulary = 7, .inner = 40},
                                   {.d = 3, .heads = 3, .layers = 2, .positions = 1, .vocabulary = 1, .inner = 12}};
    for (size_t i = 0; i < 3; i++) {
        const char *folder = work(qsr_arena_printf(&arena, "shape-%zu", i));
        const size_t count = shapes[i].positions * 3;
        int64_t ids[512];
        random_model m;
        make_model(shapes[i], QSR_F32, &m);
        write_model(&m, folder, QSR_F32, "");
        const char *tokens = odd_tokens(QSR_I32, count, shapes[i].vocabulary, ids);
        matches_double(&m, folder, tokens, ids, "resid_post", shapes[i].layers - 1);
        free_model(&m);
    }
}

/* ---- purity ------------------------------------------------------------------------------------------------------ */

/* Unit 5 alone, in every slot, in any company, on any thread: the same bytes as in `alone`. */
static void check_slots(const opened *o, size_t n_units)
{
    const size_t each = o->info.rows_per_unit * o->info.d_in, slots = o->info.units_per_read;
    float *alone = qsr_xcalloc(each, sizeof *alone), *out = qsr_xcalloc(slots * each, sizeof *out);
    read_good(o, (const uint64_t[]){5}, 1, alone);
    for (size_t slot = 0; slot < slots; slot++)
        for (size_t n = slot + 1; n <= slots; n++) {
            uint64_t units[64];
            for (size_t i = 0; i < n; i++) units[i] = (i * 7 + slot * 3 + n) % n_units;
            units[slot] = 5;
            read_good(o, units, n, out);
            if (memcmp(out + slot * each, alone, each * sizeof *out)) fail_msg("slot %zu of %zu differs", slot, n);
        }
    free(alone);
    free(out);
}

static void a_units_bytes_do_not_depend_on_its_company(void **state)
{
    (void)state;
    setting s[7];
    opened o;
    tiny_settings(s, source("experiments/data/tiny-gpt2/tokens.npy"), "resid_pre", 3, 128, 5);
    open_good(s, &o);
    check_slots(&o, 100);
    close_dataset(&o);
    tiny_settings(s, source("experiments/data/tiny-gpt2/tokens.npy"), "resid_post", 1, 50, 7);
    open_good(s, &o);
    check_slots(&o, 100);
    close_dataset(&o);
}

typedef struct {
    const opened *o;
    uint64_t first;
    float *out;
} reader;

static void *read_on_thread(void *arg)
{
    const reader *r = arg;
    const uint64_t units[3] = {r->first, r->first + 1, r->first + 2};
    qsr_error e;
    for (int i = 0; i < 5; i++)
        if (read_units(r->o, units, 3, r->out, &e)) return arg;
    return NULL;
}

static void several_threads_read_at_once(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    setting s[7];
    opened o;
    tiny_settings(s, source("experiments/data/tiny-gpt2/tokens.npy"), "resid_pre", 2, 40, 3);
    open_good(s, &o);
    const size_t each = 40 * 128;
    float *alone = read_all(&o, 3 * THREADS), *out = qsr_xcalloc(3 * THREADS * each, sizeof *out);
    pthread_t threads[THREADS];
    reader readers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        readers[i] = (reader){&o, 3 * i, out + 3 * i * each};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on_thread, &readers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_memory_equal(alone, out, 3 * THREADS * each * sizeof *out);
    free(alone);
    free(out);
    close_dataset(&o);
}

static const struct CMUnitTest purity[] = {
    cmocka_unit_test(a_units_bytes_do_not_depend_on_its_company),
    cmocka_unit_test(several_threads_read_at_once),
};

/* OpenBLAS chooses its kernel when it is loaded, so each other kernel needs a process of its own. Haswell's treats rows by
 * their number modulo 12. */
static void purity_holds_on_other_blas_kernels(void **state)
{
    (void)state;
    static const char *const kernels[] = {"Haswell", "Sandybridge", "Prescott"};
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) skip();
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setenv("OPENBLAS_CORETYPE", kernels[i], 1);
            execl("/proc/self/exe", "test_gpt2", "purity", (char *)NULL);
            _exit(126);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("not pure with OPENBLAS_CORETYPE=%s", kernels[i]);
    }
#else
    (void)kernels;
    skip();
#endif
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void a_trailing_part_of_a_context_is_left_out(void **state)
{
    (void)state;
    setting s[7];
    opened o;
    tiny_settings(s, source("tests/golden/gpt2/tokens.npy"), "resid_pre", 0, 100, 4);
    open_good(s, &o);
    assert_int_equal(o.info.units, 2);
    assert_int_equal(o.info.rows_per_unit, 100);
    assert_int_equal(o.info.units_per_read, 4);
    float row[2 * 100 * 128];
    qsr_error e;
    assert_int_equal(read_units(&o, (const uint64_t[]){0, 2}, 2, row, &e), QSR_E_INTERNAL);
    assert_string_equal(e.text, "read of unit 2, the last one is 1");
    assert_int_equal(read_units(&o, (const uint64_t[]){0, 0, 0, 0, 0}, 5, row, &e), QSR_E_INTERNAL);
    assert_string_equal(e.text, "read of 5 units at once, 4 are possible");
    close_dataset(&o);
}

static void only_needed_tensors_are_required(void **state)
{
    (void)state;
    const shape small = {.d = 8, .heads = 2, .layers = 2, .positions = 16, .vocabulary = 11, .inner = 32};
    const char *folder = work("half");
    random_model m;
    opened o;
    make_model(small, QSR_F16, &m);
    for (size_t i = 0; i < m.count; i++)
        if (!strncmp(m.parameters[i].name, "h.1.", 4)) memcpy(m.parameters[i].name, "x.1.", 4);
    write_model(&m, folder, QSR_F16, "");
    const char *tokens = odd_tokens(QSR_U16, 64, small.vocabulary, NULL);
    const setting s[] = {{"model", folder}, {"tokens", tokens}, {"hook.layer", "1"}, {"context", "16"}, {0}};
    open_good(s, &o);
    close_dataset(&o);
    free_model(&m);
}

static void every_refused_allocation_is_survived(void **state)
{
    (void)state;
    setting s[7];
    tiny_settings(s, source("tests/golden/gpt2/tokens.npy"), "resid_post", 1, 64, 2);
    size_t refuse = 1;
    for (bool done = false; !done; refuse++) {
        opened o;
        qsr_error e;
        qsr_status status = open_dataset(s, refuse, &o, &e);
        done = status == QSR_OK;
        if (!done) assert_int_equal(status, QSR_E_NOMEM);
        close_dataset(&o);
    }
    assert_true(refuse > 20); /* two blocks of twelve F16 tensors, the embedding, the instance */
}

/* ---- broken folders ---------------------------------------------------------------------------------------------- */

static const shape small = {.d = 8, .heads = 2, .layers = 2, .positions = 16, .vocabulary = 11, .inner = 32};

/* What is broken; everything else is as it should be. In `message` @ stands for the folder. */
typedef struct {
    const char *what;
    const char *config, *from, *to; /* config.json: its text, or a replacement in it */
    const char *tensor;             /* a tensor ... */
    const char *renamed;            /* ... under this name, or NULL */
    size_t rank, dims[2];           /* ... of this shape, where rank is not 0 */
    qsr_dtype dtype, id_type;       /* of the model, of the tokens; 0: F32 and U16 */
    size_t n_tokens;                /* 0: 64 */
    const char *remove, *cut;       /* a file to remove, to truncate by one byte */
    setting option;
    const char *at, *message;
} broken;

/* clang-format off */
static const broken cases[] = {
    {.what = "no config", .remove = "config.json", .at = "model",
     .message = "cannot read @/config.json: No such file or directory"},
    {.what = "no model", .remove = "model.safetensors", .at = "model",
     .message = "@: there is neither model.safetensors nor model.safetensors.index.json"},
    {.what = "no tokens", .remove = "tokens.npy", .at = "tokens", .message = "cannot read @/tokens.npy: No such file or directory"},
    {.what = "model is a file", .option = {"model", "@/config.json"}, .at = "model",
     .message = "cannot read @/config.json/config.json: Not a directory"},
    {.what = "config ends early", .from = "}", .to = "", .at = "model",
     .message = "@/config.json:1:208: '}' expected near end of file"},
    {.what = "config is a list", .config = "[1, 2]", .at = "model",
     .message = "@/config.json: the file is a list, expected an object"},
    {.what = "a key twice", .config = "{\"n_embd\": 8, \"n_embd\": 9}", .at = "model",
     .message = "@/config.json:1:22: duplicate object key near '\"n_embd\"'"},
    {.what = "n_embd missing", .from = "n_embd", .to = "n_emb", .at = "model", .message = "@/config.json: n_embd is missing"},
    {.what = "n_embd a string", .from = "\"n_embd\": 8", .to = "\"n_embd\": \"8\"", .at = "model",
     .message = "@/config.json: n_embd is a string, expected an integer"},
    {.what = "n_embd 0", .from = "\"n_embd\": 8", .to = "\"n_embd\": 0", .at = "model",
     .message = "@/config.json: n_embd=0 is outside 1..65536"},
    {.what = "n_embd huge", .from = "\"n_embd\": 8", .to = "\"n_embd\": 4611686018427387904", .at = "model",
     .message = "@/config.json: n_embd=4611686018427387904 is outside 1..65536"},
    {.what = "n_layer negative", .from = "\"n_layer\": 2", .to = "\"n_layer\": -2", .at = "model",
     .message = "@/config.json: n_layer=-2 is outside 1..4096"},
    {.what = "vocab_size real", .from = "\"vocab_size\": 11", .to = "\"vocab_size\": 11.0", .at = "model",
     .message = "@/config.json: vocab_size is a real number, expected an integer"},
    {.what = "n_positions null", .from = "\"n_positions\": 16", .to = "\"n_positions\": null", .at = "model",
     .message = "@/config.json: n_positions is null, expected an integer"},
    {.what = "heads do not divide", .from = "\"n_head\": 2", .to = "\"n_head\": 3", .at = "model",
     .message = "@/config.json: n_embd=8 is not a multiple of n_head=3"},
    {.what = "n_inner negative", .from = "\"n_inner\": null", .to = "\"n_inner\": -1", .at = "model",
     .message = "@/config.json: n_inner=-1 is outside 1..1048576"},
    {.what = "epsilon 0", .from = "1e-05", .to = "0", .at = "model",
     .message = "@/config.json: layer_norm_epsilon=0 is outside (0, 1]"},
    {.what = "epsilon a list", .from = "1e-05", .to = "[1e-5]", .at = "model",
     .message = "@/config.json: layer_norm_epsilon is a list, expected a number"},
    {.what = "another activation", .from = "gelu_new", .to = "relu", .at = "model",
     .message = "@/config.json: activation_function is \"relu\", but this plugin computes \"gelu_new\" alone"},
    {.what = "another model", .from = "\"gpt2\"", .to = "\"llama\"", .at = "model",
     .message = "@/config.json: model_type is \"llama\", but this plugin computes \"gpt2\" alone"},
    {.what = "model_type a number", .from = "\"gpt2\"", .to = "2", .at = "model",
     .message = "@/config.json: model_type is an integer, expected a string"},
    {.what = "cross attention", .from = "\"tie_word_embeddings\"", .to = "\"add_cross_attention\"", .at = "model",
     .message = "@/config.json: add_cross_attention is true, but this plugin computes decoders that attend to their own text alone"},
    {.what = "a flag of another type", .from = "\"tie_word_embeddings\": true", .to = "\"scale_attn_weights\": {}",
     .at = "model", .message = "@/config.json: scale_attn_weights is an object, expected true or false"},
    {.what = "no embedding", .tensor = "wte.weight", .renamed = "wtf.weight", .at = "model",
     .message = "@/model.safetensors: tensor wte.weight is missing"},
    {.what = "no tensor", .tensor = "h.1.mlp.c_fc.bias", .renamed = "h.1.mlp.c_fc.bia", .at = "model",
     .message = "@/model.safetensors: tensor h.1.mlp.c_fc.bias is missing"},
    {.what = "wrong shape", .tensor = "h.0.attn.c_attn.weight", .rank = 2, .dims = {24, 8}, .at = "model",
     .message = "@/model.safetensors: tensor h.0.attn.c_attn.weight has shape [24, 8], expected [8, 24]"},
    {.what = "wrong rank", .tensor = "h.0.ln_1.weight", .rank = 2, .dims = {1, 8}, .at = "model",
     .message = "@/model.safetensors: tensor h.0.ln_1.weight has shape [1, 8], expected [8]"},
    {.what = "config and model differ", .from = "\"vocab_size\": 11", .to = "\"vocab_size\": 12", .at = "model",
     .message = "@/model.safetensors: tensor wte.weight has shape [11, 8], expected [12, 8]"},
    {.what = "wrong dtype", .dtype = QSR_I32, .at = "model",
     .message = "@/model.safetensors: tensor wte.weight holds I32, expected F32, F16 or BF16"},
    {.what = "truncated model", .cut = "model.safetensors", .at = "model",
     .message = "@/model.safetensors: tensor 'h.0.attn.bias': data_offsets end at byte 7908, the file has 7907 bytes of data"},
    {.what = "truncated tokens", .cut = "tokens.npy", .at = "tokens",
     .message = "@/tokens.npy: truncated: dtype and shape make 128 bytes, the file has 127"},
    {.what = "layer too large", .option = {"hook.layer", "2"}, .at = "hook.layer",
     .message = "hook.layer=2 is outside 0..1: the model has 2 layers"},
    {.what = "layer negative", .option = {"hook.layer", "-1"}, .at = "hook.layer",
     .message = "hook.layer=-1 is outside 0..1: the model has 2 layers"},
    {.what = "context too long", .option = {"context", "17"}, .at = "context",
     .message = "context=17 exceeds the model's n_positions=16"},
    {.what = "too many rows", .option = {"forward_contexts", "65537"}, .at = "forward_contexts",
     .message = "forward_contexts=65537 of context=16 tokens exceed 1048576 rows per pass"},
    {.what = "tokens of another model", .from = "\"vocab_size\": 11", .to = "\"vocab_size\": 10", .tensor = "wte.weight",
     .rank = 2, .dims = {10, 8}, .at = "tokens",
     .message = "@/tokens.npy: token 18 is 10, outside the model's vocabulary of 10: were these tokens made for another model?"},
    {.what = "too few tokens", .n_tokens = 14, .at = "tokens",
     .message = "@/tokens.npy: 14 tokens are fewer than one context of 16"},
    {.what = "tokens of real numbers", .id_type = QSR_F32, .at = "tokens",
     .message = "@/tokens.npy: holds F32, expected token ids as uint16, uint32, int32 or int64"},
};
/* clang-format on */

static const char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return qsr_arena_printf(&arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static const char *with_folder(const char *text, const char *folder)
{
    while (strchr(text, '@')) text = replaced(text, "@", folder);
    return text;
}

static void break_tensor(const broken *b, random_model *m)
{
    parameter *p = find_parameter(m, b->tensor);
    assert_non_null(p);
    if (b->renamed) snprintf(p->name, sizeof p->name, "%s", b->renamed);
    if (!b->rank) return;
    p->rank = b->rank;
    memcpy(p->dims, b->dims, sizeof p->dims);
    p->count = b->rank == 2 ? b->dims[0] * b->dims[1] : b->dims[0];
}

static void write_broken(const broken *b, const char *folder)
{
    random_model m;
    qsr_text config = {0};
    qsr_error e = {0};
    const qsr_dtype dtype = b->dtype ? b->dtype : QSR_F32, id_type = b->id_type ? b->id_type : QSR_U16;
    make_model(small, dtype, &m);
    if (b->tensor) break_tensor(b, &m);
    write_model(&m, folder, dtype, "");
    config_text(small, &config);
    if (b->config) write_text(folder, "config.json", b->config);
    if (b->from) write_text(folder, "config.json", replaced(config.bytes, b->from, b->to));
    const char *tokens = odd_tokens(id_type, b->n_tokens ? b->n_tokens : 64, small.vocabulary, NULL);
    if (rename(tokens, qsr_path_join(&arena, folder, "tokens.npy"))) fail();
    if (b->remove) assert_int_equal(remove(qsr_path_join(&arena, folder, b->remove)), 0);
    if (b->cut) {
        char *bytes;
        size_t size;
        const char *path = qsr_path_join(&arena, folder, b->cut);
        assert_int_equal(qsr_read_file(&arena, path, 1 << 20, &bytes, &size, &e), QSR_OK);
        assert_int_equal(qsr_write_file(path, bytes, size - 1, &e), QSR_OK);
    }
    qsr_text_free(&config);
    free_model(&m);
}

static void broken_folders_are_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const broken *b = &cases[i];
        const char *folder = work(qsr_arena_printf(&arena, "broken-%zu", i));
        write_broken(b, folder);
        setting s[] = {{"model", folder},
                       {"tokens", qsr_path_join(&arena, folder, "tokens.npy")},
                       {"hook.layer", "1"},
                       {"hook.site", "resid_post"},
                       {"context", "16"},
                       {b->option.name, NULL},
                       {0}};
        if (b->option.name) s[5].value = with_folder(b->option.value, folder);
        opened o;
        qsr_error e;
        qsr_status status = open_dataset(s, 0, &o, &e);
        if (!status) fail_msg("%s: accepted", b->what);
        assert_int_equal(e.code, status);
        assert_string_equal(e.option, b->at);
        assert_string_equal(e.text, with_folder(b->message, folder));
        close_dataset(&o);
    }
}

static void a_negative_id_is_named(void **state)
{
    (void)state;
    const char *folder = work("negative"), *tokens = work("negative.npy");
    random_model m;
    opened o;
    qsr_error e = {0};
    make_model(small, QSR_BF16, &m);
    write_model(&m, folder, QSR_BF16, "transformer.");
    int64_t *ids = qsr_xcalloc(10000, sizeof *ids);
    ids[9999] = -3;
    const size_t count = 10000;
    assert_int_equal(qsr_npy_write(tokens, QSR_I64, 1, &count, ids, &e), QSR_OK);
    const setting s[] = {{"model", folder}, {"tokens", tokens}, {"hook.layer", "0"}, {"context", "16"}, {0}};
    assert_int_equal(open_dataset(s, 0, &o, &e), QSR_E_INPUT);
    assert_string_equal(e.text, qsr_arena_printf(&arena,
                                                 "%s: token 9999 is -3, outside the model's vocabulary of 11: were these "
                                                 "tokens made for another model?",
                                                 tokens));
    close_dataset(&o);
    free(ids);
    free_model(&m);
}

static int clean_up(void **state)
{
    (void)state;
    qsr_remove_tree(test_folder(), NULL);
    qsr_arena_free(&arena);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reaches_the_golden_hidden_states_of_every_layer),
        cmocka_unit_test(resid_post_is_the_next_layers_resid_pre),
        cmocka_unit_test(odd_shape_matches_double_in_every_dtype),
        cmocka_unit_test(other_shapes_match_double),
        cmocka_unit_test(a_units_bytes_do_not_depend_on_its_company),
        cmocka_unit_test(several_threads_read_at_once),
        cmocka_unit_test(purity_holds_on_other_blas_kernels),
        cmocka_unit_test(a_trailing_part_of_a_context_is_left_out),
        cmocka_unit_test(only_needed_tensors_are_required),
        cmocka_unit_test(every_refused_allocation_is_survived),
        cmocka_unit_test(broken_folders_are_refused_by_name),
        cmocka_unit_test(a_negative_id_is_named),
    };
    if (argc > 1 && strcmp(argv[1], "purity") == 0) return cmocka_run_group_tests(purity, NULL, clean_up);
    return cmocka_run_group_tests(tests, NULL, clean_up);
}

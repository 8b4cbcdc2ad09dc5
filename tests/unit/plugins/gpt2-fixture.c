#include "gpt2-fixture.h"

#include "../unit.h"

#include <dlfcn.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "math/blas.h"

/* ---- the host ---------------------------------------------------------------------------------------------------- */

/* Scratch and the last error belong to the calling thread, as in the real host. */
static _Thread_local struct {
    void *blocks[64];
    size_t n;
    qsr_error error;
} call;

static qsr_status end_call(qsr_status status, qsr_error *e)
{
    while (call.n) free(call.blocks[--call.n]);
    *e = call.error;
    call.error = (qsr_error){0};
    return status;
}

static qsr_status host_fail(const qsr_host *host, qsr_status code, const char *option, const char *fmt, ...)
{
    (void)host;
    va_list args;
    va_start(args, fmt);
    qsr_vfail(&call.error, code, option, fmt, args);
    va_end(args);
    return code;
}

static void host_log(const qsr_host *host, uint32_t level, const char *fmt, ...) { (void)host, (void)level, (void)fmt; }

static void *host_alloc(const qsr_host *host, size_t n, size_t size)
{
    opened *o = host->ctx;
    if (o->n_blocks + 1 == o->refuse) return NULL;
    o->blocks = qsr_xrealloc(o->blocks, o->n_blocks + 1, sizeof *o->blocks);
    return o->blocks[o->n_blocks++] = qsr_block_alloc(n, size);
}

/* Filled with NaN: whoever reads before writing shows. */
static void *host_scratch(const qsr_host *host, size_t n, size_t size)
{
    (void)host;
    size_t bytes = (n * size + 63) / 64 * 64;
    void *block = aligned_alloc(64, bytes ? bytes : 64);
    assert_non_null(block);
    assert_true(call.n < sizeof call.blocks / sizeof *call.blocks);
    memset(block, 0xff, bytes);
    return call.blocks[call.n++] = block;
}

static const void *host_extension(const qsr_host *host, const char *id)
{
    (void)host, (void)id;
    return NULL;
}

static uint64_t host_random(const qsr_host *host, const char *stream, uint64_t counter)
{
    (void)host;
    qsr_rng rng = qsr_rng_make(1, stream);
    return qsr_rng_bits(&rng, counter);
}

static void host_gemm(const qsr_host *host, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha,
                      const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    (void)host;
    qsr_gemm(trans_a, trans_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* ---- the plugin -------------------------------------------------------------------------------------------------- */

static const qsr_plugin *load_plugin(void)
{
    qsr_arena arena = {0};
    const qsr_plugin *(*entry)(uint32_t);
    void *module = dlopen(qsr_arena_printf(&arena, "%s/plugins/datasets/.libs/gpt2.so", getenv("QUASAR_BUILD")),
                          RTLD_NOW | RTLD_LOCAL);
    if (!module) fail_msg("%s", dlerror());
    void *symbol = dlsym(module, "qsr_plugin_entry");
    assert_non_null(symbol);
    memcpy(&entry, &symbol, sizeof entry);
    qsr_arena_free(&arena);
    return entry(0);
}

/* One more in the list: a setting that is given twice makes a list of two. */
static void add_text(qsr_strings *list, const char *text, opened *ret)
{
    const char **items = qsr_arena_alloc(&ret->arena, list->count + 1, sizeof *items);
    if (list->count) memcpy(items, list->items, list->count * sizeof *items);
    items[list->count] = text;
    *list = (qsr_strings){items, list->count + 1};
}

static void set_option(const qsr_option *o, const char *text, opened *ret)
{
    void *values = ret->values;
    void *field = (char *)values + o->offset;
    if (o->type == QSR_OPT_STRING)
        *(const char **)field = text;
    else if (o->type == QSR_OPT_INT)
        assert_true(qsr_parse_int(text, field));
    else if (o->type == QSR_OPT_STRINGS)
        add_text(field, text, ret);
    else
        fail_msg("option %s has a type that this test does not fill", o->name);
}

static void fill_options(const qsr_plugin *p, const setting *settings, opened *ret)
{
    for (size_t i = 0; i < p->n_options; i++)
        if (p->options[i].def) set_option(&p->options[i], p->options[i].def, ret);
    for (const setting *s = settings; s->name; s++) {
        size_t i = 0;
        while (i < p->n_options && strcmp(p->options[i].name, s->name)) i++;
        assert_true(i < p->n_options);
        set_option(&p->options[i], s->value, ret);
    }
}

qsr_status open_dataset(const setting *settings, size_t refuse, opened *ret, qsr_error *e)
{
    const qsr_plugin *p = load_plugin();
    qsr_blas_start();
    *ret = (opened){.plugin = p, .ops = p->ops, .values = qsr_xcalloc(1, p->options_size), .refuse = refuse};
    ret->host = (qsr_host){.struct_size = sizeof(qsr_host),
                           .ctx = ret,
                           .fail = host_fail,
                           .log = host_log,
                           .alloc = host_alloc,
                           .scratch = host_scratch,
                           .random = host_random,
                           .gemm = host_gemm,
                           .extension = host_extension};
    fill_options(p, settings, ret);
    const qsr_shape none = {.struct_size = sizeof none};
    qsr_status status = end_call(p->create(&ret->host, &none, ret->values, &ret->instance), e);
    if (!status) assert_int_equal(ret->ops->describe(ret->instance, &ret->info), QSR_OK);
    return status;
}

void close_dataset(opened *o)
{
    o->plugin->destroy(o->instance);
    for (size_t i = 0; i < o->n_blocks; i++) qsr_block_free(o->blocks[i]);
    free(o->blocks);
    free(o->values);
    qsr_arena_free(&o->arena);
}

qsr_status read_units(const opened *o, const uint64_t *units, size_t n, float *out, qsr_error *e)
{
    return end_call(o->ops->read(o->instance, units, n, out), e);
}

static const qsr_splice_ops *splice_of(const opened *o) { return o->plugin->extension(QSR_EXT_SPLICE); }

qsr_status splice_ready(const opened *o, qsr_error *e) { return end_call(splice_of(o)->ready(o->instance), e); }

qsr_status splice_units(const opened *o, const uint64_t *units, size_t n, const qsr_splice *splice, qsr_error *e)
{
    return end_call(splice_of(o)->run(o->instance, units, n, splice), e);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* Rounded to what `dtype` can hold. */
static void fill(parameter *p, double centre, double spread, qsr_dtype dtype)
{
    qsr_rng rng = qsr_rng_make(7, p->name);
    for (size_t i = 0; i < p->count; i++) {
        float value = (float)(centre + spread * qsr_rng_normal(&rng, i));
        char stored[8];
        qsr_from_float(dtype, &value, 1, stored);
        qsr_to_float(dtype, stored, 1, &p->values[i]);
    }
}

static void add_parameter(random_model *m, const char *name, size_t rows, size_t columns, double centre, double spread,
                          qsr_dtype dtype)
{
    m->parameters = qsr_xrealloc(m->parameters, m->count + 1, sizeof *m->parameters);
    parameter *p = &m->parameters[m->count++];
    *p = (parameter){.rank = rows ? 2 : 1, .dims = {rows ? rows : columns, columns}, .count = (rows ? rows : 1) * columns};
    snprintf(p->name, sizeof p->name, "%s", name);
    p->values = qsr_xcalloc(p->count, sizeof *p->values);
    fill(p, centre, spread, dtype);
}

static void add_affine(random_model *m, const char *name, size_t rows, size_t columns, qsr_dtype dtype)
{
    char full[64];
    snprintf(full, sizeof full, "%.50s.weight", name);
    add_parameter(m, full, rows, columns, rows ? 0 : 1, rows ? 1 / sqrt((double)rows) : 0.2, dtype);
    snprintf(full, sizeof full, "%.50s.bias", name);
    add_parameter(m, full, 0, columns, 0, 0.2, dtype);
}

void make_model(shape s, qsr_dtype dtype, random_model *ret)
{
    static const char *const parts[] = {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"};
    const size_t dims[][2] = {{0, s.d}, {s.d, 3 * s.d}, {s.d, s.d}, {0, s.d}, {s.d, s.inner}, {s.inner, s.d}};
    *ret = (random_model){.shape = s};
    add_parameter(ret, "wte.weight", s.vocabulary, s.d, 0, 1, dtype);
    add_parameter(ret, "wpe.weight", s.positions, s.d, 0, 0.5, dtype);
    for (size_t layer = 0; layer < s.layers; layer++)
        for (size_t i = 0; i < 6; i++) {
            char name[64];
            snprintf(name, sizeof name, "h.%zu.%s", layer, parts[i]);
            add_affine(ret, name, dims[i][0], dims[i][1], dtype);
        }
    add_affine(ret, "ln_f", 0, s.d, dtype);
    if (s.separate_head) add_parameter(ret, "lm_head.weight", s.vocabulary, s.d, 0, 1, dtype);
}

void free_model(random_model *m)
{
    for (size_t i = 0; i < m->count; i++) free(m->parameters[i].values);
    free(m->parameters);
}

parameter *find_parameter(const random_model *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->parameters[i].name, name) == 0) return &m->parameters[i];
    return NULL;
}

void config_text(shape s, qsr_text *out)
{
    qsr_text_add(out,
                 "{\"model_type\": \"gpt2\", \"n_embd\": %zu, \"n_head\": %zu, \"n_layer\": %zu, \"n_positions\": %zu, "
                 "\"vocab_size\": %zu, \"n_inner\": ",
                 s.d, s.heads, s.layers, s.positions, s.vocabulary);
    if (s.inner == 4 * s.d)
        qsr_text_puts(out, "null");
    else
        qsr_text_add(out, "%zu", s.inner);
    if (s.unscaled) qsr_text_puts(out, ", \"scale_attn_weights\": false");
    if (s.scaled_by_layer) qsr_text_puts(out, ", \"scale_attn_by_inverse_layer_idx\": true");
    qsr_text_add(out,
                 ", \"activation_function\": \"gelu_new\", \"layer_norm_epsilon\": 1e-05, \"tie_word_embeddings\": %s}",
                 s.separate_head ? "false" : "true");
}

void write_text(const char *folder, const char *name, const char *text)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    if (qsr_mkdirs(folder, &e) || qsr_write_file(qsr_path_join(&arena, folder, name), text, strlen(text), &e))
        fail_msg("%s", e.text);
    qsr_arena_free(&arena);
}

/* Only the head stands outside of the transformer. */
static const char *full_name(qsr_arena *arena, const char *prefix, const char *name)
{
    return qsr_arena_printf(arena, "%s%s", strcmp(name, "lm_head.weight") == 0 ? "" : prefix, name);
}

static qsr_tensor tensor_of(qsr_arena *arena, const parameter *p, qsr_dtype dtype, const char *prefix)
{
    void *stored = qsr_arena_alloc(arena, p->count + 1, qsr_dtype_size(dtype));
    qsr_from_float(dtype, p->values, p->count, stored);
    qsr_tensor t = {
        .name = full_name(arena, prefix, p->name), .dtype = dtype, .rank = p->rank, .count = p->count, .data = stored};
    memcpy(t.shape, p->dims, sizeof p->dims);
    return t;
}

static qsr_tensor *all_tensors(qsr_arena *arena, const random_model *m, qsr_dtype dtype, const char *prefix)
{
    static const unsigned char mask[4] = {1, 0, 1, 1};
    qsr_tensor *tensors = qsr_arena_alloc(arena, m->count + 1, sizeof *tensors);
    for (size_t i = 0; i < m->count; i++) tensors[i] = tensor_of(arena, &m->parameters[i], dtype, prefix);
    tensors[m->count] = (qsr_tensor){.name = qsr_arena_printf(arena, "%sh.0.attn.bias", prefix),
                                     .dtype = QSR_BOOL,
                                     .rank = 4,
                                     .shape = {1, 1, 2, 2},
                                     .count = 4,
                                     .data = mask};
    return tensors;
}

static void write_config(const random_model *m, const char *folder)
{
    qsr_text config = {0};
    config_text(m->shape, &config);
    write_text(folder, "config.json", config.bytes);
    qsr_text_free(&config);
}

void write_model(const random_model *m, const char *folder, qsr_dtype dtype, const char *prefix)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    write_config(m, folder);
    if (qsr_safetensors_write(qsr_path_join(&arena, folder, "model.safetensors"), all_tensors(&arena, m, dtype, prefix),
                              m->count + 1, NULL, &e))
        fail_msg("%s", e.text);
    qsr_arena_free(&arena);
}

void write_shards(const random_model *m, const char *folder, qsr_dtype dtype, const char *prefix, size_t shards)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    qsr_text index = {0};
    write_config(m, folder);
    const qsr_tensor *tensors = all_tensors(&arena, m, dtype, prefix);
    qsr_tensor *some = qsr_arena_alloc(&arena, m->count + 1, sizeof *some);
    qsr_text_puts(&index, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (size_t s = 0; s < shards; s++) {
        const char *file = qsr_arena_printf(&arena, "model-%05zu-of-%05zu.safetensors", s + 1, shards);
        size_t n = 0;
        for (size_t i = s; i < m->count + 1; i += shards) {
            qsr_text_add(&index, "%s\"%s\": \"%s\"", s + n ? ", " : "", tensors[i].name, file);
            some[n++] = tensors[i];
        }
        if (qsr_safetensors_write(qsr_path_join(&arena, folder, file), some, n, NULL, &e)) fail_msg("%s", e.text);
    }
    qsr_text_puts(&index, "}}");
    write_text(folder, "model.safetensors.index.json", index.bytes);
    qsr_text_free(&index);
    qsr_arena_free(&arena);
}

/* ---- the forward pass in double ---------------------------------------------------------------------------------- */

typedef struct {
    const random_model *model;
    size_t layer;
} layer_of;

static const float *values_of(layer_of l, const char *part)
{
    char name[64];
    snprintf(name, sizeof name, "h.%zu.%s", l.layer, part);
    return find_parameter(l.model, name)->values;
}

static void reference_norm(const double *x, size_t d, const float *weight, const float *bias, double *out)
{
    double mean = 0, variance = 0;
    for (size_t i = 0; i < d; i++) mean += x[i] / (double)d;
    for (size_t i = 0; i < d; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)d;
    for (size_t i = 0; i < d; i++) out[i] = (x[i] - mean) / sqrt(variance + 1e-5) * weight[i] + bias[i];
}

static void reference_linear(const double *x, size_t in, size_t out, const float *weight, const float *bias, double *y)
{
    for (size_t j = 0; j < out; j++) {
        y[j] = bias[j];
        for (size_t i = 0; i < in; i++) y[j] += x[i] * weight[i * out + j];
    }
}

/* One head at one position: mixes the values of positions 0..t into out[width]. */
static void reference_head(const double *qkv, size_t t, size_t d, size_t width, double scale, double *out)
{
    const double *q = qkv + t * 3 * d;
    double weight[1024], sum = 0;
    for (size_t s = 0; s <= t; s++) {
        double score = 0;
        for (size_t i = 0; i < width; i++) score += q[i] * qkv[s * 3 * d + d + i];
        weight[s] = exp(score * scale);
        sum += weight[s];
    }
    for (size_t i = 0; i < width; i++) {
        out[i] = 0;
        for (size_t s = 0; s <= t; s++) out[i] += weight[s] / sum * qkv[s * 3 * d + 2 * d + i];
    }
}

/* delta[n][d] = attn_out */
static void reference_attention(layer_of l, const double *x, size_t n, double *delta)
{
    const shape *s = &l.model->shape;
    const size_t d = s->d, width = d / s->heads;
    const double scale = (s->unscaled ? 1 : 1 / sqrt((double)width)) / (s->scaled_by_layer ? (double)l.layer + 1 : 1);
    double *qkv = qsr_xcalloc(n * 3 * d, sizeof *qkv), *heads = qsr_xcalloc(d, sizeof *heads);
    for (size_t t = 0; t < n; t++) {
        reference_norm(x + t * d, d, values_of(l, "ln_1.weight"), values_of(l, "ln_1.bias"), heads);
        reference_linear(heads, d, 3 * d, values_of(l, "attn.c_attn.weight"), values_of(l, "attn.c_attn.bias"),
                         qkv + t * 3 * d);
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t h = 0; h < s->heads; h++) reference_head(qkv + h * width, t, d, width, scale, heads + h * width);
        reference_linear(heads, d, d, values_of(l, "attn.c_proj.weight"), values_of(l, "attn.c_proj.bias"), delta + t * d);
    }
    free(qkv);
    free(heads);
}

/* delta[n][d] = mlp_out */
static void reference_mlp(layer_of l, const double *x, size_t n, double *delta)
{
    const shape *s = &l.model->shape;
    const double pi = 3.14159265358979323846;
    double *in = qsr_xcalloc(s->d + s->inner, sizeof *in), *inside = in + s->d;
    for (size_t t = 0; t < n; t++) {
        reference_norm(x + t * s->d, s->d, values_of(l, "ln_2.weight"), values_of(l, "ln_2.bias"), in);
        reference_linear(in, s->d, s->inner, values_of(l, "mlp.c_fc.weight"), values_of(l, "mlp.c_fc.bias"), inside);
        for (size_t i = 0; i < s->inner; i++) {
            const double y = inside[i];
            inside[i] = 0.5 * y * (1 + tanh(sqrt(2 / pi) * (y + 0.044715 * y * y * y)));
        }
        reference_linear(inside, s->inner, s->d, values_of(l, "mlp.c_proj.weight"), values_of(l, "mlp.c_proj.bias"),
                         delta + t * s->d);
    }
    free(in);
}

/* -log p(next) of each position but the last, from the last residual stream. */
static void reference_loss(const random_model *m, const int64_t *ids, const double *x, size_t n, double *loss, double *logp)
{
    const size_t d = m->shape.d, vocabulary = m->shape.vocabulary;
    const parameter *head = find_parameter(m, m->shape.separate_head ? "lm_head.weight" : "wte.weight");
    double *last = qsr_xcalloc(d, sizeof *last), *logits = qsr_xcalloc(vocabulary, sizeof *logits);
    for (size_t t = 0; t + 1 < n; t++) {
        double sum = 0;
        reference_norm(x + t * d, d, find_parameter(m, "ln_f.weight")->values, find_parameter(m, "ln_f.bias")->values,
                       last);
        for (size_t v = 0; v < vocabulary; v++) {
            logits[v] = 0;
            for (size_t i = 0; i < d; i++) logits[v] += last[i] * head->values[v * d + i];
            sum += exp(logits[v]);
        }
        loss[t] = log(sum) - logits[ids[t + 1]];
        for (size_t v = 0; logp && v < vocabulary; v++) logp[t * vocabulary + v] = logits[v] - log(sum);
    }
    free(last);
    free(logits);
}

void reference_run(const random_model *m, const int64_t *ids, size_t n, size_t place, reference_look at, void *ctx,
                   double *loss, double *logp)
{
    const size_t d = m->shape.d, end = 4 * m->shape.layers;
    const float *wte = find_parameter(m, "wte.weight")->values, *wpe = find_parameter(m, "wpe.weight")->values;
    double *x = qsr_xcalloc(2 * n * d, sizeof *x), *delta = x + n * d;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < d; i++) x[t * d + i] = (double)wte[(size_t)ids[t] * d + i] + (double)wpe[t * d + i];
    for (size_t p = 0; p <= (loss ? end : place); p++) {
        const bool whole = p % 2 == 0;
        if (whole && p)
            for (size_t i = 0; i < n * d; i++) x[i] += delta[i];
        if (p % 4 == 1) reference_attention((layer_of){m, p / 4}, x, n, delta);
        if (p % 4 == 3) reference_mlp((layer_of){m, p / 4}, x, n, delta);
        if (p == place && at) at(ctx, whole ? x : delta, n, d);
    }
    if (loss) reference_loss(m, ids, x, n, loss, logp);
    free(x);
}

static void copy_rows(void *out, double *rows, size_t n, size_t d) { memcpy(out, rows, n * d * sizeof *rows); }

void reference_at(const random_model *m, const int64_t *ids, size_t n, size_t place, double *out)
{
    reference_run(m, ids, n, place, copy_rows, out, NULL, NULL);
}

/* random-gpt2: a model folder of GPT-2's shape with random weights, and random tokens, for measuring. Not part of make check.
 *
 *     make tests/tools/random-gpt2
 *     tests/tools/random-gpt2 FOLDER [d=768] [layers=12] [heads=12] [positions=1024] [vocabulary=50257] [tokens=1000000] [dtype=F32]
 *
 * Writes config.json, model.safetensors and tokens.npy. Weights have GPT-2's scale (0.02), so that states stay small. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/text.h"
#include "format/npy.h"
#include "format/safetensors.h"

enum { MOST_TENSORS = 16 + 12 * 128 };

typedef struct {
    const char *name;
    size_t value;
} number;
static number numbers[] = {{"d", 768},          {"layers", 12},        {"heads", 12},
                           {"positions", 1024}, {"vocabulary", 50257}, {"tokens", 1000000}};
enum { D, LAYERS, HEADS, POSITIONS, VOCABULARY, TOKENS, NUMBERS };

static qsr_arena arena;
static qsr_dtype dtype = QSR_F32;
static qsr_tensor tensors[MOST_TENSORS];
static size_t n_tensors;

static void die(const char *text)
{
    fprintf(stderr, "random-gpt2: %s\n", text);
    exit(2);
}

static void parse(const char *word)
{
    if (strncmp(word, "dtype=", 6) == 0) {
        if (!qsr_dtype_parse(word + 6, &dtype) || !qsr_dtype_is_real(dtype)) die("dtype is F32, F16 or BF16");
        return;
    }
    for (size_t i = 0; i < NUMBERS; i++) {
        const size_t n = strlen(numbers[i].name);
        int64_t value;
        if (strncmp(word, numbers[i].name, n) != 0 || word[n] != '=') continue;
        if (!qsr_parse_int(word + n + 1, &value) || value < 1 || value > INT32_MAX) die("numbers are positive");
        numbers[i].value = (size_t)value;
        return;
    }
    die("options are d, layers, heads, positions, vocabulary, tokens and dtype, each with =");
}

/* A sum of four uniform numbers is normal enough, and quick. */
static void fill(const char *name, size_t count, double centre, void *stored)
{
    enum { CHUNK = 4096 };
    const qsr_rng rng = qsr_rng_make(1, name);
    const size_t size = qsr_dtype_size(dtype);
    float values[CHUNK];
    for (size_t at = 0; at < count; at += CHUNK) {
        const size_t n = count - at < CHUNK ? count - at : CHUNK;
        for (size_t i = 0; i < n; i++) {
            const uint64_t b = qsr_rng_bits(&rng, at + i);
            const double sum =
                (double)(b & 0xffff) + (double)(b >> 16 & 0xffff) + (double)(b >> 32 & 0xffff) + (double)(b >> 48);
            values[i] = (float)(centre + 0.02 * (sum / 65536 - 2) * 1.7320508);
        }
        qsr_from_float(dtype, values, n, (char *)stored + at * size);
    }
}

static void add(const char *name, size_t rows, size_t columns, double centre)
{
    if (n_tensors == MOST_TENSORS) die("too many layers");
    qsr_tensor *t = &tensors[n_tensors++];
    *t = (qsr_tensor){.name = name, .dtype = dtype, .rank = rows ? 2 : 1, .count = (rows ? rows : 1) * columns};
    t->shape[0] = rows ? rows : columns;
    t->shape[1] = rows ? columns : 0;
    void *stored = qsr_block_raw(t->count, qsr_dtype_size(dtype));
    if (!stored) die("out of memory");
    fill(name, t->count, centre, stored);
    t->data = stored;
}

static void add_part(size_t layer, const char *part, size_t rows, size_t columns)
{
    add(qsr_arena_printf(&arena, "h.%zu.%s.weight", layer, part), rows, columns, rows ? 0 : 1);
    add(qsr_arena_printf(&arena, "h.%zu.%s.bias", layer, part), 0, columns, 0);
}

static void write_tokens(const char *path, qsr_error *e)
{
    const qsr_rng rng = qsr_rng_make(2, "tokens");
    const size_t n = numbers[TOKENS].value;
    uint32_t *ids = qsr_xcalloc(n, sizeof *ids);
    for (size_t i = 0; i < n; i++) ids[i] = (uint32_t)qsr_rng_below(&rng, i, numbers[VOCABULARY].value);
    if (qsr_npy_write(path, QSR_U32, 1, &n, ids, e)) die(e->text);
    free(ids);
}

int main(int argc, char **argv)
{
    qsr_error e = {0};
    if (argc < 2 || strchr(argv[1], '=')) die("usage: random-gpt2 FOLDER [d=768] [layers=12] [dtype=F16] ...");
    for (int i = 2; i < argc; i++) parse(argv[i]);
    const size_t d = numbers[D].value;
    if (qsr_mkdirs(argv[1], &e)) die(e.text);
    add("wte.weight", numbers[VOCABULARY].value, d, 0);
    add("wpe.weight", numbers[POSITIONS].value, d, 0);
    for (size_t i = 0; i < numbers[LAYERS].value; i++) {
        add_part(i, "ln_1", 0, d);
        add_part(i, "attn.c_attn", d, 3 * d);
        add_part(i, "attn.c_proj", d, d);
        add_part(i, "ln_2", 0, d);
        add_part(i, "mlp.c_fc", d, 4 * d);
        add_part(i, "mlp.c_proj", 4 * d, d);
    }
    add("ln_f.weight", 0, d, 1);
    add("ln_f.bias", 0, d, 0);
    const char *config = qsr_arena_printf(&arena,
                                          "{\"model_type\": \"gpt2\", \"n_embd\": %zu, \"n_layer\": %zu, \"n_head\": %zu, "
                                          "\"n_positions\": %zu, \"vocab_size\": %zu}\n",
                                          d, numbers[LAYERS].value, numbers[HEADS].value, numbers[POSITIONS].value,
                                          numbers[VOCABULARY].value);
    if (qsr_write_file(qsr_path_join(&arena, argv[1], "config.json"), config, strlen(config), &e) ||
        qsr_safetensors_write(qsr_path_join(&arena, argv[1], "model.safetensors"), tensors, n_tensors, NULL, &e))
        die(e.text);
    write_tokens(qsr_path_join(&arena, argv[1], "tokens.npy"), &e);
    return 0;
}

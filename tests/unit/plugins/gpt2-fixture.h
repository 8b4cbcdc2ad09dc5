/* What the tests of the gpt2 plugin stand on: the plugin with a small host of their own, models with random weights written
 * to disk, and a plain forward pass in double precision. */
#ifndef QSR_TESTS_GPT2_FIXTURE_H
#define QSR_TESTS_GPT2_FIXTURE_H
#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"
#include "format/safetensors.h"

/* ---- the plugin ---- */

typedef struct {
    const char *name, *value; /* numbers as text */
} setting;

typedef struct {
    const qsr_plugin *plugin;
    const qsr_dataset_ops *ops;
    qsr_instance *instance;
    qsr_host host;
    void *values;            /* the options struct */
    void **blocks;           /* given by alloc */
    size_t n_blocks, refuse; /* the alloc that is refused, from 1; 0: none */
    qsr_dataset_info info;
    qsr_arena arena; /* of lists among the options */
} opened;

/* Options of `settings` (ended by a NULL name), the others at their default. The error of a failing create is in *e and
 * ret->instance NULL; close_dataset must be called anyway. */
qsr_status open_dataset(const setting *settings, size_t refuse, opened *ret, qsr_error *e);
void close_dataset(opened *);
/* read(), and what the host does around it; any thread. */
qsr_status read_units(const opened *, const uint64_t *units, size_t n, float *out, qsr_error *e);
/* The same for "quasar.splice/1". */
qsr_status splice_ready(const opened *, qsr_error *e);
qsr_status splice_units(const opened *, const uint64_t *units, size_t n, const qsr_splice *, qsr_error *e);

/* ---- models ---- */

typedef struct {
    size_t d, heads, layers, positions, vocabulary, inner;
    bool separate_head;             /* lm_head.weight; else wte is the head */
    bool unscaled, scaled_by_layer; /* scale_attn_weights false, scale_attn_by_inverse_layer_idx true */
} shape;

typedef struct {
    char name[64];
    size_t rank, dims[2], count;
    float *values;
} parameter;

typedef struct {
    shape shape;
    parameter *parameters;
    size_t count;
} random_model;

/* Weights that a file of `dtype` holds exactly. */
void make_model(shape, qsr_dtype, random_model *ret);
void free_model(random_model *);
parameter *find_parameter(const random_model *, const char *name); /* NULL: none */
/* config.json as text, and the tensors, each under prefix + name, beside the mask tensors that HuggingFace stores. */
void config_text(shape, qsr_text *out);
void write_text(const char *folder, const char *name, const char *text);
void write_model(const random_model *, const char *folder, qsr_dtype, const char *prefix);
/* The same in model-00001-of-0000N.safetensors..., tensors dealt out in turn, and model.safetensors.index.json. */
void write_shards(const random_model *, const char *folder, qsr_dtype, const char *prefix, size_t shards);

/* One context of n ids through the model, in double throughout. `at` sees rows[n][d] at `place` (4 * layer + 0 resid_pre, 1
 * attn_out, 2 resid_mid, 3 mlp_out) and may change them. With loss[n - 1], the model is run to its end: -log p(next token);
 * with logp[n - 1][vocabulary] also the logarithm of every token's probability. */
typedef void (*reference_look)(void *ctx, double *rows, size_t n, size_t d);
void reference_run(const random_model *, const int64_t *ids, size_t n, size_t place, reference_look at, void *ctx,
                   double *loss, double *logp);
/* out[n][d] = what stands at `place`. */
void reference_at(const random_model *, const int64_t *ids, size_t n, size_t place, double *out);
#endif

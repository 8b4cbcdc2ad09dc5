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

/* ---- models ---- */

typedef struct {
    size_t d, heads, layers, positions, vocabulary, inner;
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

/* out[n][d] = the residual stream before layer `blocks` for one context of n ids, in double throughout. */
void reference_forward(const random_model *, const int64_t *ids, size_t n, size_t blocks, double *out);
#endif

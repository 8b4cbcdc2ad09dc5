/* spec/spec: one resolved experiment: every option typed, in range, with its default filled in and its place remembered. */
#ifndef QSR_SPEC_SPEC_H
#define QSR_SPEC_SPEC_H
#include "base/fs.h"
#include "quasar/plugin.h"
#include "spec/problem.h"

/* How a spec finds plugins, without knowing the loader. */
typedef struct {
    void *ctx;
    /* The plugin's descriptor; or NULL with the reason in *e (a refused file). *ret_near is a near miss to suggest, or NULL.
     * A plugin that simply does not exist leaves e->code == QSR_OK. */
    const qsr_plugin *(*find)(void *ctx, uint32_t kind, const char *name, const char **ret_near, qsr_error *e);
    const char *const *extends_folders; /* NULL-ended; where `extends` looks after the file's own folder */
    bool data_only; /* dataset and eval are meant: what else is required may be missing (activation.plugin is NULL then), and grid,
                       seeds and parts that are `off` are left aside. Such a spec cannot be trained or dumped. */
} qsr_spec_env;

/* A value that changes over training: from `from` to `to` over the first `over` (a fraction) of the steps, then constant. */
typedef struct {
    const qsr_option *option;
    double from, to, over;
    bool cosine; /* shape: linear (default) or cosine */
} qsr_schedule;

/* A plugin and its options, as a spec wrote them. */
typedef struct {
    const char *instance;        /* "dataset", "activation", or the key under losses */
    const qsr_plugin *plugin;
    void *values;                /* the plugin's options struct, plugin->options_size bytes; lives as long as the spec */
    const qsr_mark *marks;       /* [plugin->n_options] of the values; line 0: the default */
    const struct qsr_node *const *nodes; /* [plugin->n_options] as written; NULL: the default */
    const qsr_schedule *schedules;
    size_t n_schedules;
    qsr_mark mark;               /* of the block itself */
} qsr_block;

/* Keys that the host itself reads under `dataset`. */
typedef struct {
    uint64_t seed;
    int64_t skip_first, buffer, epochs; /* epochs 0: without limit */
    bool shuffle;
} qsr_data_options;

typedef struct {
    int64_t d_sae;
    const char *normalize;    /* token | none | dataset */
    const char *pre_bias;     /* auto | true | false; auto: the activation's default */
    const char *encoder_bias; /* auto | true | false */
    const char *init;         /* tied | released */
    double init_scale;        /* factor on W_enc after init, 1 by default */
    const char *b_dec_init;   /* mean | zero | geometric_median */
    const char *init_from;    /* resolved path of a safetensors file, or NULL */
    const char *screen;       /* auto | off | bf16 | int8 */
} qsr_sae_options;

typedef struct {
    int64_t tokens, batch;
    double lr, beta1, beta2, clip_norm, warmup, decay;
    uint64_t dead_after;
    const char *decoder_norm; /* after_step | before_step | none */
    int64_t log_every, checkpoint_every;
} qsr_train_options;

typedef struct {
    int64_t tokens, ce_tokens;
    bool latents;
    int64_t top_contexts, context_before, context_after;
} qsr_eval_options;

/* The parts of a spec that the host itself reads; spec/experiment.h has their tables. */
enum { QSR_PART_TOP, QSR_PART_DATASET, QSR_PART_SAE, QSR_PART_TRAIN, QSR_PART_EVAL, QSR_PARTS };

/* Where the host's own options were written: arrays over the part's table. */
typedef struct {
    const qsr_mark *marks;
    const struct qsr_node *const *nodes;
} qsr_written;

typedef struct qsr_spec {
    const char *name;
    const char *path; /* of the file, as given */
    uint64_t seed;
    qsr_data_options data;
    qsr_sae_options sae;
    qsr_train_options train;
    qsr_eval_options eval;
    qsr_block dataset, activation;
    qsr_block *losses; /* in the order of the spec */
    size_t n_losses;
    bool of_several;   /* loaded for its data alone (qsr_spec_env), from a file that describes several experiments */
    const char *id;    /* "<slug>-<12 hex>" of the canonical dump without name and NO_ID options */
    qsr_written written[QSR_PARTS];
    const struct qsr_node *tree; /* merged and overridden, before defaults (spec/node.h) */
    const char *const *notices;  /* [n_notices] deprecated options in use, a line each */
    size_t n_notices;
    qsr_arena arena;
} qsr_spec;

/* Loads, merges `extends`, applies overrides ("key=value", in order), checks everything. On failure *ret is NULL and every
 * problem is in *problems. Creates nothing on disk. A spec of several experiments is refused: spec/grid.h loads those. */
qsr_status qsr_spec_load(const char *path, const char *const *overrides, size_t n_overrides, const qsr_spec_env *,
                         qsr_spec **ret, qsr_problems *problems);
/* The same for a text in memory that is treated as if it stood in a file called `name`. */
qsr_status qsr_spec_load_text(const char *name, const char *text, size_t size, const char *const *overrides,
                              size_t n_overrides, const qsr_spec_env *, qsr_spec **ret, qsr_problems *problems);
void qsr_spec_free(qsr_spec *); /* NULL is fine */

/* YAML text that loads to the same spec and the same id. canonical: options at their default left out, options of a block in
 * alphabetical order, shortest round-trip numbers; otherwise every option is written, in the order of its table. Paths stand as
 * written, so the text means the same only in the folder of the original. */
void qsr_spec_dump(const qsr_spec *, bool canonical, qsr_text *out);
/* The canonical text without `name` and without options that cannot change results (NO_ID): what spec->id is the hash of. */
void qsr_spec_dump_identity(const qsr_spec *, qsr_text *out);
/* Every option, with absolute paths: what a run folder keeps. It loads to the same experiment from any folder, but paths are part
 * of the identity, so its id differs from the original's when that had relative paths: take a run's id from its manifest. */
void qsr_spec_dump_absolute(const qsr_spec *, qsr_text *out);

/* The value at a dotted key as canonical text, in the arena: "16" at "activation.k", "topk" at "activation.plugin",
 * "{plugin: topk, k: 16}" at "activation"; "off" at a loss that is not there. NULL: the spec has no such option. */
const char *qsr_spec_value(const qsr_spec *, const char *key, qsr_arena *);

/* Adds a problem that was found after loading, at the place where e->option was written: an option of the block's plugin ("k",
 * "hook.layer"), one of the host's beside it ("skip_first"), or another of the host's by its whole path ("eval.tokens"); at the
 * block's place when it was left out or none was named. */
void qsr_spec_blame(const qsr_spec *, const qsr_block *, const qsr_error *, qsr_problems *);
/* Where the value at a dotted path ("sae.init_from") was written; the nearest block above it when it was left out. */
qsr_mark qsr_spec_place(const qsr_spec *, const char *path);
/* The values of a schedule at `step` of `steps` written into the block's options struct; a block without any is untouched. */
void qsr_spec_schedule(const qsr_block *, uint64_t step, uint64_t steps);
#endif

/* quasar/plugin.h: the contract between Quasar and its plugins, ABI 1.1.
 *
 * A plugin is one shared object that exports one function, qsr_plugin_entry. It includes this header and nothing else of
 * Quasar's, and it needs no link flags: everything it may ask of the host arrives as a struct of functions (qsr_host).
 *
 *     cc -std=c11 -O2 -fPIC -shared -fvisibility=hidden $(pkg-config --cflags quasar) -o mine.so mine.c
 *     quasar check mine.so
 *
 * Three kinds exist: an ACTIVATION turns pre-activations into a sparse code, a LOSS judges a reconstruction, a DATASET
 * delivers rows. docs/PLUGINS.md walks through a complete example.
 *
 * Reading guide
 *   numbers    Tensors are float32, row-major, contiguous unless a leading dimension is given. Whatever is summed into a
 *              scalar is summed in double. Never compile a plugin with -ffast-math.
 *   threads    [any]   any thread, at any time, also several at once on one instance: the instance must not be changed.
 *              [step]  serial: no other call on this instance runs at the same time.
 *              [setup] serial, and only before the first or after the last step.
 *              Different instances may run at once. A plugin starts no threads, prints nothing, never exits.
 *   ownership  What the host passes in belongs to the host and dies when the call returns, unless said otherwise.
 *              Options live until destroy. Plugins are never unloaded, so static data may be handed out freely.
 *   errors     A function that can fail returns `host->fail(host, code, "option or NULL", "text", ...)`: one line, naming
 *              the value and the limit. The host knows where in the YAML file that option was written.
 *   versions   Major must be equal, a plugin's minor must not exceed the host's. Structs that start with struct_size grow
 *              at the end only: a shorter one from an older plugin is read as if its missing members were zero.
 */
#ifndef QUASAR_PLUGIN_H
#define QUASAR_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QSR_ABI_MAGIC 0x52535175u /* "uQSR" read as little-endian bytes */
#define QSR_ABI_MAJOR 1
#define QSR_ABI_MINOR 1
#define QSR_ABI_LAYOUT "f32-rowmajor"

#if defined(_WIN32)
#define QSR_EXPORT __declspec(dllexport)
#else
#define QSR_EXPORT __attribute__((visibility("default")))
#endif

/* ---- status ------------------------------------------------------------------------------------------------------ */

/* 0 is success, QSR_END the ordinary end of something, negative an error whose text was given to fail(). */
typedef int32_t qsr_status;

enum {
    QSR_OK = 0,
    QSR_END = 1,
    QSR_E_OPTION = -1,      /* an option has an unusable value: bad input */
    QSR_E_INPUT = -2,       /* a file or its contents are unusable: bad input */
    QSR_E_STATE = -3,       /* a saved state is corrupt or belongs to something else */
    QSR_E_NOMEM = -4,       /* memory refused */
    QSR_E_NUMERIC = -5,     /* a value is not finite, or a computation cannot go on */
    QSR_E_IO = -6,          /* the system refused a file operation */
    QSR_E_UNSUPPORTED = -7, /* legal, but this plugin or host does not do it */
    QSR_E_INTERNAL = -8     /* a promise of this header was broken */
};

/* ---- identity: the frozen block ---------------------------------------------------------------------------------- */

enum { QSR_ACTIVATION = 1, QSR_LOSS = 2, QSR_DATASET = 3 };

/* First bytes of every descriptor. No padding; never changes, whatever the ABI version. Fill it with QSR_ABI(kind). */
typedef struct {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t struct_size;   /* sizeof(qsr_plugin) as the plugin saw it */
    uint32_t kind;          /* QSR_ACTIVATION, QSR_LOSS, QSR_DATASET */
    uint32_t real_bytes;    /* 4: float32 tensors */
    uint32_t option_stride; /* sizeof(qsr_option) as the plugin saw it */
    char layout[16];        /* QSR_ABI_LAYOUT */
} qsr_abi;

#define QSR_ABI(kind_)                                                                                                 \
    {                                                                                                                  \
        QSR_ABI_MAGIC, QSR_ABI_MAJOR, QSR_ABI_MINOR, sizeof(qsr_plugin), kind_, sizeof(float), sizeof(qsr_option),     \
            QSR_ABI_LAYOUT                                                                                             \
    }

/* ---- options ----------------------------------------------------------------------------------------------------- */

/* A list of strings, for options that take several values (paths of shards). */
typedef struct {
    const char *const *items;
    size_t count;
} qsr_strings;

/* The type of an option follows from the C type of its field: int64_t, uint64_t, double, bool, const char * or
 * qsr_strings. Integers are exact in the whole 64-bit range, their min and max up to 2^53. */
enum { QSR_OPT_INT = 1, QSR_OPT_UINT = 2, QSR_OPT_REAL = 3, QSR_OPT_BOOL = 4, QSR_OPT_STRING = 5, QSR_OPT_STRINGS = 6 };

enum {
    QSR_OPT_REQUIRED = 1 << 0,   /* must be written; has no default */
    QSR_OPT_RANGE = 1 << 1,      /* min <= value <= max */
    QSR_OPT_OPEN_MIN = 1 << 2,   /* with RANGE: min < value */
    QSR_OPT_OPEN_MAX = 1 << 3,   /* with RANGE: value < max */
    QSR_OPT_PATH = 1 << 4,       /* STRING(S): a path; relative to the spec file, handed over resolved */
    QSR_OPT_SCHEDULE = 1 << 5,   /* also takes {from, to, over, shape}; the value may then change between steps */
    QSR_OPT_TAP = 1 << 6,        /* datasets: instances that differ only here can share one pass */
    QSR_OPT_NO_ID = 1 << 7,      /* cannot change results: left out of a cell's identity */
    QSR_OPT_DEPRECATED = 1 << 8, /* accepted with a notice; help says what to use instead */
    QSR_OPT_OPTIONAL = 1 << 9,   /* no default and may be left out: NULL, an empty list, or 0 where the help says what 0 means */
    QSR_OPT_ONE_PLAIN = 1 << 10  /* STRINGS: a list of one is written as that one, without brackets, in specs and identities: for an
                                    option that took one text before it took several. (Minor 1.) */
};

/* One row per key that the plugin accepts in YAML. Parsing, defaults, ranges, `quasar help`, the canonical dump, cell
 * identities and the check of swept keys all come from this table; the plugin never sees YAML. */
typedef struct {
    const char *name;            /* key; dots make nested keys ("hook.layer") */
    const char *alias;           /* second name, or NULL */
    const char *help;            /* one sentence: meaning, shape, what special values do */
    const char *unit;            /* "tokens", "rows"; NULL: dimensionless */
    const char *cite;            /* paper or formula source; NULL: none */
    uint32_t type, flags;        /* set by QSR_OPT; QSR_OPT_REQUIRED | ... */
    size_t offset, size;         /* of the field in the plugin's options struct; set by QSR_OPT */
    double min, max;             /* with QSR_OPT_RANGE */
    const char *def;             /* default as text, read by the same code as a user's; NULL with REQUIRED or OPTIONAL */
    const char *const *choices;  /* NULL-ended list of allowed words, for STRING; or NULL */
} qsr_option;

#ifndef __cplusplus
#define QSR_OPT_TYPE(type_, field_)                                                                                    \
    _Generic(((type_ *)0)->field_, int64_t                                                                             \
             : QSR_OPT_INT, uint64_t                                                                                   \
             : QSR_OPT_UINT, double                                                                                    \
             : QSR_OPT_REAL, bool                                                                                      \
             : QSR_OPT_BOOL, const char *                                                                              \
             : QSR_OPT_STRING, qsr_strings                                                                             \
             : QSR_OPT_STRINGS)
/* One row: QSR_OPT(struct my_options, k, .help = "latents kept per row", .flags = QSR_OPT_REQUIRED). */
#define QSR_OPT(type_, field_, ...) QSR_OPT_NAMED(type_, field_, #field_, __VA_ARGS__)
/* The same under a key that is not the field's name, such as "hook.layer". */
#define QSR_OPT_NAMED(type_, field_, key_, ...)                                                                        \
    {                                                                                                                  \
        .name = (key_), .type = QSR_OPT_TYPE(type_, field_), .offset = offsetof(type_, field_),                        \
        .size = sizeof(((type_ *)0)->field_), __VA_ARGS__                                                              \
    }
#endif

/* ---- services of the host ---------------------------------------------------------------------------------------- */

/* NOTICE: what a user waits for and would wonder about ("tokenising corpus.txt, 40 of 600 MB"); shown as warnings are. (Minor 1.) */
enum { QSR_LOG_DEBUG = 0, QSR_LOG_INFO = 1, QSR_LOG_WARNING = 2, QSR_LOG_NOTICE = 3 };

typedef struct qsr_host qsr_host;
typedef struct qsr_instance qsr_instance; /* the plugin's own; the host never looks inside */

struct qsr_host {
    uint32_t struct_size, reserved;
    void *ctx;

    /* [any] Sets the error text and returns `code`. `option` names the option at fault, or is NULL. */
    qsr_status (*fail)(const qsr_host *, qsr_status code, const char *option, const char *fmt, ...);
    /* [any] A line for the user, shown by the host at its own discretion. */
    void (*log)(const qsr_host *, uint32_t level, const char *fmt, ...);
    /* [setup] n * size bytes, zeroed, aligned to 64; released by the host after destroy. NULL when memory is refused:
     * then return QSR_E_NOMEM (no text needed). Only inside create. */
    void *(*alloc)(const qsr_host *, size_t n, size_t size);
    /* [any] n * size bytes of garbage, aligned to 64, until the current call into the plugin (or the current body of a
     * parallel_for) returns. NULL when memory is refused. */
    void *(*scratch)(const qsr_host *, size_t n, size_t size);
    /* [any] 64 random bits: a pure function of (seed, plugin name, stream, counter). No state to save. */
    uint64_t (*random)(const qsr_host *, const char *stream, uint64_t counter);
    /* [step, setup] Runs body over [0, n) in chunks that depend on n and grain alone, never on the number of threads. Of
     * several failing chunks the first in index order decides the status. Inside forward, rows, read and inside a body it
     * runs on the calling thread. */
    qsr_status (*parallel_for)(const qsr_host *, size_t n, size_t grain,
                               qsr_status (*body)(void *arg, size_t begin, size_t end), void *arg);
    /* [any] C[m][n] = alpha * op(A) op(B) + beta * C on the calling thread; op transposes where asked. lda, ldb, ldc are
     * the row lengths in memory. The same shape gives the same bytes, whatever the number of threads. */
    void (*gemm)(const qsr_host *, bool trans_a, bool trans_b, size_t m, size_t n, size_t k, float alpha, const float *a,
                 size_t lda, const float *b, size_t ldb, float beta, float *c, size_t ldc);
    /* [any] Marks the k largest of the positive v[0..n): writes their indices to `index`, ascending, and returns how many
     * (k, or fewer when fewer are positive). Ties go to the smaller index. NaN is never selected. */
    size_t (*select_largest)(const qsr_host *, const float *v, size_t n, size_t k, uint32_t *index);
    /* [any] An optional interface of the host by name and revision (QSR_HOST_*), the same each time; NULL: not offered. */
    const void *(*extension)(const qsr_host *, const char *id);
};

/* "quasar.passes/1": passes over the values of a row, as fast as the processor has them; the same result on every processor. For
 * activations: index and value may be a code's latent and value at the row's first entry, where there is always room for d_sae. A
 * plugin that also runs under hosts without it keeps a plain loop of its own. (Minor 1.) */
#define QSR_HOST_PASSES "quasar.passes/1"
typedef struct {
    uint32_t struct_size, reserved;
    /* [any] Entries with v[i] > threshold[i], or > scalar where threshold is NULL: indices and values, ascending. Returns how many.
     * NaN is never above. Both arrays have room for n, all of which may be written to. */
    size_t (*above)(const qsr_host *, const float *v, const float *threshold, float scalar, size_t n, uint32_t *index, float *value);
    /* [any] The largest values that together come nearest to a norm. Of the positive v[0..n) in descending order of
     * s_j = (v_j weight_j)^2, ties by index (weight NULL: 1 each), with c_i = sqrt(s_1 + ... + s_i), the first i stay,
     * i = argmin over i >= 1 of |c_i - target|, the smaller i on a tie; all of them when they stay at c <= target together. s, its
     * sums in that order and c are doubles. target: finite, 0 or more. Indices and values, ascending, with room for n, all of which may
     * be written to. QSR_E_NUMERIC: an s is not finite; QSR_E_NOMEM; without a text, which the plugin knows better.
     * *guess starts at 0 and goes from one row to the next of a block: rows alike are decided faster, results never depend on it. */
    qsr_status (*nearest_norm)(const qsr_host *, const float *v, const float *weight, size_t n, double target, float *guess,
                               uint32_t *index, float *value, size_t *ret_count);
} qsr_host_passes;

/* "quasar.stop/1": whether somebody wants the program to end (Ctrl-C). For a call that may wait, or work for long before it has anything to
 * give: encoding a text, a file that is still written. It asks now and then and returns QSR_E_IO with a text ("interrupted while ...");
 * what it was for is then taken up again by the next run. Reads that end by themselves need not ask. (Minor 1.) */
#define QSR_HOST_STOP "quasar.stop/1"
typedef struct {
    uint32_t struct_size, reserved;
    bool (*asked)(const qsr_host *); /* [any] */
} qsr_host_stop;

/* ---- what an instance is made for -------------------------------------------------------------------------------- */

typedef struct {
    uint32_t struct_size, reserved;
    size_t d_in, d_sae;   /* 0 for datasets */
    size_t batch_rows;    /* rows of a training batch; 0: evaluation only */
    uint32_t has_surrogate; /* losses: the activation offers QSR_CAP_SURROGATE */
    uint32_t reserved2;
    uint64_t dead_after;  /* losses: the experiment's train.dead_after, in tokens */
} qsr_shape;

/* ---- codes ------------------------------------------------------------------------------------------------------- */

/* A block of sparse rows: row r holds entries row_begin[r] .. row_begin[r + 1] - 1, in ascending order of latent, each
 * latent at most once. An entry may have value 0: it is in the support, so that gradients reach it, but it does not count
 * as active. Planes are up to two more floats per entry, for the activation's own backward. */
typedef struct {
    uint32_t struct_size, planes;
    size_t rows, d_sae;
    size_t capacity;     /* entries there is room for: rows * d_sae when handed to forward */
    size_t *row_begin;   /* [rows + 1] */
    uint32_t *latent;    /* [row_begin[rows]] */
    float *value;        /* [row_begin[rows]] */
    float *plane[2];     /* [row_begin[rows]] each, or NULL */
} qsr_code;

/* ---- activations ------------------------------------------------------------------------------------------------- */

enum { QSR_TRAIN = 0, QSR_EVAL = 1 };

/* needs: inputs that cost the host work. They are NULL unless asked for. */
enum {
    QSR_NEED_INPUT_NORM = 1 << 0, /* activations: in->input_norm */
    QSR_NEED_DEC_NORM = 1 << 1,   /* activations, losses: dec_norm */
    QSR_NEED_SILENT = 1 << 2,     /* losses: silent counters */
    QSR_NEED_D_NORM = 1 << 3,     /* losses: grads->d_norm, the gradient towards decoder row norms */
    QSR_NEED_B_DEC = 1 << 4       /* losses: in->b_dec */
};

/* caps: facts the host plans with. Unknown bits are ignored. */
enum {
    QSR_CAP_ROWS_COUPLED = 1 << 0, /* a row's result depends on the other rows of the batch (activations: prune exists) */
    QSR_CAP_PRE_BIAS = 1 << 1,     /* activations: by default b_dec is subtracted before encoding */
    QSR_CAP_ENCODER_BIAS = 1 << 2, /* activations: by default b_enc is added and trained */
    QSR_CAP_SURROGATE = 1 << 3,    /* activations: entries near the threshold stay in the support and backward reads
                                      d_active, the gradient towards [f != 0] ("quasar.surrogate/1" of the design) */
    QSR_CAP_GRAD_EXACT = 1 << 4,   /* backward is the derivative of forward everywhere */
    QSR_CAP_GRAD_PIECEWISE = 1 << 5, /* ... wherever the set of active latents does not change */
    QSR_CAP_GRAD_SURROGATE = 1 << 6, /* backward is a straight-through estimate: differences say nothing about it */
    QSR_CAP_SEQUENTIAL = 1 << 7,     /* datasets: unit i can only be read after unit i - 1 */
    QSR_CAP_COMPUTES = 1 << 8        /* datasets: read() keeps a processor busy instead of waiting for a file or the like, so the
                                        host reads ahead where a thread of its own is free, not beside them. (Minor 1.) */
};

/* A block of rows for an activation. */
typedef struct {
    uint32_t struct_size, mode; /* QSR_TRAIN, QSR_EVAL */
    size_t rows, d_sae, d_in;
    size_t row0, batch_rows;    /* place of the block in its batch */
    const float *pre;           /* [rows][ld_pre], the first d_sae of each row: before any clamping */
    size_t ld_pre;
    const double *input_norm;   /* [rows] l2 norm of what was encoded: x - b_dec, or x without pre_bias; INPUT_NORM */
    const float *dec_norm;      /* [d_sae] l2 norm of each decoder row; DEC_NORM */
} qsr_rows;

/* Per-entry gradients around an activation's backward; all arrays are parallel to code->value. */
typedef struct {
    uint32_t struct_size, reserved;
    const float *d_value;  /* gradient of the loss towards value */
    const float *d_active; /* gradient towards [f != 0]; NULL: none */
    float *d_pre;          /* out: gradient towards pre, written (not added) for every entry */
    float *d_param[2];     /* out: gradient towards parameter 0 and 1 of "quasar.params/1" at this entry's latent, written;
                              the host sums them per latent in row order */
} qsr_entry_grads;

/* All candidates of a batch, or of any part of it, ordered by row and then latent. */
typedef struct {
    uint32_t struct_size, reserved;
    size_t count;
    bool final;            /* all rows of the batch are in, and this call decides */
    size_t batch_rows, d_sae;
    const uint32_t *row, *latent; /* [count] */
    const float *value;           /* [count] */
    uint8_t *keep;                /* [count] out: 1 keeps. A candidate dropped once never comes back, so with final == false
                                     only drop what could not be kept whatever the missing rows hold. */
} qsr_candidates;

typedef struct {
    uint32_t struct_size, mode;
    size_t rows, d_in, d_sae;
    uint64_t step;
    const float *dec_norm; /* [d_sae]; DEC_NORM */
} qsr_batch;

typedef struct {
    uint32_t struct_size;
    uint32_t planes; /* 0 to 2 floats per entry beside the value */
    /* [step] Before the first block of a training batch. NULL: nothing to do. */
    qsr_status (*begin_batch)(qsr_instance *, const qsr_batch *);
    /* [any] Appends each row's entries to `out` (row_begin[0] is 0 on entry; set every row_begin[r + 1]). Clamping at zero is
     * the activation's business. In QSR_EVAL mode the result depends on the row alone, also for ROWS_COUPLED. */
    qsr_status (*forward)(const qsr_instance *, const qsr_rows *in, qsr_code *out);
    /* [step] ROWS_COUPLED only, in training only: decides which candidates stay. */
    qsr_status (*prune)(qsr_instance *, const qsr_candidates *);
    /* ROWS_COUPLED only [any]: more candidates than this never stay in a batch of batch_rows; the host then calls prune
     * early to bound memory. NULL: no bound known. */
    size_t (*keep_limit)(const qsr_instance *, size_t batch_rows);
    /* [any] Gradients per entry of a code that forward made from `in` (its pre is NULL here: keep what is needed in planes).
     * NULL: gradients pass unchanged through every entry with value != 0, and stop at value 0. */
    qsr_status (*backward)(const qsr_instance *, const qsr_rows *in, const qsr_code *, qsr_entry_grads *);
    /* [step] After the last block of a training batch, before the update. NULL: nothing to do. */
    qsr_status (*end_batch)(qsr_instance *, const qsr_batch *);
} qsr_activation_ops;

/* ---- losses ------------------------------------------------------------------------------------------------------ */

/* A look from elsewhere, valid inside rows(): codes of chosen latents, partial decodes, and gradients through both. It
 * belongs to one block of rows. */
typedef struct qsr_view qsr_view;
struct qsr_view {
    uint32_t struct_size, reserved;
    void *ctx;
    /* The k largest positive pre-activations of each row among `latents` (ascending, n of them); ties to the smaller latent.
     * The code lives until rows() returns. */
    qsr_status (*encode_top)(const qsr_view *, const uint32_t *latents, size_t n, size_t k, const qsr_code **ret_code);
    /* out[rows][d_in] = the decode of the code's entries with begin <= latent < end, plus b_dec when bias is true. The code
     * is the block's own or one that encode_top made. */
    qsr_status (*decode)(const qsr_view *, const qsr_code *code, uint32_t begin, uint32_t end, bool bias, float *out);
    /* Adds the gradients of that decode, given d_out[rows][d_in] = d loss / d out, to decoder rows and to code values, and
     * on to the encoder. d_out is read at once. */
    qsr_status (*backward)(const qsr_view *, const qsr_code *code, uint32_t begin, uint32_t end, bool bias,
                           const float *d_out);
};

typedef struct {
    uint32_t struct_size, reserved;
    size_t rows, d_in, d_sae, row0, batch_rows;
    const float *x;         /* [rows][d_in] normalised input */
    const float *xhat;      /* [rows][d_in] its reconstruction, in the same space */
    const qsr_code *code;   /* the block's code; NULL when traits has VIEW_ONLY */
    const float *dec_norm;  /* [d_sae]; DEC_NORM */
    const float *b_dec;     /* [d_in]; B_DEC */
    const qsr_view *view;
} qsr_loss_rows;

/* Where rows() adds its gradients (it never overwrites). Entry arrays are parallel to code->value. */
typedef struct {
    uint32_t struct_size, reserved;
    float *d_xhat;   /* [rows][d_in]; NULL when traits has VIEW_ONLY */
    float *d_value;  /* per entry; NULL when traits has VIEW_ONLY */
    float *d_active; /* per entry: gradient towards [f != 0]; NULL unless the activation has a surrogate */
    float *d_norm;   /* per entry: gradient towards the norm of its decoder row; D_NORM */
} qsr_loss_grads;

typedef struct {
    uint32_t struct_size, reserved;
    size_t rows, d_in, d_sae;
    const float *x, *xhat;   /* [rows][d_in], the whole batch */
    const uint64_t *silent;  /* [d_sae] tokens since f != 0, this batch included; SILENT */
} qsr_loss_batch;

/* What rows() may ask encode_top for in a batch that has yet to run. (Minor 1.) */
typedef struct {
    uint32_t struct_size, reserved;
    size_t rows, d_sae;      /* of the batch */
    const uint64_t *silent;  /* [d_sae] tokens since f != 0 before this batch: it adds `rows` to those of latents that stay silent in
                                it, and makes the others 0; SILENT */
    uint8_t *latents;        /* [d_sae] out: 1 for each latent that encode_top may be asked for; all 0 on entry */
    size_t k;                /* out: the largest k it may be asked for; 0 on entry */
} qsr_loss_outlook;

enum {
    QSR_LOSS_AFTER_BATCH = 1 << 0, /* rows() wants the whole batch decoded first, and batch() called */
    QSR_LOSS_VIEW_ONLY = 1 << 1    /* with AFTER_BATCH: gradients go through view->backward only, so that the host need not
                                      keep the codes of the whole batch */
};

typedef struct {
    uint32_t struct_size, reserved;
    /* [any] QSR_LOSS_* bits of this instance. NULL: none. */
    uint64_t (*traits)(const qsr_instance *);
    /* [step] AFTER_BATCH only: once per batch, before the first rows(); QSR_END: nothing to add in this batch. */
    qsr_status (*batch)(qsr_instance *, const qsr_loss_batch *);
    /* [any] One block: *ret_value = its share of the weighted loss (shares are added in block order), and its gradients are
     * added. What is a mean over the batch is divided by batch_rows here. */
    qsr_status (*rows)(const qsr_instance *, const qsr_loss_rows *in, qsr_loss_grads *, double *ret_value);
    /* [any] The QSR_NEED_* bits that this instance wants with its options, a subset of the plugin's `needs`; the others are
     * NULL. NULL: all of the plugin's. */
    uint64_t (*needs)(const qsr_instance *);
    /* [step] AFTER_BATCH only, before each batch: among which latents, and how many of them, rows() will ask encode_top. The host can
     * then keep their largest pre-activations while it has them; what was not named here is computed once more, by an encoder product
     * over all latents asked for. The choice must cover whatever the batch brings: latents that may be dead after it are those that are
     * if they stay silent. QSR_END: none in this batch. NULL: not known. (Minor 1.) */
    qsr_status (*outlook)(const qsr_instance *, qsr_loss_outlook *);
} qsr_loss_ops;

/* ---- datasets ---------------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t struct_size, reserved;
    size_t d_in;            /* width of a row */
    uint64_t units;         /* how many units; UINT64_MAX: without end */
    size_t rows_per_unit;   /* rows of every unit, before the host leaves out the first skip_first */
    size_t units_per_read;  /* how many units one read() handles best (contexts of one forward pass); at least 1 */
    size_t read_bytes;      /* memory one read() works in beyond its output, for the plan; 0: little */
    double unit_flops;      /* floating-point operations that a unit costs (products of a model), for `quasar bench`; 0: not
                               counted. (Minor 1.) */
} qsr_dataset_info;

typedef struct {
    uint32_t struct_size, reserved;
    /* [any] */
    qsr_status (*describe)(const qsr_instance *, qsr_dataset_info *ret_info);
    /* [any] out[n][rows_per_unit][d_in] = the rows of units[0..n), n <= units_per_read. A pure function: the bytes of a unit
     * do not depend on its company. Values that are not finite are found by the host. */
    qsr_status (*read)(const qsr_instance *, const uint64_t *units, size_t n, float *out);
} qsr_dataset_ops;

/* ---- extensions of plugins: returned by qsr_plugin.extension(id), NULL where not offered ------------------------- */

/* Byte streams for "quasar.state/1". Each returns QSR_OK or an error that was already reported. */
typedef struct qsr_stream qsr_stream;
struct qsr_stream {
    void *ctx;
    qsr_status (*write)(qsr_stream *, const void *bytes, size_t n);
    qsr_status (*read)(qsr_stream *, void *bytes, size_t n); /* all n, or QSR_E_STATE */
};

/* "quasar.params/1": vectors of one float per latent that the host optimises, checkpoints and counts into the gradient
 * norm, like encoder weights. At most two. */
typedef struct {
    uint32_t struct_size, reserved;
    const char *name;    /* as in checkpoints and gradients: "log_threshold" */
    float *value;        /* [d_sae], in the instance; the host updates it between steps */
    float lower, upper;  /* clamped to after each update; -INFINITY, INFINITY: free */
    const char *log_update; /* key in metrics.jsonl for the mean absolute update of a step; NULL: not logged */
} qsr_param;
#define QSR_EXT_PARAMS "quasar.params/1"
typedef struct {
    uint32_t struct_size, count;
    qsr_status (*get)(qsr_instance *, uint32_t index, qsr_param *ret_param); /* [setup] */
} qsr_params_ops;

/* "quasar.state/1": what must survive a checkpoint besides options and parameters. The host frames, names and checksums
 * the record; load gets the version that was stored and upgrades it or returns QSR_E_STATE. */
#define QSR_EXT_STATE "quasar.state/1"
typedef struct {
    uint32_t struct_size, state_version;
    qsr_status (*save)(const qsr_instance *, qsr_stream *);                        /* [step] */
    qsr_status (*load)(qsr_instance *, qsr_stream *, uint32_t stored_version);     /* [setup] */
} qsr_state_ops;

/* "quasar.metrics/1": numbers of the plugin's own for metrics.jsonl, read after each logged step. */
#define QSR_EXT_METRICS "quasar.metrics/1"
typedef struct {
    uint32_t struct_size, count;
    /* [step] NaN: nothing to log yet. */
    void (*get)(const qsr_instance *, uint32_t index, const char **ret_name, double *ret_value);
} qsr_metrics_ops;

/* "quasar.selector/1": the activation is one of these rules, so that the host may select by any exact method. */
#define QSR_EXT_SELECTOR "quasar.selector/1"
enum {
    QSR_SELECT_ROW = 1,      /* the k largest positive of a row, ties to the smaller latent */
    QSR_SELECT_BATCH = 2,    /* training: the k * rows largest positive of the batch, ties by row, then latent; evaluation:
                                as QSR_SELECT_ABOVE with `scalar` for every latent */
    QSR_SELECT_ABOVE = 3     /* pre > threshold[j], or > scalar where threshold is NULL */
};
typedef struct {
    uint32_t struct_size, rule;
    size_t k;
    const float *threshold; /* [d_sae] or NULL */
    float scalar;
    /* Since 1.1. Or NULL. QSR_SELECT_ABOVE in training with one plane: entries with edge[j] < pre <= threshold[j] are in the code too, with
     * value 0, and plane[0] holds the pre of every entry. [d_sae], edge[j] <= threshold[j]. */
    const float *edge;
} qsr_selection;
typedef struct {
    uint32_t struct_size, reserved;
    /* [step] QSR_END: the rule does not apply to this instance. */
    qsr_status (*get)(const qsr_instance *, uint32_t mode, qsr_selection *ret_selection);
} qsr_selector_ops;

/* "quasar.export/1": how sae/cfg.json and sae_weights.safetensors describe the activation (SAELens names). Any member may be
 * NULL: no such thing. Without architecture the file says "quasar/NAME". What tensor gives import must take. */
#define QSR_EXT_EXPORT "quasar.export/1"
typedef struct {
    const char *name;
    const float *data; /* [d_sae] */
} qsr_export_tensor;
typedef struct {
    uint32_t struct_size, reserved;
    /* [step] SAELens architecture: "standard", "topk", "jumprelu". */
    const char *(*architecture)(const qsr_instance *);
    /* [step] cfg.json keys of that architecture: index counts up until NULL is returned; integers as exact doubles. */
    const char *(*key)(const qsr_instance *, uint32_t index, double *ret_value);
    /* [step] Extra tensors; index counts up until QSR_END. Data stays valid until the next call on the instance. */
    qsr_status (*tensor)(qsr_instance *, uint32_t index, qsr_export_tensor *ret_tensor);
    /* [setup] A tensor of that name (such as "threshold" or "log_threshold") from a file, [n]; QSR_END: not one of mine. */
    qsr_status (*import)(qsr_instance *, const char *name, const float *data, size_t n);
} qsr_export_ops;

/* "quasar.truth/1": a synthetic dataset's true features, for mmcs and mcc. */
#define QSR_EXT_TRUTH "quasar.truth/1"
typedef struct {
    uint32_t struct_size, reserved;
    /* [any] Rows are unit vectors; valid until destroy. */
    qsr_status (*get)(const qsr_instance *, const float **ret_features, size_t *ret_count, size_t *ret_d_in);
} qsr_truth_ops;

/* "quasar.taps/1": several taps of one pass, such as the layers of one model: n instances of a dataset that differ in options
 * flagged QSR_OPT_TAP alone, in one instance. The dataset's describe works on it as well; units, rows and d_in are the same
 * for all taps. Its read gives the first tap. */
#define QSR_EXT_TAPS "quasar.taps/1"
typedef struct {
    uint32_t struct_size, reserved;
    /* [setup] As the descriptor's create, for n >= 1 sets of options, which live until destroy; equal ones are allowed. On
     * failure *ret_tap is the set at fault (0 before the call). */
    qsr_status (*create)(const qsr_host *, const qsr_shape *, const void *const *options, size_t n, size_t *ret_tap,
                         qsr_instance **ret_instance);
    /* [any] As the dataset's read: out[tap][n][rows_per_unit][d_in], where the bytes of a tap are those that an instance of
     * its own would give. out[tap] == NULL: not wanted now; at least one is. */
    qsr_status (*read)(const qsr_instance *, const uint64_t *units, size_t n, float *const *out);
} qsr_taps_ops;

/* "quasar.tokens/1": what a row stands for, where the dataset knows it: rows are positions in texts that were cut into tokens.
 * Answers without running a model. (Minor 1.) */
#define QSR_EXT_TOKENS "quasar.tokens/1"
typedef struct {
    uint32_t struct_size, reserved;
    /* [any] For units[0..n): ret_token[n][rows_per_unit] = the token id of each row, ret_document[n][rows_per_unit] = the number
     * of the document it lies in, counted from 0 over the whole data (0 where that is unknown). Either may be NULL: not wanted.
     * A row's position in its unit is its index. QSR_E_UNSUPPORTED: this instance has no tokens. */
    qsr_status (*tokens)(const qsr_instance *, const uint64_t *units, size_t n, int64_t *ret_token, uint64_t *ret_document);
    /* [any] The bytes that a token id stands for, valid until destroy (they need not be UTF-8 on their own); NULL: no vocabulary is
     * at hand, or the id has no text. The member itself may be NULL. */
    const char *(*text)(const qsr_instance *, int64_t token, size_t *ret_bytes);
    /* [any] ret_keep[n][rows_per_unit] = 0 for rows that take no part in training and metrics, else 1: a pure function of the
     * unit. NULL, or QSR_END: every row takes part; which of the two holds for an instance is asked once with n = 0. A dataset
     * without end cannot leave out rows. */
    qsr_status (*mask)(const qsr_instance *, const uint64_t *units, size_t n, uint8_t *ret_keep);
    /* [any] The id of a special token by name, "bos" or "eot"; -1: not known. The member itself may be NULL. */
    int64_t (*special)(const qsr_instance *, const char *name);
} qsr_tokens_ops;

/* "quasar.source/1": a dataset of stored rows tells where they were made. (Minor 1.) */
#define QSR_EXT_SOURCE "quasar.source/1"
typedef struct {
    uint32_t struct_size, reserved;
    /* [any] What an option ("hook.layer") was set to in the dataset that computed the rows of a tap (0: the first), as text that
     * lives until destroy; NULL: not known. */
    const char *(*option)(const qsr_instance *, size_t tap, const char *name);
} qsr_source_ops;

/* "quasar.splice/1": what becomes of a language model's loss when hidden states are replaced. For datasets whose rows are hidden
 * states of a model that predicts, at each position of a unit, the token of the next one. (Minor 1.)
 *
 * A run takes its units through the whole model once as they are, and from a tap on once more for each variant with the rows at
 * that tap replaced by what the caller puts there. What precedes the tap is computed once. The last position of a unit has no
 * next token, so no loss. Which rows are replaced is up to the caller: a row that it leaves alone is the model's own state to
 * the last bit, and variants that put the same rows there have the same losses to the last bit (a row put back as it was: the
 * losses of the model itself, KL 0). */
#define QSR_EXT_SPLICE "quasar.splice/1"
typedef struct {
    uint32_t struct_size, reserved;
    void *ctx;
    size_t n_variants; /* 0: the model's own losses alone */
    const size_t *tap; /* [n_variants] whose rows a variant replaces: 0 for what create made, else as in "quasar.taps/1" */
    /* Called by run on its own thread, for every variant and for consecutive groups of its units:
     * rows[n][rows_per_unit][d_in] are those of units[first .. first + n), the bytes of read, and become what shall stand there
     * instead. Anything but QSR_OK ends the run with that status; its text is the caller's business. */
    qsr_status (*replace)(void *ctx, size_t variant, size_t first, size_t n, float *rows);
    /* Out, in nats: loss[1 + n_variants][n][rows_per_unit] = -log p(next token) at each position, nothing replaced, then for each
     * variant; kl[n_variants][n][rows_per_unit] = KL(p with nothing replaced || p of the variant), NULL: not wanted. NaN at the
     * last position of a unit. */
    double *loss, *kl;
} qsr_splice;
typedef struct {
    uint32_t struct_size, reserved;
    /* [setup] Whether run will work; an error says what is missing (a file without the last layers). */
    qsr_status (*ready)(const qsr_instance *);
    /* [any] A pure function of units and of what replace puts there: the bytes of a unit's losses depend on its own rows alone.
     * n <= units_per_read. */
    qsr_status (*run)(const qsr_instance *, const uint64_t *units, size_t n, const qsr_splice *);
    size_t (*bytes)(const qsr_instance *); /* [any] memory that a run works in, whatever the number of variants */
} qsr_splice_ops;

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_abi abi;                 /* QSR_ABI(kind) */
    const char *name;            /* [a-z][a-z0-9_]*, the word after `plugin:` in a spec */
    const char *version;         /* changes whenever results may change */
    const char *summary;         /* one line */
    const char *cite;            /* paper; or NULL */
    uint64_t needs, caps;
    const qsr_option *options;   /* [n_options], or NULL */
    size_t n_options;
    size_t options_size;         /* of the options struct */
    /* [setup] Makes an instance. Checks across options and against shapes belong here. A failing create may simply
     * return: what it got from alloc is released by the host. `options` and `host` live until destroy. */
    qsr_status (*create)(const qsr_host *, const qsr_shape *, const void *options, qsr_instance **ret_instance);
    /* [setup] Releases what did not come from alloc. NULL: nothing. destroy(NULL) is allowed. */
    void (*destroy)(qsr_instance *);
    const void *ops;             /* qsr_activation_ops, qsr_loss_ops or qsr_dataset_ops */
    /* [any] An extension by id, or NULL. May itself be NULL. */
    const void *(*extension)(const char *id);
} qsr_plugin;

/* [any] The plugins of this file: index counts up until NULL. No allocation, no output. */
QSR_EXPORT const qsr_plugin *qsr_plugin_entry(uint32_t index);

#ifdef __cplusplus
}
#endif
#endif

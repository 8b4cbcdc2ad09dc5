/* train/block: one block of rows on its way through a step: its code, the gradients of its entries, and what the losses'
 * views added. A block's buffers are reused; a code dies with its block unless the batch must be kept whole. */
#ifndef QSR_TRAIN_BLOCK_H
#define QSR_TRAIN_BLOCK_H
#include "model/sae.h"
#include "train/phase.h"

/* Entries of one code that all share the gradient of one reconstruction: what the weight gradients are made of. */
typedef struct {
    const qsr_code *code;
    uint32_t begin, end;      /* latents it covers */
    const float *d_out;       /* [rows][d_in] */
    const float *d_pre;       /* per entry; NULL: nothing goes on to the encoder */
    const float *d_norm;      /* per entry, or NULL */
    const float *d_param[2];  /* per entry, or NULL */
} qsr_use_stream;

enum { QSR_MOST_STREAMS = 64 };

/* What one thread works in: a block's pre-activations, and a code with room for all of them. */
typedef struct {
    qsr_encoder encoder;
    qsr_code code;       /* capacity rows * d_sae, and what qsr_select_reaching asks for beyond */
} qsr_lane;

qsr_status qsr_lane_create(const qsr_sae *, size_t rows, uint32_t planes, qsr_lane *ret, qsr_error *e);
void qsr_lane_destroy(qsr_lane *);

typedef struct {
    size_t row0, rows;   /* place in the batch */
    qsr_stopwatch watch; /* of the thread that works on it, since qsr_block_begin */
    qsr_lane *lane;      /* of the thread that works on it */
    qsr_code own;        /* the block's code, of its size where it is sparse */
    const qsr_code *code; /* own, or the kept copy of the batch */
    float *xc;           /* [rows][d_in] what was encoded; borrowed, as the next */
    float *d_xhat;       /* [rows][d_in] */
    qsr_sparse_count walked; /* how its sparse products were made */
    size_t entries;      /* room in the arrays below */
    float *d_value, *d_pre, *d_active, *d_norm, *d_param[2]; /* per entry; the last four when wanted */
    qsr_use_stream stream[QSR_MOST_STREAMS];
    size_t n_streams;
    double *d_bias;      /* [d_in] this block's share of the gradient of b_dec as an output bias */
    qsr_code made[QSR_MOST_STREAMS]; /* codes that views made */
    size_t n_made;
    void *loose[2 * QSR_MOST_STREAMS]; /* blocks of memory that views took */
    size_t n_loose;
} qsr_block_work;

typedef struct {
    bool active, norm; /* whether d_active and d_norm exist */
    unsigned params;   /* how many d_param */
} qsr_block_wants;

/* xc and d_xhat: [rows][d_in] each, of the caller. */
qsr_status qsr_block_create(size_t d_in, float *xc, float *d_xhat, qsr_block_work *ret, qsr_error *e);
void qsr_block_destroy(qsr_block_work *);
/* Ready for the rows [row0, row0 + rows): no streams, d_bias 0. */
void qsr_block_begin(qsr_block_work *, qsr_lane *, size_t row0, size_t rows, size_t d_in);
/* The code that the lane made becomes the block's own: a sparse one is copied into memory of its size, a dense one changes places with
 * the block's (the system gives memory only to what is written). most_rows: of any block. */
qsr_status qsr_block_take_code(qsr_block_work *, size_t most_rows, qsr_error *e);
/* Entry gradients for `code`, all 0 except d_pre, which the activation's backward writes. */
qsr_status qsr_block_gradients(qsr_block_work *, const qsr_code *code, const qsr_block_wants *, qsr_error *e);
/* Adds a stream; QSR_E_UNSUPPORTED beyond the limit. */
qsr_status qsr_block_add_stream(qsr_block_work *, const qsr_use_stream *, qsr_error *e);
/* Memory that lives until the next qsr_block_begin; NULL when refused. */
void *qsr_block_take(qsr_block_work *, size_t n, size_t size);
#endif

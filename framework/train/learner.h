/* train/learner: one SAE in training. It is fed raw rows, a batch at a time, and knows nothing of where they come from, so
 * that many learners can share one stream. */
#ifndef QSR_TRAIN_LEARNER_H
#define QSR_TRAIN_LEARNER_H
#include "train/adam.h"
#include "train/outlook.h"
#include "train/schedule.h"

typedef struct {
    const char *name; /* the instance: "auxk" */
    const qsr_block *spec;
    qsr_made *made;
    const qsr_loss_ops *ops;
    uint64_t traits, needs;
    bool active;    /* in the current batch: batch() did not decline */
    double *share;  /* [blocks of a batch] weighted contributions */
    double value;   /* their sum */
    qsr_outlook outlook; /* where the loss has one */
} qsr_learner_loss;

/* What a step says about itself. All over this batch alone. */
typedef struct {
    uint64_t step, tokens;       /* tokens seen after this step */
    double loss, l0, l1, grad_norm, lr;
    uint64_t dead, dead_in_batch; /* latents silent for train.dead_after tokens or more; for this batch */
    double param_update[2];      /* mean |change| of each plugin parameter */
} qsr_step_report;

typedef struct {
    const qsr_spec *spec;
    qsr_pool *pool;
    size_t d_in, d_sae, batch;
    uint64_t steps, step;        /* planned; done */
    qsr_sae sae;
    unsigned n_params;           /* of the activation */
    qsr_param param[2];
    float *param_before[2];      /* for param_update */
    qsr_learner_loss *losses;
    size_t n_losses;
    const qsr_metrics_ops *metrics; /* of the activation, or NULL */
    bool coupled, keep;          /* rows of a batch decide together; codes of a whole batch are kept until its losses are known */
    bool by_host;                /* with coupled: the host makes that decision (train/together) */
    float guess, threshold;      /* for it: a floor for the next batch's candidates, what the last came to, or 0. Shows in the time alone */
    qsr_block_wants wants;
    size_t block_rows, n_blocks; /* of a batch */
    size_t n_lanes;
    qsr_lane *lanes;             /* [n_lanes] by thread */
    size_t n_work;
    qsr_block_work *work;        /* [n_work] blocks in flight at most: their codes wait together for the weight gradients */
    float *xc, *d_xhat;          /* [n_work * block_rows][d_in] of the blocks in flight */
    qsr_sparse_count walked;     /* of all steps: how the sparse products were made */
    qsr_code *kept;              /* [n_blocks], with keep */
    float *x, *xhat;             /* [batch][d_in] normalised rows, reconstructions */
    uint8_t *fired;              /* [d_sae] in this batch */
    uint64_t *silent;            /* [d_sae] tokens since f != 0 */
    double *l0_share, *l1_share; /* [n_blocks] */
    qsr_gradient gradient;
    qsr_adam adam;
    qsr_step_report report;      /* of the last step */
    qsr_stopwatch watch;         /* summed since creation */
} qsr_learner;

/* Weights are 0 until qsr_learner_init or a checkpoint fills them. */
/* When a plugin refuses its options, *ret_blame (unless NULL) is the block of the spec that made it. */
qsr_status qsr_learner_create(const qsr_spec *, size_t d_in, qsr_pool *, qsr_learner **ret, const qsr_block **ret_blame,
                              qsr_error *e);
void qsr_learner_free(qsr_learner *);

/* Whether the spec's plugins accept their options for rows of width d_in: what creation would find, without its memory. */
qsr_status qsr_learner_check(const qsr_spec *, size_t d_in, const qsr_block **ret_blame, qsr_error *e);
/* Training is over: gives back all but the SAE, the counters and the last report. */
void qsr_learner_retire(qsr_learner *);

/* One training step on raw[batch][d_in]. QSR_E_NUMERIC when the loss or the gradient is not finite: the learner is then
 * finished, but its report stands. */
qsr_status qsr_learner_step(qsr_learner *, const float *raw, qsr_error *e);

/* After a step without update, for tests and golden gradients: qsr_learner_gradients computes the gradient of one batch, before
 * clipping and projection, and leaves the weights alone. */
qsr_status qsr_learner_gradients(qsr_learner *, const float *raw, qsr_error *e);

/* What screening took, over all steps; all 0 without it. */
qsr_sift_count qsr_learner_sifted(const qsr_learner *);

/* Blocks whose codes may wait together, unless there are more threads: sparse codes of a whole batch of 4096. */
enum { QSR_BLOCKS_IN_FLIGHT = 16, QSR_WAITING_ENTRIES = 1500000 }; /* entries: of some 20 bytes, unless a block has more */

/* Rows in a block of a batch: a function of the batch size alone, since it is part of the arithmetic. */
size_t qsr_block_rows(size_t batch);
#endif

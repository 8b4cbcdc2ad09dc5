/* eval/splice: how much of a language model's loss survives when hidden states are replaced by an SAE's reconstructions.
 *
 * The model reads held-out units with, at the SAE's hook, every row that takes part in the metrics replaced: by its
 * reconstruction in model space, by zeros, or by the mean row of training. Rows before skip_first and rows left out by the
 * dataset's mask keep the model's own state. Counted are the losses at the positions whose row is replaced, each the loss of
 * predicting the next token of the same unit; the last position of a unit has none. All sums are over tokens. */
#ifndef QSR_EVAL_SPLICE_H
#define QSR_EVAL_SPLICE_H
#include "data/dataset.h"
#include "model/sae.h"

typedef struct {
    double ce_clean, ce_sae, ce_zero, ce_mean; /* nats per token: nothing replaced, then what stands in place of the rows */
    double ce_recovered_zero;                  /* (ce_zero - ce_sae) / (ce_zero - ce_clean) */
    double ce_recovered_mean;                  /* the same with ce_mean */
    double kl;                                 /* KL(nothing replaced || reconstructions), mean over tokens */
    double kl_zero;                            /* the same for zeros: kl against the worst */
    double ce_tokens;                          /* losses counted */
} qsr_loss_metrics;

/* One SAE to judge. */
typedef struct {
    const qsr_sae *sae;
    size_t tap;               /* of the dataset */
    uint64_t tokens;          /* of the held-out rows, the first so many; not more than there are */
    qsr_loss_metrics metrics; /* out */
    qsr_error error;          /* out: of this one alone */
} qsr_spliced;

/* The mean of training, for ce_mean: over the rows that take part of so many rows' worth of units, spread evenly over the
 * training units from the first on. A function of the dataset alone. */
enum { QSR_MEAN_ROWS = 16384 };

/* Whether the dataset is a model that can say ("quasar.splice/1"). */
bool qsr_splice_possible(const qsr_dataset *);

/* All SAEs in one pass of the model over the units, which is repeated from the hook on for each of them and for zeros and means.
 * Results depend neither on threads nor on company. progress (may be NULL) gets rows done. */
qsr_status qsr_splice_judge(qsr_spliced *, size_t n, const qsr_dataset *, void (*progress)(void *ctx, uint64_t rows),
                            void *ctx, qsr_error *e);
#endif

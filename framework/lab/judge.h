/* lab/judge: an SAE from disk, trained here or elsewhere, evaluated on the dataset of a spec.
 *
 * The spec says everything: dataset, activation with its options, normalisation. The folder gives the weights, and its cfg.json
 * must agree with the spec wherever it says something too, so that nobody compares numbers of two different things. */
#ifndef QSR_LAB_JUDGE_H
#define QSR_LAB_JUDGE_H
#include "lab/run.h"

typedef struct {
    const char *out; /* folder for result.json and tokens.csv, or NULL: write nothing */
    qsr_pool *pool;
    void *ctx;
    void (*progress)(void *ctx, uint64_t rows, uint64_t of); /* or NULL */
} qsr_judge_options;

typedef enum { QSR_HELD_OUT_UNKNOWN, QSR_HELD_OUT_YES, QSR_HELD_OUT_NO } qsr_held_out;

typedef struct {
    qsr_evaluation evaluation;
    qsr_held_out held_out; /* whether the SAE was never trained on these rows, as far as the run's manifest tells */
    double seconds;
} qsr_judgement;

/* `folder` is a run's folder or one with cfg.json and sae_weights.safetensors. Bad input: a negative status with problems or e
 * set, and nothing written. */
qsr_status qsr_lab_judge(const char *folder, const qsr_spec *, const qsr_judge_options *, qsr_judgement *ret, qsr_problems *,
                         qsr_error *e);
#endif

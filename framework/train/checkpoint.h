/* train/checkpoint: everything a learner needs to go on exactly: weights, moments, counters, plugin parameters and state, the
 * last report. One safetensors file; a checksum for every tensor and one for the rest, so that damage is noticed. The position
 * in the data is the number of rows seen, step * batch. */
#ifndef QSR_TRAIN_CHECKPOINT_H
#define QSR_TRAIN_CHECKPOINT_H
#include "train/learner.h"

/* What belongs to the run rather than to the learner. */
typedef struct {
    uint64_t metrics_bytes;  /* length of metrics.jsonl that goes with it */
    char isa[32], kernel[64], screen[16]; /* instruction set, BLAS kernel, what sae.screen came to: with others the bytes might differ */
} qsr_checkpoint_note;

/* Whole or not at all. */
qsr_status qsr_checkpoint_write(const qsr_learner *, const qsr_checkpoint_note *, const char *path, qsr_error *e);
/* Into a learner made from the same spec. QSR_E_STATE: damaged, or of another cell; the learner is then unusable, unless the
 * same call with another file succeeds. */
qsr_status qsr_checkpoint_read(qsr_learner *, qsr_checkpoint_note *ret, const char *path, qsr_error *e);
#endif

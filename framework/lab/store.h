/* lab/store: the files of one cell (docs/ARCHITECTURE.md, files on disk):
 *
 *     <out>/<spec name>/<cell id>/
 *       spec.yaml manifest.json metrics.jsonl timing.jsonl result.json tokens.csv latents.csv top_contexts.jsonl
 *       sae/{cfg.json,sae_weights.safetensors}
 *
 * metrics.jsonl, result.json and sae/ hold no times, hosts or thread counts, so that cmp can compare two runs. While a cell is open
 * its folder also holds `.reserve`, a few KiB that are given back when it fails, so that the reason fits on a full disk. */
#ifndef QSR_LAB_STORE_H
#define QSR_LAB_STORE_H
#include <stdio.h>
#include <sys/types.h>

#include "eval/evaluate.h"
#include "format/json.h"
#include "spec/spec.h"
#include "train/learner.h"

typedef struct {
    qsr_arena arena;
    const char *folder;
    FILE *metrics, *timing; /* open while training */
    bool resumed;           /* from a checkpoint that goes with the first metrics_bytes of metrics.jsonl */
    uint64_t metrics_bytes;
    bool open;
    dev_t device;           /* which folder it is, once open: another one may come to lie at the same path */
    ino_t inode;
} qsr_store;

/* Names the folder; creates nothing. */
void qsr_store_name(qsr_store *, const char *out, const qsr_spec *);
/* Creates the folder, removes what an earlier attempt left in it, writes spec.yaml. */
qsr_status qsr_store_create(qsr_store *, const qsr_spec *, qsr_error *e);
/* Opens what an interrupted run left: metrics.jsonl is cut to metrics_bytes, timing.jsonl goes on. */
qsr_status qsr_store_resume(qsr_store *, qsr_error *e);
/* metrics.jsonl flushed and on disk, and how long it is: before a checkpoint refers to it. QSR_E_STATE: the folder or the file was
 * deleted or replaced since it was opened. */
qsr_status qsr_store_sync(qsr_store *, uint64_t *ret_bytes, qsr_error *e);
/* QSR_E_STATE when the folder is not the one that was opened. */
qsr_status qsr_store_there(const qsr_store *, qsr_error *e);
void qsr_store_release(qsr_store *); /* gives the reserve back */
void qsr_store_close(qsr_store *);
const char *qsr_store_path(qsr_store *, const char *file); /* lives as long as the store */

/* A line of metrics.jsonl: the values of this step alone. */
qsr_status qsr_store_step(qsr_store *, const qsr_learner *, qsr_error *e);
/* A line of timing.jsonl; steals `line`. */
qsr_status qsr_store_timing(qsr_store *, json_t *line, qsr_error *e);

/* sae/: SAELens layout where it has the activation, architecture quasar/<plugin> otherwise. */
qsr_status qsr_store_sae(qsr_store *, const qsr_learner *, const qsr_dataset *, size_t tap, qsr_error *e);

/* "metrics", "firing_log10" and "l0_histogram" of a result.json. */
void qsr_store_put_evaluation(json_t *root, const qsr_evaluation *);

typedef struct {
    const char *status;  /* "completed", "failed" */
    const char *reason;  /* or NULL */
    bool resumable;      /* of a failed one: its checkpoints are worth going on from when what failed is mended */
    const qsr_learner *learner;
    const qsr_dataset *data;
    const qsr_evaluation *evaluation; /* or NULL */
    uint64_t excluded;   /* with a mask and an evaluation: rows left out of the windows it was trained on */
} qsr_result;
/* result.json comes last: a cell with one is over. QSR_E_STATE as above. */
qsr_status qsr_store_result(qsr_store *, const qsr_result *, qsr_error *e);
#endif

/* lab/cell: one cell of a run between its spec and its result: claimed, started or resumed, fed, checkpointed, finished. */
#ifndef QSR_LAB_CELL_H
#define QSR_LAB_CELL_H
#include "lab/manifest.h"
#include "lab/profile.h"
#include "lab/run.h"
#include "lab/store.h"
#include "train/checkpoint.h"
#include "train/start.h"

typedef struct {
    const qsr_spec *spec;
    const qsr_run_options *options;
    qsr_run_summary *summary;
    size_t tap;               /* of the group's dataset */
    const qsr_dataset *data;  /* the group's; borrowed */
    qsr_learner *learner;
    qsr_starter *starter;     /* of a fresh cell, until it is started */
    qsr_store store;
    qsr_manifest manifest;
    int lock;                 /* the folder, locked; -1: not ours */
    float *rows;              /* [batch][d_in] the batch being filled */
    size_t have;
    uint64_t seen;            /* rows of the stream behind it */
    uint64_t excluded;        /* rows left out of the windows it was trained on; known at the end */
    uint64_t first_step;      /* of this process */
    double seconds;           /* in steps, in this process */
    double begun;
    const double *data_seconds; /* that its group has waited for data; or NULL */
    qsr_profile profile;      /* of the steps since the last line of timing.jsonl */
    bool over;                /* takes no further part in training */
} qsr_cell;

/* Shows where in the spec the trouble comes from; want of memory and broken promises are no mistakes of the spec's. */
void qsr_cell_blame(const qsr_spec *, const qsr_block *, const qsr_error *, qsr_problems *);

/* Learner and manifest; nothing on disk. A refused option is added to problems. */
qsr_status qsr_cell_prepare(qsr_cell *, const qsr_spec *, const qsr_run_options *, qsr_run_summary *, const qsr_dataset *, size_t tap,
                            qsr_problems *, qsr_error *e);
/* Looks at a folder that exists already: finished (the cell is over), interrupted (resumed from its newest sound checkpoint, anew
 * with a warning when none is), or left by somebody else. A folder that does not exist is fine. QSR_E_STATE: it must not be resumed (other inputs, another
 * instruction set or kernel). */
qsr_status qsr_cell_look(qsr_cell *, qsr_error *e);
/* Folder, lock, spec.yaml, manifest.json, logs: from here on the cell is on disk. It may turn out to be another process's, and
 * then is over. */
qsr_status qsr_cell_open(qsr_cell *, qsr_error *e);
/* n rows of the stream that follow `at` rows before them; steps happen as batches fill. An error has been recorded: the cell is
 * over, the others go on. */
void qsr_cell_feed(qsr_cell *, uint64_t at, const float *rows, size_t n);
bool qsr_cell_trained(const qsr_cell *); /* all steps done, and not failed */
qsr_status qsr_cell_checkpoint(qsr_cell *, qsr_error *e);
/* After the last step or an interruption: writes a checkpoint; with all steps done also sae/, and gives training memory back. */
void qsr_cell_pause(qsr_cell *);
/* The evaluation is in the summary: result.json, and the checkpoint goes. */
void qsr_cell_finish(qsr_cell *);
void qsr_cell_fail(qsr_cell *, const qsr_error *);
void qsr_cell_close(qsr_cell *);

/* latents.csv and top_contexts.jsonl in `folder`, as the spec's eval block asks for them; paths in the arena. */
qsr_latent_files qsr_cell_latent_files(const qsr_spec *, const char *folder, qsr_arena *);
#endif

/* lab/judge: SAEs from disk, trained here or elsewhere, evaluated on the held-out rows of a spec's dataset.
 *
 * Of the spec only `dataset` and `eval` are needed: what the SAE computes stands in its own files. A spec that also describes an
 * activation must describe this SAE when one is judged, so that nobody compares numbers of two different things; where several are,
 * that part says nothing. SAEs that were trained at different places of one model are judged at those, as taps of one pass. */
#ifndef QSR_LAB_JUDGE_H
#define QSR_LAB_JUDGE_H
#include "lab/run.h"

typedef struct {
    const char *spec;             /* path */
    const char *const *overrides; /* key=value */
    size_t n_overrides;
    const qsr_spec_env *env;
    const char *name;             /* of the evaluation; NULL: the spec's */
    const char *out;              /* folder for results: of the one SAE, else of a folder for each; NULL: eval/<name> beside each SAE */
    bool spec_hook;               /* rows from the hook of the spec, wherever the SAE was trained */
    bool rerun;                   /* also where there is a result already */
    size_t memory;                /* bytes that SAEs judged in one pass may hold; 0: 70 % of what is available */
    qsr_pool *pool;
    void *ctx;
    void (*progress)(void *ctx, uint64_t rows, uint64_t of); /* or NULL */
} qsr_judge_options;

typedef enum { QSR_HELD_OUT_UNKNOWN, QSR_HELD_OUT_YES, QSR_HELD_OUT_NO } qsr_held_out;

typedef enum {
    QSR_JUDGED_PENDING,
    QSR_JUDGED_DONE,
    QSR_JUDGED_SKIPPED,  /* there is a result of the same weights and rows */
    QSR_JUDGED_STALE,    /* there is a result of other weights, rows or Quasar */
    QSR_JUDGED_FAILED,
    QSR_JUDGED_OUTCOMES
} qsr_judged_outcome;
extern const char *const qsr_judged_outcome_names[QSR_JUDGED_OUTCOMES];

typedef struct {
    const char *path;          /* of the SAE, as given or found */
    const char *out;           /* where its results are */
    qsr_judged_outcome outcome;
    char reason[1024];         /* why it failed, is stale or was skipped */
    char hook[96];             /* where rows came from when the SAE decided it: "hook.layer=4 hook.site=resid_pre"; or "" */
    bool saebench;             /* saebench-core.json was written */
    qsr_evaluation evaluation; /* when DONE */
    qsr_held_out held_out;     /* whether it was never trained on these rows, as far as the run's manifest tells */
} qsr_judgement;

typedef struct {
    qsr_judgement *items;
    size_t count;
    const char *spec_name;     /* set by qsr_lab_judge */
    double seconds;
    qsr_arena arena;
} qsr_judgements;

/* The SAEs at n paths: each a run, an SAE, or a folder below which there are some, which are found in order of their names. A path
 * without any is QSR_E_INPUT. */
qsr_status qsr_judge_find(const char *const *paths, size_t n, qsr_judgements *ret, qsr_error *e);
void qsr_judgements_free(qsr_judgements *);
/* Judges all of them and writes result.json, tokens.csv and saebench-core.json. Bad input that concerns all, or the only one there is:
 * a negative status with problems or e set, and nothing written. Otherwise each one's outcome says how it ended. */
qsr_status qsr_lab_judge(qsr_judgements *, const qsr_judge_options *, qsr_problems *, qsr_error *e);
#endif

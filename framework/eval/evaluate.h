/* eval/evaluate: an SAE judged on the held-out rows of a dataset, changing nothing. */
#ifndef QSR_EVAL_EVALUATE_H
#define QSR_EVAL_EVALUATE_H
#include "data/dataset.h"
#include "eval/contexts.h"
#include "eval/match.h"
#include "eval/metric.h"
#include "eval/splice.h"
#include "model/sae.h"

typedef struct {
    bool scored;             /* rows were scored: metrics holds values */
    qsr_metrics metrics;
    qsr_coherence coherence;
    bool has_truth;          /* the dataset knows its features */
    qsr_match match;
    bool has_loss;           /* the dataset is a model, and its loss was asked for */
    qsr_loss_metrics loss;
} qsr_evaluation;

/* What to write about single latents. */
typedef struct {
    const char *csv;      /* path of latents.csv to write, or NULL: nothing is kept about latents */
    const char *contexts; /* with csv: path of top_contexts.jsonl to write, or NULL */
    size_t top;           /* contexts of a latent */
    qsr_context_width width;
} qsr_latent_files;

/* One SAE to judge, and what became of it. */
typedef struct {
    const qsr_sae *sae;
    size_t tap;               /* of the dataset, which rows it reads */
    const char *tokens_csv;   /* path to write, or NULL */
    int64_t layer;            /* for its first column; negative: unknown */
    qsr_latent_files latents;
    uint64_t ce_tokens;       /* eval.ce_tokens: held-out rows that are replaced in the model; 0: none */
    qsr_evaluation evaluation; /* out */
    qsr_error error;          /* out: code != QSR_OK when this one failed; the others are judged all the same */
} qsr_judged;

typedef struct {
    void *ctx;
    void (*progress)(void *ctx, uint64_t rows, uint64_t of); /* or NULL */
    double *scoring_seconds; /* added to: time spent on rows once they were read; or NULL */
    bool rows_alone;         /* for timing: nothing of what weights alone tell */
} qsr_evaluate_options;

/* Scores the dataset's held_rows rows from the first held-out unit on, without those that its mask leaves out, in one pass for all of them; with none, only what the
 * weights alone tell. The results depend neither on threads nor on how rows are read nor on company. An error of the data is
 * returned. */
qsr_status qsr_evaluate(qsr_judged *judged, size_t n, const qsr_dataset *, const qsr_evaluate_options *, qsr_error *e);

/* Every value in order, name by name, for result files and tables: index counts up until NULL is returned. */
const char *qsr_evaluation_value(const qsr_evaluation *, size_t index, double *ret_value);
/* Takes the values of a result back: from names and numbers as qsr_evaluation_value gave them. */
void qsr_evaluation_put(qsr_evaluation *, const char *name, double value);
double qsr_evaluation_get(const qsr_evaluation *, const char *name); /* NaN: no such value */
#endif

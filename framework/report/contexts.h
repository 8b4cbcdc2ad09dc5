/* report/contexts: some latents of a run's top_contexts.jsonl and what latents.csv says of all, in memory that does not grow with either. */
#ifndef QSR_REPORT_CONTEXTS_H
#define QSR_REPORT_CONTEXTS_H
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"

enum { QSR_CONTEXTS_LATENTS = 12, QSR_CONTEXTS_EACH = 4 };

typedef struct {
    double activation;
    const char *before, *token, *after; /* the texts; NULL: not known. `token` is what the latent fired on */
    const char *document;               /* or NULL */
    int64_t unit, row, token_id;        /* -1: not told */
} qsr_firing_context;

typedef struct {
    int64_t latent;
    qsr_firing_context contexts[QSR_CONTEXTS_EACH]; /* the first of the file's, which are its strongest */
    size_t n;
    double frequency, mean_activation, max_activation, nearest_cosine; /* of latents.csv; NaN: not told */
} qsr_latent;

typedef struct {
    qsr_latent latents[QSR_CONTEXTS_LATENTS]; /* by latent: a uniform sample of those that have contexts */
    size_t n;
    uint64_t of;  /* how many have */
    uint64_t bad; /* lines that cannot be understood */
    qsr_arena arena;
} qsr_contexts;

/* Of the files in `folder`. false: there is no top_contexts.jsonl, or none of it could be read. */
bool qsr_contexts_read(const char *folder, qsr_contexts *ret);
void qsr_contexts_free(qsr_contexts *);
#endif

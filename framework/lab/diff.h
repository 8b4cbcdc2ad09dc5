/* lab/diff: what differs between two run folders: what they were made of, the first step where they part, what came out. */
#ifndef QSR_LAB_DIFF_H
#define QSR_LAB_DIFF_H
#include "base/arena.h"
#include "base/error.h"

typedef struct {
    const char *part;    /* "spec", "inputs", "plugins", "quasar", "machine", "metrics.jsonl", "result.json", "files" */
    const char *key;
    const char *a, *b;   /* NULL: missing there */
    bool counts;         /* false: equal runs may differ here */
} qsr_difference;

typedef struct {
    qsr_difference *items; /* [n] in the order of the parts above */
    size_t n;
    bool equal;            /* none of them counts */
    uint64_t steps;        /* logged in both and compared, until the first that differs */
    qsr_arena arena;       /* of all texts */
} qsr_diff;

/* QSR_E_INPUT: one of them is no run folder. Differences of the spec count when the identities differ: others cannot change
 * results. */
qsr_status qsr_diff_make(const char *a, const char *b, qsr_diff *ret, qsr_error *e);
void qsr_diff_free(qsr_diff *);
#endif

/* datasets/exclude: the option `exclude` of datasets whose rows stand for tokens: ids, and names of special tokens.
 * For plugins: what is wrong is told through host->fail under "exclude". */
#ifndef QSR_DATASETS_EXCLUDE_H
#define QSR_DATASETS_EXCLUDE_H
#include <quasar/plugin.h>

/* A name that may stand in the list; id -1: nobody knows it here, `unknown` says why and what to do. */
typedef struct {
    const char *name;
    int64_t id;
    const char *unknown;
} exclude_name;

typedef struct {
    int64_t *ids; /* [count], of the instance's alloc */
    size_t count; /* 0: nothing is left out */
} exclude_set;

#define EXCLUDE_HELP                                                                                                       \
    "tokens whose rows take no part in training and metrics: bos, eot (the model's bos_token_id and eos_token_id) and "    \
    "token ids"

/* Only inside create. Ids must be below `vocabulary` (0: unknown, anything goes). */
qsr_status exclude_create(const qsr_host *, const qsr_strings *list, const exclude_name *names, size_t n_names,
                          size_t vocabulary, exclude_set *ret);
/* keep[i] = whether token[i] stays. */
void exclude_mask(const exclude_set *, const int64_t *token, size_t n, uint8_t *keep);
#endif

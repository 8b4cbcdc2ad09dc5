/* spec/experiment: the option tables of the experiment's own keys, with help and defaults: name and seed, the host's keys under
 * `dataset`, and sae, train, eval. */
#ifndef QSR_SPEC_EXPERIMENT_H
#define QSR_SPEC_EXPERIMENT_H
#include "spec/option.h"
#include "spec/spec.h"

typedef struct {
    const char *key;     /* "sae"; "" for the top level */
    const char *help;    /* one sentence for `quasar help spec` */
    qsr_option_table options;
    size_t offset, size; /* of the part's options struct in qsr_spec */
} qsr_part;

const qsr_part *qsr_experiment_part(unsigned part); /* QSR_PART_TOP ... */
/* NULL-ended: the keys of a block of that kind that the host reads itself ("plugin", ...). */
const char *const *qsr_experiment_reserved(uint32_t kind);
/* What `quasar help spec` prints: the shape of a spec, then every part. */
void qsr_experiment_help(size_t columns, qsr_text *out);
#endif

/* lab/convert: an SAE with another activation in place of its own, for formats that do not know that one, and what it costs. */
#ifndef QSR_LAB_CONVERT_H
#define QSR_LAB_CONVERT_H
#include "eval/evaluate.h"
#include "exchange/pretrained.h"

typedef struct {
    qsr_rule as;      /* QSR_RULE_TOPK, QSR_RULE_THRESHOLD */
    const char *spec; /* whose dataset is used; NULL: that of the run it lies in */
    const qsr_spec_env *env;
    qsr_pool *pool;
    void *ctx;
    void (*progress)(void *ctx, uint64_t rows, uint64_t of); /* or NULL */
} qsr_convert_options;

typedef struct {
    size_t k;                     /* of topk */
    double threshold;             /* of jumprelu, the same for all latents */
    uint64_t calibrated, scored;  /* training rows that decided it; held-out rows that judged it */
    qsr_evaluation before, after;
} qsr_conversion;

/* Changes `p`, as qsr_pretrained_open gave it. k or the threshold is chosen so that the mean l0 of the first 8,192 training rows (or all, if
 * fewer) stays what it is; both SAEs are then judged on the held-out rows. Decoder norms, finetuning factors and gates are folded. */
qsr_status qsr_lab_convert(qsr_pretrained *p, const qsr_convert_options *, qsr_conversion *ret, qsr_problems *, qsr_error *e);
#endif

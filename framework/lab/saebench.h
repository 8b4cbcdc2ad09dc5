/* lab/saebench: an evaluation as a result file of SAEBench's `core` (schema of SAEBench 0.4 to 0.6, eval_output_schema_core.json). */
#ifndef QSR_LAB_SAEBENCH_H
#define QSR_LAB_SAEBENCH_H
#include "eval/evaluate.h"
#include "exchange/pretrained.h"
#include "spec/spec.h"

typedef struct {
    const qsr_pretrained *sae;
    const qsr_spec *spec;
    const qsr_evaluation *evaluation;
    uint64_t rows; /* that were scored */
} qsr_saebench;

/* What was not measured is -1, as SAEBench writes it. eval_id is a function of the contents, the time is that of writing. */
qsr_status qsr_saebench_write(const qsr_saebench *, const char *path, qsr_error *e);
#endif

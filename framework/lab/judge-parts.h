/* lab/judge-parts: what the files of lab/judge share. */
#ifndef QSR_LAB_JUDGE_PARTS_H
#define QSR_LAB_JUDGE_PARTS_H
#include "exchange/pretrained.h"
#include "format/json.h"
#include "lab/judge.h"

/* The spec as SAEs of one place need it. */
typedef struct {
    const char *key;       /* "hook.layer=4 hook.site=resid_pre": what was taken from the SAE; "" */
    qsr_status status;     /* of loading it */
    qsr_spec *spec;
    json_t *inputs;        /* digests of its files */
    qsr_problems problems;
    qsr_error error;
} judge_spec;

typedef struct {
    judge_spec **items;
    size_t count;
    bool looked;
    const qsr_plugin *plugin; /* of the dataset */
    qsr_arena arena;
} judge_specs;

/* Never NULL; a failed one keeps its problems. */
judge_spec *qsr_judge_spec_for(judge_specs *, const qsr_judge_options *, const qsr_pretrained *);
void qsr_judge_specs_free(judge_specs *);
/* QSR_E_INPUT when the spec describes an activation and it is not this SAE's. */
qsr_status qsr_judge_compare(const qsr_pretrained *, const qsr_spec *, qsr_error *e);
#endif

/* lab/loaded: an SAE from disk, of whatever format, ready to run. */
#ifndef QSR_LAB_LOADED_H
#define QSR_LAB_LOADED_H
#include "exchange/pretrained.h"
#include "format/json.h"

typedef struct {
    qsr_pretrained about; /* its weights are in `sae` */
    qsr_spec *spec;       /* that it was trained with, where its activation is a plugin; else NULL */
    qsr_sae sae;
    json_t *manifest;     /* of the run it lies in, or NULL */
    const char *folder;   /* of that run, else of the SAE's files */
} qsr_loaded;

/* Reads, builds, and puts the recorded probe through it where there is one. Plugins are found through `env`. */
qsr_status qsr_loaded_open(const char *path, const qsr_spec_env *env, qsr_pool *pool, qsr_loaded *ret, qsr_error *e);
void qsr_loaded_free(qsr_loaded *);
/* The folder of the run in which the SAE lies, else that of its files. */
const char *qsr_loaded_folder(const qsr_pretrained *, qsr_arena *);
#endif

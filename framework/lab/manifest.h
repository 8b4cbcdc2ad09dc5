/* lab/manifest: what a cell was made of, written before the first step: versions, machine, inputs, plugins, held-out range. */
#ifndef QSR_LAB_MANIFEST_H
#define QSR_LAB_MANIFEST_H
#include "data/dataset.h"
#include "lab/run.h"
#include "lab/store.h"

/* Digests of the files that a block's options name, by absolute path, into the object `inputs`. QSR_E_INPUT for one that cannot
 * be read. */
qsr_status qsr_manifest_inputs(const qsr_block *, json_t *inputs, qsr_error *e);

typedef struct {
    json_t *root;
} qsr_manifest;

/* Digests every input: paths among the options (a folder: its files), in order. QSR_E_INPUT for one that cannot be read. */
qsr_status qsr_manifest_make(const qsr_spec *, const qsr_run_options *, const qsr_dataset *, qsr_manifest *ret, qsr_error *e);
void qsr_manifest_free(qsr_manifest *);
/* manifest.json, whole or not at all; `finished` adds the time of the end. */
qsr_status qsr_manifest_write(qsr_manifest *, qsr_store *, bool finished, qsr_error *e);
/* What results depend on besides the spec, as it is now: {"quasar", "inputs", "plugins"}, as in a manifest. known: an object that
 * keeps digests of files from one call to the next, or NULL. */
qsr_status qsr_manifest_now(const qsr_spec *, qsr_registry *, json_t *known, json_t **ret, qsr_error *e);
/* Why results made under `old` do not stand for `now`: an input, a plugin's version or Quasar's differs. NULL: they do. The text
 * lives in the arena. */
const char *qsr_manifest_stale(qsr_arena *, const json_t *old, const json_t *now);
/* What differs without changing results: a plugin whose file is another one of the same version. NULL: nothing. */
const char *qsr_manifest_note(qsr_arena *, const json_t *old, const json_t *now);
#endif

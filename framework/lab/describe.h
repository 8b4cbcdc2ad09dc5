/* lab/describe: sae/cfg.json of a cell: the keys of SAELens, and what Quasar needs beyond them. */
#ifndef QSR_LAB_DESCRIBE_H
#define QSR_LAB_DESCRIBE_H
#include "data/dataset.h"
#include "format/json.h"
#include "train/learner.h"

/* An object for the caller to release. Of the dataset it says what options with these names say, whatever the plugin: model, tokens,
 * context, convention, hook.site, hook.layer. Holds the probe (exchange/probe.h) of the trained SAE. */
qsr_status qsr_describe_sae(const qsr_learner *, const qsr_dataset *, size_t tap, json_t **ret, qsr_error *e);
#endif

/* exchange/probe: a fixed batch of made-up rows put through an SAE. Whoever writes a file records what came out; whoever reads it can
 * then tell that it was taken for what it is: another architecture, k, normalisation, input bias or orientation shows. */
#ifndef QSR_EXCHANGE_PROBE_H
#define QSR_EXCHANGE_PROBE_H
#include "format/json.h"
#include "model/sae.h"

typedef struct {
    double l0;       /* mean number of f != 0 */
    double l2_ratio; /* mean ||x_hat|| / ||x|| */
} qsr_probe;

/* 64 Gaussian rows, 16 each of standard deviation 0.1, 1, 10 and 100. */
qsr_status qsr_probe_run(const qsr_sae *, qsr_probe *ret, qsr_error *e);
json_t *qsr_probe_json(const qsr_probe *); /* {"l0", "l2_ratio"}, to six digits */
/* QSR_E_INPUT when `recorded` (from qsr_probe_json; anything else: nothing to compare) says otherwise: l0 by more than 2 % and half a
 * latent, or l2_ratio by more than 1 %. Rounding moves single entries near a threshold, no more. `path` is for the error. */
qsr_status qsr_probe_compare(const qsr_probe *, const json_t *recorded, const char *path, const char *architecture, qsr_error *e);
#endif

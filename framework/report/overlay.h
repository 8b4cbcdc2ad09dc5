/* report/overlay: runs that others published, as a W&B export: CSV with the columns Name, l0_norm, l2_loss, afa_coeff. */
#ifndef QSR_REPORT_OVERLAY_H
#define QSR_REPORT_OVERLAY_H
#include "lab/archive.h"

typedef struct {
    const char *name;
    const qsr_parameter *parameters; /* as a spec of ours would have them: activation.plugin, activation.k, ... */
    size_t n_parameters;
    const qsr_measure *measures; /* l0, mse_norm, mdl_bits_naive where it can be computed */
    size_t n_measures;
} qsr_published;

typedef struct {
    qsr_published *runs;
    size_t count;
} qsr_overlay;

/* Everything lives in the arena. Rows whose name does not tell its activation, or without l0_norm, are left out with one warning;
 * where no other row is left they are QSR_E_INPUT with the line of the first, as is a value that is no number. */
qsr_status qsr_overlay_read(const char *path, qsr_arena *, qsr_overlay *ret, qsr_error *e);
#endif

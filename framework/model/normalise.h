/* model/normalise: what is done to a row before the SAE sees it, and undone for its output (DESIGN section 5). */
#ifndef QSR_MODEL_NORMALISE_H
#define QSR_MODEL_NORMALISE_H
#include "base/error.h"

typedef enum {
    QSR_NORMALISE_NONE,
    QSR_NORMALISE_TOKEN,
    QSR_NORMALISE_DATASET,
    QSR_NORMALISE_NORM /* each row to norm sqrt(d), as imported SAEs may want (SAELens: constant_norm_rescale); no spec says it */
} qsr_normalise_mode;

typedef struct {
    qsr_normalise_mode mode;
    double scale; /* DATASET: x = scale * raw, so that the mean norm is sqrt(d_in) */
} qsr_normalise;

/* What must be remembered of a row to undo it: raw = x * spread + mean. */
typedef struct {
    double mean, spread;
} qsr_row_scale;

qsr_normalise_mode qsr_normalise_parse(const char *word); /* "none", "token", "dataset" */

/* What cfg.json calls it: "none", "layer_norm", "expected_average_only_in", "constant_norm_rescale". */
const char *qsr_normalise_saelens(qsr_normalise_mode);

/* x[rows][d] from raw[rows][d]. TOKEN: (raw - mean) / (std + 1e-5), std unbiased (d - 1), sums in double; NORM: raw sqrt(d) / ||raw||,
 * rows of zeros as they are. `scale` [rows] may be
 * NULL; x may be raw. */
void qsr_normalise_rows(const qsr_normalise *, const float *raw, size_t rows, size_t d, float *x, qsr_row_scale *scale);
/* raw[rows][d] from x[rows][d]; the same array is fine. */
void qsr_denormalise_rows(const qsr_row_scale *scale, const float *x, size_t rows, size_t d, float *raw);
#endif

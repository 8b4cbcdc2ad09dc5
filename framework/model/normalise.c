#include "model/normalise.h"

#include <math.h>
#include <string.h>

#include "math/rows.h"

qsr_normalise_mode qsr_normalise_parse(const char *word)
{
    if (strcmp(word, "none") == 0) return QSR_NORMALISE_NONE;
    return strcmp(word, "dataset") == 0 ? QSR_NORMALISE_DATASET : QSR_NORMALISE_TOKEN;
}

const char *qsr_normalise_saelens(qsr_normalise_mode mode)
{
    static const char *const names[] = {"none", "layer_norm", "expected_average_only_in", "constant_norm_rescale"};
    return names[mode];
}

static qsr_row_scale scale_of(const qsr_normalise *n, const float *raw, size_t d)
{
    if (n->mode == QSR_NORMALISE_NONE) return (qsr_row_scale){0, 1};
    if (n->mode == QSR_NORMALISE_DATASET) return (qsr_row_scale){0, 1 / n->scale};
    if (n->mode == QSR_NORMALISE_NORM) {
        double norm = qsr_row_norm(raw, d);
        return (qsr_row_scale){0, norm > 0 ? norm / sqrt((double)d) : 1};
    }
    double mean = qsr_row_sum(raw, d) / (double)d;
    double variance = d > 1 ? qsr_row_deviation(raw, mean, d) / (double)(d - 1) : 0;
    return (qsr_row_scale){mean, sqrt(variance) + 1e-5};
}

void qsr_normalise_rows(const qsr_normalise *n, const float *raw, size_t rows, size_t d, float *x, qsr_row_scale *scale)
{
    for (size_t r = 0; r < rows; r++, raw += d, x += d) {
        qsr_row_scale s = scale_of(n, raw, d);
        if (scale) scale[r] = s;
        if (n->mode == QSR_NORMALISE_NONE) {
            if (x != raw) memcpy(x, raw, d * sizeof *x);
        } else {
            for (size_t i = 0; i < d; i++) x[i] = (float)((raw[i] - s.mean) / s.spread);
        }
    }
}

void qsr_denormalise_rows(const qsr_row_scale *scale, const float *x, size_t rows, size_t d, float *raw)
{
    for (size_t r = 0; r < rows; r++, raw += d, x += d)
        for (size_t i = 0; i < d; i++) raw[i] = (float)(x[i] * scale[r].spread + scale[r].mean);
}

#include "exchange/probe.h"

#include <math.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/text.h"
#include "math/rows.h"

enum { ROWS = 64, ROWS_PER_SCALE = 16 };

static void make_rows(float *x, size_t d)
{
    static const double scales[ROWS / ROWS_PER_SCALE] = {0.1, 1, 10, 100};
    qsr_rng rng = qsr_rng_make(0, "probe");
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < d; i++) x[r * d + i] = (float)(scales[r / ROWS_PER_SCALE] * qsr_rng_normal(&rng, r * d + i));
}

static void sum_up(const float *raw, const float *hat, const qsr_code *code, size_t d, qsr_probe *ret)
{
    *ret = (qsr_probe){0};
    for (size_t i = 0; i < code->row_begin[ROWS]; i++) ret->l0 += code->value[i] != 0;
    for (size_t r = 0; r < ROWS; r++) ret->l2_ratio += qsr_row_norm(hat + r * d, d) / qsr_row_norm(raw + r * d, d);
    ret->l0 /= ROWS;
    ret->l2_ratio /= ROWS;
}

qsr_status qsr_probe_run(const qsr_sae *sae, qsr_probe *ret, qsr_error *e)
{
    size_t d = sae->params.d_in, d_sae = sae->params.d_sae;
    qsr_encoder encoder = {0};
    qsr_code code = {0};
    qsr_row_scale scale[ROWS];
    float *raw = qsr_block_raw(4 * ROWS, d * sizeof(float));
    if (!raw) return qsr_fail_nomem(e, "probe rows", 4 * ROWS * d * sizeof(float));
    float *x = raw + ROWS * d, *xc = x + ROWS * d, *hat = xc + ROWS * d;
    qsr_status status = qsr_encoder_create(sae, ROWS, &encoder, e);
    if (!status) status = qsr_code_alloc(ROWS, d_sae, ROWS * d_sae, sae->ops->planes, &code, e);
    if (!status) {
        make_rows(raw, d);
        qsr_normalise_rows(&sae->normalise, raw, ROWS, d, x, scale);
        qsr_sae_centre(sae, x, ROWS, xc);
        status = qsr_sae_encode(sae, QSR_EVAL, xc, ROWS, 0, ROWS, &encoder, &code, e);
    }
    if (!status) {
        qsr_sae_decode(sae, &code, hat, NULL);
        qsr_denormalise_rows(scale, hat, ROWS, d, hat);
        sum_up(raw, hat, &code, d, ret);
    }
    qsr_encoder_free(&encoder);
    qsr_code_free(&code);
    qsr_block_free(raw);
    return status;
}

/* Six digits: what a kernel of another machine rounds otherwise does not show. */
static double rounded(double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.6g", value);
    double back = value;
    qsr_parse_real(text, &back);
    return back;
}

json_t *qsr_probe_json(const qsr_probe *probe)
{
    json_t *object = json_object();
    json_object_set_new(object, "l0", qsr_json_real(rounded(probe->l0)));
    json_object_set_new(object, "l2_ratio", qsr_json_real(rounded(probe->l2_ratio)));
    return object;
}

qsr_status qsr_probe_compare(const qsr_probe *probe, const json_t *recorded, const char *path, const char *architecture, qsr_error *e)
{
    const json_t *l0 = json_object_get(recorded, "l0"), *ratio = json_object_get(recorded, "l2_ratio");
    if (!json_is_number(l0) || !json_is_number(ratio)) return QSR_OK;
    double was = json_number_value(l0), r = json_number_value(ratio);
    if (fabs(probe->l0 - was) > 0.5 + 0.02 * fabs(was))
        return qsr_fail(e, QSR_E_INPUT, "%s: taken for %s, %.6g latents of its probe rows are active, but %.6g were when the file was "
                        "written: its architecture, k or tensors were changed since", path, architecture, probe->l0, was);
    if (fabs(probe->l2_ratio - r) > 0.01 * fabs(r) + 1e-6)
        return qsr_fail(e, QSR_E_INPUT, "%s: taken for %s, reconstructions of its probe rows have %.6g times the norm of the rows, but "
                        "%.6g times when the file was written: its tensors, biases or normalisation were changed since", path,
                        architecture, probe->l2_ratio, r);
    return QSR_OK;
}

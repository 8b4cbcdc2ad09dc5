#include "lab/convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/sizes.h"
#include "data/dataset.h"
#include "exchange/fold.h"
#include "lab/cell.h"
#include "lab/loaded.h"

/* The histogram has a bin for each value of a positive float's first 20 bits: edges lie 1/2048 of an octave's width apart. */
enum { CALIBRATION_ROWS = 8192, TILE = 256, SHIFT = 12, BINS = 1 << (31 - SHIFT) };

/* What the calibration counts. */
typedef struct {
    uint64_t rows, active; /* of the SAE as it is */
    uint64_t *bins;        /* [BINS] positive pre-activations */
} counts;

static size_t bin_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >> SHIFT;
}

static float edge_of(size_t bin)
{
    uint32_t bits = (uint32_t)bin << SHIFT;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- counting over training rows -------------------------------------------------------------------------------------- */

typedef struct {
    const qsr_sae *own, *plain; /* the SAE as it is; the same with relu */
    qsr_encoder encoder[2];
    qsr_code code[2];
    float *x, *xc; /* [TILE][d_in] */
} counter;

static qsr_status create_counter(counter *c, qsr_error *e)
{
    const qsr_sae *saes[] = {c->own, c->plain};
    size_t d = c->own->params.d_in, d_sae = c->own->params.d_sae;
    qsr_status status = QSR_OK;
    for (int i = 0; !status && i < 2; i++) {
        status = qsr_encoder_create(saes[i], TILE, &c->encoder[i], e);
        if (!status) status = qsr_code_alloc(TILE, d_sae, TILE * d_sae, saes[i]->ops->planes, &c->code[i], e);
    }
    c->x = qsr_block_raw(TILE, d * sizeof(float));
    c->xc = qsr_block_raw(TILE, d * sizeof(float));
    return status || (c->x && c->xc) ? status : qsr_fail_nomem(e, "calibration", 2 * TILE * d * sizeof(float));
}

static void free_counter(counter *c)
{
    for (int i = 0; i < 2; i++) {
        qsr_encoder_free(&c->encoder[i]);
        qsr_code_free(&c->code[i]);
    }
    qsr_block_free(c->x);
    qsr_block_free(c->xc);
}

static qsr_status count_tile(counter *c, const float *raw, size_t rows, counts *to, qsr_error *e)
{
    const qsr_sae *saes[] = {c->own, c->plain};
    qsr_status status = QSR_OK;
    for (int i = 0; !status && i < 2; i++) {
        qsr_normalise_rows(&saes[i]->normalise, raw, rows, c->own->params.d_in, c->x, NULL);
        qsr_sae_centre(saes[i], c->x, rows, c->xc);
        status = qsr_sae_encode(saes[i], QSR_EVAL, c->xc, rows, 0, rows, &c->encoder[i], &c->code[i], e);
    }
    if (status) return status;
    for (size_t i = 0; i < c->code[0].row_begin[rows]; i++) to->active += c->code[0].value[i] != 0;
    for (size_t i = 0; i < c->code[1].row_begin[rows]; i++)
        if (c->code[1].value[i] > 0) to->bins[bin_of(c->code[1].value[i])]++;
    to->rows += rows;
    return QSR_OK;
}

/* Closes the gaps of rows that a mask leaves out; returns how many remain. */
static qsr_status drop_masked(const qsr_dataset *data, const uint64_t *units, size_t n, uint8_t *keep, float *rows, size_t *ret,
                              qsr_error *e)
{
    size_t all = n * data->rows_per_unit, kept = 0;
    qsr_status status = qsr_dataset_mask(data, units, n, keep, e);
    for (size_t r = 0; !status && r < all; r++)
        if (keep[r]) memmove(rows + kept++ * data->d_in, rows + r * data->d_in, data->d_in * sizeof *rows);
    *ret = kept;
    return status;
}

/* Whole units from the first on, as many as hold the rows. */
static qsr_status count_rows(const qsr_dataset *data, counter *c, counts *to, qsr_error *e)
{
    size_t d = data->d_in, at_once = qsr_max_size(1, TILE / data->rows_per_unit);
    float *rows = qsr_block_raw(at_once * data->rows_per_unit, d * sizeof(float));
    uint64_t *units = qsr_xcalloc(at_once, sizeof *units);
    uint8_t *keep = qsr_xcalloc(at_once, data->rows_per_unit);
    qsr_status status = rows ? QSR_OK : qsr_fail_nomem(e, "calibration rows", at_once * data->rows_per_unit * d * sizeof(float));
    for (uint64_t unit = 0; !status && unit < data->train_units && to->rows < CALIBRATION_ROWS;) {
        size_t n = 0, kept = 0;
        for (; n < at_once && unit < data->train_units; n++) units[n] = unit++;
        status = qsr_dataset_read(data, units, n, rows, e);
        if (!status) status = drop_masked(data, units, n, keep, rows, &kept, e);
        for (size_t at = 0; !status && at < kept; at += TILE)
            status = count_tile(c, rows + at * d, qsr_min_size(TILE, kept - at), to, e);
    }
    free(units);
    free(keep);
    qsr_block_free(rows);
    return status;
}

/* ---- choosing ---------------------------------------------------------------------------------------------------------- */

/* The bin edge above which most nearly `wanted` pre-activations lie. */
static float choose_threshold(const counts *c, uint64_t wanted)
{
    uint64_t above = 0;
    size_t bin = BINS;
    while (bin > 0 && above + c->bins[bin - 1] <= wanted) above += c->bins[--bin];
    if (bin > 0 && above + c->bins[bin - 1] - wanted < wanted - above) bin--;
    return bin ? nextafterf(edge_of(bin), 0) : 0; /* strictly above it lie the bin's own */
}

static qsr_status set_threshold(qsr_pretrained *p, float value, qsr_error *e)
{
    qsr_taken *t = &p->weights[QSR_THRESHOLD];
    qsr_taken_free(t);
    *t = (qsr_taken){.data = qsr_block_raw(p->d_sae, sizeof(float)), .count = p->d_sae, .dtype = p->weights[QSR_B_ENC].dtype};
    if (!t->data) return qsr_fail_nomem(e, "thresholds", p->d_sae * sizeof(float));
    for (size_t j = 0; j < p->d_sae; j++) t->data[j] = value;
    return QSR_OK;
}

static qsr_status set_rule(qsr_pretrained *p, qsr_rule as, const counts *c, qsr_conversion *ret, qsr_error *e)
{
    double l0 = (double)c->active / (double)c->rows;
    qsr_status status = QSR_OK;
    if (as == QSR_RULE_TOPK) {
        p->k = ret->k = qsr_max_size(1, qsr_min_size(p->d_sae, (size_t)lround(l0)));
        qsr_taken_free(&p->weights[QSR_THRESHOLD]);
    } else {
        ret->threshold = choose_threshold(c, c->active);
        status = set_threshold(p, (float)ret->threshold, e);
    }
    p->rule = as;
    p->architecture = qsr_rule_architecture(as);
    return status;
}

/* ---- the whole of it ---------------------------------------------------------------------------------------------------- */

static qsr_status calibrate(const qsr_dataset *data, const qsr_sae *own, qsr_pretrained *p, const qsr_convert_options *o,
                            qsr_conversion *ret, qsr_error *e)
{
    qsr_pretrained copy;
    qsr_sae plain = {0};
    counts c = {.bins = qsr_xcalloc(BINS, sizeof *c.bins)};
    qsr_status status = qsr_pretrained_copy(p, &copy, e);
    if (!status) {
        copy.rule = QSR_RULE_RELU;
        qsr_taken_free(&copy.weights[QSR_THRESHOLD]);
        status = qsr_pretrained_make(&copy, o->pool, &plain, e);
        qsr_pretrained_free(&copy);
    }
    if (!status) {
        counter counting = {.own = own, .plain = &plain};
        status = create_counter(&counting, e);
        if (!status) status = count_rows(data, &counting, &c, e);
        free_counter(&counting);
    }
    if (!status && !c.rows) status = qsr_fail(e, QSR_E_INPUT, "the dataset has no training rows to choose k or a threshold by");
    if (!status) status = set_rule(p, o->as, &c, ret, e);
    ret->calibrated = c.rows;
    qsr_sae_free(&plain);
    free(c.bins);
    return status;
}

static qsr_status judge_both(const qsr_dataset *data, const qsr_sae *own, const qsr_pretrained *p, const qsr_convert_options *o,
                             qsr_conversion *ret, qsr_error *e)
{
    qsr_pretrained copy;
    qsr_sae changed;
    qsr_status status = qsr_pretrained_copy(p, &copy, e);
    if (status) return status;
    status = qsr_pretrained_make(&copy, o->pool, &changed, e);
    qsr_pretrained_free(&copy);
    if (status) return status;
    qsr_judged both[] = {{.sae = own, .layer = -1}, {.sae = &changed, .layer = -1}};
    qsr_evaluate_options options = {.ctx = o->ctx, .progress = o->progress};
    status = qsr_evaluate(both, 2, data, &options, e);
    for (int i = 0; !status && i < 2; i++)
        if ((status = both[i].error.code) && e) *e = both[i].error;
    ret->before = both[0].evaluation;
    ret->after = both[1].evaluation;
    ret->scored = data->held_kept;
    qsr_sae_free(&changed);
    return status;
}

static qsr_status load_spec(const qsr_loaded *l, const qsr_convert_options *o, qsr_spec **ret, qsr_problems *problems, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_spec_env env = *o->env;
    env.data_only = true;
    const char *path = o->spec ? o->spec : qsr_path_join(&arena, l->folder, "spec.yaml");
    qsr_status status = QSR_OK;
    if (!o->spec && !qsr_exists(path))
        status = qsr_fail(e, QSR_E_INPUT, "%s is not part of a run, so what another activation costs can be measured only with --spec SPEC, "
                          "whose dataset is then used", l->about.path);
    if (!status) status = qsr_spec_load(path, NULL, 0, &env, ret, problems);
    qsr_arena_free(&arena);
    return status;
}

static qsr_status convert_on(const qsr_dataset *data, const qsr_loaded *l, qsr_pretrained *p, const qsr_convert_options *o,
                             qsr_conversion *ret, qsr_error *e)
{
    if (data->d_in != p->d_in)
        return qsr_fail(e, QSR_E_INPUT, "%s has d_in %zu, but the dataset has a width of %zu", p->path, p->d_in, data->d_in);
    if (!data->held_rows)
        return qsr_fail(e, QSR_E_INPUT, "eval.tokens is 0, so there are no rows to measure the conversion on: give a --spec that holds some out");
    if (p->rule == QSR_RULE_GATED) qsr_fold_gates(p);
    if (p->rescale) qsr_fold_rescaling(p);
    if (p->weights[QSR_FINETUNING].data) qsr_fold_finetuning(p);
    qsr_status status = calibrate(data, &l->sae, p, o, ret, e);
    return status ? status : judge_both(data, &l->sae, p, o, ret, e);
}

qsr_status qsr_lab_convert(qsr_pretrained *p, const qsr_convert_options *o, qsr_conversion *ret, qsr_problems *problems, qsr_error *e)
{
    qsr_loaded l;
    qsr_spec *spec = NULL;
    qsr_dataset data;
    *ret = (qsr_conversion){.threshold = NAN};
    qsr_status status = qsr_loaded_open(p->path, o->env, o->pool, &l, e);
    if (status) return status;
    status = load_spec(&l, o, &spec, problems, e);
    if (!status && (status = qsr_dataset_open(spec, o->pool, &data, e))) {
        qsr_cell_blame(spec, &spec->dataset, e, problems);
    } else if (!status) {
        status = convert_on(&data, &l, p, o, ret, e);
        qsr_dataset_close(&data);
    }
    qsr_spec_free(spec);
    qsr_loaded_free(&l);
    return status;
}

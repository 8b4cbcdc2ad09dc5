#include "exchange/examine.h"

#include <math.h>
#include <stdio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "math/rows.h"

enum { MOST_REMARKS = 16 };

static void remark(qsr_examination *x, const char *fmt, ...) QSR_PRINTF(2, 3);
static void remark(qsr_examination *x, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    qsr_examination_remark(x, text);
}

void qsr_examination_remark(qsr_examination *x, const char *text)
{
    const char **remarks = (const char **)(uintptr_t)x->remarks;
    if (!remarks) x->remarks = remarks = qsr_arena_alloc(&x->arena, MOST_REMARKS, sizeof *remarks);
    if (x->n_remarks < MOST_REMARKS) remarks[x->n_remarks++] = qsr_one_line(qsr_arena_strdup(&x->arena, text));
}

void qsr_examination_free(qsr_examination *x)
{
    qsr_arena_free(&x->arena);
    *x = (qsr_examination){0};
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Reorders v and drops what is not finite. */
static qsr_spread spread_of(double *v, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(v[i])) v[kept++] = v[i];
    if (!kept) return (qsr_spread){NAN, NAN, NAN};
    qsort(v, kept, sizeof *v, by_value);
    return (qsr_spread){v[0], (v[(kept - 1) / 2] + v[kept / 2]) / 2, v[kept - 1]};
}

static double cosine(const float *a, const float *b, size_t d) { return qsr_row_dot(a, b, d) / (qsr_row_norm(a, d) * qsr_row_norm(b, d)); }

/* Of square matrices: the median of cos(W_enc row, W_dec column). Large: one of them was stored the other way round. */
static double turned_alignment(const qsr_pretrained *p)
{
    size_t d = p->d_in;
    float *column = qsr_xcalloc(d, sizeof *column);
    double *all = qsr_xcalloc(d, sizeof *all);
    for (size_t j = 0; j < d; j++) {
        for (size_t i = 0; i < d; i++) column[i] = p->weights[QSR_W_DEC].data[i * d + j];
        all[j] = cosine(p->weights[QSR_W_ENC].data + j * d, column, d);
    }
    double median = spread_of(all, d).median;
    free(column);
    free(all);
    return median;
}

static double bound_of(const qsr_pretrained *p, const qsr_examination *x, size_t j, double norm)
{
    double reach = sqrt((double)p->d_in) + (p->pre_bias ? x->b_dec_norm : 0);
    return norm * reach + p->weights[QSR_B_ENC].data[j];
}

static size_t count_dead(const qsr_pretrained *p, const qsr_examination *x)
{
    bool bounded = p->normalise.mode == QSR_NORMALISE_TOKEN || p->normalise.mode == QSR_NORMALISE_NORM;
    const float *threshold = p->weights[QSR_THRESHOLD].data;
    size_t dead = 0, d = p->d_in;
    for (size_t j = 0; j < p->d_sae; j++) {
        double enc = qsr_row_norm(p->weights[QSR_W_ENC].data + j * d, d), dec = qsr_row_norm(p->weights[QSR_W_DEC].data + j * d, d);
        bool small = enc < 1e-3 * x->encoder_norm.median || dec < 1e-3 * x->decoder_norm.median || enc == 0 || dec == 0;
        bool silent = bounded && p->rule != QSR_RULE_GATED && p->rule != QSR_RULE_PLUGIN && !p->rescale &&
                      bound_of(p, x, j, enc) <= (threshold ? fmaxf(threshold[j], 0) : 0);
        dead += small || silent;
    }
    return dead;
}

static void measure(const qsr_pretrained *p, qsr_examination *x)
{
    size_t n = p->d_sae, d = p->d_in;
    double *enc = qsr_xcalloc(n, sizeof *enc), *dec = qsr_xcalloc(n, sizeof *dec), *cos = qsr_xcalloc(n, sizeof *cos);
    const float *threshold = p->weights[QSR_THRESHOLD].data;
    for (size_t j = 0; j < n; j++) {
        const float *e = p->weights[QSR_W_ENC].data + j * d, *w = p->weights[QSR_W_DEC].data + j * d;
        enc[j] = qsr_row_norm(e, d);
        dec[j] = qsr_row_norm(w, d);
        cos[j] = cosine(e, w, d);
    }
    x->encoder_norm = spread_of(enc, n);
    x->decoder_norm = spread_of(dec, n);
    x->alignment = spread_of(cos, n);
    for (size_t j = 0; j < n; j++) {
        enc[j] = threshold ? threshold[j] : NAN;
        x->negative_thresholds += enc[j] < 0;
        x->zero_thresholds += enc[j] == 0;
    }
    x->threshold = spread_of(enc, n);
    x->b_dec_norm = qsr_row_norm(p->weights[QSR_B_DEC].data, d);
    for (size_t i = 0; i < QSR_WEIGHTS; i++) x->not_finite += p->weights[i].not_finite;
    free(enc);
    free(dec);
    free(cos);
}

/* ---- judgement -------------------------------------------------------------------------------------------------------- */

static void judge_norms(const qsr_pretrained *p, qsr_examination *x)
{
    const qsr_spread *n = &x->decoder_norm;
    bool same = n->max - n->min <= 1e-3 * n->max;
    if (!(n->max > 0)) return;
    if (fabs(n->min - 1) <= 1e-3 && fabs(n->max - 1) <= 1e-3) return;
    if (same)
        remark(x, "all decoder rows have the norm %.6g and not 1: a scale of the inputs looks folded in", n->median);
    else
        remark(x, "decoder rows do not have unit norm (%.6g to %.6g): values of f are not in units of the input", n->min, n->max);
    if (!same && p->rule == QSR_RULE_TOPK && !p->rescale)
        remark(x, "top-k selects by pre-activations alone though decoder rows differ in norm: is rescale_acts_by_decoder_norm missing?");
}

static void judge_orientation(const qsr_pretrained *p, qsr_examination *x)
{
    double turned = p->d_in == p->d_sae ? turned_alignment(p) : 0;
    if (turned > 0.2 && turned > 2 * x->alignment.median)
        remark(x, "one of the matrices looks transposed: encoder rows agree with decoder columns (median cosine %.3g), not with rows (%.3g)",
               turned, x->alignment.median);
    else if (x->alignment.median < -0.05)
        remark(x, "encoder and decoder rows point in opposite directions (median cosine %.3g): is a sign wrong?", x->alignment.median);
    else if (x->alignment.median < 3 / sqrt((double)p->d_in) && x->alignment.median < 0.05)
        remark(x, "encoder and decoder rows are unrelated (median cosine %.3g): untrained, or from two files?", x->alignment.median);
}

static void judge_thresholds(const qsr_pretrained *p, qsr_examination *x)
{
    if (p->rule != QSR_RULE_THRESHOLD) return;
    if (x->negative_thresholds)
        remark(x, "%zu of %zu thresholds are negative; they count as 0", x->negative_thresholds, p->d_sae);
    if (x->zero_thresholds == p->d_sae) remark(x, "all thresholds are 0: it is a ReLU SAE");
}

static void judge_scale(const qsr_pretrained *p, qsr_examination *x)
{
    if (isnan(p->normalise.scale))
        remark(x, "inputs are scaled by a factor that is not in the files (normalize_activations expected_average_only_in, not folded, and no "
                  "activation_scaler.json)");
    else if (p->normalise.mode == QSR_NORMALISE_DATASET)
        remark(x, "the scale of the inputs, %.6g, is not folded into the weights: tools that do not read activation_scaler.json will be wrong",
               p->normalise.scale);
}

void qsr_examine(const qsr_pretrained *p, qsr_examination *ret)
{
    *ret = (qsr_examination){0};
    measure(p, ret);
    ret->dead = count_dead(p, ret);
    if (ret->not_finite) remark(ret, "%zu values are not finite: it cannot be run", ret->not_finite);
    judge_norms(p, ret);
    judge_orientation(p, ret);
    judge_thresholds(p, ret);
    judge_scale(p, ret);
    if (ret->dead) remark(ret, "%zu of %zu latents look dead: rows near 0, or thresholds that no input reaches", ret->dead, p->d_sae);
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------- */

static void put_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, text ? json_string(text) : json_null());
}

static void put_count(json_t *object, const char *key, size_t n) { json_object_set_new(object, key, json_integer((json_int_t)n)); }

static json_t *spread_json(const qsr_spread *s)
{
    json_t *object = json_object();
    json_object_set_new(object, "min", qsr_json_real(s->min));
    json_object_set_new(object, "median", qsr_json_real(s->median));
    json_object_set_new(object, "max", qsr_json_real(s->max));
    return object;
}

static json_t *tensors_json(const qsr_pretrained *p)
{
    json_t *tensors = json_object();
    for (size_t i = 0; i < QSR_WEIGHTS; i++) {
        const qsr_taken *t = &p->weights[i];
        if (!t->data || (i == QSR_B_ENC && p->rule == QSR_RULE_GATED)) continue;
        json_t *one = json_object(), *shape = json_array();
        if (i <= QSR_W_DEC) json_array_append_new(shape, json_integer((json_int_t)p->d_sae));
        json_array_append_new(shape, json_integer((json_int_t)(i == QSR_B_DEC || i <= QSR_W_DEC ? p->d_in : p->d_sae)));
        json_object_set_new(one, "shape", shape);
        put_text(one, "dtype", qsr_dtype_name(t->dtype));
        put_count(one, "not_finite", t->not_finite);
        json_object_set_new(tensors, qsr_weight_names[i], one);
    }
    return tensors;
}

static json_t *sentences(const char *const *items, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) json_array_append_new(list, json_string(items[i]));
    return list;
}

json_t *qsr_examination_json(const qsr_pretrained *p, const qsr_examination *x)
{
    json_t *root = json_object();
    put_text(root, "path", p->path);
    put_text(root, "format", p->format);
    put_text(root, "architecture", p->architecture);
    put_count(root, "d_in", p->d_in);
    put_count(root, "d_sae", p->d_sae);
    json_object_set_new(root, "k", p->rule == QSR_RULE_TOPK ? json_integer((json_int_t)p->k) : json_null());
    put_text(root, "dtype", qsr_dtype_name(p->weights[QSR_W_ENC].dtype));
    put_text(root, "normalize_activations", p->rule == QSR_RULE_UNKNOWN ? NULL : qsr_normalise_saelens(p->normalise.mode));
    json_object_set_new(root, "scale", p->normalise.mode == QSR_NORMALISE_DATASET ? qsr_json_real(p->normalise.scale) : json_null());
    json_object_set_new(root, "folded_scale", p->folded_scale > 0 ? qsr_json_real(p->folded_scale) : json_null());
    json_object_set_new(root, "apply_b_dec_to_input", p->rule == QSR_RULE_UNKNOWN ? json_null() : json_boolean(p->pre_bias));
    json_object_set_new(root, "rescale_acts_by_decoder_norm", json_boolean(p->rescale));
    put_text(root, "model_name", p->model_name);
    put_text(root, "hook_name", p->hook_name);
    json_object_set_new(root, "tensors", tensors_json(p));
    json_object_set_new(root, "decoder_norm", spread_json(&x->decoder_norm));
    json_object_set_new(root, "encoder_norm", spread_json(&x->encoder_norm));
    json_object_set_new(root, "encoder_decoder_cosine", spread_json(&x->alignment));
    json_object_set_new(root, "threshold", p->weights[QSR_THRESHOLD].data ? spread_json(&x->threshold) : json_null());
    put_count(root, "negative_thresholds", x->negative_thresholds);
    json_object_set_new(root, "b_dec_norm", qsr_json_real(x->b_dec_norm));
    put_count(root, "dead_looking", x->dead);
    put_count(root, "not_finite", x->not_finite);
    json_object_set_new(root, "notes", sentences(p->notes, p->n_notes));
    json_object_set_new(root, "remarks", sentences(x->remarks, x->n_remarks));
    return root;
}

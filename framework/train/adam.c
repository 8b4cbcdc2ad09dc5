#include "train/adam.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "math/kernel.h"

enum { LATENTS_PER_CHUNK = 32 };

qsr_decoder_norm qsr_decoder_norm_parse(const char *word)
{
    if (strcmp(word, "none") == 0) return QSR_DECODER_FREE;
    return strcmp(word, "before_step") == 0 ? QSR_DECODER_BEFORE_STEP : QSR_DECODER_AFTER_STEP;
}

static bool make(qsr_moments *ret, size_t n)
{
    ret->m = qsr_block_alloc(n, sizeof(float));
    ret->v = qsr_block_alloc(n, sizeof(float));
    return ret->m && ret->v;
}

qsr_status qsr_adam_create(const qsr_params *p, unsigned params, qsr_adam *ret, qsr_error *e)
{
    size_t weights = p->d_in * p->d_sae;
    *ret = (qsr_adam){.d_in = p->d_in, .d_sae = p->d_sae, .params = params};
    bool ok = (ret->zeros = qsr_block_alloc(p->d_in, sizeof(float))) && make(&ret->w_enc, weights) &&
              make(&ret->w_dec, weights) && make(&ret->b_enc, p->d_sae) && make(&ret->b_dec, p->d_in);
    for (unsigned i = 0; ok && i < params; i++) ok = make(&ret->param[i], p->d_sae);
    if (ok) return QSR_OK;
    qsr_adam_free(ret);
    return qsr_fail_nomem(e, "Adam's moments", 4 * weights * sizeof(float));
}

void qsr_adam_free(qsr_adam *a)
{
    qsr_moments *all[] = {&a->w_enc, &a->w_dec, &a->b_enc, &a->b_dec, &a->param[0], &a->param[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        qsr_block_free(all[i]->m);
        qsr_block_free(all[i]->v);
    }
    qsr_block_free(a->zeros);
    *a = (qsr_adam){0};
}

struct applying {
    qsr_adam *adam;
    qsr_decoder_norm decoder_norm;
    qsr_adam_step step;
    const qsr_gradient *g;
    qsr_params *p;
    const float *zeros; /* [d_in] */
};

/* Rows that are zero are not read. */
static const float *gradient_of(const struct applying *in, const float *matrix, size_t j)
{
    return in->g->rows[j] == QSR_ROWS_ZERO ? in->zeros : matrix + j * in->p->d_in;
}

static qsr_status apply_latents(void *arg, size_t begin, size_t end)
{
    const struct applying *in = arg;
    const qsr_kernels *k = qsr_kernels_get();
    size_t d = in->p->d_in;
    for (size_t j = begin; j < end; j++) {
        size_t at = j * d;
        const float *g = gradient_of(in, in->g->w_dec, j);
        float *w = in->p->w_dec + at, *m = in->adam->w_dec.m + at, *v = in->adam->w_dec.v + at;
        if (in->decoder_norm == QSR_DECODER_FREE)
            k->adam(&in->step, g, w, m, v, d);
        else
            k->adam_on_sphere(&in->step, in->decoder_norm == QSR_DECODER_BEFORE_STEP, g, w, m, v, d);
        k->adam(&in->step, gradient_of(in, in->g->w_enc, j), in->p->w_enc + at, in->adam->w_enc.m + at,
                in->adam->w_enc.v + at, d);
    }
    return QSR_OK;
}

static void apply_params(const struct applying *in, qsr_param *params)
{
    const qsr_kernels *k = qsr_kernels_get();
    for (unsigned i = 0; i < in->adam->params; i++) {
        float *value = params[i].value;
        k->adam(&in->step, in->g->param[i], value, in->adam->param[i].m, in->adam->param[i].v, in->p->d_sae);
        for (size_t j = 0; j < in->p->d_sae; j++) {
            if (value[j] < params[i].lower) value[j] = params[i].lower;
            if (value[j] > params[i].upper) value[j] = params[i].upper;
        }
    }
}

void qsr_adam_apply(qsr_adam *adam, const qsr_update *u, const qsr_gradient *g, qsr_params *p, qsr_param *params,
                    qsr_pool *pool)
{
    double t = (double)u->step + 1;
    struct applying in = {.adam = adam, .decoder_norm = u->decoder_norm, .g = g, .p = p, .zeros = adam->zeros};
    in.step = (qsr_adam_step){.clip = (float)u->clip,
                              .beta1 = (float)u->beta1,
                              .beta2 = (float)u->beta2,
                              .gain1 = (float)(1 - u->beta1),
                              .gain2 = (float)(1 - u->beta2),
                              .eps = 1e-8f,
                              .rate1 = (float)(u->lr / (1 - pow(u->beta1, t))),
                              .rate2 = (float)(1 / (1 - pow(u->beta2, t)))};
    qsr_pool_run(pool, p->d_sae, LATENTS_PER_CHUNK, apply_latents, &in);
    const qsr_kernels *k = qsr_kernels_get();
    k->adam(&in.step, g->b_dec, p->b_dec, adam->b_dec.m, adam->b_dec.v, p->d_in);
    if (p->encoder_bias) k->adam(&in.step, g->b_enc, p->b_enc, adam->b_enc.m, adam->b_enc.v, p->d_sae);
    apply_params(&in, params);
}

#include "model.h"

#include <stdalign.h>
#include <stdio.h>

typedef struct {
    const qsr_host *host;
    gpt2_weights *weights;
    qsr_error *e;
} loader;

bool gpt2_is_direct(const qsr_tensor *t) { return t->dtype == QSR_F32 && (uintptr_t)t->data % alignof(float) == 0; }

static qsr_status load_floats(const loader *l, const char *name, size_t rows, size_t columns, const float **ret)
{
    const qsr_tensor *t;
    qsr_status status = gpt2_weights_find(l->weights, name, rows, columns, &t, l->e);
    if (status) return status;
    if (gpt2_is_direct(t)) {
        *ret = t->data;
        return QSR_OK;
    }
    float *converted = l->host->alloc(l->host, t->count, sizeof *converted);
    if (!converted) return QSR_E_NOMEM;
    qsr_to_float(t->dtype, t->data, t->count, converted);
    *ret = converted;
    return QSR_OK;
}

/* "<part>.weight" and "<part>.bias", both [d]. */
static qsr_status load_norm(const loader *l, const char *part, size_t d, gpt2_affine *ret)
{
    char name[96];
    snprintf(name, sizeof name, "%s.weight", part);
    qsr_status status = load_floats(l, name, 0, d, &ret->weight);
    if (status) return status;
    snprintf(name, sizeof name, "%s.bias", part);
    return load_floats(l, name, 0, d, &ret->bias);
}

static qsr_status load_block_norm(const loader *l, size_t index, const char *part, size_t d, gpt2_affine *ret)
{
    char name[64];
    snprintf(name, sizeof name, "h.%zu.%s", index, part);
    return load_norm(l, name, d, ret);
}

/* "<part>.weight" [rows][columns] and "<part>.bias" [columns] of block `index`. */
static qsr_status load_linear(const loader *l, size_t index, const char *part, size_t rows, size_t columns,
                              gpt2_linear *ret)
{
    char name[96];
    snprintf(name, sizeof name, "h.%zu.%s.weight", index, part);
    qsr_status status = gpt2_weights_find(l->weights, name, rows, columns, &ret->weight, l->e);
    if (status) return status;
    snprintf(name, sizeof name, "h.%zu.%s.bias", index, part);
    return load_floats(l, name, 0, columns, &ret->bias);
}

static qsr_status load_block(const loader *l, const gpt2_config *c, size_t i, gpt2_block *ret)
{
    qsr_status status = load_block_norm(l, i, "ln_1", c->d, &ret->ln_1);
    if (!status) status = load_linear(l, i, "attn.c_attn", c->d, 3 * c->d, &ret->qkv);
    if (!status) status = load_linear(l, i, "attn.c_proj", c->d, c->d, &ret->attention_out);
    if (!status) status = load_block_norm(l, i, "ln_2", c->d, &ret->ln_2);
    if (!status) status = load_linear(l, i, "mlp.c_fc", c->d, c->inner, &ret->mlp_in);
    if (!status) status = load_linear(l, i, "mlp.c_proj", c->inner, c->d, &ret->mlp_out);
    return status;
}

/* What is needed up to the deepest tap. */
static qsr_status load_first(const loader *l, size_t n_blocks, gpt2_model *m)
{
    const gpt2_config *c = &m->config;
    qsr_status status = gpt2_weights_find(l->weights, "wte.weight", c->vocabulary, c->d, &m->wte, l->e);
    if (!status) status = load_floats(l, "wpe.weight", c->positions, c->d, &m->wpe);
    if (status) return status;
    m->blocks = l->host->alloc(l->host, c->layers, sizeof *m->blocks);
    m->zeros = l->host->alloc(l->host, c->d, sizeof *m->zeros);
    if (!m->blocks || !m->zeros) return QSR_E_NOMEM;
    for (; !status && m->n_blocks < n_blocks; m->n_blocks++)
        status = load_block(l, c, m->n_blocks, &m->blocks[m->n_blocks]);
    return status;
}

/* What a loss needs beyond that. Files may lack it; memory may not. */
static qsr_status load_rest(loader l, gpt2_model *m)
{
    const gpt2_config *c = &m->config;
    const size_t needed = m->n_blocks;
    qsr_status status = QSR_OK;
    l.e = &m->missing;
    for (; !status && m->n_blocks < c->layers; m->n_blocks++)
        status = load_block(&l, c, m->n_blocks, &m->blocks[m->n_blocks]);
    if (!status) status = load_norm(&l, "ln_f", c->d, &m->ln_f);
    if (!status && !c->tied) status = gpt2_weights_find(l.weights, "lm_head.weight", c->vocabulary, c->d, &m->head, l.e);
    if (c->tied) m->head = m->wte;
    m->whole = !status;
    if (status) m->n_blocks = needed;
    return status && !m->missing.code ? status : QSR_OK;
}

qsr_status gpt2_model_open(const qsr_host *host, const char *folder, const gpt2_config *config, size_t n_blocks,
                           gpt2_model *ret, qsr_error *e)
{
    gpt2_model m = {.config = *config};
    qsr_status status = gpt2_weights_open(folder, &m.weights, e);
    const loader l = {host, m.weights, e};
    if (!status) status = load_first(&l, n_blocks, &m);
    if (!status) status = load_rest(l, &m);
    if (status)
        gpt2_model_close(&m);
    else
        *ret = m;
    return status;
}

void gpt2_model_close(gpt2_model *m)
{
    gpt2_weights_close(m->weights);
    *m = (gpt2_model){0};
}

#include "model.h"

#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/text.h"

typedef struct {
    const qsr_host *host;
    const qsr_safetensors *file;
    const char *path, *prefix; /* prefix: "" or "transformer." */
    qsr_error *e;
} loader;

static bool has_shape(const qsr_tensor *t, size_t rank, const size_t *shape)
{
    return t->rank == rank && memcmp(t->shape, shape, rank * sizeof *shape) == 0;
}

static void add_shape(qsr_text *out, size_t rank, const size_t *shape)
{
    qsr_text_puts(out, "[");
    for (size_t i = 0; i < rank; i++) qsr_text_add(out, "%s%zu", i ? ", " : "", shape[i]);
    qsr_text_puts(out, "]");
}

static qsr_status fail_shape(const loader *l, const qsr_tensor *t, size_t rank, const size_t *shape)
{
    qsr_text text = {0};
    qsr_text_puts(&text, "has shape ");
    add_shape(&text, t->rank, t->shape);
    qsr_text_puts(&text, ", expected ");
    add_shape(&text, rank, shape);
    qsr_status status = qsr_fail(l->e, QSR_E_INPUT, "%s: tensor %s %s", l->path, t->name, text.bytes);
    qsr_text_free(&text);
    return status;
}

/* rows 0: a vector of `columns`. */
static qsr_status find(const loader *l, const char *name, size_t rows, size_t columns, const qsr_tensor **ret)
{
    const size_t rank = rows ? 2 : 1, matrix[2] = {rows, columns}, *shape = rows ? matrix : matrix + 1;
    char full[128];
    snprintf(full, sizeof full, "%s%s", l->prefix, name);
    const qsr_tensor *t = qsr_safetensors_find(l->file, full);
    if (!t) return qsr_fail(l->e, QSR_E_INPUT, "%s: tensor %s is missing", l->path, full);
    if (!has_shape(t, rank, shape)) return fail_shape(l, t, rank, shape);
    if (t->dtype != QSR_F32 && t->dtype != QSR_F16 && t->dtype != QSR_BF16)
        return qsr_fail(l->e, QSR_E_INPUT, "%s: tensor %s holds %s, expected F32, F16 or BF16", l->path, full,
                        qsr_dtype_name(t->dtype));
    *ret = t;
    return QSR_OK;
}

static qsr_status load_floats(const loader *l, const char *name, size_t rows, size_t columns, const float **ret)
{
    const qsr_tensor *t;
    qsr_status status = find(l, name, rows, columns, &t);
    if (status) return status;
    if (t->dtype == QSR_F32 && (uintptr_t)t->data % alignof(float) == 0) {
        *ret = t->data;
        return QSR_OK;
    }
    float *converted = l->host->alloc(l->host, t->count, sizeof *converted);
    if (!converted) return QSR_E_NOMEM;
    qsr_to_float(t->dtype, t->data, t->count, converted);
    *ret = converted;
    return QSR_OK;
}

/* Adds "<part>.weight" [rows][columns] and "<part>.bias" [columns] of block `index`. */
static qsr_status load_affine(const loader *l, size_t index, const char *part, size_t rows, size_t columns,
                              gpt2_affine *ret)
{
    char name[96];
    snprintf(name, sizeof name, "h.%zu.%s.weight", index, part);
    qsr_status status = load_floats(l, name, rows, columns, &ret->weight);
    if (status) return status;
    snprintf(name, sizeof name, "h.%zu.%s.bias", index, part);
    return load_floats(l, name, 0, columns, &ret->bias);
}

static qsr_status load_block(const loader *l, const gpt2_config *c, size_t i, gpt2_block *ret)
{
    qsr_status status = load_affine(l, i, "ln_1", 0, c->d, &ret->ln_1);
    if (!status) status = load_affine(l, i, "attn.c_attn", c->d, 3 * c->d, &ret->qkv);
    if (!status) status = load_affine(l, i, "attn.c_proj", c->d, c->d, &ret->attention_out);
    if (!status) status = load_affine(l, i, "ln_2", 0, c->d, &ret->ln_2);
    if (!status) status = load_affine(l, i, "mlp.c_fc", c->d, c->inner, &ret->mlp_in);
    if (!status) status = load_affine(l, i, "mlp.c_proj", c->inner, c->d, &ret->mlp_out);
    return status;
}

static qsr_status load_all(const loader *l, gpt2_model *m)
{
    const gpt2_config *c = &m->config;
    qsr_status status = find(l, "wte.weight", c->vocabulary, c->d, &m->wte);
    if (!status) status = load_floats(l, "wpe.weight", c->positions, c->d, &m->wpe);
    if (status || !m->n_blocks) return status;
    m->blocks = l->host->alloc(l->host, m->n_blocks, sizeof *m->blocks);
    if (!m->blocks) return QSR_E_NOMEM;
    for (size_t i = 0; i < m->n_blocks && !status; i++) status = load_block(l, c, i, &m->blocks[i]);
    return status;
}

qsr_status gpt2_model_open(const qsr_host *host, const char *folder, const gpt2_config *config, size_t n_blocks,
                           gpt2_model *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    gpt2_model m = {.config = *config, .n_blocks = n_blocks};
    loader l = {host, NULL, qsr_path_join(&arena, folder, "model.safetensors"), "", e};
    qsr_status status = qsr_safetensors_open(l.path, &m.file, e);
    if (!status) {
        l.file = m.file;
        if (qsr_safetensors_find(m.file, "transformer.wte.weight")) l.prefix = "transformer.";
        status = load_all(&l, &m);
    }
    if (status)
        gpt2_model_close(&m);
    else
        *ret = m;
    qsr_arena_free(&arena);
    return status;
}

void gpt2_model_close(gpt2_model *m)
{
    qsr_safetensors_close(m->file);
    *m = (gpt2_model){0};
}

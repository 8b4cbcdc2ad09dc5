#include "weights.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/text.h"
#include "format/json.h"

enum { INDEX_LIMIT = 64 << 20 };

typedef struct {
    const char *path;
    qsr_safetensors *file; /* NULL: not opened yet */
} shard;

struct gpt2_weights {
    qsr_arena arena;
    const char *folder, *index_path;
    const char *prefix; /* "" or "transformer." */
    json_t *index;      /* NULL: one file, shards[0] */
    const json_t *map;  /* the index's weight_map: tensor name -> file name */
    shard *shards;
    size_t n_shards;
};

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* A name inside the folder and no way out of it. */
static bool is_plain_name(const char *name) { return name[0] && name[0] != '.' && !strchr(name, '/'); }

static qsr_status check_map(const gpt2_weights *w, qsr_error *e)
{
    const char *name;
    json_t *file;
    if (!json_is_object(w->map) || !json_object_size(w->map))
        return qsr_fail(e, QSR_E_INPUT, "%s: weight_map is not an object that names a file for each tensor", w->index_path);
    json_object_foreach((json_t *)(uintptr_t)w->map, name,
                        file) if (!json_is_string(file) ||
                                  !is_plain_name(json_string_value(
                                      file))) return qsr_fail(e, QSR_E_INPUT,
                                                              "%s: the file of tensor %.100s is %s%.100s, expected the "
                                                              "name of a file beside the index",
                                                              w->index_path, name, json_is_string(file) ? "" : "no text",
                                                              json_is_string(file) ? json_string_value(file) : "");
    return QSR_OK;
}

static qsr_status open_index(gpt2_weights *w, qsr_error *e)
{
    qsr_status status = qsr_json_read(w->index_path, INDEX_LIMIT, &w->index, e);
    if (status) return status;
    w->map = json_object_get(w->index, "weight_map");
    status = check_map(w, e);
    if (status) return status;
    w->shards = qsr_arena_alloc(&w->arena, json_object_size(w->map), sizeof *w->shards);
    if (json_object_get(w->map, "transformer.wte.weight")) w->prefix = "transformer.";
    return QSR_OK;
}

static qsr_status open_single(gpt2_weights *w, const char *path, qsr_error *e)
{
    w->shards = qsr_arena_alloc(&w->arena, 1, sizeof *w->shards);
    w->shards[w->n_shards++] = (shard){.path = path};
    qsr_status status = qsr_safetensors_open(path, &w->shards[0].file, e);
    if (!status && qsr_safetensors_find(w->shards[0].file, "transformer.wte.weight")) w->prefix = "transformer.";
    return status;
}

static qsr_status fail_nothing_there(const gpt2_weights *w, qsr_error *e)
{
    qsr_arena arena = {0};
    const bool torch = qsr_exists(qsr_path_join(&arena, w->folder, "pytorch_model.bin"));
    qsr_arena_free(&arena);
    return qsr_fail(e, QSR_E_INPUT, "%s: there is neither model.safetensors nor model.safetensors.index.json%s", w->folder,
                    torch ? "; pytorch_model.bin is not read, get or convert to safetensors" : "");
}

qsr_status gpt2_weights_open(const char *folder, gpt2_weights **ret, qsr_error *e)
{
    gpt2_weights *w = qsr_xcalloc(1, sizeof *w);
    w->prefix = "";
    w->folder = qsr_arena_strdup(&w->arena, folder);
    w->index_path = qsr_path_join(&w->arena, folder, "model.safetensors.index.json");
    const char *single = qsr_path_join(&w->arena, folder, "model.safetensors");
    qsr_status status;
    if (qsr_exists(single))
        status = open_single(w, single, e);
    else
        status = qsr_exists(w->index_path) ? open_index(w, e) : fail_nothing_there(w, e);
    if (status)
        gpt2_weights_close(w);
    else
        *ret = w;
    return status;
}

void gpt2_weights_close(gpt2_weights *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n_shards; i++) qsr_safetensors_close(w->shards[i].file);
    json_decref(w->index);
    qsr_arena_free(&w->arena);
    free(w);
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static qsr_status open_shard(gpt2_weights *w, const char *file, shard **ret, qsr_error *e)
{
    const char *path = qsr_path_join(&w->arena, w->folder, file);
    size_t i = 0;
    while (i < w->n_shards && strcmp(w->shards[i].path, path) != 0) i++;
    *ret = &w->shards[i];
    if (i < w->n_shards) return QSR_OK;
    qsr_safetensors *opened;
    qsr_status status = qsr_safetensors_open(path, &opened, e);
    if (status) {
        qsr_context(e, "%s names a shard that cannot be read", w->index_path);
        return status;
    }
    w->shards[w->n_shards++] = (shard){path, opened};
    return QSR_OK;
}

/* The file that holds a tensor. */
static qsr_status locate(gpt2_weights *w, const char *full, shard **ret, qsr_error *e)
{
    *ret = w->shards;
    if (!w->index) return QSR_OK;
    const json_t *file = json_object_get(w->map, full);
    if (file) return open_shard(w, json_string_value(file), ret, e);
    return qsr_fail(e, QSR_E_INPUT, "%s: tensor %s is missing", w->index_path, full);
}

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

static qsr_status fail_shape(const char *path, const qsr_tensor *t, size_t rank, const size_t *shape, qsr_error *e)
{
    qsr_text text = {0};
    qsr_text_puts(&text, "has shape ");
    add_shape(&text, t->rank, t->shape);
    qsr_text_puts(&text, ", expected ");
    add_shape(&text, rank, shape);
    qsr_status status = qsr_fail(e, QSR_E_INPUT, "%s: tensor %s %s", path, t->name, text.bytes);
    qsr_text_free(&text);
    return status;
}

qsr_status gpt2_weights_find(gpt2_weights *w, const char *name, size_t rows, size_t columns, const qsr_tensor **ret,
                             qsr_error *e)
{
    const size_t rank = rows ? 2 : 1, matrix[2] = {rows, columns}, *shape = rows ? matrix : matrix + 1;
    const char *full = qsr_arena_printf(&w->arena, "%s%s", strcmp(name, "lm_head.weight") == 0 ? "" : w->prefix, name);
    shard *in;
    qsr_status status = locate(w, full, &in, e);
    if (status) return status;
    const qsr_tensor *t = qsr_safetensors_find(in->file, full);
    if (!t)
        return qsr_fail(e, QSR_E_INPUT,
                        w->index ? "%s: tensor %s is missing, though the index says that it is here"
                                 : "%s: tensor %s is missing",
                        in->path, full);
    if (!has_shape(t, rank, shape)) return fail_shape(in->path, t, rank, shape, e);
    if (t->dtype != QSR_F32 && t->dtype != QSR_F16 && t->dtype != QSR_BF16)
        return qsr_fail(e, QSR_E_INPUT, "%s: tensor %s holds %s, expected F32, F16 or BF16", in->path, full,
                        qsr_dtype_name(t->dtype));
    *ret = t;
    return QSR_OK;
}

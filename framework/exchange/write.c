#include "exchange/write.h"

#include <dirent.h>
#include <string.h>

#include "base/fs.h"
#include "exchange/formats.h"
#include "math/rows.h"

qsr_status qsr_export_format_parse(const char *word, qsr_export_format *ret, qsr_error *e)
{
    static const char *const words[] = {"saelens", "sparsify", NULL};
    for (int i = 0; words[i]; i++) {
        if (strcmp(word, words[i]) != 0) continue;
        *ret = (qsr_export_format)i;
        return QSR_OK;
    }
    const char *near = qsr_nearest(word, words);
    return qsr_fail(e, QSR_E_INPUT, "--to %s: expected saelens or sparsify%s%s%s", word, near ? "; did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
}

/* ---- tensors ---------------------------------------------------------------------------------------------------------- */

qsr_status qsr_outgoing(const qsr_taken *t, const char *name, size_t rank, size_t n0, size_t n1, bool transposed, qsr_tensor *ret,
                        qsr_error *e)
{
    qsr_dtype dtype = t->dtype == QSR_F64 ? QSR_F32 : t->dtype;
    float *turned = NULL;
    void *bytes = qsr_block_raw(t->count, qsr_dtype_size(dtype));
    if (transposed) turned = qsr_block_raw(t->count, sizeof(float));
    if (!bytes || (transposed && !turned)) {
        qsr_block_free(bytes);
        qsr_block_free(turned);
        return qsr_fail_nomem(e, name, t->count * sizeof(float));
    }
    if (transposed) qsr_rows_transpose(t->data, n1, n0, turned);
    qsr_from_float(dtype, transposed ? turned : t->data, t->count, bytes);
    qsr_block_free(turned);
    *ret = (qsr_tensor){.name = name, .dtype = dtype, .rank = rank, .shape = {n0, n1}, .count = t->count, .data = bytes};
    return QSR_OK;
}

/* ---- the folder ------------------------------------------------------------------------------------------------------- */

/* Only what an earlier export left may be replaced. */
static qsr_status check_place(const char *folder, qsr_error *e)
{
    static const char *const ours[] = {".", "..", "cfg.json", "sae_weights.safetensors", "sae.safetensors", "activation_scaler.json"};
    struct dirent *entry;
    qsr_status status = QSR_OK;
    if (!qsr_exists(folder)) return QSR_OK;
    if (!qsr_is_folder(folder)) return qsr_fail(e, QSR_E_INPUT, "cannot create folder %s: there is a file of that name", folder);
    DIR *dir = opendir(folder);
    if (!dir) return qsr_fail_errno(e, "read", folder);
    while (!status && (entry = readdir(dir))) {
        bool known = false;
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) known = known || strcmp(entry->d_name, ours[i]) == 0;
        if (!known)
            status = qsr_fail(e, QSR_E_INPUT, "%s is in use: it holds %s; export to a folder of its own", folder, entry->d_name);
    }
    closedir(dir);
    return status;
}

qsr_status qsr_pretrained_write(const qsr_pretrained *p, qsr_export_format format, const char *folder, json_t *extra, qsr_error *e)
{
    qsr_arena arena = {0};
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    char *place = qsr_arena_strndup(&arena, folder, n), *aside = qsr_arena_printf(&arena, "%s.tmp", place);
    qsr_status status = check_place(place, e);
    if (!status) status = qsr_remove_tree(aside, e);
    if (!status) status = qsr_mkdirs(aside, e);
    if (!status && format == QSR_TO_SAELENS) status = qsr_saelens_write(p, aside, extra, e);
    if (!status && format == QSR_TO_SPARSIFY) status = qsr_sparsify_write(p, aside, e);
    if (!status) status = qsr_replace_folder(aside, place, e);
    if (status) qsr_remove_tree(aside, NULL);
    qsr_arena_free(&arena);
    return status;
}

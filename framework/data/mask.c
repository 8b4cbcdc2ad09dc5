/* data/mask: which rows take part in training and metrics, as the dataset's "quasar.tokens/1" says. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "data/dataset.h"

enum { UNITS_AT_ONCE = 64 };

struct masking {
    const qsr_dataset *data;
    const uint64_t *units;
    uint8_t *keep;
    qsr_first_error failed;
};

/* The plugin's answer, which may be QSR_END: nothing is left out. */
static qsr_status ask(const qsr_dataset *data, const uint64_t *units, size_t n, uint8_t *keep, qsr_error *e)
{
    const qsr_made *made = data->made;
    return qsr_made_finish(made, data->tokens->mask(made->instance, units, n, keep), e);
}

qsr_status qsr_dataset_find_mask(qsr_dataset *data, qsr_error *e)
{
    data->tokens = qsr_made_extension(data->made, QSR_EXT_TOKENS);
    if (!data->tokens || !data->tokens->mask) return QSR_OK;
    uint64_t none = 0;
    uint8_t nothing = 0;
    qsr_status status = ask(data, &none, 0, &nothing, e);
    data->masked = status == QSR_OK;
    if (status == QSR_END) return QSR_OK;
    if (!status && data->info.units == UINT64_MAX)
        return qsr_fail(e, QSR_E_UNSUPPORTED, "dataset %s has no end: rows of it cannot be left out",
                        data->made->plugin->name);
    return status;
}

static qsr_status mask_group(void *arg, size_t begin, size_t end)
{
    struct masking *in = arg;
    const qsr_dataset *data = in->data;
    const size_t n = end - begin, whole = data->info.rows_per_unit, kept = data->rows_per_unit;
    qsr_error e = {0};
    uint8_t *keep = qsr_xcalloc(n, whole);
    qsr_status status = ask(data, in->units + begin, n, keep, &e);
    if (status == QSR_END)
        status = qsr_fail(&e, QSR_E_INTERNAL, "dataset %s leaves rows out now and then", data->made->plugin->name);
    for (size_t u = 0; !status && u < n; u++)
        for (size_t r = 0; r < kept; r++) in->keep[(begin + u) * kept + r] = keep[u * whole + data->skip_first + r] != 0;
    free(keep);
    return status ? qsr_first_error_note(&in->failed, begin, &e) : QSR_OK;
}

qsr_status qsr_dataset_mask(const qsr_dataset *data, const uint64_t *units, size_t n, uint8_t *keep, qsr_error *e)
{
    if (!data->masked) {
        memset(keep, 1, n * data->rows_per_unit);
        return QSR_OK;
    }
    struct masking in = {.data = data, .units = units, .keep = keep};
    qsr_first_error_init(&in.failed);
    qsr_status status = qsr_pool_run(data->pool, n, UNITS_AT_ONCE, mask_group, &in);
    if (status && e) *e = in.failed.error;
    return status;
}

/* Units are counted a piece at a time, so that memory does not grow with their number. */
qsr_status qsr_dataset_count(const qsr_dataset *data, uint64_t first, uint64_t n, uint64_t *ret_rows, qsr_error *e)
{
    enum { PIECE_ROWS = 1 << 20 };
    const size_t per_unit = data->rows_per_unit, piece = qsr_max_size(PIECE_ROWS / per_unit, 1);
    *ret_rows = n * per_unit;
    if (!data->masked) return QSR_OK;
    uint64_t *units = qsr_xcalloc(piece, sizeof *units), rows = 0;
    uint8_t *keep = qsr_xcalloc(piece, per_unit);
    qsr_status status = QSR_OK;
    for (uint64_t at = 0; !status && at < n; at += piece) {
        const size_t now = n - at < piece ? (size_t)(n - at) : piece;
        for (size_t u = 0; u < now; u++) units[u] = first + at + u;
        status = qsr_dataset_mask(data, units, now, keep, e);
        for (size_t r = 0; !status && r < now * per_unit; r++) rows += keep[r];
    }
    free(units);
    free(keep);
    *ret_rows = rows;
    return status;
}

qsr_status qsr_dataset_train_rows(const qsr_dataset *data, uint64_t *ret_rows, qsr_error *e)
{
    size_t rows;
    *ret_rows = UINT64_MAX;
    if (data->train_units == UINT64_MAX || !qsr_mul_size(data->train_units, data->rows_per_unit, &rows)) return QSR_OK;
    return qsr_dataset_count(data, 0, data->train_units, ret_rows, e);
}

/* Of the last held-out unit only the rows up to held_rows count. */
qsr_status qsr_dataset_count_held(qsr_dataset *data, qsr_error *e)
{
    const size_t per_unit = data->rows_per_unit;
    data->held_kept = data->held_rows;
    if (!data->masked || !data->held_rows) return QSR_OK;
    const uint64_t last = data->held_first + data->held_units - 1;
    uint8_t *keep = qsr_xcalloc(per_unit, 1);
    qsr_status status = qsr_dataset_count(data, data->held_first, data->held_units - 1, &data->held_kept, e);
    if (!status) status = qsr_dataset_mask(data, &last, 1, keep, e);
    for (size_t r = 0; !status && r < data->held_rows - (data->held_units - 1) * per_unit; r++) data->held_kept += keep[r];
    free(keep);
    if (!status && !data->held_kept)
        return qsr_fail_option(e, QSR_E_OPTION, "exclude",
                               "leaves none of the %" PRIu64 " held-out rows to score (eval.tokens)", data->held_rows);
    return status;
}

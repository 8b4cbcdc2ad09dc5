#include "data/dataset.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/rows.h"

#define ENDLESS UINT64_MAX
#define HELD_OUT_FROM (UINT64_C(1) << 48)

static qsr_status describe(qsr_dataset *data, qsr_error *e)
{
    data->info = (qsr_dataset_info){.struct_size = sizeof data->info};
    qsr_status status = qsr_made_finish(data->made, data->ops->describe(data->made->instance, &data->info), e);
    if (status) return status;
    const qsr_dataset_info *info = &data->info;
    if (info->d_in == 0 || info->rows_per_unit == 0 || info->units_per_read == 0 || info->units == 0)
        return qsr_fail(e, QSR_E_INPUT, "dataset %s describes itself with nothing to read (d_in %zu, units %" PRIu64
                        ", rows per unit %zu, units per read %zu)",
                        data->made->plugin->name, info->d_in, info->units, info->rows_per_unit, info->units_per_read);
    return QSR_OK;
}

static qsr_status split(qsr_dataset *data, const qsr_spec *spec, qsr_error *e)
{
    const qsr_dataset_info *info = &data->info;
    data->d_in = info->d_in;
    data->skip_first = (size_t)spec->data.skip_first;
    if (data->skip_first >= info->rows_per_unit)
        return qsr_fail_option(e, QSR_E_OPTION, "skip_first", "skip_first=%zu leaves none of the %zu row%s of a unit",
                               data->skip_first, info->rows_per_unit, info->rows_per_unit == 1 ? "" : "s");
    data->rows_per_unit = info->rows_per_unit - data->skip_first;
    data->held_rows = (uint64_t)spec->eval.tokens;
    data->held_units = data->held_rows / data->rows_per_unit + (data->held_rows % data->rows_per_unit != 0);
    data->train_units = info->units;
    data->held_first = HELD_OUT_FROM;
    if (info->units == ENDLESS) return QSR_OK;
    if (data->held_units >= info->units)
        return qsr_fail(e, QSR_E_OPTION,
                        "eval.tokens=%" PRIu64 " holds out all of the dataset's %" PRIu64 " rows: lower it, or give more data",
                        data->held_rows, info->units * data->rows_per_unit);
    data->train_units = info->units - data->held_units;
    data->held_first = data->train_units;
    return QSR_OK;
}

qsr_status qsr_dataset_open(const qsr_spec *spec, qsr_pool *pool, qsr_dataset *ret, qsr_error *e)
{
    qsr_shape shape = {.struct_size = sizeof shape};
    *ret = (qsr_dataset){.pool = pool, .ops = spec->dataset.plugin->ops};
    qsr_status status =
        qsr_made_create(spec->dataset.plugin, &shape, spec->dataset.values, spec->data.seed, pool, &ret->made, e);
    if (!status) status = describe(ret, e);
    if (!status) status = split(ret, spec, e);
    if (status) qsr_dataset_close(ret);
    return status;
}

void qsr_dataset_close(qsr_dataset *data)
{
    qsr_made_free(data->made);
    *data = (qsr_dataset){0};
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reading {
    const qsr_dataset *data;
    const uint64_t *units;
    float *out;
    qsr_first_error failed;
};

static qsr_status find_not_finite(const qsr_dataset *data, const uint64_t *units, size_t n, const float *rows, qsr_error *e)
{
    size_t unit_values = data->rows_per_unit * data->d_in;
    for (size_t u = 0; u < n; u++) {
        size_t at = qsr_row_not_finite(rows + u * unit_values, unit_values);
        if (at == unit_values) continue;
        float value = rows[u * unit_values + at];
        return qsr_fail(e, QSR_E_INPUT, "dataset %s: unit %" PRIu64 ", row %zu, column %zu is %s", data->made->plugin->name,
                        units[u], data->skip_first + at / data->d_in, at % data->d_in, isnan(value) ? "nan" : "inf");
    }
    return QSR_OK;
}

/* A read into a buffer of whole units, then the rows after skip_first to their place. */
static qsr_status read_and_skip(const qsr_dataset *data, const uint64_t *units, size_t n, float *out, qsr_error *e)
{
    size_t whole = data->info.rows_per_unit * data->d_in, kept = data->rows_per_unit * data->d_in;
    float *buffer = qsr_block_raw(n, whole * sizeof(float));
    if (!buffer) return qsr_fail_nomem(e, "reading data", n * whole * sizeof(float));
    qsr_status status = qsr_made_finish(data->made, data->ops->read(data->made->instance, units, n, buffer), e);
    for (size_t u = 0; !status && u < n; u++)
        memcpy(out + u * kept, buffer + u * whole + data->skip_first * data->d_in, kept * sizeof(float));
    qsr_block_free(buffer);
    return status;
}

static qsr_status read_group(void *arg, size_t begin, size_t end)
{
    struct reading *in = arg;
    const qsr_dataset *data = in->data;
    const uint64_t *units = in->units + begin;
    float *out = in->out + begin * data->rows_per_unit * data->d_in;
    size_t n = end - begin;
    qsr_error e = {0};
    qsr_status status;
    if (data->skip_first) status = read_and_skip(data, units, n, out, &e);
    else status = qsr_made_finish(data->made, data->ops->read(data->made->instance, units, n, out), &e);
    if (!status) status = find_not_finite(data, units, n, out, &e);
    return status ? qsr_first_error_note(&in->failed, begin, &e) : QSR_OK;
}

qsr_status qsr_dataset_read(const qsr_dataset *data, const uint64_t *units, size_t n, float *out, qsr_error *e)
{
    struct reading in = {.data = data, .units = units, .out = out};
    qsr_first_error_init(&in.failed);
    qsr_status status = qsr_pool_run(data->pool, n, data->info.units_per_read, read_group, &in);
    if (status && e) *e = in.failed.error;
    return status;
}

#include "data/dataset.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/sizes.h"
#include "base/text.h"
#include "math/rows.h"

#define ENDLESS UINT64_MAX
#define HELD_OUT_FROM (UINT64_C(1) << 48)

struct qsr_dataset_shared {
    qsr_arena arena;
    const char **tap_keys; /* [opened], for messages */
    atomic_uint_fast64_t reads, nanoseconds;
};

static qsr_status describe(qsr_dataset *data, qsr_error *e)
{
    data->info = (qsr_dataset_info){.struct_size = sizeof data->info};
    qsr_status status = qsr_made_finish(data->made, data->ops->describe(data->made->instance, &data->info), e);
    if (status) return status;
    const qsr_dataset_info *info = &data->info;
    if (info->d_in == 0 || info->rows_per_unit == 0 || info->units_per_read == 0 || info->units == 0)
        return qsr_fail(e, QSR_E_INPUT,
                        "dataset %s describes itself with nothing to read (d_in %zu, units %" PRIu64
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
        return qsr_fail_option(e, QSR_E_OPTION, "eval.tokens",
                               "%" PRIu64 " rows to hold out leave none of the %" PRIu64
                               " to train on: lower it, or give more data",
                               data->held_rows, info->units * data->rows_per_unit);
    data->train_units = info->units - data->held_units;
    data->held_first = data->train_units;
    return QSR_OK;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

/* Fills ret_tap[n], first[] (for each tap the first spec that has it) and the keys of the taps. */
static void assign_taps(const qsr_spec *const *specs, size_t n, qsr_dataset *data, size_t *ret_tap, size_t *first)
{
    struct qsr_dataset_shared *shared = data->shared;
    shared->tap_keys = qsr_arena_alloc(&shared->arena, n, sizeof *shared->tap_keys);
    for (size_t i = 0; i < n; i++) {
        const char *key = qsr_dataset_tap_key(specs[i], &shared->arena);
        size_t tap = 0;
        while (tap < data->opened && strcmp(shared->tap_keys[tap], key) != 0) tap++;
        ret_tap[i] = tap;
        if (tap < data->opened) continue;
        shared->tap_keys[data->opened] = key;
        first[data->opened++] = i;
    }
    data->n_taps = data->opened;
}

static qsr_status make(qsr_dataset *data, const qsr_spec *const *specs, const size_t *first, size_t *ret_blame,
                       qsr_error *e)
{
    const qsr_block *block = &specs[0]->dataset;
    const uint64_t seed = specs[0]->data.seed;
    const qsr_shape shape = {.struct_size = sizeof shape};
    size_t tap = 0;
    if (data->opened == 1) return qsr_made_create(block->plugin, &shape, block->values, seed, data->pool, &data->made, e);
    const void **options = qsr_arena_alloc(&data->shared->arena, data->opened, sizeof *options);
    for (size_t t = 0; t < data->opened; t++) options[t] = specs[first[t]]->dataset.values;
    qsr_status status =
        qsr_made_create_taps(block->plugin, &shape, options, data->opened, seed, data->pool, &tap, &data->made, e);
    if (status)
        *ret_blame = first[tap];
    else
        data->taps = qsr_made_extension(data->made, QSR_EXT_TAPS);
    return status;
}

/* Rows of one experiment must never reach another that asked for other rows. */
static qsr_status check_streams(const qsr_spec *const *specs, size_t n, size_t *ret_blame, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_status status = QSR_OK;
    const char *key = n > 1 ? qsr_dataset_stream_key(specs[0], &arena) : NULL;
    for (size_t i = 1; !status && i < n; i++) {
        *ret_blame = i;
        if (specs[i]->dataset.plugin != specs[0]->dataset.plugin ||
            strcmp(key, qsr_dataset_stream_key(specs[i], &arena)) != 0)
            status = qsr_fail(e, QSR_E_INTERNAL, "experiments %s and %s do not read the same stream", specs[0]->id,
                              specs[i]->id);
    }
    qsr_arena_free(&arena);
    return status;
}

/* Before anything is trained: who will ask for the model's loss must have all of the model. */
static qsr_status check_splice(const qsr_dataset *data, const qsr_spec *const *specs, size_t n, size_t *ret_blame, qsr_error *e)
{
    const qsr_splice_ops *ops = qsr_made_extension(data->made, QSR_EXT_SPLICE);
    if (!ops || !data->held_rows) return QSR_OK;
    for (size_t i = 0; i < n; i++) {
        if (!specs[i]->eval.ce_tokens) continue;
        qsr_status status = qsr_made_finish(data->made, ops->ready(data->made->instance), e);
        if (status && e) {
            const size_t length = strlen(e->text);
            snprintf(e->text + length, sizeof e->text - length, "; the model's loss needs it, eval.ce_tokens=0 does without");
            *ret_blame = i;
        }
        return status;
    }
    return QSR_OK;
}

qsr_status qsr_dataset_open_many(const qsr_spec *const *specs, size_t n, qsr_pool *pool, qsr_dataset *ret, size_t *ret_tap,
                                 size_t *ret_blame, qsr_error *e)
{
    size_t blame = 0;
    *ret = (qsr_dataset){.pool = pool, .ops = specs[0]->dataset.plugin->ops};
    ret->shared = qsr_xcalloc(1, sizeof *ret->shared);
    size_t *first = qsr_arena_alloc(&ret->shared->arena, n, sizeof *first);
    qsr_status status = check_streams(specs, n, &blame, e);
    if (!status) {
        blame = 0;
        assign_taps(specs, n, ret, ret_tap, first);
        status = make(ret, specs, first, &blame, e);
    }
    if (!status) status = describe(ret, e);
    if (!status) status = split(ret, specs[0], e);
    if (!status) status = qsr_dataset_find_mask(ret, e);
    if (!status) status = qsr_dataset_count_held(ret, e);
    if (!status) status = check_splice(ret, specs, n, &blame, e);
    if (status) qsr_dataset_close(ret);
    if (ret_blame) *ret_blame = blame;
    return status;
}

qsr_status qsr_dataset_open(const qsr_spec *spec, qsr_pool *pool, qsr_dataset *ret, qsr_error *e)
{
    size_t tap;
    return qsr_dataset_open_many(&spec, 1, pool, ret, &tap, NULL, e);
}

void qsr_dataset_close(qsr_dataset *data)
{
    qsr_made_free(data->made);
    if (data->shared) qsr_arena_free(&data->shared->arena);
    free(data->shared);
    *data = (qsr_dataset){0};
}

qsr_dataset qsr_dataset_view(const qsr_dataset *data, size_t tap)
{
    qsr_dataset view = *data;
    view.first_tap = data->first_tap + tap;
    view.n_taps = 1;
    return view;
}

bool qsr_dataset_has_taps(const qsr_spec *spec)
{
    const qsr_plugin *plugin = spec->dataset.plugin;
    return plugin->extension && plugin->extension(QSR_EXT_TAPS);
}

uint64_t qsr_dataset_reads(const qsr_dataset *data) { return atomic_load(&data->shared->reads); }

double qsr_dataset_read_seconds(const qsr_dataset *data) { return 1e-9 * (double)atomic_load(&data->shared->nanoseconds); }

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct qsr_reading {
    const qsr_dataset *data;
    const uint64_t *units;
    const uint32_t *place;
    float *const *out; /* [data->n_taps] */
    qsr_first_error failed;
    qsr_job *job;      /* NULL: the caller waits */
};

/* rows: of one unit, after skip_first */
static qsr_status check_finite(const qsr_dataset *data, size_t tap, uint64_t unit, const float *rows, qsr_error *e)
{
    const size_t values = data->rows_per_unit * data->d_in, at = qsr_row_not_finite(rows, values);
    if (at == values) return QSR_OK;
    char value[32], row[32] = "";
    const char *key = data->opened > 1 ? data->shared->tap_keys[tap] : NULL;
    bool single = data->info.rows_per_unit == 1;
    if (!single) snprintf(row, sizeof row, "row %zu, ", data->skip_first + at / data->d_in);
    return qsr_fail(e, QSR_E_INPUT, "%s %" PRIu64 " of %s%s%s%s has %s in %scolumn %zu: data must be finite",
                    single ? "row" : "unit", unit, data->made->plugin->name, key ? " (" : "", key ? key : "", key ? ")" : "",
                    qsr_float_text(rows[at], value, sizeof value), row, at % data->d_in);
}

/* One call into the plugin: at[data->opened], whole units. */
static qsr_status read_whole(const qsr_dataset *data, const uint64_t *units, size_t n, float *const *at, qsr_error *e)
{
    const qsr_made *made = data->made;
    const double start = qsr_clock();
    atomic_fetch_add(&data->shared->reads, 1);
    qsr_status status = data->taps ? data->taps->read(made->instance, units, n, at) : data->ops->read(made->instance, units, n, at[0]);
    atomic_fetch_add(&data->shared->nanoseconds, (uint_fast64_t)(1e9 * (qsr_clock() - start)));
    return qsr_made_finish(made, status, e);
}

/* Memory for whole units of every tap that is wanted: ret_at[data->opened]. */
static qsr_status make_buffers(const qsr_dataset *data, size_t n, float *const *wanted, float **ret_at, float **ret_buffer, qsr_error *e)
{
    const size_t whole = n * data->info.rows_per_unit * data->d_in;
    size_t count = 0;
    for (size_t t = 0; t < data->opened; t++) count += wanted[t] != NULL;
    float *next = *ret_buffer = qsr_block_raw(count, whole * sizeof(float));
    if (!next) return qsr_fail_nomem(e, "reading data", count * whole * sizeof(float));
    for (size_t t = 0; t < data->opened; t++)
        if (wanted[t]) ret_at[t] = next, next += whole;
    return QSR_OK;
}

static qsr_status check_units(const qsr_dataset *data, const uint64_t *units, size_t n, float *const *at, size_t stride, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t t = 0; t < data->opened; t++)
        for (size_t u = 0; !status && at[t] && u < n; u++) status = check_finite(data, t, units[u], at[t] + u * stride, e);
    return status;
}

/* place[r] is where row r goes, counted without those that skip_first leaves out. */
static void put_rows(const qsr_dataset *data, size_t n, const float *whole, const uint32_t *place, size_t first, float *out)
{
    const size_t d = data->d_in, kept = data->rows_per_unit;
    for (size_t u = 0; u < n; u++) {
        const float *rows = whole + (u * data->info.rows_per_unit + data->skip_first) * d;
        if (!place) memcpy(out + (first + u * kept) * d, rows, kept * d * sizeof *out);
        for (size_t r = 0; place && r < kept; r++)
            if (place[first + u * kept + r] != QSR_NOWHERE)
                memcpy(out + place[first + u * kept + r] * d, rows + r * d, d * sizeof *out);
    }
}

/* A read into buffers of whole units, then the rows after skip_first to their places. out[data->opened]; first: the first row's number. */
static qsr_status read_and_put(const qsr_reading *in, const uint64_t *units, size_t n, size_t first, float *const *out, qsr_error *e)
{
    const qsr_dataset *data = in->data;
    const size_t d = data->d_in, skipped = data->skip_first * d;
    float **at = qsr_xcalloc(data->opened, sizeof *at), **kept = qsr_xcalloc(data->opened, sizeof *kept), *buffer = NULL;
    qsr_status status = make_buffers(data, n, out, at, &buffer, e);
    if (!status) status = read_whole(data, units, n, at, e);
    for (size_t t = 0; t < data->opened; t++) kept[t] = at[t] ? at[t] + skipped : NULL;
    if (!status) status = check_units(data, units, n, kept, data->info.rows_per_unit * d, e);
    for (size_t t = 0; !status && t < data->opened; t++)
        if (at[t]) put_rows(data, n, at[t], in->place, first, out[t]);
    free(at);
    free(kept);
    qsr_block_free(buffer);
    return status;
}

static qsr_status read_in_order(const qsr_reading *in, const uint64_t *units, size_t n, size_t first, float *const *out, qsr_error *e)
{
    const qsr_dataset *data = in->data;
    float **at = qsr_xcalloc(data->opened, sizeof *at);
    for (size_t t = 0; t < data->opened; t++) at[t] = out[t] ? out[t] + first * data->d_in : NULL;
    qsr_status status = read_whole(data, units, n, at, e);
    if (!status) status = check_units(data, units, n, at, data->rows_per_unit * data->d_in, e);
    free(at);
    return status;
}

static qsr_status read_group(void *arg, size_t begin, size_t end)
{
    qsr_reading *in = arg;
    const qsr_dataset *data = in->data;
    const uint64_t *units = in->units + begin;
    const size_t first = begin * data->rows_per_unit;
    qsr_error e = {0};
    if (data->stop && *data->stop) {
        qsr_fail(&e, QSR_E_IO, "interrupted while data was read");
        return qsr_first_error_note(&in->failed, begin, &e);
    }
    float **out = qsr_xcalloc(data->opened, sizeof *out); /* of every tap of the instance */
    for (size_t t = 0; t < data->n_taps; t++) out[data->first_tap + t] = in->out[t];
    qsr_status status = data->skip_first || in->place ? read_and_put(in, units, end - begin, first, out, &e)
                                                      : read_in_order(in, units, end - begin, first, out, &e);
    free(out);
    return status ? qsr_first_error_note(&in->failed, begin, &e) : QSR_OK;
}

qsr_status qsr_dataset_read_taps(const qsr_dataset *data, const uint64_t *units, size_t n, float *const *out, qsr_error *e)
{
    size_t tap = 0;
    while (tap < data->n_taps && !out[tap]) tap++;
    if (tap == data->n_taps) return QSR_OK; /* nobody wants anything */
    qsr_reading in = {.data = data, .units = units, .out = out};
    qsr_first_error_init(&in.failed);
    qsr_status status = qsr_pool_run(data->pool, n, data->info.units_per_read, read_group, &in);
    if (status && e) *e = in.failed.error;
    return status;
}

qsr_reading *qsr_dataset_begin_reading(const qsr_dataset *data, const uint64_t *units, size_t n, const uint32_t *place, float *const *out)
{
    qsr_reading *in = qsr_xcalloc(1, sizeof *in);
    *in = (qsr_reading){.data = data, .units = units, .place = place, .out = out};
    qsr_first_error_init(&in->failed);
    in->job = qsr_job_open(data->pool, n, data->info.units_per_read, read_group, in);
    return in;
}

void qsr_reading_allow(qsr_reading *in, size_t n) { qsr_job_allow(in->job, n); }

bool qsr_reading_take(qsr_reading *in) { return qsr_job_take(in->job); }

qsr_status qsr_reading_end(qsr_reading *in, qsr_error *e)
{
    qsr_status status = qsr_job_close(in->job);
    if (status && e) *e = in->failed.error;
    free(in);
    return status;
}

void qsr_reading_cancel(qsr_reading *in)
{
    if (!in) return;
    qsr_job_cancel(in->job);
    free(in);
}

qsr_status qsr_dataset_read(const qsr_dataset *data, const uint64_t *units, size_t n, float *out, qsr_error *e)
{
    const qsr_dataset first = qsr_dataset_view(data, 0);
    return qsr_dataset_read_taps(&first, units, n, &out, e);
}

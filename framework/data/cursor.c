#include "data/cursor-parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"

static bool allocate(qsr_cursor *c, size_t rows)
{
    const qsr_dataset *data = &c->data;
    c->rows = qsr_xcalloc(data->n_taps, sizeof *c->rows);
    c->now = qsr_xcalloc(data->n_taps, sizeof *c->now);
    c->first = qsr_xcalloc(data->n_taps, sizeof *c->first);
    const bool masked = data->masked, shuffled = c->options.shuffle;
    if ((shuffled || masked) && !(c->order = qsr_block_raw(rows, sizeof *c->order))) return false;
    if (masked && !(c->keep = qsr_block_raw(rows, 1))) return false;
    if (masked && shuffled && !(c->live = qsr_block_raw(rows, sizeof *c->live))) return false;
    if (!(c->units = qsr_block_raw((size_t)c->window_units, sizeof *c->units))) return false;
    for (size_t t = 0; !c->direct && t < data->n_taps; t++)
        if (!(c->rows[t] = qsr_block_raw(rows, data->d_in * sizeof(float)))) return false;
    return true;
}

static bool reads_directly(const qsr_dataset *data) { return data->info.rows_per_unit == 1; }

static uint64_t units_of_window(const qsr_dataset *data, const qsr_data_options *options)
{
    uint64_t units = (uint64_t)options->buffer / data->rows_per_unit;
    if (units < 1) units = 1;
    return units > data->train_units ? data->train_units : units;
}

size_t qsr_cursor_window_rows(const qsr_dataset *data, const qsr_data_options *options)
{
    return reads_directly(data) ? 0 : (size_t)units_of_window(data, options) * data->rows_per_unit;
}

qsr_status qsr_cursor_create(const qsr_dataset *data, const qsr_data_options *options, qsr_cursor **ret, qsr_error *e)
{
    qsr_cursor *c = qsr_xcalloc(1, sizeof *c);
    *c = (qsr_cursor){
        .data = *data, .options = *options, .stop = {UINT64_MAX, 0, 0}, .looked = UINT64_MAX};
    c->direct = reads_directly(data);
    c->window_units = units_of_window(data, options);
    size_t rows = (size_t)c->window_units * data->rows_per_unit;
    if (rows > UINT32_MAX) {
        free(c);
        return qsr_fail_option(e, QSR_E_OPTION, "buffer", "buffer=%" PRId64 " rows exceed the limit of 2^32",
                               options->buffer);
    }
    if (!allocate(c, rows)) {
        const size_t bytes = qsr_cursor_bytes(c);
        qsr_cursor_free(c);
        return qsr_fail_nomem(e, "the shuffle buffer (dataset.buffer)", bytes);
    }
    *ret = c;
    return QSR_OK;
}

void qsr_cursor_free(qsr_cursor *c)
{
    if (!c) return;
    qsr_block_free(c->order);
    qsr_block_free(c->keep);
    qsr_block_free(c->live);
    qsr_block_free(c->units);
    qsr_reading_cancel(c->next.reading);
    qsr_block_free(c->vacant);
    qsr_block_free(c->next.units);
    qsr_block_free(c->next.keep);
    qsr_block_free(c->next.place);
    for (size_t t = 0; t < c->data.n_taps; t++) qsr_block_free(c->rows[t]);
    free(c->rows);
    free(c->now);
    free(c->first);
    free(c);
}

uint64_t qsr_cursor_windows(const qsr_cursor *c)
{
    uint64_t units = c->data.train_units;
    return units == UINT64_MAX ? UINT64_MAX : units / c->window_units + (units % c->window_units != 0);
}

uint64_t qsr_cursor_units_in(const qsr_cursor *c, uint64_t window)
{
    uint64_t left = c->data.train_units - window * c->window_units;
    return left < c->window_units ? left : c->window_units;
}

qsr_status qsr_cursor_look(qsr_cursor *c, uint64_t window, qsr_error *e)
{
    if (c->looked == window) return QSR_OK;
    const size_t n = (size_t)qsr_cursor_units_in(c, window), rows = n * c->data.rows_per_unit;
    size_t live = rows;
    qsr_status status = QSR_OK;
    if (c->data.masked) {
        for (size_t u = 0; u < n; u++) c->units[u] = window * c->window_units + u;
        status = qsr_dataset_mask(&c->data, c->units, n, c->keep, e);
        live = 0;
        for (size_t r = 0; !status && r < rows; r++) live += c->keep[r];
    }
    c->looked = status ? UINT64_MAX : window;
    c->now_rows = live;
    return status;
}

static qsr_status check_position(qsr_cursor *c, qsr_error *e)
{
    const bool there = c->at.window < qsr_cursor_windows(c);
    qsr_status status = there ? qsr_cursor_look(c, c->at.window, e) : QSR_OK;
    if (status || (there && (c->at.offset < c->now_rows || !c->at.offset))) return status;
    return qsr_fail(e, QSR_E_STATE, "the data has no row %zu in window %" PRIu64 " of epoch %" PRIu64, c->at.offset,
                    c->at.window, c->at.epoch);
}

/* The next rows of the window to c->now. */
static qsr_status give(qsr_cursor *c, size_t rows, qsr_error *e)
{
    const size_t d = c->data.d_in, offset = c->at.offset;
    if (c->direct) {
        uint64_t first = c->at.window * c->window_units;
        for (size_t r = 0; r < rows; r++) c->units[r] = first + (c->order ? c->order[offset + r] : offset + r);
        return qsr_dataset_read_taps(&c->data, c->units, rows, c->now, e);
    }
    for (size_t t = 0; t < c->data.n_taps; t++) {
        float *out = c->now[t];
        if (out && !c->order) memcpy(out, c->rows[t] + offset * d, rows * d * sizeof *out);
        for (size_t r = 0; out && c->order && r < rows; r++)
            memcpy(out + r * d, c->rows[t] + (size_t)c->order[offset + r] * d, d * sizeof *out);
    }
    if (c->rolls) qsr_window_leave(c, offset, rows);
    return QSR_OK;
}

static void advance(qsr_cursor *c, size_t rows)
{
    c->at.offset += rows;
    if (c->at.offset < c->now_rows) return;
    c->at = (qsr_position){c->at.epoch, c->at.window + 1, 0};
    if (c->at.window < qsr_cursor_windows(c)) return;
    c->at = (qsr_position){c->at.epoch + 1, 0, 0};
}

/* Without a mask no window is empty. With one they must not all be. */
static qsr_status pass_empty_window(qsr_cursor *c, uint64_t *empty, qsr_error *e)
{
    advance(c, 0);
    if (++*empty < qsr_cursor_windows(c)) return QSR_OK;
    return qsr_fail_option(e, QSR_E_OPTION, "exclude", "leaves no row at all to train on");
}

qsr_status qsr_cursor_next_taps(qsr_cursor *c, size_t rows, float *const *out, size_t *ret_rows, qsr_error *e)
{
    size_t done = 0;
    uint64_t empty = 0;
    qsr_status status = QSR_OK;
    while (!status && done < rows) {
        if (c->options.epochs && c->at.epoch >= (uint64_t)c->options.epochs) {
            status = QSR_END;
            break;
        }
        status = check_position(c, e);
        if (!status && !c->now_rows) {
            status = pass_empty_window(c, &empty, e);
            continue;
        }
        if (!status && (!qsr_same_window(c->loaded, c->at) || c->loaded.offset <= c->at.offset)) status = qsr_window_load(c, e);
        if (status) break;
        empty = 0;
        size_t now = qsr_min_size(rows - done, c->loaded.offset - c->at.offset);
        for (size_t t = 0; t < c->data.n_taps; t++) c->now[t] = out[t] ? out[t] + done * c->data.d_in : NULL;
        status = give(c, now, e);
        if (status) break;
        advance(c, now);
        done += now;
    }
    *ret_rows = done;
    return status;
}

qsr_status qsr_cursor_next(qsr_cursor *c, size_t rows, float *out, size_t *ret_rows, qsr_error *e)
{
    c->first[0] = out;
    return qsr_cursor_next_taps(c, rows, c->first, ret_rows, e);
}

qsr_position qsr_cursor_tell(const qsr_cursor *c) { return c->at; }

void qsr_cursor_use(qsr_cursor *c, qsr_pool *pool)
{
    if (c->next.reading) qsr_window_forget(c);
    c->data.pool = pool;
}

void qsr_cursor_seek(qsr_cursor *c, qsr_position at)
{
    c->at = at;
    if (c->rolls) qsr_window_forget(c);
}

size_t qsr_cursor_bytes(const qsr_cursor *c)
{
    const size_t rows = (size_t)c->window_units * c->data.rows_per_unit;
    return (c->direct ? 0 : rows * c->data.d_in * sizeof(float) * c->data.n_taps) +
           (c->order ? rows * sizeof *c->order : 0) + (c->keep ? rows : 0) + (c->live ? rows * sizeof *c->live : 0) +
           (c->rolls ? rows * (sizeof *c->vacant + sizeof *c->next.place + (c->keep != NULL)) : 0);
}

uint64_t qsr_cursor_epoch_rows(const qsr_cursor *c)
{
    size_t rows;
    if (c->data.train_units == UINT64_MAX || !qsr_mul_size(c->data.train_units, c->data.rows_per_unit, &rows))
        return UINT64_MAX;
    return rows;
}

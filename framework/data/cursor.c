#include "data/cursor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/sizes.h"

struct qsr_cursor {
    qsr_dataset data; /* a copy, so that a view need not outlive the cursor */
    qsr_data_options options;
    uint64_t window_units; /* of a full window */
    qsr_position at;
    bool loaded;        /* the window at `at` is in order, and in rows unless direct */
    size_t window_rows; /* of the loaded window */
    uint32_t *order;    /* [window_rows]; NULL without shuffle */
    uint64_t *units;    /* names of the units to read */
    bool direct;        /* one row per unit: rows are read where they are wanted, without a copy of the window */
    float **rows;       /* [n_taps]: [window rows][d_in]; NULL when direct */
    float **now;        /* [n_taps]: where the rows of the moment go */
    float **first;      /* [n_taps]: the first tap's place, the others not wanted */
};

static bool allocate(qsr_cursor *c, size_t rows)
{
    const qsr_dataset *data = &c->data;
    c->rows = qsr_xcalloc(data->n_taps, sizeof *c->rows);
    c->now = qsr_xcalloc(data->n_taps, sizeof *c->now);
    c->first = qsr_xcalloc(data->n_taps, sizeof *c->first);
    if (c->options.shuffle && !(c->order = qsr_block_raw(rows, sizeof *c->order))) return false;
    if (!(c->units = qsr_block_raw((size_t)c->window_units, sizeof *c->units))) return false;
    for (size_t t = 0; !c->direct && t < data->n_taps; t++)
        if (!(c->rows[t] = qsr_block_raw(rows, data->d_in * sizeof(float)))) return false;
    return true;
}

qsr_status qsr_cursor_create(const qsr_dataset *data, const qsr_data_options *options, qsr_cursor **ret, qsr_error *e)
{
    qsr_cursor *c = qsr_xcalloc(1, sizeof *c);
    size_t per_unit = data->rows_per_unit;
    *c = (qsr_cursor){.data = *data, .options = *options, .direct = data->info.rows_per_unit == 1};
    uint64_t units = (uint64_t)options->buffer / per_unit;
    if (units < 1) units = 1;
    if (units > data->train_units) units = data->train_units;
    c->window_units = units;
    size_t rows = (size_t)units * per_unit;
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
    qsr_block_free(c->units);
    for (size_t t = 0; t < c->data.n_taps; t++) qsr_block_free(c->rows[t]);
    free(c->rows);
    free(c->now);
    free(c->first);
    free(c);
}

static uint64_t windows_per_epoch(const qsr_cursor *c)
{
    uint64_t units = c->data.train_units;
    return units == UINT64_MAX ? UINT64_MAX : units / c->window_units + (units % c->window_units != 0);
}

static uint64_t units_in_window(const qsr_cursor *c)
{
    uint64_t left = c->data.train_units - c->at.window * c->window_units;
    return left < c->window_units ? left : c->window_units;
}

static void shuffle(qsr_cursor *c)
{
    char stream[80];
    snprintf(stream, sizeof stream, "shuffle/%" PRIu64 "/%" PRIu64, c->at.epoch, c->at.window);
    qsr_rng rng = qsr_rng_make(c->options.seed, stream);
    qsr_rng_permute(&rng, c->order, (uint32_t)c->window_rows);
}

static qsr_status load_window(qsr_cursor *c, qsr_error *e)
{
    uint64_t first = c->at.window * c->window_units, units = units_in_window(c);
    c->window_rows = (size_t)units * c->data.rows_per_unit;
    if (c->order) shuffle(c);
    c->loaded = true;
    if (c->direct) return QSR_OK;
    for (uint64_t u = 0; u < units; u++) c->units[u] = first + u;
    qsr_status status = qsr_dataset_read_taps(&c->data, c->units, (size_t)units, c->rows, e);
    if (status) c->loaded = false;
    return status;
}

/* The next rows of the window to c->now. */
static qsr_status take(qsr_cursor *c, size_t rows, qsr_error *e)
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
    return QSR_OK;
}

static void advance(qsr_cursor *c, size_t rows)
{
    c->at.offset += rows;
    if (c->at.offset < c->window_rows) return;
    c->at = (qsr_position){c->at.epoch, c->at.window + 1, 0};
    c->loaded = false;
    if (c->at.window < windows_per_epoch(c)) return;
    c->at = (qsr_position){c->at.epoch + 1, 0, 0};
}

qsr_status qsr_cursor_next_taps(qsr_cursor *c, size_t rows, float *const *out, size_t *ret_rows, qsr_error *e)
{
    size_t done = 0;
    qsr_status status = QSR_OK;
    while (!status && done < rows) {
        if (c->options.epochs && c->at.epoch >= (uint64_t)c->options.epochs) {
            status = QSR_END;
            break;
        }
        if (!c->loaded) status = load_window(c, e);
        if (status) break;
        size_t now = qsr_min_size(rows - done, c->window_rows - c->at.offset);
        for (size_t t = 0; t < c->data.n_taps; t++) c->now[t] = out[t] ? out[t] + done * c->data.d_in : NULL;
        status = take(c, now, e);
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

void qsr_cursor_seek(qsr_cursor *c, qsr_position at)
{
    if (at.epoch != c->at.epoch || at.window != c->at.window) c->loaded = false;
    c->at = at;
}

qsr_position qsr_cursor_position_of(const qsr_cursor *c, uint64_t row)
{
    const uint64_t in_epoch = qsr_cursor_epoch_rows(c), in_window = c->window_units * c->data.rows_per_unit;
    uint64_t epoch = in_epoch == UINT64_MAX ? 0 : row / in_epoch;
    if (c->options.epochs && epoch >= (uint64_t)c->options.epochs) return (qsr_position){(uint64_t)c->options.epochs, 0, 0};
    if (epoch) row -= epoch * in_epoch;
    return (qsr_position){epoch, row / in_window, (size_t)(row % in_window)};
}

size_t qsr_cursor_bytes(const qsr_cursor *c)
{
    const size_t rows = (size_t)c->window_units * c->data.rows_per_unit;
    return (c->direct ? 0 : rows * c->data.d_in * sizeof(float) * c->data.n_taps) +
           (c->order ? rows * sizeof *c->order : 0);
}

uint64_t qsr_cursor_epoch_rows(const qsr_cursor *c)
{
    size_t rows;
    if (c->data.train_units == UINT64_MAX || !qsr_mul_size(c->data.train_units, c->data.rows_per_unit, &rows))
        return UINT64_MAX;
    return rows;
}

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
    qsr_position stop;   /* rows from here on will not be asked for; epoch UINT64_MAX: they all may be */
    qsr_position loaded; /* the window in memory, of which the first `offset` rows can be given out */
    bool whole;          /* every unit of that window is in rows, in its place */
    uint32_t *order;     /* [window rows]: which row of the buffer comes when; NULL with neither shuffle nor mask */
    uint8_t *keep;       /* [window rows]: the mask of window `looked`; NULL without one */
    uint32_t *live;      /* [window rows]: shuffle and mask: the rows that take part, ascending */
    uint64_t looked;     /* number of the window that `now_rows` holds for; UINT64_MAX: none yet */
    size_t now_rows;     /* rows of it that take part */
    uint64_t *units;     /* names of the units to read */
    bool direct;         /* one row per unit: rows are read where they are wanted, without a copy of the window */
    float **rows;        /* [n_taps]: [window rows][d_in]; NULL when direct */
    float **now;         /* [n_taps]: where the rows of the moment go */
    float **first;       /* [n_taps]: the first tap's place, the others not wanted */
};

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

static uint64_t units_in_window(const qsr_cursor *c, uint64_t window)
{
    uint64_t left = c->data.train_units - window * c->window_units;
    return left < c->window_units ? left : c->window_units;
}

static bool same_window(qsr_position a, qsr_position b) { return a.epoch == b.epoch && a.window == b.window; }

/* Learns how many rows of a window take part, and with a mask which; it must exist. */
static qsr_status look_at(qsr_cursor *c, uint64_t window, qsr_error *e)
{
    if (c->looked == window) return QSR_OK;
    const size_t n = (size_t)units_in_window(c, window), rows = n * c->data.rows_per_unit;
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

/* The rows of the window that take part, in ascending order. */
static void list_live(const qsr_cursor *c, uint32_t *list)
{
    size_t n = 0;
    for (size_t r = 0; n < c->now_rows; r++)
        if (c->keep[r]) list[n++] = (uint32_t)r;
}

static void make_order(qsr_cursor *c)
{
    if (!c->options.shuffle) {
        list_live(c, c->order);
        return;
    }
    char stream[80];
    snprintf(stream, sizeof stream, "shuffle/%" PRIu64 "/%" PRIu64, c->at.epoch, c->at.window);
    qsr_rng rng = qsr_rng_make(c->options.seed, stream);
    qsr_rng_permute(&rng, c->order, (uint32_t)c->now_rows);
    if (!c->live) return;
    list_live(c, c->live);
    for (size_t r = 0; r < c->now_rows; r++) c->order[r] = c->live[c->order[r]];
}

/* Of units[0..n) those alone in which the window's first `rows` rows lie; the order then points to where they will be. */
static size_t pick_units(qsr_cursor *c, size_t n, size_t rows)
{
    const size_t per_unit = c->data.rows_per_unit;
    if (!c->order) return qsr_div_up(rows, per_unit);
    uint64_t first = c->units[0];
    size_t *place = qsr_xcalloc(n, sizeof *place), picked = 0; /* place: 1 + the unit's number in the buffer */
    for (size_t r = 0; r < rows; r++) {
        const size_t unit = c->order[r] / per_unit;
        if (!place[unit]) {
            c->units[picked++] = first + unit;
            place[unit] = picked;
        }
        c->order[r] = (uint32_t)((place[unit] - 1) * per_unit + c->order[r] % per_unit);
    }
    free(place);
    return picked;
}

static qsr_status read_window(qsr_cursor *c, size_t rows, qsr_error *e)
{
    const uint64_t first = c->at.window * c->window_units;
    size_t n = (size_t)units_in_window(c, c->at.window);
    for (size_t u = 0; u < n; u++) c->units[u] = first + u;
    if (rows < c->now_rows) n = pick_units(c, n, rows);
    return qsr_dataset_read_taps(&c->data, c->units, n, c->rows, e);
}

static qsr_status check_position(qsr_cursor *c, qsr_error *e)
{
    const bool there = c->at.window < windows_per_epoch(c);
    qsr_status status = there ? look_at(c, c->at.window, e) : QSR_OK;
    if (status || (there && (c->at.offset < c->now_rows || !c->at.offset))) return status;
    return qsr_fail(e, QSR_E_STATE, "the data has no row %zu in window %" PRIu64 " of epoch %" PRIu64, c->at.offset,
                    c->at.window, c->at.epoch);
}

/* Every epoch has the same windows, so of a window that is still there only the order is made anew. */
static qsr_status load_window(qsr_cursor *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    const bool there = c->whole && c->loaded.window == c->at.window;
    const bool stops = same_window(c->at, c->stop) && c->at.offset < c->stop.offset;
    const size_t rows = stops ? c->stop.offset : c->now_rows;
    c->loaded = (qsr_position){0};
    c->whole = there;
    if (c->order) make_order(c);
    if (!c->direct && !there) status = read_window(c, rows, e);
    if (status) return status;
    c->whole = !c->direct && (there || rows == c->now_rows);
    c->loaded = (qsr_position){c->at.epoch, c->at.window, rows};
    return QSR_OK;
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
    return QSR_OK;
}

static void advance(qsr_cursor *c, size_t rows)
{
    c->at.offset += rows;
    if (c->at.offset < c->now_rows) return;
    c->at = (qsr_position){c->at.epoch, c->at.window + 1, 0};
    if (c->at.window < windows_per_epoch(c)) return;
    c->at = (qsr_position){c->at.epoch + 1, 0, 0};
}

/* Without a mask no window is empty. With one they must not all be. */
static qsr_status pass_empty_window(qsr_cursor *c, uint64_t *empty, qsr_error *e)
{
    advance(c, 0);
    if (++*empty < windows_per_epoch(c)) return QSR_OK;
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
        if (!status && (!same_window(c->loaded, c->at) || c->loaded.offset <= c->at.offset)) status = load_window(c, e);
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

void qsr_cursor_seek(qsr_cursor *c, qsr_position at) { c->at = at; }

static qsr_position position_without_mask(const qsr_cursor *c, uint64_t row)
{
    const uint64_t in_epoch = qsr_cursor_epoch_rows(c), in_window = c->window_units * c->data.rows_per_unit;
    uint64_t epoch = in_epoch == UINT64_MAX ? 0 : row / in_epoch;
    if (c->options.epochs && epoch >= (uint64_t)c->options.epochs) return (qsr_position){(uint64_t)c->options.epochs, 0, 0};
    if (epoch) row -= epoch * in_epoch;
    return (qsr_position){epoch, row / in_window, (size_t)(row % in_window)};
}

/* A walk over windows, which stops in the one that holds row `row` of its epoch, at the latest behind the last window. */
typedef struct {
    uint64_t row;             /* of the epoch, then of the window */
    uint64_t window;
    uint64_t rows, excluded;  /* of the windows passed */
} walk;

static qsr_status walk_epoch(qsr_cursor *c, walk *w, qsr_error *e)
{
    const uint64_t windows = windows_per_epoch(c);
    for (; w->window < windows; w->window++) {
        qsr_status status = look_at(c, w->window, e);
        if (status) return status;
        const uint64_t all = units_in_window(c, w->window) * c->data.rows_per_unit;
        if (w->row < c->now_rows) return QSR_OK;
        w->row -= c->now_rows;
        w->rows += c->now_rows;
        w->excluded += all - c->now_rows;
    }
    if (w->rows) return QSR_OK;
    return qsr_fail_option(e, QSR_E_OPTION, "exclude", "leaves no row at all to train on");
}

/* Where row `row` is, counted from the very beginning, and what was left out of the windows before its own. A whole epoch is
 * walked once, however many there were. */
static qsr_status walk_to(qsr_cursor *c, uint64_t row, qsr_position *ret, uint64_t *ret_excluded, qsr_error *e)
{
    walk w = {.row = row};
    uint64_t epoch = 0, excluded = 0;
    qsr_status status = walk_epoch(c, &w, e);
    if (!status && w.window == windows_per_epoch(c)) {
        epoch = row / w.rows;
        excluded = epoch * w.excluded;
        w = (walk){.row = row % w.rows};
        status = walk_epoch(c, &w, e);
    }
    *ret = (qsr_position){epoch, w.window, (size_t)w.row};
    *ret_excluded = excluded + w.excluded;
    return status;
}

qsr_status qsr_cursor_position_of(qsr_cursor *c, uint64_t row, qsr_position *ret, qsr_error *e)
{
    uint64_t excluded;
    *ret = position_without_mask(c, row);
    if (!c->data.masked) return QSR_OK;
    qsr_status status = walk_to(c, row, ret, &excluded, e);
    if (c->options.epochs && ret->epoch >= (uint64_t)c->options.epochs)
        *ret = (qsr_position){(uint64_t)c->options.epochs, 0, 0};
    return status;
}

qsr_status qsr_cursor_excluded(qsr_cursor *c, uint64_t rows, uint64_t *ret, qsr_error *e)
{
    qsr_position last;
    *ret = 0;
    if (!c->data.masked || !rows) return QSR_OK;
    qsr_status status = walk_to(c, rows - 1, &last, ret, e);
    if (!status) *ret += units_in_window(c, last.window) * c->data.rows_per_unit - c->now_rows;
    return status;
}

size_t qsr_cursor_bytes(const qsr_cursor *c)
{
    const size_t rows = (size_t)c->window_units * c->data.rows_per_unit;
    return (c->direct ? 0 : rows * c->data.d_in * sizeof(float) * c->data.n_taps) +
           (c->order ? rows * sizeof *c->order : 0) + (c->keep ? rows : 0) + (c->live ? rows * sizeof *c->live : 0);
}

uint64_t qsr_cursor_epoch_rows(const qsr_cursor *c)
{
    size_t rows;
    if (c->data.train_units == UINT64_MAX || !qsr_mul_size(c->data.train_units, c->data.rows_per_unit, &rows))
        return UINT64_MAX;
    return rows;
}

/* ---- the sample -------------------------------------------------------------------------------------------------- */

enum { PIECE_ROWS = 4096 };

/* Hands over the next rows; `rows` holds PIECE_ROWS of each tap. */
static qsr_status pass_on(qsr_cursor *c, uint64_t n, float *const *rows, qsr_rows_taker take, void *arg, qsr_error *e)
{
    qsr_status status = QSR_OK;
    while (!status && n) {
        size_t got;
        status = qsr_cursor_next_taps(c, (size_t)qsr_min_size(n, PIECE_ROWS), rows, &got, e);
        if (status && status != QSR_END) break;
        if (got) take(arg, rows, got);
        n -= got;
    }
    return status == QSR_END ? QSR_OK : status;
}

/* What follows the first window goes through a buffer of its own, so that the first window stays. */
static qsr_status sample_rest(const qsr_cursor *c, uint64_t rows, uint64_t n, float *const *buffers, qsr_rows_taker take,
                              void *arg, qsr_error *e)
{
    qsr_cursor *rest;
    qsr_data_options options = c->options;
    options.epochs = 1;
    qsr_status status = qsr_cursor_create(&c->data, &options, &rest, e);
    if (status) return status;
    status = qsr_cursor_position_of(rest, rows, &rest->stop, e);
    rest->at = (qsr_position){0, 1, 0};
    if (windows_per_epoch(rest) == 1) rest->at = (qsr_position){1, 0, 0};
    if (!status) status = pass_on(rest, n, buffers, take, arg, e);
    qsr_cursor_free(rest);
    return status;
}

qsr_status qsr_cursor_sample(qsr_cursor *c, uint64_t rows, qsr_rows_taker take, void *arg, qsr_error *e)
{
    const size_t d = c->data.d_in, n_taps = c->data.n_taps;
    const qsr_position was = c->at;
    float **buffers = qsr_xcalloc(n_taps, sizeof *buffers), *block = qsr_block_raw(n_taps * PIECE_ROWS, d * sizeof *block);
    qsr_status status = block ? QSR_OK : qsr_fail_nomem(e, "the sample of rows", n_taps * PIECE_ROWS * d * sizeof *block);
    for (size_t t = 0; t < n_taps; t++) buffers[t] = block ? block + t * PIECE_ROWS * d : NULL;
    if (!status) status = look_at(c, 0, e);
    const uint64_t n = qsr_min_size(rows, qsr_cursor_epoch_rows(c)), here = status ? 0 : qsr_min_size(n, c->now_rows);
    c->at = (qsr_position){0};
    if (!status) status = pass_on(c, here, buffers, take, arg, e);
    if (!status && here < n) status = sample_rest(c, n, n - here, buffers, take, arg, e);
    c->at = was;
    free(buffers);
    qsr_block_free(block);
    return status;
}

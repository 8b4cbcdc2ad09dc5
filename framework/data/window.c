/* data/window: the rows of a shuffle window in memory, and of the next one in the places of rows that were given out. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/sizes.h"
#include "data/cursor-parts.h"

/* ---- order ------------------------------------------------------------------------------------------------------- */

/* The rows of the window that take part, in ascending order. */
static void list_live(const qsr_cursor *c, uint32_t *list)
{
    size_t n = 0;
    for (size_t r = 0; n < c->now_rows; r++)
        if (!c->keep || c->keep[r]) list[n++] = (uint32_t)r;
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

/* ---- a window by itself ------------------------------------------------------------------------------------------ */

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
    size_t n = (size_t)qsr_cursor_units_in(c, c->at.window);
    for (size_t u = 0; u < n; u++) c->units[u] = first + u;
    if (rows < c->now_rows) n = pick_units(c, n, rows);
    return qsr_dataset_read_taps(&c->data, c->units, n, c->rows, e);
}

/* Every epoch has the same windows, so of a window that is still there only the order is made anew. */
static qsr_status load_alone(qsr_cursor *c, qsr_error *e)
{
    qsr_status status = QSR_OK;
    const bool there = c->whole && c->loaded.window == c->at.window;
    const bool stops = qsr_same_window(c->at, c->stop) && c->at.offset < c->stop.offset;
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

/* ---- rolling ----------------------------------------------------------------------------------------------------- */

static size_t window_rows(const qsr_cursor *c) { return (size_t)c->window_units * c->data.rows_per_unit; }

/* What the window in memory, each row in its own place, does not need: places behind it, rows of no use, rows given out. */
static void find_vacant(qsr_cursor *c)
{
    const size_t rows = (size_t)qsr_cursor_units_in(c, c->loaded.window) * c->data.rows_per_unit;
    c->n_vacant = 0;
    for (size_t r = 0; r < window_rows(c); r++)
        if (r >= rows || (c->keep && !c->keep[r])) c->vacant[c->n_vacant++] = (uint32_t)r;
    if (c->at.offset) qsr_window_leave(c, 0, c->at.offset);
}

void qsr_window_forget(qsr_cursor *c)
{
    qsr_reading_cancel(c->next.reading);
    c->next.reading = NULL;
    c->loaded = (qsr_position){0};
    c->whole = false;
}

void qsr_window_leave(qsr_cursor *c, size_t offset, size_t rows)
{
    for (size_t r = 0; r < rows; r++) c->vacant[c->n_vacant++] = c->order[offset + r];
    c->whole = false;
}

/* `n` more units of the next window get places, and may be read. */
static void place_units(qsr_cursor *c, size_t n)
{
    qsr_next_window *next = &c->next;
    const size_t per_unit = c->data.rows_per_unit, first = next->placed * per_unit;
    for (size_t r = first; r < first + n * per_unit; r++)
        next->place[r] = next->keep && !next->keep[r] ? QSR_NOWHERE : c->vacant[--c->n_vacant];
    next->placed += n;
    qsr_reading_allow(next->reading, next->placed);
}

/* The next window becomes the one in memory, once all of it is; all of the window before it was given out. */
static qsr_status load_next(qsr_cursor *c, qsr_error *e)
{
    qsr_next_window *next = &c->next;
    place_units(c, next->n_units - next->placed);
    qsr_status status = qsr_reading_end(next->reading, e);
    next->reading = NULL;
    qsr_window_forget(c);
    if (status) return status;
    make_order(c);
    for (size_t r = 0; r < c->now_rows; r++) c->order[r] = next->place[c->order[r]];
    c->loaded = (qsr_position){c->at.epoch, c->at.window, c->now_rows};
    return QSR_OK;
}

qsr_status qsr_window_load(qsr_cursor *c, qsr_error *e)
{
    if (c->next.reading && c->next.window == c->at.window && !c->at.offset) return load_next(c, e);
    qsr_reading_cancel(c->next.reading);
    c->next.reading = NULL;
    qsr_status status = load_alone(c, e);
    if (!status && c->rolls) find_vacant(c);
    return status;
}

/* What rolling needs beside the window, all of it or nothing. */
static qsr_status allocate_roll(qsr_cursor *c, qsr_error *e)
{
    const size_t rows = window_rows(c);
    uint32_t *order = c->order ? NULL : qsr_block_raw(rows, sizeof *order);
    uint32_t *vacant = qsr_block_raw(rows, sizeof *vacant), *place = qsr_block_raw(rows, sizeof *place);
    uint64_t *units = qsr_block_raw((size_t)c->window_units, sizeof *units);
    uint8_t *keep = c->keep ? qsr_block_raw(rows, 1) : NULL;
    if ((!order && !c->order) || !vacant || !place || !units || (!keep && c->keep)) {
        qsr_block_free(order);
        qsr_block_free(vacant);
        qsr_block_free(place);
        qsr_block_free(units);
        qsr_block_free(keep);
        return qsr_fail_nomem(e, "reading the next shuffle window (dataset.buffer)", 4 * rows * sizeof *order);
    }
    if (order) c->order = order;
    c->vacant = vacant;
    c->next.place = place;
    c->next.units = units;
    c->next.keep = keep;
    return QSR_OK;
}

qsr_status qsr_cursor_roll(qsr_cursor *c, qsr_error *e)
{
    if (c->direct || c->rolls || qsr_cursor_windows(c) == 1) return QSR_OK;
    const bool there = c->whole && qsr_same_window(c->loaded, c->at), ordered = c->order != NULL;
    qsr_status status = there ? qsr_cursor_look(c, c->loaded.window, e) : QSR_OK;
    if (!status) status = allocate_roll(c, e);
    if (status) return status;
    c->rolls = true;
    if (!there) {
        qsr_window_forget(c);
        return QSR_OK;
    }
    if (!ordered) make_order(c);
    find_vacant(c);
    return QSR_OK;
}

/* Whether rows of a window take part, and which. */
static qsr_status look_ahead(qsr_cursor *c, uint64_t window, bool *ret_any)
{
    qsr_next_window *next = &c->next;
    next->window = window;
    next->n_units = (size_t)qsr_cursor_units_in(c, window);
    for (size_t u = 0; u < next->n_units; u++) next->units[u] = window * c->window_units + u;
    *ret_any = true;
    if (!next->keep) return QSR_OK;
    qsr_status status = qsr_dataset_mask(&c->data, next->units, next->n_units, next->keep, NULL);
    *ret_any = !status && memchr(next->keep, 1, next->n_units * c->data.rows_per_unit);
    return status;
}

/* The window of the next row that is not in memory; empty ones are passed. */
static qsr_status find_next(qsr_cursor *c, bool *ret_any)
{
    const uint64_t windows = qsr_cursor_windows(c);
    uint64_t window = c->at.window;
    qsr_status status = QSR_OK;
    *ret_any = false;
    if (!qsr_same_window(c->at, c->loaded)) status = look_ahead(c, window, ret_any);
    for (uint64_t passed = 0; !status && !*ret_any && passed < windows; passed++) {
        window = window + 1 == windows ? 0 : window + 1;
        status = look_ahead(c, window, ret_any);
    }
    return status;
}

/* Without the mask of a window on the way nothing is begun: who asks for its rows will hear why. */
static bool begin_next(qsr_cursor *c)
{
    qsr_next_window *next = &c->next;
    bool any;
    if (next->unknown && qsr_same_window(c->at, next->asked_at)) return false;
    next->unknown = find_next(c, &any) != QSR_OK;
    next->asked_at = c->at;
    if (!any) return false;
    next->placed = 0;
    next->reading = qsr_dataset_begin_reading(&c->data, next->units, next->n_units, next->place, c->rows);
    return true;
}

/* As many groups of units as there is room for. */
static void allow_next(qsr_cursor *c)
{
    qsr_next_window *next = &c->next;
    const size_t left = next->n_units - next->placed, room = c->n_vacant / c->data.rows_per_unit;
    size_t n = qsr_min_size(left, room);
    if (n < left) n -= n % c->data.info.units_per_read;
    if (n) place_units(c, n);
}

bool qsr_cursor_read_ahead(qsr_cursor *c, uint64_t rows)
{
    const bool here = qsr_same_window(c->at, c->loaded);
    const uint64_t in_memory = here ? c->loaded.offset - c->at.offset : 0;
    if (!c->rolls || rows <= in_memory || (!c->loaded.offset && !c->next.reading)) return false;
    if (!c->next.reading && !begin_next(c)) return false;
    allow_next(c);
    return qsr_reading_take(c->next.reading);
}

/* data/position: where the n-th row of training is, and what a mask leaves out before it. */
#include "data/cursor-parts.h"

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
    const uint64_t windows = qsr_cursor_windows(c);
    for (; w->window < windows; w->window++) {
        qsr_status status = qsr_cursor_look(c, w->window, e);
        if (status) return status;
        const uint64_t all = qsr_cursor_units_in(c, w->window) * c->data.rows_per_unit;
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
    if (!status && w.window == qsr_cursor_windows(c)) {
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
    if (!status) *ret += qsr_cursor_units_in(c, last.window) * c->data.rows_per_unit - c->now_rows;
    return status;
}

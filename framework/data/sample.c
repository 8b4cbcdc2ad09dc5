/* data/sample: the first rows of the first epoch, for whoever starts from them, without reading the first window twice. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "data/cursor-parts.h"

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
    if (qsr_cursor_windows(rest) == 1) rest->at = (qsr_position){1, 0, 0};
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
    if (!status) status = qsr_cursor_look(c, 0, e);
    const uint64_t n = qsr_min_size(rows, qsr_cursor_epoch_rows(c)), here = status ? 0 : qsr_min_size(n, c->now_rows);
    c->at = (qsr_position){0};
    if (!status) status = pass_on(c, here, buffers, take, arg, e);
    if (!status && here < n) status = sample_rest(c, n, n - here, buffers, take, arg, e);
    c->at = was;
    free(buffers);
    qsr_block_free(block);
    return status;
}

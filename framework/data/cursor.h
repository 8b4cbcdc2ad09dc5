/* data/cursor: the training rows of a dataset in their order, from any position.
 *
 * An epoch is the training units in order, cut into windows of at most `buffer` rows (whole units). With shuffle each window is
 * permuted, by a permutation that is a function of (dataset.seed, epoch, window); so a position is (epoch, window, offset) and
 * nothing else needs saving. At the end the data starts over, at most `epochs` times.
 *
 * Rows that a mask leaves out (data/dataset.h) are not given out and not counted in offsets. Windows are cut from units before
 * that, so a window holds fewer rows then, maybe none; what is permuted are the rows that remain. */
#ifndef QSR_DATA_CURSOR_H
#define QSR_DATA_CURSOR_H
#include "data/dataset.h"

typedef struct {
    uint64_t epoch, window;
    size_t offset; /* rows of the window already given out */
} qsr_position;

typedef struct qsr_cursor qsr_cursor;

qsr_status qsr_cursor_create(const qsr_dataset *, const qsr_data_options *, qsr_cursor **ret, qsr_error *e);
void qsr_cursor_free(qsr_cursor *);
/* out[rows][d_in] = the next rows; *ret_rows < rows only with QSR_END, when `epochs` are over. */
qsr_status qsr_cursor_next(qsr_cursor *, size_t rows, float *out, size_t *ret_rows, qsr_error *e);
/* The same for every tap of the dataset: out[n_taps][rows][d_in]; out[tap] == NULL: the rows are passed over. qsr_cursor_next
 * gives the first tap. */
qsr_status qsr_cursor_next_taps(qsr_cursor *, size_t rows, float *const *out, size_t *ret_rows, qsr_error *e);
qsr_position qsr_cursor_tell(const qsr_cursor *);
void qsr_cursor_seek(qsr_cursor *, qsr_position);
/* Where a cursor stands that has given out `row` rows from the very beginning; beyond the last epoch, its end. With a mask this
 * looks at every window before that place, but reads no rows. */
qsr_status qsr_cursor_position_of(qsr_cursor *, uint64_t row, qsr_position *ret, qsr_error *e);
/* How many rows the mask leaves out of the windows that the first `rows` rows lie in; a window counts once per epoch. */
qsr_status qsr_cursor_excluded(qsr_cursor *, uint64_t rows, uint64_t *ret, qsr_error *e);
/* Hands the first `rows` rows of the first epoch, or all it has, to `take` in order, a piece at a time: rows[n_taps][n][d_in],
 * which it may change. Where the cursor stands does not change, and the first window stays in memory: training from the
 * beginning does not read it again. No more units are read than the rows lie in. */
typedef void (*qsr_rows_taker)(void *arg, float *const *rows, size_t n);
qsr_status qsr_cursor_sample(qsr_cursor *, uint64_t rows, qsr_rows_taker take, void *arg, qsr_error *e);
/* From now on a row of a shuffle window goes from memory once it is given out, and the next window can be read into the places of such
 * rows, a piece at a time, without memory for a second one. Order and rows stay what they are. On failure nothing changed. Nothing to do
 * where rows are read when they are wanted, or where one window is all there is and stays. */
qsr_status qsr_cursor_roll(qsr_cursor *, qsr_error *e);
/* Lets the pool read on in the next window, as far as there is room, if one of the next `rows` rows lies there; where this thread takes part in
 * that (qsr_pool_aside), it reads a group of units. False: there was nothing to do for it. What goes wrong shows when rows of that window are
 * asked for. */
bool qsr_cursor_read_ahead(qsr_cursor *, uint64_t rows);
/* Reads through another pool from now on: qsr_pool_aside, where it reads ahead. Borrowed. What is being read ahead is given up. */
void qsr_cursor_use(qsr_cursor *, qsr_pool *);
/* Rows of each tap that a cursor over this dataset will hold; 0 where units are rows, which are read where they are wanted. */
size_t qsr_cursor_window_rows(const qsr_dataset *, const qsr_data_options *);
/* Bytes of the shuffle buffer it holds at most, all taps together, with what keeps it in order. */
size_t qsr_cursor_bytes(const qsr_cursor *);
/* Rows per epoch, without regard to a mask; UINT64_MAX: without end. */
uint64_t qsr_cursor_epoch_rows(const qsr_cursor *);
#endif

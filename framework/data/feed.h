/* data/feed: the rows of a cursor in pieces, the next ones read while the caller is at work on those it has.
 *
 * A thread goes on from where the cursor stands: first the pieces that follow, then the shuffle window that follows, into the places of
 * rows that were given out. It is the only one to touch the cursor, so rows and their order are those of a cursor without a feed, and an
 * error comes at the piece that it belongs to. Reads mostly wait, for a disk or a network, and so have as many threads of their own as the
 * dataset's pool has. Where a dataset computes its rows (QSR_CAP_COMPUTES) the pool's threads do it where they have nothing better to
 * do; with one thread there is nothing to gain then, and rows are read when they are asked for. */
#ifndef QSR_DATA_FEED_H
#define QSR_DATA_FEED_H
#include <signal.h>

#include "data/cursor.h"

typedef struct qsr_feed qsr_feed;

/* `rows` rows in all, `piece` at a time (the last may be shorter). The cursor is the feed's until qsr_feed_free, and the dataset must not be
 * closed. ahead: false: everything is read when it is asked for. Errors of the data come with qsr_feed_next. */
qsr_status qsr_feed_create(qsr_cursor *, const qsr_dataset *, size_t piece, uint64_t rows, bool ahead, qsr_feed **ret,
                           qsr_error *e);
/* Ends its thread, after what that is reading now. */
void qsr_feed_free(qsr_feed *);
/* (*ret_rows)[n_taps][*ret_n][d_in] = the next rows, which stay until the next call. *ret_n 0: they are over, or *stop (may be NULL)
 * became nonzero while they were waited for. */
qsr_status qsr_feed_next(qsr_feed *, const volatile sig_atomic_t *stop, float *const **ret_rows, size_t *ret_n,
                         qsr_error *e);
/* How many pieces of so many bytes of a tap it holds. */
size_t qsr_feed_pieces(size_t piece_bytes, bool ahead);
/* Whether there is anything to gain from reading ahead. */
bool qsr_feed_pays(const qsr_dataset *);
#endif

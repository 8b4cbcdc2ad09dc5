#include "data/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "math/blas.h"

enum { MOST_AHEAD = 8 };
static const size_t BYTES_AHEAD = (size_t)4 << 20; /* of a tap; one piece is always read ahead */

typedef struct {
    float **rows; /* [n_taps]: [piece][d_in] */
    size_t n;
    qsr_error error; /* code != QSR_OK: in the place of rows; nothing follows */
} piece;

struct qsr_feed {
    qsr_cursor *cursor;
    size_t n_taps, size;          /* rows of a piece */
    uint64_t left;                /* rows that no piece holds yet */
    qsr_pool *pool, *own, *aside; /* own: threads for reads that wait; NULL: the pool's read */
    piece *pieces;
    size_t n_pieces, taken; /* taken: pieces given out so far; the last of them is still in use */
    bool open;              /* there is more to give out */
    uint64_t waiting;       /* rows not given out */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    size_t used; /* pieces that may be overwritten; under lock, as is quit */
    bool quit;
    atomic_size_t filled; /* pieces that are there, or were */
};

size_t qsr_feed_pieces(size_t piece_bytes, bool ahead)
{
    const size_t more = qsr_max_size(qsr_min_size(BYTES_AHEAD / qsr_max_size(piece_bytes, 1), MOST_AHEAD), 1);
    return ahead ? 1 + more : 1;
}

bool qsr_feed_pays(const qsr_dataset *data)
{
    return data->pool && (qsr_pool_threads(data->pool) > 1 || !(data->made->plugin->caps & QSR_CAP_COMPUTES));
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The next piece from the cursor. */
static void fill(qsr_feed *f, piece *p)
{
    p->n = 0;
    p->error = (qsr_error){0};
    qsr_status status = qsr_cursor_next_taps(f->cursor, (size_t)qsr_min_size(f->left, f->size), p->rows, &p->n, &p->error);
    if (status == QSR_END) qsr_fail(&p->error, QSR_E_INTERNAL, "the data ended early");
    f->left = status ? 0 : f->left - p->n;
}

static void *thread_main(void *arg)
{
    qsr_feed *f = arg;
    qsr_blas_thread_start();
    pthread_mutex_lock(&f->lock);
    while (!f->quit && f->left) {
        const size_t filled = atomic_load(&f->filled);
        const bool room = filled - f->used < f->n_pieces;
        pthread_mutex_unlock(&f->lock);
        bool did = true;
        if (room) {
            fill(f, &f->pieces[filled % f->n_pieces]);
            atomic_store(&f->filled, filled + 1);
            qsr_pool_nudge(f->pool);
        } else {
            did = qsr_cursor_read_ahead(f->cursor, f->left);
        }
        pthread_mutex_lock(&f->lock);
        if (!did && !f->quit && atomic_load(&f->filled) - f->used == f->n_pieces) pthread_cond_wait(&f->wake, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* ---- the caller's side ------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_feed *feed;
    const volatile sig_atomic_t *stop;
} wish;

static bool is_there(void *arg)
{
    const wish *w = arg;
    return atomic_load(&w->feed->filled) > w->feed->taken || (w->stop && *w->stop);
}

static void give_back(qsr_feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->used = f->taken;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
}

qsr_status qsr_feed_next(qsr_feed *f, const volatile sig_atomic_t *stop, float *const **ret_rows, size_t *ret_n,
                         qsr_error *e)
{
    *ret_n = 0;
    if (!f->open) return QSR_OK;
    piece *p = &f->pieces[f->taken % f->n_pieces];
    wish w = {f, stop};
    if (f->threaded) {
        give_back(f);
        if (!is_there(&w)) qsr_pool_help(f->pool, is_there, &w);
        if (atomic_load(&f->filled) == f->taken) return QSR_OK; /* stopped */
    } else {
        fill(f, p);
    }
    f->taken++;
    f->waiting -= p->n;
    f->open = !p->error.code && f->waiting;
    *ret_rows = p->rows;
    *ret_n = p->n;
    if (p->error.code && e) *e = p->error;
    return p->error.code;
}

/* ---- making ------------------------------------------------------------------------------------------------------ */

static qsr_status allocate(qsr_feed *f, size_t d_in, qsr_error *e)
{
    f->pieces = qsr_xcalloc(f->n_pieces, sizeof *f->pieces);
    for (size_t i = 0; i < f->n_pieces; i++) f->pieces[i].rows = qsr_xcalloc(f->n_taps, sizeof *f->pieces[i].rows);
    for (size_t i = 0; i < f->n_pieces; i++)
        for (size_t t = 0; t < f->n_taps; t++)
            if (!(f->pieces[i].rows[t] = qsr_block_raw(f->size, d_in * sizeof(float))))
                return qsr_fail_nomem(e, "rows of the stream", f->n_pieces * f->n_taps * f->size * d_in * sizeof(float));
    return QSR_OK;
}

/* Without threads, or without memory for the next window, rows are read when they are asked for. */
static void start_thread(qsr_feed *f, bool computes)
{
    if (!computes && qsr_pool_create(qsr_pool_threads(f->pool), &f->own, NULL)) return;
    if (qsr_cursor_roll(f->cursor, NULL)) return;
    f->aside = qsr_pool_aside(computes ? f->pool : f->own, computes);
    qsr_cursor_use(f->cursor, f->aside);
    f->threaded = pthread_create(&f->thread, NULL, thread_main, f) == 0;
    if (!f->threaded) qsr_cursor_use(f->cursor, f->pool);
}

qsr_status qsr_feed_create(qsr_cursor *cursor, const qsr_dataset *data, size_t size, uint64_t rows, bool ahead,
                           qsr_feed **ret, qsr_error *e)
{
    qsr_feed *f = qsr_xcalloc(1, sizeof *f);
    ahead = ahead && qsr_feed_pays(data);
    *f = (qsr_feed){.cursor = cursor,
                    .n_taps = data->n_taps,
                    .size = size,
                    .left = rows,
                    .waiting = rows,
                    .open = rows > 0,
                    .pool = data->pool};
    f->n_pieces = qsr_feed_pieces(size * data->d_in * sizeof(float), ahead);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->wake, NULL);
    qsr_status status = allocate(f, data->d_in, e);
    if (status) {
        qsr_feed_free(f);
        return status;
    }
    if (ahead && rows) start_thread(f, data->made->plugin->caps & QSR_CAP_COMPUTES);
    *ret = f;
    return QSR_OK;
}

void qsr_feed_free(qsr_feed *f)
{
    if (!f) return;
    pthread_mutex_lock(&f->lock);
    f->quit = true;
    pthread_cond_signal(&f->wake);
    pthread_mutex_unlock(&f->lock);
    if (f->threaded) pthread_join(f->thread, NULL);
    qsr_cursor_use(f->cursor, f->pool);
    qsr_pool_free(f->aside);
    qsr_pool_free(f->own);
    for (size_t i = 0; f->pieces && i < f->n_pieces; i++) {
        for (size_t t = 0; t < f->n_taps; t++) qsr_block_free(f->pieces[i].rows[t]);
        free(f->pieces[i].rows);
    }
    free(f->pieces);
    pthread_cond_destroy(&f->wake);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* data/cursor-parts: what cursor.c, window.c, position.c and sample.c share; nobody else includes it. */
#ifndef QSR_DATA_CURSOR_PARTS_H
#define QSR_DATA_CURSOR_PARTS_H
#include "data/cursor.h"

/* The window that follows the one in memory, while its rows are read into the places of rows that were given out. */
typedef struct {
    qsr_reading *reading; /* NULL: not begun */
    uint64_t window;
    size_t n_units, placed; /* of n_units units the first `placed` have their places, and may be in memory */
    uint64_t *units;        /* [units of a window]: their names */
    uint8_t *keep;          /* [window rows]: its mask; NULL without one */
    uint32_t *place;        /* [window rows]: where its rows are or will be, QSR_NOWHERE: left out */
    bool unknown;           /* a mask could not be had; not asked for again until `at` leaves the window it was in then: */
    qsr_position asked_at;
} qsr_next_window;

struct qsr_cursor {
    qsr_dataset data; /* a copy, so that a view need not outlive the cursor */
    qsr_data_options options;
    uint64_t window_units; /* of a full window */
    qsr_position at;
    qsr_position stop;   /* rows from here on will not be asked for; epoch UINT64_MAX: they all may be */
    qsr_position loaded; /* the window in memory, of which the first `offset` rows can be given out */
    bool whole;          /* every unit of that window is in rows, in its place */
    uint32_t
        *order; /* [window rows]: which row of the buffer comes when; NULL with neither shuffle nor mask, unless it rolls */
    uint8_t *keep;    /* [window rows]: the mask of window `looked`; NULL without one */
    uint32_t *live;   /* [window rows]: shuffle and mask: the rows that take part, ascending */
    uint64_t looked;  /* number of the window that `now_rows` holds for; UINT64_MAX: none yet */
    size_t now_rows;  /* rows of it that take part */
    uint64_t *units;  /* names of the units to read */
    bool direct;      /* one row per unit: rows are read where they are wanted, without a copy of the window */
    float **rows;     /* [n_taps]: [window rows][d_in]; NULL when direct */
    float **now;      /* [n_taps]: where the rows of the moment go */
    float **first;    /* [n_taps]: the first tap's place, the others not wanted */
    bool rolls;       /* qsr_cursor_roll */
    uint32_t *vacant; /* [window rows]: places in `rows` that hold nothing of use */
    size_t n_vacant;
    qsr_next_window next;
};

static inline bool qsr_same_window(qsr_position a, qsr_position b) { return a.epoch == b.epoch && a.window == b.window; }

uint64_t qsr_cursor_windows(const qsr_cursor *); /* per epoch; UINT64_MAX: without end */
uint64_t qsr_cursor_units_in(const qsr_cursor *, uint64_t window);
/* Learns how many rows of a window take part, and with a mask which (now_rows, keep); it must exist. */
qsr_status qsr_cursor_look(qsr_cursor *, uint64_t window, qsr_error *e);

/* The window at c->at into memory. */
qsr_status qsr_window_load(qsr_cursor *, qsr_error *e);
/* Rows offset .. offset + rows - 1 of the window in memory were given out. */
void qsr_window_leave(qsr_cursor *, size_t offset, size_t rows);
/* What is in memory is of no use: the next rows are read. */
void qsr_window_forget(qsr_cursor *);
#endif

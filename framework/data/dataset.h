/* data/dataset: a dataset plugin opened for one experiment: its units, which of them are held out, and reading them.
 * This room may import quasar/plugin.h, base/, math/, spec/, format/ and plugin/.
 *
 * A dataset is numbered units of rows_per_unit rows; the first skip_first rows of each unit are left out here. The last
 * ceil(eval.tokens / rows per unit) units are held out for evaluation; a dataset without end holds out indices from 2^48.
 * Of what remains a dataset with a mask ("quasar.tokens/1") may leave out single rows: they keep their place in units, windows and
 * the held-out range, so that these are the same with and without a mask, but nobody is given them.
 *
 * Experiments with the same stream can share a dataset: it is opened once for all of them, and where they look at different
 * places of one model ("quasar.taps/1"), one pass gives the rows of every tap. */
#ifndef QSR_DATA_DATASET_H
#define QSR_DATA_DATASET_H
#include <signal.h>

#include "base/error.h"
#include "math/pool.h"
#include "plugin/instance.h"
#include "spec/spec.h"

typedef struct {
    qsr_made *made;
    const qsr_dataset_ops *ops;
    qsr_dataset_info info;
    qsr_pool *pool;            /* borrowed */
    const qsr_taps_ops *taps;  /* NULL: opened for one tap, through ops */
    const qsr_tokens_ops *tokens; /* NULL: rows stand for nothing known */
    bool masked;               /* some rows take no part: qsr_dataset_mask says which */
    size_t opened;             /* taps of the instance */
    size_t first_tap, n_taps;  /* those that this struct gives; all of them unless it is a view */
    struct qsr_dataset_shared *shared; /* with views */
    size_t d_in;
    size_t skip_first;
    size_t rows_per_unit;      /* after skip_first */
    uint64_t train_units;      /* UINT64_MAX: without end */
    uint64_t held_first, held_units;
    uint64_t held_rows;        /* rows that count, from the first held-out unit on: exactly eval.tokens */
    uint64_t held_kept;        /* those that are scored: all of them unless masked */
    const volatile sig_atomic_t *stop; /* NULL, or whoever opened it sets it: once nonzero, no further read() is begun and reading fails */
} qsr_dataset;

/* dataset.seed is the plugin's seed, so experiments that differ in `seed` share their data. */
qsr_status qsr_dataset_open(const qsr_spec *, qsr_pool *, qsr_dataset *ret, qsr_error *e);
/* The same for n experiments with equal stream keys, which must all live until the dataset is closed. Those with equal TAP
 * options share a tap; ret_tap[i] is the tap of specs[i]. Several taps need the plugin's "quasar.taps/1" (QSR_E_UNSUPPORTED).
 * On failure *ret_blame (may be NULL) is the index of the spec at fault. */
qsr_status qsr_dataset_open_many(const qsr_spec *const *specs, size_t n, qsr_pool *, qsr_dataset *ret, size_t *ret_tap,
                                 size_t *ret_blame, qsr_error *e);
void qsr_dataset_close(qsr_dataset *);
/* One tap of an open dataset as a dataset of its own, with the same bytes as if it were opened alone. It is not closed, and
 * dies with the other. */
qsr_dataset qsr_dataset_view(const qsr_dataset *, size_t tap);

/* The text of everything that decides the stream of training rows and which units are held out: experiments with equal keys
 * can share one dataset. */
const char *qsr_dataset_stream_key(const qsr_spec *, qsr_arena *);
/* Whether its dataset can give several taps in one pass; if not, only experiments with equal tap keys can share. */
bool qsr_dataset_has_taps(const qsr_spec *);
/* The text of the TAP options ("hook.site=resid_pre, hook.layer=7"): experiments with equal stream keys and equal tap keys read
 * the same rows. */
const char *qsr_dataset_tap_key(const qsr_spec *, qsr_arena *);

/* keep[n][rows_per_unit] = 1 for rows that take part, 0 for those left out; all 1 unless masked. No row is read for it. */
qsr_status qsr_dataset_mask(const qsr_dataset *, const uint64_t *units, size_t n, uint8_t *keep, qsr_error *e);
/* How many rows of units first .. first + n - 1 take part. */
qsr_status qsr_dataset_count(const qsr_dataset *, uint64_t first, uint64_t n, uint64_t *ret_rows, qsr_error *e);
/* Rows per epoch that take part; UINT64_MAX: without end. Goes through all of the mask, if there is one. */
qsr_status qsr_dataset_train_rows(const qsr_dataset *, uint64_t *ret_rows, qsr_error *e);

/* out[n][rows_per_unit][d_in] = the rows of units[0..n), of the first tap. Read in parallel, in groups of units_per_read. A value that is not
 * finite is QSR_E_INPUT, naming unit, row and column. */
qsr_status qsr_dataset_read(const qsr_dataset *, const uint64_t *units, size_t n, float *out, qsr_error *e);
/* out[n_taps], each as above, from one pass; out[tap] == NULL: not wanted. */
qsr_status qsr_dataset_read_taps(const qsr_dataset *, const uint64_t *units, size_t n, float *const *out, qsr_error *e);
/* The same beside other work, through a pool aside (math/pool), where one is: row r of those that qsr_dataset_read_taps would give in order
 * goes to out[tap] + place[r] * d_in, those at QSR_NOWHERE are left out. Units are read as they are allowed; their places must be known
 * by then. */
#define QSR_NOWHERE UINT32_MAX
typedef struct qsr_reading qsr_reading;
qsr_reading *qsr_dataset_begin_reading(const qsr_dataset *, const uint64_t *units, size_t n, const uint32_t *place, float *const *out);
void qsr_reading_allow(qsr_reading *, size_t n); /* the first n units, in whole groups of units_per_read */
bool qsr_reading_take(qsr_reading *);            /* reads a group on this thread; false: there is nothing to do for it */
qsr_status qsr_reading_end(qsr_reading *, qsr_error *e); /* everything is read */
void qsr_reading_cancel(qsr_reading *);          /* NULL is fine */
/* How many read() calls the plugin has had, through this struct and its views. Thread-safe. */
uint64_t qsr_dataset_reads(const qsr_dataset *);
/* Seconds that they took, those of all threads together. Thread-safe. */
double qsr_dataset_read_seconds(const qsr_dataset *);

/* For opening: whether there is a mask, and what it leaves of the held-out rows. */
qsr_status qsr_dataset_find_mask(qsr_dataset *, qsr_error *e);
qsr_status qsr_dataset_count_held(qsr_dataset *, qsr_error *e);
#endif

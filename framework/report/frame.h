/* report/frame: many runs as one matrix: a row for each run, columns for parameters and metrics; chosen with conditions, cut into
 * groups that differ in nothing but the seed. Tables and comparisons are made from it.
 * The room report tells what runs came to: it may import every room but cli. */
#ifndef QSR_REPORT_FRAME_H
#define QSR_REPORT_FRAME_H
#include <stdbool.h>

#include "lab/archive.h"

typedef enum {
    QSR_KEY_PLAIN, /* tells runs apart */
    QSR_KEY_SEED,  /* seed, dataset.seed: what is averaged over */
    QSR_KEY_IDLE   /* changes no result: the name, options that are not part of the identity */
} qsr_key_role;

typedef struct {
    const char *label; /* its folder below the archive's, or a published run's name */
    const char *path;  /* of its folder; NULL: a published run has none */
    qsr_record_state state;
    const char *reason;        /* of a failure, or NULL */
    bool published;            /* a row of a table made elsewhere */
    const char *const *values; /* [n_keys]; NULL: it has no such parameter. Equal texts are equal pointers */
    const double *metrics;     /* [n_metrics]; NaN: not measured */
} qsr_frame_row;

typedef struct {
    const char **keys; /* in the order of specs; "losses.<instance>" is on or off */
    qsr_key_role *roles;
    size_t n_keys;
    const char **metrics;
    size_t n_metrics;
    qsr_frame_row *rows;
    size_t n_rows;
    const char **notes; /* what a reader has to know, a sentence each without a period */
    size_t n_notes;
    qsr_arena arena;
} qsr_frame;

/* The archive's runs but the broken ones, equal cells once, and runs of equal parameters once, whatever their cells are called (a
 * note tells how many are left aside); then the published runs of W&B exports (`overlays`, NULL-ended, or NULL): CSV files with the
 * columns Name, l0_norm, l2_loss, afa_coeff, whose l2_loss is mse_norm and l0_norm is l0; activation, k and so on come from names
 * like blocks.6.hook_resid_pre_12288_topk_64_0.0. */
qsr_status qsr_frame_make(const qsr_archive *, const char *const *overlays, qsr_frame *ret, qsr_error *e);
void qsr_frame_free(qsr_frame *);
void qsr_frame_note(qsr_frame *, const char *fmt, ...) QSR_PRINTF(2, 3);

/* Index of a parameter or metric; an unknown one is QSR_E_OPTION with a suggestion. */
qsr_status qsr_frame_key(const qsr_frame *, const char *name, size_t *ret, qsr_error *e);
qsr_status qsr_frame_metric(const qsr_frame *, const char *name, size_t *ret, qsr_error *e);
bool qsr_frame_has_metric(const qsr_frame *, const char *name, size_t *ret);

/* Keeps the rows that meet "key=value" or "key=value,value": numbers are compared as numbers, so 1/32 is 0.03125. A published row
 * that does not know the key stays. No row left is QSR_E_OPTION and tells the values there are. */
qsr_status qsr_frame_where(qsr_frame *, const char *condition, qsr_error *e);

/* Distinct values of a key among rows[0..n) (indices), in their order; NULL, "it has none", counts as one, and comes last. The
 * array lives in the frame's arena. */
size_t qsr_frame_values(qsr_frame *, size_t key, const size_t *rows, size_t n, const char *const **ret);
/* < 0, 0, > 0: numbers by size before other texts, NULL last. */
int qsr_frame_order(const char *a, const char *b);

/* Rows that agree in some keys; published ones are never together with own ones. */
typedef struct {
    size_t *rows; /* indices into the frame's, in their order */
    size_t count;
} qsr_frame_group;
/* Groups of rows[0..n) by the keys, ordered by their values; everything lives in the frame's arena. */
size_t qsr_frame_groups(qsr_frame *, const size_t *rows, size_t n, const size_t *keys, size_t n_keys,
                        qsr_frame_group **ret);
#endif

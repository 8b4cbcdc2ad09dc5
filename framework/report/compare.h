/* report/compare: two settings against each other over seeds: Welch's and the paired t-test, effect sizes; as they are, or at a
 * matched value of another metric, to which each seed's own curve is interpolated. */
#ifndef QSR_REPORT_COMPARE_H
#define QSR_REPORT_COMPARE_H
#include "eval/statistics.h"
#include "report/frame.h"
#include "report/sheet.h"

typedef struct {
    const char *metric;
    const char *between; /* the parameter whose values are compared, two at a time */
    const char *at;      /* "l0=32": interpolate there; or NULL */
    const char *const
        *along; /* parameters that make the curves of `at`, NULL-ended; NULL: the numeric ones of activation and
                                 losses that vary */
} qsr_compare_request;

/* One value of `between` against another, everything else equal. */
typedef struct {
    const char *a, *b;          /* the values */
    const char *const *context; /* [n_contexts of the list]: values of its keys; NULL: neither side has it */
    const char *differs; /* "losses.afa: off, on": what else is not equal, as it goes with `between`; "" for nothing */
    double l0[2]; /* means of both sides, where they differ by more than 10 % and neither `metric` nor `at` takes care of it; or NaN */
    size_t n_a, n_b, pairs;
    qsr_summary side_a, side_b; /* 95 % */
    qsr_t_test welch, paired;
    double d, g;                      /* Cohen's d, and with Hedges' correction */
    double dz, gz;                    /* the same of the pairs */
    const char *no_welch, *no_paired; /* why there is no p-value; NULL: there is one */
    const char **left_out;            /* seeds that do not count, with the reason */
    size_t n_left_out;
} qsr_comparison;

typedef struct {
    const char *metric, *between, *at_metric; /* at_metric NULL: as they are */
    double at;
    const char **contexts; /* keys */
    size_t n_contexts;
    qsr_comparison *items;
    size_t count;
} qsr_comparisons;

/* Completed runs of the frame that are not published ones. Seeds are paired when seed and dataset.seed are equal. Everything lives in
 * the frame's arena. QSR_E_OPTION: unknown names (with a suggestion), fewer than two values of `between`, several curve parameters
 * at once, nothing comparable. */
qsr_status qsr_compare(qsr_frame *, const qsr_compare_request *, qsr_comparisons *ret, qsr_error *e);

/* Paragraphs for people, and a table for every other format. */
void qsr_compare_text(const qsr_comparisons *, qsr_text *out);
void qsr_compare_sheet(const qsr_comparisons *, qsr_sheet *ret);
#endif

/* report/page: everything about the runs below a folder as one HTML file that needs nothing else: no network, no fonts, no scripts but
 * a small one of its own that sorts tables. */
#ifndef QSR_REPORT_PAGE_H
#define QSR_REPORT_PAGE_H
#include <stdbool.h>

#include "base/error.h"
#include "base/text.h"

typedef struct {
    const char *folder;
    const char *title;                               /* NULL: the folder's name */
    const char *const *overlays, *const *conditions; /* NULL-ended, or NULL */
    const char *keep;                                /* folder for the .gp and .tsv of every figure; or NULL */
} qsr_page_request;

typedef struct {
    size_t runs, settings, evaluations, figures, failed_figures;
    bool no_gnuplot; /* no figure could be drawn; the page says so */
} qsr_page_summary;

/* Appends the page. A figure that gnuplot refuses is named on the page and logged as a warning. */
qsr_status qsr_page_make(const qsr_page_request *, qsr_text *out, qsr_page_summary *ret, qsr_error *e);
#endif

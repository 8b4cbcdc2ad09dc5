/* report/page-parts: what the files of the page share. */
#ifndef QSR_REPORT_PAGE_PARTS_H
#define QSR_REPORT_PAGE_PARTS_H
#include "report/evaluations.h"
#include "report/figures.h"
#include "report/page.h"

typedef struct {
    const qsr_page_request *request;
    qsr_study study;
    qsr_evaluations evaluations;
    qsr_text *out;
    bool can_draw, in_section;
    qsr_page_summary told;
} qsr_page;

extern const char *const qsr_page_style[], *const qsr_page_script[]; /* lines, NULL-ended */

void qsr_page_section(qsr_page *, const char *id, const char *title); /* ends the one before */
void qsr_page_paragraph(qsr_page *, const char *text);                /* plain text */
/* Draws it between qsr_page_figures_begin and _end, and frees it; what is missing is said in its place. */
void qsr_page_figure(qsr_page *, qsr_figure *);
void qsr_page_figures_begin(qsr_page *);
void qsr_page_figures_end(qsr_page *);

/* page-cells: the sections with words and tables. */
void qsr_page_about(qsr_page *);
void qsr_page_settings(qsr_page *);
void qsr_page_diagnostics(qsr_page *); /* the table of ε-LBO, norm_ratio, coherence_lb */
void qsr_page_reproduce(qsr_page *);
/* page-figures: those with figures. */
void qsr_page_results(qsr_page *);
void qsr_page_training(qsr_page *);
void qsr_page_geometry(qsr_page *);
void qsr_page_sparsity(qsr_page *);
/* page-latents: latents and contexts; other evaluations. */
void qsr_page_latents(qsr_page *);
void qsr_page_evaluations(qsr_page *);
#endif

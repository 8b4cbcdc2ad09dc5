/* report/svg: what gnuplot's svg terminal writes, made fit to stand in an HTML page beside others. */
#ifndef QSR_REPORT_SVG_H
#define QSR_REPORT_SVG_H
#include "base/error.h"
#include "base/text.h"

/* Appends the <svg> element of svg[0..n): no prolog, no name spaces, no titles of gnuplot's own, no empty groups; every id and
 * reference begins with "<prefix>-"; black is currentColor, so that it follows the page's colour scheme; `label` is what a screen
 * reader says. QSR_E_INTERNAL: it is no SVG, or refers to something outside of itself. */
qsr_status qsr_svg_inline(const char *svg, size_t n, const char *prefix, const char *label, qsr_text *out, qsr_error *e);
#endif

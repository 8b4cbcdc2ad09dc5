/* report/html: text as HTML that says exactly that text, whatever it holds. */
#ifndef QSR_REPORT_HTML_H
#define QSR_REPORT_HTML_H
#include "base/text.h"

/* Fit for element content and for attributes in double quotes: markup is escaped, control characters become their pictures (U+2400
 * and on), bytes that are no UTF-8 and characters that HTML forbids become U+FFFD. Line feeds and tabs stay. NULL is nothing. */
void qsr_html_text(qsr_text *out, const char *text);
void qsr_html_bytes(qsr_text *out, const char *bytes, size_t n);
/* The same with line feeds, carriage returns and tabs as pictures too, for tokens. */
void qsr_html_visible(qsr_text *out, const char *text);
/* Formatted, then as qsr_html_text. */
void qsr_html_add(qsr_text *out, const char *fmt, ...) QSR_PRINTF(2, 3);

/* A word of a POSIX shell command line, in quotes where it needs them (not HTML yet). */
void qsr_shell_word(qsr_text *out, const char *word);
#endif

/* base/error: one error, as a value. Lower layers set it, upper layers add context or leave it; only cli/ prints.
 * May import: quasar/plugin.h and base/ alone (this holds for the whole room). */
#ifndef QSR_BASE_ERROR_H
#define QSR_BASE_ERROR_H
#include <stdarg.h>
#include "quasar/plugin.h"

#define QSR_PRINTF(fmt_, args_) __attribute__((format(printf, fmt_, args_)))

typedef struct {
    qsr_status code;   /* QSR_OK: nothing happened */
    char option[64];   /* the plugin option at fault, or "" */
    char text[1024];   /* one line, without a final newline */
} qsr_error;

/* Control characters become question marks, in place: what files and file names say must neither break a line nor reach a terminal.
 * Returns the text. Errors have it. */
char *qsr_one_line(char *text);
/* Each returns the code, so that callers can write `return qsr_fail(...)`. `e` may be NULL: then only the code survives. */
qsr_status qsr_fail(qsr_error *e, qsr_status code, const char *fmt, ...) QSR_PRINTF(3, 4);
qsr_status qsr_fail_option(qsr_error *e, qsr_status code, const char *option, const char *fmt, ...) QSR_PRINTF(4, 5);
qsr_status qsr_vfail(qsr_error *e, qsr_status code, const char *option, const char *fmt, va_list args);
/* "cannot <verb> <path>: <strerror(errno)>", QSR_E_IO. */
qsr_status qsr_fail_errno(qsr_error *e, const char *verb, const char *path);
qsr_status qsr_fail_nomem(qsr_error *e, const char *what, size_t bytes);
/* Puts "<context>: " before the text of an error that is set; returns its code. */
qsr_status qsr_context(qsr_error *e, const char *fmt, ...) QSR_PRINTF(2, 3);
#endif

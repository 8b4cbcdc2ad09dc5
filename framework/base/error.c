#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sizes.h"

char *qsr_one_line(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f) *c = '?';
    return text;
}

qsr_status qsr_vfail(qsr_error *e, qsr_status code, const char *option, const char *fmt, va_list args)
{
    if (!e) return code;
    e->code = code;
    snprintf(e->option, sizeof e->option, "%s", option ? option : "");
    vsnprintf(e->text, sizeof e->text, fmt, args);
    qsr_one_line(e->text);
    return code;
}

qsr_status qsr_fail(qsr_error *e, qsr_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qsr_vfail(e, code, NULL, fmt, args);
    va_end(args);
    return code;
}

qsr_status qsr_fail_option(qsr_error *e, qsr_status code, const char *option, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    qsr_vfail(e, code, option, fmt, args);
    va_end(args);
    return code;
}

qsr_status qsr_fail_errno(qsr_error *e, const char *verb, const char *path)
{
    int number = errno;
    return qsr_fail(e, QSR_E_IO, "cannot %s %s: %s", verb, path, strerror(number));
}

qsr_status qsr_fail_nomem(qsr_error *e, const char *what, size_t bytes)
{
    char size[32];
    return qsr_fail(e, QSR_E_NOMEM, "out of memory: %s needs %s", what, qsr_size_text(bytes, size, sizeof size));
}

qsr_status qsr_context(qsr_error *e, const char *fmt, ...)
{
    if (!e || e->code == QSR_OK) return e ? e->code : QSR_E_INTERNAL;
    char joined[sizeof e->text];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(joined, sizeof joined, fmt, args);
    va_end(args);
    size_t used = n < 0 ? 0 : (size_t)n;
    if (used + 3 < sizeof joined) { /* what does not fit is cut at the end of the line */
        memcpy(joined + used, ": ", 2);
        size_t room = sizeof joined - used - 3, length = strlen(e->text);
        memcpy(joined + used + 2, e->text, length < room ? length : room);
        joined[used + 2 + (length < room ? length : room)] = 0;
    }
    memcpy(e->text, joined, sizeof e->text);
    qsr_one_line(e->text);
    return e->code;
}

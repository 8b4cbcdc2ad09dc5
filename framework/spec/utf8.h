/* spec/utf8: reading UTF-8 that cannot be trusted. */
#ifndef QSR_SPEC_UTF8_H
#define QSR_SPEC_UTF8_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character at s[0..n) into *ret; returns its bytes, or 0 when they are not valid UTF-8 or n is 0. */
size_t qsr_utf8_next(const char *s, size_t n, uint32_t *ret);
/* Shows as itself on a terminal and in an editor: no control, no direction override, no line separator, no byte-order mark. */
bool qsr_utf8_shows(uint32_t c);
#endif

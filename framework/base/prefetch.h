/* base/prefetch: memory that is wanted soon. */
#ifndef QSR_BASE_PREFETCH_H
#define QSR_BASE_PREFETCH_H
#include <stddef.h>

/* Asks for it to be in the second-level cache; nothing else happens, wherever it points. */
static inline void qsr_prefetch(const void *at, size_t bytes)
{
    enum { LINE = 64 };
    for (size_t i = 0; i < bytes; i += LINE) __builtin_prefetch((const char *)at + i, 0, 2);
}
#endif

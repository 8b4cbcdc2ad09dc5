/* base/arena: memory that dies together, named after its lifetime (spec, run, step), and the few big blocks beside it.
 *
 * Small metadata never fails: when the system refuses a few bytes, the program stops with one line ("out of memory"), as
 * git and systemd do. Big numeric blocks can be refused for good reason, so they return NULL and the caller says what for. */
#ifndef QSR_BASE_ARENA_H
#define QSR_BASE_ARENA_H
#include <stdarg.h>
#include <stddef.h>

#include "base/error.h"

typedef struct qsr_arena {
    struct qsr_arena_chunk *chunks;
} qsr_arena; /* {0} is an empty one */

void *qsr_arena_alloc(qsr_arena *, size_t n, size_t size); /* zeroed, aligned to 16; never NULL */
char *qsr_arena_strdup(qsr_arena *, const char *text);
char *qsr_arena_strndup(qsr_arena *, const char *text, size_t n);
char *qsr_arena_printf(qsr_arena *, const char *fmt, ...) QSR_PRINTF(2, 3);
void qsr_arena_free(qsr_arena *); /* releases all; the arena is empty and usable again */

/* Never NULL (see above). */
void *qsr_xcalloc(size_t n, size_t size);
void *qsr_xrealloc(void *, size_t n, size_t size);

/* n * size bytes aligned to 64, zeroed (qsr_block_alloc) or not (qsr_block_raw); NULL when refused or when n * size does not
 * fit. Release with qsr_block_free, which accepts NULL. */
void *qsr_block_alloc(size_t n, size_t size);
void *qsr_block_raw(size_t n, size_t size);
void qsr_block_free(void *);
/* What was freed goes back to the system, where the allocator can do that, instead of waiting to be used again. */
void qsr_memory_trim(void);
#endif

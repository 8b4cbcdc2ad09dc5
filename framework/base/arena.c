#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "base/sizes.h"

enum { CHUNK_BYTES = 16384, ALIGNMENT = 16 };

struct qsr_arena_chunk {
    struct qsr_arena_chunk *next;
    size_t used, size;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

static void *never_null(void *p)
{
    if (!p) {
        fputs("quasar: out of memory\n", stderr);
        exit(2);
    }
    return p;
}

void *qsr_xcalloc(size_t n, size_t size) { return never_null(calloc(n ? n : 1, size ? size : 1)); }

void *qsr_xrealloc(void *old, size_t n, size_t size)
{
    size_t bytes;
    if (!qsr_mul_size(n ? n : 1, size ? size : 1, &bytes)) never_null(NULL);
    return never_null(realloc(old, bytes));
}

void *qsr_arena_alloc(qsr_arena *arena, size_t n, size_t size)
{
    size_t bytes;
    if (!qsr_mul_size(n, size, &bytes) || bytes > SIZE_MAX / 2) never_null(NULL);
    bytes = qsr_round_up(bytes ? bytes : 1, ALIGNMENT);
    struct qsr_arena_chunk *chunk = arena->chunks;
    if (!chunk || chunk->size - chunk->used < bytes) {
        size_t room = qsr_max_size(bytes, CHUNK_BYTES);
        chunk = never_null(calloc(1, sizeof *chunk + room));
        chunk->size = room;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    void *p = chunk->bytes + chunk->used;
    chunk->used += bytes;
    return p;
}

char *qsr_arena_strndup(qsr_arena *arena, const char *text, size_t n)
{
    char *copy = qsr_arena_alloc(arena, n + 1, 1);
    memcpy(copy, text, n);
    return copy;
}

char *qsr_arena_strdup(qsr_arena *arena, const char *text) { return qsr_arena_strndup(arena, text, strlen(text)); }

char *qsr_arena_printf(qsr_arena *arena, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = qsr_arena_alloc(arena, n < 0 ? 1 : (size_t)n + 1, 1);
    if (n > 0) vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

void qsr_arena_free(qsr_arena *arena)
{
    for (struct qsr_arena_chunk *chunk = arena->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    arena->chunks = NULL;
}

/* Blocks from LARGE on ask for huge pages: a weight matrix walked in rows of a few KiB needs a thousand small ones otherwise, and
 * waits for their addresses. */
enum { HUGE_PAGE = 2 << 20, LARGE = 8 << 20 };

void *qsr_block_raw(size_t n, size_t size)
{
    size_t bytes;
    if (!qsr_mul_size(n, size, &bytes) || bytes > SIZE_MAX - HUGE_PAGE) return NULL;
    if (bytes < LARGE) return aligned_alloc(64, qsr_round_up(bytes ? bytes : 1, 64));
    void *p = aligned_alloc(HUGE_PAGE, qsr_round_up(bytes, HUGE_PAGE));
#ifdef MADV_HUGEPAGE
    if (p) madvise(p, qsr_round_up(bytes, HUGE_PAGE), MADV_HUGEPAGE); /* a refusal costs time only */
#endif
    return p;
}

void *qsr_block_alloc(size_t n, size_t size)
{
    void *p = qsr_block_raw(n, size);
    if (p) memset(p, 0, n * size);
    return p;
}

void qsr_block_free(void *p) { free(p); }

void qsr_memory_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

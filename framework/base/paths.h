/* base/paths: the files that a list of paths and patterns names. */
#ifndef QSR_BASE_PATHS_H
#define QSR_BASE_PATHS_H
#include "base/arena.h"

/* In the order of the list; the files of a pattern ("shards/[0-9]*.bin") by the bytes of their names, whatever the locale. A file
 * whose own name holds a '[' is a file first. QSR_E_INPUT: an empty list, a pattern without a match, a file that is not there, or
 * one that is named twice: it would count double, and held-out parts of it would be trained on. */
qsr_status qsr_paths_expand(qsr_arena *, const char *const *names, size_t n, qsr_strings *ret, qsr_error *e);
#endif

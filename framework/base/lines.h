/* base/lines: a text file line by line, in memory that does not grow with the file. */
#ifndef QSR_BASE_LINES_H
#define QSR_BASE_LINES_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

typedef struct {
    char *text;      /* the line, NUL-terminated, without its end (LF or CRLF); the caller may write into it */
    size_t length;   /* of the text; it may hold NULs */
    uint64_t number; /* from 1 */
    bool torn;       /* the last line, and nothing ends it */
    size_t longest, capacity;
    char *path;
    FILE *file;
} qsr_lines; /* {0} is one that was never opened */

/* Lines of more than `longest` bytes are refused when they come. Folders, pipes and missing files: QSR_E_INPUT. */
qsr_status qsr_lines_open(qsr_lines *, const char *path, size_t longest, qsr_error *e);
/* QSR_END after the last one. */
qsr_status qsr_lines_next(qsr_lines *, qsr_error *e);
void qsr_lines_close(qsr_lines *);
#endif

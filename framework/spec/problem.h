/* spec/problem: everything wrong with a spec, in one go, each with its place, its source line and a caret.
 * May import: quasar/plugin.h, base/ and math/'s peers in spec/ (this holds for the whole room: no data, model, train). */
#ifndef QSR_SPEC_PROBLEM_H
#define QSR_SPEC_PROBLEM_H
#include <stdio.h>

#include "base/arena.h"
#include "base/text.h"

/* A place in a source text. line and col count from 1; line 0: the value was a default and was not written anywhere. */
typedef struct {
    const struct qsr_source *source; /* NULL with line 0 */
    uint32_t line, col, end_col;     /* end_col: one past the last character on that line; 0: unknown */
} qsr_mark;

/* A text that marks point into: a file, or a command-line argument (then `name` is "command line"). */
typedef struct qsr_source {
    const char *name; /* as the user wrote it */
    const char *text;
    size_t size;
} qsr_source;

typedef struct {
    qsr_mark mark;
    char *path;       /* "losses.afa.coeff"; or "" */
    char *text;       /* what is wrong, with value and limit */
    char *hint;       /* "did you mean 'coeff'?"; or NULL */
} qsr_problem;

typedef struct {
    qsr_problem *items;
    size_t count, capacity;
    qsr_arena arena;
} qsr_problems; /* {0} is an empty list */

void qsr_problems_add(qsr_problems *, qsr_mark, const char *path, const char *hint, const char *fmt, ...) QSR_PRINTF(5, 6);
/* In order of place, each as
 *     file:line:col: path: what is wrong
 *         the source line
 *             ^~~~
 *     (hint) */
void qsr_problems_write(const qsr_problems *, qsr_text *out);
void qsr_problems_free(qsr_problems *);
#endif

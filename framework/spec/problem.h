/* spec/problem: everything wrong with a spec, in one go, each with its place, its source line and a caret.
 * May import: quasar/plugin.h, base/ and math/'s peers in spec/ (this holds for the whole room: no data, model, train). */
#ifndef QSR_SPEC_PROBLEM_H
#define QSR_SPEC_PROBLEM_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/text.h"

/* A place in a source text. line and col count from 1, col in characters, not bytes; line 0: nowhere in particular (a default,
 * a key that is missing). */
typedef struct {
    const struct qsr_source *source; /* may be NULL with line 0 */
    uint32_t line, col, end_col;     /* end_col: one past the last character on that line; 0: unknown */
} qsr_mark;

/* A text that marks point into: a file, or a command-line argument (then `name` is "command line"). */
typedef struct qsr_source {
    const char *name;   /* as the user wrote it */
    const char *text;
    size_t size;
    const char *folder; /* what relative paths written here are relative to */
    bool argument;      /* a command-line argument: places in it are shown without line and column */
    unsigned rank;      /* problems are shown in this order of their sources */
} qsr_source;

typedef struct {
    qsr_mark mark;
    char *path;       /* "losses.afa.coeff"; or "" */
    char *text;       /* what is wrong, with value and limit */
    char *hint;       /* "did you mean 'coeff'?"; or NULL */
} qsr_problem;

enum { QSR_PROBLEMS_MOST = 500 }; /* further ones are only counted */

typedef struct {
    qsr_problem *items;
    size_t count, capacity;
    size_t dropped;             /* beyond QSR_PROBLEMS_MOST */
    qsr_source **sources;       /* copies, so that marks outlive the spec they came from */
    size_t n_sources;
    qsr_arena arena;
} qsr_problems; /* {0} is an empty list */

/* `path` and `hint` may be NULL. All is copied; control characters and invalid UTF-8 are escaped on the way in, so the stored
 * texts are safe on a terminal. */
void qsr_problems_add(qsr_problems *, qsr_mark, const char *path, const char *hint, const char *fmt, ...) QSR_PRINTF(5, 6);
/* Takes out of the items from `from` on those that are equal to one before them, not counting those before `since`. */
void qsr_problems_unique(qsr_problems *, size_t since, size_t from);
/* By rank of source (and first mention), then by place, equal ones once; each as
 *     file:line:col: path: what is wrong
 *         the source line
 *             ^~~~
 *         (hint)
 * without line and column where the place is a command-line argument or nowhere in particular. */
void qsr_problems_write(const qsr_problems *, qsr_text *out);
void qsr_problems_free(qsr_problems *);

/* `text` in quotes for a message, cut to 60 characters; in the arena. */
const char *qsr_quoted(qsr_arena *, const char *text);
#endif

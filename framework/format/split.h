/* format/split: where the words of a text end, by GPT-2's pattern; the only file of ours that includes pcre2.h.
 *
 *     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *
 * \s is Unicode's White_Space, spelt out, since PCRE2's own \s takes U+180E for a blank. */
#ifndef QSR_FORMAT_SPLIT_H
#define QSR_FORMAT_SPLIT_H
#include <stdbool.h>

#include "base/error.h"

typedef struct qsr_splitter qsr_splitter; /* one thread at a time */

qsr_status qsr_splitter_new(qsr_splitter **ret, qsr_error *e);
void qsr_splitter_free(qsr_splitter *);
/* Where the word ends that begins at `at` < n; the text is valid UTF-8, `at` the begin of a character. What a word is can depend on
 * the QSR_SPLIT_AHEAD bytes behind it. */
qsr_status qsr_splitter_next(qsr_splitter *, const char *text, size_t n, size_t at, size_t *ret_end, qsr_error *e);
enum { QSR_SPLIT_AHEAD = 8 };
/* Turns the short way for ASCII off, for tests: every word goes through PCRE2. */
void qsr_splitter_plain(qsr_splitter *, bool on);

/* Bytes of text[0..n) from `from` on that are valid UTF-8 without a gap. */
size_t qsr_utf8_valid(const char *text, size_t n, size_t from);
#endif

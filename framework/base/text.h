/* base/text: growing strings, numbers as text in one spelling whatever the locale, near misses. */
#ifndef QSR_BASE_TEXT_H
#define QSR_BASE_TEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A string that grows; {0} is empty. `bytes` is NUL-terminated once something was added, NULL before. */
typedef struct {
    char *bytes;
    size_t length, capacity;
} qsr_text;

void qsr_text_add(qsr_text *, const char *fmt, ...) QSR_PRINTF(2, 3);
void qsr_text_puts(qsr_text *, const char *text);
void qsr_text_append(qsr_text *, const void *bytes, size_t n);
void qsr_text_free(qsr_text *);

/* Shortest decimal text that reads back to the same double ("0.03125", "1e-05", "nan", "inf"); returns buf, of 32 bytes or more. */
const char *qsr_real_text(double value, char *buf, size_t n);
/* The same for a float: the shortest that reads back to the same float. */
const char *qsr_float_text(float value, char *buf, size_t n);

/* Numbers as specs write them: digits may be grouped by single '_' between digits; reals also as rationals "1/32". The whole
 * text must be consumed; no surrounding blanks, no hex, no "nan"/"inf". Independent of the locale. false: not such a number,
 * or out of range. */
bool qsr_parse_int(const char *text, int64_t *ret);
bool qsr_parse_uint(const char *text, uint64_t *ret);
bool qsr_parse_real(const char *text, double *ret);

/* Edit distance with transpositions, and the nearest of `words` (NULL-ended) when it is near enough to suggest, else NULL. */
size_t qsr_edit_distance(const char *a, const char *b);
const char *qsr_nearest(const char *word, const char *const *words);

/* Bytes of the well-formed UTF-8 character (Unicode, table 3-7) at s[0..n), and its code point; 0: none begins there. */
size_t qsr_utf8_at(const char *s, size_t n, uint32_t *ret);

bool qsr_starts_with(const char *text, const char *prefix);
bool qsr_ends_with(const char *text, const char *suffix);
#endif

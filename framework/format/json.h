/* format/json: JSON in and out; the only file of ours that includes jansson.h. */
#ifndef QSR_FORMAT_JSON_H
#define QSR_FORMAT_JSON_H
#include <jansson.h>

#include "base/error.h"
#include "base/text.h"

/* A whole file of at most `limit` bytes. Duplicate keys are refused; errors are QSR_E_INPUT, "<path>:<line>:<col>: ...". The
 * caller releases *ret with json_decref. */
qsr_status qsr_json_read(const char *path, size_t limit, json_t **ret, qsr_error *e);
/* The same for n bytes in memory; `name` stands for the path in errors. */
qsr_status qsr_json_parse(const char *name, const char *text, size_t n, json_t **ret, qsr_error *e);

/* A line of a file that others wrote, "<path>:<line>:<col>: ..." in errors: numbers are reals (one beyond a double is
 * refused), strings may hold NUL, of equal keys the last counts. */
qsr_status qsr_json_record(const char *path, size_t line, const char *text, size_t n, json_t **ret, qsr_error *e);

/* A number, or null where value is not finite, which JSON cannot say (and json_real() answers with NULL). */
json_t *qsr_json_real(double value);

/* Indented by two, keys in order of insertion, reals in the shortest form that reads back as the same real, a final newline;
 * whole or not at all. */
qsr_status qsr_json_write(const char *path, const json_t *, qsr_error *e);
/* The same text, appended to `out`. */
void qsr_json_text(const json_t *, qsr_text *out);
/* The same as one compact line without a newline, appended to `out`: {"step":0,"loss":0.25}. */
void qsr_json_line(const json_t *, qsr_text *out);
/* A text of n bytes, which must be UTF-8, as a JSON string in its quotes, appended to `out`. */
void qsr_json_quote(const char *text, size_t n, qsr_text *out);
#endif

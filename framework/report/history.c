#include "report/history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/lines.h"
#include "format/json.h"

enum { LONGEST_LINE = 1 << 20 };

/* Points that are each the mean of `each` values; when there is no more room, neighbours become one. */
typedef struct {
    qsr_history *out;
    size_t most, each, pending;
    double tokens, values; /* sums of the pending ones */
} thinning;

static void merge_neighbours(thinning *t)
{
    qsr_history *h = t->out;
    for (size_t i = 0; i + 1 < h->n; i += 2) {
        h->tokens[i / 2] = (h->tokens[i] + h->tokens[i + 1]) / 2;
        h->values[i / 2] = (h->values[i] + h->values[i + 1]) / 2;
    }
    h->n /= 2;
    t->each *= 2;
}

static void settle_pending(thinning *t)
{
    if (!t->pending) return;
    t->out->tokens[t->out->n] = t->tokens / (double)t->pending;
    t->out->values[t->out->n++] = t->values / (double)t->pending;
    t->pending = 0;
    t->tokens = t->values = 0;
}

/* 2 * (most / 2) points are even, so that all of them find a neighbour. */
static void add_value(thinning *t, double tokens, double value)
{
    t->tokens += tokens;
    t->values += value;
    t->out->last = value;
    if (++t->pending < t->each) return;
    settle_pending(t);
    if (t->out->n == t->most / 2 * 2) merge_neighbours(t);
}

static void take_line(thinning *t, const qsr_lines *lines, const char *key)
{
    json_t *line = NULL;
    if (!lines->length || qsr_json_parse(lines->path, lines->text, lines->length, &line, NULL)) return;
    json_t *tokens = json_object_get(line, "tokens"), *value = json_object_get(line, key);
    if (json_is_number(tokens) && json_is_number(value)) add_value(t, json_number_value(tokens), json_number_value(value));
    json_decref(line);
}

qsr_status qsr_history_read(const char *path, const char *key, size_t most, qsr_history *ret, qsr_error *e)
{
    qsr_lines lines;
    qsr_history h = {.last = NAN};
    thinning t = {.out = &h, .most = most, .each = 1};
    qsr_status status = qsr_lines_open(&lines, path, LONGEST_LINE, e);
    h.tokens = qsr_xcalloc(most + 1, sizeof *h.tokens);
    h.values = qsr_xcalloc(most + 1, sizeof *h.values);
    while (!status) {
        status = qsr_lines_next(&lines, e);
        if (!status) take_line(&t, &lines, key);
    }
    settle_pending(&t);
    qsr_lines_close(&lines);
    if (status == QSR_END) status = QSR_OK;
    if (status)
        qsr_history_free(&h);
    else
        *ret = h;
    return status;
}

void qsr_history_free(qsr_history *h)
{
    free(h->tokens);
    free(h->values);
    *h = (qsr_history){0};
}

void qsr_sparkline(const double *values, size_t n, qsr_text *out)
{
    static const char *const bars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < n; i++) low = fmin(low, values[i]), high = fmax(high, values[i]);
    for (size_t i = 0; i < n; i++) {
        double at = high > low ? (values[i] - low) / (high - low) : 0;
        qsr_text_puts(out, isnan(at) ? " " : bars[(size_t)(at * 7 + 0.5)]);
    }
}

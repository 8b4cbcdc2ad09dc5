#include "spec/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "spec/utf8.h"

enum { TEXT_MOST = 1000, EXCERPT_MOST = 100 };

/* Appends text so that it stays on one line and cannot move the cursor: \n, \x1b, \u202e. */
static void put_safe(qsr_text *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t used = qsr_utf8_at(text + i, n - i, &c);
        if (used && qsr_utf8_shows(c)) {
            qsr_text_append(out, text + i, used);
        } else if (c == '\n' || c == '\t') {
            qsr_text_puts(out, c == '\n' ? "\\n" : "\\t");
        } else if (used > 1) {
            qsr_text_add(out, "\\u%04x", c);
        } else {
            qsr_text_add(out, "\\x%02x", (unsigned char)text[i]);
        }
        i += used ? used : 1;
    }
}

static char *safe_copy(qsr_arena *arena, const char *text)
{
    if (!text) return NULL;
    qsr_text out = {0};
    size_t n = strlen(text);
    put_safe(&out, text, n < TEXT_MOST ? n : TEXT_MOST);
    if (n > TEXT_MOST) qsr_text_puts(&out, "...");
    char *copy = qsr_arena_strndup(arena, out.bytes ? out.bytes : "", out.length);
    qsr_text_free(&out);
    return copy;
}

const char *qsr_quoted(qsr_arena *arena, const char *text)
{
    enum { MOST = 60 };
    size_t n = strlen(text), used = 0, step = 1;
    for (size_t characters = 0; used < n && characters < MOST; characters++, used += step) {
        uint32_t c;
        step = qsr_utf8_at(text + used, n - used, &c);
        if (step == 0) step = 1;
    }
    return qsr_arena_printf(arena, "'%.*s%s'", (int)used, text, used < n ? "..." : "");
}

/* Specs come and go with their sources while problems stay, so each source is copied once. Equal name and text are one. */
static const qsr_source *keep_source(qsr_problems *p, const qsr_source *source)
{
    if (!source) return NULL;
    for (size_t i = 0; i < p->n_sources; i++) {
        const qsr_source *kept = p->sources[i];
        if (kept->size == source->size && strcmp(kept->name, source->name) == 0 &&
            memcmp(kept->text, source->text, source->size) == 0)
            return kept;
    }
    qsr_source *copy = qsr_arena_alloc(&p->arena, 1, sizeof *copy);
    *copy = (qsr_source){safe_copy(&p->arena, source->name),
                         qsr_arena_strndup(&p->arena, source->text, source->size),
                         source->size,
                         NULL,
                         source->argument,
                         source->rank};
    p->sources = qsr_xrealloc(p->sources, p->n_sources + 1, sizeof *p->sources);
    p->sources[p->n_sources++] = copy;
    return copy;
}

void qsr_problems_add(qsr_problems *p, qsr_mark mark, const char *path, const char *hint, const char *fmt, ...)
{
    if (p->count == QSR_PROBLEMS_MOST) {
        p->dropped++;
        return;
    }
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? p->capacity * 2 : 16;
        p->items = qsr_xrealloc(p->items, p->capacity, sizeof *p->items);
    }
    char text[TEXT_MOST];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    mark.source = keep_source(p, mark.source);
    p->items[p->count++] =
        (qsr_problem){mark, safe_copy(&p->arena, path ? path : ""), safe_copy(&p->arena, text), safe_copy(&p->arena, hint)};
}

/* ---- writing ------------------------------------------------------------------------------------------------------- */

/* Bytes of the line break at s, by libyaml's rules: \r\n, \r, \n, NEL, LS, PS; 0: none. */
static size_t line_break(const char *s, size_t n)
{
    if (s[0] == '\n') return 1;
    if (s[0] == '\r') return n > 1 && s[1] == '\n' ? 2 : 1;
    uint32_t c;
    size_t used = qsr_utf8_at(s, n, &c);
    return used && (c == 0x85 || c == 0x2028 || c == 0x2029) ? used : 0;
}

static void find_line(const qsr_source *source, uint32_t line, const char **ret_line, size_t *ret_length)
{
    size_t at = 0, step;
    for (uint32_t i = 1; i < line && at < source->size; at += step ? step : 1) {
        step = line_break(source->text + at, source->size - at);
        if (step) i++;
    }
    size_t end = at;
    while (end < source->size && !line_break(source->text + end, source->size - end)) end++;
    *ret_line = source->text + at;
    *ret_length = end - at;
}

/* One column for every character whatever it is, so that the caret stands right; the line is cut to a window around it. */
static void put_excerpt(qsr_text *out, const qsr_mark *mark)
{
    const char *line;
    size_t length, indent = 0, from = 0, column = 1;
    find_line(mark->source, mark->line, &line, &length);
    if (length == 0) return;
    while (indent < length && indent + 1 < mark->col && (line[indent] == ' ' || line[indent] == '\t')) indent++;
    if (mark->col > indent + EXCERPT_MOST * 3 / 4) from = mark->col - EXCERPT_MOST / 2;
    size_t first = qsr_max_size(indent, from) + 1, last = first + EXCERPT_MOST;
    qsr_text_add(out, "    %s", from ? "..." : "");
    for (size_t i = 0, used; i < length && column < last; i += used, column++) {
        uint32_t c = 0;
        used = qsr_utf8_at(line + i, length - i, &c);
        bool shows = used && qsr_utf8_shows(c);
        if (!used) used = 1;
        if (column < first) continue;
        if (shows)
            qsr_text_append(out, line + i, used);
        else
            qsr_text_puts(out, c == '\t' ? " " : "?");
    }
    if (column == last) qsr_text_puts(out, "...");
    qsr_text_add(out, "\n    %*s^", (int)(mark->col - first + (from ? 3 : 0)), "");
    for (size_t i = mark->col + 1; i < qsr_min_size(mark->end_col, last); i++) qsr_text_puts(out, "~");
    qsr_text_puts(out, "\n");
}

static void put_problem(qsr_text *out, const qsr_problem *problem)
{
    const qsr_mark *mark = &problem->mark;
    if (mark->source && mark->line && !mark->source->argument) {
        qsr_text_add(out, "%s:%u:%u: ", mark->source->name, (unsigned)mark->line, (unsigned)mark->col);
    } else if (mark->source) {
        qsr_text_add(out, "%s: ", mark->source->name);
    }
    qsr_text_add(out, "%s%s%s\n", problem->path, problem->path[0] ? ": " : "", problem->text);
    if (mark->source && mark->line) put_excerpt(out, mark);
    if (problem->hint) qsr_text_add(out, "    (%s)\n", problem->hint);
}

typedef struct {
    const qsr_problem *problem;
    size_t source, index;
} ranked;

static int by_place(const void *left, const void *right)
{
    const ranked *a = left, *b = right;
    const qsr_mark *m = &a->problem->mark, *n = &b->problem->mark;
    unsigned s = m->source ? m->source->rank : 0, t = n->source ? n->source->rank : 0;
    if (s != t) return s < t ? -1 : 1;
    if (a->source != b->source) return a->source < b->source ? -1 : 1;
    if (m->line != n->line) return m->line - 1u < n->line - 1u ? -1 : 1; /* line 0, nowhere, comes last */
    if (m->col != n->col) return m->col < n->col ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static bool same(const qsr_problem *a, const qsr_problem *b)
{
    return a->mark.source == b->mark.source && a->mark.line == b->mark.line && a->mark.col == b->mark.col &&
           strcmp(a->text, b->text) == 0 && strcmp(a->path, b->path) == 0;
}

void qsr_problems_unique(qsr_problems *p, size_t since, size_t from)
{
    size_t kept = from;
    for (size_t i = from; i < p->count; i++) {
        size_t j = since;
        while (j < kept && !same(&p->items[j], &p->items[i])) j++;
        if (j == kept) p->items[kept++] = p->items[i];
    }
    p->count = kept;
}

void qsr_problems_write(const qsr_problems *p, qsr_text *out)
{
    ranked *order = qsr_xcalloc(p->count, sizeof *order);
    for (size_t i = 0; i < p->count; i++) {
        order[i] = (ranked){&p->items[i], 0, i};
        while (order[i].source < p->n_sources && p->sources[order[i].source] != p->items[i].mark.source) order[i].source++;
    }
    qsort(order, p->count, sizeof *order, by_place);
    for (size_t i = 0; i < p->count; i++)
        if (i == 0 || !same(order[i].problem, order[i - 1].problem)) put_problem(out, order[i].problem);
    if (p->dropped) qsr_text_add(out, "... and %zu more problems\n", p->dropped);
    free(order);
}

void qsr_problems_free(qsr_problems *p)
{
    free(p->items);
    free(p->sources);
    qsr_arena_free(&p->arena);
    *p = (qsr_problems){0};
}

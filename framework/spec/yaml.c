#include "spec/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/sizes.h"
#include "base/text.h"
#include "spec/utf8.h"

typedef struct {
    const char *name;
    qsr_node *node; /* NULL while the node is still being read: an alias there would contain itself */
} anchor;

typedef struct {
    yaml_parser_t parser;
    qsr_arena *arena;
    const qsr_source *source;
    size_t skip;   /* characters on the first line before the text starts */
    size_t length; /* characters of the source */
    bool flow;
    qsr_problems *problems;
    anchor *anchors;
    size_t n_anchors, anchor_capacity;
    size_t nodes;
    bool stopped; /* a problem after which nothing more can be read */
} reader;

static qsr_mark mark_of(const reader *r, const yaml_mark_t *start, const yaml_mark_t *end)
{
    qsr_mark mark = {r->source, (uint32_t)start->line + 1, (uint32_t)start->column + 1, 0};
    if (end->line == start->line) mark.end_col = (uint32_t)end->column + 1;
    if (start->line == 0) {
        mark.col += (uint32_t)r->skip;
        if (mark.end_col) mark.end_col += (uint32_t)r->skip;
    }
    return mark;
}

static qsr_mark event_mark(const reader *r, const yaml_event_t *event)
{
    return mark_of(r, &event->start_mark, &event->end_mark);
}

/* ---- bytes ----------------------------------------------------------------------------------------------------------- */

static bool breaks_line(uint32_t c) { return c == '\n' || c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029; }

/* libyaml names only an offset for these; finding them first gives them a line and a column. */
static bool check_bytes(const qsr_source *source, qsr_problems *problems)
{
    qsr_mark mark = {source, 1, 1, 0};
    for (size_t i = 0, used; i < source->size; i += used) {
        uint32_t c;
        used = qsr_utf8_at(source->text + i, source->size - i, &c);
        if (used == 0) {
            qsr_problems_add(problems, mark, NULL, "specs are UTF-8 text", "byte 0x%02x is not valid UTF-8",
                             (unsigned char)source->text[i]);
            return false;
        }
        bool control = c < 0x20 || (c >= 0x7f && c < 0xa0) || (c & 0xfffe) == 0xfffe;
        if (control && c != '\t' && !breaks_line(c)) {
            qsr_problems_add(problems, mark, NULL, NULL, "control character U+%04X", c);
            return false;
        }
        bool half = c == '\r' && i + 1 < source->size && source->text[i + 1] == '\n';
        mark.col++;
        if (breaks_line(c) && !half) mark.line++, mark.col = 1;
    }
    return true;
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

static size_t characters(const char *text, size_t n)
{
    size_t characters = 0;
    for (size_t i = 0, used; i < n; i += used ? used : 1, characters++) {
        uint32_t c;
        used = qsr_utf8_at(text + i, n - i, &c);
    }
    return characters;
}

/* libyaml says what it missed and where, and what it was reading when. What is left open shows only at the end of the text,
 * where there is nothing to point at, so then the beginning is shown. */
static void report_syntax(reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "out of memory", *hint = NULL;
    const yaml_mark_t *at = &p->problem_mark;
    bool elsewhere = p->context && (p->context_mark.line != at->line || p->context_mark.column != at->column);
    bool at_end = elsewhere && at->index + r->skip >= r->length;
    qsr_text text = {0};
    qsr_text_add(&text, "%s%s%s", problem, p->context ? " " : "", p->context ? p->context : "");
    if (at_end)
        qsr_text_puts(&text, " that starts here");
    else if (elsewhere && !r->source->argument)
        qsr_text_add(&text, " that starts at line %zu", p->context_mark.line + 1);
    if (strstr(problem, "cannot start any token")) hint = "indent with spaces; quote a text that starts with % @ or `";
    if (strstr(problem, "expected key"))
        hint = "keys of one mapping start in the same column, those inside another further right";
    if (strstr(problem, "tab character")) hint = "indent with spaces";
    qsr_mark mark = at_end ? mark_of(r, &p->context_mark, &p->context_mark) : mark_of(r, at, at);
    mark.end_col = 0;
    qsr_problems_add(r->problems, mark, NULL, hint, "%s", text.bytes);
    qsr_text_free(&text);
    r->stopped = true;
}

static bool next(reader *r, yaml_event_t *event)
{
    if (r->stopped) return false;
    if (yaml_parser_parse(&r->parser, event)) return true;
    report_syntax(r);
    return false;
}

static void stop(reader *r, qsr_mark mark, const char *path, const char *text)
{
    if (!r->stopped) qsr_problems_add(r->problems, mark, path, NULL, "%s", text);
    r->stopped = true;
}

/* Counts a node; false when there are too many. */
static bool count(reader *r, qsr_mark mark, const char *path)
{
    if (++r->nodes <= QSR_YAML_NODES) return true;
    char text[80];
    snprintf(text, sizeof text, "more than %d values, aliases included", QSR_YAML_NODES);
    stop(r, mark, path, text);
    return false;
}

/* ---- aliases --------------------------------------------------------------------------------------------------------- */

static size_t open_anchor(reader *r, const yaml_char_t *name)
{
    if (!name) return SIZE_MAX;
    if (r->n_anchors == r->anchor_capacity) {
        r->anchor_capacity = r->anchor_capacity ? r->anchor_capacity * 2 : 8;
        r->anchors = qsr_xrealloc(r->anchors, r->anchor_capacity, sizeof *r->anchors);
    }
    r->anchors[r->n_anchors] = (anchor){qsr_arena_strdup(r->arena, (const char *)name), NULL};
    return r->n_anchors++;
}

/* Every alias becomes a copy, so that a later override of one place leaves the others alone. */
static qsr_node *copy(reader *r, const qsr_node *node, qsr_mark mark, const char *path, unsigned depth)
{
    if (depth > QSR_YAML_DEPTH) {
        stop(r, mark, path, "nested deeper than 32 levels through aliases");
        return NULL;
    }
    if (!count(r, mark, path)) return NULL;
    qsr_node *made = qsr_node_make(r->arena, node->kind, node->mark);
    made->text = node->text;
    made->quoted = node->quoted;
    for (size_t i = 0; i < node->count; i++) {
        bool map = node->kind == QSR_MAP;
        qsr_node *child = copy(r, map ? node->entries[i].value : node->items[i], mark, path, depth + 1);
        if (!child) return NULL;
        if (map)
            qsr_node_put(r->arena, made, node->entries[i].key, node->entries[i].mark, child);
        else
            qsr_node_append(r->arena, made, child);
    }
    return made;
}

static qsr_node *expand(reader *r, const char *name, qsr_mark mark, const char *path, unsigned depth)
{
    for (size_t i = r->n_anchors; i-- > 0;) {
        if (strcmp(r->anchors[i].name, name) != 0) continue;
        if (r->anchors[i].node) return copy(r, r->anchors[i].node, mark, path, depth);
        stop(r, mark, path, "an alias stands inside the value it names");
        return NULL;
    }
    if (!r->stopped)
        qsr_problems_add(r->problems, mark, path, NULL, "alias %s has no anchor before it", qsr_quoted(r->arena, name));
    r->stopped = true;
    return NULL;
}

/* ---- nodes ----------------------------------------------------------------------------------------------------------- */

static qsr_node *build(reader *, yaml_event_t *event, const char *path, unsigned depth);

static void refuse_tag(reader *r, const yaml_event_t *event, const yaml_char_t *tag, const char *path)
{
    static const char standard[] = "tag:yaml.org,2002:";
    if (!tag) return;
    const char *text = (const char *)tag;
    if (qsr_starts_with(text, standard)) text = qsr_arena_printf(r->arena, "!!%s", text + strlen(standard));
    qsr_problems_add(r->problems, event_mark(r, event), path, "types come from the option tables",
                     "tags such as %s are not supported", qsr_quoted(r->arena, text));
}

static qsr_node *build_scalar(reader *r, const yaml_event_t *event, const char *path)
{
    size_t n = event->data.scalar.length;
    const char *text = (const char *)event->data.scalar.value;
    refuse_tag(r, event, event->data.scalar.tag, path);
    if (memchr(text, 0, n)) {
        qsr_problems_add(r->problems, event_mark(r, event), path, NULL, "a text must not contain NUL");
        n = strlen(text);
    }
    qsr_node *node = qsr_node_make(r->arena, QSR_SCALAR, event_mark(r, event));
    node->text = qsr_arena_strndup(r->arena, text, n);
    node->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return node;
}

static qsr_node *build_list(reader *r, const yaml_event_t *start, const char *path, unsigned depth)
{
    qsr_node *list = qsr_node_make(r->arena, QSR_LIST, event_mark(r, start));
    refuse_tag(r, start, start->data.sequence_start.tag, path);
    for (;;) {
        yaml_event_t event;
        if (!next(r, &event)) return NULL;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (end && event.end_mark.line == start->start_mark.line)
            list->mark = mark_of(r, &start->start_mark, &event.end_mark);
        if (end) yaml_event_delete(&event);
        if (end) return list;
        qsr_node *item = build(r, &event, path, depth + 1);
        if (!item) return NULL;
        qsr_node_append(r->arena, list, item);
    }
}

/* What is wrong with a key, or NULL. */
static const char *key_fault(const qsr_node *key, const char **ret_hint)
{
    *ret_hint = NULL;
    if (key->kind != QSR_SCALAR) return "a key must be a word";
    if (key->text[0] == 0) return "a key must not be empty";
    if (strlen(key->text) > QSR_YAML_KEY) return "a key is at most 128 bytes long";
    if (strcmp(key->text, "<<") != 0) return NULL;
    *ret_hint = "to build on another file write 'extends: other.yaml'";
    return "merge keys '<<' are not supported";
}

static void add_entry(reader *r, qsr_node *map, const qsr_node *key, qsr_node *value, const char *path, const char *child)
{
    const char *hint, *fault = key_fault(key, &hint);
    const qsr_entry *first = fault ? NULL : qsr_node_find(map, key->text);
    if (fault) {
        qsr_problems_add(r->problems, key->mark, path, hint, "%s", fault);
    } else if (first) {
        qsr_problems_add(r->problems, key->mark, child, NULL, "duplicate key, first written at line %u, column %u",
                         (unsigned)first->mark.line, (unsigned)first->mark.col);
    } else {
        qsr_node_put(r->arena, map, key->text, key->mark, value);
    }
}

/* Reads one key and its value; false at the mapping's end (*ret_end) or when reading stopped. */
static bool build_entry(reader *r, qsr_node *map, const char *path, unsigned depth, yaml_mark_t *ret_end)
{
    yaml_event_t event;
    if (!next(r, &event)) return false;
    if (event.type == YAML_MAPPING_END_EVENT) {
        *ret_end = event.end_mark;
        yaml_event_delete(&event);
        return false;
    }
    qsr_node *key = build(r, &event, path, depth + 1);
    if (!key || !next(r, &event)) return false;
    const char *child = path;
    if (key->kind == QSR_SCALAR && strlen(key->text) <= QSR_YAML_KEY) child = qsr_path_child(r->arena, path, key->text);
    qsr_node *value = build(r, &event, child, depth + 1);
    if (!value) return false;
    add_entry(r, map, key, value, path, child);
    return true;
}

static qsr_node *build_map(reader *r, const yaml_event_t *start, const char *path, unsigned depth)
{
    qsr_node *map = qsr_node_make(r->arena, QSR_MAP, event_mark(r, start));
    refuse_tag(r, start, start->data.mapping_start.tag, path);
    yaml_mark_t end = {0, 0, 0};
    while (build_entry(r, map, path, depth, &end)) continue;
    if (end.line == start->start_mark.line && end.column > start->start_mark.column)
        map->mark = mark_of(r, &start->start_mark, &end);
    return r->stopped ? NULL : map;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
    if (event->type == YAML_SCALAR_EVENT) return event->data.scalar.anchor;
    if (event->type == YAML_SEQUENCE_START_EVENT) return event->data.sequence_start.anchor;
    return event->type == YAML_MAPPING_START_EVENT ? event->data.mapping_start.anchor : NULL;
}

static bool is_block(const yaml_event_t *event)
{
    if (event->type == YAML_SEQUENCE_START_EVENT) return event->data.sequence_start.style == YAML_BLOCK_SEQUENCE_STYLE;
    return event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.style == YAML_BLOCK_MAPPING_STYLE;
}

/* The value that starts with `event`, which is used up. NULL when reading stopped. */
static qsr_node *build(reader *r, yaml_event_t *event, const char *path, unsigned depth)
{
    qsr_mark mark = event_mark(r, event);
    qsr_node *node = NULL;
    if (event->type == YAML_ALIAS_EVENT) {
        node = expand(r, (const char *)event->data.alias.anchor, mark, path, depth);
    } else if (depth > QSR_YAML_DEPTH) {
        stop(r, mark, path, "nested deeper than 32 levels");
    } else if (r->flow && is_block(event)) {
        stop(r, mark, path, "a value here is written in one line: 5, [a, b] or {key: value}");
    } else if (count(r, mark, path)) {
        size_t index = open_anchor(r, anchor_of(event));
        if (event->type == YAML_SCALAR_EVENT) node = build_scalar(r, event, path);
        if (event->type == YAML_SEQUENCE_START_EVENT) node = build_list(r, event, path, depth);
        if (event->type == YAML_MAPPING_START_EVENT) node = build_map(r, event, path, depth);
        if (index != SIZE_MAX) r->anchors[index].node = node;
    }
    yaml_event_delete(event);
    return node;
}

/* ---- documents ------------------------------------------------------------------------------------------------------- */

static bool next_is(reader *r, yaml_event_type_t type, yaml_event_t *event)
{
    if (!next(r, event)) return false;
    if (event->type == type) return true;
    yaml_event_delete(event);
    return false;
}

static qsr_node *build_document(reader *r)
{
    yaml_event_t event;
    if (!next_is(r, YAML_STREAM_START_EVENT, &event)) return NULL;
    yaml_event_delete(&event);
    if (!next_is(r, YAML_DOCUMENT_START_EVENT, &event)) {
        if (!r->stopped)
            qsr_problems_add(r->problems, (qsr_mark){r->source, 0, 0, 0}, NULL, NULL, "there is nothing in it");
        return NULL;
    }
    yaml_event_delete(&event);
    if (!next(r, &event)) return NULL;
    qsr_node *root = build(r, &event, "", 1);
    if (!root || !next_is(r, YAML_DOCUMENT_END_EVENT, &event)) return NULL;
    yaml_event_delete(&event);
    if (!next(r, &event)) return NULL;
    if (event.type != YAML_STREAM_END_EVENT)
        stop(r, event_mark(r, &event), NULL, "a second document starts here: one spec is one document");
    yaml_event_delete(&event);
    return r->stopped ? NULL : root;
}

qsr_node *qsr_yaml_parse(qsr_arena *arena, const qsr_source *source, size_t offset, bool flow, qsr_problems *problems)
{
    if (source->size > QSR_YAML_BYTES) {
        char size[32];
        qsr_problems_add(problems, (qsr_mark){source, 0, 0, 0}, NULL, NULL, "too large for a spec: %s, the limit is 1 MiB",
                         qsr_size_text(source->size, size, sizeof size));
        return NULL;
    }
    if (!check_bytes(source, problems)) return NULL;
    reader r = {.arena = arena, .source = source, .flow = flow, .problems = problems};
    r.skip = characters(source->text, offset);
    r.length = characters(source->text, source->size);
    if (!yaml_parser_initialize(&r.parser)) {
        qsr_problems_add(problems, (qsr_mark){source, 0, 0, 0}, NULL, NULL, "out of memory");
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)source->text + offset, source->size - offset);
    qsr_node *root = build_document(&r);
    yaml_parser_delete(&r.parser);
    free(r.anchors);
    return root;
}

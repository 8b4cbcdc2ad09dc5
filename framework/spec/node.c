#include "spec/node.h"

#include <stdlib.h>
#include <string.h>

qsr_node *qsr_node_make(qsr_arena *arena, qsr_node_kind kind, qsr_mark mark)
{
    qsr_node *node = qsr_arena_alloc(arena, 1, sizeof *node);
    node->kind = kind;
    node->mark = mark;
    return node;
}

/* Room for one more entry or item; the old array stays in the arena until it dies. */
static void *grow(qsr_arena *arena, qsr_node *node, void *old, size_t size)
{
    if (node->count < node->capacity) return old;
    node->capacity = node->capacity ? node->capacity * 2 : 4;
    void *bigger = qsr_arena_alloc(arena, node->capacity, size);
    if (node->count) memcpy(bigger, old, node->count * size);
    return bigger;
}

void qsr_node_append(qsr_arena *arena, qsr_node *list, qsr_node *item)
{
    list->items = grow(arena, list, list->items, sizeof *list->items);
    list->items[list->count++] = item;
}

qsr_entry *qsr_node_find(const qsr_node *map, const char *key)
{
    if (!map || map->kind != QSR_MAP) return NULL;
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].key, key) == 0) return &map->entries[i];
    return NULL;
}

bool qsr_node_is_word(const qsr_node *node, const char *word)
{
    return node->kind == QSR_SCALAR && !node->quoted && strcmp(node->text, word) == 0;
}

bool qsr_node_is_null(const qsr_node *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (qsr_node_is_word(node, words[i])) return true;
    return false;
}

bool qsr_node_is_switch(const qsr_node *node) { return qsr_node_is_word(node, "on") || qsr_node_is_word(node, "off"); }

static void replace(qsr_entry *entry, qsr_mark key_mark, qsr_node *value)
{
    qsr_node *old = entry->value;
    entry->mark = key_mark;
    if (old->kind == QSR_MAP && qsr_node_is_switch(value)) {
        old->toggle = value;
        return;
    }
    value->before = old;
    entry->value = value;
}

void qsr_node_put(qsr_arena *arena, qsr_node *map, const char *key, qsr_mark key_mark, qsr_node *value)
{
    qsr_entry *entry = qsr_node_find(map, key);
    if (entry) {
        replace(entry, key_mark, value);
        return;
    }
    map->entries = grow(arena, map, map->entries, sizeof *map->entries);
    map->entries[map->count++] = (qsr_entry){key, key_mark, value};
}

void qsr_node_remove(qsr_node *map, const char *key)
{
    qsr_entry *entry = qsr_node_find(map, key);
    if (!entry) return;
    size_t after = map->count - (size_t)(entry - map->entries) - 1;
    memmove(entry, entry + 1, after * sizeof *entry);
    map->count--;
}

const qsr_node *qsr_node_plain(const qsr_node *node) { return node->toggle ? node->toggle : node; }

const char *qsr_node_says(qsr_arena *arena, const qsr_node *node)
{
    if (node->kind == QSR_MAP) return "a mapping";
    if (node->kind == QSR_LIST) return "a list";
    return qsr_node_is_null(node) ? "no value" : qsr_quoted(arena, node->text);
}

void qsr_node_write(const qsr_node *node, qsr_text *out)
{
    node = qsr_node_plain(node);
    if (node->kind == QSR_SCALAR) {
        bool word = !node->quoted && (qsr_node_is_switch(node) || qsr_node_is_null(node));
        if (word)
            qsr_text_puts(out, node->text[0] ? node->text : "~");
        else
            qsr_scalar_write(node->text, out);
        return;
    }
    bool map = node->kind == QSR_MAP;
    qsr_text_puts(out, map ? "{" : "[");
    for (size_t i = 0; i < node->count; i++) {
        if (i) qsr_text_puts(out, ", ");
        if (map) {
            qsr_scalar_write(node->entries[i].key, out);
            qsr_text_puts(out, ": ");
        }
        qsr_node_write(map ? node->entries[i].value : node->items[i], out);
    }
    qsr_text_puts(out, map ? "}" : "]");
}

qsr_node *qsr_node_clone(qsr_arena *arena, const qsr_node *node)
{
    qsr_node *copy = qsr_arena_alloc(arena, 1, sizeof *copy);
    *copy = *node;
    copy->capacity = node->count;
    copy->entries =
        node->count && node->kind == QSR_MAP ? qsr_arena_alloc(arena, node->count, sizeof *copy->entries) : NULL;
    copy->items = node->count && node->kind == QSR_LIST ? qsr_arena_alloc(arena, node->count, sizeof(qsr_node *)) : NULL;
    for (size_t i = 0; i < node->count && node->kind == QSR_MAP; i++) {
        copy->entries[i] = node->entries[i];
        copy->entries[i].value = qsr_node_clone(arena, node->entries[i].value);
    }
    for (size_t i = 0; i < node->count && node->kind == QSR_LIST; i++)
        copy->items[i] = qsr_node_clone(arena, node->items[i]);
    return copy;
}

void qsr_node_merge(qsr_arena *arena, qsr_node *base, qsr_node *over)
{
    base->toggle = over->toggle;
    base->mark = over->mark;
    for (size_t i = 0; i < over->count; i++) {
        qsr_entry *entry = &over->entries[i], *old = qsr_node_find(base, entry->key);
        if (old && old->value->kind == QSR_MAP && entry->value->kind == QSR_MAP) {
            old->mark = entry->mark;
            qsr_node_merge(arena, old->value, entry->value);
        } else {
            qsr_node_put(arena, base, entry->key, entry->mark, entry->value);
        }
    }
}

/* ---- dotted paths ------------------------------------------------------------------------------------------------ */

const char *qsr_path_child(qsr_arena *arena, const char *path, const char *key)
{
    return path[0] ? qsr_arena_printf(arena, "%s.%s", path, key) : qsr_arena_strdup(arena, key);
}

/* The map below `map` at `key`, made when nothing (or only a switch or null) stands there; NULL with *ret_obstacle, which may be
 * NULL: then anything gives way. */
static qsr_node *step_into(qsr_arena *arena, qsr_node *map, const char *key, qsr_mark key_mark,
                           const qsr_node **ret_obstacle)
{
    qsr_entry *entry = qsr_node_find(map, key);
    if (entry && entry->value->kind == QSR_MAP) {
        entry->value->toggle = NULL;
        return entry->value;
    }
    if (entry && ret_obstacle && !qsr_node_is_switch(entry->value) && !qsr_node_is_null(entry->value)) {
        *ret_obstacle = entry->value;
        return NULL;
    }
    qsr_node *made = qsr_node_make(arena, QSR_MAP, key_mark);
    qsr_node_put(arena, map, key, key_mark, made);
    return made;
}

const qsr_node *qsr_node_set(qsr_arena *arena, qsr_node *root, const char *path, qsr_mark key_mark, qsr_node *value)
{
    qsr_node *map = root;
    const qsr_node *obstacle = NULL;
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        map = step_into(arena, map, qsr_arena_strndup(arena, path, (size_t)(dot - path)), key_mark, &obstacle);
        if (!map) return obstacle;
    }
    qsr_node_put(arena, map, qsr_arena_strdup(arena, path), key_mark, value);
    return NULL;
}

void qsr_node_force(qsr_arena *arena, qsr_node *root, const char *path, qsr_mark key_mark, qsr_node *value)
{
    qsr_node *map = root;
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1)
        map = step_into(arena, map, qsr_arena_strndup(arena, path, (size_t)(dot - path)), key_mark, NULL);
    qsr_node_put(arena, map, qsr_arena_strdup(arena, path), key_mark, value);
}

const qsr_entry *qsr_node_at(const qsr_node *root, const char *path)
{
    qsr_arena arena = {0};
    const qsr_node *map = root;
    const qsr_entry *entry = NULL;
    for (const char *end; map; path = end + 1) {
        end = path + strcspn(path, ".");
        entry = qsr_node_find(map, qsr_arena_strndup(&arena, path, (size_t)(end - path)));
        if (!entry || !*end) break;
        map = entry->value;
    }
    qsr_arena_free(&arena);
    return map ? entry : NULL;
}

/* ---- unfolding ----------------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_arena *arena;
    qsr_problems *problems;
} unfolder;

static void unfold_map(unfolder *, qsr_node *map, const char *path);

static void report_duplicate(unfolder *u, const char *path, const qsr_entry *first, qsr_mark second)
{
    qsr_problems_add(u->problems, second, path, NULL, "duplicate key, first written at line %u, column %u",
                     (unsigned)first->mark.line, (unsigned)first->mark.col);
}

/* Adds `value` at key, or below it when both it and what is there already are maps of which one came from a dotted key. */
static void add_or_join(unfolder *u, qsr_node *map, const char *path, const char *key, qsr_mark mark, qsr_node *value)
{
    qsr_entry *old = qsr_node_find(map, key);
    if (!old) {
        qsr_node_put(u->arena, map, key, mark, value);
        return;
    }
    if (old->value->kind != QSR_MAP || value->kind != QSR_MAP) {
        report_duplicate(u, path, old, mark);
        return;
    }
    for (size_t i = 0; i < value->count; i++) {
        qsr_entry *entry = &value->entries[i];
        add_or_join(u, old->value, qsr_path_child(u->arena, path, entry->key), entry->key, entry->mark, entry->value);
    }
}

static bool well_formed(const char *key)
{
    size_t n = strlen(key);
    return key[0] != '.' && key[n - 1] != '.' && !strstr(key, "..");
}

/* "a.b.c": value as {b: {c: value}}, to be added under "a". */
static qsr_node *nest(unfolder *u, const char *rest, const qsr_entry *entry)
{
    qsr_node *map = qsr_node_make(u->arena, QSR_MAP, entry->mark);
    const char *dot = strchr(rest, '.');
    if (dot) {
        qsr_node_put(u->arena, map, qsr_arena_strndup(u->arena, rest, (size_t)(dot - rest)), entry->mark,
                     nest(u, dot + 1, entry));
    } else {
        qsr_node_put(u->arena, map, rest, entry->mark, entry->value);
    }
    return map;
}

static void unfold_entry(unfolder *u, qsr_node *map, const qsr_entry *entry, const char *path)
{
    const char *dot = strchr(entry->key, '.'), *child = qsr_path_child(u->arena, path, entry->key);
    if (entry->value->kind == QSR_MAP && !(path[0] == 0 && strcmp(entry->key, "grid") == 0))
        unfold_map(u, entry->value, child);
    if (!dot) {
        add_or_join(u, map, child, entry->key, entry->mark, entry->value);
    } else if (!well_formed(entry->key)) {
        qsr_problems_add(u->problems, entry->mark, child, NULL, "a dot in a key stands between two names");
    } else {
        const char *first = qsr_arena_strndup(u->arena, entry->key, (size_t)(dot - entry->key));
        add_or_join(u, map, qsr_path_child(u->arena, path, first), first, entry->mark, nest(u, dot + 1, entry));
    }
}

static void unfold_map(unfolder *u, qsr_node *map, const char *path)
{
    qsr_node old = *map;
    map->entries = NULL;
    map->count = map->capacity = 0;
    for (size_t i = 0; i < old.count; i++) unfold_entry(u, map, &old.entries[i], path);
}

void qsr_node_unfold(qsr_arena *arena, qsr_node *root, qsr_problems *problems)
{
    unfolder u = {arena, problems};
    if (root->kind == QSR_MAP) unfold_map(&u, root, "");
}

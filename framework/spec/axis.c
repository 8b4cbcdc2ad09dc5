#include "spec/axis.h"

#include <string.h>

bool qsr_path_is_below(const char *path, const char *above)
{
    size_t n = strlen(above);
    return strncmp(path, above, n) == 0 && path[n] == '.';
}

bool qsr_axis_read(qsr_arena *arena, const char *key, qsr_mark key_mark, qsr_node *value, qsr_axis *ret,
                   qsr_problems *problems)
{
    bool list = value->kind == QSR_LIST;
    size_t n = list ? value->count : 1;
    const qsr_node **values = qsr_arena_alloc(arena, n, sizeof *values);
    for (size_t i = 0; i < n; i++) {
        qsr_node *item = list ? value->items[i] : value;
        if (list) qsr_node_unfold(arena, item, problems);
        values[i] = qsr_node_plain(item);
    }
    *ret = (qsr_axis){key, key_mark, values, n};
    if (n == 0)
        qsr_problems_add(problems, value->mark, key, NULL,
                         "the list is empty: an axis without a value makes no experiment");
    return n > 0;
}

bool qsr_axis_switches(const qsr_axis *axis)
{
    for (size_t i = 0; i < axis->n; i++)
        if (!qsr_node_is_switch(axis->values[i])) return false;
    return true;
}

const qsr_axis *qsr_axes_find(const qsr_axes *axes, const char *key)
{
    for (size_t i = 0; i < axes->n; i++)
        if (strcmp(axes->items[i].key, key) == 0) return &axes->items[i];
    return NULL;
}

void qsr_axes_put(qsr_arena *arena, qsr_axes *axes, const qsr_axis *axis)
{
    for (size_t i = 0; i < axes->n; i++) {
        if (strcmp(axes->items[i].key, axis->key) != 0) continue;
        axes->items[i] = *axis;
        return;
    }
    if (axes->n == axes->capacity) {
        axes->capacity = axes->capacity ? axes->capacity * 2 : 8;
        qsr_axis *bigger = qsr_arena_alloc(arena, axes->capacity, sizeof *bigger);
        if (axes->n) memcpy(bigger, axes->items, axes->n * sizeof *bigger);
        axes->items = bigger;
    }
    axes->items[axes->n++] = *axis;
}

void qsr_axes_give_way(qsr_axes *axes, const qsr_axis *to)
{
    bool keeps_below = qsr_axis_switches(to) && (to->n > 1 || qsr_node_is_word(to->values[0], "on"));
    size_t kept = 0;
    for (size_t i = 0; i < axes->n; i++) {
        const char *key = axes->items[i].key;
        bool gone = strcmp(key, to->key) == 0 || (!keeps_below && qsr_path_is_below(key, to->key));
        if (!gone) axes->items[kept++] = axes->items[i];
    }
    axes->n = kept;
}

/* ---- blocks ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_arena *arena;
    qsr_axes *axes;
    qsr_problems *problems;
} block_reader;

/* What is wrong with a key of a block; NULL: nothing. */
static const char *key_fault(const char *key)
{
    size_t n = strlen(key);
    if (strcmp(key, "grid") == 0 || strcmp(key, "seeds") == 0) return "stands beside the grid, not inside a block";
    if (strcmp(key, "name") == 0) return "names the folder of the whole grid: it stands outside of blocks";
    if (strcmp(key, "extends") == 0) return "stands at the top of a file and nowhere else";
    return key[0] == '.' || key[n - 1] == '.' || strstr(key, "..") ? "a dot in a key stands between two names" : NULL;
}

static void read_axis(block_reader *r, const char *key, const qsr_entry *entry)
{
    const char *fault = key_fault(key);
    const qsr_axis *first = qsr_axes_find(r->axes, key);
    qsr_axis axis;
    if (fault)
        qsr_problems_add(r->problems, entry->mark, key, NULL, "%s", fault);
    else if (first)
        qsr_problems_add(r->problems, entry->mark, key, NULL, "duplicate key, first written at line %u, column %u",
                         (unsigned)first->mark.line, (unsigned)first->mark.col);
    else if (r->axes->n == QSR_GRID_KEYS)
        qsr_problems_add(r->problems, entry->mark, key, NULL, "more than %d keys in one block", QSR_GRID_KEYS);
    else if (qsr_axis_read(r->arena, key, entry->mark, entry->value, &axis, r->problems))
        qsr_axes_put(r->arena, r->axes, &axis);
}

static void read_map(block_reader *r, const qsr_node *map, const char *prefix)
{
    for (size_t i = 0; i < map->count; i++) {
        const qsr_entry *entry = &map->entries[i];
        const char *key = qsr_path_child(r->arena, prefix, entry->key);
        bool nested = entry->value->kind == QSR_MAP && !entry->value->toggle && entry->value->count;
        if (nested && !key_fault(key))
            read_map(r, entry->value, key);
        else
            read_axis(r, key, entry);
    }
}

void qsr_axes_read(qsr_arena *arena, const qsr_node *block, qsr_axes *ret, qsr_problems *problems)
{
    block_reader r = {arena, ret, problems};
    read_map(&r, block, "");
}

#include "spec/substitute.h"

#include <string.h>

typedef struct {
    const qsr_substitution *s;
    const size_t *choice;
    qsr_arena *arena;
    qsr_node *root;
} cell;

static const qsr_node *value_of(const cell *c, size_t axis) { return c->s->axes->items[axis].values[c->choice[axis]]; }

/* ---- options that a new plugin lacks --------------------------------------------------------------------------------- */

typedef struct {
    qsr_option_table old, new;
    const qsr_plugin *from, *to;
} plugin_switch;

static bool is_argument(const qsr_node *node) { return node->mark.source && node->mark.source->argument; }

/* Removes options of the old plugin that the new one lacks, but none that the command line wrote: those must exist. */
static void drop_from(cell *c, const plugin_switch *p, qsr_node *map, const char *path, const char *prefix)
{
    for (size_t i = 0; i < map->count;) {
        qsr_node *value = map->entries[i].value;
        const char *key = map->entries[i].key, *name = qsr_path_child(c->arena, prefix, key);
        bool known = qsr_option_find(&p->old, name, NULL) && !qsr_option_find(&p->new, name, NULL);
        bool gone = known && !is_argument(qsr_node_plain(value));
        if (gone) {
            c->s->dropped(c->s->ctx, qsr_path_child(c->arena, path, name), qsr_node_plain(value), p->from->name,
                          p->to->name);
        } else if (!known && value->kind == QSR_MAP && !value->toggle && value->count) {
            drop_from(c, p, value, path, name);
            gone = value->count == 0;
        }
        if (gone)
            qsr_node_remove(map, key);
        else
            i++;
    }
}

/* The kind of plugin whose options stand at `path`; 0: none. */
static uint32_t kind_at(const char *path)
{
    if (strcmp(path, "activation") == 0) return QSR_ACTIVATION;
    if (strcmp(path, "dataset") == 0) return QSR_DATASET;
    return qsr_path_is_below(path, "losses") && !strchr(path + strlen("losses."), '.') ? QSR_LOSS : 0;
}

static const qsr_plugin *find(const cell *c, uint32_t kind, const char *name)
{
    const char *near = NULL;
    qsr_error e = {0};
    return c->s->env->find(c->s->env->ctx, kind, name, &near, &e);
}

/* Whether an axis of the block, other than by switching a loss on, replaces the whole of `path` anyway. */
static bool is_replaced(const cell *c, const char *path)
{
    for (size_t i = 0; i < c->s->axes->n; i++) {
        const char *key = c->s->axes->items[i].key;
        bool around = strcmp(key, path) == 0 || qsr_path_is_below(path, key);
        if (around && !qsr_node_is_word(value_of(c, i), "on")) return true;
    }
    return false;
}

/* `path`: a block such as "activation" or "losses.afa2" whose plugin becomes the one called `name`. */
static void switch_plugin(cell *c, const char *path, const qsr_node *name)
{
    uint32_t kind = kind_at(path);
    const qsr_entry *entry = qsr_node_at(c->root, path);
    if (!kind || name->kind != QSR_SCALAR || !entry || entry->value->kind != QSR_MAP || is_replaced(c, path)) return;
    const qsr_entry *written = qsr_node_find(entry->value, "plugin");
    const qsr_node *word = written ? qsr_node_plain(written->value) : NULL;
    const char *old = kind == QSR_LOSS ? entry->key : NULL;
    if (word && word->kind == QSR_SCALAR) old = word->text;
    const qsr_plugin *from = old ? find(c, kind, old) : NULL, *to = find(c, kind, name->text);
    if (!from || !to || from == to) return;
    plugin_switch p = {qsr_plugin_options(from), qsr_plugin_options(to), from, to};
    drop_from(c, &p, entry->value, path, "");
}

static void drop_options(cell *c)
{
    for (size_t i = 0; i < c->s->axes->n; i++) {
        const char *key = c->s->axes->items[i].key, *dot = strrchr(key, '.');
        if (dot && strcmp(dot, ".plugin") == 0)
            switch_plugin(c, qsr_arena_strndup(c->arena, key, (size_t)(dot - key)), value_of(c, i));
    }
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

/* An empty mapping adds nothing to one that is there, except that a loss is on. */
static void put(cell *c, const qsr_axis *axis, const qsr_node *value)
{
    const qsr_entry *entry = value->kind == QSR_MAP && value->count == 0 ? qsr_node_at(c->root, axis->key) : NULL;
    if (entry && entry->value->kind == QSR_MAP) {
        entry->value->toggle = NULL;
        return;
    }
    qsr_node *copy = qsr_node_clone(c->arena, value);
    copy->swept = true;
    qsr_node_force(c->arena, c->root, axis->key, axis->mark, copy);
}

static bool has_below(const qsr_axes *axes, const char *key)
{
    for (size_t i = 0; i < axes->n; i++)
        if (qsr_path_is_below(axes->items[i].key, key)) return true;
    return false;
}

static size_t depth(const char *key)
{
    size_t dots = 0;
    for (; *key; key++) dots += *key == '.';
    return dots;
}

/* Whole mappings first, outer before inner, so that axes below them put their values into them. */
static void put_outer(cell *c)
{
    const qsr_axes *axes = c->s->axes;
    for (size_t level = 0, deeper = 1; deeper; level++) {
        deeper = 0;
        for (size_t i = 0; i < axes->n; i++) {
            const qsr_axis *axis = &axes->items[i];
            if (!has_below(axes, axis->key) || qsr_node_is_switch(value_of(c, i))) continue;
            if (depth(axis->key) == level) put(c, axis, value_of(c, i));
            deeper += depth(axis->key) > level;
        }
    }
}

/* The command line's word once more, where a mapping of an axis has just replaced it. */
static void put_fixed(cell *c)
{
    for (size_t i = 0; i < c->s->fixed->n; i++) {
        const qsr_axis *fixed = &c->s->fixed->items[i];
        bool replaced = false;
        for (size_t j = 0; j < c->s->axes->n; j++)
            replaced |= qsr_path_is_below(fixed->key, c->s->axes->items[j].key) && !qsr_node_is_switch(value_of(c, j));
        if (replaced)
            qsr_node_force(c->arena, c->root, fixed->key, fixed->mark, qsr_node_clone(c->arena, fixed->values[0]));
    }
}

qsr_node *qsr_substitute(qsr_arena *arena, const qsr_substitution *s, const size_t *choice)
{
    cell c = {s, choice, arena, qsr_node_clone(arena, s->base)};
    drop_options(&c);
    put_outer(&c);
    for (size_t i = 0; i < s->axes->n; i++)
        if (!has_below(s->axes, s->axes->items[i].key)) put(&c, &s->axes->items[i], value_of(&c, i));
    put_fixed(&c);
    /* Switches of a loss come last: setting one of its options has switched it on. */
    for (size_t i = 0; i < s->axes->n; i++)
        if (has_below(s->axes, s->axes->items[i].key) && qsr_node_is_switch(value_of(&c, i)))
            put(&c, &s->axes->items[i], value_of(&c, i));
    return c.root;
}

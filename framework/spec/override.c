/* spec/override: "key=value" arguments laid on a tree. The value is YAML in one line, so it is typed, positioned and refused just
 * like a value in a file. A list, or a plain text with commas, is an axis of a grid. */
#include <string.h>

#include "spec/load.h"
#include "spec/utf8.h"
#include "spec/yaml.h"

static bool refuse_key(const qsr_source *source, const char *key, qsr_mark mark, qsr_problems *problems)
{
    size_t n = strlen(key);
    if (strcmp(key, "extends") == 0) {
        qsr_problems_add(problems, mark, key, NULL,
                         "extends belongs in a file: on the command line it would say what was meant to be "
                         "laid over what");
    } else if (n == 0 || key[0] == '.' || key[n - 1] == '.' || strstr(key, "..") || strcspn(key, " \t{}[],:\"'#") != n ||
               n > QSR_YAML_KEY) {
        qsr_arena arena = {0};
        qsr_problems_add(problems, (qsr_mark){source, 0, 0, 0}, NULL, "such as train.tokens=400_000",
                         "%s: expected key=value", qsr_quoted(&arena, source->text));
        qsr_arena_free(&arena);
    } else {
        return false;
    }
    return true;
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static size_t count_characters(const char *text, size_t n)
{
    size_t count = 0;
    for (size_t i = 0, used; i < n; i += used ? used : 1, count++) {
        uint32_t c;
        used = qsr_utf8_at(text + i, n - i, &c);
    }
    return count;
}

/* The piece of a plain scalar from..to without the blanks around it. */
static qsr_node *cut_piece(qsr_arena *arena, const qsr_node *all, size_t from, size_t to)
{
    while (from < to && strchr(" \t", all->text[from])) from++;
    while (to > from && strchr(" \t", all->text[to - 1])) to--;
    qsr_node *piece = qsr_node_make(arena, QSR_SCALAR, all->mark);
    piece->text = qsr_arena_strndup(arena, all->text + from, to - from);
    if (all->mark.end_col) { /* on one line, so that characters can be counted */
        piece->mark.col += (uint32_t)count_characters(all->text, from);
        piece->mark.end_col = piece->mark.col + (uint32_t)count_characters(piece->text, to - from);
    }
    return piece;
}

/* "8,16,32" as the list [8, 16, 32]. */
static qsr_node *split(qsr_arena *arena, const char *key, const qsr_node *all, qsr_problems *problems)
{
    qsr_node *list = qsr_node_make(arena, QSR_LIST, all->mark);
    for (size_t from = 0, to;; from = to + 1) {
        to = from + strcspn(all->text + from, ",");
        qsr_node *piece = cut_piece(arena, all, from, to);
        qsr_node_append(arena, list, piece);
        if (!piece->text[0])
            qsr_problems_add(problems, all->mark, key, "a text with commas needs quotes",
                             "nothing stands before or after a comma");
        if (!piece->text[0] || !all->text[to]) return list;
    }
}

/* Reads the value behind '='; NULL when it was refused. *ret_axis: it is the list of an axis; a list of one is its item. */
static qsr_node *read_value(qsr_arena *arena, const qsr_source *source, size_t offset, const char *key,
                            qsr_problems *problems, bool *ret_axis)
{
    size_t before = problems->count + problems->dropped;
    qsr_mark all = {source, 1, 1, 0};
    if (strspn(source->text + offset, " \t") == source->size - offset) {
        qsr_problems_add(problems, all, key, NULL, "has no value");
        return NULL;
    }
    qsr_node *value = qsr_yaml_parse(arena, source, offset, true, problems);
    if (!value) return NULL;
    if (value->kind == QSR_SCALAR && !value->quoted && strchr(value->text, ',')) value = split(arena, key, value, problems);
    *ret_axis = value->kind == QSR_LIST && value->count != 1;
    if (value->kind == QSR_LIST && value->count == 1) value = value->items[0];
    qsr_node_unfold(arena, value, problems);
    return problems->count + problems->dropped == before ? value : NULL;
}

/* ---- laying ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    qsr_arena *arena;
    qsr_node *root;
    qsr_overrides *overrides;
    qsr_problems *problems;
} layer;

static void lay_axis(layer *l, const char *key, qsr_mark mark, qsr_node *list)
{
    qsr_axis axis;
    if (!qsr_axis_read(l->arena, key, mark, list, &axis, l->problems)) return;
    qsr_axes_give_way(&l->overrides->fixed, &axis);
    qsr_axes_give_way(&l->overrides->swept, &axis);
    qsr_axes_put(l->arena, &l->overrides->swept, &axis);
}

static void lay_value(layer *l, const char *key, qsr_mark mark, qsr_node *value)
{
    const qsr_node **values = qsr_arena_alloc(l->arena, 1, sizeof *values);
    qsr_axis axis = {key, mark, values, 1};
    values[0] = qsr_node_clone(l->arena, value);
    qsr_axes_give_way(&l->overrides->swept, &axis);
    qsr_axes_give_way(&l->overrides->fixed, &axis);
    qsr_axes_put(l->arena, &l->overrides->fixed, &axis);
    const qsr_node *obstacle = qsr_node_set(l->arena, l->root, key, mark, value);
    if (obstacle)
        qsr_problems_add(l->problems, mark, key, NULL, "cannot be set below %s, which is not a mapping",
                         qsr_node_says(l->arena, obstacle));
}

/* `seeds` is an axis of `seed`, and either replaces what the file says; grid=off and seeds=off take them away. */
static void lay(layer *l, const char *key, qsr_mark mark, qsr_node *value, bool axis)
{
    bool seeds = strcmp(key, "seeds") == 0, grid = strcmp(key, "grid") == 0;
    if (grid || seeds || strcmp(key, "seed") == 0) qsr_node_remove(l->root, grid ? "grid" : "seeds");
    if ((seeds || grid) && qsr_node_is_word(value, "off")) return;
    if (grid)
        qsr_node_put(l->arena, l->root, key, mark, value);
    else if (axis)
        lay_axis(l, seeds ? "seed" : key, mark, value);
    else
        lay_value(l, seeds ? "seed" : key, mark, value);
}

static void apply(layer *l, const char *argument, unsigned rank)
{
    qsr_source *source = qsr_arena_alloc(l->arena, 1, sizeof *source);
    *source = (qsr_source){"command line", qsr_arena_strdup(l->arena, argument), strlen(argument), ".", true, rank};
    const char *equals = strchr(source->text, '=');
    const char *key = equals ? qsr_arena_strndup(l->arena, source->text, (size_t)(equals - source->text)) : "";
    qsr_mark mark = {source, 1, 1, (uint32_t)strlen(key) + 1};
    bool axis = false;
    if (refuse_key(source, key, mark, l->problems)) return;
    qsr_node *value = read_value(l->arena, source, strlen(key) + 1, key, l->problems, &axis);
    if (value) lay(l, key, mark, value, axis);
}

void qsr_override_apply(qsr_arena *arena, qsr_node *root, const char *const *arguments, size_t n, qsr_overrides *ret,
                        qsr_problems *problems)
{
    layer l = {arena, root, ret, problems};
    *ret = (qsr_overrides){{0}, {0}};
    for (size_t i = 0; i < n; i++) apply(&l, arguments[i], QSR_EXTENDS_FILES + (unsigned)i);
}

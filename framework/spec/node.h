/* spec/node: a spec as a tree before it is typed, each value with the place it was written; and how trees are changed: merged
 * (extends), set at a dotted path (overrides, cells of a grid), cloned. All memory is the arena's. */
#ifndef QSR_SPEC_NODE_H
#define QSR_SPEC_NODE_H
#include "base/text.h"
#include "spec/problem.h"

typedef enum { QSR_SCALAR, QSR_LIST, QSR_MAP } qsr_node_kind;

typedef struct qsr_node qsr_node;

typedef struct {
    const char *key;
    qsr_mark mark; /* of the key */
    qsr_node *value;
} qsr_entry;

struct qsr_node {
    qsr_node_kind kind;
    bool quoted;            /* SCALAR: written in quotes, so never null, on or off */
    bool swept;             /* put there by an axis of a grid */
    qsr_mark mark;
    const char *text;       /* SCALAR: without NUL inside */
    qsr_entry *entries;     /* MAP: [count], in the order written */
    qsr_node **items;       /* LIST: [count] */
    size_t count, capacity;
    const qsr_node *toggle; /* MAP: the plain `on` or `off` that was put over it later. A loss is switched by it; anywhere else the
                               map counts as replaced by that scalar: qsr_node_plain */
    const qsr_node *before; /* what this value replaced, or NULL */
};

qsr_node *qsr_node_make(qsr_arena *, qsr_node_kind, qsr_mark);
void qsr_node_append(qsr_arena *, qsr_node *list, qsr_node *item);
qsr_entry *qsr_node_find(const qsr_node *map, const char *key); /* NULL: no such key, or no map */
/* Adds the key or replaces its value (with the rule of `toggle`). */
void qsr_node_put(qsr_arena *, qsr_node *map, const char *key, qsr_mark key_mark, qsr_node *value);
void qsr_node_remove(qsr_node *map, const char *key);

/* What `node` counts as outside losses: itself, or the scalar that replaced it. */
const qsr_node *qsr_node_plain(const qsr_node *);
bool qsr_node_is_null(const qsr_node *); /* nothing, ~ or null, unquoted */
bool qsr_node_is_word(const qsr_node *, const char *word); /* that plain scalar */
bool qsr_node_is_switch(const qsr_node *); /* plain on or off, which switch a loss and leave what stands below it */
/* "a mapping", "a list", "no value", "'text'": for messages. */
const char *qsr_node_says(qsr_arena *, const qsr_node *);

/* As YAML in one line: "{plugin: topk, k: [4, 8]}". */
void qsr_node_write(const qsr_node *, qsr_text *out);
/* Appends a text as one YAML scalar, in double quotes where it needs them. */
void qsr_scalar_write(const char *text, qsr_text *out);

qsr_node *qsr_node_clone(qsr_arena *, const qsr_node *);
/* Lays `over` on `base`: maps merge, everything else replaces. Adopts the nodes of `over`. Both are maps. */
void qsr_node_merge(qsr_arena *, qsr_node *base, qsr_node *over);
/* Sets the value at a dotted path, creating maps on the way (a plain scalar or null there gives way when it is on, off or
 * null). Returns NULL, or the node that is in the way. */
const qsr_node *qsr_node_set(qsr_arena *, qsr_node *root, const char *path, qsr_mark key_mark, qsr_node *value);
/* The same, but what is in the way gives way. */
void qsr_node_force(qsr_arena *, qsr_node *root, const char *path, qsr_mark key_mark, qsr_node *value);
/* The entry at a dotted path; NULL: nothing there. */
const qsr_entry *qsr_node_at(const qsr_node *root, const char *path);
/* Rewrites keys with dots as nested maps, so that `hook.layer: 4` and `hook: {layer: 4}` are the same and writing both is a
 * duplicate. What stands below the top-level key `grid` is left as it is. */
void qsr_node_unfold(qsr_arena *, qsr_node *root, qsr_problems *);

/* "path.key" in the arena; just key when path is "". */
const char *qsr_path_child(qsr_arena *, const char *path, const char *key);
#endif

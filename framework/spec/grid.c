#include "spec/grid.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sizes.h"
#include "spec/load.h"
#include "spec/substitute.h"

enum {
    NODES_MOST = 4000000,      /* values in the trees of all cells together: about 1 GB */
    PROBLEMS_SEEN_MOST = 20000 /* repetitions in other cells included; a grid with more of them is not looked at further */
};

typedef struct {
    qsr_grid *grid;
    qsr_node *root;
    const qsr_spec_env *env;
    qsr_problems *problems;
    bool whole; /* nothing that it extends was missing */
    qsr_overrides overrides;
    qsr_axis seeds; /* n 0: none */
    qsr_grid_block *blocks;
    size_t *block_of; /* [cells] */
    size_t n_cells, found;
    size_t reported; /* problems that others had before */
    size_t first;    /* index of the first of ours */
    size_t seen;     /* ours, repetitions included */
    size_t block, drop_capacity;
    qsr_grid_drop *drops;
} expander;

static bool failed(const expander *x) { return x->problems->count + x->problems->dropped > x->reported; }

/* ---- blocks ---------------------------------------------------------------------------------------------------------- */

/* The command line over the axes that a block writes, then seeds. A swept seed comes last too. */
static void lay_overrides(expander *x, qsr_axes *axes)
{
    const qsr_axes *fixed = &x->overrides.fixed, *swept = &x->overrides.swept;
    for (size_t i = 0; i < fixed->n; i++) qsr_axes_give_way(axes, &fixed->items[i]);
    for (size_t pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < swept->n; i++) {
            const qsr_axis *axis = &swept->items[i];
            if ((strcmp(axis->key, "seed") == 0) != (pass == 1)) continue;
            if (!qsr_axes_find(axes, axis->key)) qsr_axes_give_way(axes, axis);
            qsr_axes_put(&x->grid->arena, axes, axis);
        }
    }
    if (!x->seeds.n) return;
    const qsr_axis *own = qsr_axes_find(axes, "seed");
    if (own)
        qsr_problems_add(x->problems, own->mark, "seed", NULL, "written twice: line %u has seeds for every block",
                         (unsigned)x->seeds.mark.line);
    else
        qsr_axes_put(&x->grid->arena, axes, &x->seeds);
}

static void read_block(expander *x, const qsr_node *node, qsr_grid_block *block)
{
    if (node && node->kind != QSR_MAP) {
        qsr_problems_add(x->problems, node->mark, "grid", "such as {activation.k: [4, 8], train.lr: [1e-3, 3e-4]}",
                         "expected a block, a mapping from keys to lists of values, not %s",
                         qsr_node_says(&x->grid->arena, node));
        return;
    }
    if (node) {
        block->mark = node->mark;
        qsr_axes_read(&x->grid->arena, node, &block->axes, x->problems);
    }
    lay_overrides(x, &block->axes);
    if (block->axes.n > QSR_GRID_KEYS)
        qsr_problems_add(x->problems, block->mark, "grid", NULL, "more than %d keys in one block", QSR_GRID_KEYS);
}

/* A block that was refused makes no cells: they would lack what it was meant to write. */
static void add_block(expander *x, const qsr_node *node)
{
    qsr_grid_block *block = &x->blocks[x->grid->n_blocks++];
    size_t before = x->problems->count + x->problems->dropped;
    read_block(x, node, block);
    block->cells = x->problems->count + x->problems->dropped == before;
}

/* Takes `seeds` and `grid` off the tree and makes blocks of them. */
static void read_blocks(expander *x)
{
    qsr_entry *seeds = qsr_node_find(x->root, "seeds");
    if (seeds) qsr_axis_read(&x->grid->arena, "seed", seeds->mark, seeds->value, &x->seeds, x->problems);
    qsr_node_remove(x->root, "seeds");
    const qsr_entry *entry = qsr_node_find(x->root, "grid");
    const qsr_node *grid = entry ? qsr_node_plain(entry->value) : NULL;
    bool list = grid && grid->kind == QSR_LIST;
    size_t n = list ? grid->count : 1;
    x->grid->swept = grid || seeds || x->overrides.swept.n;
    x->grid->blocks = x->blocks = qsr_arena_alloc(&x->grid->arena, n, sizeof *x->blocks);
    if (n == 0) qsr_problems_add(x->problems, grid->mark, "grid", "grid: off leaves the base alone", "the list is empty");
    for (size_t i = 0; i < n; i++) add_block(x, list ? qsr_node_plain(grid->items[i]) : grid);
    qsr_node_remove(x->root, "grid");
}

static size_t count_nodes(const qsr_node *node)
{
    size_t n = 1;
    for (size_t i = 0; i < node->count; i++)
        n += count_nodes(node->kind == QSR_MAP ? node->entries[i].value : node->items[i]);
    return n;
}

static bool count_block(qsr_grid_block *block)
{
    for (size_t i = 0; i < block->axes.n; i++)
        if (!qsr_mul_size(block->cells, block->axes.items[i].n, &block->cells)) return false;
    return true;
}

/* Counts cells before any is made, since products grow fast; false: there are too many. */
static bool count_cells(expander *x, qsr_mark mark)
{
    size_t nodes = count_nodes(x->root);
    bool countable = true;
    for (size_t i = 0; i < x->grid->n_blocks; i++)
        countable = countable && count_block(&x->blocks[i]) && qsr_add_size(x->n_cells, x->blocks[i].cells, &x->n_cells);
    if (!countable)
        qsr_problems_add(x->problems, mark, "grid", NULL, "more cells than can be counted, the limit is %d",
                         QSR_GRID_CELLS);
    else if (x->n_cells > QSR_GRID_CELLS)
        qsr_problems_add(x->problems, mark, "grid", NULL, "%zu cells, the limit is %d", x->n_cells, QSR_GRID_CELLS);
    else if (x->n_cells * nodes > NODES_MOST)
        qsr_problems_add(x->problems, mark, "grid", NULL, "%zu cells of %zu values each, the limit is %d values in all",
                         x->n_cells, nodes, NODES_MOST);
    else
        return true;
    return false;
}

/* ---- cells ----------------------------------------------------------------------------------------------------------- */

static void note_drop(void *ctx, const char *path, const qsr_node *value, const char *from, const char *to)
{
    expander *x = ctx;
    qsr_grid *grid = x->grid;
    for (size_t i = grid->n_drops; i-- > 0;) {
        qsr_grid_drop *drop = &x->drops[i];
        if (drop->block != x->block || strcmp(drop->path, path) != 0 || strcmp(drop->to, to) != 0) continue;
        drop->cells++;
        return;
    }
    if (grid->n_drops == x->drop_capacity) {
        x->drop_capacity = x->drop_capacity ? x->drop_capacity * 2 : 8;
        qsr_grid_drop *bigger = qsr_arena_alloc(&grid->arena, x->drop_capacity, sizeof *bigger);
        if (grid->n_drops) memcpy(bigger, x->drops, grid->n_drops * sizeof *bigger);
        grid->drops = x->drops = bigger;
    }
    qsr_text text = {0};
    qsr_node_write(value, &text);
    x->drops[grid->n_drops++] = (qsr_grid_drop){qsr_arena_strdup(&grid->arena, path),
                                                qsr_arena_strdup(&grid->arena, text.bytes),
                                                qsr_arena_strdup(&grid->arena, from),
                                                qsr_arena_strdup(&grid->arena, to),
                                                x->block,
                                                1,
                                                value->mark};
    qsr_text_free(&text);
}

static qsr_spec *make_spec(const expander *x)
{
    qsr_spec *spec = qsr_xcalloc(1, sizeof *spec);
    spec->path = x->grid->path;
    return spec;
}

/* Resolves one cell; what is wrong with it is kept once, however many cells share it. */
static void add_cell(expander *x, const qsr_substitution *s, const size_t *choice)
{
    qsr_problems *p = x->problems;
    size_t count = p->count, before = p->count + p->dropped;
    qsr_spec *spec = make_spec(x);
    qsr_resolve(spec, qsr_substitute(&spec->arena, s, choice), x->whole, x->env, p);
    x->seen += p->count + p->dropped - before;
    if (failed(x)) {
        qsr_problems_unique(p, x->first, count);
        qsr_spec_free(spec);
        return;
    }
    qsr_spec_identify(spec);
    x->block_of[x->found] = x->block;
    x->grid->cells[x->found++] = spec;
    x->grid->n = x->found;
}

/* The next choice, the last axis fastest; false: that was all. */
static bool next_choice(const qsr_axes *axes, size_t *choice)
{
    for (size_t i = axes->n; i-- > 0;) {
        if (++choice[i] < axes->items[i].n) return true;
        choice[i] = 0;
    }
    return false;
}

static bool hopeless(const expander *x) { return failed(x) && (x->problems->dropped || x->seen > PROBLEMS_SEEN_MOST); }

static void expand_block(expander *x, const qsr_grid_block *block)
{
    size_t choice[QSR_GRID_KEYS] = {0};
    qsr_substitution s = {x->root, &x->overrides.fixed, &block->axes, x->env, note_drop, x};
    do {
        add_cell(x, &s, choice);
    } while (next_choice(&block->axes, choice) && !hopeless(x));
}

static void expand(expander *x)
{
    qsr_grid *grid = x->grid;
    grid->cells = qsr_arena_alloc(&grid->arena, x->n_cells, sizeof *grid->cells);
    grid->block_of = x->block_of = qsr_arena_alloc(&grid->arena, x->n_cells, sizeof *x->block_of);
    for (x->block = 0; x->block < grid->n_blocks && !hopeless(x); x->block++)
        if (x->blocks[x->block].cells) expand_block(x, &x->blocks[x->block]);
}

/* ---- equal cells ----------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *id;
    size_t index;
} identity;

static int by_id(const void *left, const void *right)
{
    const identity *a = left, *b = right;
    int order = strcmp(a->id, b->id);
    return order ? order : a->index < b->index ? -1 : a->index > b->index;
}

/* The first of equal cells stays. */
static void merge(expander *x)
{
    qsr_grid *grid = x->grid;
    size_t *merged = qsr_arena_alloc(&grid->arena, grid->n, sizeof *merged), kept = 0;
    identity *ids = qsr_xcalloc(grid->n, sizeof *ids);
    for (size_t i = 0; i < grid->n; i++) ids[i] = (identity){grid->cells[i]->id, i};
    qsort(ids, grid->n, sizeof *ids, by_id);
    for (size_t i = 0, first = 0; i < grid->n; i++) {
        if (i > 0 && strcmp(ids[i].id, ids[first].id) == 0) {
            merged[ids[first].index]++;
            merged[ids[i].index] = SIZE_MAX;
        } else {
            first = i;
        }
    }
    free(ids);
    for (size_t i = 0; i < grid->n; i++) {
        if (merged[i] == SIZE_MAX) {
            qsr_spec_free(grid->cells[i]);
            continue;
        }
        grid->n_merged += merged[i];
        x->block_of[kept] = x->block_of[i];
        grid->cells[kept] = grid->cells[i];
        merged[kept++] = merged[i];
    }
    grid->n = kept;
    grid->merged = merged;
}

/* ---- keys and values ------------------------------------------------------------------------------------------------- */

static void collect_keys(qsr_grid *grid)
{
    qsr_axes all = {0};
    for (size_t i = 0; i < grid->n_blocks; i++)
        for (size_t j = 0; j < grid->blocks[i].axes.n; j++)
            if (!qsr_axes_find(&all, grid->blocks[i].axes.items[j].key))
                qsr_axes_put(&grid->arena, &all, &grid->blocks[i].axes.items[j]);
    const char **keys = qsr_arena_alloc(&grid->arena, all.n, sizeof *keys);
    for (size_t i = 0; i < all.n; i++)
        if (strcmp(all.items[i].key, "seed") != 0) keys[grid->n_keys++] = all.items[i].key;
    if (grid->n_keys < all.n) keys[grid->n_keys++] = "seed";
    grid->keys = keys;
}

/* Losses that are only ever switched show as on and off, others with their options. */
static bool only_switches(const qsr_grid *grid, const char *key)
{
    for (size_t i = 0; i < grid->n_blocks; i++) {
        const qsr_axis *axis = qsr_axes_find(&grid->blocks[i].axes, key);
        if (axis && !qsr_axis_switches(axis)) return false;
    }
    return true;
}

static void collect_values(qsr_grid *grid)
{
    const char **values = qsr_arena_alloc(&grid->arena, grid->n * grid->n_keys, sizeof *values);
    for (size_t k = 0; k < grid->n_keys; k++) {
        bool switches = only_switches(grid, grid->keys[k]);
        for (size_t i = 0; i < grid->n; i++) {
            const char *value = qsr_spec_value(grid->cells[i], grid->keys[k], &grid->arena);
            values[i * grid->n_keys + k] = switches && value && strcmp(value, "off") != 0 ? "on" : value;
        }
    }
    grid->values = values;
}

/* ---- loading --------------------------------------------------------------------------------------------------------- */

static void warn(const qsr_grid *grid)
{
    qsr_problems seen = {0};
    for (size_t i = 0; i < grid->n; i++)
        for (size_t j = 0; j < grid->cells[i]->n_notices; j++) {
            size_t before = seen.count;
            qsr_problems_add(&seen, (qsr_mark){0}, NULL, NULL, "%s", grid->cells[i]->notices[j]);
            qsr_problems_unique(&seen, 0, before);
            if (seen.count > before) qsr_log(QSR_LOG_WARNING, "%s", grid->cells[i]->notices[j]);
        }
    qsr_problems_free(&seen);
}

/* The base need not be an experiment by itself, so what is wrong with it is nobody's concern. */
static void resolve_base(expander *x)
{
    qsr_problems problems = {0};
    qsr_grid *grid = x->grid;
    qsr_spec *base = make_spec(x);
    qsr_resolve(base, x->root, x->whole, x->env, &problems);
    if (problems.count) {
        qsr_spec_free(base);
    } else {
        qsr_spec_identify(base);
        grid->base = base;
    }
    qsr_problems_free(&problems);
}

static void load(expander *x)
{
    const qsr_entry *entry = qsr_node_find(x->root, "grid");
    qsr_mark mark = entry ? entry->mark : (qsr_mark){0};
    read_blocks(x);
    if (!entry) mark = x->overrides.swept.n ? x->overrides.swept.items[0].mark : x->seeds.mark;
    if (!count_cells(x, mark)) return;
    expand(x); /* also when something is wrong already: what else is shows in the cells */
    if (failed(x)) return;
    x->grid->tree = x->root;
    x->grid->name = x->grid->cells[0]->name;
    merge(x);
    warn(x->grid);
    collect_keys(x->grid);
    collect_values(x->grid);
    resolve_base(x);
}

static qsr_status load_from(const char *path, const char *text, size_t size, const char *const *overrides,
                            size_t n_overrides, const qsr_spec_env *env, qsr_grid **ret, qsr_problems *problems)
{
    qsr_grid *grid = qsr_xcalloc(1, sizeof *grid);
    expander x = {.grid = grid,
                  .env = env,
                  .problems = problems,
                  .reported = problems->count + problems->dropped,
                  .first = problems->count};
    *ret = NULL;
    grid->path = qsr_arena_strdup(&grid->arena, path);
    x.root = qsr_spec_read(&grid->arena, path, text, size, overrides, n_overrides, env, &x.whole, &x.overrides, problems);
    if (x.root) load(&x);
    if (failed(&x)) {
        qsr_grid_free(grid);
        return QSR_E_OPTION;
    }
    *ret = grid;
    return QSR_OK;
}

qsr_status qsr_grid_load(const char *path, const char *const *overrides, size_t n_overrides, const qsr_spec_env *env,
                         qsr_grid **ret, qsr_problems *problems)
{
    return load_from(path, NULL, 0, overrides, n_overrides, env, ret, problems);
}

qsr_status qsr_grid_load_text(const char *name, const char *text, size_t size, const char *const *overrides,
                              size_t n_overrides, const qsr_spec_env *env, qsr_grid **ret, qsr_problems *problems)
{
    return load_from(name, text ? text : "", size, overrides, n_overrides, env, ret, problems);
}

void qsr_grid_free(qsr_grid *grid)
{
    if (!grid) return;
    for (size_t i = 0; i < grid->n; i++) qsr_spec_free(grid->cells[i]);
    qsr_spec_free(grid->base);
    qsr_arena_free(&grid->arena);
    free(grid);
}

/* ---- questions ------------------------------------------------------------------------------------------------------- */

size_t qsr_grid_find(const qsr_grid *grid, const char *id)
{
    size_t found = grid->n;
    for (size_t i = 0; i < grid->n; i++) {
        const char *whole = grid->cells[i]->id, *hash = strrchr(whole, '-');
        if (strcmp(whole, id) == 0) return i;
        if (!id[0] || !hash || !qsr_starts_with(hash + 1, id)) continue;
        if (found < grid->n) return grid->n;
        found = i;
    }
    return found;
}

bool qsr_grid_differs(const qsr_grid *grid, size_t key)
{
    const char *first = grid->n ? grid->values[key] : NULL;
    for (size_t i = 1; i < grid->n; i++) {
        const char *value = grid->values[i * grid->n_keys + key];
        if ((value == NULL) != (first == NULL) || (value && strcmp(value, first) != 0)) return true;
    }
    return false;
}

/* spec/resolve: a tree typed by option tables into a qsr_spec. Goes on after every problem, so that all of them are found. */
#include <math.h>
#include <string.h>

#include "spec/experiment.h"
#include "spec/load.h"
#include "spec/option.h"

typedef struct {
    qsr_spec *spec;
    const qsr_node *root;
    const qsr_spec_env *env;
    qsr_problems *problems;
    qsr_arena *arena;
    bool whole;
} resolver;

/* One option table being filled. */
typedef struct {
    qsr_option_table table;
    void *values;
    qsr_mark *marks;
    const qsr_node **nodes;
    qsr_schedule *schedules; /* [table.count]; NULL: this table knows no schedules */
    size_t n_schedules;
} target;

/* A block of keys: up to two tables (the host's and a plugin's) and keys that were read before. */
typedef struct {
    const char *path;
    const qsr_plugin *plugin;    /* whose options are meant; NULL: only the host's */
    const char *help;            /* topic of `quasar help` */
    const qsr_node *map;         /* NULL: the block is missing */
    const qsr_node *plugin_word; /* the value of `plugin`; NULL */
    const char *const *read;     /* NULL-ended: top-level keys of this block that are no options */
    qsr_mark mark;
    bool lenient; /* unknown keys may belong to the plugin that was not found */
    target targets[2];
    size_t n_targets;
} block;

static target make_target(resolver *r, qsr_option_table table, void *values, bool schedules)
{
    target t = {.table = table, .values = values};
    t.marks = qsr_arena_alloc(r->arena, table.count, sizeof *t.marks);
    t.nodes = qsr_arena_alloc(r->arena, table.count, sizeof *t.nodes);
    if (schedules) t.schedules = qsr_arena_alloc(r->arena, table.count, sizeof *t.schedules);
    return t;
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static bool store_text(resolver *r, const qsr_option *o, const qsr_node *node, void *values, const char *path)
{
    const char *hint = NULL;
    qsr_error e = {0};
    if (qsr_node_is_null(node)) {
        qsr_problems_add(r->problems, node->mark, path, NULL, "has no value: expected %s", qsr_option_expects(o));
        return false;
    }
    const char *folder = node->mark.source ? node->mark.source->folder : NULL;
    if (!qsr_option_store(o, &node->text, 1, folder, r->arena, values, &hint, &e)) return true;
    qsr_problems_add(r->problems, node->mark, path, hint, "%s", e.text);
    return false;
}

static void store_list(resolver *r, const qsr_option *o, const qsr_node *list, void *values, const char *path)
{
    const char **texts = qsr_arena_alloc(r->arena, list->count + 1, sizeof *texts), *hint = NULL;
    qsr_error e = {0};
    if (o->type != QSR_OPT_STRINGS) {
        qsr_problems_add(r->problems, list->mark, path, NULL, "expected %s, not a list", qsr_option_expects(o));
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        const qsr_node *item = list->items[i];
        if (item->kind != QSR_SCALAR || qsr_node_is_null(item)) {
            qsr_problems_add(r->problems, item->mark, path, NULL, "expected a text in this list, not %s",
                             qsr_node_says(r->arena, item));
            return;
        }
        texts[i] = item->text;
    }
    if (list->count == 0) {
        qsr_problems_add(r->problems, list->mark, path, NULL, "the list is empty");
        return;
    }
    const char *folder = list->mark.source ? list->mark.source->folder : NULL;
    if (qsr_option_store(o, texts, list->count, folder, r->arena, values, &hint, &e))
        qsr_problems_add(r->problems, list->mark, path, hint, "%s", e.text);
}

/* ---- schedules ------------------------------------------------------------------------------------------------------- */

struct schedule_options {
    double over;
    const char *shape;
};
static const char *const shapes[] = {"linear", "cosine", NULL};
static const qsr_option schedule_rows[] = {
    QSR_OPT(struct schedule_options, over, .help = "fraction of training", .flags = QSR_OPT_RANGE | QSR_OPT_OPEN_MIN,
            .min = 0, .max = 1, .def = "1"),
    QSR_OPT(struct schedule_options, shape, .help = "how the value moves", .choices = shapes, .def = "linear"),
};

/* Reads one of from, to, over, shape. The ends are read as the option itself, so its type and range hold for them. */
static bool store_schedule_key(resolver *r, target *t, const qsr_option *o, const qsr_entry *entry, const char *path,
                               qsr_schedule *ret, struct schedule_options *rest)
{
    static const char *const keys[] = {"from", "to", "over", "shape", NULL};
    const char *child = qsr_path_child(r->arena, path, entry->key);
    const qsr_node *value = qsr_node_plain(entry->value);
    size_t key = 0;
    while (keys[key] && strcmp(keys[key], entry->key) != 0) key++;
    if (!keys[key]) {
        qsr_problems_add(r->problems, entry->mark, child, NULL, "unknown key: a schedule has from, to, over and shape");
        return false;
    }
    if (value->kind != QSR_SCALAR) {
        qsr_problems_add(r->problems, value->mark, child, NULL, "expected one value, not %s",
                         qsr_node_says(r->arena, value));
        return false;
    }
    if (key >= 2) return store_text(r, &schedule_rows[key - 2], value, rest, child);
    if (!store_text(r, o, value, t->values, child)) return false;
    double real = qsr_option_real(o, t->values);
    if (o->type != QSR_OPT_REAL && fabs(real) > 0x1p53) {
        qsr_problems_add(r->problems, value->mark, child, NULL, "%s is beyond 2^53, too large for a schedule", value->text);
        return false;
    }
    *(key == 0 ? &ret->from : &ret->to) = real;
    return true;
}

static void store_schedule(resolver *r, target *t, const qsr_option *o, const qsr_node *map, const char *path)
{
    qsr_schedule schedule = {.option = o};
    struct schedule_options rest = {1, shapes[0]};
    bool good = true;
    for (size_t i = 0; i < map->count; i++) good &= store_schedule_key(r, t, o, &map->entries[i], path, &schedule, &rest);
    for (int i = 0; i < 2; i++) {
        const char *key = i == 0 ? "from" : "to";
        if (qsr_node_find(map, key)) continue;
        qsr_problems_add(r->problems, map->mark, path, NULL, "a schedule needs '%s'", key);
        good = false;
    }
    if (!good) return;
    schedule.over = rest.over;
    schedule.cosine = strcmp(rest.shape, "cosine") == 0;
    qsr_option_set_real(o, t->values, schedule.from);
    t->schedules[t->n_schedules++] = schedule;
}

static void store_map(resolver *r, target *t, const qsr_option *o, const qsr_node *map, const char *path)
{
    if (t->schedules && o->flags & QSR_OPT_SCHEDULE) {
        store_schedule(r, t, o, map, path);
    } else if (qsr_node_find(map, "from") || qsr_node_find(map, "to")) {
        qsr_problems_add(r->problems, map->mark, path, NULL, "cannot change over training, so it takes no schedule");
    } else {
        qsr_problems_add(r->problems, map->mark, path, NULL, "expected %s, not a mapping", qsr_option_expects(o));
    }
}

static void notice(resolver *r, const char *text)
{
    qsr_spec *spec = r->spec;
    const char **notices = qsr_arena_alloc(r->arena, spec->n_notices + 1, sizeof *notices);
    if (spec->n_notices) memcpy(notices, spec->notices, spec->n_notices * sizeof *notices);
    notices[spec->n_notices++] = text;
    spec->notices = notices;
}

/* ---- keys ------------------------------------------------------------------------------------------------------------ */

static void store(resolver *r, target *t, size_t index, const qsr_entry *entry, const char *path)
{
    const qsr_option *o = qsr_option_at(&t->table, index);
    const qsr_node *value = qsr_node_plain(entry->value);
    if (t->nodes[index]) {
        qsr_problems_add(r->problems, entry->mark, path, NULL, "the same option as '%s', written at line %u",
                         strcmp(entry->key, o->name) == 0 ? o->alias : o->name, (unsigned)t->marks[index].line);
        return;
    }
    t->nodes[index] = value;
    t->marks[index] = value->mark;
    if (o->flags & QSR_OPT_DEPRECATED) notice(r, qsr_arena_printf(r->arena, "%s is deprecated: %s", path, o->help));
    if (value->kind == QSR_SCALAR)
        store_text(r, o, value, t->values, path);
    else if (value->kind == QSR_LIST)
        store_list(r, o, value, t->values, path);
    else
        store_map(r, t, o, value, path);
}

/* The target that has the option; NULL: none. */
static target *find_target(block *b, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < b->n_targets; i++)
        if (qsr_option_find(&b->targets[i].table, name, ret_index)) return &b->targets[i];
    return NULL;
}

/* The words that may follow "name." (in the arena, NULL-ended); NULL when no option starts like that. */
static const char *const *words_below(resolver *r, const block *b, const char *name)
{
    const char *prefix = name[0] ? qsr_arena_printf(r->arena, "%s.", name) : "";
    const char **words = NULL;
    size_t count = 0, most = 0;
    for (size_t i = 0; i < b->n_targets; i++) most += b->targets[i].table.count * 2;
    for (size_t i = 0; i < b->n_targets; i++) {
        for (size_t j = 0; j < b->targets[i].table.count; j++) {
            const qsr_option *o = qsr_option_at(&b->targets[i].table, j);
            const char *both[2] = {o->name, o->alias};
            for (int k = 0; k < 2; k++) {
                if (!both[k] || !qsr_starts_with(both[k], prefix)) continue;
                if (!words) words = qsr_arena_alloc(r->arena, most + 1, sizeof *words);
                words[count++] = both[k] + strlen(prefix);
            }
        }
    }
    return words;
}

/* Where else a key of that name stands: "did you mean 'train.lr'?". */
static const char *hint_elsewhere(resolver *r, const char *name)
{
    for (unsigned i = 0; i < QSR_PARTS; i++) {
        const qsr_part *part = qsr_experiment_part(i);
        if (qsr_option_find(&part->options, name, NULL))
            return qsr_arena_printf(r->arena, "did you mean '%s'?", qsr_path_child(r->arena, part->key, name));
    }
    return NULL;
}

/* An option of a plugin that this block named before `extends` or an override put another in its place. */
static const char *hint_replaced(resolver *r, const block *b, const char *name)
{
    if (!b->plugin || !b->plugin_word || b->plugin_word->swept) return NULL;
    for (const qsr_node *old = b->plugin_word->before; old && old->kind == QSR_SCALAR; old = old->before) {
        const char *near = NULL;
        qsr_error e = {0};
        const qsr_plugin *plugin = r->env->find(r->env->ctx, b->plugin->abi.kind, old->text, &near, &e);
        if (!plugin || plugin == b->plugin) continue;
        qsr_option_table table = qsr_plugin_options(plugin);
        if (qsr_option_find(&table, name, NULL))
            return qsr_arena_printf(r->arena,
                                    "an option of %s, which %s replaced; to replace the whole block write %s={plugin: %s}",
                                    plugin->name, b->plugin->name, b->path, b->plugin->name);
    }
    return NULL;
}

/* An option whose last word this is: "did you mean 'hook.layer'?". */
static const char *hint_deeper(resolver *r, const block *b, const char *key)
{
    const char *end = qsr_arena_printf(r->arena, ".%s", key);
    for (size_t i = 0; i < b->n_targets; i++)
        for (size_t j = 0; j < b->targets[i].table.count; j++) {
            const qsr_option *o = qsr_option_at(&b->targets[i].table, j);
            if (qsr_ends_with(o->name, end)) return qsr_arena_printf(r->arena, "did you mean '%s'?", o->name);
        }
    return NULL;
}

/* "{k:32}" is one word to YAML, a key without a value. */
static const char *hint_glued(resolver *r, const qsr_entry *entry)
{
    const char *colon = strchr(entry->key, ':');
    if (!colon || colon == entry->key || !colon[1] || !qsr_node_is_null(qsr_node_plain(entry->value))) return NULL;
    return qsr_arena_printf(r->arena, "a blank belongs after the colon: '%.*s: %s'", (int)(colon - entry->key), entry->key, colon + 1);
}

static void report_unknown(resolver *r, const block *b, const qsr_entry *entry, const char *prefix, const char *name,
                           const char *path)
{
    if (r->problems->count == QSR_PROBLEMS_MOST) {
        r->problems->dropped++;
        return;
    }
    const char *hint = hint_glued(r, entry);
    if (!hint) hint = hint_replaced(r, b, name);
    const char *near = hint ? NULL : qsr_nearest(entry->key, words_below(r, b, prefix));
    if (!hint && !near && !prefix[0]) near = qsr_nearest(entry->key, b->read);
    if (near) hint = qsr_arena_printf(r->arena, "did you mean '%s'?", near);
    if (!hint) hint = hint_deeper(r, b, entry->key);
    bool argument = entry->mark.source && entry->mark.source->argument;
    if (!hint && b->plugin_word && b->plugin_word->swept && (entry->value->swept || argument))
        hint = "a block of a grid writes options that all of its plugins have: others need a block of their own";
    if (!hint) hint = hint_elsewhere(r, name);
    if (!hint) hint = qsr_arena_printf(r->arena, "'quasar help %s' lists what is possible", b->help);
    if (b->plugin)
        qsr_problems_add(r->problems, entry->mark, path, hint, "%s has no such option", b->plugin->name);
    else
        qsr_problems_add(r->problems, entry->mark, path, hint, "unknown key");
}

static bool listed(const char *const *words, const char *word)
{
    for (; words && *words; words++)
        if (strcmp(*words, word) == 0) return true;
    return false;
}

static void report_shallow(resolver *r, const qsr_node *value, const char *path, const char *const *below)
{
    qsr_text words = {0};
    for (size_t i = 0; below[i]; i++) qsr_text_add(&words, "%s%s", i ? ", " : "", below[i]);
    qsr_problems_add(r->problems, value->mark, path, NULL, "expected a mapping with %s, not %s", words.bytes,
                     qsr_node_says(r->arena, value));
    qsr_text_free(&words);
}

static void walk(resolver *r, block *b, const qsr_node *map, const char *prefix)
{
    for (size_t i = 0; i < map->count; i++) {
        const qsr_entry *entry = &map->entries[i];
        if (!prefix[0] && listed(b->read, entry->key)) continue;
        const char *name = qsr_path_child(r->arena, prefix, entry->key), *path = qsr_path_child(r->arena, b->path, name);
        const qsr_node *value = qsr_node_plain(entry->value);
        size_t index;
        target *t = find_target(b, name, &index);
        const char *const *below = t ? NULL : words_below(r, b, name);
        if (t)
            store(r, t, index, entry, path);
        else if (!below && b->lenient && !hint_glued(r, entry))
            continue;
        else if (!below)
            report_unknown(r, b, entry, prefix, name, path);
        else if (value->kind == QSR_MAP)
            walk(r, b, value, name);
        else if (!qsr_node_is_null(value))
            report_shallow(r, value, path, below);
    }
}

/* Defaults for what was not written; problems for what had to be. */
static void finish(resolver *r, const block *b, target *t)
{
    bool swept = b->plugin_word && b->plugin_word->swept; /* then the block that named the plugin lacks them */
    for (size_t i = 0; i < t->table.count; i++) {
        const qsr_option *o = qsr_option_at(&t->table, i);
        const char *path = qsr_path_child(r->arena, b->path, o->name);
        qsr_error e = {0};
        if (t->nodes[i]) continue;
        if (o->flags & QSR_OPT_REQUIRED) {
            if (!r->whole) continue;
            qsr_problems_add(r->problems, swept ? b->plugin_word->mark : b->mark, path, NULL,
                             "required%s%s, but not written", b->plugin ? " by " : "", b->plugin ? b->plugin->name : "");
        } else if (qsr_option_default(o, r->arena, t->values, &e)) {
            qsr_problems_add(r->problems, b->mark, path, NULL, "its default is refused: %s", e.text);
        }
    }
}

static void fill(resolver *r, block *b)
{
    if (b->map) walk(r, b, b->map, "");
    for (size_t i = 0; i < b->n_targets; i++) finish(r, b, &b->targets[i]);
}

/* ---- the host's parts ------------------------------------------------------------------------------------------------ */

/* Finds the mapping at a top-level key: b->map stays NULL when it is missing or empty. false: there is something else. */
static bool top_map(resolver *r, const char *key, block *b)
{
    const qsr_entry *entry = qsr_node_find(r->root, key);
    b->path = key;
    b->mark = entry ? entry->mark : (qsr_mark){r->root->mark.source, 0, 0, 0};
    if (!entry) return true;
    const qsr_node *value = qsr_node_plain(entry->value);
    if (value->kind == QSR_MAP) b->map = value;
    if (value->kind == QSR_MAP || qsr_node_is_null(value)) return true;
    qsr_problems_add(r->problems, value->mark, key, NULL, "expected a mapping, not %s", qsr_node_says(r->arena, value));
    return false;
}

static target part_target(resolver *r, unsigned index)
{
    const qsr_part *part = qsr_experiment_part(index);
    target t = make_target(r, part->options, (char *)r->spec + part->offset, false);
    r->spec->written[index] = (qsr_written){t.marks, t.nodes};
    return t;
}

static void resolve_part(resolver *r, unsigned index)
{
    const qsr_part *part = qsr_experiment_part(index);
    block b = {.help = "spec", .n_targets = 1};
    b.targets[0] = part_target(r, index);
    if (top_map(r, part->key, &b)) fill(r, &b);
}

static void resolve_top(resolver *r)
{
    static const char *const keys[] = {"dataset", "sae",     "activation", "losses", "train",
                                       "eval",    "extends", "grid",       "seeds",  NULL};
    block b = {.path = "", .help = "spec", .map = r->root, .mark = r->root->mark, .read = keys, .n_targets = 1};
    b.targets[0] = part_target(r, QSR_PART_TOP);
    fill(r, &b);
    for (size_t i = 6; keys[i]; i++) {
        const qsr_entry *entry = qsr_node_find(r->root, keys[i]);
        if (entry && i == 6)
            qsr_problems_add(r->problems, entry->mark, keys[i], NULL,
                             "extends stands at the top of a file and nowhere else");
        else if (entry)
            qsr_problems_add(
                r->problems, entry->mark, keys[i],
                qsr_arena_printf(r->arena, "%s=off on the command line leaves the experiment beneath", keys[i]),
                "makes several experiments, and one is meant here");
    }
}

/* ---- plugins --------------------------------------------------------------------------------------------------------- */

static bool is_name(const char *text)
{
    return text[0] >= 'a' && text[0] <= 'z' && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

static const char *kind_text(uint32_t kind)
{
    return kind == QSR_ACTIVATION ? "activation" : kind == QSR_LOSS ? "loss" : "dataset";
}

static bool table_is_sound(resolver *r, const qsr_plugin *plugin, qsr_mark mark, const char *path)
{
    qsr_text faults = {0};
    size_t n = qsr_plugin_lint_options(plugin, &faults);
    if (n)
        qsr_problems_add(r->problems, mark, path, NULL, "plugin %s has a broken option table: %.*s", plugin->name,
                         (int)strcspn(faults.bytes, "\n"), faults.bytes);
    qsr_text_free(&faults);
    return n == 0;
}

static const qsr_plugin *find_plugin(resolver *r, uint32_t kind, const char *name, qsr_mark mark, const char *path)
{
    const char *near = NULL, *hint = NULL, *word = kind_text(kind);
    qsr_error e = {0};
    if (!is_name(name)) {
        qsr_problems_add(r->problems, mark, path, "--plugin-dir and QUASAR_PLUGIN_PATH add folders to look in",
                         "%s is not the name of a plugin: a spec names plugins, never files", qsr_quoted(r->arena, name));
        return NULL;
    }
    const qsr_plugin *plugin = r->env->find(r->env->ctx, kind, name, &near, &e);
    if (plugin) return table_is_sound(r, plugin, mark, path) ? plugin : NULL;
    if (e.code) {
        qsr_problems_add(r->problems, mark, path, NULL, "%s", e.text);
        return NULL;
    }
    hint = near ? qsr_arena_printf(r->arena, "did you mean '%s'?", near) : "'quasar plugins' lists those that were found";
    qsr_problems_add(r->problems, mark, path, hint, "there is no %s plugin %s", word, qsr_quoted(r->arena, name));
    return NULL;
}

/* Reads `plugin:` of a block (or takes `name` where it may be left out) and finds it. */
static const qsr_plugin *plugin_of(resolver *r, uint32_t kind, block *b, const char *name)
{
    const qsr_entry *entry = qsr_node_find(b->map, "plugin");
    const char *path = qsr_path_child(r->arena, b->path, "plugin");
    if (!entry && name) return find_plugin(r, kind, name, b->mark, b->path);
    if (!entry && r->whole) qsr_problems_add(r->problems, b->mark, path, NULL, "required, but not written");
    if (!entry) return NULL;
    b->plugin_word = qsr_node_plain(entry->value);
    if (b->plugin_word->kind == QSR_SCALAR && !qsr_node_is_null(b->plugin_word))
        return find_plugin(r, kind, b->plugin_word->text, b->plugin_word->mark, path);
    qsr_problems_add(r->problems, b->plugin_word->mark, path, NULL, "expected the name of a plugin, not %s",
                     qsr_node_says(r->arena, b->plugin_word));
    return NULL;
}

/* Finds the block's plugin and reads its options beside those of the host, if there are any in targets already. */
static void resolve_block(resolver *r, uint32_t kind, block *b, const char *instance, const char *name, qsr_block *ret)
{
    static const char *const read[] = {"plugin", NULL};
    b->read = read;
    const qsr_plugin *plugin = plugin_of(r, kind, b, name);
    if (!plugin) {
        b->lenient = true;
        fill(r, b);
        return;
    }
    b->plugin = plugin;
    b->help = qsr_arena_printf(r->arena, "%s/%s", kind_text(kind), plugin->name);
    void *values = qsr_arena_alloc(r->arena, plugin->options_size, 1);
    target *t = &b->targets[b->n_targets++];
    *t = make_target(r, qsr_plugin_options(plugin), values, true);
    fill(r, b);
    *ret = (qsr_block){instance, plugin, values, t->marks, t->nodes, t->schedules, t->n_schedules, b->mark};
}

/* A loss that is off was there (a map that was switched), or is at least the name of one: no misspelt `losses.auxkk=off`. */
static void check_off(resolver *r, const qsr_node *losses, const qsr_entry *entry)
{
    const char *near = NULL, *path = qsr_path_child(r->arena, "losses", entry->key);
    const char **others = qsr_arena_alloc(r->arena, losses->count + 1, sizeof *others);
    qsr_error e = {0};
    if (entry->value->kind == QSR_MAP || r->env->find(r->env->ctx, QSR_LOSS, entry->key, &near, &e)) return;
    for (size_t i = 0, n = 0; i < losses->count; i++)
        if (&losses->entries[i] != entry) others[n++] = losses->entries[i].key;
    near = qsr_nearest(entry->key, others);
    qsr_problems_add(r->problems, entry->mark, path, near ? qsr_arena_printf(r->arena, "did you mean '%s'?", near) : NULL,
                     "there is no such loss to switch off");
}

static void resolve_loss(resolver *r, const qsr_node *losses, const qsr_entry *entry)
{
    const qsr_node *value = entry->value;
    qsr_spec *spec = r->spec;
    block b = {.path = qsr_path_child(r->arena, "losses", entry->key), .mark = entry->mark};
    if (qsr_node_is_word(qsr_node_plain(value), "off")) {
        check_off(r, losses, entry);
    } else if (!is_name(entry->key)) {
        qsr_problems_add(r->problems, entry->mark, b.path, NULL,
                         "a loss is named with a-z, 0-9 and _, starting with a letter");
    } else if (value->kind == QSR_MAP || qsr_node_is_null(value) || qsr_node_is_word(value, "on")) {
        if (value->kind == QSR_MAP) b.map = value;
        resolve_block(r, QSR_LOSS, &b, entry->key, entry->key, &spec->losses[spec->n_losses]);
        spec->n_losses += spec->losses[spec->n_losses].plugin != NULL;
    } else {
        qsr_problems_add(r->problems, value->mark, b.path, NULL, "expected a mapping of options, on or off, not %s",
                         qsr_node_says(r->arena, value));
    }
}

static void resolve_losses(resolver *r)
{
    block b = {0};
    size_t before = r->problems->count;
    if (!top_map(r, "losses", &b)) return;
    size_t n = b.map ? b.map->count : 0;
    r->spec->losses = qsr_arena_alloc(r->arena, n, sizeof *r->spec->losses);
    for (size_t i = 0; i < n; i++) resolve_loss(r, b.map, &b.map->entries[i]);
    for (size_t i = 0; i < n; i++) { /* a block of a grid that switched the last one off is to blame */
        const qsr_node *value = qsr_node_plain(b.map->entries[i].value);
        if (value->swept) b.mark = value->mark;
    }
    if (r->spec->n_losses == 0 && r->problems->count == before)
        qsr_problems_add(r->problems, b.mark, "losses", NULL, "at least one loss is needed, such as mse: {}");
}

/* ---- checks across options ------------------------------------------------------------------------------------------- */

static void check_name(resolver *r)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    qsr_spec *spec = r->spec;
    if (!spec->name) {
        const char *base = qsr_path_base(spec->path), *dot = strrchr(base, '.');
        char *name = qsr_arena_strndup(r->arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
        for (char *c = name; *c; c++)
            if (!strchr(legal, *c) || (c == name && *c == '.')) *c = '-';
        if (strlen(name) > 100) name[100] = 0;
        spec->name = name[0] ? name : "spec";
        return;
    }
    size_t n = strlen(spec->name);
    if (n == 0 || n > 100 || spec->name[0] == '.' || strspn(spec->name, legal) != n)
        qsr_problems_add(r->problems, qsr_spec_place(spec, "name"), "name", NULL,
                         "%s cannot name a folder: use up to 100 of A-Z a-z 0-9 . _ - and no dot in front",
                         qsr_quoted(r->arena, spec->name));
}

static void check_training(resolver *r)
{
    const qsr_train_options *train = &r->spec->train;
    char sum[32];
    if (train->warmup + train->decay > 1 + 1e-9)
        qsr_problems_add(r->problems, qsr_spec_place(r->spec, "train.warmup"), "train.warmup", NULL,
                         "warmup and decay together are %s of training, more than 1",
                         qsr_real_text(train->warmup + train->decay, sum, sizeof sum));
    if (train->tokens > 0 && train->batch > 0 && train->tokens < train->batch)
        qsr_problems_add(r->problems, qsr_spec_place(r->spec, "train.tokens"), "train.tokens", NULL,
                         "%lld is less than one batch: train.batch is %lld", (long long)train->tokens,
                         (long long)train->batch);
}

void qsr_resolve(qsr_spec *spec, qsr_node *root, bool whole, const qsr_spec_env *env, qsr_problems *problems)
{
    resolver r = {spec, root, env, problems, &spec->arena, whole};
    spec->tree = root;
    resolve_top(&r);
    block dataset = {.n_targets = 1}, activation = {0};
    dataset.targets[0] = part_target(&r, QSR_PART_DATASET);
    if (top_map(&r, "dataset", &dataset)) resolve_block(&r, QSR_DATASET, &dataset, "dataset", NULL, &spec->dataset);
    if (env->data_only) r.whole = false;
    if (top_map(&r, "activation", &activation))
        resolve_block(&r, QSR_ACTIVATION, &activation, "activation", NULL, &spec->activation);
    resolve_losses(&r);
    resolve_part(&r, QSR_PART_SAE);
    resolve_part(&r, QSR_PART_TRAIN);
    resolve_part(&r, QSR_PART_EVAL);
    check_name(&r);
    check_training(&r);
}

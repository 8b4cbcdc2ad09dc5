#include "spec/spec.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "spec/experiment.h"
#include "spec/load.h"
#include "spec/option.h"

/* A spec that says nothing about losses has {mse: {}}, also underneath an override such as losses.afa.coeff=1/32. */
static void default_losses(qsr_arena *arena, qsr_node *root)
{
    qsr_mark nowhere = {root->mark.source, 0, 0, 0};
    if (qsr_node_find(root, "losses")) return;
    qsr_node *losses = qsr_node_make(arena, QSR_MAP, nowhere);
    qsr_node_put(arena, losses, "mse", nowhere, qsr_node_make(arena, QSR_MAP, nowhere));
    qsr_node_put(arena, root, "losses", nowhere, losses);
}

qsr_node *qsr_spec_read(qsr_arena *arena, const char *path, const char *text, size_t size, const char *const *overrides,
                        size_t n_overrides, const qsr_spec_env *env, bool *ret_whole, qsr_overrides *ret,
                        qsr_problems *problems)
{
    qsr_node *root = qsr_extends_read(arena, path, text, size, env, ret_whole, problems);
    if (root) default_losses(arena, root);
    qsr_node *laid = root ? root : qsr_node_make(arena, QSR_MAP, (qsr_mark){0});
    qsr_override_apply(arena, laid, overrides, n_overrides, ret, problems);
    static const char *const several[] = {"grid", "seeds"};
    for (int i = 0; i < 2; i++) {
        const qsr_entry *entry = qsr_node_find(laid, several[i]);
        if (entry && qsr_node_is_word(qsr_node_plain(entry->value), "off")) qsr_node_remove(laid, several[i]);
    }
    return root;
}

void qsr_spec_warn(const qsr_spec *spec)
{
    for (size_t i = 0; i < spec->n_notices; i++) qsr_log(QSR_LOG_WARNING, "%s", spec->notices[i]);
}

/* Takes off what says nothing about the data: grids, and parts that were switched off. */
static void leave_data(qsr_spec *spec, qsr_node *root)
{
    static const char *const several[] = {"grid", "seeds"}, *const parts[] = {"activation", "sae", "losses", "train"};
    for (int i = 0; i < 2; i++) {
        spec->of_several = spec->of_several || qsr_node_find(root, several[i]);
        qsr_node_remove(root, several[i]);
    }
    for (int i = 0; i < 4; i++) {
        const qsr_entry *entry = qsr_node_find(root, parts[i]);
        if (entry && qsr_node_is_word(qsr_node_plain(entry->value), "off")) qsr_node_remove(root, parts[i]);
    }
}

static qsr_status load(const char *path, const char *text, size_t size, const char *const *overrides, size_t n_overrides,
                       const qsr_spec_env *env, qsr_spec **ret, qsr_problems *problems)
{
    size_t before = problems->count + problems->dropped;
    qsr_spec *spec = qsr_xcalloc(1, sizeof *spec);
    qsr_overrides laid;
    *ret = NULL;
    spec->path = qsr_arena_strdup(&spec->arena, path);
    bool whole;
    qsr_node *root = qsr_spec_read(&spec->arena, path, text, size, overrides, n_overrides, env, &whole, &laid, problems);
    for (size_t i = 0; i < laid.swept.n; i++)
        qsr_problems_add(problems, laid.swept.items[i].mark, laid.swept.items[i].key, "a text with commas needs quotes",
                         "several values make several experiments, and one is meant here");
    if (root && env->data_only) leave_data(spec, root);
    if (root) qsr_resolve(spec, root, whole, env, problems);
    if (problems->count + problems->dropped > before) {
        qsr_spec_free(spec);
        return QSR_E_OPTION;
    }
    qsr_spec_warn(spec);
    qsr_spec_identify(spec);
    *ret = spec;
    return QSR_OK;
}

qsr_status qsr_spec_load(const char *path, const char *const *overrides, size_t n_overrides, const qsr_spec_env *env,
                         qsr_spec **ret, qsr_problems *problems)
{
    return load(path, NULL, 0, overrides, n_overrides, env, ret, problems);
}

qsr_status qsr_spec_load_text(const char *name, const char *text, size_t size, const char *const *overrides,
                              size_t n_overrides, const qsr_spec_env *env, qsr_spec **ret, qsr_problems *problems)
{
    return load(name, text ? text : "", size, overrides, n_overrides, env, ret, problems);
}

void qsr_spec_free(qsr_spec *spec)
{
    if (!spec) return;
    qsr_arena_free(&spec->arena);
    free(spec);
}

/* ---- places ---------------------------------------------------------------------------------------------------------- */

qsr_mark qsr_spec_place(const qsr_spec *spec, const char *path)
{
    qsr_arena arena = {0};
    char *above = qsr_arena_strdup(&arena, path);
    qsr_mark mark = {spec->tree->mark.source, 0, 0, 0};
    const qsr_entry *entry = qsr_node_at(spec->tree, above);
    if (entry) mark = qsr_node_plain(entry->value)->mark;
    for (char *dot; !entry && (dot = strrchr(above, '.'));) {
        *dot = 0;
        entry = qsr_node_at(spec->tree, above);
        if (entry) mark = entry->mark;
    }
    qsr_arena_free(&arena);
    return mark;
}

/* "sae.init_from": an option of the experiment's own by its whole path. */
static bool is_of_experiment(const char *path)
{
    for (unsigned i = 0; i < QSR_PARTS; i++) {
        const qsr_part *part = qsr_experiment_part(i);
        size_t n = strlen(part->key), index;
        if (n && qsr_starts_with(path, part->key) && path[n] == '.' && qsr_option_find(&part->options, path + n + 1, &index))
            return true;
    }
    return false;
}

void qsr_spec_blame(const qsr_spec *spec, const qsr_block *block, const qsr_error *e, qsr_problems *problems)
{
    qsr_arena arena = {0};
    bool loss = block != &spec->dataset && block != &spec->activation;
    const char *path = loss ? qsr_path_child(&arena, "losses", block->instance) : block->instance;
    qsr_option_table table = qsr_plugin_options(block->plugin);
    qsr_mark mark = block->mark;
    size_t index;
    if (e->option[0]) {
        const char *child = qsr_path_child(&arena, path, e->option);
        bool own = !qsr_option_find(&table, e->option, &index), whole = own && is_of_experiment(e->option);
        if (!own && block->marks[index].line) mark = block->marks[index];
        path = whole ? e->option : child;
        if (whole || (own && is_of_experiment(child))) mark = qsr_spec_place(spec, path);
    }
    qsr_problems_add(problems, mark, path, NULL, "%s", e->text);
    qsr_arena_free(&arena);
}

/* ---- schedules ------------------------------------------------------------------------------------------------------- */

static double schedule_value(const qsr_schedule *s, uint64_t step, uint64_t steps)
{
    double length = s->over * (double)steps;
    if (!((double)step < length)) return s->to;
    double t = (double)step / length;
    if (s->cosine) t = (1 - cos(acos(-1) * t)) / 2;
    return s->from + (s->to - s->from) * t;
}

void qsr_spec_schedule(const qsr_block *block, uint64_t step, uint64_t steps)
{
    for (size_t i = 0; i < block->n_schedules; i++) {
        const qsr_schedule *s = &block->schedules[i];
        qsr_option_set_real(s->option, block->values, schedule_value(s, step, steps));
    }
}

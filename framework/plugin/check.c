#include "plugin/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "base/text.h"
#include "plugin/check-parts.h"
#include "plugin/loader.h"
#include "spec/option.h"

/* ---- the report */

const char *qsr_check_verdict_name(qsr_check_verdict verdict)
{
    static const char *const names[] = {"ok", "FAIL", "not tested", "note"};
    return names[verdict];
}

static void add_line(qsr_check_report *r, const char *plugin, const char *name, qsr_check_verdict verdict,
                     const char *detail)
{
    if (r->count == r->capacity) {
        r->capacity = qsr_max_size(32, 2 * r->capacity);
        r->lines = qsr_xrealloc(r->lines, r->capacity, sizeof *r->lines);
    }
    r->lines[r->count++] = (qsr_check_line){plugin, name, verdict, qsr_arena_strdup(&r->arena, detail)};
    r->failures += verdict == QSR_CHECK_FAIL || verdict == QSR_CHECK_NOT_TESTED;
}

static void announce(qsr_check_running *r, const char *plugin, const char *name)
{
    if (!r) return;
    snprintf(r->plugin, sizeof r->plugin, "%s", plugin);
    snprintf(r->name, sizeof r->name, "%s", name);
}

void qsr_check_run(const qsr_check *c, const char *name, qsr_check_test test)
{
    qsr_error e = {0};
    announce(c->report->running, c->label, name);
    qsr_status status = test(c, &e);
    announce(c->report->running, c->label, "");
    if (!status && c->options && memcmp(c->options, c->snapshot, c->plugin->options_size) != 0)
        status = qsr_fail(&e, QSR_E_INTERNAL, "the options were changed, which are the host's");
    qsr_check_verdict verdict = status == QSR_OK              ? QSR_CHECK_OK
                                : status == QSR_END           ? QSR_CHECK_NOTE
                                : status == QSR_E_UNSUPPORTED ? QSR_CHECK_NOT_TESTED
                                                              : QSR_CHECK_FAIL;
    if (verdict == QSR_CHECK_NOTE && c->variant) return;
    add_line(c->report, c->label, name, verdict, e.text);
}

void qsr_check_report_free(qsr_check_report *r)
{
    free(r->lines);
    qsr_arena_free(&r->arena);
    *r = (qsr_check_report){0};
}

/* ---- options: defaults, what was given, and for the rest something sensible */

/* A number within the range, near 4 (large enough to select with, small enough for the test shapes). */
static const char *suggest_number(const qsr_option *o, qsr_arena *arena)
{
    double value = o->type == QSR_OPT_REAL ? 0.25 : 4;
    if (o->flags & QSR_OPT_RANGE) {
        double low = o->min, high = o->max;
        if (value < low || (value == low && (o->flags & QSR_OPT_OPEN_MIN)))
            value = o->type == QSR_OPT_REAL ? (low + high) / 2 : low + 1;
        if (value > high || (value == high && (o->flags & QSR_OPT_OPEN_MAX)))
            value = o->type == QSR_OPT_REAL ? (low + high) / 2 : low;
    }
    char text[32];
    return qsr_arena_strdup(arena, qsr_real_text(value, text, sizeof text));
}

static const char *suggest(const qsr_option *o, qsr_arena *arena)
{
    if (o->type == QSR_OPT_BOOL) return "true";
    if (o->type == QSR_OPT_INT || o->type == QSR_OPT_UINT || o->type == QSR_OPT_REAL) return suggest_number(o, arena);
    return o->choices ? o->choices[0] : NULL;
}

static qsr_status fill_option(const qsr_plugin *plugin, const qsr_option *o, qsr_arena *arena, void *values, qsr_error *e)
{
    if (!(o->flags & QSR_OPT_REQUIRED)) return qsr_option_default(o, arena, values, e);
    const char *text = suggest(o, arena);
    if (!text)
        return qsr_fail_option(e, QSR_E_OPTION, o->name,
                               "%s/%s needs %s, for which there is no value to try: give %s=VALUE",
                               qsr_kind_name(plugin->abi.kind), plugin->name, o->name, o->name);
    return qsr_option_store(o, &text, 1, NULL, arena, values, NULL, e);
}

static const char *setting_value(const char *setting, const qsr_option *o)
{
    const char *names[] = {o->name, o->alias};
    for (size_t i = 0; i < 2; i++) {
        size_t n = names[i] ? strlen(names[i]) : 0;
        if (n && strncmp(setting, names[i], n) == 0 && setting[n] == '=') return setting + n + 1;
    }
    return NULL;
}

/* The last setting of an option decides; a list is written with commas. */
static const char *find_setting(const qsr_option *o, const char *const *settings, size_t n)
{
    for (size_t i = n; i-- > 0;)
        if (setting_value(settings[i], o)) return setting_value(settings[i], o);
    return NULL;
}

static qsr_status store_setting(const qsr_option *o, const char *text, qsr_arena *arena, void *values, qsr_error *e)
{
    enum { MOST = 256 };
    const char *items[MOST];
    size_t n = 1;
    items[0] = text;
    if (o->type == QSR_OPT_STRINGS) {
        char *copy = qsr_arena_strdup(arena, text), *next;
        for (n = 0; copy && n < MOST; copy = next) {
            next = strchr(copy, ',');
            if (next) *next++ = 0;
            items[n++] = copy;
        }
    }
    qsr_status status = qsr_option_store(o, items, n, NULL, arena, values, NULL, e);
    if (status) qsr_context(e, "%s", o->name);
    return status;
}

static qsr_status refuse_unknown(const qsr_option_table *table, const char *setting, qsr_error *e)
{
    char name[64];
    size_t n = strcspn(setting, "=");
    if (!setting[n] || n >= sizeof name)
        return qsr_fail(e, QSR_E_OPTION, "'%s' is no setting: write option=value", setting);
    memcpy(name, setting, n);
    name[n] = 0;
    if (qsr_option_find(table, name, NULL)) return QSR_OK;
    const char **names = qsr_xcalloc(table->count + 1, sizeof *names);
    for (size_t i = 0; i < table->count; i++) names[i] = qsr_option_at(table, i)->name;
    const char *near = qsr_nearest(name, names);
    free(names);
    return qsr_fail_option(e, QSR_E_OPTION, name, "no option '%s'%s%s%s", name, near ? "; did you mean '" : "",
                           near ? near : "", near ? "'?" : "");
}

static qsr_status fill_options(const qsr_plugin *plugin, const char *const *settings, size_t n, qsr_arena *arena,
                               void **ret_values, qsr_error *e)
{
    qsr_option_table table = qsr_plugin_options(plugin);
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < n && !status; i++) status = refuse_unknown(&table, settings[i], e);
    void *values = qsr_arena_alloc(arena, 1, plugin->options_size);
    for (size_t i = 0; i < table.count && !status; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        const char *text = find_setting(o, settings, n);
        status = text ? store_setting(o, text, arena, values, e) : fill_option(plugin, o, arena, values, e);
    }
    *ret_values = values;
    return status;
}

/* ---- one plugin */

/* Small, odd where a multiple of a vector's width would hide a mistake, and with fewer rows than latents. */
static qsr_shape shape_for(uint32_t kind)
{
    qsr_shape shape = {.struct_size = sizeof shape, .batch_rows = 11, .has_surrogate = 1, .dead_after = 1000};
    if (kind != QSR_DATASET) shape.d_in = 9, shape.d_sae = 67;
    return shape;
}

static qsr_status test_create(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, NULL, &made, e);
    if (!status) qsr_made_free(made);
    return status == QSR_E_UNSUPPORTED ? QSR_E_OPTION : status;
}

static qsr_status test_option_table(const qsr_check *c, qsr_error *e)
{
    qsr_text list = {0};
    size_t n = qsr_plugin_lint_options(c->plugin, &list);
    if (n) qsr_fail(e, QSR_E_OPTION, "%s", list.bytes);
    qsr_text_free(&list);
    return n ? QSR_E_OPTION : QSR_OK;
}

static void run_numbers(const qsr_check *c)
{
    if (c->plugin->abi.kind == QSR_ACTIVATION) qsr_check_activation(c);
    if (c->plugin->abi.kind == QSR_LOSS) qsr_check_loss(c);
    if (c->plugin->abi.kind == QSR_DATASET) qsr_check_dataset(c);
}

static void run_all(const qsr_check *c)
{
    size_t before = c->report->failures;
    qsr_check_run(c, "create", test_create);
    if (c->report->failures > before) return; /* nothing else can be tried */
    qsr_check_lifecycle(c);
    run_numbers(c);
    qsr_check_state(c);
}

/* Each word of a choice and each switch is a plugin of its own as far as numbers go: those that differ from what was tested
 * already are tested one at a time. */
static void run_variant(qsr_check c, const qsr_option *o, const char *word, const char *const *settings, size_t n)
{
    qsr_arena *arena = &c.report->arena;
    const char *const *now;
    if (find_setting(o, settings, n)) return;
    if (qsr_option_texts(o, c.options, arena, &now) == 1 && strcmp(now[0], word) == 0) return;
    const char **all = qsr_arena_alloc(arena, n + 1, sizeof *all);
    for (size_t i = 0; i < n; i++) all[i] = settings[i];
    all[n] = qsr_arena_printf(arena, "%s=%s", o->name, word);
    void *values;
    if (fill_options(c.plugin, all, n + 1, arena, &values, NULL)) return;
    c.variant = true;
    c.options = values;
    c.snapshot = qsr_arena_alloc(arena, 1, c.plugin->options_size);
    if (c.plugin->options_size) memcpy(c.snapshot, values, c.plugin->options_size);
    c.label = qsr_arena_printf(arena, "%s %s", c.label, all[n]);
    qsr_made *made;
    if (qsr_check_make(&c, NULL, &made, NULL)) return; /* may be a combination that create refuses */
    qsr_made_free(made);
    run_numbers(&c);
    qsr_check_state(&c);
}

static void run_variants(const qsr_check *c, const char *const *settings, size_t n)
{
    qsr_option_table table = qsr_plugin_options(c->plugin);
    for (size_t i = 0; i < table.count; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        for (size_t j = 0; o->choices && o->choices[j]; j++) run_variant(*c, o, o->choices[j], settings, n);
        if (o->type != QSR_OPT_BOOL) continue;
        run_variant(*c, o, "true", settings, n);
        run_variant(*c, o, "false", settings, n);
    }
}

static qsr_status start_pools(qsr_check *c, qsr_error *e)
{
    qsr_status status = qsr_pool_create(1, &c->one, e);
    return status ? status : qsr_pool_create(4, &c->four, e);
}

qsr_status qsr_check_make(const qsr_check *c, qsr_pool *pool, qsr_made **ret, qsr_error *e)
{
    return qsr_made_create(c->plugin, &c->shape, c->options, 7, pool, ret, e);
}

/* What needs no instance comes first: a faulty option table cannot be filled. */
static qsr_status check_with(qsr_check *c, const char *const *settings, size_t n, qsr_error *e)
{
    size_t before = c->report->failures, size = c->plugin->options_size;
    qsr_check_run(c, "options", test_option_table);
    bool usable = c->report->failures == before;
    qsr_check_identity(c);
    if (!usable) return QSR_OK;
    void *values;
    qsr_status status = fill_options(c->plugin, settings, n, &c->report->arena, &values, e);
    if (status) return status;
    c->options = values;
    c->snapshot = qsr_arena_alloc(&c->report->arena, 1, size);
    if (size) memcpy(c->snapshot, values, size);
    qsr_scratch_poison(true);
    run_all(c);
    if (c->report->failures == before) run_variants(c, settings, n);
    return QSR_OK;
}

qsr_status qsr_check_plugin(const qsr_found *found, const char *const *settings, size_t n, qsr_check_report *report,
                            qsr_error *e)
{
    const qsr_plugin *plugin = found->plugin;
    qsr_check c = {.found = found, .plugin = plugin, .shape = shape_for(plugin->abi.kind), .report = report};
    c.label = qsr_arena_printf(&report->arena, "%s/%s", qsr_kind_name(plugin->abi.kind), plugin->name);
    qsr_status status = start_pools(&c, e);
    if (!status) status = check_with(&c, settings, n, e);
    qsr_pool_free(c.one);
    qsr_pool_free(c.four);
    return status;
}

qsr_status qsr_check_file(const char *path, const char *const *settings, size_t n, qsr_check_report *report, qsr_error *e)
{
    const qsr_module *module = NULL;
    qsr_status status = qsr_module_load(path, &module, e);
    for (size_t i = 0; !status && i < module->count; i++) {
        qsr_found found = {module->plugins[i], module->path};
        status = qsr_check_plugin(&found, settings, n, report, e);
    }
    return status;
}

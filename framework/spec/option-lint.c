#include "spec/option.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "spec/experiment.h"

typedef struct {
    const qsr_option_table *table;
    size_t options_size;
    qsr_text *out;
    size_t count;
} linter;

static void complain(linter *l, const qsr_option *o, const char *text, const char *detail)
{
    qsr_text_add(l->out, "option %s: %s%s\n", o->name && o->name[0] ? o->name : "(without a name)", text, detail);
    l->count++;
}

/* Words of [a-z0-9_], joined by single dots. */
static bool good_name(const char *name)
{
    bool start = true;
    if (!name) return false;
    for (const char *c = name; *c; c++) {
        if (*c == '.' ? start : !(islower((unsigned char)*c) || (!start && (isdigit((unsigned char)*c) || *c == '_'))))
            return false;
        start = *c == '.';
    }
    return !start;
}

static void lint_names(linter *l, const qsr_option *o, const char *const *reserved)
{
    if (!good_name(o->name)) complain(l, o, "its name must be made of words of a-z, 0-9 and _, joined by dots", "");
    if (o->alias && !good_name(o->alias)) complain(l, o, "its alias is no good name: ", o->alias);
    if (o->alias && o->name && strcmp(o->alias, o->name) == 0) complain(l, o, "its alias is its name", "");
    if (!o->help || !o->help[0]) complain(l, o, "it has no help", "");
    for (size_t i = 0; reserved && reserved[i]; i++) {
        if (o->name && strcmp(o->name, reserved[i]) == 0) complain(l, o, "the host reads this key itself", "");
        if (o->alias && strcmp(o->alias, reserved[i]) == 0) complain(l, o, "the host reads its alias itself: ", o->alias);
    }
}

static size_t type_size(uint32_t type)
{
    static const size_t sizes[] = {
        0, sizeof(int64_t), sizeof(uint64_t), sizeof(double), sizeof(bool), sizeof(char *), sizeof(qsr_strings)};
    return type < sizeof sizes / sizeof sizes[0] ? sizes[type] : 0;
}

static bool is_number(const qsr_option *o) { return o->type >= QSR_OPT_INT && o->type <= QSR_OPT_REAL; }
static bool is_string(const qsr_option *o) { return o->type == QSR_OPT_STRING || o->type == QSR_OPT_STRINGS; }

static bool lint_place(linter *l, const qsr_option *o)
{
    size_t end, size = type_size(o->type), before = l->count;
    if (size == 0)
        complain(l, o, "it has an unknown type", "");
    else if (o->size != size)
        complain(l, o, "the size of its field is not that of its type", "");
    if (!qsr_add_size(o->offset, o->size, &end) || end > l->options_size)
        complain(l, o, "its field lies outside the options struct", "");
    else if (size && o->type != QSR_OPT_BOOL && o->offset % _Alignof(double) != 0)
        complain(l, o, "its field is not aligned", "");
    return l->count == before;
}

static void lint_flags(linter *l, const qsr_option *o)
{
    bool required = o->flags & QSR_OPT_REQUIRED, optional = o->flags & QSR_OPT_OPTIONAL;
    if (required && optional) complain(l, o, "it cannot be both REQUIRED and OPTIONAL", "");
    if ((required || optional) && o->def) complain(l, o, "REQUIRED and OPTIONAL have no default, but it has ", o->def);
    if (!required && !optional && !o->def) complain(l, o, "without a default it must be REQUIRED or OPTIONAL", "");
    if (o->flags & QSR_OPT_RANGE && !is_number(o)) complain(l, o, "only numbers have a RANGE", "");
    if (!(o->flags & QSR_OPT_RANGE) && (o->flags & (QSR_OPT_OPEN_MIN | QSR_OPT_OPEN_MAX) || o->min != 0 || o->max != 0))
        complain(l, o, "it has limits but not the flag RANGE", "");
    if (o->flags & QSR_OPT_RANGE && !(o->min <= o->max)) complain(l, o, "its range is empty: min is above max", "");
    if (o->flags & QSR_OPT_PATH && !is_string(o)) complain(l, o, "only strings can be a PATH", "");
    if (o->flags & QSR_OPT_PATH && o->def) complain(l, o, "a PATH has no default: it would depend on the folder", "");
    if (o->flags & QSR_OPT_ONE_PLAIN && o->type != QSR_OPT_STRINGS) complain(l, o, "only STRINGS can be ONE_PLAIN", "");
    if (o->flags & QSR_OPT_SCHEDULE && !is_number(o)) complain(l, o, "only numbers can have a SCHEDULE", "");
    if (o->choices && o->type != QSR_OPT_STRING) complain(l, o, "only a STRING has choices", "");
    if (o->choices && !o->choices[0]) complain(l, o, "its list of choices is empty", "");
}

static void lint_default(linter *l, const qsr_option *o)
{
    if (!o->def) return;
    qsr_arena arena = {0};
    qsr_error e = {0};
    void *values = qsr_arena_alloc(&arena, l->options_size, 1);
    if (qsr_option_default(o, &arena, values, &e)) complain(l, o, "its default is refused: ", e.text);
    qsr_arena_free(&arena);
}

/* One name is the other, or the block the other stands in: `lr` and `lr.from` cannot both be keys. */
static bool collide(const char *a, const char *b)
{
    if (!a || !b) return false;
    size_t n = strlen(a), m = strlen(b), shorter = qsr_min_size(n, m);
    if (strncmp(a, b, shorter) != 0) return false;
    return n == m || (n > m ? a[m] : b[n]) == '.';
}

static void lint_pair(linter *l, const qsr_option *o, const qsr_option *other)
{
    if (collide(o->name, other->name) || collide(o->name, other->alias) || collide(o->alias, other->name) ||
        collide(o->alias, other->alias))
        complain(l, o, "its name or alias collides with option ", other->name ? other->name : "");
    if (o->size && other->size && o->offset < other->offset + other->size && other->offset < o->offset + o->size)
        complain(l, o, "its field overlaps that of option ", other->name ? other->name : "");
}

size_t qsr_options_lint(const qsr_option_table *table, size_t options_size, const char *const *reserved, qsr_text *out)
{
    linter l = {table, options_size, out, 0};
    for (size_t i = 0; i < table->count; i++) {
        const qsr_option *o = qsr_option_at(table, i);
        lint_names(&l, o, reserved);
        bool placed = lint_place(&l, o);
        lint_flags(&l, o);
        if (placed) lint_default(&l, o);
        for (size_t j = 0; j < i; j++) lint_pair(&l, o, qsr_option_at(table, j));
    }
    return l.count;
}

size_t qsr_plugin_lint_options(const qsr_plugin *plugin, qsr_text *out)
{
    qsr_option_table table = qsr_plugin_options(plugin);
    if (plugin->n_options && !plugin->options) {
        qsr_text_puts(out, "n_options is not 0, but there is no table\n");
        return 1;
    }
    if (table.count && table.stride < sizeof(qsr_option)) {
        qsr_text_add(out, "rows of %zu bytes are shorter than those of ABI 1.0, %zu\n", table.stride, sizeof(qsr_option));
        return 1;
    }
    return qsr_options_lint(&table, plugin->options_size, qsr_experiment_reserved(plugin->abi.kind), out);
}

#include "spec/option.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "spec/problem.h"

qsr_option_table qsr_plugin_options(const qsr_plugin *plugin)
{
    return (qsr_option_table){plugin->options, plugin->options ? plugin->n_options : 0, plugin->abi.option_stride};
}

const qsr_option *qsr_option_at(const qsr_option_table *table, size_t index)
{
    return (const qsr_option *)(const void *)((const char *)table->rows + index * table->stride);
}

const qsr_option *qsr_option_find(const qsr_option_table *table, const char *name, size_t *ret_index)
{
    for (size_t i = 0; i < table->count; i++) {
        const qsr_option *o = qsr_option_at(table, i);
        if (strcmp(o->name, name) != 0 && !(o->alias && strcmp(o->alias, name) == 0)) continue;
        if (ret_index) *ret_index = i;
        return o;
    }
    return NULL;
}

static void *field(const qsr_option *o, void *values) { return (char *)values + o->offset; }
static const void *const_field(const qsr_option *o, const void *values) { return (const char *)values + o->offset; }

/* ---- ranges ---------------------------------------------------------------------------------------------------------- */

/* Limits as people write them: 1048576, not 1.04858e+06. */
static const char *limit_text(double value, char *buf, size_t n)
{
    if (value != floor(value) || fabs(value) >= 1e15) return qsr_real_text(value, buf, n);
    snprintf(buf, n, "%.0f", value);
    return buf;
}

/* -1 below the range, 1 above, 0 inside. Integers are compared as integers: a double cannot hold them all. */
static int place_int(const qsr_option *o, int64_t v)
{
    double low = o->flags & QSR_OPT_OPEN_MIN ? floor(o->min) + 1 : ceil(o->min);
    double high = o->flags & QSR_OPT_OPEN_MAX ? ceil(o->max) - 1 : floor(o->max);
    if (low >= 0x1p63 || (low > -0x1p63 && v < (int64_t)low)) return -1;
    return high < -0x1p63 || (high < 0x1p63 && v > (int64_t)high) ? 1 : 0;
}

static int place_uint(const qsr_option *o, uint64_t v)
{
    double low = o->flags & QSR_OPT_OPEN_MIN ? floor(o->min) + 1 : ceil(o->min);
    double high = o->flags & QSR_OPT_OPEN_MAX ? ceil(o->max) - 1 : floor(o->max);
    if (low >= 0x1p64 || (low > 0 && v < (uint64_t)low)) return -1;
    return high < 0 || (high < 0x1p64 && v > (uint64_t)high) ? 1 : 0;
}

static int place_real(const qsr_option *o, double v)
{
    if (o->flags & QSR_OPT_OPEN_MIN ? !(v > o->min) : !(v >= o->min)) return -1;
    return (o->flags & QSR_OPT_OPEN_MAX ? v < o->max : v <= o->max) ? 0 : 1;
}

static qsr_status check_range(const qsr_option *o, int place, const char *text, qsr_error *e)
{
    char limit[40];
    if (!(o->flags & QSR_OPT_RANGE) || place == 0) return QSR_OK;
    limit_text(place < 0 ? o->min : o->max, limit, sizeof limit);
    bool open = o->flags & (place < 0 ? QSR_OPT_OPEN_MIN : QSR_OPT_OPEN_MAX);
    const char *side = place < 0 ? (open ? "not above" : "below the minimum") : open ? "not below" : "above the maximum";
    return qsr_fail(e, QSR_E_OPTION, "%s is %s %s", text, side, limit);
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const char *folder;
    qsr_arena *arena;
    const char *hint;
    qsr_error *e;
} parse;

static bool all_digits(const char *text)
{
    text += text[0] == '-' || text[0] == '+';
    return text[0] && strspn(text, "0123456789_") == strlen(text);
}

static qsr_status refuse_integer(parse *p, const char *text, bool is_signed)
{
    double real;
    const char *quoted = qsr_quoted(p->arena, text);
    if (!is_signed && text[0] == '-' && all_digits(text))
        return qsr_fail(p->e, QSR_E_OPTION, "%s is negative: only integers from 0 are possible", quoted);
    if (all_digits(text) && qsr_parse_real(text, &real))
        return qsr_fail(p->e, QSR_E_OPTION, "%s does not fit into 64 bits", quoted);
    if (qsr_parse_real(text, &real) && real == floor(real) && fabs(real) < 1e15)
        p->hint = qsr_arena_printf(p->arena, "write %.0f", real);
    return qsr_fail(p->e, QSR_E_OPTION, "%s is not an integer", quoted);
}

static qsr_status read_int(const qsr_option *o, parse *p, const char *text, void *to)
{
    int64_t value;
    if (!qsr_parse_int(text, &value)) return refuse_integer(p, text, true);
    qsr_status status = check_range(o, place_int(o, value), text, p->e);
    if (!status) memcpy(to, &value, sizeof value);
    return status;
}

static qsr_status read_uint(const qsr_option *o, parse *p, const char *text, void *to)
{
    uint64_t value;
    if (!qsr_parse_uint(text, &value)) return refuse_integer(p, text, false);
    qsr_status status = check_range(o, place_uint(o, value), text, p->e);
    if (!status) memcpy(to, &value, sizeof value);
    return status;
}

static qsr_status read_real(const qsr_option *o, parse *p, const char *text, void *to)
{
    double value;
    if (!qsr_parse_real(text, &value)) {
        const char *comma = strchr(text, ',');
        if (comma) p->hint = "decimals are written with a point";
        return qsr_fail(p->e, QSR_E_OPTION, "%s is not a finite number", qsr_quoted(p->arena, text));
    }
    value += 0.0; /* -0 is 0: one value, one text */
    qsr_status status = check_range(o, place_real(o, value), text, p->e);
    if (!status) memcpy(to, &value, sizeof value);
    return status;
}

static qsr_status read_bool(parse *p, const char *text, void *to)
{
    bool value = strcmp(text, "true") == 0;
    if (!value && strcmp(text, "false") != 0) {
        static const char *const yes[] = {"True", "TRUE", "yes", "Yes", "on", "On", "1", NULL};
        static const char *const no[] = {"False", "FALSE", "no", "No", "off", "Off", "0", NULL};
        for (size_t i = 0; yes[i]; i++)
            if (strcmp(text, yes[i]) == 0) p->hint = "write true";
        for (size_t i = 0; no[i]; i++)
            if (strcmp(text, no[i]) == 0) p->hint = "write false";
        return qsr_fail(p->e, QSR_E_OPTION, "%s is neither true nor false", qsr_quoted(p->arena, text));
    }
    memcpy(to, &value, sizeof value);
    return QSR_OK;
}

static qsr_status check_choice(const qsr_option *o, parse *p, const char *text)
{
    qsr_text list = {0};
    for (size_t i = 0; o->choices[i]; i++) {
        if (strcmp(o->choices[i], text) == 0) {
            qsr_text_free(&list);
            return QSR_OK;
        }
        qsr_text_add(&list, "%s%s", i ? ", " : "", o->choices[i]);
    }
    const char *near = qsr_nearest(text, o->choices);
    if (near) p->hint = qsr_arena_printf(p->arena, "did you mean '%s'?", near);
    qsr_fail(p->e, QSR_E_OPTION, "%s is not one of %s", qsr_quoted(p->arena, text), list.bytes ? list.bytes : "");
    qsr_text_free(&list);
    return QSR_E_OPTION;
}

/* The string to hand over: paths are resolved, choices checked. */
static qsr_status read_string(const qsr_option *o, parse *p, const char *text, const char **ret)
{
    if (o->choices && check_choice(o, p, text)) return QSR_E_OPTION;
    if (!(o->flags & QSR_OPT_PATH)) {
        *ret = qsr_arena_strdup(p->arena, text);
        return QSR_OK;
    }
    if (!text[0]) return qsr_fail(p->e, QSR_E_OPTION, "an empty path");
    *ret = p->folder ? qsr_path_join(p->arena, p->folder, text) : qsr_arena_strdup(p->arena, text);
    return QSR_OK;
}

static qsr_status read_strings(const qsr_option *o, parse *p, const char *const *texts, size_t n, void *to)
{
    const char **items = qsr_arena_alloc(p->arena, n + 1, sizeof *items);
    for (size_t i = 0; i < n; i++) {
        qsr_status status = read_string(o, p, texts[i], &items[i]);
        if (status) return status;
    }
    qsr_strings strings = {items, n};
    memcpy(to, &strings, sizeof strings);
    return QSR_OK;
}

static qsr_status read_one(const qsr_option *o, parse *p, const char *text, void *to)
{
    const char *string;
    switch (o->type) {
    case QSR_OPT_INT:
        return read_int(o, p, text, to);
    case QSR_OPT_UINT:
        return read_uint(o, p, text, to);
    case QSR_OPT_REAL:
        return read_real(o, p, text, to);
    case QSR_OPT_BOOL:
        return read_bool(p, text, to);
    case QSR_OPT_STRING:
        if (read_string(o, p, text, &string)) return QSR_E_OPTION;
        memcpy(to, &string, sizeof string);
        return QSR_OK;
    default:
        return qsr_fail(p->e, QSR_E_INTERNAL, "its option table gives it the unknown type %u", (unsigned)o->type);
    }
}

qsr_status qsr_option_store(const qsr_option *o, const char *const *texts, size_t n, const char *folder, qsr_arena *arena,
                            void *values, const char **ret_hint, qsr_error *e)
{
    parse p = {folder, arena, NULL, e};
    qsr_status status;
    if (o->type == QSR_OPT_STRINGS) {
        status = read_strings(o, &p, texts, n, field(o, values));
    } else if (n != 1) {
        status = qsr_fail(e, QSR_E_OPTION, "takes one value, not %zu", n);
    } else {
        status = read_one(o, &p, texts[0], field(o, values));
    }
    if (status && ret_hint) *ret_hint = p.hint;
    return status;
}

qsr_status qsr_option_default(const qsr_option *o, qsr_arena *arena, void *values, qsr_error *e)
{
    if (o->def) return qsr_option_store(o, &o->def, 1, NULL, arena, values, NULL, e);
    memset(field(o, values), 0, o->size);
    return QSR_OK;
}

double qsr_option_real(const qsr_option *o, const void *values)
{
    const void *at = const_field(o, values);
    if (o->type == QSR_OPT_INT) return (double)*(const int64_t *)at;
    if (o->type == QSR_OPT_UINT) return (double)*(const uint64_t *)at;
    return o->type == QSR_OPT_REAL ? *(const double *)at : 0;
}

void qsr_option_set_real(const qsr_option *o, void *values, double value)
{
    void *at = field(o, values);
    if (o->type == QSR_OPT_INT) {
        value = round(value);
        *(int64_t *)at = value >= 0x1p63 ? INT64_MAX : value < -0x1p63 ? INT64_MIN : (int64_t)value;
    } else if (o->type == QSR_OPT_UINT) {
        value = round(value);
        *(uint64_t *)at = value >= 0x1p64 ? UINT64_MAX : value < 0 ? 0 : (uint64_t)value;
    } else if (o->type == QSR_OPT_REAL) {
        *(double *)at = value;
    }
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

/* One value as text; NULL for a string that is not set. */
static const char *value_text(const qsr_option *o, const void *at, qsr_arena *arena)
{
    char buf[40];
    switch (o->type) {
    case QSR_OPT_INT:
        return qsr_arena_printf(arena, "%lld", (long long)*(const int64_t *)at);
    case QSR_OPT_UINT:
        return qsr_arena_printf(arena, "%llu", (unsigned long long)*(const uint64_t *)at);
    case QSR_OPT_REAL:
        return qsr_arena_strdup(arena, qsr_real_text(*(const double *)at, buf, sizeof buf));
    case QSR_OPT_BOOL:
        return *(const bool *)at ? "true" : "false";
    case QSR_OPT_STRING:
        return *(const char *const *)at;
    default:
        return NULL;
    }
}

size_t qsr_option_texts(const qsr_option *o, const void *values, qsr_arena *arena, const char *const **ret_texts)
{
    const void *at = const_field(o, values);
    if (o->type == QSR_OPT_STRINGS) {
        const qsr_strings *strings = at;
        *ret_texts = strings->items;
        return strings->count;
    }
    const char **texts = qsr_arena_alloc(arena, 2, sizeof *texts);
    texts[0] = value_text(o, at, arena);
    *ret_texts = texts;
    return texts[0] != NULL;
}

const char *qsr_option_type_text(const qsr_option *o)
{
    bool path = o->flags & QSR_OPT_PATH;
    switch (o->type) {
    case QSR_OPT_INT:
        return "integer";
    case QSR_OPT_UINT:
        return "integer from 0";
    case QSR_OPT_REAL:
        return "real number";
    case QSR_OPT_BOOL:
        return "true or false";
    case QSR_OPT_STRING:
        return path ? "path" : o->choices ? "word" : "text";
    case QSR_OPT_STRINGS:
        return path ? "path or list of paths" : "text or list of texts";
    default:
        return "unknown type";
    }
}

const char *qsr_option_expects(const qsr_option *o)
{
    bool path = o->flags & QSR_OPT_PATH;
    switch (o->type) {
    case QSR_OPT_INT:
        return "an integer";
    case QSR_OPT_UINT:
        return "an integer from 0";
    case QSR_OPT_REAL:
        return "a number";
    case QSR_OPT_BOOL:
        return "true or false";
    case QSR_OPT_STRING:
        return path ? "a path" : o->choices ? "a word" : "a text";
    default:
        return path ? "a path or a list of paths" : "a text or a list of texts";
    }
}

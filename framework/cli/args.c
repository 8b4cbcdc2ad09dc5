#include "cli/args.h"

#include <stdint.h>
#include <string.h>

#include "base/text.h"

struct qsr_arg_given {
    const qsr_arg_option *option;
    const char *value; /* NULL: a switch */
};

typedef struct {
    int argc, next;
    char *const *argv;
    const qsr_arg_option *table;
    const char **words, **overrides, **rest;
    qsr_args_mode mode;
} parse;

static const qsr_arg_option *find_option(const qsr_arg_option *table, const char *name, size_t n)
{
    for (; table && table->name; table++)
        if (strlen(table->name) == n && memcmp(table->name, name, n) == 0) return table;
    return NULL;
}

static qsr_status unknown_option(const qsr_arg_option *table, const char *word, size_t n, qsr_error *e)
{
    const char *names[64] = {"help"};
    size_t count = 1;
    for (; table && table->name && count < 63; table++) names[count++] = table->name;
    char name[64];
    size_t length = n < sizeof name - 1 ? n : sizeof name - 1;
    memcpy(name, word, length);
    name[length] = 0;
    const char *near = qsr_nearest(name, names);
    if (near) return qsr_fail(e, QSR_E_OPTION, "unknown option '--%s'; did you mean '--%s'?", name, near);
    return qsr_fail(e, QSR_E_OPTION, "unknown option '--%s'", name);
}

static void remember(qsr_args *args, const qsr_arg_option *option, const char *value)
{
    args->given[args->n_given++] = (struct qsr_arg_given){option, value};
}

/* text: what follows the two dashes. */
static qsr_status take_long(parse *p, const char *text, qsr_args *args, qsr_error *e)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    if (n == 4 && memcmp(text, "help", 4) == 0) {
        if (equals) return qsr_fail(e, QSR_E_OPTION, "--help takes no value");
        args->help = true;
        return QSR_OK;
    }
    const qsr_arg_option *option = find_option(p->table, text, n);
    if (!option) return unknown_option(p->table, text, n, e);
    if (!option->value) {
        if (equals) return qsr_fail(e, QSR_E_OPTION, "--%s takes no value", option->name);
        remember(args, option, NULL);
        return QSR_OK;
    }
    if (!equals && p->next == p->argc)
        return qsr_fail(e, QSR_E_OPTION, "--%s needs a value: --%s %s", option->name, option->name, option->value);
    const char *value = equals ? equals + 1 : p->argv[p->next++];
    if (!*value) return qsr_fail(e, QSR_E_OPTION, "--%s has an empty value; it takes %s", option->name, option->value);
    remember(args, option, value);
    return QSR_OK;
}

static bool is_override(const char *word)
{
    size_t n = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && word[n] == '=';
}

static void take_operand(parse *p, const char *word, qsr_args *args)
{
    if (p->mode != QSR_ARGS_PLAIN && is_override(word))
        p->overrides[args->n_overrides++] = word;
    else
        p->words[args->n_words++] = word;
}

/* -o is short for --out where that is one file; a folder of runs is always spelt out. */
static bool writes_a_file(const qsr_arg_option *table)
{
    const qsr_arg_option *out = find_option(table, "out", 3);
    return out && out->value && strcmp(out->value, "FILE") == 0;
}

static qsr_status take_words(parse *p, qsr_args *args, qsr_error *e)
{
    bool options = true;
    while (p->next < p->argc) {
        const char *word = p->argv[p->next++];
        if (!options && p->mode == QSR_ARGS_KEEP_REST) {
            p->rest[args->n_rest++] = word;
        } else if (!options || word[0] != '-' || !word[1]) {
            take_operand(p, word, args);
        } else if (strcmp(word, "--") == 0) {
            options = false;
        } else if (strcmp(word, "-h") == 0) {
            args->help = true;
        } else if (strcmp(word, "-o") == 0 && writes_a_file(p->table)) {
            qsr_status status = take_long(p, "out", args, e);
            if (status) return status;
        } else if (word[1] != '-') {
            return qsr_fail(e, QSR_E_OPTION, "unknown option '%s'", word);
        } else {
            qsr_status status = take_long(p, word + 2, args, e);
            if (status) return status;
        }
    }
    return QSR_OK;
}

qsr_status qsr_args_parse(int argc, char *const *argv, const qsr_arg_option *table, qsr_args_mode mode, qsr_args *ret,
                          qsr_error *e)
{
    *ret = (qsr_args){0};
    size_t room = (size_t)argc + 1;
    parse p = {.argc = argc, .argv = argv, .table = table, .mode = mode};
    ret->words = p.words = qsr_arena_alloc(&ret->arena, room, sizeof *p.words);
    ret->overrides = p.overrides = qsr_arena_alloc(&ret->arena, room, sizeof *p.overrides);
    ret->rest = p.rest = qsr_arena_alloc(&ret->arena, room, sizeof *p.rest);
    ret->given = qsr_arena_alloc(&ret->arena, room, sizeof *ret->given);
    qsr_status status = take_words(&p, ret, e);
    if (status) qsr_args_free(ret);
    return status;
}

void qsr_args_free(qsr_args *args)
{
    qsr_arena_free(&args->arena);
    *args = (qsr_args){0};
}

bool qsr_args_has(const qsr_args *args, const char *name)
{
    for (size_t i = 0; i < args->n_given; i++)
        if (strcmp(args->given[i].option->name, name) == 0) return true;
    return false;
}

const char *qsr_args_value(const qsr_args *args, const char *name)
{
    for (size_t i = args->n_given; i-- > 0;)
        if (strcmp(args->given[i].option->name, name) == 0) return args->given[i].value;
    return NULL;
}

const char *const *qsr_args_values(qsr_args *args, const char *name)
{
    const char **values = qsr_arena_alloc(&args->arena, args->n_given + 1, sizeof *values);
    size_t n = 0;
    for (size_t i = 0; i < args->n_given; i++)
        if (strcmp(args->given[i].option->name, name) == 0) values[n++] = args->given[i].value;
    return values;
}

qsr_status qsr_args_count(const qsr_args *args, const char *name, unsigned min, unsigned max, unsigned absent, unsigned *ret,
                          qsr_error *e)
{
    const char *text = qsr_args_value(args, name);
    uint64_t value = absent;
    if (text && (!qsr_parse_uint(text, &value) || value < min || value > max))
        return qsr_fail(e, QSR_E_OPTION, "--%s is '%s', but must be a whole number from %u to %u", name, text, min, max);
    *ret = (unsigned)value;
    return QSR_OK;
}

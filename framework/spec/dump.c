/* spec/dump: a resolved spec as YAML again, and its identity, which is a digest of that text. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/experiment.h"
#include "spec/load.h"
#include "spec/option.h"
#include "spec/utf8.h"

enum {
    CANONICAL = 1 << 0, /* without defaults, options in alphabetical order */
    IDENTITY = 1 << 1,  /* without name and NO_ID options */
    ABSOLUTE = 1 << 2   /* absolute paths */
};

/* ---- scalars --------------------------------------------------------------------------------------------------------- */

static bool is_plain(const char *text)
{
    static const char *const taken[] = {"null", "Null", "NULL", "on", "off", NULL};
    for (size_t i = 0; taken[i]; i++)
        if (strcmp(text, taken[i]) == 0) return false;
    if (!isalnum((unsigned char)text[0]) && !(text[0] == '-' && isdigit((unsigned char)text[1])) && !strchr("./_", text[0]))
        return false;
    size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-");
    return text[0] && !text[n] && strcmp(text, "...") != 0;
}

void qsr_scalar_write(const char *text, qsr_text *out)
{
    size_t n = strlen(text);
    if (is_plain(text)) {
        qsr_text_puts(out, text);
        return;
    }
    qsr_text_puts(out, "\"");
    for (size_t i = 0, used; i < n; i += used) {
        uint32_t c;
        used = qsr_utf8_at(text + i, n - i, &c);
        if (used == 0) used = 1, c = 0xfffd; /* cannot come from a parsed spec */
        if (c == '"' || c == '\\')
            qsr_text_add(out, "\\%c", (int)c);
        else if (qsr_utf8_shows(c))
            qsr_text_append(out, text + i, used);
        else if (c < 0x100)
            qsr_text_add(out, "\\x%02X", c);
        else if (c < 0x10000)
            qsr_text_add(out, "\\u%04X", c);
        else
            qsr_text_add(out, "\\U%08X", c);
    }
    qsr_text_puts(out, "\"");
}

/* ---- options --------------------------------------------------------------------------------------------------------- */

typedef struct {
    const qsr_option_table *table;
    const void *values;
    size_t values_size;
    const qsr_node *const *nodes;
    const qsr_schedule *schedules;
    size_t n_schedules;
} options;

static const qsr_schedule *schedule_of(const options *from, const qsr_option *o)
{
    for (size_t i = 0; i < from->n_schedules; i++)
        if (from->schedules[i].option == o) return &from->schedules[i];
    return NULL;
}

static bool equal_texts(const qsr_option *o, const void *a, const void *b, qsr_arena *arena)
{
    const char *const *x, *const *y;
    size_t n = qsr_option_texts(o, a, arena, &x), m = qsr_option_texts(o, b, arena, &y);
    bool equal = n == m;
    for (size_t i = 0; equal && i < n; i++) equal = strcmp(x[i], y[i]) == 0;
    return equal;
}

static bool is_default(const options *from, const qsr_option *o, qsr_arena *arena)
{
    if (o->flags & QSR_OPT_REQUIRED || schedule_of(from, o)) return false;
    qsr_error e = {0};
    void *values = qsr_arena_alloc(arena, from->values_size, 1);
    return qsr_option_default(o, arena, values, &e) == QSR_OK && equal_texts(o, values, from->values, arena);
}

/* Paths stand as they were written, in the folder of whoever wrote them. */
static size_t written_texts(const options *from, size_t index, unsigned how, qsr_arena *arena, const char *const **ret)
{
    const qsr_option *o = qsr_option_at(from->table, index);
    const qsr_node *node = from->nodes[index];
    const char *const *texts;
    size_t n = qsr_option_texts(o, from->values, arena, &texts);
    *ret = texts;
    if (!(o->flags & QSR_OPT_PATH) || n == 0) return n;
    const char **paths = qsr_arena_alloc(arena, n, sizeof *paths);
    for (size_t i = 0; i < n; i++) {
        paths[i] = texts[i];
        if (how & ABSOLUTE)
            paths[i] = qsr_path_absolute(arena, texts[i]);
        else if (node && node->kind == QSR_SCALAR)
            paths[i] = node->text;
        else if (node && node->kind == QSR_LIST && i < node->count)
            paths[i] = node->items[i]->text;
    }
    *ret = paths;
    return n;
}

static const char *schedule_number(const qsr_schedule *s, double value, char *buf, size_t n)
{
    if (s->option->type == QSR_OPT_REAL) return qsr_real_text(value, buf, n);
    snprintf(buf, n, "%.0f", value);
    return buf;
}

static void put_schedule(const qsr_schedule *s, qsr_text *out)
{
    char from[32], to[32], over[32];
    qsr_text_add(out, "{from: %s, to: %s, over: %s, shape: %s}", schedule_number(s, s->from, from, sizeof from),
                 schedule_number(s, s->to, to, sizeof to), qsr_real_text(s->over, over, sizeof over),
                 s->cosine ? "cosine" : "linear");
}

/* The value alone, as YAML; false: an option without a value. */
static bool put_value(const options *from, size_t index, unsigned how, qsr_text *out)
{
    const qsr_option *o = qsr_option_at(from->table, index);
    const qsr_schedule *schedule = schedule_of(from, o);
    const char *const *texts;
    qsr_arena arena = {0};
    size_t n = written_texts(from, index, how, &arena, &texts);
    if (schedule) {
        put_schedule(schedule, out);
    } else if (o->type == QSR_OPT_STRINGS) {
        const bool plain = n == 1 && o->flags & QSR_OPT_ONE_PLAIN;
        for (size_t i = 0; i < n; i++) {
            qsr_text_puts(out, i ? ", " : plain ? "" : "[");
            qsr_scalar_write(texts[i], out);
        }
        qsr_text_puts(out, n && !plain ? "]" : "");
    } else {
        qsr_scalar_write(n ? texts[0] : "", out);
    }
    qsr_arena_free(&arena);
    return schedule || n > 0;
}

static void put_option(const options *from, size_t index, unsigned how, const char *indent, qsr_text *out)
{
    const qsr_option *o = qsr_option_at(from->table, index);
    qsr_arena arena = {0};
    bool skip = (how & IDENTITY && o->flags & QSR_OPT_NO_ID) ||
                ((how & CANONICAL || o->flags & QSR_OPT_OPTIONAL) && is_default(from, o, &arena));
    qsr_arena_free(&arena);
    if (skip) return;
    qsr_text_add(out, "%s%s: ", indent, o->name);
    put_value(from, index, how, out);
    qsr_text_puts(out, "\n");
}

/* Alphabetical in canonical texts, so that moving a row of a table changes no identity. */
static void put_options(const options *from, unsigned how, const char *indent, qsr_text *out)
{
    size_t n = from->table->count;
    size_t *order = qsr_xcalloc(n, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        const char *name = qsr_option_at(from->table, i)->name;
        for (; how & CANONICAL && at > 0 && strcmp(qsr_option_at(from->table, order[at - 1])->name, name) > 0; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t i = 0; i < n; i++) put_option(from, order[i], how, indent, out);
    free(order);
}

static void put_part(const qsr_spec *spec, unsigned index, unsigned how, const char *indent, qsr_text *out)
{
    const qsr_part *part = qsr_experiment_part(index);
    options from = {&part->options, (const char *)spec + part->offset, part->size, spec->written[index].nodes, NULL, 0};
    put_options(&from, how, indent, out);
}

static void put_block(const qsr_block *block, unsigned how, const char *indent, qsr_text *out)
{
    qsr_option_table table = qsr_plugin_options(block->plugin);
    options from = {&table, block->values, block->plugin->options_size, block->nodes, block->schedules, block->n_schedules};
    put_options(&from, how, indent, out);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

/* "key:" with the body beneath it; with an empty body "key: {}", or nothing when `needed` is false. */
static void put_section(qsr_text *out, const char *indent, const char *key, qsr_text *body, bool needed)
{
    if (body->length)
        qsr_text_add(out, "%s%s:\n%s", indent, key, body->bytes);
    else if (needed)
        qsr_text_add(out, "%s%s: {}\n", indent, key);
    qsr_text_free(body);
}

static void put_whole_part(const qsr_spec *spec, unsigned index, unsigned how, qsr_text *out)
{
    qsr_text body = {0};
    put_part(spec, index, how, "  ", &body);
    put_section(out, "", qsr_experiment_part(index)->key, &body, false);
}

static void put_losses(const qsr_spec *spec, unsigned how, qsr_text *out)
{
    bool is_mse = spec->n_losses == 1 && strcmp(spec->losses[0].instance, "mse") == 0;
    qsr_text all = {0};
    for (size_t i = 0; i < spec->n_losses; i++) {
        const qsr_block *loss = &spec->losses[i];
        qsr_text body = {0};
        if (!(how & CANONICAL) || strcmp(loss->instance, loss->plugin->name) != 0)
            qsr_text_add(&body, "    plugin: %s\n", loss->plugin->name);
        put_block(loss, how, "    ", &body);
        is_mse &= body.length == 0;
        qsr_text_add(&all, "  ");
        put_section(&all, "", loss->instance, &body, true);
    }
    if (!(how & CANONICAL && is_mse)) put_section(out, "", "losses", &all, false);
    qsr_text_free(&all);
}

static void dump(const qsr_spec *spec, unsigned how, qsr_text *out)
{
    qsr_text body = {0};
    if (!(how & IDENTITY)) {
        qsr_text_puts(out, "name: ");
        qsr_scalar_write(spec->name, out);
        qsr_text_puts(out, "\n");
    }
    put_part(spec, QSR_PART_TOP, how | IDENTITY, "", out); /* the name stands there already */
    qsr_text_add(&body, "  plugin: %s\n", spec->dataset.plugin->name);
    put_part(spec, QSR_PART_DATASET, how, "  ", &body);
    put_block(&spec->dataset, how, "  ", &body);
    put_section(out, "", "dataset", &body, true);
    put_whole_part(spec, QSR_PART_SAE, how, out);
    qsr_text_add(&body, "  plugin: %s\n", spec->activation.plugin->name);
    put_block(&spec->activation, how, "  ", &body);
    put_section(out, "", "activation", &body, true);
    put_losses(spec, how, out);
    put_whole_part(spec, QSR_PART_TRAIN, how, out);
    put_whole_part(spec, QSR_PART_EVAL, how, out);
}

void qsr_spec_dump(const qsr_spec *spec, bool canonical, qsr_text *out) { dump(spec, canonical ? CANONICAL : 0, out); }

void qsr_spec_dump_identity(const qsr_spec *spec, qsr_text *out) { dump(spec, CANONICAL | IDENTITY, out); }

void qsr_spec_dump_absolute(const qsr_spec *spec, qsr_text *out) { dump(spec, ABSOLUTE, out); }

/* ---- single values --------------------------------------------------------------------------------------------------- */

/* "from" of "k.from" when k is a schedule here. */
static const char *schedule_value(const options *from, const char *name, qsr_arena *arena)
{
    const char *dot = strrchr(name, '.');
    char buf[32];
    if (!dot) return NULL;
    const qsr_option *o = qsr_option_find(from->table, qsr_arena_strndup(arena, name, (size_t)(dot - name)), NULL);
    const qsr_schedule *s = o ? schedule_of(from, o) : NULL;
    if (!s) return NULL;
    if (strcmp(dot, ".from") == 0) return qsr_arena_strdup(arena, schedule_number(s, s->from, buf, sizeof buf));
    if (strcmp(dot, ".to") == 0) return qsr_arena_strdup(arena, schedule_number(s, s->to, buf, sizeof buf));
    if (strcmp(dot, ".over") == 0) return qsr_arena_strdup(arena, qsr_real_text(s->over, buf, sizeof buf));
    return strcmp(dot, ".shape") == 0 ? (s->cosine ? "cosine" : "linear") : NULL;
}

static const char *option_value(const options *from, const char *name, qsr_arena *arena)
{
    size_t index;
    if (!qsr_option_find(from->table, name, &index)) return schedule_value(from, name, arena);
    qsr_text text = {0};
    bool has = put_value(from, index, CANONICAL, &text);
    const char *copy = has ? qsr_arena_strdup(arena, text.bytes) : NULL;
    qsr_text_free(&text);
    return copy;
}

static const char *part_value(const qsr_spec *spec, unsigned index, const char *name, qsr_arena *arena)
{
    const qsr_part *part = qsr_experiment_part(index);
    options from = {&part->options, (const char *)spec + part->offset, part->size, spec->written[index].nodes, NULL, 0};
    return option_value(&from, name, arena);
}

/* The lines of a block, indented by two, as one flow mapping. No text holds a newline: qsr_scalar_write escapes them. */
static const char *flow(const qsr_text *lines, qsr_arena *arena)
{
    qsr_text out = {0};
    qsr_text_puts(&out, "{");
    for (const char *line = lines->bytes, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        qsr_text_add(&out, "%s%.*s", out.length > 1 ? ", " : "", (int)(end - line - 2), line + 2);
    }
    qsr_text_puts(&out, "}");
    const char *copy = qsr_arena_strdup(arena, out.bytes);
    qsr_text_free(&out);
    return copy;
}

/* name: what follows the block's key; "" is the whole block. */
static const char *block_value(const qsr_spec *spec, const qsr_block *block, const char *name, qsr_arena *arena)
{
    qsr_option_table table = qsr_plugin_options(block->plugin);
    options from = {&table, block->values, block->plugin->options_size, block->nodes, block->schedules, block->n_schedules};
    bool loss = block != &spec->dataset && block != &spec->activation;
    if (strcmp(name, "plugin") == 0) return qsr_arena_strdup(arena, block->plugin->name);
    if (name[0]) return option_value(&from, name, arena);
    qsr_text lines = {0};
    if (!loss || strcmp(block->instance, block->plugin->name) != 0)
        qsr_text_add(&lines, "  plugin: %s\n", block->plugin->name);
    if (block == &spec->dataset) put_part(spec, QSR_PART_DATASET, CANONICAL, "  ", &lines);
    put_block(block, CANONICAL, "  ", &lines);
    const char *text = flow(&lines, arena);
    qsr_text_free(&lines);
    return text;
}

static const char *loss_value(const qsr_spec *spec, const char *name, qsr_arena *arena)
{
    size_t n = strcspn(name, ".");
    for (size_t i = 0; i < spec->n_losses; i++) {
        const char *instance = spec->losses[i].instance;
        if (strlen(instance) == n && memcmp(instance, name, n) == 0)
            return block_value(spec, &spec->losses[i], name[n] ? name + n + 1 : "", arena);
    }
    return name[n] ? NULL : "off";
}

static const char *losses_value(const qsr_spec *spec, qsr_arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < spec->n_losses; i++)
        text = qsr_arena_printf(arena, "%s%s%s: %s", text, i ? ", " : "", spec->losses[i].instance,
                                block_value(spec, &spec->losses[i], "", arena));
    return qsr_arena_printf(arena, "{%s}", text);
}

const char *qsr_spec_value(const qsr_spec *spec, const char *key, qsr_arena *arena)
{
    const char *rest = strchr(key, '.');
    const char *first = rest ? qsr_arena_strndup(arena, key, (size_t)(rest - key)) : key;
    rest = rest ? rest + 1 : "";
    if (strcmp(first, "activation") == 0) return block_value(spec, &spec->activation, rest, arena);
    if (strcmp(first, "losses") == 0) return rest[0] ? loss_value(spec, rest, arena) : losses_value(spec, arena);
    if (strcmp(first, "dataset") == 0) {
        const char *value = rest[0] ? part_value(spec, QSR_PART_DATASET, rest, arena) : NULL;
        return value ? value : block_value(spec, &spec->dataset, rest, arena);
    }
    if (strcmp(key, "name") == 0) return spec->name;
    for (unsigned i = 0; i < QSR_PARTS; i++)
        if (strcmp(qsr_experiment_part(i)->key, rest[0] ? first : "") == 0)
            return part_value(spec, i, rest[0] ? rest : key, arena);
    return NULL;
}

/* ---- identity -------------------------------------------------------------------------------------------------------- */

enum { SLUG_MOST = 40 };

/* Appends text in the letters of a slug (a-z 0-9 . -); others become '-', never doubled. */
static void put_slug(qsr_text *out, const char *text)
{
    for (; *text; text++) {
        char c = (char)tolower((unsigned char)*text);
        bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.';
        if (good)
            qsr_text_append(out, &c, 1);
        else if (out->length && out->bytes[out->length - 1] != '-')
            qsr_text_puts(out, "-");
    }
}

/* "-k16" for every option of the activation that is not at its default, as long as there is room. */
static void put_slug_options(const qsr_block *block, size_t room, qsr_text *out)
{
    qsr_option_table table = qsr_plugin_options(block->plugin);
    options from = {&table, block->values, block->plugin->options_size, block->nodes, block->schedules, block->n_schedules};
    for (size_t i = 0; i < table.count; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        qsr_arena arena = {0};
        qsr_text piece = {0};
        const char *const *texts;
        bool wanted =
            !(o->flags & (QSR_OPT_PATH | QSR_OPT_NO_ID)) && o->type != QSR_OPT_STRINGS && !is_default(&from, o, &arena);
        if (wanted && qsr_option_texts(o, block->values, &arena, &texts)) {
            put_slug(&piece, qsr_arena_printf(&arena, "%s%s%s", o->name, o->type == QSR_OPT_STRING ? "-" : "", texts[0]));
            if (piece.length && out->length + 1 + piece.length <= room) qsr_text_add(out, "-%s", piece.bytes);
        }
        qsr_text_free(&piece);
        qsr_arena_free(&arena);
    }
}

void qsr_spec_identify(qsr_spec *spec)
{
    qsr_text slug = {0}, tail = {0}, text = {0};
    if (!spec->activation.plugin) { /* only its dataset is meant */
        spec->id = spec->name;
        return;
    }
    qsr_text_add(&tail, "%lld-", (long long)spec->sae.d_sae);
    put_slug(&tail, spec->dataset.plugin->name);
    put_slug(&slug, spec->activation.plugin->name);
    put_slug_options(&spec->activation, SLUG_MOST > tail.length + 1 ? SLUG_MOST - tail.length - 1 : 0, &slug);
    qsr_text_add(&slug, "-%s", tail.bytes);
    size_t n = slug.length < SLUG_MOST ? slug.length : SLUG_MOST;
    while (n && slug.bytes[n - 1] == '-') n--;
    qsr_spec_dump_identity(spec, &text);
    qsr_digest digest = qsr_digest_bytes(text.bytes, text.length);
    spec->id = qsr_arena_printf(&spec->arena, "%.*s-%.12s", (int)n, slug.bytes, digest.hex);
    qsr_text_free(&slug);
    qsr_text_free(&tail);
    qsr_text_free(&text);
}

/* data/key: which experiments read the same rows, as texts to compare and to show. */
#include <ctype.h>
#include <string.h>

#include "base/fs.h"
#include "base/text.h"
#include "data/dataset.h"
#include "spec/experiment.h"
#include "spec/option.h"

/* Quoted unless it could not be mistaken for anything else, so that no value can imitate another text. */
static void put_value(qsr_text *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/+-";
    if (*text && !text[strspn(text, plain)]) {
        qsr_text_puts(out, text);
        return;
    }
    qsr_text_puts(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            qsr_text_add(out, "\\%c", *text);
        else if (iscntrl((unsigned char)*text))
            qsr_text_add(out, "\\x%02X", (unsigned)(unsigned char)*text);
        else
            qsr_text_append(out, text, 1);
    }
    qsr_text_puts(out, "\"");
}

static void put_option(qsr_text *out, const qsr_option *o, const void *values)
{
    qsr_arena arena = {0};
    const char *const *texts;
    const size_t n = qsr_option_texts(o, values, &arena, &texts);
    const bool list = o->type == QSR_OPT_STRINGS;
    qsr_text_add(out, "%s=%s", o->name, list ? "[" : "");
    for (size_t i = 0; i < n; i++) {
        if (i) qsr_text_puts(out, " ");
        put_value(out, o->flags & QSR_OPT_PATH ? qsr_path_absolute(&arena, texts[i]) : texts[i]);
    }
    if (list) qsr_text_puts(out, "]");
    qsr_arena_free(&arena);
}

/* Options that have all flags of `with` and none of `without`. */
static void put_options(qsr_text *out, const qsr_option_table *table, const void *values, uint32_t with, uint32_t without)
{
    for (size_t i = 0; i < table->count; i++) {
        const qsr_option *o = qsr_option_at(table, i);
        if ((o->flags & with) != with || (o->flags & without)) continue;
        if (out->length) qsr_text_puts(out, ", ");
        put_option(out, o, values);
    }
}

static void put_part(qsr_text *out, const qsr_spec *spec, unsigned index)
{
    const qsr_part *part = qsr_experiment_part(index);
    put_options(out, &part->options, (const char *)spec + part->offset, 0, QSR_OPT_NO_ID);
}

static const char *keep(qsr_text *text, qsr_arena *arena)
{
    const char *kept = qsr_arena_strndup(arena, text->length ? text->bytes : "", text->length);
    qsr_text_free(text);
    return kept;
}

const char *qsr_dataset_stream_key(const qsr_spec *spec, qsr_arena *arena)
{
    const qsr_plugin *plugin = spec->dataset.plugin;
    const qsr_option_table table = qsr_plugin_options(plugin);
    qsr_text out = {0};
    qsr_text_add(&out, "plugin=%s, version=", plugin->name);
    put_value(&out, plugin->version);
    put_options(&out, &table, spec->dataset.values, 0, QSR_OPT_TAP | QSR_OPT_NO_ID);
    put_part(&out, spec, QSR_PART_DATASET);
    qsr_text_add(&out, ", eval.tokens=%lld", (long long)spec->eval.tokens);
    return keep(&out, arena);
}

const char *qsr_dataset_tap_key(const qsr_spec *spec, qsr_arena *arena)
{
    const qsr_option_table table = qsr_plugin_options(spec->dataset.plugin);
    qsr_text out = {0};
    put_options(&out, &table, spec->dataset.values, QSR_OPT_TAP, QSR_OPT_NO_ID);
    return keep(&out, arena);
}

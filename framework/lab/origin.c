#include "lab/origin.h"

#include <string.h>

#include "base/text.h"

qsr_origin qsr_origin_of(const qsr_spec *spec, const qsr_dataset *data, size_t tap)
{
    return (qsr_origin){spec, data, tap, qsr_made_extension(data->made, QSR_EXT_SOURCE)};
}

static const void *option_of(const qsr_spec *spec, const char *name, uint32_t type)
{
    const qsr_plugin *plugin = spec->dataset.plugin;
    for (size_t i = 0; i < plugin->n_options; i++)
        if (plugin->options[i].type == type && strcmp(plugin->options[i].name, name) == 0)
            return (const char *)spec->dataset.values + plugin->options[i].offset;
    return NULL;
}

static const char *source_text(const qsr_origin *o, const char *name)
{
    return o->source ? o->source->option(o->data->made->instance, o->data->first_tap + o->tap, name) : NULL;
}

const char *qsr_origin_text(const qsr_origin *o, const char *name)
{
    const char *told = source_text(o, name);
    const char *const *text = option_of(o->spec, name, QSR_OPT_STRING);
    const qsr_strings *texts = option_of(o->spec, name, QSR_OPT_STRINGS);
    if (told) return told;
    if (text) return *text;
    return texts && texts->count == 1 ? texts->items[0] : NULL;
}

int64_t qsr_origin_count(const qsr_origin *o, const char *name)
{
    const char *told = source_text(o, name);
    const int64_t *value = option_of(o->spec, name, QSR_OPT_INT);
    int64_t n = value ? *value : -1;
    return told && !qsr_parse_int(told, &n) ? -1 : n;
}

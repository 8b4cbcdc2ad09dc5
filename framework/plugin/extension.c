#include "plugin/extension.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "plugin/descriptor.h"

/* A method without which a table means nothing. */
typedef struct {
    const char *name;
    size_t offset;
} method;

enum { MOST_NEEDED = 2 };

#define NEEDED(type_, member_) {#member_, offsetof(type_, member_)}
static const struct {
    const char *id;
    size_t size;
    method needed[MOST_NEEDED];
} known[] = {
    {QSR_EXT_PARAMS, sizeof(qsr_params_ops), {NEEDED(qsr_params_ops, get)}},
    {QSR_EXT_STATE, sizeof(qsr_state_ops), {NEEDED(qsr_state_ops, save), NEEDED(qsr_state_ops, load)}},
    {QSR_EXT_METRICS, sizeof(qsr_metrics_ops), {NEEDED(qsr_metrics_ops, get)}},
    {QSR_EXT_SELECTOR, sizeof(qsr_selector_ops), {NEEDED(qsr_selector_ops, get)}},
    {QSR_EXT_EXPORT, sizeof(qsr_export_ops), {{0}}},
    {QSR_EXT_TRUTH, sizeof(qsr_truth_ops), {NEEDED(qsr_truth_ops, get)}},
    {QSR_EXT_TAPS, sizeof(qsr_taps_ops), {NEEDED(qsr_taps_ops, create), NEEDED(qsr_taps_ops, read)}},
    {QSR_EXT_TOKENS, sizeof(qsr_tokens_ops), {NEEDED(qsr_tokens_ops, tokens)}},
    {QSR_EXT_SOURCE, sizeof(qsr_source_ops), {NEEDED(qsr_source_ops, option)}},
    {QSR_EXT_SPLICE, sizeof(qsr_splice_ops), {NEEDED(qsr_splice_ops, ready), NEEDED(qsr_splice_ops, run)}},
};
enum { KNOWN = sizeof known / sizeof *known };

struct qsr_extensions {
    const void *table[KNOWN];
    qsr_arena arena; /* widened tables */
};

static bool is_there(const void *table, const method *m)
{
    static const unsigned char none[sizeof(void (*)(void))];
    return memcmp((const char *)table + m->offset, none, sizeof none) != 0;
}

static qsr_status check_methods(const qsr_plugin *plugin, size_t index, const void *table, qsr_error *e)
{
    for (size_t m = 0; m < MOST_NEEDED && known[index].needed[m].name; m++)
        if (!is_there(table, &known[index].needed[m]))
            return qsr_fail(e, QSR_E_INPUT, "plugin %s offers \"%s\" without its method %s: fill it in, or do not offer it",
                            plugin->name, known[index].id, known[index].needed[m].name);
    return QSR_OK;
}

qsr_status qsr_extensions_ask(const qsr_plugin *plugin, qsr_extensions **ret, qsr_error *e)
{
    qsr_extensions *x = qsr_xcalloc(1, sizeof *x);
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < KNOWN && plugin->extension; i++) {
        const void *theirs = plugin->extension(known[i].id);
        if (!theirs) continue;
        x->table[i] = qsr_widen(&x->arena, theirs, known[i].size);
        status = check_methods(plugin, i, x->table[i], e);
    }
    if (status) qsr_extensions_free(x);
    *ret = status ? NULL : x;
    return status;
}

void qsr_extensions_free(qsr_extensions *x)
{
    if (x) qsr_arena_free(&x->arena);
    free(x);
}

const void *qsr_extensions_find(const qsr_extensions *x, const char *id)
{
    for (size_t i = 0; i < KNOWN; i++)
        if (strcmp(known[i].id, id) == 0) return x->table[i];
    return NULL;
}

const char *qsr_extension_id(size_t index) { return index < KNOWN ? known[index].id : NULL; }

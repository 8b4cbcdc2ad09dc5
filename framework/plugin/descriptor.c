#include "plugin/descriptor.h"

#include <string.h>

#include "base/sizes.h"
#include "base/text.h"
#include "plugin/loader.h"

enum {
    OPTIONS_LIMIT = 1024,         /* rows of a table; more is a corrupt count */
    OPTIONS_SIZE_LIMIT = 1 << 20, /* bytes of an options struct */
    KNOWN_NEEDS = QSR_NEED_INPUT_NORM | QSR_NEED_DEC_NORM | QSR_NEED_SILENT | QSR_NEED_D_NORM | QSR_NEED_B_DEC
};

#define REBUILD                                                                                                            \
    "rebuild it from its source against this Quasar: cc -std=c11 -O2 -fPIC -shared -fvisibility=hidden "                   \
    "$(pkg-config --cflags quasar) -o NAME.so NAME.c"

/* ---- the frozen block */

static void differs(qsr_text *list, const char *what, unsigned long theirs, unsigned long ours)
{
    qsr_text_add(list, "%splugin has %s %lu, host has %lu", list->length ? "; " : "", what, theirs, ours);
}

/* Every field that keeps the two from understanding each other. A smaller size or stride is an older plugin's and is widened
 * later, down to what a descriptor or a row cannot do without. */
static void compare(const qsr_abi *abi, qsr_text *list)
{
    if (abi->major != QSR_ABI_MAJOR) differs(list, "major", abi->major, QSR_ABI_MAJOR);
    if (abi->minor > QSR_ABI_MINOR) differs(list, "minor", abi->minor, QSR_ABI_MINOR);
    if (abi->struct_size > sizeof(qsr_plugin) || abi->struct_size < offsetof(qsr_plugin, ops) + sizeof(void *))
        differs(list, "descriptor size", abi->struct_size, sizeof(qsr_plugin));
    if (abi->kind < QSR_ACTIVATION || abi->kind > QSR_DATASET) differs(list, "kind", abi->kind, QSR_DATASET);
    if (abi->real_bytes != sizeof(float)) differs(list, "real size", abi->real_bytes, sizeof(float));
    if (abi->option_stride > sizeof(qsr_option) || abi->option_stride < offsetof(qsr_option, min) ||
        abi->option_stride % _Alignof(qsr_option) != 0)
        differs(list, "option size", abi->option_stride, sizeof(qsr_option));
    if (memcmp(abi->layout, (char[16]){QSR_ABI_LAYOUT}, sizeof abi->layout) != 0)
        qsr_text_add(list, "%splugin has layout \"%.16s\", host has \"%s\"", list->length ? "; " : "", abi->layout,
                     QSR_ABI_LAYOUT);
}

static qsr_status check_abi(const qsr_abi *abi, qsr_error *e)
{
    if (abi->magic != QSR_ABI_MAGIC)
        return qsr_fail(e, QSR_E_INPUT,
                        "not a Quasar plugin: its descriptor starts with 0x%08x instead of 0x%08x; fill `abi` with "
                        "QSR_ABI(kind)",
                        (unsigned)abi->magic, QSR_ABI_MAGIC);
    qsr_text list = {0};
    compare(abi, &list);
    if (list.length) qsr_fail(e, QSR_E_INPUT, "built for another plugin ABI: %s; " REBUILD, list.bytes);
    qsr_status status = list.length ? QSR_E_INPUT : QSR_OK;
    qsr_text_free(&list);
    return status;
}

/* ---- tables */

const void *qsr_widen(qsr_arena *arena, const void *theirs, size_t size)
{
    uint32_t have;
    memcpy(&have, theirs, sizeof have);
    if (have >= size) return theirs;
    void *copy = qsr_arena_alloc(arena, 1, size);
    memcpy(copy, theirs, have);
    return copy;
}

static size_t ops_size(uint32_t kind)
{
    if (kind == QSR_ACTIVATION) return sizeof(qsr_activation_ops);
    return kind == QSR_LOSS ? sizeof(qsr_loss_ops) : sizeof(qsr_dataset_ops);
}

static qsr_status need(bool there, const char *name, const char *what, qsr_error *e)
{
    return there ? QSR_OK : qsr_fail(e, QSR_E_INPUT, "%s has no %s, which its kind requires", name, what);
}

static qsr_status check_activation(const qsr_plugin *p, qsr_error *e)
{
    const qsr_activation_ops *ops = p->ops;
    qsr_status status = need(ops->forward, p->name, "forward", e);
    if (!status && (p->caps & QSR_CAP_ROWS_COUPLED) && !ops->prune)
        status = qsr_fail(e, QSR_E_INPUT, "%s has QSR_CAP_ROWS_COUPLED but no prune", p->name);
    if (!status && (p->caps & QSR_CAP_SURROGATE) && !ops->backward)
        status = qsr_fail(e, QSR_E_INPUT, "%s has QSR_CAP_SURROGATE but no backward", p->name);
    if (!status && ops->planes > 2)
        status = qsr_fail(e, QSR_E_INPUT, "%s wants %u planes, the limit is 2", p->name, (unsigned)ops->planes);
    return status;
}

static qsr_status check_ops(const qsr_plugin *p, qsr_error *e)
{
    qsr_status status;
    if (p->abi.kind == QSR_ACTIVATION) return check_activation(p, e);
    if (p->abi.kind == QSR_LOSS) return need(((const qsr_loss_ops *)p->ops)->rows, p->name, "rows", e);
    const qsr_dataset_ops *ops = p->ops;
    status = need(ops->describe, p->name, "describe", e);
    return status ? status : need(ops->read, p->name, "read", e);
}

static qsr_status take_ops(qsr_arena *arena, qsr_plugin *p, qsr_error *e)
{
    qsr_status status = need(p->ops, p->name, "table of methods", e);
    if (status) return status;
    uint32_t have;
    size_t size = ops_size(p->abi.kind);
    memcpy(&have, p->ops, sizeof have);
    if (have > size || have < 2 * sizeof(uint32_t))
        return qsr_fail(e, QSR_E_INPUT,
                        "%s has a table of methods of %u bytes, host has %zu; set its struct_size, and " REBUILD, p->name,
                        (unsigned)have, size);
    p->ops = qsr_widen(arena, p->ops, size);
    return check_ops(p, e);
}

/* ---- options: what could make the host write outside the options struct is refused; the rest is option lint */

static size_t type_size(uint32_t type)
{
    static const size_t sizes[] = {
        [QSR_OPT_INT] = sizeof(int64_t), [QSR_OPT_UINT] = sizeof(uint64_t), [QSR_OPT_REAL] = sizeof(double),
        [QSR_OPT_BOOL] = sizeof(bool),   [QSR_OPT_STRING] = sizeof(char *), [QSR_OPT_STRINGS] = sizeof(qsr_strings)};
    return type < sizeof sizes / sizeof *sizes ? sizes[type] : 0;
}

static qsr_status check_option(const qsr_plugin *p, const qsr_option *o, size_t i, qsr_error *e)
{
    if (!o->name || !*o->name) return qsr_fail(e, QSR_E_INPUT, "option %zu of %s has no name", i, p->name);
    if (!type_size(o->type))
        return qsr_fail(e, QSR_E_INPUT, "option %s of %s has the unknown type %u", o->name, p->name, (unsigned)o->type);
    if (o->size != type_size(o->type))
        return qsr_fail(e, QSR_E_INPUT, "option %s of %s has a field of %zu bytes, its type needs %zu", o->name, p->name,
                        o->size, type_size(o->type));
    size_t alignment = o->type == QSR_OPT_BOOL ? 1 : 8;
    if (o->offset % alignment || o->offset > p->options_size || p->options_size - o->offset < o->size)
        return qsr_fail(e, QSR_E_INPUT, "option %s of %s lies at %zu of an options struct of %zu bytes", o->name, p->name,
                        o->offset, p->options_size);
    return QSR_OK;
}

static qsr_status take_options(qsr_arena *arena, qsr_plugin *p, qsr_error *e)
{
    if (p->n_options > OPTIONS_LIMIT || p->options_size > OPTIONS_SIZE_LIMIT)
        return qsr_fail(e, QSR_E_INPUT, "%s has %zu options in %zu bytes, the limits are %d and %d", p->name, p->n_options,
                        p->options_size, OPTIONS_LIMIT, OPTIONS_SIZE_LIMIT);
    if (p->n_options && !p->options)
        return qsr_fail(e, QSR_E_INPUT, "%s has %zu options but no table of them", p->name, p->n_options);
    size_t stride = p->abi.option_stride;
    qsr_option *rows = qsr_arena_alloc(arena, p->n_options, sizeof *rows);
    for (size_t i = 0; i < p->n_options; i++) {
        memcpy(&rows[i], (const char *)p->options + i * stride, stride);
        qsr_status status = check_option(p, &rows[i], i, e);
        if (status) return status;
    }
    p->options = p->n_options ? rows : NULL;
    return QSR_OK;
}

/* ---- the descriptor */

static qsr_status check_names(const qsr_plugin *p, qsr_error *e)
{
    if (!p->name || !qsr_plugin_name_ok(p->name))
        return qsr_fail(e, QSR_E_INPUT, "a plugin has %s%.80s%s: names are [a-z][a-z0-9_]*, at most 63 characters",
                        p->name ? "the name '" : "no name", p->name ? p->name : "", p->name ? "'" : "");
    if (!p->version || !*p->version) return qsr_fail(e, QSR_E_INPUT, "%s has no version", p->name);
    if (!p->summary || !*p->summary) return qsr_fail(e, QSR_E_INPUT, "%s has no summary", p->name);
    return QSR_OK;
}

static qsr_status check_needs(const qsr_plugin *p, qsr_error *e)
{
    uint64_t unknown = p->needs & ~(uint64_t)KNOWN_NEEDS;
    if (!unknown) return QSR_OK;
    return qsr_fail(e, QSR_E_INPUT, "%s needs bit %d (0x%llx) of the host, which offers 0x%x: it wants a newer Quasar",
                    p->name, __builtin_ctzll(unknown), (unsigned long long)(unknown & (0 - unknown)), KNOWN_NEEDS);
}

qsr_status qsr_descriptor_read(qsr_arena *arena, const qsr_plugin *theirs, const qsr_plugin **ret, qsr_error *e)
{
    qsr_abi abi;
    memcpy(&abi, theirs, sizeof abi);
    qsr_status status = check_abi(&abi, e);
    if (status) return status;
    qsr_plugin *ours = qsr_arena_alloc(arena, 1, sizeof *ours);
    memcpy(ours, theirs, abi.struct_size);
    status = check_names(ours, e);
    if (!status) status = check_needs(ours, e);
    if (!status) status = need(ours->create, ours->name, "create", e);
    if (!status) status = take_ops(arena, ours, e);
    if (!status) status = take_options(arena, ours, e);
    if (status) return status;
    ours->abi.struct_size = sizeof *ours; /* what the copy is, no longer what the file had */
    ours->abi.option_stride = sizeof(qsr_option);
    *ret = ours;
    return QSR_OK;
}

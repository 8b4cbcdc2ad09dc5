#include "plugin/instance.h"

#include <stdlib.h>

#include "base/arena.h"
#include "plugin/extension.h"
#include "plugin/loader.h"

const void *qsr_made_extension(const qsr_made *made, const char *id) { return qsr_extensions_find(made->extensions, id); }

/* ---- calls */

void qsr_made_serial(const qsr_made *made)
{
    (void)made;
    qsr_host_serial(true);
}

static const char *status_word(qsr_status status)
{
    static const char *const words[] = {"unusable option",    "unusable input",         "unusable state", "out of memory",
                                        "numbers not usable", "file operation refused", "not supported",  "internal error"};
    return status <= QSR_E_OPTION && status >= QSR_E_INTERNAL ? words[-status - 1] : "a status that does not exist";
}

static qsr_status finish(const qsr_plugin *plugin, qsr_status status, qsr_error *e)
{
    qsr_error said;
    qsr_host_take_error(&said);
    qsr_scratch_release(qsr_scratch_floor());
    qsr_host_serial(false);
    if (status == QSR_OK || status == QSR_END) return status;
    if (said.code != QSR_OK) {
        said.code = status;
        if (e) *e = said;
        return status;
    }
    const char *kind = qsr_kind_name(plugin->abi.kind);
    if (status == QSR_E_NOMEM) return qsr_fail(e, status, "%s %s: out of memory", kind, plugin->name);
    if (status > 0)
        return qsr_fail(e, QSR_E_INTERNAL, "%s %s returned %d, which is no status", kind, plugin->name, (int)status);
    return qsr_fail(e, status, "%s %s failed without saying why (%d: %s)", kind, plugin->name, (int)status,
                    status_word(status));
}

qsr_status qsr_made_finish(const qsr_made *made, qsr_status status, qsr_error *e)
{
    return finish(made->plugin, status, e);
}

/* ---- life */

static qsr_status begin(const qsr_plugin *plugin, uint64_t seed, qsr_pool *pool, qsr_made **ret, qsr_error *e)
{
    qsr_extensions *extensions;
    qsr_status status = qsr_extensions_ask(plugin, &extensions, e);
    if (status) return status;
    qsr_made *made = qsr_xcalloc(1, sizeof *made);
    made->plugin = plugin;
    made->extensions = extensions;
    qsr_services_init(&made->services, plugin->name, seed, pool, &made->host);
    made->services.creating = true;
    qsr_host_serial(true);
    *ret = made;
    return QSR_OK;
}

/* After the plugin's create. One that succeeds must have made something, and the end of something is no way to succeed. */
static qsr_status end_create(qsr_made *made, qsr_status status, qsr_made **ret, qsr_error *e)
{
    const qsr_plugin *plugin = made->plugin;
    status = finish(plugin, status, e);
    made->services.creating = false;
    if (status == QSR_END || (!status && !made->instance))
        status = qsr_fail(e, QSR_E_INTERNAL, "%s %s: create made no instance and gave no error",
                          qsr_kind_name(plugin->abi.kind), plugin->name);
    if (!status) {
        *ret = made;
        return QSR_OK;
    }
    made->instance = NULL; /* what a failing create left there is not to be destroyed */
    qsr_made_free(made);
    return status;
}

qsr_status qsr_made_create_refusing(const qsr_plugin *plugin, const qsr_shape *shape, const void *options, uint64_t seed,
                                    qsr_pool *pool, size_t refuse, size_t *ret_allocs, qsr_made **ret, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = begin(plugin, seed, pool, &made, e);
    if (status) return status;
    made->services.refuse = refuse;
    status = plugin->create(&made->host, shape, options, &made->instance);
    if (ret_allocs) *ret_allocs = made->services.n_allocations;
    return end_create(made, status, ret, e);
}

qsr_status qsr_made_create(const qsr_plugin *plugin, const qsr_shape *shape, const void *options, uint64_t seed,
                           qsr_pool *pool, qsr_made **ret, qsr_error *e)
{
    return qsr_made_create_refusing(plugin, shape, options, seed, pool, 0, NULL, ret, e);
}

qsr_status qsr_made_create_taps(const qsr_plugin *plugin, const qsr_shape *shape, const void *const *options, size_t n,
                                uint64_t seed, qsr_pool *pool, size_t *ret_tap, qsr_made **ret, qsr_error *e)
{
    *ret_tap = 0;
    qsr_made *made;
    qsr_status status = begin(plugin, seed, pool, &made, e);
    if (status) return status;
    const qsr_taps_ops *taps = qsr_made_extension(made, QSR_EXT_TAPS);
    if (!taps) {
        finish(plugin, QSR_OK, NULL);
        qsr_made_free(made);
        return qsr_fail(e, QSR_E_UNSUPPORTED, "%s %s cannot read several taps in one pass: it has no \"%s\"",
                        qsr_kind_name(plugin->abi.kind), plugin->name, QSR_EXT_TAPS);
    }
    size_t tap = 0;
    status = taps->create(&made->host, shape, options, n, &tap, &made->instance);
    if (status && tap < n) *ret_tap = tap;
    return end_create(made, status, ret, e);
}

void qsr_made_free(qsr_made *made)
{
    if (!made) return;
    if (made->instance && made->plugin->destroy) {
        made->plugin->destroy(made->instance);
        finish(made->plugin, QSR_OK, NULL);
    }
    qsr_services_free(&made->services);
    qsr_extensions_free(made->extensions);
    free(made);
}

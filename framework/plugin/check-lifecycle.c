/* plugin/check-lifecycle: making and destroying, with memory refused at every point, and what a failure says. */
#include <string.h>

#include "plugin/check-parts.h"
#include "plugin/extension.h"

enum { TIMES = 20, ALLOCATIONS_LIMIT = 1000 };

static qsr_status test_many_times(const qsr_check *c, qsr_error *e)
{
    for (int i = 0; i < TIMES; i++) {
        qsr_made *made;
        qsr_status status = qsr_check_make(c, c->one, &made, e);
        if (status) return qsr_fail(e, QSR_E_INTERNAL, "create succeeded once and failed at attempt %d", i + 2);
        qsr_made_free(made);
    }
    return QSR_OK;
}

static qsr_status test_two_at_once(const qsr_check *c, qsr_error *e)
{
    qsr_made *first, *second;
    qsr_status status = qsr_check_make(c, c->one, &first, e);
    if (status) return status;
    status = qsr_check_make(c, c->one, &second, e);
    if (!status && first->instance == second->instance)
        status = qsr_fail(e, QSR_E_INTERNAL, "create returned the same instance twice");
    qsr_made_free(first);
    if (!status) qsr_made_free(second);
    return status == QSR_E_UNSUPPORTED ? QSR_E_INTERNAL : status;
}

static qsr_status test_destroy_null(const qsr_check *c, qsr_error *e)
{
    (void)e;
    if (c->plugin->destroy) c->plugin->destroy(NULL);
    return QSR_OK;
}

/* With the n-th alloc refused, create must return QSR_E_NOMEM, whatever it had already. The first n that create does not
 * reach ends the search. */
static qsr_status test_refused_memory(const qsr_check *c, qsr_error *e)
{
    for (size_t n = 1, asked; n <= ALLOCATIONS_LIMIT; n++) {
        qsr_made *made;
        qsr_error said = {0};
        qsr_status status = qsr_made_create_refusing(c->plugin, &c->shape, c->options, 7, c->one, n, &asked, &made, &said);
        if (!status) qsr_made_free(made);
        if (!status && asked < n) return qsr_fail(e, QSR_OK, "%zu allocation%s", n - 1, n == 2 ? "" : "s");
        if (!status) return qsr_fail(e, QSR_E_INTERNAL, "create succeeded although alloc %zu returned NULL", n);
        if (status != QSR_E_NOMEM)
            return qsr_fail(e, QSR_E_INTERNAL, "create returned %d instead of QSR_E_NOMEM when alloc %zu returned NULL",
                            (int)status, n);
    }
    return qsr_fail(e, QSR_END, "create asks for more than %d blocks: the first of them were tested", ALLOCATIONS_LIMIT);
}

/* Calls create without qsr_made_create, which would lend a text to a failure that has none. */
static qsr_status create_with(const qsr_check *c, const qsr_shape *shape, qsr_error *said)
{
    qsr_services services;
    qsr_host host;
    qsr_instance *instance = NULL;
    qsr_services_init(&services, c->plugin->name, 7, NULL, &host);
    services.creating = true;
    qsr_status status = c->plugin->create(&host, shape, c->options, &instance);
    qsr_host_take_error(said);
    qsr_scratch_release(qsr_scratch_floor());
    if (!status && instance && c->plugin->destroy) c->plugin->destroy(instance);
    qsr_services_free(&services);
    return status;
}

/* Shapes at the edge of what exists: create may refuse them, but never without a reason. */
static qsr_status test_reasons(const qsr_check *c, qsr_error *e)
{
    qsr_shape shapes[] = {c->shape, c->shape, c->shape, c->shape};
    static const char *const what[] = {"d_in 1, d_sae 1", "d_sae 2", "batch_rows 0", "no surrogate"};
    if (c->plugin->abi.kind != QSR_DATASET) shapes[0].d_in = shapes[0].d_sae = 1, shapes[1].d_sae = 2;
    shapes[2].batch_rows = 0;
    shapes[3].has_surrogate = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        qsr_error said = {0};
        qsr_status status = create_with(c, &shapes[i], &said);
        if (status > 0)
            return qsr_fail(e, QSR_E_INTERNAL, "create returned %d for %s, which is no error", (int)status, what[i]);
        if (status && status != QSR_E_NOMEM && (said.code == QSR_OK || !said.text[0]))
            return qsr_fail(e, QSR_E_INTERNAL, "create returned %d for %s without a reason: use host->fail", (int)status,
                            what[i]);
    }
    return QSR_OK;
}

/* qsr_plugin_entry and extension() answer the same each time, and NULL for what nobody knows. */
static qsr_status test_extensions(const qsr_check *c, qsr_error *e)
{
    if (!c->plugin->extension) return QSR_OK;
    if (c->plugin->extension("quasar.check.unknown/1"))
        return qsr_fail(e, QSR_E_INTERNAL, "extension() offers an interface for an id that does not exist");
    const char *id;
    for (size_t i = 0; (id = qsr_extension_id(i)); i++)
        if (c->plugin->extension(id) != c->plugin->extension(id))
            return qsr_fail(e, QSR_E_INTERNAL, "extension(\"%s\") returns another table each time", id);
    return QSR_OK;
}

void qsr_check_lifecycle(const qsr_check *c)
{
    qsr_check_run(c, "create and destroy", test_many_times);
    qsr_check_run(c, "two instances", test_two_at_once);
    qsr_check_run(c, "destroy of NULL", test_destroy_null);
    qsr_check_run(c, "refused memory", test_refused_memory);
    qsr_check_run(c, "reasons", test_reasons);
    qsr_check_run(c, "extensions", test_extensions);
}

/* plugin/check-state: records of "quasar.state/1": what was saved comes back, and a damaged record does no harm. */
#include <string.h>

#include "base/sizes.h"
#include "base/text.h"
#include "plugin/check-parts.h"

typedef struct {
    const char *bytes;
    size_t size, used;
} record;

static qsr_status put(qsr_stream *stream, const void *bytes, size_t n)
{
    qsr_text_append(stream->ctx, bytes, n);
    return QSR_OK;
}

static qsr_status get(qsr_stream *stream, void *bytes, size_t n)
{
    record *r = stream->ctx;
    if (n > r->size - r->used) return QSR_E_STATE;
    if (n) memcpy(bytes, r->bytes + r->used, n);
    r->used += n;
    return QSR_OK;
}

static qsr_status refuse_put(qsr_stream *stream, const void *bytes, size_t n)
{
    (void)stream, (void)bytes, (void)n;
    return QSR_E_IO;
}

static qsr_status refuse_get(qsr_stream *stream, void *bytes, size_t n)
{
    (void)stream, (void)bytes, (void)n;
    return QSR_E_STATE;
}

qsr_status qsr_state_save(const qsr_made *made, qsr_text *out, qsr_error *e)
{
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    qsr_stream stream = {out, put, refuse_get};
    qsr_made_serial(made);
    return qsr_made_finish(made, ops->save(made->instance, &stream), e);
}

qsr_status qsr_state_load(qsr_made *made, const char *bytes, size_t n, uint32_t version, qsr_error *e)
{
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    record r = {bytes, n, 0};
    qsr_stream stream = {&r, refuse_put, get};
    qsr_made_serial(made);
    qsr_status status = qsr_made_finish(made, ops->load(made->instance, &stream, version), e);
    if (!status && r.used != n)
        status = qsr_fail(e, QSR_E_INTERNAL, "load took %zu of the %zu bytes that save wrote", r.used, n);
    return status;
}

static qsr_status load_again(const qsr_check *c, const qsr_text *saved, uint32_t version, qsr_text *out, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    status = qsr_state_load(made, saved->bytes, saved->length, version, e);
    if (!status) status = qsr_state_save(made, out, e);
    qsr_made_free(made);
    return status;
}

static qsr_status test_save_twice(const qsr_check *c, const qsr_text *saved, uint32_t version, qsr_error *e)
{
    qsr_text again = {0};
    qsr_status status = load_again(c, saved, version, &again, e);
    if (!status && (again.length != saved->length || memcmp(again.bytes, saved->bytes, saved->length) != 0))
        status = qsr_fail(e, QSR_E_INTERNAL, "what was loaded is not what is saved next");
    qsr_text_free(&again);
    return status;
}

/* A record that ends early at every length, and one of a version that does not exist yet. */
static qsr_status test_refusals(const qsr_check *c, const qsr_text *saved, uint32_t version, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    size_t step = saved->length / 64 + 1;
    for (size_t n = 0; n < saved->length && !status; n += step)
        if (qsr_state_load(made, saved->bytes, n, version, NULL) == QSR_OK)
            status = qsr_fail(e, QSR_E_INTERNAL, "load accepted the first %zu of %zu bytes", n, saved->length);
    if (!status && qsr_state_load(made, saved->bytes, saved->length, version + 1, NULL) == QSR_OK)
        status = qsr_fail(e, QSR_E_INTERNAL, "load accepted version %u, but save writes version %u", (unsigned)version + 1,
                          (unsigned)version);
    qsr_made_free(made);
    return status;
}

static qsr_status test_records(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_state_ops *ops = qsr_made_extension(made, QSR_EXT_STATE);
    if (!ops) status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_STATE);
    qsr_text saved = {0};
    if (!status) status = qsr_state_save(made, &saved, e);
    uint32_t version = ops ? ops->state_version : 0;
    qsr_made_free(made);
    if (!status && !saved.length) status = qsr_fail(e, QSR_E_INTERNAL, "save wrote nothing");
    if (!status) status = test_save_twice(c, &saved, version, e);
    if (!status) status = test_refusals(c, &saved, version, e);
    qsr_text_free(&saved);
    return status;
}

void qsr_check_state(const qsr_check *c) { qsr_check_run(c, "state records", test_records); }

/* plugin/check-dataset: a dataset's units, and that reading one is a pure function. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "base/text.h"
#include "plugin/check-parts.h"
#include "spec/option.h"

enum { UNITS = QSR_CHECK_UNITS };

qsr_status qsr_check_describe(const qsr_made *made, qsr_dataset_info *ret, qsr_error *e)
{
    const qsr_dataset_ops *ops = made->plugin->ops;
    *ret = (qsr_dataset_info){0};
    qsr_status status = qsr_made_finish(made, ops->describe(made->instance, ret), e);
    return status == QSR_END ? qsr_fail(e, QSR_E_INTERNAL, "describe returned QSR_END") : status;
}

static qsr_status test_describe(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_dataset_info a, b;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    status = qsr_check_describe(made, &a, e);
    if (!status) status = qsr_check_describe(made, &b, e);
    qsr_made_free(made);
    if (status) return status;
    if (a.d_in != b.d_in || a.units != b.units || a.rows_per_unit != b.rows_per_unit ||
        a.units_per_read != b.units_per_read)
        return qsr_fail(e, QSR_E_INTERNAL, "describe says something else the second time");
    size_t floats;
    if (!a.d_in || !a.units || !a.rows_per_unit || !a.units_per_read || !qsr_mul_size(a.d_in, a.rows_per_unit, &floats) ||
        !qsr_mul_size(floats, a.units_per_read, &floats) || !qsr_mul_size(floats, sizeof(float), &floats))
        return qsr_fail(e, QSR_E_INTERNAL,
                        "d_in %zu, units %llu, rows_per_unit %zu, units_per_read %zu: none may be 0, and one read must "
                        "fit into memory",
                        a.d_in, (unsigned long long)a.units, a.rows_per_unit, a.units_per_read);
    return QSR_OK;
}

/* ---- reading */

size_t qsr_check_units(const qsr_check *c, const qsr_dataset_info *info, uint64_t units[UNITS])
{
    size_t n = (size_t)(info->units < UNITS ? info->units : UNITS);
    for (size_t i = 0; i < n; i++) units[i] = i;
    if (!(c->plugin->caps & QSR_CAP_SEQUENTIAL))
        units[n - 1] = info->units == UINT64_MAX ? (uint64_t)1 << 48 : info->units - 1;
    return n;
}

static qsr_status check_finite(const float *rows, size_t n, size_t per_unit, const uint64_t *units, qsr_error *e)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(rows[i]))
            return qsr_fail(e, QSR_E_NUMERIC, "unit %llu has the value %g", (unsigned long long)units[i / per_unit],
                            rows[i]);
    return QSR_OK;
}

/* Reads into guarded memory full of NaN; *ret is to be freed with qsr_guard_free, also after a failure. */
static qsr_status read_guarded(const qsr_made *made, const qsr_dataset_info *info, const uint64_t *units, size_t n,
                               float **ret, qsr_error *e)
{
    const qsr_dataset_ops *ops = made->plugin->ops;
    size_t per_unit = info->d_in * info->rows_per_unit;
    float *out = *ret = qsr_guard_new(n * per_unit, sizeof *out);
    if (!out) return qsr_fail_nomem(e, "reading units", n * per_unit * sizeof *out);
    for (size_t i = 0; i < n * per_unit; i++) out[i] = NAN;
    uint64_t *copy = qsr_guard_new(n, sizeof *copy);
    if (n) memcpy(copy, units, n * sizeof *copy);
    qsr_status status = qsr_made_finish(made, ops->read(made->instance, copy, n, out), e);
    if (status == QSR_END) status = qsr_fail(e, QSR_E_INTERNAL, "read returned QSR_END for units that describe promised");
    if (!status && n && memcmp(copy, units, n * sizeof *copy) != 0)
        status = qsr_fail(e, QSR_E_INTERNAL, "read changed the list of units");
    if (!qsr_guard_free(copy)) status = qsr_fail(e, QSR_E_INTERNAL, "read wrote outside of the list of units");
    if (!status) status = check_finite(out, n * per_unit, per_unit, units, e);
    return status;
}

static qsr_status done_with(float *rows, qsr_status status, qsr_error *e)
{
    return qsr_guard_free(rows) ? status : qsr_fail(e, QSR_E_INTERNAL, "read wrote outside of its rows");
}

/* Reads `units` in groups of `group`, all into one array. */
static qsr_status read_in_groups(const qsr_made *made, const qsr_dataset_info *info, const uint64_t *units, size_t n,
                                 size_t group, float *to, qsr_error *e)
{
    size_t per_unit = info->d_in * info->rows_per_unit;
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < n && !status; i += group) {
        size_t count = qsr_min_size(group, n - i);
        float *rows;
        status = read_guarded(made, info, units + i, count, &rows, e);
        if (!status) memcpy(to + i * per_unit, rows, count * per_unit * sizeof *rows);
        status = done_with(rows, status, e);
    }
    return status;
}

static qsr_status read_fresh(const qsr_check *c, qsr_pool *pool, const uint64_t *units, size_t n, size_t group, float *to,
                             qsr_error *e)
{
    qsr_made *made;
    qsr_dataset_info info;
    qsr_status status = qsr_check_make(c, pool, &made, e);
    if (status) return status;
    status = qsr_check_describe(made, &info, e);
    if (!status) status = read_in_groups(made, &info, units, n, qsr_min_size(group, info.units_per_read), to, e);
    qsr_made_free(made);
    return status;
}

typedef struct {
    qsr_dataset_info info;
    uint64_t units[UNITS];
    size_t n, per_unit;
    float *a, *b; /* [n][per_unit] */
} reading;

static qsr_status start_reading(const qsr_check *c, reading *r, qsr_error *e)
{
    qsr_made *made;
    *r = (reading){0};
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    status = qsr_check_describe(made, &r->info, e);
    qsr_made_free(made);
    if (status) return status;
    r->n = qsr_check_units(c, &r->info, r->units);
    r->per_unit = r->info.d_in * r->info.rows_per_unit;
    r->a = qsr_block_alloc(r->n * r->per_unit, sizeof *r->a);
    r->b = qsr_block_alloc(r->n * r->per_unit, sizeof *r->b);
    return r->a && r->b ? QSR_OK : qsr_fail_nomem(e, "reading units", 2 * r->n * r->per_unit * sizeof *r->a);
}

static void end_reading(reading *r)
{
    qsr_block_free(r->a);
    qsr_block_free(r->b);
}

static qsr_status same_rows(const reading *r, const char *what, qsr_error *e)
{
    for (size_t i = 0; i < r->n; i++)
        if (memcmp(r->a + i * r->per_unit, r->b + i * r->per_unit, r->per_unit * sizeof *r->a) != 0)
            return qsr_fail(e, QSR_E_INTERNAL, "unit %llu has other bytes %s", (unsigned long long)r->units[i], what);
    return QSR_OK;
}

static qsr_status test_manners(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    reading r;
    qsr_status status = start_reading(c, &r, e);
    if (!status) status = qsr_check_make(c, c->one, &made, e);
    if (!status) {
        float *rows;
        status = read_guarded(made, &r.info, r.units, 0, &rows, e);
        status = done_with(rows, status, e);
        if (!status) status = read_in_groups(made, &r.info, r.units, r.n, r.info.units_per_read, r.a, e);
        qsr_made_free(made);
    }
    end_reading(&r);
    return status;
}

static qsr_status test_same_twice(const qsr_check *c, qsr_error *e)
{
    reading r;
    qsr_status status = start_reading(c, &r, e);
    if (!status) status = read_fresh(c, c->one, r.units, r.n, UNITS, r.a, e);
    if (!status) status = read_fresh(c, c->four, r.units, r.n, UNITS, r.b, e);
    if (!status) status = same_rows(&r, "in a fresh instance with 4 threads", e);
    end_reading(&r);
    return status;
}

static qsr_status test_company(const qsr_check *c, qsr_error *e)
{
    reading r;
    qsr_status status = start_reading(c, &r, e);
    if (!status) status = read_fresh(c, c->one, r.units, r.n, UNITS, r.a, e);
    if (!status) status = read_fresh(c, c->one, r.units, r.n, 1, r.b, e);
    if (!status) status = same_rows(&r, "alone and in company", e);
    end_reading(&r);
    return status;
}

/* The same units last to first, turned around for the comparison. */
static qsr_status read_backwards(const qsr_check *c, reading *r, qsr_error *e)
{
    uint64_t units[UNITS];
    float *rows = qsr_block_alloc(r->n * r->per_unit, sizeof *rows);
    if (!rows) return qsr_fail_nomem(e, "reading units", r->n * r->per_unit * sizeof *rows);
    for (size_t i = 0; i < r->n; i++) units[i] = r->units[r->n - 1 - i];
    qsr_status status = read_fresh(c, c->one, units, r->n, 2, rows, e);
    for (size_t i = 0; i < r->n && !status; i++)
        memcpy(r->b + i * r->per_unit, rows + (r->n - 1 - i) * r->per_unit, r->per_unit * sizeof *rows);
    qsr_block_free(rows);
    return status;
}

static qsr_status test_order(const qsr_check *c, qsr_error *e)
{
    if (c->plugin->caps & QSR_CAP_SEQUENTIAL) return qsr_fail(e, QSR_END, "QSR_CAP_SEQUENTIAL: units come in order");
    reading r;
    qsr_status status = start_reading(c, &r, e);
    if (!status) status = read_fresh(c, c->one, r.units, r.n, UNITS, r.a, e);
    if (!status) status = read_backwards(c, &r, e);
    if (!status) status = same_rows(&r, "when units are read in another order", e);
    end_reading(&r);
    return status;
}

/* ---- several threads on one instance */

struct job {
    const qsr_made *made;
    reading *r;
    qsr_first_error first;
};

static qsr_status read_one(void *arg, size_t begin, size_t end)
{
    struct job *job = arg;
    qsr_error e = {0};
    qsr_status status = read_in_groups(job->made, &job->r->info, job->r->units + begin, end - begin, 1,
                                       job->r->b + begin * job->r->per_unit, &e);
    return status ? qsr_first_error_note(&job->first, begin, &e) : QSR_OK;
}

static qsr_status test_threads(const qsr_check *c, qsr_error *e)
{
    if (c->plugin->caps & QSR_CAP_SEQUENTIAL) return qsr_fail(e, QSR_END, "QSR_CAP_SEQUENTIAL: one unit after the other");
    reading r;
    qsr_made *made;
    qsr_status status = start_reading(c, &r, e);
    if (!status) status = read_fresh(c, c->one, r.units, r.n, UNITS, r.a, e);
    if (!status) status = qsr_check_make(c, c->four, &made, e);
    if (!status) {
        struct job job = {.made = made, .r = &r};
        qsr_first_error_init(&job.first);
        status = qsr_pool_run(c->four, r.n, 1, read_one, &job);
        if (status) *e = job.first.error;
        qsr_made_free(made);
    }
    if (!status) status = same_rows(&r, "when 4 threads read at once", e);
    end_reading(&r);
    return status;
}

/* ---- quasar.truth/1 */

static qsr_status check_truth(const qsr_made *made, const qsr_truth_ops *ops, qsr_error *e)
{
    const float *features = NULL;
    size_t count = 0, d_in = 0;
    qsr_dataset_info info;
    qsr_status status = qsr_check_describe(made, &info, e);
    if (!status) status = qsr_made_finish(made, ops->get(made->instance, &features, &count, &d_in), e);
    if (status) return status;
    if (!features || !count || d_in != info.d_in)
        return qsr_fail(e, QSR_E_INTERNAL, "truth has %zu features of width %zu, rows have %zu", count, d_in, info.d_in);
    for (size_t i = 0; i < count; i++) {
        double square = 0;
        for (size_t d = 0; d < d_in; d++) square += (double)features[i * d_in + d] * features[i * d_in + d];
        if (!(fabs(square - 1) < 1e-4)) /* float32 rounding of d_in squares, far above it */
            return qsr_fail(e, QSR_E_INTERNAL, "feature %zu has the norm %g instead of 1", i, sqrt(square));
    }
    return QSR_OK;
}

static qsr_status test_truth(const qsr_check *c, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_truth_ops *ops = qsr_made_extension(made, QSR_EXT_TRUTH);
    if (!ops)
        status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_TRUTH);
    else
        status = ops->get ? check_truth(made, ops, e) : qsr_fail(e, QSR_E_INTERNAL, "get is missing");
    qsr_made_free(made);
    return status;
}

/* ---- quasar.taps/1: every tap must give what an instance of its own gives; the same options twice, and another place where
 * one can be found */

enum { TAPS = 3 };

typedef struct {
    const void *options[TAPS];
    float *want[TAPS];
    size_t n;
} tap_set;

/* Whether an instance can be made of these options. */
static bool is_possible(const qsr_check *c, const void *options)
{
    qsr_check other = *c;
    other.options = options;
    qsr_made *made;
    if (qsr_check_make(&other, c->one, &made, NULL)) return false;
    qsr_made_free(made);
    return true;
}

/* The options with `o` set to `text`, NULL when that is no other place. */
static const void *moved_to(const qsr_check *c, const qsr_option *o, const char *text)
{
    qsr_arena *arena = &c->report->arena;
    const char *const *now;
    if (qsr_option_texts(o, c->options, arena, &now) == 1 && strcmp(now[0], text) == 0) return NULL;
    void *values = qsr_arena_alloc(arena, c->plugin->options_size, 1);
    memcpy(values, c->options, c->plugin->options_size);
    if (qsr_option_store(o, &text, 1, NULL, arena, values, NULL, NULL)) return NULL;
    return is_possible(c, values) ? values : NULL;
}

/* The options with one of those flagged TAP changed; NULL: nothing that was tried makes an instance. */
static const void *other_place(const qsr_check *c)
{
    static const char *const switches[] = {"true", "false", NULL}, *const none[] = {NULL};
    const qsr_option_table table = qsr_plugin_options(c->plugin);
    const void *found = NULL;
    for (size_t i = 0; i < table.count && !found; i++) {
        const qsr_option *o = qsr_option_at(&table, i);
        if (!(o->flags & QSR_OPT_TAP)) continue;
        const char *const *words = o->choices ? o->choices : o->type == QSR_OPT_BOOL ? switches : none;
        for (; *words && !found; words++) found = moved_to(c, o, *words);
        const bool number = o->type == QSR_OPT_INT || o->type == QSR_OPT_UINT || o->type == QSR_OPT_REAL;
        for (int step = -1; number && step <= 1 && !found; step += 2) {
            char text[32];
            found = moved_to(c, o, qsr_real_text(qsr_option_real(o, c->options) + step, text, sizeof text));
        }
    }
    return found;
}

static qsr_status read_taps(const qsr_made *made, const qsr_taps_ops *ops, const reading *r, const tap_set *taps,
                            unsigned wanted, qsr_error *e)
{
    const size_t n = qsr_min_size(r->n, r->info.units_per_read), bytes = n * r->per_unit * sizeof(float);
    float *rows[TAPS] = {NULL};
    for (size_t tap = 0; tap < taps->n; tap++)
        if (wanted >> tap & 1) rows[tap] = qsr_guard_new(n * r->per_unit, sizeof(float));
    qsr_status status = qsr_made_finish(made, ops->read(made->instance, r->units, n, rows), e);
    if (status == QSR_END) status = qsr_fail(e, QSR_E_INTERNAL, "read of taps returned QSR_END");
    for (size_t tap = 0; tap < taps->n && !status; tap++)
        if (rows[tap] && memcmp(rows[tap], taps->want[tap], bytes) != 0)
            status = qsr_fail(e, QSR_E_INTERNAL, "tap %zu%s differs from an instance of its own", tap,
                              wanted + 1 == 1u << taps->n ? "" : ", read without the others,");
    for (size_t tap = 0; tap < taps->n; tap++)
        if (!qsr_guard_free(rows[tap])) status = qsr_fail(e, QSR_E_INTERNAL, "read of taps wrote outside of its rows");
    return status;
}

static qsr_status compare_taps(const qsr_check *c, const qsr_taps_ops *ops, qsr_error *e)
{
    const void *other = other_place(c);
    qsr_check there = *c;
    there.options = other;
    reading r;
    qsr_made *made = NULL;
    size_t tap;
    qsr_status status = start_reading(c, &r, e);
    const tap_set taps = {{c->options, c->options, other}, {r.a, r.a, r.b}, other ? 3 : 2};
    if (!status) status = read_fresh(c, c->one, r.units, r.n, UNITS, r.a, e);
    if (!status && other) status = read_fresh(&there, c->one, r.units, r.n, UNITS, r.b, e);
    if (!status) status = qsr_made_create_taps(c->plugin, &c->shape, taps.options, taps.n, 7, c->one, &tap, &made, e);
    for (unsigned wanted = (1u << taps.n) - 1; wanted && !status; wanted--)
        status = read_taps(made, ops, &r, &taps, wanted, e);
    qsr_made_free(made);
    end_reading(&r);
    return status;
}

static qsr_status test_taps(const qsr_check *c, qsr_error *e)
{
    const qsr_taps_ops *ops = c->plugin->extension ? c->plugin->extension(QSR_EXT_TAPS) : NULL;
    if (!ops) return qsr_fail(e, QSR_END, "no %s", QSR_EXT_TAPS);
    if (!ops->create || !ops->read) return qsr_fail(e, QSR_E_INTERNAL, "create or read is missing");
    return compare_taps(c, ops, e);
}

void qsr_check_dataset(const qsr_check *c)
{
    size_t before = c->report->failures;
    qsr_check_run(c, "describe", test_describe);
    if (c->report->failures > before) return;
    qsr_check_run(c, "manners", test_manners);
    qsr_check_run(c, "same bytes twice", test_same_twice);
    qsr_check_run(c, "alone and in company", test_company);
    qsr_check_run(c, "any order", test_order);
    qsr_check_run(c, "4 threads", test_threads);
    qsr_check_run(c, "truth", test_truth);
    qsr_check_run(c, "taps", test_taps);
    qsr_check_tokens(c);
    qsr_check_splice(c);
}

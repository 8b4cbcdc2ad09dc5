/* plugin/check-splice: a dataset's "quasar.splice/1" promises that what is left alone changes nothing to the last bit, that equal rows
 * give equal losses, and that a unit's losses depend on nothing but its own rows. */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"
#include "plugin/check-parts.h"

enum { UNITS = 3 };
enum { LEAVE, ZEROS, ZEROS_AGAIN, HALVES, VARIANTS };

typedef struct {
    const qsr_check *check;
    qsr_dataset_info info;
    uint64_t units[UNITS];
    size_t n, per_unit;      /* floats of a unit */
    float *rows;             /* [n][per_unit] of read */
    double *loss[2], *kl[2]; /* [1 + VARIANTS][n][rows_per_unit], [VARIANTS][...]: two runs that are compared */
} splicing;

/* What a run is watched by. */
typedef struct {
    const splicing *s;
    const float *rows;
    size_t n;
    size_t seen[VARIANTS];
    qsr_status answer;
    qsr_error broken;
} watcher;

static qsr_status watch(watcher *w, size_t variant, size_t first, size_t n, const float *rows)
{
    const size_t each = w->s->per_unit;
    if (variant >= VARIANTS || first != w->seen[variant] || n == 0 || n > w->n - first)
        return qsr_fail(&w->broken, QSR_E_INTERNAL,
                        "replace is called for variant %zu and units %zu to %zu, where %zu are next", variant, first,
                        first + n, variant < VARIANTS ? w->seen[variant] : 0);
    w->seen[variant] += n;
    if (memcmp(rows, w->rows + first * each, n * each * sizeof *rows) != 0)
        return qsr_fail(&w->broken, QSR_E_INTERNAL, "replace gets other rows than read gives");
    return w->answer;
}

static qsr_status replace(void *ctx, size_t variant, size_t first, size_t n, float *rows)
{
    watcher *w = ctx;
    qsr_status status = watch(w, variant, first, n, rows);
    for (size_t i = 0; !status && i < n * w->s->per_unit; i++)
        rows[i] = variant == LEAVE ? rows[i] : variant == HALVES ? rows[i] / 2 : 0;
    return status;
}

/* A run of the units from `begin` on, with the first `variants` of ours, into guarded memory, then to loss and kl. */
static qsr_status run(const splicing *s, qsr_pool *pool, size_t begin, size_t n, size_t variants, qsr_status answer,
                      double *loss, double *kl, qsr_error *e)
{
    static const size_t taps[VARIANTS] = {0};
    const size_t each = n * s->info.rows_per_unit;
    watcher w = {.s = s, .rows = s->rows + begin * s->per_unit, .n = n, .answer = answer};
    double *guarded_loss = qsr_guard_new((1 + variants) * each, sizeof(double)),
           *guarded_kl = qsr_guard_new(variants * each, sizeof(double));
    const qsr_splice splice = {.struct_size = sizeof splice,
                               .ctx = &w,
                               .n_variants = variants,
                               .tap = taps,
                               .replace = replace,
                               .loss = guarded_loss,
                               .kl = guarded_kl};
    qsr_made *made;
    qsr_status status = qsr_check_make(s->check, pool, &made, e);
    if (!status) {
        const qsr_splice_ops *ops = qsr_made_extension(made, QSR_EXT_SPLICE);
        status = qsr_made_finish(made, ops->run(made->instance, s->units + begin, n, &splice), e);
        qsr_made_free(made);
    }
    memcpy(loss, guarded_loss, (1 + variants) * each * sizeof *loss);
    memcpy(kl, guarded_kl, variants * each * sizeof *kl);
    const bool tidy = qsr_guard_free(guarded_loss) & qsr_guard_free(guarded_kl);
    if (w.broken.code) {
        if (e) *e = w.broken;
        return w.broken.code;
    }
    for (size_t v = 0; !status && v < variants; v++)
        if (w.seen[v] != n)
            status = qsr_fail(e, QSR_E_INTERNAL, "replace was called for %zu of %zu units of variant %zu", w.seen[v], n, v);
    return tidy ? status : qsr_fail(e, QSR_E_INTERNAL, "run wrote outside of its losses");
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static bool is_last(const splicing *s, size_t i) { return i % s->info.rows_per_unit + 1 == s->info.rows_per_unit; }

static qsr_status check_values(const splicing *s, qsr_error *e)
{
    const size_t each = s->n * s->info.rows_per_unit;
    for (size_t i = 0; i < (1 + VARIANTS) * each; i++) {
        const double loss = s->loss[0][i], kl = i < each ? 0 : s->kl[0][i - each];
        if (is_last(s, i) && !(isnan(loss) && (i < each || isnan(kl))))
            return qsr_fail(e, QSR_E_INTERNAL,
                            "the last position of a unit has the loss %g, expected NaN: it has no next token", loss);
        if (!is_last(s, i) && !(isfinite(loss) && loss >= 0 && isfinite(kl)))
            return qsr_fail(e, QSR_E_NUMERIC, "position %zu has the loss %g and the KL %g", i % s->info.rows_per_unit, loss,
                            kl);
    }
    return QSR_OK;
}

static qsr_status check_exact(const splicing *s, qsr_error *e)
{
    const size_t each = s->n * s->info.rows_per_unit, bytes = each * sizeof(double);
    const double *loss = s->loss[0], *kl = s->kl[0];
    if (memcmp(loss, loss + (1 + LEAVE) * each, bytes) != 0)
        return qsr_fail(e, QSR_E_INTERNAL,
                        "rows that are left alone change the losses: %.17g became %.17g at the first position", loss[0],
                        loss[(1 + LEAVE) * each]);
    for (size_t i = 0; i < each; i++)
        if (!is_last(s, i) && kl[LEAVE * each + i] != 0)
            return qsr_fail(e, QSR_E_INTERNAL, "rows that are left alone give the KL %g instead of 0",
                            kl[LEAVE * each + i]);
    if (memcmp(loss + (1 + ZEROS) * each, loss + (1 + ZEROS_AGAIN) * each, bytes) != 0)
        return qsr_fail(e, QSR_E_INTERNAL, "two variants with the same rows have other losses");
    if (s->info.rows_per_unit > 1 && memcmp(loss, loss + (1 + ZEROS) * each, bytes) == 0)
        return qsr_fail(e, QSR_E_INTERNAL, "zeros in place of all rows change nothing: are replaced rows used?");
    return QSR_OK;
}

/* Unit by unit, with fewer variants, on another pool. */
static qsr_status check_company(const splicing *s, qsr_error *e)
{
    const size_t rows = s->info.rows_per_unit, each = s->n * rows, bytes = rows * sizeof(double);
    qsr_status status = QSR_OK;
    for (size_t u = 0; !status && u < s->n; u++) {
        status = run(s, s->check->four, u, 1, ZEROS + 1, QSR_OK, s->loss[1], s->kl[1], e);
        for (size_t v = 0; !status && v < 1 + ZEROS + 1; v++)
            if (memcmp(s->loss[1] + v * rows, s->loss[0] + v * each + u * rows, bytes) != 0)
                status = qsr_fail(e, QSR_E_INTERNAL, "unit %llu has other losses alone than in company",
                                  (unsigned long long)s->units[u]);
    }
    return status;
}

static qsr_status check_failure(const splicing *s, qsr_error *e)
{
    qsr_error ignored = {0};
    qsr_status status = run(s, s->check->one, 0, 1, 1, QSR_E_NUMERIC, s->loss[1], s->kl[1], &ignored);
    if (status == QSR_E_NUMERIC) return QSR_OK;
    return qsr_fail(e, QSR_E_INTERNAL, "replace fails with %d, and run returns %d", QSR_E_NUMERIC, (int)status);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static qsr_status allocate(splicing *s, qsr_error *e)
{
    const size_t losses = s->n * s->info.rows_per_unit, bytes = (2 * VARIANTS + 1) * losses * sizeof(double);
    s->rows = qsr_block_alloc(s->n * s->per_unit, sizeof *s->rows);
    for (int i = 0; i < 2; i++) {
        s->loss[i] = qsr_block_alloc((1 + VARIANTS) * losses, sizeof(double));
        s->kl[i] = qsr_block_alloc(VARIANTS * losses, sizeof(double));
        if (!s->rows || !s->loss[i] || !s->kl[i]) return qsr_fail_nomem(e, "losses", bytes);
    }
    return QSR_OK;
}

/* The rows of the instance's own tap, and whether it can do it at all. */
static qsr_status begin(const qsr_check *c, splicing *s, qsr_error *e)
{
    qsr_made *made;
    qsr_status status = qsr_check_make(c, c->one, &made, e);
    if (status) return status;
    const qsr_dataset_ops *ops = made->plugin->ops;
    const qsr_splice_ops *splice = qsr_made_extension(made, QSR_EXT_SPLICE);
    s->check = c;
    if (!splice) status = qsr_fail(e, QSR_END, "no %s", QSR_EXT_SPLICE);
    if (!status) status = qsr_made_finish(made, ops->describe(made->instance, &s->info), e);
    if (!status && qsr_made_finish(made, splice->ready(made->instance), e)) status = QSR_END;
    s->n = qsr_min_size(qsr_min_size(UNITS, s->info.units_per_read), s->info.units < UNITS ? (size_t)s->info.units : UNITS);
    s->per_unit = s->info.rows_per_unit * s->info.d_in;
    for (size_t i = 0; i < s->n; i++) s->units[i] = s->n - 1 - i;
    if (!status) status = allocate(s, e);
    if (!status) status = qsr_made_finish(made, ops->read(made->instance, s->units, s->n, s->rows), e);
    qsr_made_free(made);
    return status;
}

static qsr_status test_splice(const qsr_check *c, qsr_error *e)
{
    splicing s = {0};
    qsr_status status = begin(c, &s, e);
    if (!status) status = run(&s, c->one, 0, s.n, VARIANTS, QSR_OK, s.loss[0], s.kl[0], e);
    if (!status) status = check_values(&s, e);
    if (!status) status = check_exact(&s, e);
    if (!status) status = check_company(&s, e);
    if (!status) status = check_failure(&s, e);
    qsr_block_free(s.rows);
    for (int i = 0; i < 2; i++) {
        qsr_block_free(s.loss[i]);
        qsr_block_free(s.kl[i]);
    }
    return status;
}

void qsr_check_splice(const qsr_check *c) { qsr_check_run(c, "splice", test_splice); }

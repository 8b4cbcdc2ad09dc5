/* plugin/check-tools: guarded memory, inputs and the arithmetic of differences for the conformance suite. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "plugin/check-parts.h"

/* ---- guarded memory: 64 bytes of header (with the size), 64 of canary, the block, 64 of canary */

enum { CANARY = 0xa5, PAD = 64 };

void *qsr_guard_new(size_t n, size_t size)
{
    size_t bytes;
    if (!qsr_mul_size(n, size, &bytes)) return NULL;
    unsigned char *p = qsr_block_alloc(qsr_round_up(bytes, PAD) + 3 * PAD, 1);
    if (!p) return NULL;
    memcpy(p, &bytes, sizeof bytes);
    memset(p + PAD, CANARY, PAD);
    memset(p + 2 * PAD + bytes, CANARY, qsr_round_up(bytes, PAD) + PAD - bytes);
    return p + 2 * PAD;
}

static bool all_canary(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != CANARY) return false;
    return true;
}

bool qsr_guard_free(void *block)
{
    if (!block) return true;
    unsigned char *p = (unsigned char *)block - 2 * PAD;
    size_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    bool intact = all_canary(p + PAD, PAD) && all_canary(p + 2 * PAD + bytes, qsr_round_up(bytes, PAD) + PAD - bytes);
    qsr_block_free(p);
    return intact;
}

/* ---- codes */

qsr_code *qsr_guard_code(size_t rows, size_t d_sae, uint32_t planes)
{
    qsr_code *code = qsr_xcalloc(1, sizeof *code);
    size_t capacity = rows * d_sae;
    *code = (qsr_code){.struct_size = sizeof *code, .planes = planes, .rows = rows, .d_sae = d_sae, .capacity = capacity};
    code->row_begin = qsr_guard_new(rows + 1, sizeof *code->row_begin);
    code->latent = qsr_guard_new(capacity, sizeof *code->latent);
    code->value = qsr_guard_new(capacity, sizeof *code->value);
    for (uint32_t p = 0; p < planes; p++) code->plane[p] = qsr_guard_new(capacity, sizeof *code->plane[p]);
    return code;
}

bool qsr_guard_code_free(qsr_code *code)
{
    if (!code) return true;
    bool intact = qsr_guard_free(code->row_begin);
    intact &= qsr_guard_free(code->latent);
    intact &= qsr_guard_free(code->value);
    intact &= qsr_guard_free(code->plane[0]);
    intact &= qsr_guard_free(code->plane[1]);
    free(code);
    return intact;
}

static qsr_status check_row(const qsr_code *code, size_t r, qsr_error *e)
{
    for (size_t i = code->row_begin[r]; i < code->row_begin[r + 1]; i++) {
        if (code->latent[i] >= code->d_sae)
            return qsr_fail(e, QSR_E_INTERNAL, "row %zu has latent %u of %zu", r, (unsigned)code->latent[i], code->d_sae);
        if (i > code->row_begin[r] && code->latent[i] <= code->latent[i - 1])
            return qsr_fail(e, QSR_E_INTERNAL, "row %zu has latent %u after %u: they must ascend", r,
                            (unsigned)code->latent[i], (unsigned)code->latent[i - 1]);
        if (!isfinite(code->value[i]))
            return qsr_fail(e, QSR_E_INTERNAL, "row %zu has the value %g at latent %u", r, code->value[i],
                            (unsigned)code->latent[i]);
    }
    return QSR_OK;
}

qsr_status qsr_check_code(const qsr_code *code, qsr_error *e)
{
    if (code->row_begin[0] != 0) return qsr_fail(e, QSR_E_INTERNAL, "row_begin[0] is %zu instead of 0", code->row_begin[0]);
    for (size_t r = 0; r < code->rows; r++) {
        if (code->row_begin[r + 1] < code->row_begin[r] || code->row_begin[r + 1] > code->capacity)
            return qsr_fail(e, QSR_E_INTERNAL, "row %zu ends at entry %zu: it begins at %zu and there is room for %zu", r,
                            code->row_begin[r + 1], code->row_begin[r], code->capacity);
        qsr_status status = check_row(code, r, e);
        if (status) return status;
    }
    return QSR_OK;
}

/* ---- inputs */

double qsr_check_normal(const char *stream, uint64_t index)
{
    qsr_rng rng = qsr_rng_make(1, stream);
    return qsr_rng_normal(&rng, index);
}

double qsr_check_uniform(const char *stream, uint64_t index)
{
    qsr_rng rng = qsr_rng_make(1, stream);
    return qsr_rng_unit(&rng, index);
}

/* ---- differences */

void qsr_differences_add(qsr_differences *d, double numeric, double analytic, double size)
{
    double scale = size + fmax(fabs(numeric), fabs(analytic));
    double error = scale > 0 ? fabs(numeric - analytic) / scale : 0;
    d->alive = d->alive || numeric != 0 || analytic != 0;
    if (!(error <= d->worst)) d->worst = isnan(error) ? INFINITY : error;
}

/* 1e-3: float32 values at a step of 1/128 round to about 1e-5 of a derivative, curvature adds up to 1e-4, and a wrong formula
 * is off by 1e-2 or more. */
static const double tolerance = 1e-3;

qsr_status qsr_differences_judge(const qsr_differences *d, bool exact, qsr_error *e)
{
    size_t kept = d->tried - d->dropped;
    if (d->worst > tolerance)
        return qsr_fail(e, QSR_E_NUMERIC,
                        "backward differs from central differences by %.2g (the limit is %g), over %zu directions",
                        d->worst, tolerance, kept);
    if (exact && d->dropped)
        return qsr_fail(e, QSR_E_NUMERIC,
                        "QSR_CAP_GRAD_EXACT, but along %zu of %zu directions the active latents changed: it is "
                        "QSR_CAP_GRAD_PIECEWISE",
                        d->dropped, d->tried);
    if (kept * 10 < d->tried || d->tried == 0)
        return qsr_fail(e, QSR_E_UNSUPPORTED,
                        "%zu of %zu directions change the active latents, so hardly any could be compared", d->dropped,
                        d->tried);
    if (!d->alive) return qsr_fail(e, QSR_END, "constant: it does not depend on this");
    return qsr_fail(e, QSR_OK, "%zu of %zu directions, worst relative error %.1e", kept, d->tried, d->worst);
}

/* tests/unit/train/plain: see the header. */
#include "plain.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

typedef struct {
    const double *w_enc, *w_dec, *b_enc, *b_dec;
} weights;

static weights weights_of(const plain_sae *s, const double *params)
{
    size_t n = s->d_sae * s->d_in;
    return (weights){params, params + n, params + 2 * n, params + 2 * n + s->d_sae};
}

size_t plain_count(const plain_sae *s) { return 2 * s->d_sae * s->d_in + s->d_sae + s->d_in; }

double *plain_params(const plain_sae *s, const qsr_params *p)
{
    size_t n = s->d_sae * s->d_in;
    double *out = qsr_xcalloc(plain_count(s), sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = p->w_enc[i], out[n + i] = p->w_dec[i];
    for (size_t j = 0; j < s->d_sae; j++) out[2 * n + j] = p->b_enc[j];
    for (size_t i = 0; i < s->d_in; i++) out[2 * n + s->d_sae + i] = p->b_dec[i];
    return out;
}

static double norm(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i] * v[i];
    return sqrt(sum);
}

/* ---- codes ------------------------------------------------------------------------------------------------------- */

typedef struct {
    double value;
    size_t at;
} candidate;

static int larger_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->value != y->value) return x->value > y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The positive of v[0..n) where allowed (NULL: everywhere), largest first; returns how many. */
static size_t sorted(const double *v, size_t n, const uint8_t *allowed, candidate *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i] > 0 && (!allowed || allowed[i])) out[count++] = (candidate){v[i], i};
    qsort(out, count, sizeof *out, larger_first);
    return count;
}

static void keep_largest(const double *v, size_t n, const uint8_t *allowed, size_t k, uint8_t *kept)
{
    candidate *c = qsr_xcalloc(n, sizeof *c);
    size_t count = sorted(v, n, allowed, c);
    for (size_t i = 0; i < k && i < count; i++) kept[c[i].at] = 1;
    free(c);
}

/* As many of the largest s as bring sqrt(s_1 + ... + s_i) nearest to the target, the smaller i on a tie. */
static void keep_to_norm(const plain_sae *s, const weights *w, const double *pre, double target, uint8_t *kept)
{
    double squares[s->d_sae], sum = 0, nearest = INFINITY;
    for (size_t j = 0; j < s->d_sae; j++) {
        double a = pre[j] > 0 ? pre[j] * norm(w->w_dec + j * s->d_in, s->d_in) : 0;
        squares[j] = a * a;
    }
    candidate c[s->d_sae];
    size_t count = sorted(squares, s->d_sae, NULL, c), best = 0;
    for (size_t i = 0; i < count; i++) {
        sum += c[i].value;
        if (fabs(sqrt(sum) - target) < nearest) nearest = fabs(sqrt(sum) - target), best = i + 1;
    }
    for (size_t i = 0; i < best; i++) kept[c[i].at] = 1;
}

static void encode(const plain_sae *s, const weights *w, double *xc, double *pre)
{
    for (size_t r = 0; r < s->rows; r++)
        for (size_t i = 0; i < s->d_in; i++) xc[r * s->d_in + i] = s->x[r * s->d_in + i] - (s->pre_bias ? w->b_dec[i] : 0);
    for (size_t r = 0; r < s->rows; r++)
        for (size_t j = 0; j < s->d_sae; j++) {
            double sum = s->encoder_bias ? w->b_enc[j] : 0;
            for (size_t i = 0; i < s->d_in; i++) sum += xc[r * s->d_in + i] * w->w_enc[j * s->d_in + i];
            pre[r * s->d_sae + j] = sum;
        }
}

static void choose(const plain_sae *s, const weights *w, const double *xc, const double *pre, uint8_t *kept)
{
    size_t n = s->d_sae;
    if (s->rule == PLAIN_BATCHTOPK) {
        keep_largest(pre, s->rows * n, NULL, s->rows * s->k, kept);
        return;
    }
    for (size_t r = 0; r < s->rows; r++, pre += n, kept += n) {
        if (s->rule == PLAIN_TOPAFA)
            keep_to_norm(s, w, pre, norm(xc + r * s->d_in, s->d_in), kept);
        else if (s->rule == PLAIN_JUMPRELU)
            for (size_t j = 0; j < n; j++) kept[j] = pre[j] > s->theta[j];
        else
            keep_largest(pre, n, NULL, s->rule == PLAIN_RELU ? n : s->k, kept);
    }
}

/* out[d_in] = the decode of a row's kept entries with begin <= latent < end */
static void decode(const plain_sae *s, const weights *w, const double *pre, const uint8_t *kept, size_t begin, size_t end,
                   bool bias, double *out)
{
    for (size_t i = 0; i < s->d_in; i++) {
        out[i] = bias ? w->b_dec[i] : 0;
        for (size_t j = begin; j < end && j < s->d_sae; j++)
            if (kept[j]) out[i] += pre[j] * w->w_dec[j * s->d_in + i];
    }
}

/* ---- losses ------------------------------------------------------------------------------------------------------ */

static double square_gap(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static double sparsity(const plain_sae *s, const weights *w, size_t r, const double *pre, const uint8_t *kept)
{
    double l1 = 0, l0 = 0, squares = 0;
    for (size_t j = 0; j < s->d_sae; j++) {
        if (!kept[j]) continue;
        double scale = s->afa_decoder ? norm(w->w_dec + j * s->d_in, s->d_in) : 1;
        l1 += fabs(pre[j]);
        l0 += 1;
        squares += pre[j] * scale * pre[j] * scale;
    }
    double gap = s->afa != 0 ? sqrt(squares) - s->target[r] : 0;
    return (s->l1 * l1 + s->l0 * l0 + s->afa * gap * gap) / (double)s->rows;
}

static double auxiliary(const plain_sae *s, const weights *w, size_t r, const double *x, const double *xhat,
                        const double *pre, uint8_t *kept)
{
    double e[s->d_in], ehat[s->d_in];
    if (s->auxk == 0 || s->denominator == 0) return 0;
    keep_largest(pre, s->d_sae, s->dead, s->aux_k, kept);
    for (size_t i = 0; i < s->d_in; i++) e[i] = s->aux_detach ? s->residual[r * s->d_in + i] : x[i] - xhat[i];
    decode(s, w, pre, kept, 0, s->d_sae, false, ehat);
    return s->auxk * square_gap(ehat, e, s->d_in) / s->denominator;
}

static double views(const plain_sae *s, const weights *w, const double *x, const double *pre, const uint8_t *main,
                    uint8_t *kept)
{
    double out[s->d_in], sum = 0;
    uint8_t odd[s->d_sae];
    if (s->prefixes == 0) return 0;
    for (size_t j = 0; j < s->d_sae; j++) odd[j] = j % 2;
    const size_t ends[] = {s->first, s->second};
    for (int i = 0; s->see_main && i < 2; i++) {
        decode(s, w, pre, main, 0, ends[i], s->bias, out);
        sum += square_gap(out, x, s->d_in);
    }
    if (s->top) {
        keep_largest(pre, s->d_sae, odd, s->top, kept);
        decode(s, w, pre, kept, s->first, s->d_sae, s->bias, out);
        sum += square_gap(out, x, s->d_in);
    }
    return s->prefixes * sum / (double)(s->rows * s->d_in);
}

double plain_loss(const plain_sae *s, const double *params, uint8_t *kept)
{
    weights w = weights_of(s, params);
    size_t n = s->rows * s->d_sae;
    double *xc = qsr_xcalloc(s->rows * s->d_in, sizeof *xc), *pre = qsr_xcalloc(n, sizeof *pre), loss = 0;
    memset(kept, 0, PLAIN_CODES * n);
    encode(s, &w, xc, pre);
    choose(s, &w, xc, pre, kept);
    for (size_t r = 0; r < s->rows; r++) {
        double xhat[s->d_in], x[s->d_in];
        const double *row = pre + r * s->d_sae;
        uint8_t *main = kept + r * s->d_sae;
        for (size_t i = 0; i < s->d_in; i++) x[i] = s->x[r * s->d_in + i];
        decode(s, &w, row, main, 0, s->d_sae, true, xhat);
        loss += s->mse * square_gap(xhat, x, s->d_in) / (double)(s->rows * s->d_in);
        loss += sparsity(s, &w, r, row, main);
        loss += auxiliary(s, &w, r, x, xhat, row, main + PLAIN_AUX * n);
        loss += views(s, &w, x, row, main, main + PLAIN_TOP * n);
    }
    free(xc);
    free(pre);
    return loss;
}

/* ---- what is not differentiated ---------------------------------------------------------------------------------- */

static double spread(const plain_sae *s)
{
    double sum = 0;
    for (size_t i = 0; i < s->d_in; i++) {
        double mean = 0;
        for (size_t r = 0; r < s->rows; r++) mean += s->residual[r * s->d_in + i] / (double)s->rows;
        for (size_t r = 0; r < s->rows; r++) sum += pow(s->residual[r * s->d_in + i] - mean, 2);
    }
    return sum;
}

void plain_fix(plain_sae *s, const double *params)
{
    weights w = weights_of(s, params);
    size_t n = s->rows * s->d_sae, any = 0;
    double *xc = qsr_xcalloc(s->rows * s->d_in, sizeof *xc), *pre = qsr_xcalloc(n, sizeof *pre);
    uint8_t *kept = qsr_xcalloc(n, 1);
    s->residual = qsr_xcalloc(s->rows * s->d_in, sizeof *s->residual);
    s->target = qsr_xcalloc(s->rows, sizeof *s->target);
    encode(s, &w, xc, pre);
    choose(s, &w, xc, pre, kept);
    for (size_t r = 0; r < s->rows; r++) {
        double xhat[s->d_in], to[s->d_in];
        decode(s, &w, pre + r * s->d_sae, kept + r * s->d_sae, 0, s->d_sae, true, xhat);
        for (size_t i = 0; i < s->d_in; i++) {
            to[i] = s->x[r * s->d_in + i] - (s->afa_centred ? w.b_dec[i] : 0);
            s->residual[r * s->d_in + i] = s->x[r * s->d_in + i] - xhat[i];
        }
        s->target[r] = norm(to, s->d_in);
    }
    for (size_t j = 0; s->dead && j < s->d_sae; j++) any += s->dead[j];
    s->denominator = !any ? 0 : s->aux_variance ? spread(s) : (double)(s->rows * s->d_in);
    free(xc);
    free(pre);
    free(kept);
}

void plain_free(plain_sae *s)
{
    free(s->residual);
    free(s->target);
    free(s->dead);
}

#include "model/sift.h"

#include <math.h>
#include <string.h>

#include "base/sizes.h"
#include "math/select.h"

enum { ROOM = 2048, LEAST_ROOM = 256, LINE = 16 /* floats of a cache line */ };

/* A pre-activation on its own costs some 16 times what it costs in a full product. */
size_t qsr_sift_room(size_t d_sae) { return qsr_min_size(ROOM, qsr_max_size(LEAST_ROOM, d_sae / 16)); }

/* A rule as the two ways need it: what may be kept given bounds, and what is kept given values. */
typedef struct {
    size_t k; /* or 0: */
    const float *threshold;
    float scalar;
} sift_rule;

typedef struct {
    uint32_t latent[ROOM];
    float value[ROOM];
    size_t n;
} candidate_list;

/* ---- candidates -------------------------------------------------------------------------------------------------- */

/* What U must reach where at least k lower bounds reach `bound`: the k-th value is at least bound - 2 a, and values within the band
 * below it are asked for too. No positive bound: whatever may be positive. */
static float least_upper(float bound, float a) { return (bound > 0 ? bound * (1 - 4 * QSR_CHOOSE_BAND) : 0) - 4 * a; }

/* The lower bounds of what is left tell more about the k-th value than those of the whole row in groups did. */
static void thin_out(const qsr_screened *b, float scale, size_t k, candidate_list *c)
{
    float lower[ROOM], bound = 0;
    uint32_t largest[ROOM];
    for (size_t i = 0; i < c->n; i++) lower[i] = c->value[i] - 2 * scale * b->m[c->latent[i]];
    if (qsr_select_largest(lower, c->n, k, largest) < k) return;
    bound = lower[largest[0]];
    for (size_t i = 1; i < k; i++) bound = lower[largest[i]] < bound ? lower[largest[i]] : bound;
    float least = least_upper(bound, b->a);
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++) {
        c->latent[n] = c->latent[i];
        c->value[n] = c->value[i];
        n += c->value[i] >= least;
    }
    c->n = n;
}

/* Latents of row r that may be among the k largest; false: too many. */
static bool may_be_largest(const qsr_sifting *s, size_t r, size_t k, candidate_list *c)
{
    size_t n = s->p->d_sae;
    const float *upper = s->upper + r * n;
    float scale = s->bounds.scale[r], bound;
    if (s->bounds.groups) bound = qsr_select_bound_of(s->bounds.most + r * s->bounds.groups, s->bounds.groups, k);
    else bound = qsr_select_bound(upper, s->bounds.m, 2 * scale, n, k);
    c->n = qsr_select_reaching(upper, n, least_upper(bound, s->bounds.a), ROOM, c->latent, c->value);
    if (c->n > ROOM) return false;
    thin_out(&s->bounds, scale, k, c);
    return c->n <= qsr_sift_room(n);
}

/* v > threshold and v <= U + a make U >= threshold - a, also once that is rounded, since U is a float. */
static bool may_be_above(const qsr_sifting *s, size_t r, const sift_rule *rule, candidate_list *c)
{
    const float *upper = s->upper + r * s->p->d_sae;
    float a = s->bounds.a;
    c->n = 0;
    if (!rule->threshold) {
        c->n = qsr_select_reaching(upper, s->p->d_sae, rule->scalar - a, ROOM, c->latent, c->value);
        return c->n <= ROOM;
    }
    for (uint32_t j = 0; j < s->p->d_sae; j++) {
        if (!(upper[j] >= rule->threshold[j] - a)) continue;
        if (c->n == ROOM) return false;
        c->latent[c->n++] = j;
    }
    return true;
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */

static size_t keep_above(const sift_rule *rule, const qsr_pre_list *pre, uint32_t *latent, float *value)
{
    size_t kept = 0;
    for (size_t i = 0; i < pre->n; i++) {
        uint32_t j = pre->latent ? pre->latent[i] : (uint32_t)i;
        if (!(pre->value[i] > (rule->threshold ? rule->threshold[j] : rule->scalar))) continue;
        latent[kept] = j;
        value[kept++] = pre->value[i];
    }
    return kept;
}

static size_t decide(const qsr_sifting *s, const sift_rule *rule, size_t r, const qsr_pre_list *pre, uint32_t *latent,
                     float *value)
{
    if (rule->k) return qsr_choose_among(s->p, rule->k, s->xc + r * s->p->d_in, pre, latent, value);
    return keep_above(rule, pre, latent, value);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* Rows are decided into places of their own in the code, `stride` entries apart, and moved together in the end: those that need the
 * full product come last. */
typedef struct {
    qsr_sifting *s;
    const sift_rule *rule;
    qsr_code *code;
    size_t stride;
} sift_run;

/* The candidates of row r; their latents are on their way into the cache then. False: the row goes through the full product. */
static bool find(const sift_run *run, size_t r, candidate_list *c)
{
    const qsr_sifting *s = run->s;
    if (isnan(s->bounds.scale[r])) return false;
    if (!(run->rule->k ? may_be_largest(s, r, run->rule->k, c) : may_be_above(s, r, run->rule, c))) return false;
    for (size_t i = 0; i < c->n; i++) {
        const float *w = s->p->w_enc + c->latent[i] * s->p->d_in;
        for (size_t k = 0; k < s->p->d_in; k += LINE) __builtin_prefetch(w + k, 0, 2);
    }
    return true;
}

static void finish(const sift_run *run, size_t r, candidate_list *c)
{
    qsr_sifting *s = run->s;
    qsr_product_entries(s->product, c->latent, c->n, s->xc + r * s->p->d_in, s->p->encoder_bias ? s->p->b_enc : NULL, c->value);
    s->count.pairs += c->n;
    qsr_pre_list list = {c->latent, c->value, c->n};
    size_t place = r * run->stride;
    run->code->row_begin[r + 1] = decide(s, run->rule, r, &list, run->code->latent + place, run->code->value + place);
}

/* The bounds are done with, so their memory takes the values. */
static void multiply_rows(const sift_run *run, const uint32_t *row, size_t n)
{
    qsr_sifting *s = run->s;
    size_t d = s->p->d_in, d_sae = s->p->d_sae;
    for (size_t i = 0; i < n; i++) memcpy(s->again + i * d, s->xc + row[i] * d, d * sizeof(float));
    qsr_product_all(s->product, s->again, n, s->p->encoder_bias ? s->p->b_enc : NULL, s->scratch, s->upper, d_sae);
    for (size_t i = 0; i < n; i++) {
        size_t place = row[i] * run->stride;
        qsr_pre_list list = {NULL, s->upper + i * d_sae, d_sae};
        run->code->row_begin[row[i] + 1] =
            decide(s, run->rule, row[i], &list, run->code->latent + place, run->code->value + place);
    }
}

/* row_begin[r + 1] holds the sizes of rows until here. */
static void move_together(const sift_run *run)
{
    qsr_code *code = run->code;
    size_t at = code->row_begin[0] = 0;
    for (size_t r = 0; r < run->s->rows; r++) {
        size_t n = code->row_begin[r + 1], from = r * run->stride;
        memmove(code->latent + at, code->latent + from, n * sizeof *code->latent);
        memmove(code->value + at, code->value + from, n * sizeof *code->value);
        code->row_begin[r + 1] = at += n;
    }
}

static void sift(qsr_sifting *s, const sift_rule *rule, size_t stride, qsr_code *code)
{
    sift_run run = {s, rule, code, stride};
    size_t n = 0;
    candidate_list list[2];
    bool found[2] = {false, false};
    for (size_t r = 0; r <= s->rows; r++) { /* a row's latents arrive while the next row's are found */
        found[r % 2] = r < s->rows && find(&run, r, &list[r % 2]);
        if (r < s->rows && !found[r % 2]) s->number[n++] = (uint32_t)r;
        if (r && found[(r - 1) % 2]) finish(&run, r - 1, &list[(r - 1) % 2]);
    }
    s->count.rows += s->rows;
    s->count.full += n;
    if (n) multiply_rows(&run, s->number, n);
    move_together(&run);
}

void qsr_sift_largest(qsr_sifting *s, size_t k, qsr_code *code) { sift(s, &(sift_rule){.k = k}, k, code); }

void qsr_sift_above(qsr_sifting *s, const float *threshold, float scalar, qsr_code *code)
{
    sift(s, &(sift_rule){.threshold = threshold, .scalar = scalar}, s->p->d_sae, code);
}

/* ---- candidates of a batch --------------------------------------------------------------------------------------- */

static bool all_bounded(const qsr_sifting *s)
{
    for (size_t r = 0; r < s->rows; r++)
        if (isnan(s->bounds.scale[r])) return false;
    return true;
}

void qsr_sift_candidates(qsr_sifting *s, float floor, qsr_code *code)
{
    size_t d_sae = s->p->d_sae, n = 0;
    bool bounded = all_bounded(s);
    s->count.rows += s->rows;
    if (!bounded) {
        qsr_product_all(s->product, s->xc, s->rows, s->p->encoder_bias ? s->p->b_enc : NULL, s->scratch, s->upper, d_sae);
        s->count.full += s->rows;
    }
    code->rows = s->rows;
    code->row_begin[0] = 0;
    for (size_t r = 0; r < s->rows; r++) {
        float twice = bounded ? 2 * s->bounds.scale[r] : 0;
        size_t count = qsr_select_reaching(s->upper + r * d_sae, d_sae, floor, d_sae + QSR_SELECT_LANES, code->latent + n,
                                           code->value + n);
        for (size_t e = n; e < n + count; e++)
            code->plane[0][e] = bounded ? code->value[e] - twice * s->bounds.m[code->latent[e]] : code->value[e];
        code->row_begin[r + 1] = n += count;
    }
}

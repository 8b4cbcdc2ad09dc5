#include "model/sift.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/prefetch.h"
#include "base/sizes.h"
#include "math/select.h"

enum { ROOM = 2048, SLICE = 512, LEAST_ROOM = 256, TOGETHER = 16 /* pre-activations that are computed at once */ };

/* A pre-activation on its own costs some 16 times what it costs in a full product. */
size_t qsr_sift_most(size_t d_sae) { return qsr_min_size(ROOM, qsr_max_size(LEAST_ROOM, d_sae / 16)); }

void qsr_sift_count_add(qsr_sift_count *to, const qsr_sift_count *c)
{
    *to = (qsr_sift_count){to->rows + c->rows, to->bf16 + c->bf16, to->full + c->full, to->bounds + c->bounds,
                           to->pairs + c->pairs};
}

/* ---- a row's candidates ------------------------------------------------------------------------------------------ */

/* A rule as its stages need it. */
typedef struct {
    size_t k;           /* the largest of a row, or 0: */
    const float *above; /* what exceeds this, or `scalar`, and, */
    float scalar;
    const float *active; /* unless NULL, has a value only where it exceeds this too */
    bool as_bounds;      /* what reaches `scalar`, undecided */
} sift_rule;

static bool has_plane(const sift_rule *rule) { return rule->as_bounds || rule->active; }

/* `sure` have their values: the largest by a first guess, whose least is a floor for the others. `open` have upper bounds. Both are in
 * order of latent. */
typedef struct {
    uint32_t row; /* of those that go through the screen */
    bool dropped; /* to the next screen */
    float least;  /* what an upper bound must reach; thresholds of latents apart */
    size_t sure, open;
    uint32_t sure_latent[ROOM], open_latent[ROOM + SLICE];
    float value[ROOM], upper[ROOM + SLICE];
} candidate_list;

/* A screen at work. */
typedef struct {
    qsr_sifting *s;
    const sift_rule *rule;
    qsr_code *code;
    size_t entries;         /* in code */
    const float *x;         /* [rows that go through it][d_in] */
    const uint32_t *number; /* which rows of the block they are; NULL: all */
    bool later;             /* rows came out of their order */
    qsr_screened bounds;
    qsr_screened pairs; /* bounds in bfloat16 where `bounds` are of integers, or nothing */
} sift_run;

static const float *bias_of(const qsr_sifting *s) { return s->p->encoder_bias ? s->p->b_enc : NULL; }

/* Their pre-activations are asked for soon. */
static void prefetch_weights(const sift_run *run, const uint32_t *latent, size_t n)
{
    size_t d = run->s->p->d_in;
    for (size_t i = 0; i < n; i++) qsr_prefetch(run->s->p->w_enc + latent[i] * d, d * sizeof(float));
}

float qsr_sift_least(float bound, float a) { return (bound > 0 ? bound * (1 - 4 * QSR_CHOOSE_BAND) : 0) - 4 * a; }

/* ---- the stages of a row ----------------------------------------------------------------------------------------- */

/* The k of the open that are probably the largest become sure, or as many as are computed together: those in the middle of whose bounds
 * the largest lie. */
static void guess_largest(const sift_run *run, candidate_list *c)
{
    const qsr_screened *b = &run->bounds;
    float middle[ROOM];
    size_t k = run->rule->k, n = 0;
    for (size_t i = 0; i < c->open; i++) middle[i] = c->upper[i] - b->scale[c->row] * b->m[c->open_latent[i]];
    float bound = qsr_select_bound_near(middle, c->open, k, qsr_round_up(k, TOGETHER));
    for (size_t i = 0; i < c->open; i++) {
        bool is_sure = middle[i] >= bound && middle[i] > 0;
        c->sure_latent[c->sure] = c->open_latent[n] = c->open_latent[i];
        c->upper[n] = c->upper[i];
        c->sure += is_sure;
        n += !is_sure;
    }
    c->open = n;
}

/* Of all latents those that may be among the k largest, by lower bounds alone. */
static bool find_largest(const sift_run *run, candidate_list *c)
{
    const qsr_sifting *s = run->s;
    const qsr_screened *b = &run->bounds;
    size_t n = s->p->d_sae, k = run->rule->k;
    const float *upper = s->upper + c->row * n;
    float bound = b->groups ? qsr_select_bound_near(b->most + c->row * b->groups, b->groups, k, k + k / 8)
                            : qsr_select_bound(upper, b->m, 2 * b->scale[c->row], n, k);
    c->open = qsr_select_reaching(upper, n, qsr_sift_least(bound, b->a), ROOM, c->open_latent, c->upper);
    if (c->open > ROOM || k > qsr_sift_most(n)) return false;
    guess_largest(run, c);
    if (c->sure > qsr_sift_most(n)) return false; /* crowds of equal ones */
    prefetch_weights(run, c->sure_latent, c->sure);
    return true;
}

/* v > threshold and v <= U + a make U >= threshold - a, also once that is rounded, since U is a float. */
static float needed(const sift_rule *rule, const candidate_list *c, uint32_t latent, float a)
{
    return rule->above ? rule->above[latent] - a : c->least;
}

static bool find_above(const sift_run *run, candidate_list *c)
{
    size_t n = run->s->p->d_sae;
    const float *upper = run->s->upper + c->row * n;
    if (!run->rule->above) {
        c->least = run->rule->as_bounds ? run->rule->scalar : run->rule->scalar - run->bounds.a;
        c->open = qsr_select_reaching(upper, n, c->least, ROOM, c->open_latent, c->upper);
        return c->open <= ROOM;
    }
    for (size_t begin = 0; begin < n; begin += SLICE) {
        size_t count = qsr_min_size(SLICE, n - begin);
        count = qsr_select_above(upper + begin, run->s->room->floor + begin, 0, count, c->open_latent + c->open,
                                 c->upper + c->open);
        if (c->open + count > ROOM) return false;
        for (size_t i = 0; i < count; i++) c->open_latent[c->open++] += (uint32_t)begin;
    }
    return true;
}

/* Keeps those of the open that may still be needed; a is what their bounds may be off by. */
static void narrow(const sift_run *run, candidate_list *c, float a)
{
    size_t n = 0;
    for (size_t i = 0; i < c->open; i++) {
        uint32_t latent = c->open_latent[i];
        c->open_latent[n] = latent;
        float upper = c->upper[n] = c->upper[i];
        n += upper >= needed(run->rule, c, latent, a);
    }
    c->open = n;
}

/* First stage: all bounds of the row are looked at. */
static void find(const sift_run *run, size_t row, candidate_list *c)
{
    c->row = (uint32_t)row;
    c->sure = c->open = 0;
    c->least = 0;
    c->dropped = isnan(run->bounds.scale[row]) || !(run->rule->k ? find_largest(run, c) : find_above(run, c));
}

/* Second: the sure get their values, which leaves fewer of the others. */
static void settle_sure(const sift_run *run, candidate_list *c)
{
    qsr_sifting *s = run->s;
    if (!run->rule->k) return;
    qsr_product_entries(s->product, c->sure_latent, c->sure, run->x + c->row * s->p->d_in, bias_of(s), c->value);
    s->count.pairs += c->sure;
    c->least = qsr_sift_least(qsr_select_cut(c->value, c->sure, run->rule->k), run->bounds.a);
    narrow(run, c, run->bounds.a);
}

/* ---- between the stages ------------------------------------------------------------------------------------------ */

/* A list rests where the row's bounds were: latents and values of the sure, latents and bounds of the open. */
static void set_aside(const sift_run *run, candidate_list *c)
{
    const qsr_sifting *s = run->s;
    c->dropped = c->dropped || 2 * (c->sure + c->open) > s->p->d_sae;
    qsr_sift_rest *rest = &s->room->rest[c->row];
    *rest = (qsr_sift_rest){.dropped = c->dropped, .least = c->least, .sure = (uint32_t)c->sure, .open = (uint32_t)c->open};
    if (c->dropped) return;
    float *at = s->upper + c->row * s->p->d_sae;
    memcpy(at, c->sure_latent, c->sure * sizeof *at);
    memcpy(at + c->sure, c->value, c->sure * sizeof *at);
    memcpy(at + 2 * c->sure, c->open_latent, c->open * sizeof *at);
    memcpy(at + 2 * c->sure + c->open, c->upper, c->open * sizeof *at);
}

static void take_up(const sift_run *run, size_t row, candidate_list *c)
{
    const qsr_sifting *s = run->s;
    const qsr_sift_rest *rest = &s->room->rest[row];
    c->row = (uint32_t)row;
    c->dropped = rest->dropped;
    c->least = rest->least;
    c->sure = rest->sure;
    c->open = rest->open;
    if (c->dropped) return;
    const float *at = s->upper + row * s->p->d_sae;
    memcpy(c->sure_latent, at, c->sure * sizeof *at);
    memcpy(c->value, at + c->sure, c->sure * sizeof *at);
    memcpy(c->open_latent, at + 2 * c->sure, c->open * sizeof *at);
    memcpy(c->upper, at + 2 * c->sure + c->open, c->open * sizeof *at);
}

/* ---- bounds in bfloat16 for what integers have left open ---------------------------------------------------------- */

enum {
    PANEL_BYTES = 192 * 1024
}; /* of latents in bfloat16: with the next ones and a block of rows they fit the second-level cache */

/* The open latents of a row that lie below `end`. */
static void bound_some(const sift_run *run, size_t row, uint32_t end)
{
    const qsr_sifting *s = run->s;
    qsr_sift_rest *rest = &s->room->rest[row];
    float *values = s->upper + row * s->p->d_sae + 2 * rest->sure;
    const uint32_t *latent = (const uint32_t *)(const void *)values;
    size_t begin = rest->at;
    while (rest->at < rest->open && latent[rest->at] < end) rest->at++;
    if (rest->at > begin)
        qsr_screen_pairs(&s->sieve->bf16, &run->pairs, row, latent + begin, rest->at - begin, values + rest->open + begin);
}

/* Panel after panel of latents for all rows, so that a latent comes from afar once for the rows that ask for it. */
static void bound_open(const sift_run *run)
{
    qsr_sifting *s = run->s;
    size_t rows = run->bounds.rows, n = s->p->d_sae, pairs = 0;
    size_t panel = qsr_max_size(16, PANEL_BYTES / (2 * s->p->d_in));
    for (size_t r = 0; r < rows; r++) {
        qsr_sift_rest *rest = &s->room->rest[r];
        rest->dropped = rest->dropped || isnan(run->pairs.scale[r]);
        if (rest->dropped) rest->open = 0;
        pairs += rest->open;
    }
    s->count.bounds += pairs;
    for (size_t begin = 0; begin < n; begin += panel)
        for (size_t r = 0; r < rows; r++) {
            size_t next = begin + panel + r * panel / rows, stop = qsr_min_size(n, begin + panel + (r + 1) * panel / rows);
            for (uint32_t j = (uint32_t)next; pairs >= n && j < stop; j++) qsr_screen_prefetch(&s->sieve->bf16, &j, 1);
            bound_some(run, r, (uint32_t)qsr_min_size(n, begin + panel));
        }
}

/* ---- decisions --------------------------------------------------------------------------------------------------- */

static size_t keep_above(const sift_rule *rule, const qsr_pre_list *pre, uint32_t *latent, float *value)
{
    size_t kept = 0;
    if (!pre->latent) return qsr_select_above(pre->value, rule->above, rule->scalar, pre->n, latent, value);
    for (size_t i = 0; i < pre->n; i++) {
        uint32_t j = pre->latent[i];
        if (!(pre->value[i] > (rule->above ? rule->above[j] : rule->scalar))) continue;
        latent[kept] = j;
        value[kept++] = pre->value[i];
    }
    return kept;
}

/* The window's entries, whose pre-activations are the plane. */
static void silence(const sift_rule *rule, size_t n, const uint32_t *latent, float *value, float *plane)
{
    for (size_t i = 0; i < n; i++) {
        plane[i] = value[i];
        value[i] = value[i] > rule->active[latent[i]] ? value[i] : 0;
    }
}

static size_t keep_reaching(const sift_rule *rule, const float *pre, size_t n, uint32_t *latent, float *value, float *lower)
{
    size_t kept = qsr_select_reaching(pre, n, rule->scalar, n + QSR_SELECT_LANES, latent, value);
    memcpy(lower, value, kept * sizeof *lower);
    return kept;
}

/* The code's next row, which is `row` of the screen, takes what is kept of the list. */
static void decide(sift_run *run, size_t row, const qsr_pre_list *pre)
{
    const qsr_sifting *s = run->s;
    const sift_rule *rule = run->rule;
    size_t of_block = run->number ? run->number[row] : row, n;
    uint32_t *latent = run->code->latent + run->entries;
    float *value = run->code->value + run->entries;
    if (rule->k)
        n = qsr_choose_among(s->p, rule->k, run->x + row * s->p->d_in, pre, latent, value);
    else if (rule->as_bounds)
        n = keep_reaching(rule, pre->value, pre->n, latent, value, run->code->plane[0] + run->entries);
    else
        n = keep_above(rule, pre, latent, value);
    if (rule->active) silence(rule, n, latent, value, run->code->plane[0] + run->entries);
    s->room->begin[of_block] = run->entries;
    s->room->size[of_block] = n;
    run->entries += n;
}

/* The sure and the open, which have values by now, as one list. */
static void merge(const candidate_list *c, const float *open_value, uint32_t *latent, float *value)
{
    for (size_t i = 0, j = 0; i < c->sure || j < c->open;) {
        bool first = j == c->open || (i < c->sure && c->sure_latent[i] < c->open_latent[j]);
        *latent++ = first ? c->sure_latent[i] : c->open_latent[j];
        *value++ = first ? c->value[i++] : open_value[j++];
    }
}

static void put_bounds(sift_run *run, const candidate_list *c)
{
    const qsr_sift_room *room = run->s->room;
    const qsr_screened *b = run->pairs.rows ? &run->pairs : &run->bounds;
    size_t of_block = run->number ? run->number[c->row] : c->row, at = run->entries;
    float twice = 2 * b->scale[c->row];
    memcpy(run->code->latent + at, c->open_latent, c->open * sizeof *c->open_latent);
    memcpy(run->code->value + at, c->upper, c->open * sizeof *c->upper);
    for (size_t i = 0; i < c->open; i++) run->code->plane[0][at + i] = c->upper[i] - twice * b->m[c->open_latent[i]];
    room->begin[of_block] = at;
    room->size[of_block] = c->open;
    run->entries += c->open;
}

/* Last: the row is decided, unless that needs too many values. */
static void finish(sift_run *run, candidate_list *c)
{
    qsr_sifting *s = run->s;
    uint32_t latent[ROOM];
    float open_value[ROOM], value[ROOM];
    if (run->rule->as_bounds) {
        put_bounds(run, c);
        return;
    }
    c->dropped = c->sure + c->open > qsr_sift_most(s->p->d_sae);
    if (c->dropped) return;
    qsr_product_entries(s->product, c->open_latent, c->open, run->x + c->row * s->p->d_in, bias_of(s), open_value);
    s->count.pairs += c->open;
    merge(c, open_value, latent, value);
    decide(run, c->row, &(qsr_pre_list){latent, value, c->sure + c->open});
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

/* What a stage needs comes into the cache while the row before is in it. */
static void first_stages(sift_run *run, const qsr_screen *screen)
{
    qsr_sifting *s = run->s;
    candidate_list list[2];
    size_t rows = run->bounds.rows, end = 0;
    for (size_t at = 0; at <= rows; at++) {
        candidate_list *c = &list[at % 2], *before = &list[(at + 1) % 2];
        if (at == end && at < rows) {
            double start = qsr_clock();
            end = qsr_screen_rows(screen, &run->bounds, at, s->upper + at * s->p->d_sae, s->p->d_sae);
            s->screening += qsr_clock() - start;
        }
        if (at < rows) find(run, at, c);
        if (at == 0) continue;
        if (!before->dropped) settle_sure(run, before);
        set_aside(run, before);
    }
}

/* Rows that go on to the next screen end up in room->number; returns how many. */
static size_t last_stages(sift_run *run)
{
    candidate_list list[2];
    size_t n = 0, rows = run->bounds.rows;
    for (size_t at = 0; at <= rows; at++) {
        candidate_list *c = &list[at % 2], *before = &list[(at + 1) % 2];
        if (at < rows) take_up(run, at, c);
        if (at < rows && !c->dropped) {
            if (run->pairs.rows) narrow(run, c, run->pairs.a);
            if (!run->rule->as_bounds) prefetch_weights(run, c->open_latent, c->open);
        }
        if (at == 0) continue;
        if (!before->dropped) finish(run, before);
        if (before->dropped) run->s->room->number[n++] = run->number ? run->number[before->row] : before->row;
    }
    return n;
}

static const float *gather(const qsr_sifting *s, const uint32_t *number, size_t n)
{
    size_t d = s->p->d_in;
    for (size_t i = 0; i < n; i++) memcpy(s->room->again + i * d, s->xc + number[i] * d, d * sizeof(float));
    return s->room->again;
}

/* What makes integers too coarse for a row: bounds that are wider than this, in standard deviations of a product of independent operands,
 * leave so many latents that bfloat16 costs less. */
static const double COARSEST = 1.25;

/* After a block most of whose rows a screen was of no use for, so many go without it: a rule whose thresholds have yet to rise keeps half of
 * the latents for a long time. */
enum { IDLE = 15 };

static size_t leave_all(const sift_run *run, size_t n)
{
    for (size_t i = 0; i < n; i++) run->s->room->number[i] = run->number ? run->number[i] : (uint32_t)i;
    return n;
}

/* The rows run->number[0..n), or all, by one screen; those that are left stand in room->number then. Where it has bounds for less than
 * half of them, that is all. */
static size_t screen_rows(sift_run *run, const qsr_screen *screen, size_t n)
{
    qsr_sifting *s = run->s;
    qsr_sift_room *room = s->room;
    bool integers = screen == &s->sieve->int8;
    unsigned *idle = &room->idle[integers ? QSR_SCREEN_INT8 : QSR_SCREEN_BF16];
    if (*idle) {
        --*idle;
        return leave_all(run, n);
    }
    double start = qsr_clock(), coarsest = integers ? COARSEST / sqrt((double)s->p->d_in) : INFINITY;
    run->later |= n < s->rows;
    run->x = run->number ? gather(s, run->number, n) : s->xc;
    run->pairs = (qsr_screened){0};
    if (!integers && s->sieve->integers) s->count.bf16 += n;
    bool useful =
        2 * qsr_screen_begin(screen, run->x, n, run->rule->k, bias_of(s), coarsest, room->bounds, &run->bounds) >= n;
    if (useful && integers && s->sieve->bf16.tiles)
        qsr_screen_begin_pairs(&s->sieve->bf16, run->x, n, bias_of(s), room->pairs, &run->pairs);
    s->screening += qsr_clock() - start;
    if (!useful) return leave_all(run, n);
    first_stages(run, screen);
    if (run->pairs.rows) bound_open(run);
    size_t left = last_stages(run);
    if (2 * left > n) *idle = IDLE;
    return left;
}

static void multiply_rows(sift_run *run, size_t n)
{
    qsr_sifting *s = run->s;
    size_t d_sae = s->p->d_sae;
    double start = qsr_clock();
    run->later |= n < s->rows;
    run->x = gather(s, run->number, n);
    qsr_product_all(s->product, run->x, n, bias_of(s), s->scratch, s->upper, d_sae);
    s->screening += qsr_clock() - start;
    s->count.full += n;
    for (size_t i = 0; i < n; i++) decide(run, i, &(qsr_pre_list){NULL, s->upper + i * d_sae, d_sae});
}

static void reorder(const qsr_sifting *s, void *array, size_t size)
{
    char *to = (char *)s->upper, *from = array;
    for (size_t r = 0; r < s->rows; r++) {
        memcpy(to, from + s->room->begin[r] * size, s->room->size[r] * size);
        to += s->room->size[r] * size;
    }
    memcpy(from, s->upper, (size_t)(to - (char *)s->upper));
}

/* Rows in their order, where some came later than others; the bounds are done with. */
static void put_in_order(const sift_run *run)
{
    const qsr_sifting *s = run->s;
    if (run->later) {
        reorder(s, run->code->latent, sizeof *run->code->latent);
        reorder(s, run->code->value, sizeof *run->code->value);
        if (has_plane(run->rule)) reorder(s, run->code->plane[0], sizeof *run->code->plane[0]);
    }
    run->code->rows = s->rows;
    run->code->row_begin[0] = 0;
    for (size_t r = 0; r < s->rows; r++) run->code->row_begin[r + 1] = run->code->row_begin[r] + s->room->size[r];
}

static void sift(qsr_sifting *s, const sift_rule *rule, qsr_code *code)
{
    sift_run run = {.s = s, .rule = rule, .code = code};
    float a = qsr_screen_flushed(s->p->d_in);
    for (size_t j = 0; rule->above && j < s->p->d_sae; j++) s->room->floor[j] = nextafterf(rule->above[j] - a, -INFINITY);
    const qsr_sieve *sieve = s->sieve;
    size_t left = s->rows;
    s->count.rows += s->rows;
    if (sieve->integers) {
        left = screen_rows(&run, &sieve->int8, left);
        run.number = s->room->number;
    }
    if (left && sieve->bf16.tiles) left = screen_rows(&run, &sieve->bf16, left);
    run.number = s->room->number;
    if (left) multiply_rows(&run, left);
    put_in_order(&run);
}

void qsr_sift_largest(qsr_sifting *s, size_t k, qsr_code *code) { sift(s, &(sift_rule){.k = k}, code); }

void qsr_sift_above(qsr_sifting *s, const float *threshold, float scalar, qsr_code *code)
{
    sift(s, &(sift_rule){.above = threshold, .scalar = scalar}, code);
}

void qsr_sift_window(qsr_sifting *s, const float *threshold, const float *edge, qsr_code *code)
{
    sift(s, &(sift_rule){.above = edge, .active = threshold}, code);
}

void qsr_sift_candidates(qsr_sifting *s, float floor, qsr_code *code)
{
    sift(s, &(sift_rule){.scalar = floor, .as_bounds = true}, code);
}

#include "report/compare.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* What one key is in the comparison of two values of `between`. */
typedef enum {
    ASIDE,   /* the same everywhere, or a seed, or idle */
    CONTEXT, /* has to be equal on both sides, where both have it */
    CURVE    /* runs along the curves of --at */
} key_use;

typedef struct {
    qsr_frame *frame;
    qsr_comparisons *out;
    size_t metric, at_metric, between;
    bool at;
    bool *along;              /* [n_keys] of --along; NULL: choose */
    key_use *use;             /* [n_keys] for the pair at hand */
    bool *is_context;         /* [n_keys] was one for some pair */
    const char ***context_of; /* [n comparisons][n_keys]: before the context's keys are known */
    size_t curve;             /* the key along the curves at hand; n_keys: single points */
} comparing;

typedef qsr_frame_group side; /* the runs of one value */

static qsr_arena *arena_of(const comparing *c) { return &c->frame->arena; }

/* ---- seeds --------------------------------------------------------------------------------------------------------------- */

/* Values by seed: one number for each seed of a side. */
typedef struct {
    const size_t *row; /* a run with that seed */
    double *value;
    size_t count;
} seeds;

static bool equal_seeds(const comparing *c, size_t a, size_t b)
{
    const qsr_frame *f = c->frame;
    for (size_t k = 0; k < f->n_keys; k++)
        if (f->roles[k] == QSR_KEY_SEED && f->rows[a].values[k] != f->rows[b].values[k]) return false;
    return true;
}

/* "seed 3", with dataset.seed where runs have different ones. */
static const char *seed_name(const comparing *c, size_t row)
{
    const qsr_frame *f = c->frame;
    qsr_text text = {0};
    for (size_t k = 0; k < f->n_keys; k++) {
        bool varies = strcmp(f->keys[k], "seed") == 0;
        for (size_t i = 0; !varies && i < f->n_rows; i++) varies = f->rows[i].values[k] != f->rows[0].values[k];
        if (f->roles[k] == QSR_KEY_SEED && varies && f->rows[row].values[k])
            qsr_text_add(&text, "%s%s %s", text.length ? ", " : "", f->keys[k], f->rows[row].values[k]);
    }
    const char *name = qsr_arena_strdup(arena_of(c), text.bytes ? text.bytes : f->rows[row].label);
    qsr_text_free(&text);
    return name;
}

static void leave_out(comparing *c, qsr_comparison *to, const char *value, size_t row, const char *why)
{
    const char *text = qsr_arena_printf(arena_of(c), "%s, %s: %s", value, seed_name(c, row), why);
    const char **longer = qsr_arena_alloc(arena_of(c), to->n_left_out + 1, sizeof *longer);
    if (to->n_left_out) memcpy(longer, to->left_out, to->n_left_out * sizeof *longer);
    longer[to->n_left_out++] = text;
    to->left_out = longer;
}

/* ---- curves ---------------------------------------------------------------------------------------------------------------- */

static double parameter_of(const comparing *c, size_t row)
{
    double value = NAN;
    if (c->curve < c->frame->n_keys) qsr_parse_real(c->frame->rows[row].values[c->curve], &value);
    return value;
}

/* Along the curve's parameter: neighbours there are neighbours on the curve, whatever the metric does. */
static void sort_curve(const comparing *c, size_t *rows, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        size_t moving = rows[i], at = i;
        for (; at > 0 && parameter_of(c, rows[at - 1]) > parameter_of(c, moving); at--) rows[at] = rows[at - 1];
        rows[at] = moving;
    }
}

static const char *range_text(const comparing *c, const size_t *rows, size_t n)
{
    double low = INFINITY, high = -INFINITY;
    qsr_text text = {0};
    for (size_t i = 0; i < n; i++) {
        low = fmin(low, c->frame->rows[rows[i]].metrics[c->at_metric]);
        high = fmax(high, c->frame->rows[rows[i]].metrics[c->at_metric]);
    }
    qsr_text_add(&text, "its %s is ", c->out->at_metric);
    qsr_sheet_real(low, &text);
    qsr_text_puts(&text, n > 1 ? " to " : " alone");
    if (n > 1) qsr_sheet_real(high, &text);
    const char *kept = qsr_arena_strdup(arena_of(c), text.bytes);
    qsr_text_free(&text);
    return kept;
}

/* The metric where the curve through rows[0..n) passes the asked point; NaN and the reason when it does not, or does so twice. */
static double read_curve(comparing *c, size_t *rows, size_t n, const char **ret_why)
{
    double found = NAN, at = c->out->at;
    size_t passes = 0;
    sort_curve(c, rows, n);
    for (size_t i = 0; i < n; i++) {
        const double *here = c->frame->rows[rows[i]].metrics,
                     *next = i + 1 < n ? c->frame->rows[rows[i + 1]].metrics : here;
        double x0 = here[c->at_metric], x1 = next[c->at_metric];
        if (x0 == at)
            found = here[c->metric], passes++;
        else if (fmin(x0, x1) < at && at < fmax(x0, x1))
            found = qsr_interpolate_loglog(x0, here[c->metric], x1, next[c->metric], at), passes++;
    }
    if (passes == 0)
        *ret_why = range_text(c, rows, n);
    else if (passes > 1)
        *ret_why = qsr_arena_printf(arena_of(c), "its curve passes there %zu times", passes);
    else if (isnan(found))
        *ret_why = "a logarithm needs values above 0";
    return found;
}

/* ---- the values of one side ------------------------------------------------------------------------------------------------ */

/* The runs of the group with the seed of its run `index`; 0 when an earlier run has that seed. */
static size_t same_seed(const comparing *c, const side *g, size_t index, size_t *ret)
{
    size_t n = 0;
    for (size_t j = 0; j < g->count; j++) {
        if (!equal_seeds(c, g->rows[index], g->rows[j])) continue;
        if (j < index) return 0;
        ret[n++] = g->rows[j];
    }
    return n;
}

static seeds collect(comparing *c, const side *g, const char *value, qsr_comparison *to)
{
    size_t *first = qsr_arena_alloc(arena_of(c), g->count, sizeof *first);
    size_t *mine = qsr_arena_alloc(arena_of(c), g->count, sizeof *mine);
    seeds s = {first, qsr_arena_alloc(arena_of(c), g->count, sizeof *s.value), 0};
    for (size_t i = 0; i < g->count; i++) {
        const char *why = NULL;
        double y = NAN;
        size_t n = same_seed(c, g, i, mine);
        if (n == 0) continue;
        if (c->at)
            y = read_curve(c, mine, n, &why);
        else if (n > 1)
            why = "several runs have this seed";
        else
            y = c->frame->rows[mine[0]].metrics[c->metric];
        if (why) leave_out(c, to, value, g->rows[i], why);
        if (why) continue;
        first[s.count] = g->rows[i];
        s.value[s.count++] = y;
    }
    return s;
}

/* ---- tests ----------------------------------------------------------------------------------------------------------------- */

static const char *too_few(comparing *c, const qsr_comparison *to)
{
    return qsr_arena_printf(arena_of(c), "%s has %zu seed%s, %s has %zu; a p-value needs 2 or more on each side", to->a,
                            to->n_a, to->n_a == 1 ? "" : "s", to->b, to->n_b);
}

/* A spread that rounding alone can make of equal numbers is none. */
static bool varies(double sd, double largest) { return sd > 16 * DBL_EPSILON * largest; }

static void test_welch(comparing *c, const seeds *a, const seeds *b, qsr_comparison *to)
{
    to->n_a = a->count;
    to->n_b = b->count;
    to->side_a = qsr_summarize(a->value, a->count, 0.95);
    to->side_b = qsr_summarize(b->value, b->count, 0.95);
    to->welch = qsr_welch_values(a->value, a->count, b->value, b->count);
    to->d = qsr_cohen_d(a->value, a->count, b->value, b->count);
    to->g = to->d * qsr_hedges_factor((double)(a->count + b->count) - 2);
    if (a->count < 2 || b->count < 2)
        to->no_welch = too_few(c, to);
    else if (!varies(to->side_a.sd, fabs(to->side_a.mean)) && !varies(to->side_b.sd, fabs(to->side_b.mean)))
        to->no_welch = "the values do not vary over seeds";
    if (to->no_welch) to->d = to->g = NAN;
}

/* Values of both sides with equal seeds; how many. */
static size_t find_pairs(const comparing *c, const seeds *a, const seeds *b, double *x, double *y)
{
    size_t n = 0;
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < b->count; j++)
            if (equal_seeds(c, a->row[i], b->row[j])) x[n] = a->value[i], y[n++] = b->value[j];
    return n;
}

static bool differences_vary(comparing *c, const double *x, const double *y, size_t n)
{
    double *differences = qsr_arena_alloc(arena_of(c), n, sizeof *differences), largest = 0;
    for (size_t i = 0; i < n; i++) {
        differences[i] = x[i] - y[i];
        largest = fmax(largest, fmax(fabs(x[i]), fabs(y[i])));
    }
    return varies(sqrt(qsr_variance(differences, n)), largest);
}

static void test_pairs(comparing *c, const seeds *a, const seeds *b, qsr_comparison *to)
{
    double *x = qsr_arena_alloc(arena_of(c), a->count, sizeof *x), *y = qsr_arena_alloc(arena_of(c), a->count, sizeof *y);
    size_t n = to->pairs = find_pairs(c, a, b, x, y);
    to->paired = qsr_paired(x, y, n);
    to->dz = qsr_cohen_dz(x, y, n);
    to->gz = to->dz * qsr_hedges_factor((double)n - 1);
    if (n < 2)
        to->no_paired = qsr_arena_printf(arena_of(c), "%zu seed%s on both sides; a p-value needs 2 or more pairs", n,
                                         n == 1 ? " is" : "s are");
    else if (!differences_vary(c, x, y, n))
        to->no_paired = "the differences do not vary over seeds";
    if (to->no_paired) to->dz = to->gz = NAN;
}

/* ---- which runs are set against which ---------------------------------------------------------------------------------------- */

/* The values of a key on one side, in their order. */
typedef struct {
    const char *const *items;
    size_t count;
} values;

static values values_of(comparing *c, size_t key, const side *s)
{
    values v;
    v.count = qsr_frame_values(c->frame, key, s->rows, s->count, &v.items);
    return v;
}

static bool all_numbers(const values *v)
{
    double number;
    for (size_t i = 0; i < v->count; i++)
        if (v->items[i] && !qsr_parse_real(v->items[i], &number)) return false;
    return true;
}

static bool may_be_curve(const comparing *c, size_t key, const values *a, const values *b)
{
    const char *name = c->frame->keys[key];
    if (!c->at) return false;
    if (c->along) return c->along[key];
    return (qsr_starts_with(name, "activation.") || qsr_starts_with(name, "losses.")) && all_numbers(a) && all_numbers(b);
}

/* An option of a plugin that the other side does not have, at one value, is part of what is compared. */
static void add_difference(comparing *c, size_t key, const values *a, const values *b, qsr_text *differs)
{
    if (!a->items[0] || !b->items[0]) return;
    qsr_text_add(differs, "%s%s: %s, %s", differs->length ? "; " : "", c->frame->keys[key], a->items[0], b->items[0]);
}

/* Decides what every key is for these two sides; appends to `differs` what goes with `between`. */
static void sort_keys(comparing *c, const side *a, const side *b, qsr_text *differs)
{
    const qsr_frame *f = c->frame;
    for (size_t k = 0; k < f->n_keys; k++) {
        c->use[k] = ASIDE;
        if (f->roles[k] != QSR_KEY_PLAIN || k == c->between) continue;
        values in_a = values_of(c, k, a), in_b = values_of(c, k, b);
        bool single = in_a.count == 1 && in_b.count == 1;
        if (single && in_a.items[0] == in_b.items[0]) continue;
        if (single)
            add_difference(c, k, &in_a, &in_b, differs);
        else
            c->use[k] = may_be_curve(c, k, &in_a, &in_b) ? CURVE : CONTEXT;
    }
}

static size_t context_keys(comparing *c, size_t *keys)
{
    size_t n = 0;
    for (size_t k = 0; k < c->frame->n_keys; k++)
        if (c->use[k] == CONTEXT) keys[n++] = k;
    return n;
}

static bool has_key(const comparing *c, const side *s, size_t key)
{
    for (size_t i = 0; i < s->count; i++)
        if (c->frame->rows[s->rows[i]].values[key]) return true;
    return false;
}

/* Equal in every context key that both sides have. */
static bool are_comparable(const comparing *c, const side *a, const side *b, size_t row_a, size_t row_b, const size_t *keys,
                           size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = keys[i];
        if (!has_key(c, a, k) || !has_key(c, b, k)) continue;
        if (c->frame->rows[row_a].values[k] != c->frame->rows[row_b].values[k]) return false;
    }
    return true;
}

/* Finds the curve's parameter: a cloud over two has no neighbours to draw a line between. */
static qsr_status find_curve(comparing *c, const side *g, qsr_error *e)
{
    const qsr_frame *f = c->frame;
    c->curve = f->n_keys;
    for (size_t k = 0; k < f->n_keys; k++) {
        values v = {0};
        if (c->use[k] == CURVE) v = values_of(c, k, g);
        if (v.count < 2) continue;
        if (c->curve < f->n_keys)
            return qsr_fail(e, QSR_E_OPTION,
                            "%s and %s both vary along a curve of %s; name one with --along, or hold one with --where",
                            f->keys[c->curve], f->keys[k], c->out->metric);
        if (!v.items[v.count - 1] || !all_numbers(&v))
            return qsr_fail(e, QSR_E_OPTION, "%s cannot be the parameter of a curve: not all of its values are numbers",
                            f->keys[k]);
        c->curve = k;
    }
    return QSR_OK;
}

static void keep_comparison(comparing *c, const qsr_comparison *item, const qsr_frame_group *a, const qsr_frame_group *b,
                            const size_t *keys, size_t n)
{
    qsr_comparisons *out = c->out;
    const char **context = qsr_arena_alloc(arena_of(c), c->frame->n_keys, sizeof *context);
    for (size_t i = 0; i < n; i++) {
        const char *of_a = c->frame->rows[a->rows[0]].values[keys[i]], *of_b = c->frame->rows[b->rows[0]].values[keys[i]];
        context[keys[i]] = of_a ? of_a : of_b;
        c->is_context[keys[i]] = true;
    }
    out->items = qsr_xrealloc(out->items, out->count + 1, sizeof *out->items);
    c->context_of = qsr_xrealloc(c->context_of, out->count + 1, sizeof *c->context_of);
    c->context_of[out->count] = context;
    out->items[out->count++] = *item;
}

static double mean_of(const comparing *c, const seeds *s, size_t metric)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < s->count; i++) {
        double value = c->frame->rows[s->row[i]].metrics[metric];
        if (!isnan(value)) sum += value, n++;
    }
    return n ? sum / (double)n : NAN;
}

/* Nearly every metric follows l0: a difference may be that of sparsity alone. */
static void see_sparsity(const comparing *c, const seeds *a, const seeds *b, qsr_comparison *to)
{
    size_t l0;
    to->l0[0] = to->l0[1] = NAN;
    if (c->at || !qsr_frame_has_metric(c->frame, "l0", &l0) || l0 == c->metric) return;
    double x = mean_of(c, a, l0), y = mean_of(c, b, l0);
    if (!(fabs(x - y) > 0.1 * fmin(x, y))) return;
    to->l0[0] = x;
    to->l0[1] = y;
}

static qsr_status compare_groups(comparing *c, const qsr_frame_group *a, const qsr_frame_group *b, qsr_comparison *item,
                                 qsr_error *e)
{
    qsr_status status = find_curve(c, a, e);
    if (status) return status;
    seeds of_a = collect(c, a, item->a, item);
    status = find_curve(c, b, e);
    if (status) return status;
    seeds of_b = collect(c, b, item->b, item);
    test_welch(c, &of_a, &of_b, item);
    test_pairs(c, &of_a, &of_b, item);
    see_sparsity(c, &of_a, &of_b, item);
    return QSR_OK;
}

static qsr_status compare_sides(comparing *c, const side *a, const side *b, const char *value_a, const char *value_b,
                                qsr_error *e)
{
    qsr_frame *f = c->frame;
    size_t *keys = qsr_arena_alloc(arena_of(c), f->n_keys, sizeof *keys);
    qsr_frame_group *groups_a, *groups_b;
    qsr_text differs = {0};
    qsr_status status = QSR_OK;
    sort_keys(c, a, b, &differs);
    size_t n = context_keys(c, keys);
    size_t n_a = qsr_frame_groups(f, a->rows, a->count, keys, n, &groups_a);
    size_t n_b = qsr_frame_groups(f, b->rows, b->count, keys, n, &groups_b);
    const char *kept = qsr_arena_strdup(arena_of(c), differs.bytes ? differs.bytes : "");
    for (size_t i = 0; !status && i < n_a; i++)
        for (size_t j = 0; !status && j < n_b; j++) {
            if (!are_comparable(c, a, b, groups_a[i].rows[0], groups_b[j].rows[0], keys, n)) continue;
            qsr_comparison item = {.a = value_a, .b = value_b, .differs = kept};
            status = compare_groups(c, &groups_a[i], &groups_b[j], &item, e);
            if (!status) keep_comparison(c, &item, &groups_a[i], &groups_b[j], keys, n);
        }
    qsr_text_free(&differs);
    return status;
}

/* ---- the request ---------------------------------------------------------------------------------------------------------------- */

static qsr_status read_at(comparing *c, const char *at, qsr_error *e)
{
    const char *equals = strchr(at, '=');
    if (!equals || !qsr_parse_real(equals + 1, &c->out->at) || !(c->out->at > 0))
        return qsr_fail(e, QSR_E_OPTION, "--at is '%s', but must be METRIC=NUMBER with a number above 0, such as l0=32",
                        at);
    c->out->at_metric = qsr_arena_strndup(arena_of(c), at, (size_t)(equals - at));
    c->at = true;
    return qsr_frame_metric(c->frame, c->out->at_metric, &c->at_metric, e);
}

static qsr_status read_request(comparing *c, const qsr_compare_request *r, qsr_error *e)
{
    qsr_frame *f = c->frame;
    qsr_status status = qsr_frame_metric(f, r->metric, &c->metric, e);
    if (!status) status = qsr_frame_key(f, r->between, &c->between, e);
    if (status) return status;
    c->out->metric = f->metrics[c->metric];
    c->out->between = f->keys[c->between];
    if (f->roles[c->between] != QSR_KEY_PLAIN)
        return qsr_fail(e, QSR_E_OPTION, "--between %s: runs that differ in it are not different settings", r->between);
    if (r->at) status = read_at(c, r->at, e);
    if (!status && r->along && !r->at) status = qsr_fail(e, QSR_E_OPTION, "--along needs --at");
    if (!status && r->along) c->along = qsr_arena_alloc(&f->arena, f->n_keys, sizeof *c->along);
    for (const char *const *key = r->along; !status && key && *key; key++) {
        size_t index;
        status = qsr_frame_key(f, *key, &index, e);
        if (!status) c->along[index] = true;
    }
    return status;
}

static bool is_usable(const comparing *c, const qsr_frame_row *row)
{
    return !row->published && row->state == QSR_RECORD_COMPLETED && !isnan(row->metrics[c->metric]) &&
           (!c->at || !isnan(row->metrics[c->at_metric]));
}

static bool has_smaller_seeds(const comparing *c, size_t a, size_t b)
{
    const qsr_frame *f = c->frame;
    int order = 0;
    for (size_t k = 0; k < f->n_keys && !order; k++)
        if (f->roles[k] == QSR_KEY_SEED) order = qsr_frame_order(f->rows[a].values[k], f->rows[b].values[k]);
    return order < 0;
}

/* By seed, so that sums and lists do not depend on the names of folders. */
static void sort_by_seed(const comparing *c, side *s)
{
    for (size_t i = 1; i < s->count; i++) {
        size_t moving = s->rows[i], at = i;
        for (; at > 0 && has_smaller_seeds(c, moving, s->rows[at - 1]); at--) s->rows[at] = s->rows[at - 1];
        s->rows[at] = moving;
    }
}

/* The rows that count; a note tells how many do not. */
static side usable_rows(comparing *c)
{
    qsr_frame *f = c->frame;
    side s = {qsr_arena_alloc(&f->arena, f->n_rows, sizeof *s.rows), 0};
    size_t failed = 0, unmeasured = 0;
    for (size_t i = 0; i < f->n_rows; i++) {
        const qsr_frame_row *row = &f->rows[i];
        if (is_usable(c, row))
            s.rows[s.count++] = i;
        else if (row->published)
            continue;
        else if (row->state != QSR_RECORD_COMPLETED)
            failed++;
        else
            unmeasured++;
    }
    sort_by_seed(c, &s);
    if (failed) qsr_frame_note(f, "runs that failed or are not finished, and so do not count: %zu", failed);
    if (unmeasured) qsr_frame_note(f, "runs without %s, which do not count: %zu", c->out->metric, unmeasured);
    return s;
}

static side with_value(comparing *c, const side *all, const char *value)
{
    side s = {qsr_arena_alloc(arena_of(c), all->count, sizeof *s.rows), 0};
    for (size_t i = 0; i < all->count; i++)
        if (c->frame->rows[all->rows[i]].values[c->between] == value) s.rows[s.count++] = all->rows[i];
    return s;
}

static qsr_status compare_all(comparing *c, qsr_error *e)
{
    side all = usable_rows(c);
    values v = values_of(c, c->between, &all);
    qsr_status status = QSR_OK;
    if (v.count && !v.items[v.count - 1]) v.count--; /* runs without the parameter are not a value of it */
    if (v.count < 2)
        return qsr_fail(e, QSR_E_OPTION, "%s has %s%s%s in the runs with %s; two values are needed to compare",
                        c->out->between, v.count ? "only the value '" : "no value", v.count ? v.items[0] : "",
                        v.count ? "'" : "", c->out->metric);
    for (size_t i = 0; !status && i < v.count; i++)
        for (size_t j = i + 1; !status && j < v.count; j++) {
            side a = with_value(c, &all, v.items[i]), b = with_value(c, &all, v.items[j]);
            status = compare_sides(c, &a, &b, v.items[i], v.items[j], e);
        }
    if (!status && !c->out->count)
        status = qsr_fail(e, QSR_E_OPTION, "no two runs differ in %s and are otherwise equal", c->out->between);
    return status;
}

/* The contexts of all comparisons over one list of keys. */
static void settle_contexts(comparing *c)
{
    qsr_comparisons *out = c->out;
    size_t n = 0;
    out->contexts = qsr_arena_alloc(arena_of(c), c->frame->n_keys, sizeof *out->contexts);
    for (size_t k = 0; k < c->frame->n_keys; k++)
        if (c->is_context[k]) out->contexts[out->n_contexts++] = c->frame->keys[k];
    for (size_t i = 0; i < out->count; i++) {
        const char **context = qsr_arena_alloc(arena_of(c), out->n_contexts, sizeof *context);
        n = 0;
        for (size_t k = 0; k < c->frame->n_keys; k++)
            if (c->is_context[k]) context[n++] = c->context_of[i][k];
        out->items[i].context = context;
    }
}

qsr_status qsr_compare(qsr_frame *f, const qsr_compare_request *request, qsr_comparisons *ret, qsr_error *e)
{
    qsr_comparisons out = {0};
    comparing c = {.frame = f, .out = &out};
    c.use = qsr_arena_alloc(&f->arena, f->n_keys, sizeof *c.use);
    c.is_context = qsr_arena_alloc(&f->arena, f->n_keys, sizeof *c.is_context);
    qsr_status status = read_request(&c, request, e);
    if (!status) status = compare_all(&c, e);
    if (!status) settle_contexts(&c);
    qsr_comparison *items = qsr_arena_alloc(&f->arena, out.count, sizeof *items);
    if (out.count) memcpy(items, out.items, out.count * sizeof *items);
    free(out.items);
    free(c.context_of);
    out.items = items;
    if (!status) *ret = out;
    return status;
}

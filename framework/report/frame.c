#include "report/frame.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "report/overlay.h"
#include "spec/experiment.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* An ordered list of names, each once. */
typedef struct {
    const char **items;
    size_t count;
} names;

static size_t find_name(const names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (n->items[i] == name || strcmp(n->items[i], name) == 0) return i;
    return n->count;
}

/* "activation" of "activation.k". */
static bool same_section(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");
    return n == strcspn(b, ".") && strncmp(a, b, n) == 0;
}

/* The place of `name`, which goes to `at`, behind its predecessor, when it is new: runs of other plugins have other options, and those
 * belong beside their neighbours, but not into the section before theirs. */
static size_t place_name(names *n, const char *name, size_t at)
{
    size_t found = find_name(n, name);
    if (found < n->count) return found;
    while (at > 0 && at < n->count && same_section(n->items[at - 1], n->items[at]) && !same_section(name, n->items[at]))
        at++;
    n->items = qsr_xrealloc(n->items, n->count + 1, sizeof *n->items);
    memmove(n->items + at + 1, n->items + at, (n->count - at) * sizeof *n->items);
    n->items[at] = name;
    n->count++;
    return at;
}

/* ---- rows before they are a matrix --------------------------------------------------------------------------------- */

typedef struct {
    qsr_frame_row row;
    const qsr_parameter *parameters;
    size_t n_parameters;
    const qsr_measure *measures;
    size_t n_measures;
} loose_row;

typedef struct {
    loose_row *rows;
    size_t count;
    names keys, metrics, texts;
} loose;

static void add_loose(loose *l, const loose_row *row)
{
    l->rows = qsr_xrealloc(l->rows, l->count + 1, sizeof *l->rows);
    l->rows[l->count++] = *row;
    size_t at = 0;
    for (size_t i = 0; i < row->n_parameters; i++) at = place_name(&l->keys, row->parameters[i].key, at) + 1;
    at = 0;
    for (size_t i = 0; i < row->n_measures; i++) at = place_name(&l->metrics, row->measures[i].name, at) + 1;
}

static bool is_better(const qsr_record *a, const qsr_record *b) { return a->state < b->state; }

/* Equal identities are equal results, so that a copied folder does not count as another seed. */
static const qsr_record *same_cell(const qsr_archive *a, size_t index)
{
    const qsr_record *r = &a->records[index];
    for (size_t i = 0; i < a->count; i++) {
        const qsr_record *other = &a->records[i];
        if (i == index || other->state == QSR_RECORD_BROKEN || strcmp(other->cell, r->cell) != 0) continue;
        if (is_better(other, r) || (other->state == r->state && i < index)) return other;
    }
    return NULL;
}

static void add_records(loose *l, const qsr_archive *a, qsr_frame *f)
{
    for (size_t i = 0; i < a->count; i++) {
        const qsr_record *r = &a->records[i], *same = same_cell(a, i);
        if (r->state == QSR_RECORD_BROKEN) {
            qsr_frame_note(f, "%s is broken and left out: %s", r->folder, r->reason);
            continue;
        }
        if (same) {
            qsr_frame_note(f, "%s is the same cell as %s and left out", r->folder, same->folder);
            continue;
        }
        loose_row row = {{.label = r->folder, .path = r->path, .state = r->state, .reason = r->reason},
                         r->parameters,
                         r->n_parameters,
                         r->measures,
                         r->n_measures};
        add_loose(l, &row);
    }
}

static void add_published(loose *l, const qsr_overlay *o)
{
    for (size_t i = 0; i < o->count; i++) {
        const qsr_published *p = &o->runs[i];
        loose_row row = {{.label = p->name, .published = true}, p->parameters, p->n_parameters, p->measures, p->n_measures};
        add_loose(l, &row);
    }
}

/* ---- the matrix ---------------------------------------------------------------------------------------------------- */

static qsr_key_role role_of(const char *key)
{
    if (strcmp(key, "seed") == 0 || strcmp(key, "dataset.seed") == 0) return QSR_KEY_SEED;
    for (unsigned i = 0; i < QSR_PARTS; i++) {
        const qsr_part *part = qsr_experiment_part(i);
        for (size_t k = 0; k < part->options.count; k++) {
            const qsr_option *o = qsr_option_at(&part->options, k);
            size_t n = strlen(part->key);
            if (!(o->flags & QSR_OPT_NO_ID) || strncmp(key, part->key, n) != 0) continue;
            if (strcmp(key + n + (n && key[n] == '.'), o->name) == 0) return QSR_KEY_IDLE;
        }
    }
    return QSR_KEY_PLAIN;
}

static bool is_loss(const char *key) { return qsr_starts_with(key, "losses.") && !strchr(key + 7, '.'); }

/* The same pointer for the same text. */
static const char *intern(names *texts, qsr_arena *arena, const char *text)
{
    size_t at = find_name(texts, text);
    if (at == texts->count) at = place_name(texts, qsr_arena_strdup(arena, text), at);
    return texts->items[at];
}

static qsr_frame_row settle(qsr_frame *f, loose *l, const loose_row *from)
{
    const char **values = qsr_arena_alloc(&f->arena, f->n_keys, sizeof *values);
    double *metrics = qsr_arena_alloc(&f->arena, f->n_metrics, sizeof *metrics);
    qsr_frame_row row = from->row;
    for (size_t m = 0; m < f->n_metrics; m++) metrics[m] = NAN;
    for (size_t i = 0; i < from->n_parameters; i++)
        values[find_name(&l->keys, from->parameters[i].key)] = intern(&l->texts, &f->arena, from->parameters[i].text);
    for (size_t i = 0; i < from->n_measures; i++)
        metrics[find_name(&l->metrics, from->measures[i].name)] = from->measures[i].value;
    for (size_t k = 0; k < f->n_keys; k++)
        if (!values[k] && is_loss(f->keys[k])) values[k] = intern(&l->texts, &f->arena, "off");
    row.label = qsr_arena_strdup(&f->arena, row.label);
    row.path = row.path ? qsr_arena_strdup(&f->arena, row.path) : NULL;
    row.reason = row.reason ? qsr_arena_strdup(&f->arena, row.reason) : NULL;
    row.values = values;
    row.metrics = metrics;
    return row;
}

static const char **keep_names(qsr_arena *arena, const names *n)
{
    const char **kept = qsr_arena_alloc(arena, n->count, sizeof *kept);
    for (size_t i = 0; i < n->count; i++) kept[i] = qsr_arena_strdup(arena, n->items[i]);
    return kept;
}

static void settle_all(qsr_frame *f, loose *l)
{
    f->n_keys = l->keys.count;
    f->keys = keep_names(&f->arena, &l->keys);
    f->n_metrics = l->metrics.count;
    f->metrics = keep_names(&f->arena, &l->metrics);
    f->roles = qsr_arena_alloc(&f->arena, f->n_keys, sizeof *f->roles);
    for (size_t k = 0; k < f->n_keys; k++) f->roles[k] = role_of(f->keys[k]);
    f->n_rows = l->count;
    f->rows = qsr_arena_alloc(&f->arena, f->n_rows, sizeof *f->rows);
    for (size_t i = 0; i < f->n_rows; i++) f->rows[i] = settle(f, l, &l->rows[i]);
    free(l->rows);
    free(l->keys.items);
    free(l->metrics.items);
    free(l->texts.items);
}

/* ---- equal settings ------------------------------------------------------------------------------------------------ */

static bool equal_rows(const qsr_frame *f, const qsr_frame_row *a, const qsr_frame_row *b)
{
    if (a->published || b->published) return false;
    for (size_t k = 0; k < f->n_keys; k++)
        if (f->roles[k] != QSR_KEY_IDLE && a->values[k] != b->values[k]) return false;
    return true;
}

/* A setting that was run under two identities, such as those of a path spelt in two ways, is one experiment with one seed. The one
 * that came further counts, the first by folder of those. */
static void leave_equal_aside(qsr_frame *f)
{
    size_t kept = 0, aside = 0;
    const char *example = NULL;
    for (size_t i = 0; i < f->n_rows; i++) {
        qsr_frame_row row = f->rows[i];
        size_t at = 0;
        while (at < kept && !equal_rows(f, &f->rows[at], &row)) at++;
        if (at == kept) {
            f->rows[kept++] = row;
            continue;
        }
        bool better = row.state < f->rows[at].state;
        if (aside++ == 0) example = better ? f->rows[at].label : row.label;
        if (better) f->rows[at] = row;
    }
    f->n_rows = kept;
    if (aside)
        qsr_frame_note(f, "runs left aside, since all parameters, seeds too, are those of another run, which counts once: %zu, %s%s",
                       aside, aside > 1 ? "the first of them " : "", example);
}

/* Numbers made by different programs can differ for that reason alone. */
static void note_versions(qsr_frame *f, const qsr_archive *a)
{
    const char *first = NULL;
    for (size_t i = 0; i < a->count; i++) {
        const qsr_record *r = &a->records[i];
        if (r->state != QSR_RECORD_COMPLETED || !r->quasar) continue;
        if (!first) first = r->quasar;
        if (strcmp(first, r->quasar) == 0) continue;
        qsr_frame_note(f, "the runs were made by different versions of Quasar, %s and %s among them", first, r->quasar);
        return;
    }
}

qsr_status qsr_frame_make(const qsr_archive *a, const char *const *overlays, qsr_frame *ret, qsr_error *e)
{
    loose l = {0};
    qsr_frame f = {0};
    qsr_status status = QSR_OK;
    qsr_arena published = {0};
    add_records(&l, a, &f);
    note_versions(&f, a);
    for (; !status && overlays && *overlays; overlays++) {
        qsr_overlay overlay;
        status = qsr_overlay_read(*overlays, &published, &overlay, e);
        if (!status) add_published(&l, &overlay);
    }
    settle_all(&f, &l);
    leave_equal_aside(&f);
    qsr_arena_free(&published);
    if (status)
        qsr_frame_free(&f);
    else
        *ret = f;
    return status;
}

void qsr_frame_free(qsr_frame *f)
{
    free(f->notes);
    qsr_arena_free(&f->arena);
    *f = (qsr_frame){0};
}

void qsr_frame_note(qsr_frame *f, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    f->notes = qsr_xrealloc(f->notes, f->n_notes + 1, sizeof *f->notes);
    f->notes[f->n_notes++] = qsr_arena_strdup(&f->arena, qsr_one_line(text)); /* notes repeat what files say, on a terminal */
}

/* ---- finding names --------------------------------------------------------------------------------------------------- */

/* A name that ends in what was asked for ("k": "activation.k"), or a near miss, or NULL. */
static const char *suggestion(const char *const *all, size_t n, const char *asked, qsr_arena *arena)
{
    const char **list = qsr_arena_alloc(arena, n + 1, sizeof *list);
    const char *dotted = qsr_arena_printf(arena, ".%s", asked);
    for (size_t i = 0; i < n; i++) {
        if (qsr_ends_with(all[i], dotted)) return all[i];
        list[i] = all[i];
    }
    return qsr_nearest(asked, list);
}

static qsr_status find(const char *what, const char *const *all, size_t n, const char *name, size_t *ret, qsr_error *e)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i], name) == 0) {
            *ret = i;
            return QSR_OK;
        }
    qsr_arena arena = {0};
    const char *near = suggestion(all, n, name, &arena);
    qsr_status status = qsr_fail(e, QSR_E_OPTION, "no run has the %s '%s'%s%s%s", what, name,
                                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    qsr_arena_free(&arena);
    return status;
}

qsr_status qsr_frame_key(const qsr_frame *f, const char *name, size_t *ret, qsr_error *e)
{
    return find("parameter", f->keys, f->n_keys, name, ret, e);
}

qsr_status qsr_frame_metric(const qsr_frame *f, const char *name, size_t *ret, qsr_error *e)
{
    return find("metric", f->metrics, f->n_metrics, name, ret, e);
}

bool qsr_frame_has_metric(const qsr_frame *f, const char *name, size_t *ret)
{
    return qsr_frame_metric(f, name, ret, NULL) == QSR_OK;
}

/* ---- values ---------------------------------------------------------------------------------------------------------- */

static bool equal_values(const char *a, const char *b)
{
    double x, y;
    if (strcmp(a, b) == 0) return true;
    return qsr_parse_real(a, &x) && qsr_parse_real(b, &y) && x == y;
}

int qsr_frame_order(const char *a, const char *b)
{
    double x, y;
    if (!a || !b) return !a - !b;
    bool number_a = qsr_parse_real(a, &x), number_b = qsr_parse_real(b, &y);
    if (number_a != number_b) return number_a ? -1 : 1;
    if (number_a && x != y) return x < y ? -1 : 1;
    return strcmp(a, b);
}

static int by_order(const void *a, const void *b)
{
    return qsr_frame_order(*(const char *const *)a, *(const char *const *)b);
}

size_t qsr_frame_values(qsr_frame *f, size_t key, const size_t *rows, size_t n, const char *const **ret)
{
    const char **values = qsr_arena_alloc(&f->arena, n, sizeof *values);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const char *value = f->rows[rows[i]].values[key];
        size_t at = 0;
        while (at < count && values[at] != value) at++;
        if (at == count) values[count++] = value;
    }
    qsort(values, count, sizeof *values, by_order);
    *ret = values;
    return count;
}

/* "4, 8, 16": at most a line of them. */
static void list_values(qsr_frame *f, size_t key, qsr_text *out)
{
    size_t *all = qsr_arena_alloc(&f->arena, f->n_rows, sizeof *all);
    for (size_t i = 0; i < f->n_rows; i++) all[i] = i;
    const char *const *values;
    size_t n = qsr_frame_values(f, key, all, f->n_rows, &values);
    for (size_t i = 0; i < n && values[i]; i++) {
        if (out->length > 200) {
            qsr_text_puts(out, ", ...");
            return;
        }
        qsr_text_add(out, "%s%s", i ? ", " : "", values[i]);
    }
}

/* "a,b" among `value`'s alternatives. */
static bool matches(const char *value, const char *alternatives)
{
    qsr_arena arena = {0};
    bool found = false;
    for (const char *at = alternatives; !found; at++) {
        size_t n = strcspn(at, ",");
        found = equal_values(value, qsr_arena_strndup(&arena, at, n));
        at += n;
        if (!*at) break;
    }
    qsr_arena_free(&arena);
    return found;
}

qsr_status qsr_frame_where(qsr_frame *f, const char *condition, qsr_error *e)
{
    const char *equals = strchr(condition, '=');
    if (!equals || equals == condition || !equals[1])
        return qsr_fail(e, QSR_E_OPTION, "--where is '%s', but must be KEY=VALUE", condition);
    size_t key = 0, kept = 0;
    qsr_status status = qsr_frame_key(f, qsr_arena_strndup(&f->arena, condition, (size_t)(equals - condition)), &key, e);
    if (status) return status;
    qsr_text values = {0};
    list_values(f, key, &values);
    bool met = false;
    for (size_t i = 0; i < f->n_rows; i++) {
        const char *value = f->rows[i].values[key];
        if (value ? !matches(value, equals + 1) : !f->rows[i].published) continue;
        met = met || value;
        f->rows[kept++] = f->rows[i];
    }
    f->n_rows = kept;
    if (!met)
        status = qsr_fail(e, QSR_E_OPTION, "no run is left with %s; %s has: %s", condition, f->keys[key], values.bytes);
    qsr_text_free(&values);
    return status;
}

/* ---- groups ---------------------------------------------------------------------------------------------------------- */

typedef struct {
    const qsr_frame *frame;
    const size_t *keys;
    size_t n_keys;
} grouping;

static bool belongs(const grouping *g, size_t a, size_t b)
{
    const qsr_frame_row *x = &g->frame->rows[a], *y = &g->frame->rows[b];
    if (x->published != y->published) return false;
    for (size_t k = 0; k < g->n_keys; k++)
        if (x->values[g->keys[k]] != y->values[g->keys[k]]) return false;
    return true;
}

static int order_groups(const grouping *g, const qsr_frame_group *a, const qsr_frame_group *b)
{
    const qsr_frame_row *x = &g->frame->rows[a->rows[0]], *y = &g->frame->rows[b->rows[0]];
    for (size_t k = 0; k < g->n_keys; k++) {
        int order = qsr_frame_order(x->values[g->keys[k]], y->values[g->keys[k]]);
        if (order) return order;
    }
    return x->published - y->published;
}

/* Insertion keeps equal ones in the order of their first rows; groups are few. */
static void sort_groups(const grouping *g, qsr_frame_group *groups, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        qsr_frame_group moving = groups[i];
        size_t at = i;
        for (; at > 0 && order_groups(g, &groups[at - 1], &moving) > 0; at--) groups[at] = groups[at - 1];
        groups[at] = moving;
    }
}

size_t qsr_frame_groups(qsr_frame *f, const size_t *rows, size_t n, const size_t *keys, size_t n_keys,
                        qsr_frame_group **ret)
{
    grouping by = {f, keys, n_keys};
    qsr_frame_group *groups = qsr_arena_alloc(&f->arena, n, sizeof *groups);
    size_t *first = qsr_arena_alloc(&f->arena, n, sizeof *first), *places = qsr_arena_alloc(&f->arena, n, sizeof *places);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        size_t g = 0;
        while (g < count && !belongs(&by, first[g], rows[i])) g++;
        if (g == count) first[count++] = rows[i];
        groups[g].count++;
        places[i] = g;
    }
    for (size_t g = 0; g < count; g++) {
        groups[g].rows = qsr_arena_alloc(&f->arena, groups[g].count, sizeof *groups[g].rows);
        groups[g].count = 0;
    }
    for (size_t i = 0; i < n; i++) groups[places[i]].rows[groups[places[i]].count++] = rows[i];
    sort_groups(&by, groups, count);
    *ret = groups;
    return count;
}

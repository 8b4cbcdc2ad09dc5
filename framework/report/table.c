#include "report/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/text.h"
#include "eval/statistics.h"
#include "report/history.h"

enum { SPARKLINE = 24 }; /* characters at most */

typedef struct {
    qsr_frame *frame;
    size_t *all;  /* every row's index */
    size_t *keys; /* of the rows, room for all */
    size_t n_keys;
    size_t *metrics; /* of the columns */
    size_t n_metrics;
    qsr_frame_group *groups;
    size_t n_groups;
} making;

/* ---- which rows ------------------------------------------------------------------------------------------------------- */

static void group(making *m)
{
    m->n_groups = qsr_frame_groups(m->frame, m->all, m->frame->n_rows, m->keys, m->n_keys, &m->groups);
}

static bool is_chosen(const making *m, size_t key)
{
    for (size_t i = 0; i < m->n_keys; i++)
        if (m->keys[i] == key) return true;
    return false;
}

/* How many values the key has in the group, and whether some run has none. */
static size_t count_values(making *m, size_t key, const qsr_frame_group *g, bool *ret_some_without)
{
    const char *const *values;
    size_t n = qsr_frame_values(m->frame, key, g->rows, g->count, &values);
    *ret_some_without = n && !values[n - 1];
    return n - *ret_some_without;
}

/* The first key, in the order of specs, in which runs of the group differ; rather one with several values than one that some
 * runs lack. n_keys: they differ in none but seeds and idle ones. */
static size_t find_difference(making *m, const qsr_frame_group *g)
{
    const qsr_frame *f = m->frame;
    size_t lacking = f->n_keys;
    for (size_t k = 0; k < f->n_keys; k++) {
        bool some_without;
        if (f->roles[k] != QSR_KEY_PLAIN || is_chosen(m, k)) continue;
        size_t n = count_values(m, k, g, &some_without);
        if (n > 1) return k;
        if (n == 1 && some_without && lacking == f->n_keys) lacking = k;
    }
    return lacking;
}

/* Means are over seeds alone: keys are added until no group holds two settings. */
static void split_mixed(making *m, bool asked)
{
    qsr_frame *f = m->frame;
    for (;;) {
        size_t key = f->n_keys;
        group(m);
        for (size_t g = 0; g < m->n_groups && key == f->n_keys; g++) key = find_difference(m, &m->groups[g]);
        if (key == f->n_keys) return;
        m->keys[m->n_keys++] = key;
        if (asked) qsr_frame_note(f, "runs of one row would differ in %s too: it became a column", f->keys[key]);
    }
}

static size_t count_groups_without(making *m, size_t index)
{
    size_t *others = qsr_arena_alloc(&m->frame->arena, m->n_keys, sizeof *others), n = 0;
    qsr_frame_group *groups;
    for (size_t i = 0; i < m->n_keys; i++)
        if (i != index) others[n++] = m->keys[i];
    return qsr_frame_groups(m->frame, m->all, m->frame->n_rows, others, n, &groups);
}

/* losses.afa, on or off, says nothing where losses.afa.coeff is shown beside it. */
static void drop_idle_losses(making *m)
{
    for (size_t i = m->n_keys; i-- > 0;) {
        const char *name = m->frame->keys[m->keys[i]];
        if (strncmp(name, "losses.", 7) != 0 || strchr(name + 7, '.')) continue;
        group(m);
        if (count_groups_without(m, i) != m->n_groups) continue;
        m->n_keys--;
        memmove(m->keys + i, m->keys + i + 1, (m->n_keys - i) * sizeof *m->keys);
    }
}

static qsr_status choose_rows(making *m, const qsr_table_request *request, qsr_error *e)
{
    qsr_frame *f = m->frame;
    const qsr_frame_group everything = {m->all, f->n_rows};
    bool some_without;
    for (size_t i = 0; request->rows && request->rows[i]; i++) {
        size_t key;
        qsr_status status = qsr_frame_key(f, request->rows[i], &key, e);
        if (status) return status;
        if (!is_chosen(m, key)) m->keys[m->n_keys++] = key;
    }
    for (size_t k = 0; !request->rows && k < f->n_keys; k++)
        if (f->roles[k] == QSR_KEY_PLAIN && count_values(m, k, &everything, &some_without) > 1) m->keys[m->n_keys++] = k;
    if (!request->rows) drop_idle_losses(m);
    split_mixed(m, request->rows != NULL);
    return QSR_OK;
}

/* ---- which columns ---------------------------------------------------------------------------------------------------- */

static void choose_usual_metrics(making *m)
{
    static const char *const usual[] = {"l0", "nmse", "fvu", "silent_fraction"};
    bool published = false;
    size_t metric;
    for (size_t i = 0; i < m->frame->n_rows; i++) published = published || m->frame->rows[i].published;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (qsr_frame_has_metric(m->frame, usual[i], &metric)) m->metrics[m->n_metrics++] = metric;
    if (published && qsr_frame_has_metric(m->frame, "mse_norm", &metric)) m->metrics[m->n_metrics++] = metric;
    for (size_t i = 0; !m->n_metrics && i < m->frame->n_metrics && i < 4; i++) m->metrics[i] = i;
    if (!m->n_metrics) m->n_metrics = m->frame->n_metrics < 4 ? m->frame->n_metrics : 4;
}

static qsr_status choose_metrics(making *m, const qsr_table_request *request, qsr_error *e)
{
    if (!request->cols) choose_usual_metrics(m);
    for (size_t i = 0; request->cols && request->cols[i]; i++) {
        size_t metric, at = 0;
        qsr_status status = qsr_frame_metric(m->frame, request->cols[i], &metric, e);
        if (status) return status;
        while (at < m->n_metrics && m->metrics[at] != metric) at++;
        if (at == m->n_metrics) m->metrics[m->n_metrics++] = metric;
    }
    return QSR_OK;
}

/* ---- means -------------------------------------------------------------------------------------------------------------- */

static qsr_summary summarize(making *m, const qsr_frame_group *g, size_t metric)
{
    double *values = qsr_xcalloc(g->count, sizeof *values);
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++) {
        const qsr_frame_row *row = &m->frame->rows[g->rows[i]];
        if (row->state == QSR_RECORD_COMPLETED && !isnan(row->metrics[metric])) values[n++] = row->metrics[metric];
    }
    qsr_summary s = qsr_summarize(values, n, 0.95);
    free(values);
    return s;
}

/* A run's stability is its mean over pairs with the other runs, so runs are not independent. The mean of all pairs is a U-statistic of
 * degree 2, whose jackknife variance is 4 (n-1) / (n (n-2)^2) times the sum of squares (Sen 1960; Arvesen 1969): the usual half-width
 * times 2 (n-1) / (n-2), and none for two runs. */
double qsr_report_half(const qsr_summary *s, const char *metric)
{
    double n = (double)s->n, factor = 1;
    if (qsr_starts_with(metric, "stability.")) factor = s->n > 2 ? 2 * (n - 1) / (n - 2) : NAN;
    return s->n < 2 ? NAN : factor * qsr_t_quantile(0.975, n - 1) * s->sd / sqrt(n);
}

static size_t count_state(const making *m, const qsr_frame_group *g, qsr_record_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++) n += m->frame->rows[g->rows[i]].state == state;
    return n;
}

/* ---- order -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    bool by_metric, descending;
    size_t index; /* of the key, or of the metric in the frame */
} sorting;

/* What a group lacks comes last, in either direction. */
static int compare_groups(const sorting *s, making *m, const qsr_frame_group *a, const qsr_frame_group *b)
{
    const qsr_frame *f = m->frame;
    int order;
    if (s->by_metric) {
        double x = summarize(m, a, s->index).mean, y = summarize(m, b, s->index).mean;
        if (isnan(x) || isnan(y)) return isnan(x) - isnan(y);
        order = (x > y) - (x < y);
    } else {
        const char *x = f->rows[a->rows[0]].values[s->index], *y = f->rows[b->rows[0]].values[s->index];
        if (!x || !y) return !x - !y;
        order = qsr_frame_order(x, y);
    }
    return s->descending ? -order : order;
}

static qsr_status find_sorting(const making *m, const char *name, sorting *s, qsr_error *e)
{
    s->descending = name[0] == '-';
    name += s->descending;
    for (size_t i = 0; i < m->n_keys; i++)
        if (strcmp(m->frame->keys[m->keys[i]], name) == 0) {
            s->index = m->keys[i];
            return QSR_OK;
        }
    s->by_metric = true;
    if (qsr_frame_has_metric(m->frame, name, &s->index)) return QSR_OK;
    size_t key;
    if (qsr_frame_key(m->frame, name, &key, NULL) == QSR_OK)
        return qsr_fail(e, QSR_E_OPTION, "cannot sort by %s: it is not among the rows' parameters; add it to --rows", name);
    return qsr_frame_metric(m->frame, name, &s->index, e);
}

/* Own and published runs are sorted as one; equal ones keep their order. */
static qsr_status sort(making *m, const char *name, qsr_error *e)
{
    sorting s = {0};
    if (!name) return QSR_OK;
    qsr_status status = find_sorting(m, name, &s, e);
    for (size_t i = 1; !status && i < m->n_groups; i++) {
        qsr_frame_group moving = m->groups[i];
        size_t at = i;
        for (; at > 0 && compare_groups(&s, m, &m->groups[at - 1], &moving) > 0; at--) m->groups[at] = m->groups[at - 1];
        m->groups[at] = moving;
    }
    return status;
}

/* ---- the sheet ------------------------------------------------------------------------------------------------------------ */

typedef struct {
    bool source, failed, unfinished;
    const char *sparkline;
} extras;

static extras needed_extras(const making *m, bool full)
{
    extras x = {.failed = full, .unfinished = full};
    for (size_t i = 0; i < m->frame->n_rows; i++) {
        x.source = x.source || m->frame->rows[i].published;
        x.failed = x.failed || m->frame->rows[i].state == QSR_RECORD_FAILED;
        x.unfinished = x.unfinished || m->frame->rows[i].state == QSR_RECORD_UNFINISHED;
    }
    return x;
}

static void add_columns(const making *m, extras x, qsr_sheet *sheet)
{
    if (x.source) qsr_sheet_column(sheet, "source", QSR_COLUMN_WORD);
    for (size_t k = 0; k < m->n_keys; k++) qsr_sheet_column(sheet, m->frame->keys[m->keys[k]], QSR_COLUMN_WORD);
    qsr_sheet_column(sheet, "runs", QSR_COLUMN_COUNT);
    for (size_t i = 0; i < m->n_metrics; i++) qsr_sheet_column(sheet, m->frame->metrics[m->metrics[i]], QSR_COLUMN_MEAN);
    if (x.failed) qsr_sheet_column(sheet, "failed", QSR_COLUMN_COUNT);
    if (x.unfinished) qsr_sheet_column(sheet, "unfinished", QSR_COLUMN_COUNT);
    if (x.sparkline) qsr_sheet_column(sheet, x.sparkline, QSR_COLUMN_WORD);
}

/* Of the group's first run that has logged the key. */
static const char *sparkline_of(const making *m, const char *key, const qsr_frame_group *g, qsr_sheet *sheet)
{
    qsr_arena arena = {0};
    qsr_text text = {0};
    for (size_t i = 0; i < g->count && !text.length; i++) {
        const qsr_frame_row *row = &m->frame->rows[g->rows[i]];
        qsr_history history;
        if (!row->path || qsr_history_read(qsr_path_join(&arena, row->path, "metrics.jsonl"), key, SPARKLINE, &history, NULL)) continue;
        qsr_sparkline(history.values, history.n, &text);
        qsr_history_free(&history);
    }
    const char *kept = text.length ? qsr_arena_strdup(&sheet->arena, text.bytes) : NULL;
    qsr_text_free(&text);
    qsr_arena_free(&arena);
    return kept;
}

static void add_row(making *m, extras x, const qsr_frame_group *g, qsr_sheet *sheet)
{
    const qsr_frame_row *first = &m->frame->rows[g->rows[0]];
    qsr_sheet_cell *cell = qsr_sheet_row(sheet);
    size_t runs = count_state(m, g, QSR_RECORD_COMPLETED);
    if (x.source) (cell++)->word = first->published ? "published" : "quasar";
    for (size_t k = 0; k < m->n_keys; k++) {
        const char *value = first->values[m->keys[k]];
        (cell++)->word = value ? qsr_arena_strdup(&sheet->arena, value) : NULL;
    }
    (cell++)->n = runs;
    for (size_t i = 0; i < m->n_metrics; i++, cell++) {
        qsr_summary s = summarize(m, g, m->metrics[i]);
        *cell = (qsr_sheet_cell){.value = s.mean, .half = qsr_report_half(&s, m->frame->metrics[m->metrics[i]]), .n = s.n, .note_n = s.n != runs};
    }
    if (x.failed) (cell++)->n = count_state(m, g, QSR_RECORD_FAILED);
    if (x.unfinished) (cell++)->n = count_state(m, g, QSR_RECORD_UNFINISHED);
    if (x.sparkline) cell->word = sparkline_of(m, x.sparkline, g, sheet);
}

static void note_failures(qsr_frame *f)
{
    for (size_t i = 0; i < f->n_rows; i++) {
        const qsr_frame_row *row = &f->rows[i];
        if (row->state == QSR_RECORD_FAILED)
            qsr_frame_note(f, "%s failed: %s", row->label, row->reason ? row->reason : "no reason given");
        if (row->state == QSR_RECORD_UNFINISHED) qsr_frame_note(f, "%s is not finished", row->label);
    }
}

static making start(qsr_frame *f)
{
    making m = {.frame = f};
    m.all = qsr_arena_alloc(&f->arena, f->n_rows, sizeof *m.all);
    m.keys = qsr_arena_alloc(&f->arena, f->n_keys + 1, sizeof *m.keys);
    m.metrics = qsr_arena_alloc(&f->arena, f->n_metrics, sizeof *m.metrics);
    for (size_t i = 0; i < f->n_rows; i++) m.all[i] = i;
    return m;
}

size_t qsr_report_settings(qsr_frame *f, size_t **ret_keys, size_t *ret_n_keys, qsr_frame_group **ret)
{
    making m = start(f);
    choose_rows(&m, &(qsr_table_request){0}, NULL); /* names nothing that could be unknown */
    *ret_keys = m.keys;
    *ret_n_keys = m.n_keys;
    *ret = m.groups;
    return m.n_groups;
}

qsr_status qsr_report_table(qsr_frame *f, const qsr_table_request *request, qsr_sheet *ret, qsr_error *e)
{
    making m = start(f);
    qsr_status status = choose_metrics(&m, request, e);
    if (!status) status = choose_rows(&m, request, e);
    if (!status) status = sort(&m, request->sort, e);
    if (status) return status;
    extras x = needed_extras(&m, request->full);
    x.sparkline = request->sparkline;
    *ret = (qsr_sheet){0};
    add_columns(&m, x, ret);
    for (size_t g = 0; g < m.n_groups; g++) add_row(&m, x, &m.groups[g], ret);
    note_failures(f);
    return QSR_OK;
}

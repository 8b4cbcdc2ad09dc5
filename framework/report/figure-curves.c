#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "report/figures.h"
#include "report/history.h"

typedef struct {
    qsr_history history;
    size_t setting;
    bool first; /* of its setting: the others have no name in the key */
    const char *run;
} curve;

typedef struct {
    const qsr_study *study;
    curve *items;
    size_t n;
} curves;

/* Every own run, also one that failed or is not finished: where it came to is worth seeing. */
static size_t count_runs(const qsr_study *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_settings; i++) n += s->settings[i].published ? 0 : s->settings[i].n_rows;
    return n;
}

static void read_run(curves *c, size_t setting, size_t row, const char *key, size_t most, bool *first)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    const qsr_record *record = qsr_study_record(c->study, row);
    curve new = {.setting = setting, .first = *first, .run = record ? record->folder : ""};
    const char *path = record ? qsr_path_join(&arena, record->path, "metrics.jsonl") : NULL;
    if (path && qsr_exists(path)) {
        if (qsr_history_read(path, key, most, &new.history, &e))
            qsr_log(QSR_LOG_WARNING, "%s", e.text);
        else if (!new.history.n)
            qsr_history_free(&new.history);
        else
            c->items[c->n++] = new, *first = false;
    }
    qsr_arena_free(&arena);
}

static void read_all(curves *c, const char *key)
{
    const qsr_study *s = c->study;
    size_t runs = count_runs(s), most = runs ? QSR_FIGURE_POINTS / runs : 2;
    if (most > 300) most = 300;
    if (most < 8) most = 8;
    c->items = qsr_xcalloc(runs + 1, sizeof *c->items);
    for (size_t i = 0; i < s->n_settings; i++) {
        bool first = true;
        for (size_t r = 0; !s->settings[i].published && r < s->settings[i].n_rows; r++)
            read_run(c, i, s->settings[i].rows[r], key, most, &first);
    }
}

static void set_ranges(const curves *c, qsr_figure *f)
{
    double last = 0, low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < c->n; i++) {
        const qsr_history *h = &c->items[i].history;
        for (size_t p = 0; p < h->n; p++) {
            last = fmax(last, h->tokens[p]);
            low = fmin(low, h->values[p]);
            high = fmax(high, h->values[p]);
        }
    }
    qsr_figure_range(f, "x", 0, last / 1e6, false);
    qsr_figure_range(f, "y", low, high, low > 0 && high / low > 3);
}

static void draw(const curves *c, const curve *item, qsr_figure *f)
{
    qsr_figure_style style = qsr_figure_style_of(c->study, item->setting);
    size_t block = qsr_figure_block(f, "%s: millions of tokens, value", item->run);
    for (size_t p = 0; p < item->history.n; p++) {
        const double row[] = {item->history.tokens[p] / 1e6, item->history.values[p]};
        qsr_figure_row(f, row, 2);
    }
    qsr_figure_draw(f, block, item->first ? style.title : NULL, "using 1:2 with %s lw 1.2 lc rgb '%s'",
                    item->history.n > 1 ? "lines" : "points pt 7", qsr_figure_colour(style.index));
}

void qsr_figure_curves(const qsr_study *s, const char *key, const char *name, const char *title, qsr_figure *f)
{
    curves c = {.study = s};
    qsr_figure_begin(f, name, 480, 340, title);
    read_all(&c, key);
    if (!c.n) {
        qsr_text_add(&f->missing, "No run's metrics.jsonl has '%s'.", key);
    } else {
        qsr_figure_set_text(f, "xlabel", "tokens trained on (millions)");
        qsr_figure_set_text(f, "ylabel", qsr_metric_label(key));
        set_ranges(&c, f);
        qsr_figure_study_key(f, s);
        for (size_t i = 0; i < c.n; i++) draw(&c, &c.items[i], f);
        qsr_text_add(&f->caption, "%zu run%s; every point is a mean of logged steps, at most %zu points a run.", c.n,
                     c.n == 1 ? "" : "s",
                     QSR_FIGURE_POINTS / c.n < 8     ? (size_t)8
                     : QSR_FIGURE_POINTS / c.n > 300 ? (size_t)300
                                                     : QSR_FIGURE_POINTS / c.n);
    }
    for (size_t i = 0; i < c.n; i++) qsr_history_free(&c.items[i].history);
    free(c.items);
}

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/figures.h"

/* A setting's point with its intervals. */
typedef struct {
    double x, y, x_low, x_high, y_low, y_high;
    size_t series;
} point;

typedef struct {
    const qsr_study *study;
    point *points;
    size_t n;
    bool log_x, log_y;
    point all; /* bounds: x_low, x_high, y_low, y_high */
} pareto;

/* An interval that reaches zero has no lower end on a logarithmic axis: it is cut at a tenth of the mean. */
static void put_ends(const qsr_summary *s, double *ret_low, double *ret_high, bool logarithmic)
{
    double half = qsr_study_half(s);
    *ret_low = isnan(half) ? s->mean : s->mean - half;
    *ret_high = isnan(half) ? s->mean : s->mean + half;
    if (logarithmic && *ret_low < s->mean / 10) *ret_low = s->mean / 10;
}

/* What is best at 1 is told apart near 1, where a logarithm says nothing. */
static bool is_fraction(const char *metric)
{
    static const char *const fractions[] = {"ce_recovered_", "explained_variance", "cosine", "l2_ratio", "stability."};
    for (size_t i = 0; i < sizeof fractions / sizeof *fractions; i++)
        if (qsr_starts_with(metric, fractions[i])) return true;
    return false;
}

static void collect(pareto *p, const char *metric)
{
    const qsr_study *s = p->study;
    p->points = qsr_xcalloc(s->n_settings + 1, sizeof *p->points);
    p->log_x = true;
    p->log_y = !is_fraction(metric);
    for (size_t i = 0; i < s->n_settings; i++) {
        qsr_summary x = qsr_study_summary(s, &s->settings[i], "l0"), y = qsr_study_summary(s, &s->settings[i], metric);
        if (!x.n || !y.n) continue;
        p->log_x = p->log_x && x.mean > 0;
        p->log_y = p->log_y && y.mean > 0;
    }
    p->all = (point){.x_low = INFINITY, .x_high = -INFINITY, .y_low = INFINITY, .y_high = -INFINITY};
    for (size_t i = 0; i < s->n_settings; i++) {
        qsr_summary x = qsr_study_summary(s, &s->settings[i], "l0"), y = qsr_study_summary(s, &s->settings[i], metric);
        if (!x.n || !y.n) continue;
        point *new = &p->points[p->n++];
        *new = (point){.x = x.mean, .y = y.mean, .series = s->settings[i].series};
        put_ends(&x, &new->x_low, &new->x_high, p->log_x);
        put_ends(&y, &new->y_low, &new->y_high, p->log_y);
        p->all.x_low = fmin(p->all.x_low, new->x_low);
        p->all.x_high = fmax(p->all.x_high, new->x_high);
        p->all.y_low = fmin(p->all.y_low, new->y_low);
        p->all.y_high = fmax(p->all.y_high, new->y_high);
    }
}

static void draw_series(const pareto *p, size_t series, qsr_figure *f)
{
    const qsr_study_series *about = &p->study->series[series];
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) n += p->points[i].series == series;
    if (!n) return;
    size_t block = qsr_figure_block(f, "%s: l0, metric, ends of their intervals", about->label);
    for (size_t i = 0; i < p->n; i++) {
        const point *q = &p->points[i];
        const double row[] = {q->x, q->y, q->x_low, q->x_high, q->y_low, q->y_high};
        if (q->series == series) qsr_figure_row(f, row, 6);
    }
    const char *colour = qsr_figure_colour(series);
    qsr_figure_draw(f, block, NULL, "using 3:2:($4-$3):(0) " QSR_FIGURE_BARS " lc rgb '%s'", colour);
    qsr_figure_draw(f, block, NULL, "using 1:5:(0):($6-$5) " QSR_FIGURE_BARS " lc rgb '%s'", colour);
    qsr_figure_draw(f, block, about->label, "using 1:2 with linespoints pt %u ps 0.8 lw 1.5 dt %d lc rgb '%s'",
                    qsr_figure_mark(series), about->published ? 2 : 1, colour);
}

static bool has_published(const pareto *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->study->series[p->points[i].series].published) return true;
    return false;
}

/* Codes with more active latents than half of the input's dimensions are not sparse; of published runs those are not known. */
static void shade_dense(pareto *p, qsr_figure *f)
{
    double edge = (double)p->study->d_in / 2;
    if (!p->study->d_in || edge > 8 * p->all.x_high) return;
    if (has_published(p)) {
        qsr_text_add(&f->caption, " L0 above d_in/2 (%g for the own runs) is not sparse; it is not shaded, as published runs may be of another width.",
                     edge);
        return;
    }
    p->all.x_high = fmax(p->all.x_high, edge * 1.25);
    qsr_figure_set(
        f,
        "set object 1 rectangle from first %.6g, graph 0 to graph 1, graph 1 behind fillcolor rgb '#888888' fillstyle "
        "transparent solid 0.2 noborder",
        fmax(edge, p->all.x_low));
    qsr_text_add(&f->caption, " Shaded: L0 above d_in/2 = %g, which is not sparse.", edge);
}

void qsr_figure_pareto(const qsr_study *s, const char *metric, const char *name, qsr_figure *f)
{
    pareto p = {.study = s};
    qsr_text title = {0};
    qsr_text_add(&title, "%s over L0", qsr_metric_label(metric));
    qsr_figure_begin(f, name, 480, 380, title.bytes);
    qsr_text_free(&title);
    collect(&p, metric);
    if (!p.n) {
        qsr_text_add(&f->missing, "No completed run has both l0 and %s.", metric);
    } else {
        qsr_text_puts(&f->caption, "Means over seeds with 95 % intervals; a line goes through the settings of a group.");
        shade_dense(&p, f);
        qsr_figure_set_text(f, "xlabel", "L0");
        qsr_figure_set_text(f, "ylabel", qsr_metric_label(metric));
        qsr_figure_range(f, "x", p.all.x_low, p.all.x_high, p.log_x);
        qsr_figure_range(f, "y", p.all.y_low, p.all.y_high, p.log_y);
        size_t longest = 0;
        for (size_t i = 0; i < s->n_series; i++)
            if (strlen(s->series[i].label) > longest) longest = strlen(s->series[i].label);
        qsr_figure_key(f, s->n_series, longest);
        for (size_t i = 0; i < s->n_series; i++) draw_series(&p, i, f);
    }
    free(p.points);
}

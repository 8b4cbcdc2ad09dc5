#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report/figures.h"

enum { PANEL = 150 }; /* pixels */

typedef struct {
    const qsr_study *study;
    qsr_figure *figure;
    size_t blocks;
} dots;

typedef struct {
    double low, high;
    size_t n;
} extent;

static double low_end(const qsr_summary *s)
{
    double half = qsr_study_half(s);
    return isnan(half) ? s->mean : s->mean - half;
}

static double high_end(const qsr_summary *s)
{
    double half = qsr_study_half(s);
    return isnan(half) ? s->mean : s->mean + half;
}

static extent extent_of(const qsr_study *s, const char *metric)
{
    extent x = {INFINITY, -INFINITY, 0};
    for (size_t i = 0; i < s->n_settings; i++) {
        qsr_summary m = qsr_study_summary(s, &s->settings[i], metric);
        if (!m.n) continue;
        x.low = fmin(x.low, m.mean);
        x.high = fmax(x.high, m.mean);
        x.n++;
    }
    for (size_t i = 0; i < s->n_settings; i++) {
        qsr_summary m = qsr_study_summary(s, &s->settings[i], metric);
        if (!m.n) continue;
        double room = fmax(x.high - x.low, 0.1 * fabs(m.mean)); /* an interval of two seeds can be huge: it is cut there */
        x.low = fmin(x.low, fmax(low_end(&m), m.mean - room));
        x.high = fmax(x.high, fmin(high_end(&m), m.mean + room));
    }
    return x;
}

static void draw_setting(dots *d, size_t setting, const char *metric, const extent *x, bool named)
{
    qsr_summary m = qsr_study_summary(d->study, &d->study->settings[setting], metric);
    if (!m.n) return;
    qsr_figure_style style = qsr_figure_style_of(d->study, setting);
    size_t block = qsr_figure_block(d->figure, "%s, %s: number, mean, interval", metric, d->study->settings[setting].label);
    const double row[] = {(double)setting + 1, m.mean, fmax(low_end(&m), x->low), fmin(high_end(&m), x->high)};
    qsr_figure_row(d->figure, row, 4);
    qsr_figure_draw(d->figure, block, NULL, "using 1:3:(0):($4-$3) " QSR_FIGURE_BARS " lc rgb '%s'",
                    qsr_figure_colour(style.index));
    qsr_figure_draw(d->figure, block, named ? style.title : NULL, "using 1:2 with points pt %u ps 0.7 lc rgb '%s'",
                    qsr_figure_mark(style.index), qsr_figure_colour(style.index));
}

/* Panels one below the other; the names of the settings are below the last one. */
static void draw_panel(dots *d, const char *metric, size_t panel, size_t n_panels)
{
    qsr_figure *f = d->figure;
    extent x = extent_of(d->study, metric);
    double top = 12 + PANEL * (double)panel, bottom = PANEL * ((double)panel + 1) - 26;
    qsr_figure_set(f, "unset logscale\nset tmargin at screen %.4f\nset bmargin at screen %.4f", 1 - top / f->height,
                   1 - bottom / f->height);
    qsr_figure_set_text(f, "ylabel", qsr_metric_label(metric));
    bool logarithmic = x.low > 0 && x.high / x.low > 10;
    if (!logarithmic)
        qsr_figure_set(f, "set ytics %.6g\nset format y '%%.3g'",
                       qsr_figure_step(fmax(x.high - x.low, 0.2 * fabs(x.high)), 4));
    if (logarithmic) qsr_figure_set(f, "set ytics autofreq");
    qsr_figure_range(f, "y", x.low, x.high, logarithmic);
    if (panel + 1 == n_panels)
        qsr_figure_set_text(f, "xlabel", "number of the setting");
    else
        qsr_figure_set(f, "unset xlabel\nunset key");
    if (panel + 1 == n_panels) {
        unsigned before = f->height;
        qsr_figure_study_key(f, d->study);
        f->height = before;
    }
    for (size_t i = 0; i < d->study->n_settings; i++) draw_setting(d, i, metric, &x, panel + 1 == n_panels);
    qsr_figure_flush(f);
}

void qsr_figure_dots(const qsr_study *s, const char *const *metrics, const char *name, const char *title, qsr_figure *f)
{
    dots d = {.study = s, .figure = f};
    const char *present[8];
    size_t n = 0;
    for (; *metrics && n < 8; metrics++)
        if (extent_of(s, *metrics).n) present[n++] = *metrics;
    qsr_figure_begin(f, name, 480, 60 + PANEL * (unsigned)n, title);
    if (!n) {
        qsr_text_puts(&f->missing, "No completed run has these metrics.");
        return;
    }
    f->numbered = true;
    qsr_figure_study_key(f, s);
    f->script.length = 0;
    qsr_text_puts(&f->caption, "Means over seeds with 95 % intervals (cut where they leave the figure).");
    qsr_figure_set(f, "set multiplot\nset lmargin 11\nset rmargin 3\nset xrange [0.5:%.1f]\nset xtics 1,%zu",
                   (double)s->n_settings + 0.5, s->n_settings > 20 ? (s->n_settings + 9) / 10 : (size_t)1);
    for (size_t i = 0; i < n; i++) draw_panel(&d, present[i], i, n);
    qsr_figure_set(f, "unset multiplot");
}

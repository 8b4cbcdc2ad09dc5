#include <math.h>
#include <string.h>

#include "report/figures.h"

/* A coefficient of an absent loss is 0. */
static double place_of(const qsr_study *s, const qsr_setting *setting, const char *parameter)
{
    double at = qsr_study_number(s, setting, parameter);
    bool coefficient = qsr_starts_with(parameter, "losses.");
    return isnan(at) && coefficient ? 0 : at;
}

static bool is_topafa(const qsr_study *s, const qsr_setting *setting)
{
    const char *plugin = qsr_study_value(s, setting, "activation.plugin");
    return plugin && strcmp(plugin, "topafa") == 0;
}

typedef struct {
    double low, high, y_low, y_high;
    size_t n;
} extent;

/* Intervals count where they are not larger than the values themselves. */
static void widen(extent *x, double at, const qsr_summary *l0)
{
    double half = qsr_study_half(l0);
    if (isnan(half)) half = 0;
    half = fmin(half, l0->mean);
    x->low = fmin(x->low, at);
    x->high = fmax(x->high, at);
    x->y_low = fmin(x->y_low, l0->mean - half);
    x->y_high = fmax(x->y_high, l0->mean + half);
    x->n++;
}

static void draw_series(const qsr_study *s, size_t series, const char *parameter, const extent *x, qsr_figure *f)
{
    size_t rows = 0, block = 0;
    bool curve = qsr_starts_with(parameter, "losses.");
    for (size_t i = 0; i < s->n_settings; i++) {
        const qsr_setting *setting = &s->settings[i];
        qsr_summary l0 = qsr_study_summary(s, setting, "l0");
        double at = place_of(s, setting, parameter), half = qsr_study_half(&l0);
        if (setting->series != series || !is_topafa(s, setting) || !l0.n || isnan(at)) continue;
        if (!rows++) block = qsr_figure_block(f, "%s: %s, l0, interval", s->series[series].label, parameter);
        if (isnan(half)) half = 0;
        const double row[] = {at, l0.mean, fmax(l0.mean - half, x->y_low), fmin(l0.mean + half, x->y_high)};
        qsr_figure_row(f, row, 4);
    }
    if (!rows) return;
    const char *colour = qsr_figure_colour(series);
    qsr_figure_draw(f, block, NULL, "using 1:3:(0):($4-$3) " QSR_FIGURE_BARS " lc rgb '%s'", colour);
    qsr_figure_draw(f, block, s->series[series].label, "using 1:2 with %s pt %u ps 0.8 lw 1.5 dt %d lc rgb '%s'",
                    curve ? "linespoints" : "points", qsr_figure_mark(series), s->series[series].published ? 2 : 1, colour);
}

void qsr_figure_afa(const qsr_study *s, const char *parameter, const char *name, qsr_figure *f)
{
    extent x = {INFINITY, -INFINITY, INFINITY, -INFINITY, 0};
    size_t longest = 0, n = 0;
    qsr_text title = {0};
    qsr_text_add(&title, "L0 of top-AFA over %s", qsr_metric_label(parameter));
    qsr_figure_begin(f, name, 480, 340, title.bytes);
    qsr_text_free(&title);
    for (size_t i = 0; i < s->n_settings; i++) {
        qsr_summary l0 = qsr_study_summary(s, &s->settings[i], "l0");
        double at = place_of(s, &s->settings[i], parameter);
        if (is_topafa(s, &s->settings[i]) && l0.n && !isnan(at)) widen(&x, at, &l0);
    }
    if (!x.n) {
        qsr_text_add(&f->missing, "No completed run has the activation topafa and %s.", parameter);
        return;
    }
    if (x.low == x.high && !qsr_starts_with(parameter, "losses.")) {
        qsr_text_add(&f->missing, "All runs of top-AFA have %s = %g, so there is no curve over it.", parameter, x.low);
        return;
    }
    for (size_t i = 0; i < s->n_series; i++)
        if (strstr(s->series[i].label, "topafa")) {
            size_t length = strlen(s->series[i].label);
            n++;
            if (length > longest) longest = length;
        }
    qsr_figure_set_text(f, "xlabel", qsr_metric_label(parameter));
    qsr_figure_set_text(f, "ylabel", "L0");
    qsr_figure_range(f, "x", x.low, x.high, x.low > 0 && x.high / x.low > 3);
    qsr_figure_range(f, "y", x.y_low, x.y_high, x.y_low > 0 && x.y_high / x.y_low > 10);
    qsr_figure_key(f, n, longest);
    for (size_t i = 0; i < s->n_series; i++) draw_series(s, i, parameter, &x, f);
    qsr_text_add(&f->caption,
                 "top-AFA has no k: how many latents it keeps is a result. Means over seeds with 95 %% intervals.%s",
                 x.low == x.high ? " Only one value was tried." : "");
}

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/figures.h"
#include "report/gnuplot.h"

static const double WIDEST = 0.42; /* of a half, where two neighbours are 1 apart */

typedef struct {
    const qsr_violin *items;
    size_t n;
    bool
        upright; /* values upwards, items side by side: for short labels; else values to the right, items below each other */
    qsr_figure *figure;
} violins;

typedef struct {
    const char *name, *axes[2]; /* across, upright */
    const char *colour;
    double side;
    size_t offset; /* of the density in an item */
} half;

static const half halves[2] = {{"NMSE", {"x1y1", "x1y1"}, "#0072b2", -1, offsetof(qsr_violin, nmse)},
                               {"ε-LBO", {"x2y1", "x1y2"}, "#d55e00", 1, offsetof(qsr_violin, epsilon)}};

static const qsr_density *density_of(const qsr_violin *item, const half *h)
{
    return (const qsr_density *)(const void *)((const char *)item + h->offset);
}

qsr_violin qsr_violin_of(const char *label, const qsr_token_layer *layer, uint64_t d_sae)
{
    qsr_violin v = {.label = label};
    double *values = qsr_xcalloc(layer->n + 1, sizeof *values);
    qsr_density_of(values, qsr_token_values(layer, QSR_TOKEN_NMSE, d_sae, values), &v.nmse);
    qsr_density_of(values, qsr_token_values(layer, QSR_TOKEN_EPSILON_LBO, d_sae, values), &v.epsilon);
    free(values);
    return v;
}

static void put(const violins *v, double place, double value)
{
    const double row[] = {v->upright ? place : value, v->upright ? value : place};
    qsr_figure_row(v->figure, row, 2);
}

/* ---- a half ---------------------------------------------------------------------------------------------------------------- */

static void draw_outline(const violins *v, const half *h, size_t item)
{
    const qsr_density *d = density_of(&v->items[item], h);
    double place = (double)item + 1;
    size_t block = qsr_figure_block(v->figure, "%s of %s: outline", h->name, v->items[item].label);
    put(v, place, d->at[0]);
    for (size_t i = 0; i < QSR_DENSITY_POINTS; i++) put(v, place + h->side * WIDEST * d->height[i] / d->highest, d->at[i]);
    put(v, place, d->at[QSR_DENSITY_POINTS - 1]);
    qsr_figure_draw(
        v->figure, block, item == 0 ? h->name : NULL,
        "using 1:2 axes %s with filledcurves closed fillcolor rgb '%s' fillstyle transparent solid 0.55 noborder",
        h->axes[v->upright], h->colour);
}

/* Vectors without heads: lines of their own, however many. */
static void draw_medians(const violins *v, const half *h)
{
    size_t block = qsr_figure_block(v->figure, "%s: medians", h->name);
    for (size_t i = 0; i < v->n; i++) {
        const qsr_density *d = density_of(&v->items[i], h);
        if (!d->n) continue;
        double across = h->side * WIDEST, place = (double)i + 1;
        const double upright[] = {place, d->median, across, 0}, lying[] = {d->median, place, 0, across};
        qsr_figure_row(v->figure, v->upright ? upright : lying, 4);
    }
    qsr_figure_draw(v->figure, block, NULL, "using 1:2:3:4 axes %s with vectors nohead lw 2 lc rgb '%s'",
                    h->axes[v->upright], h->colour);
}

/* The smallest (best) or largest median; n: none has one. */
static size_t find_extreme(const violins *v, const half *h, double sign)
{
    size_t found = v->n;
    for (size_t i = 0; i < v->n; i++) {
        const qsr_density *d = density_of(&v->items[i], h);
        if (d->n && (found == v->n || sign * d->median < sign * density_of(&v->items[found], h)->median)) found = i;
    }
    return found;
}

static void draw_extreme(const violins *v, const half *h, bool best)
{
    size_t item = find_extreme(v, h, best ? 1 : -1);
    if (item == v->n || v->n < 2) return;
    size_t block = qsr_figure_block(v->figure, "%s: the %s median", h->name, best ? "best" : "worst");
    put(v, (double)item + 1 + h->side * WIDEST / 2, density_of(&v->items[item], h)->median);
    const char *title = best ? "best median" : "worst median";
    qsr_figure_draw(v->figure, block, h->side < 0 ? title : NULL,
                    "using 1:2 axes %s with points pt %d ps 1.1 lc rgb 'black'", h->axes[v->upright], best ? 7 : 6);
}

static void draw_half(const violins *v, const half *h)
{
    double low = INFINITY, high = 0;
    static const char *const axes[2][2] = {{"x", "x2"}, {"y", "y2"}};
    const char *axis = axes[v->upright][h->side > 0];
    char what[16];
    for (size_t i = 0; i < v->n; i++) {
        const qsr_density *d = density_of(&v->items[i], h);
        if (!d->n) continue;
        low = fmin(low, d->at[0]);
        high = fmax(high, d->at[QSR_DENSITY_POINTS - 1]);
    }
    qsr_figure_range(v->figure, axis, low, high, true);
    snprintf(what, sizeof what, "%slabel", axis);
    qsr_figure_set_text(v->figure, what, h->name);
    qsr_figure_set(v->figure, "set %stics nomirror", axis);
    for (size_t i = 0; i < v->n; i++)
        if (density_of(&v->items[i], h)->n) draw_outline(v, h, i);
    draw_medians(v, h);
}

/* ---- the figure -------------------------------------------------------------------------------------------------------------- */

/* The label of a tic is a format to gnuplot: a percent sign is two. */
static void put_tic_label(qsr_text *out, const char *label)
{
    qsr_text doubled = {0};
    qsr_text_puts(&doubled, "");
    for (const char *c = label; *c; c++) qsr_text_append(&doubled, *c == '%' ? "%%" : c, *c == '%' ? 2 : 1);
    qsr_gnuplot_quote(out, doubled.bytes);
    qsr_text_free(&doubled);
}

static void put_names(const violins *v)
{
    qsr_figure *f = v->figure;
    const char *axis = v->upright ? "x" : "y";
    qsr_figure_set(f, "set %stics noenhanced", axis);
    for (size_t i = 0; i < v->n; i++) {
        qsr_text_add(&f->script, "set %stics %s(", axis, i ? "add " : "");
        put_tic_label(&f->script, v->items[i].label);
        qsr_text_add(&f->script, " %zu)\n", i + 1);
    }
    if (v->upright)
        qsr_figure_set(f, "set xrange [0.3:%.1f]", (double)v->n + 0.7);
    else
        qsr_figure_set(f, "set yrange [%.1f:0.3]", (double)v->n + 0.7);
}

static void explain(const violins *v, bool layers)
{
    qsr_text *c = &v->figure->caption;
    qsr_text_puts(c, "Densities over tokens, on logarithmic axes (Gaussian kernel, Silverman's bandwidth, tails beyond 0.1 "
                     "% cut); lines "
                     "are medians.");
    for (size_t h = 0; v->n > 1 && h < 2; h++) {
        size_t best = find_extreme(v, &halves[h], 1), worst = find_extreme(v, &halves[h], -1);
        if (best == v->n) continue;
        qsr_text_add(c, " %s: best %s%s, median %.3g; worst %s%s, %.3g.", halves[h].name, layers ? "layer " : "",
                     v->items[best].label, density_of(&v->items[best], &halves[h])->median, layers ? "layer " : "",
                     v->items[worst].label, density_of(&v->items[worst], &halves[h])->median);
    }
}

static bool has_some(const qsr_violin *items, size_t n)
{
    bool some[2] = {false, false};
    for (size_t i = 0; i < n; i++)
        for (size_t h = 0; h < 2; h++) some[h] = some[h] || density_of(&items[i], &halves[h])->n;
    return some[0] && some[1];
}

void qsr_figure_violin(const qsr_violin *items, size_t n, bool layers, const char *name, qsr_figure *f)
{
    violins v = {items, n, true, f};
    for (size_t i = 0; i < n; i++) v.upright = v.upright && strlen(items[i].label) <= 4;
    if (n > 16) v.upright = false;
    qsr_figure_begin(f, name, v.upright ? 640 : 480, v.upright ? 420 : 130 + 46 * (unsigned)n,
                     layers ? "NMSE against ε-LBO per layer" : "NMSE against ε-LBO per setting");
    if (!has_some(items, n)) {
        qsr_text_puts(&f->missing,
                      "No token has both an error and a feature above zero, so there are no densities to draw.");
        return;
    }
    put_names(&v);
    if (layers && v.upright) qsr_figure_set_text(f, "xlabel", "layer");
    qsr_figure_key(f, n > 1 ? 4 : 2, 12);
    for (size_t h = 0; h < 2; h++) draw_half(&v, &halves[h]);
    for (size_t h = 0; h < 2; h++) draw_extreme(&v, &halves[h], true);
    for (size_t h = 0; h < 2; h++) draw_extreme(&v, &halves[h], false);
    explain(&v, layers);
}

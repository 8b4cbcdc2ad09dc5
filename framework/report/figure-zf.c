#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/figures.h"

enum { FINEST = 96 }; /* cells across */

typedef struct {
    double x, y; /* sums of log10 */
    uint64_t n;
} cell;

typedef struct {
    double low, high; /* of ‖z‖ and ‖f̃‖ alike */
} bounds;

/* Tokens without a feature have no place on a logarithmic axis. */
static bool is_drawn(const qsr_token *t) { return t->ztz > 0 && t->ftf > 0; }

static bounds find_bounds(const qsr_token_table *tokens, size_t *ret_drawn)
{
    bounds b = {INFINITY, 0};
    *ret_drawn = 0;
    for (size_t l = 0; l < tokens->n_layers; l++)
        for (size_t i = 0; i < tokens->layers[l].n; i++) {
            const qsr_token *t = &tokens->layers[l].kept[i];
            if (!is_drawn(t)) continue;
            b.low = fmin(b.low, sqrt(fmin(t->ztz, t->ftf)));
            b.high = fmax(b.high, sqrt(fmax(t->ztz, t->ftf)));
            ++*ret_drawn;
        }
    return b;
}

/* ---- points -------------------------------------------------------------------------------------------------------------- */

/* The same place in any run of the same data: cells are cut by the data's own bounds. */
static size_t fill_cells(const qsr_token_layer *layer, bounds b, size_t across, cell *cells)
{
    double low = log10(b.low), width = fmax(log10(b.high) - low, 1e-6) * (1 + 1e-9) / (double)across;
    size_t filled = 0;
    memset(cells, 0, across * across * sizeof *cells);
    for (size_t i = 0; i < layer->n; i++) {
        const qsr_token *t = &layer->kept[i];
        if (!is_drawn(t)) continue;
        double x = log10(t->ztz) / 2, y = log10(t->ftf) / 2;
        size_t column = (size_t)fmax((x - low) / width, 0), row = (size_t)fmax((y - low) / width, 0);
        if (column >= across) column = across - 1;
        if (row >= across) row = across - 1;
        cell *c = &cells[row * across + column];
        filled += c->n == 0;
        c->x += x;
        c->y += y;
        c->n++;
    }
    return filled;
}

/* As fine as the limit of points allows; 0: every token is a point. */
static size_t choose_across(const qsr_token_table *tokens, bounds b, size_t drawn, cell *cells)
{
    if (drawn <= QSR_FIGURE_POINTS) return 0;
    for (size_t across = FINEST; across > 4; across -= 4) {
        size_t filled = 0;
        for (size_t l = 0; l < tokens->n_layers; l++) filled += fill_cells(&tokens->layers[l], b, across, cells);
        if (filled <= QSR_FIGURE_POINTS) return across;
    }
    return 4;
}

static void put_points(const qsr_token_layer *layer, qsr_figure *f)
{
    for (size_t i = 0; i < layer->n; i++)
        if (is_drawn(&layer->kept[i])) {
            const double row[] = {sqrt(layer->kept[i].ztz), sqrt(layer->kept[i].ftf), 0.4};
            qsr_figure_row(f, row, 3);
        }
}

/* The mean of a cell's tokens, as large as they are many. */
static void put_cells(const cell *cells, size_t across, qsr_figure *f)
{
    for (size_t i = 0; i < across * across; i++) {
        if (!cells[i].n) continue;
        double n = (double)cells[i].n;
        const double row[] = {pow(10, cells[i].x / n), pow(10, cells[i].y / n), fmin(0.25 + 0.12 * log2(n), 1.2), n};
        qsr_figure_row(f, row, 4);
    }
}

/* From blue over violet to orange with the depth; one layer is blue. */
static void layer_colour(size_t layer, size_t n, char *out, size_t size)
{
    static const double stops[3][3] = {{0, 114, 178}, {204, 121, 167}, {230, 159, 0}};
    double at = n > 1 ? 2.0 * (double)layer / (double)(n - 1) : 0, part = at < 1 ? at : at - 1;
    const double *from = stops[at < 1 ? 0 : 1], *to = stops[at < 1 ? 1 : 2];
    unsigned rgb[3];
    for (int i = 0; i < 3; i++) rgb[i] = (unsigned)(from[i] + part * (to[i] - from[i]) + 0.5) & 0xffu;
    snprintf(out, size, "#%02x%02x%02x", rgb[0], rgb[1], rgb[2]);
}

static size_t draw_layers(const qsr_token_table *tokens, bounds b, size_t drawn, qsr_figure *f)
{
    cell *cells = qsr_xcalloc(FINEST * FINEST, sizeof *cells);
    size_t across = choose_across(tokens, b, drawn, cells);
    for (size_t l = 0; l < tokens->n_layers; l++) {
        char colour[16], title[64];
        const qsr_token_layer *layer = &tokens->layers[l];
        layer_colour(l, tokens->n_layers, colour, sizeof colour);
        size_t block = qsr_figure_block(
            f, across ? "layer %s: ||z||, ||f~||, size, tokens" : "layer %s: ||z||, ||f~||, size", layer->layer);
        if (across) {
            fill_cells(layer, b, across, cells);
            put_cells(cells, across, f);
        } else {
            put_points(layer, f);
        }
        snprintf(title, sizeof title, "layer %s", layer->layer);
        qsr_figure_draw(f, block, tokens->n_layers > 1 ? title : NULL,
                        "using 1:2:3 with points pt 7 ps variable lc rgb '%s'", colour);
    }
    free(cells);
    return across;
}

/* ---- bounds ---------------------------------------------------------------------------------------------------------------- */

static const struct {
    double pairs; /* ε(h−1) */
    const char *text, *dash;
    bool minus;
} lines[] = {{0, "", "1", false}, {0.25, "1/4", "2", true}, {0.5, "1/2", "4", true}, {1, "1", "3", false}};

static void put_line(qsr_figure *f, bounds b, double slope)
{
    const double low[] = {b.low, b.low * slope}, high[] = {b.high, b.high * slope};
    qsr_figure_row(f, low, 2);
    qsr_figure_row(f, high, 2);
}

static void draw_bounds(uint64_t d_sae, bounds b, bool several, qsr_figure *f)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char title[96] = "‖f̃‖ = ‖z‖";
        size_t block =
            qsr_figure_block(f, "epsilon (h - 1) = %g: ||f~|| = ||z|| sqrt(1 / (1 + epsilon (h - 1)))", lines[i].pairs);
        put_line(f, b, sqrt(1 / (1 + lines[i].pairs)));
        if (lines[i].pairs > 0 && d_sae > 1 && several)
            snprintf(title, sizeof title, "ε = %.3g", lines[i].pairs / ((double)d_sae - 1));
        else if (lines[i].pairs > 0 && d_sae > 1)
            snprintf(title, sizeof title, "ε(h−1) = %s, ε = %.3g", lines[i].text, lines[i].pairs / ((double)d_sae - 1));
        else if (lines[i].pairs > 0)
            snprintf(title, sizeof title, "ε(h−1) = %s", lines[i].text);
        const char *colour = lines[i].pairs > 0 ? "#888888" : "black";
        qsr_figure_draw(f, block, title, "using 1:2 with lines lw 1.5 dt %s lc rgb '%s'", lines[i].dash, colour);
        if (!lines[i].minus) continue;
        block = qsr_figure_block(f, "epsilon (h - 1) = -%g", lines[i].pairs);
        put_line(f, b, sqrt(1 / (1 - lines[i].pairs)));
        qsr_figure_draw(f, block, NULL, "using 1:2 with lines lw 1.5 dt %s lc rgb '%s'", lines[i].dash, colour);
    }
}

/* ---- words ------------------------------------------------------------------------------------------------------------------ */

static double share_within(const qsr_token_table *tokens, double pairs)
{
    size_t within = 0, all = 0;
    for (size_t l = 0; l < tokens->n_layers; l++)
        for (size_t i = 0; i < tokens->layers[l].n; i++) {
            const qsr_token *t = &tokens->layers[l].kept[i];
            all++;
            within += t->ftf > 0 && fabs((double)t->ztz - t->ftf) <= pairs * t->ftf;
        }
    return all ? 100.0 * (double)within / (double)all : 0;
}

static void explain(const qsr_token_table *tokens, uint64_t d_sae, const char *label, size_t across, qsr_figure *f)
{
    uint64_t count = 0, left_out = 0, without = 0;
    bool sample = false;
    for (size_t l = 0; l < tokens->n_layers; l++) {
        count += tokens->layers[l].count;
        left_out += tokens->layers[l].left_out;
        sample = sample || tokens->layers[l].n < tokens->layers[l].count;
        for (size_t i = 0; i < tokens->layers[l].n; i++) without += !is_drawn(&tokens->layers[l].kept[i]);
    }
    qsr_text *c = &f->caption;
    qsr_text_add(c, "%s%s%llu tokens%s. ", label ? label : "", label && *label ? ": " : "", (unsigned long long)count,
                 tokens->n_layers > 1 ? ", coloured by layer" : "");
    qsr_text_add(
        c,
        "Nearly orthogonal features would put every token on the line ‖f̃‖ = ‖z‖; %.1f %% are within ε(h−1) ≤ 1/4, %.1f %% "
        "within 1/2, %.1f %% within 1.",
        share_within(tokens, 0.25), share_within(tokens, 0.5), share_within(tokens, 1));
    if (d_sae > 1)
        qsr_text_add(c, " The bounds are at ε = %.3g, %.3g and %.3g.", 0.25 / ((double)d_sae - 1),
                     0.5 / ((double)d_sae - 1), 1 / ((double)d_sae - 1));
    if (across) qsr_text_puts(c, " A point stands for all tokens near it, the larger the more.");
    if (sample) qsr_text_add(c, " Drawn from a sample of %d tokens per layer.", QSR_TOKENS_KEPT);
    if (without) qsr_text_add(c, " Tokens without an active feature are not drawn: %llu.", (unsigned long long)without);
    if (left_out)
        qsr_text_add(c, " Tokens with numbers that are not finite are left out: %llu.", (unsigned long long)left_out);
}

void qsr_figure_zf(const qsr_token_table *tokens, uint64_t d_sae, const char *name, const char *label, qsr_figure *f)
{
    size_t drawn;
    bounds b = find_bounds(tokens, &drawn);
    bool several = tokens->n_layers > 1;
    qsr_figure_begin(f, name, several ? 560 : 480, several ? 440 : 400,
                     "ZF plot: norm of the hidden state against norm of its features");
    if (!drawn) {
        qsr_text_puts(&f->missing, "No token has an active feature, so there is nothing to draw.");
        return;
    }
    qsr_figure_set_text(f, "xlabel", "‖z‖");
    qsr_figure_set_text(f, "ylabel", "‖f̃‖");
    qsr_figure_range(f, "x", b.low, b.high, true);
    qsr_figure_range(f, "y", b.low, b.high, true);
    if (several)
        qsr_figure_set(f, "set key outside right center vertical Left reverse");
    else
        qsr_figure_key(f, 4, 28);
    size_t across = draw_layers(tokens, b, drawn, f);
    draw_bounds(d_sae, b, several, f);
    explain(tokens, d_sae, label, across, f);
}

#include "report/figure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "report/gnuplot.h"

enum { PICTURE_BYTES = 64 << 20 };
static const double PICTURE_S = 60; /* gnuplot takes well under a second */

void qsr_figure_begin(qsr_figure *f, const char *name, unsigned width, unsigned height, const char *title)
{
    *f = (qsr_figure){.width = width, .height = height};
    snprintf(f->name, sizeof f->name, "%s", name);
    qsr_text_puts(&f->title, title);
    qsr_text_puts(&f->caption, "");
    qsr_text_puts(&f->script, "");
}

void qsr_figure_free(qsr_figure *f)
{
    qsr_text *const texts[] = {&f->title, &f->caption, &f->missing, &f->script, &f->table, &f->elements};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) qsr_text_free(texts[i]);
    *f = (qsr_figure){0};
}

bool qsr_figure_drawn(const qsr_figure *f) { return f->blocks && !f->missing.length; }

/* ---- the script -------------------------------------------------------------------------------------------------------- */

void qsr_figure_set(qsr_figure *f, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    qsr_text_puts(&f->script, text);
    qsr_text_puts(&f->script, "\n");
}

void qsr_figure_set_text(qsr_figure *f, const char *what, const char *text)
{
    qsr_text_add(&f->script, "set %s ", what);
    qsr_gnuplot_quote(&f->script, text);
    qsr_text_puts(&f->script, strcmp(what, "xlabel") == 0 ? " noenhanced offset 0,0.4\n" : " noenhanced\n");
}

double qsr_figure_step(double length, double n)
{
    double step = pow(10, floor(log10(length / n))), scale = length / n / step;
    return step * (scale < 1.5 ? 1 : scale < 3.5 ? 2 : scale < 7.5 ? 5 : 10);
}

static void put_tic(qsr_figure *f, double value, size_t *n)
{
    qsr_text_add(&f->script, "%s%.6g", (*n)++ ? ", " : "", value);
}

/* gnuplot labels whole decades alone, of which a short range has none. */
static void set_short_tics(qsr_figure *f, const char *axis, double low, double high)
{
    size_t n = 0;
    qsr_text_add(&f->script, "set %stics (", axis);
    if (high / low < 5) {
        double step = qsr_figure_step(high - low, 4);
        for (double i = ceil(low / step); i * step <= high; i++) put_tic(f, i * step, &n);
    } else {
        for (int decade = (int)floor(log10(low)); pow(10, decade) <= high; decade++)
            for (int digit = 1; digit <= 5; digit += digit == 1 ? 1 : 3)
                if (digit * pow(10, decade) >= low && digit * pow(10, decade) <= high)
                    put_tic(f, digit * pow(10, decade), &n);
    }
    qsr_text_puts(&f->script, ")\n");
}

static void set_log_tics(qsr_figure *f, const char *axis, double low, double high)
{
    qsr_figure_set(f, "set logscale %s", axis);
    if (high / low < 100) set_short_tics(f, axis, low, high);
    bool plain = low >= 1e-3 && high < 1e5;
    qsr_figure_set(f, "set format %s '%s'", axis, plain || high / low < 100 ? "%g" : "10^{%T}");
}

void qsr_figure_range(qsr_figure *f, const char *axis, double low, double high, bool logarithmic)
{
    double room;
    if (!(low <= high)) low = high = 1;
    if (logarithmic) {
        room = pow(high / low, 0.04);
        if (room < 1.05) room = 1.05;
        low /= room;
        high *= room;
        set_log_tics(f, axis, low, high);
    } else {
        room = high > low ? 0.04 * (high - low) : 0.1 * fabs(high);
        if (low == 0 && high == 0) high = 1, room = 0.04;
        low -= room;
        high += room;
    }
    qsr_figure_set(f, "set %srange [%.6g:%.6g]", axis, low, high);
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

/* gnuplot counts blocks that have a row. */
static void end_block(qsr_figure *f)
{
    if (f->blocks && !f->rows) qsr_text_puts(&f->table, "NaN\tNaN\tNaN\tNaN\n");
}

size_t qsr_figure_block(qsr_figure *f, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
    end_block(f);
    qsr_text_add(&f->table, "%s# %s\n", f->blocks ? "\n\n" : "", text);
    f->rows = 0;
    return f->blocks++;
}

void qsr_figure_row(qsr_figure *f, const double *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i) qsr_text_puts(&f->table, "\t");
        if (isfinite(values[i]))
            qsr_text_add(&f->table, "%.7g", values[i]);
        else
            qsr_text_puts(&f->table, "NaN");
    }
    qsr_text_puts(&f->table, "\n");
    f->rows++;
}

void qsr_figure_draw(qsr_figure *f, size_t block, const char *title, const char *fmt, ...)
{
    char how[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(how, sizeof how, fmt, args);
    va_end(args);
    qsr_text_add(&f->elements, "%s'%s.tsv' index %zu %s ", f->elements.length ? ", \\\n     " : "plot ", f->name, block,
                 how);
    if (title) {
        qsr_text_puts(&f->elements, "title ");
        qsr_gnuplot_quote(&f->elements, title);
        qsr_text_puts(&f->elements, " noenhanced");
    } else {
        qsr_text_puts(&f->elements, "notitle");
    }
}

void qsr_figure_flush(qsr_figure *f)
{
    if (f->elements.length) qsr_text_add(&f->script, "%s\n", f->elements.bytes);
    f->elements.length = 0;
}

const char *qsr_figure_colour(size_t index)
{
    static const char *const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                          "#e69f00", "#56b4e9", "#8c6bb1", "#7f7f7f"};
    return colours[index % (sizeof colours / sizeof *colours)];
}

unsigned qsr_figure_mark(size_t index)
{
    static const unsigned marks[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};
    return marks[index % (sizeof marks / sizeof *marks)];
}

/* ---- pictures ---------------------------------------------------------------------------------------------------------- */

const char *qsr_picture_ending(qsr_picture picture)
{
    static const char *const endings[] = {"svg", "pdf", "png"};
    return endings[picture];
}

/* No mouse: a picture is self-contained, and no scripts in it. Texts are marked noenhanced one by one, so that names with '_' are what
 * they are while powers of ten are typeset. */
static void put_terminal(const qsr_figure *f, qsr_picture picture, qsr_text *out)
{
    switch (picture) {
    case QSR_PICTURE_SVG:
        qsr_text_add(out, "set terminal svg size %u,%u dynamic font 'sans-serif,14' enhanced\n", f->width, f->height);
        break;
    case QSR_PICTURE_PDF: /* inches of 96 CSS pixels */
        qsr_text_add(out, "set terminal pdfcairo size %.4gin,%.4gin font 'sans,10' enhanced\n", f->width / 96.0,
                     f->height / 96.0);
        break;
    case QSR_PICTURE_PNG:
        qsr_text_add(out, "set terminal pngcairo size %u,%u font 'sans,10' fontscale 2 linewidth 2 pointscale 2 enhanced\n",
                     2 * f->width, 2 * f->height);
        break;
    }
}

/* One line, whatever is in the text: what stands behind a line end would be a command. */
static void put_comment(qsr_text *out, const char *text)
{
    qsr_text_puts(out, "# ");
    for (; *text; text++) {
        char c = (unsigned char)*text < 0x20 || *text == 0x7f ? ' ' : *text;
        qsr_text_append(out, &c, 1);
    }
    qsr_text_puts(out, "\n");
}

void qsr_figure_script(const qsr_figure *f, qsr_picture picture, qsr_text *out)
{
    put_comment(out, f->title.bytes);
    qsr_text_add(out, "# Made by quasar; `gnuplot %s.gp` draws %s.tsv into %s.%s.\n", f->name, f->name, f->name,
                 qsr_picture_ending(picture));
    qsr_text_puts(out, "set encoding utf8\n");
    put_terminal(f, picture, out);
    qsr_text_add(out, "set output '%s.%s'\n", f->name, qsr_picture_ending(picture));
    qsr_text_puts(out, "set border linecolor rgb 'black'\nset grid linecolor rgb '#888888' linewidth 0.5 dashtype 3\n"
                       "set tics nomirror\nset key noenhanced samplen 1.5 spacing 1.1\n");
    qsr_text_puts(out, f->script.bytes);
    if (f->elements.length) qsr_text_add(out, "%s\n", f->elements.bytes);
}

qsr_status qsr_figure_keep(const qsr_figure *f, const char *folder, qsr_picture picture, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_text script = {0};
    qsr_figure_script(f, picture, &script);
    qsr_status status = qsr_mkdirs(folder, e);
    if (!status)
        status = qsr_write_file(qsr_arena_printf(&arena, "%s/%s.gp", folder, f->name), script.bytes, script.length, e);
    if (!status)
        status = qsr_write_file(qsr_arena_printf(&arena, "%s/%s.tsv", folder, f->name), f->table.bytes, f->table.length, e);
    qsr_text_free(&script);
    qsr_arena_free(&arena);
    return status;
}

static qsr_status draw_in(const qsr_figure *f, const char *folder, qsr_picture picture, qsr_text *ret, qsr_error *e)
{
    qsr_arena arena = {0};
    char *bytes;
    size_t n;
    qsr_status status = qsr_figure_keep(f, folder, picture, e);
    if (!status) status = qsr_gnuplot_run(folder, qsr_arena_printf(&arena, "%s.gp", f->name), PICTURE_S, e);
    if (!status)
        status = qsr_read_file(&arena, qsr_arena_printf(&arena, "%s/%s.%s", folder, f->name, qsr_picture_ending(picture)),
                               PICTURE_BYTES, &bytes, &n, e);
    if (!status) qsr_text_append(ret, bytes, n);
    qsr_arena_free(&arena);
    return status;
}

qsr_status qsr_figure_picture(const qsr_figure *f, qsr_picture picture, qsr_text *ret, qsr_error *e)
{
    const char *place = getenv("TMPDIR");
    qsr_arena arena = {0};
    char *folder = qsr_arena_printf(&arena, "%s/quasar-figure.XXXXXX", place && *place ? place : "/tmp");
    qsr_status status = mkdtemp(folder) ? QSR_OK : qsr_fail_errno(e, "create folder", folder);
    if (!status) {
        status = draw_in(f, folder, picture, ret, e);
        qsr_remove_tree(folder, NULL);
    }
    qsr_arena_free(&arena);
    return status;
}

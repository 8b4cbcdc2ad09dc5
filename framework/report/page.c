#include "report/page.h"

#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "report/gnuplot.h"
#include "report/html.h"
#include "report/page-parts.h"
#include "report/svg.h"

/* ---- pieces --------------------------------------------------------------------------------------------------------------- */

void qsr_page_section(qsr_page *p, const char *id, const char *title)
{
    qsr_text_puts(p->out, p->in_section ? "</section>\n" : "");
    p->in_section = true;
    qsr_text_add(p->out, "<section id=\"%s\">\n<h2>", id);
    qsr_html_text(p->out, title);
    qsr_text_puts(p->out, "</h2>\n");
}

void qsr_page_paragraph(qsr_page *p, const char *text)
{
    qsr_text_puts(p->out, "<p>");
    qsr_html_text(p->out, text);
    qsr_text_puts(p->out, "</p>\n");
}

void qsr_page_figures_begin(qsr_page *p) { qsr_text_puts(p->out, "<div class=\"figures\">\n"); }
void qsr_page_figures_end(qsr_page *p) { qsr_text_puts(p->out, "</div>\n"); }

static const char *skip_blanks(const qsr_text *text) { return text->bytes ? text->bytes + strspn(text->bytes, " ") : ""; }

static void put_missing(qsr_page *p, const char *why)
{
    qsr_text_puts(p->out, "<p class=\"missing\">");
    qsr_html_text(p->out, why);
    qsr_text_puts(p->out, "</p>\n");
}

static void put_picture(qsr_page *p, const qsr_figure *f)
{
    qsr_text bytes = {0};
    qsr_error e = {0};
    qsr_status status = qsr_figure_picture(f, QSR_PICTURE_SVG, &bytes, &e);
    if (!status) status = qsr_svg_inline(bytes.bytes, bytes.length, f->name, f->title.bytes, p->out, &e);
    qsr_text_free(&bytes);
    if (status) {
        p->told.failed_figures++;
        qsr_log(QSR_LOG_WARNING, "the figure '%s' could not be drawn: %s", f->name, e.text);
        put_missing(p, e.text);
    } else {
        p->told.figures++;
    }
}

void qsr_page_figure(qsr_page *p, qsr_figure *f)
{
    qsr_error e = {0};
    qsr_text_add(p->out, "<figure id=\"figure-%s\">\n<h3>", f->name);
    qsr_html_text(p->out, f->title.bytes);
    qsr_text_puts(p->out, "</h3>\n");
    if (!qsr_figure_drawn(f)) {
        put_missing(p, f->missing.length ? f->missing.bytes : "There is nothing to draw.");
    } else {
        if (p->request->keep && qsr_figure_keep(f, p->request->keep, QSR_PICTURE_SVG, &e))
            qsr_log(QSR_LOG_WARNING, "%s", e.text);
        if (p->can_draw)
            put_picture(p, f);
        else
            put_missing(p, "Not drawn: gnuplot is not installed.");
        qsr_text_puts(p->out, "<figcaption>");
        qsr_html_text(p->out, skip_blanks(&f->caption));
        qsr_text_puts(p->out, "</figcaption>\n");
    }
    qsr_text_puts(p->out, "</figure>\n");
    qsr_figure_free(f);
}

/* ---- the frame of the page ------------------------------------------------------------------------------------------------- */

static void put_lines(qsr_text *out, const char *const *lines)
{
    for (; *lines; lines++) qsr_text_add(out, "%s\n", *lines);
}

static void put_title(qsr_page *p)
{
    qsr_arena arena = {0};
    const char *name = qsr_path_base(qsr_path_absolute(&arena, p->request->folder));
    if (p->request->title)
        qsr_html_text(p->out, p->request->title);
    else
        qsr_html_add(p->out, "Sparse autoencoders in %s", *name ? name : "/");
    qsr_arena_free(&arena);
}

static void put_head(qsr_page *p)
{
    qsr_text_puts(p->out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    put_title(p);
    qsr_text_puts(p->out, "</title>\n<style>\n");
    put_lines(p->out, qsr_page_style);
    qsr_text_puts(p->out, "</style>\n</head>\n<body>\n<header>\n<h1>");
    put_title(p);
    qsr_text_add(p->out, "</h1>\n<p class=\"soft\">A report by quasar %s.</p>\n", PACKAGE_VERSION);
}

static void put_links(qsr_page *p)
{
    static const char *const links[][2] = {
        {"about", "What was run"}, {"settings", "Results"},        {"figures", "Over L0"},
        {"training", "Training"},  {"geometry", "Geometry"},       {"sparsity", "Sparsity"},
        {"latents", "Latents"},    {"evaluations", "Evaluations"}, {"reproduce", "Reproduce"}};
    qsr_text_puts(p->out, "<nav>");
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (p->study.n_settings || strcmp(links[i][0], "evaluations") == 0)
            qsr_text_add(p->out, "<a href=\"#%s\">%s</a> ", links[i][0], links[i][1]);
    qsr_text_puts(p->out, "</nav>\n</header>\n<main>\n");
    if (!p->can_draw)
        put_missing(p, "Figures are missing: gnuplot is not installed where this report was made (Debian: gnuplot-nox). "
                       "The tables are complete.");
}

static void put_body(qsr_page *p)
{
    if (p->study.n_settings) {
        qsr_page_about(p);
        qsr_page_settings(p);
        qsr_page_results(p);
        qsr_page_training(p);
        qsr_page_geometry(p);
        qsr_page_sparsity(p);
        qsr_page_latents(p);
    }
    qsr_page_evaluations(p);
    if (p->study.n_settings) qsr_page_reproduce(p);
}

static qsr_status open_study(qsr_page *p, qsr_error *e)
{
    const qsr_page_request *r = p->request;
    qsr_status status = qsr_study_open(r->folder, r->overlays, r->conditions, &p->study, e);
    if (qsr_is_folder(r->folder)) qsr_evaluations_read(r->folder, &p->evaluations);
    bool alone = status == QSR_E_INPUT && p->evaluations.count && !(r->overlays && *r->overlays) &&
                 !(r->conditions && *r->conditions);
    return alone ? QSR_OK : status; /* SAEs from elsewhere that were evaluated, and nothing was trained */
}

qsr_status qsr_page_make(const qsr_page_request *request, qsr_text *out, qsr_page_summary *ret, qsr_error *e)
{
    qsr_page p = {.request = request, .out = out, .can_draw = qsr_gnuplot_present()};
    qsr_status status = open_study(&p, e);
    if (!status && request->keep) status = qsr_mkdirs(request->keep, e);
    if (!status) {
        put_head(&p);
        put_links(&p);
        put_body(&p);
        qsr_text_puts(out, p.in_section ? "</section>\n" : "");
        qsr_text_puts(out, "</main>\n<script>\n");
        put_lines(out, qsr_page_script);
        qsr_text_puts(out, "</script>\n</body>\n</html>\n");
        p.told.no_gnuplot = !p.can_draw;
        p.told.settings = p.study.n_settings;
        p.told.evaluations = p.evaluations.count;
        for (size_t i = 0; i < p.study.frame.n_rows; i++) p.told.runs += !p.study.frame.rows[i].published;
        *ret = p.told;
    }
    qsr_study_free(&p.study);
    qsr_evaluations_free(&p.evaluations);
    return status;
}

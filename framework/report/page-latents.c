#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "report/contexts.h"
#include "report/html.h"
#include "report/page-parts.h"

enum { MOST_RUNS = 3, MOST_METRICS = 24, MOST_ZF = 4 };

/* ---- contexts ---------------------------------------------------------------------------------------------------------------------- */

static void put_number(qsr_text *out, const char *name, double value)
{
    if (isnan(value)) return;
    qsr_text_add(out, ", %s ", name);
    qsr_sheet_real(value, out);
}

static void put_context(qsr_page *p, const qsr_firing_context *c)
{
    qsr_text_puts(p->out, "<p class=\"context\">");
    if (c->token || c->before || c->after) {
        qsr_html_visible(p->out, c->before);
        qsr_text_puts(p->out, "<mark>");
        qsr_html_visible(p->out, c->token ? c->token : "?");
        qsr_text_puts(p->out, "</mark>");
        qsr_html_visible(p->out, c->after);
    } else if (c->token_id >= 0) {
        qsr_html_add(p->out, "token %lld", (long long)c->token_id);
    }
    qsr_text where = {0};
    if (!isnan(c->activation)) qsr_text_puts(&where, " "), qsr_sheet_real(c->activation, &where);
    if (c->unit >= 0) qsr_text_add(&where, " (unit %lld, row %lld)", (long long)c->unit, (long long)c->row);
    if (c->document) qsr_text_add(&where, " document %s", c->document);
    qsr_text_puts(p->out, " <span class=\"soft\">");
    qsr_html_visible(p->out, where.bytes);
    qsr_text_puts(p->out, "</span></p>\n");
    qsr_text_free(&where);
}

static void put_latent(qsr_page *p, const qsr_latent *l)
{
    qsr_text about = {0};
    qsr_text_add(&about, "latent %lld", (long long)l->latent);
    put_number(&about, "fires on a share of", l->frequency);
    put_number(&about, "mean activation", l->mean_activation);
    put_number(&about, "max", l->max_activation);
    put_number(&about, "cosine to its nearest", l->nearest_cosine);
    qsr_text_puts(p->out, "<h3>");
    qsr_html_text(p->out, about.bytes);
    qsr_text_puts(p->out, "</h3>\n");
    for (size_t i = 0; i < l->n; i++) put_context(p, &l->contexts[i]);
    qsr_text_free(&about);
}

static bool put_run_contexts(qsr_page *p, const char *path, const char *label, bool open)
{
    qsr_contexts c;
    if (!qsr_contexts_read(path, &c)) return false;
    qsr_text_add(p->out, "<details%s><summary>", open ? " open" : "");
    qsr_html_visible(p->out, label);
    qsr_text_add(p->out, " <span class=\"soft\">(%zu of %llu latents with contexts, drawn at random)</span></summary>\n",
                 c.n, (unsigned long long)c.of);
    for (size_t i = 0; i < c.n; i++) put_latent(p, &c.latents[i]);
    qsr_text_puts(p->out, "</details>\n");
    qsr_contexts_free(&c);
    return true;
}

void qsr_page_latents(qsr_page *p)
{
    const qsr_study *s = &p->study;
    size_t told = 0;
    qsr_page_section(p, "latents", "Latents and their strongest contexts");
    for (size_t i = 0; i < s->n_settings && told < MOST_RUNS; i++) {
        const qsr_record *record = qsr_study_example(s, &s->settings[i]);
        if (record && put_run_contexts(p, record->path, s->settings[i].label, told == 0)) told++;
    }
    if (!told) qsr_page_paragraph(p, "No run has a top_contexts.jsonl; an evaluation that keeps contexts writes it.");
}

/* ---- evaluations --------------------------------------------------------------------------------------------------------------------- */

static double measure_of(const qsr_extra_evaluation *x, const char *name)
{
    for (size_t i = 0; i < x->n_measures; i++)
        if (strcmp(x->measures[i].name, name) == 0) return x->measures[i].value;
    return NAN;
}

static size_t choose_metrics(const qsr_evaluations *all, const char **ret)
{
    static const char *const wanted[] = {"tokens",
                                         "l0",
                                         "nmse",
                                         "fvu",
                                         "explained_variance",
                                         "cosine",
                                         "l2_ratio",
                                         "silent_fraction",
                                         "epsilon_lbo_median",
                                         "norm_ratio_median",
                                         "coherence_lb_median",
                                         "token_nmse_median",
                                         "coherence_max",
                                         "mdl_bits_naive",
                                         "ce_clean",
                                         "ce_sae",
                                         "ce_recovered_zero",
                                         "ce_recovered_mean",
                                         "kl",
                                         NULL};
    size_t n = 0;
    for (const char *const *name = wanted; *name && n < MOST_METRICS; name++) {
        bool some = false;
        for (size_t i = 0; i < all->count; i++) some = some || !isnan(measure_of(&all->items[i], *name));
        if (some) ret[n++] = *name;
    }
    return n;
}

static void put_evaluation(qsr_page *p, const qsr_extra_evaluation *x, const char *const *metrics, size_t n)
{
    qsr_text_puts(p->out, "<tr><td>");
    qsr_html_visible(p->out, x->sae);
    qsr_text_puts(p->out, "</td><td>");
    qsr_html_visible(p->out, x->name);
    qsr_text_puts(p->out, "</td>");
    for (size_t i = 0; i < n; i++) {
        double value = measure_of(x, metrics[i]);
        char number[32];
        qsr_text shown = {0};
        qsr_sheet_real(value, &shown);
        qsr_text_add(p->out, "<td class=\"n\" data-v=\"%s\">%s</td>",
                     isnan(value) ? "" : qsr_real_text(value, number, sizeof number), isnan(value) ? "–" : shown.bytes);
        qsr_text_free(&shown);
    }
    qsr_text_puts(p->out, "</tr>\n");
}

static void put_table(qsr_page *p)
{
    const char *metrics[MOST_METRICS];
    size_t n = choose_metrics(&p->evaluations, metrics);
    qsr_text_puts(p->out,
                  "<div class=\"scroll\"><table class=\"sortable\" id=\"other\">\n<thead><tr><th scope=\"col\">SAE</th>"
                  "<th scope=\"col\">evaluation</th>");
    for (size_t i = 0; i < n; i++) {
        qsr_text_puts(p->out, "<th scope=\"col\" class=\"n\">");
        qsr_html_text(p->out, metrics[i]);
        qsr_text_puts(p->out, "</th>");
    }
    qsr_text_puts(p->out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < p->evaluations.count; i++) put_evaluation(p, &p->evaluations.items[i], metrics, n);
    qsr_text_puts(p->out, "</tbody></table></div>\n");
}

static bool read_tokens(const qsr_extra_evaluation *x, qsr_token_table *ret)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    const char *path = qsr_path_join(&arena, x->path, "tokens.csv");
    bool read = qsr_exists(path) && !qsr_token_table_read(path, ret, &e);
    if (e.text[0]) qsr_log(QSR_LOG_WARNING, "%s", e.text);
    qsr_arena_free(&arena);
    return read;
}

/* Violins of as many as fit, ZF plots of the first few. */
static void put_figures(qsr_page *p)
{
    qsr_violin *items = qsr_xcalloc(QSR_FIGURE_VIOLINS, sizeof *items);
    qsr_arena arena = {0};
    qsr_figure f;
    size_t n = 0, drawn = 0;
    qsr_page_figures_begin(p);
    for (size_t i = 0; i < p->evaluations.count && n < QSR_FIGURE_VIOLINS; i++) {
        const qsr_extra_evaluation *x = &p->evaluations.items[i];
        qsr_token_table tokens;
        if (!read_tokens(x, &tokens)) continue;
        const char *label = qsr_arena_printf(&arena, "%s, %s", x->sae, x->name);
        if (x->d_sae > 1) items[n++] = qsr_violin_of(label, &tokens.layers[0], x->d_sae);
        if (drawn < MOST_ZF) {
            qsr_figure_zf(&tokens, x->d_sae, qsr_arena_printf(&arena, "zf-other-%zu", ++drawn), label, &f);
            qsr_page_figure(p, &f);
        }
        qsr_token_table_free(&tokens);
    }
    if (n) {
        qsr_figure_violin(items, n, false, "violin-other", &f);
        qsr_page_figure(p, &f);
    }
    qsr_page_figures_end(p);
    qsr_arena_free(&arena);
    free(items);
}

void qsr_page_evaluations(qsr_page *p)
{
    size_t told = 0;
    qsr_page_section(p, "evaluations", "Other evaluations");
    if (!p->evaluations.count) {
        qsr_page_paragraph(p, "There are none; `quasar eval` judges these autoencoders, and others, on any data.");
        return;
    }
    qsr_page_paragraph(p, "What `quasar eval` measured: the same autoencoders on other data, or others on any.");
    put_table(p);
    put_figures(p);
    for (size_t i = 0; i < p->evaluations.count && told < MOST_RUNS; i++)
        told += put_run_contexts(p, p->evaluations.items[i].path, p->evaluations.items[i].sae, false);
}

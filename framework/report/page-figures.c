#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report/html.h"
#include "report/page-parts.h"
#include "report/plots.h"

enum { MOST_ZF = 6 };

static bool has_published(const qsr_study *s)
{
    for (size_t i = 0; i < s->n_settings; i++)
        if (s->settings[i].published) return true;
    return false;
}

/* ---- over L0 ------------------------------------------------------------------------------------------------------------------- */

void qsr_page_results(qsr_page *p)
{
    const qsr_study *s = &p->study;
    qsr_figure f;
    qsr_page_section(p, "figures", "Reconstruction over sparsity");
    qsr_page_figures_begin(p);
    qsr_figure_pareto(s, "nmse", "pareto-nmse", &f);
    qsr_page_figure(p, &f);
    if (has_published(s)) { /* these know mse_norm alone */
        qsr_figure_pareto(s, "mse_norm", "pareto-mse-norm", &f);
        qsr_page_figure(p, &f);
    } else {
        qsr_figure_pareto(s, "fvu", "pareto-fvu", &f);
        qsr_page_figure(p, &f);
    }
    if (qsr_study_measured(s, "ce_recovered_zero")) {
        qsr_figure_pareto(s, "ce_recovered_zero", "pareto-ce", &f);
        qsr_page_figure(p, &f);
    }
    qsr_page_figures_end(p);
    if (!qsr_study_measured(s, "ce_recovered_zero"))
        qsr_page_paragraph(
            p, "Cross-entropy with the reconstruction spliced into the model (ce_sae, kl) was not measured by these runs.");
}

/* ---- training --------------------------------------------------------------------------------------------------------------------- */

void qsr_page_training(qsr_page *p)
{
    static const char *const curves[][3] = {{"loss", "curves-loss", "Training loss"},
                                            {"l0", "curves-l0", "L0 over training"},
                                            {"dead", "curves-dead", "Dead latents over training"},
                                            {"grad_norm", "curves-gradient", "Norm of the gradient"}};
    qsr_figure f;
    qsr_page_section(p, "training", "Training");
    qsr_page_figures_begin(p);
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        qsr_figure_curves(&p->study, curves[i][0], curves[i][1], curves[i][2], &f);
        qsr_page_figure(p, &f);
    }
    qsr_page_figures_end(p);
}

/* ---- geometry ----------------------------------------------------------------------------------------------------------------------- */

/* The best by NMSE among own settings that have a run and are not chosen yet, of an activation that is not chosen yet where `new`;
 * n_settings: there is none. */
static size_t next_best(const qsr_study *s, const size_t *chosen, size_t n, bool new)
{
    size_t found = s->n_settings;
    double least = INFINITY;
    for (size_t i = 0; i < s->n_settings; i++) {
        const char *plugin = qsr_study_value(s, &s->settings[i], "activation.plugin");
        bool taken = !qsr_study_example(s, &s->settings[i]);
        for (size_t k = 0; k < n; k++) {
            const char *other = qsr_study_value(s, &s->settings[chosen[k]], "activation.plugin");
            taken = taken || chosen[k] == i || s->settings[chosen[k]].series == s->settings[i].series ||
                    (new &&other == plugin);
        }
        if (taken) continue;
        qsr_summary m = qsr_study_summary(s, &s->settings[i], "nmse");
        if (found == s->n_settings || m.mean < least) found = i, least = m.n ? m.mean : INFINITY;
    }
    return found;
}

/* The best setting of each activation, then of other series, so that a page of many cells stays one. */
static size_t choose_settings(const qsr_study *s, size_t *ret)
{
    size_t n = 0;
    for (int new = 1; new >= 0; new --)
        for (size_t next; n < MOST_ZF && (next = next_best(s, ret, n, new)) < s->n_settings;) ret[n++] = next;
    return n;
}

static bool put_zf(qsr_page *p, size_t setting, size_t number)
{
    const qsr_study *s = &p->study;
    const qsr_record *record = qsr_study_example(s, &s->settings[setting]);
    qsr_token_table tokens;
    qsr_figure f;
    char name[32];
    if (!record || !qsr_plot_run_tokens(record, &tokens)) return false;
    snprintf(name, sizeof name, "zf-%zu", number);
    qsr_figure_zf(&tokens, qsr_plot_d_sae(s, &s->settings[setting]), name, s->settings[setting].label, &f);
    f.title.length = 0;
    qsr_text_add(&f.title, "ZF plot: %s", s->settings[setting].label);
    qsr_page_figure(p, &f);
    qsr_token_table_free(&tokens);
    return true;
}

static void put_all_zf(qsr_page *p)
{
    size_t chosen[MOST_ZF], n = choose_settings(&p->study, chosen), drawn = 0;
    qsr_page_figures_begin(p);
    for (size_t i = 0; i < n; i++) drawn += put_zf(p, chosen[i], i + 1);
    qsr_page_figures_end(p);
    if (!drawn)
        qsr_page_paragraph(p, "There is no ZF plot: no completed run has a tokens.csv, which an evaluation writes.");
    else if (p->study.n_settings > drawn)
        qsr_page_paragraph(p, "These are the best settings by NMSE of each activation and of other series, first seed; "
                              "`quasar plot zf RUN` draws any run.");
}

static void put_violins(qsr_page *p)
{
    qsr_violin *items = qsr_xcalloc(QSR_FIGURE_VIOLINS, sizeof *items);
    size_t left_out, n = qsr_plot_violins(&p->study, items, &left_out);
    qsr_figure f;
    if (n) {
        qsr_figure_violin(items, n, false, "violin", &f);
        if (left_out) qsr_text_add(&f.caption, " %zu other settings are not drawn.", left_out);
        qsr_page_figure(p, &f);
    } else {
        qsr_page_paragraph(p, "There are no violins of NMSE and ε-LBO: no completed run has a tokens.csv.");
    }
    free(items);
}

void qsr_page_geometry(qsr_page *p)
{
    static const char *const norms[] = {"epsilon_lbo_median", "norm_ratio_median", "coherence_lb_median", NULL};
    static const char *const coherence[] = {"coherence_max", "coherence_mean", NULL};
    qsr_figure f;
    qsr_page_section(p, "geometry", "Norms and quasi-orthogonality");
    put_all_zf(p);
    qsr_page_diagnostics(p);
    qsr_page_figures_begin(p);
    put_violins(p);
    qsr_figure_dots(&p->study, norms, "norms", "ε-LBO, norm ratio and the bound on coherence", &f);
    qsr_page_figure(p, &f);
    qsr_figure_dots(&p->study, coherence, "coherence", "Coherence of the decoder", &f);
    qsr_page_figure(p, &f);
    qsr_page_figures_end(p);
}

/* ---- sparsity ------------------------------------------------------------------------------------------------------------------------- */

static bool has_topafa(const qsr_study *s)
{
    for (size_t i = 0; i < s->n_settings; i++) {
        const char *plugin = qsr_study_value(s, &s->settings[i], "activation.plugin");
        if (plugin && strcmp(plugin, "topafa") == 0) return true;
    }
    return false;
}

void qsr_page_sparsity(qsr_page *p)
{
    qsr_figure f;
    qsr_page_section(p, "sparsity", "Sparsity");
    qsr_page_figures_begin(p);
    qsr_figure_l0(&p->study, &f);
    qsr_page_figure(p, &f);
    qsr_figure_density(&p->study, &f);
    qsr_page_figure(p, &f);
    if (has_topafa(&p->study)) {
        qsr_figure_afa(&p->study, "losses.afa.coeff", "afa-coeff", &f);
        qsr_page_figure(p, &f);
        qsr_figure_afa(&p->study, "sae.init_scale", "afa-init", &f);
        qsr_page_figure(p, &f);
    }
    qsr_page_figures_end(p);
}

#include "report/plots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"

static const qsr_plot_kind kinds[] = {
    {"zf", "‖z‖ against ‖f̃‖ of every token, with the bounds of ε", true, false},
    {"violin", "half violins of NMSE and ε-LBO, per setting, or per layer of a tokens.csv", true, false},
    {"pareto", "a metric (nmse) over L0, with intervals; --overlay adds published runs", false, true},
    {"curves", "a number of metrics.jsonl (loss) over training, a line for each run", false, true},
    {"dead", "dead latents over training", false, false},
    {"density", "how often latents fire", false, false},
    {"l0", "how many latents a token has", false, false},
    {"afa", "the L0 that top-AFA came to, over λ (--metric sae.init_scale: over the initial scale)", false, true},
    {"norms", "ε-LBO with norm_ratio and coherence_lb beside it, per setting", false, false},
    {"coherence", "coherence of the decoder, per setting", false, false},
    {0}};

const qsr_plot_kind *qsr_plot_kinds(void) { return kinds; }

const qsr_plot_kind *qsr_plot_kind_find(const char *name)
{
    for (const qsr_plot_kind *k = kinds; k->name; k++)
        if (strcmp(k->name, name) == 0) return k;
    return NULL;
}

/* ---- tokens -------------------------------------------------------------------------------------------------------------- */

static qsr_status choose_layer(qsr_token_table *tokens, const char *path, const char *layer, qsr_error *e)
{
    size_t at = 0;
    while (at < tokens->n_layers && strcmp(tokens->layers[at].layer, layer) != 0) at++;
    if (at == tokens->n_layers)
        return qsr_fail(e, QSR_E_OPTION, "%s has no layer '%s'; its layers are '%s' to '%s'", path, layer,
                        tokens->layers[0].layer, tokens->layers[tokens->n_layers - 1].layer);
    qsr_token_layer kept = tokens->layers[at];
    tokens->layers[at] = tokens->layers[0];
    tokens->layers[0] = kept;
    while (tokens->n_layers > 1) free(tokens->layers[--tokens->n_layers].kept);
    return QSR_OK;
}

static void layer_violins(const qsr_token_table *tokens, uint64_t d_sae, qsr_figure *f)
{
    qsr_violin *items = qsr_xcalloc(tokens->n_layers, sizeof *items);
    for (size_t i = 0; i < tokens->n_layers; i++)
        items[i] = qsr_violin_of(tokens->layers[i].layer[0] ? tokens->layers[i].layer : "all", &tokens->layers[i], d_sae);
    qsr_figure_violin(items, tokens->n_layers, true, "violin", f);
    free(items);
}

static qsr_status make_from_tokens(const qsr_plot_request *r, qsr_figure *f, qsr_error *e)
{
    qsr_token_table tokens;
    bool violin = strcmp(r->kind, "violin") == 0;
    if (violin && r->d_sae < 2)
        return qsr_fail(e, QSR_E_OPTION, "ε-LBO depends on the width of the SAE: say --d-sae N beside --tokens");
    qsr_status status = qsr_token_table_read(r->tokens, &tokens, e);
    if (status) return status;
    if (r->layer) status = choose_layer(&tokens, r->tokens, r->layer, e);
    if (!status && violin) layer_violins(&tokens, r->d_sae, f);
    if (!status && !violin) qsr_figure_zf(&tokens, r->d_sae, "zf", qsr_path_base(r->tokens), f);
    qsr_token_table_free(&tokens);
    return status;
}

bool qsr_plot_run_tokens(const qsr_record *record, qsr_token_table *ret)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    const char *path = qsr_path_join(&arena, record->path, "tokens.csv");
    qsr_status status = qsr_exists(path) ? qsr_token_table_read(path, ret, &e) : QSR_E_INPUT;
    if (status && e.text[0]) qsr_log(QSR_LOG_WARNING, "%s", e.text);
    qsr_arena_free(&arena);
    return !status;
}

/* ---- of runs -------------------------------------------------------------------------------------------------------------- */

uint64_t qsr_plot_d_sae(const qsr_study *s, const qsr_setting *setting)
{
    double width = qsr_study_number(s, setting, "sae.d_sae");
    return width >= 2 && width < 1e12 ? (uint64_t)width : 0;
}

/* A run evaluates one layer; a file with several is as if they were one. */
static const qsr_token_layer *largest_layer(const qsr_token_table *tokens)
{
    const qsr_token_layer *largest = &tokens->layers[0];
    for (size_t i = 1; i < tokens->n_layers; i++)
        if (tokens->layers[i].n > largest->n) largest = &tokens->layers[i];
    return largest;
}

size_t qsr_plot_violins(const qsr_study *s, qsr_violin *ret, size_t *ret_left_out)
{
    size_t candidates = 0, n = 0, seen = 0;
    for (size_t i = 0; i < s->n_settings; i++) candidates += qsr_study_example(s, &s->settings[i]) != NULL;
    size_t wanted = candidates < QSR_FIGURE_VIOLINS ? candidates : QSR_FIGURE_VIOLINS;
    for (size_t i = 0; i < s->n_settings && n < wanted; i++) {
        const qsr_record *record = qsr_study_example(s, &s->settings[i]);
        qsr_token_table tokens;
        if (!record) continue;
        bool chosen = wanted < 2 || seen * (wanted - 1) >= n * (candidates - 1);
        seen++;
        if (!chosen || !qsr_plot_run_tokens(record, &tokens)) continue;
        ret[n++] = qsr_violin_of(s->settings[i].label, largest_layer(&tokens), qsr_plot_d_sae(s, &s->settings[i]));
        qsr_token_table_free(&tokens);
    }
    *ret_left_out = candidates - wanted;
    return n;
}

static void setting_violins(const qsr_study *s, qsr_figure *f)
{
    qsr_violin *items = qsr_xcalloc(QSR_FIGURE_VIOLINS, sizeof *items);
    size_t left_out, n = qsr_plot_violins(s, items, &left_out);
    if (n) {
        qsr_figure_violin(items, n, false, "violin", f);
    } else {
        qsr_figure_begin(f, "violin", 480, 400, "NMSE against ε-LBO per setting");
        qsr_text_puts(&f->missing, "No completed run has a tokens.csv; an evaluation writes it.");
    }
    if (n && left_out) qsr_text_add(&f->caption, " %zu other settings are not drawn.", left_out);
    free(items);
}

static qsr_status run_zf(const qsr_study *s, const char *layer, qsr_figure *f, qsr_error *e)
{
    const qsr_setting *only = NULL;
    for (size_t i = 0; i < s->n_settings; i++) {
        if (!qsr_study_example(s, &s->settings[i])) continue;
        if (only)
            return qsr_fail(
                e, QSR_E_OPTION,
                "%s has several settings, among them '%s' and '%s': name one run's folder, or choose with --where",
                s->archive.folder, only->label, s->settings[i].label);
        only = &s->settings[i];
    }
    const qsr_record *record = only ? qsr_study_example(s, only) : NULL;
    qsr_token_table tokens;
    if (!record) return qsr_fail(e, QSR_E_INPUT, "%s has no completed run", s->archive.folder);
    if (!qsr_plot_run_tokens(record, &tokens))
        return qsr_fail(e, QSR_E_INPUT, "%s has no tokens.csv to draw", record->path);
    qsr_status status = layer ? choose_layer(&tokens, record->path, layer, e) : QSR_OK;
    if (!status) qsr_figure_zf(&tokens, qsr_plot_d_sae(s, only), "zf", record->cell, f);
    qsr_token_table_free(&tokens);
    return status;
}

static const char *const norm_metrics[] = {"epsilon_lbo_median", "norm_ratio_median", "coherence_lb_median", NULL};
static const char *const coherence_metrics[] = {"coherence_max", "coherence_mean", NULL};

static qsr_status make_of_study(const qsr_study *s, const qsr_plot_request *r, qsr_figure *f, qsr_error *e)
{
    size_t at;
    if (strcmp(r->kind, "zf") == 0) return run_zf(s, r->layer, f, e);
    if (strcmp(r->kind, "pareto") == 0 && r->metric) {
        qsr_status status = qsr_frame_metric(&s->frame, r->metric, &at, e);
        if (status) return status;
    }
    if (strcmp(r->kind, "violin") == 0) setting_violins(s, f);
    if (strcmp(r->kind, "pareto") == 0) qsr_figure_pareto(s, r->metric ? r->metric : "nmse", "pareto", f);
    if (strcmp(r->kind, "curves") == 0) qsr_figure_curves(s, r->metric ? r->metric : "loss", "curves", "Over training", f);
    if (strcmp(r->kind, "dead") == 0) qsr_figure_curves(s, "dead", "dead", "Dead latents over training", f);
    if (strcmp(r->kind, "density") == 0) qsr_figure_density(s, f);
    if (strcmp(r->kind, "l0") == 0) qsr_figure_l0(s, f);
    if (strcmp(r->kind, "afa") == 0) qsr_figure_afa(s, r->metric ? r->metric : "losses.afa.coeff", "afa", f);
    if (strcmp(r->kind, "norms") == 0) qsr_figure_dots(s, norm_metrics, "norms", "AFA diagnostics", f);
    if (strcmp(r->kind, "coherence") == 0)
        qsr_figure_dots(s, coherence_metrics, "coherence", "Coherence of the decoder", f);
    return QSR_OK;
}

/* On a page the table says which setting has which number; a figure alone must say it itself. */
static void say_numbers(const qsr_study *s, qsr_figure *f)
{
    if (!f->numbered) return;
    qsr_text_puts(&f->caption, " Settings:");
    for (size_t i = 0; i < s->n_settings; i++)
        qsr_text_add(&f->caption, "%s %zu %s", i ? "," : "", i + 1, s->settings[i].label);
    qsr_text_puts(&f->caption, ".");
}

qsr_status qsr_plot_make(const qsr_plot_request *r, qsr_figure *ret, qsr_error *e)
{
    qsr_figure f = {0};
    qsr_study study = {0};
    qsr_status status =
        r->tokens ? make_from_tokens(r, &f, e) : qsr_study_open(r->folder, r->overlays, r->conditions, &study, e);
    if (!status && !r->tokens) status = make_of_study(&study, r, &f, e);
    if (!status && !r->tokens) say_numbers(&study, &f);
    qsr_study_free(&study);
    if (!status && !qsr_figure_drawn(&f))
        status = qsr_fail(e, QSR_E_INPUT, "there is nothing to draw: %s", f.missing.bytes);
    if (status)
        qsr_figure_free(&f);
    else
        *ret = f;
    return status;
}

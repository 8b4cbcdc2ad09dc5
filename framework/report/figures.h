/* report/figures: the figures there are. Each function fills one from its data; where there is nothing to draw, `missing` says in a
 * sentence what would provide it. Every figure has to be freed. */
#ifndef QSR_REPORT_FIGURES_H
#define QSR_REPORT_FIGURES_H
#include "report/density.h"
#include "report/figure.h"
#include "report/study.h"
#include "report/tokens.h"

enum { QSR_FIGURE_POINTS = 3000, QSR_FIGURE_VIOLINS = 24 };

/* ---- from a tokens.csv */

/* ‖z‖ against ‖f̃‖ with the bounds ‖f̃‖ = ‖z‖ √(1/(1±ε(h−1))) for ε(h−1) of 1/4, 1/2 and 1, where only + exists. More than
 * QSR_FIGURE_POINTS tokens are counted in cells. d_sae 0: not known, and the bounds have no ε. `label` names what was judged. */
void qsr_figure_zf(const qsr_token_table *, uint64_t d_sae, const char *name, const char *label, qsr_figure *);

/* Half violins, NMSE beside ε-LBO, of each layer or run. */
typedef struct {
    const char *label;
    qsr_density nmse, epsilon;
} qsr_violin;
qsr_violin qsr_violin_of(const char *label, const qsr_token_layer *, uint64_t d_sae);
void qsr_figure_violin(const qsr_violin *, size_t n, bool layers, const char *name, qsr_figure *);

/* ---- from a study */

/* A metric over l0, both logarithmic where they can be; a line with 95 % intervals for each series; more than d_in/2 is shaded
 * unless published runs, whose d_in is not known, are drawn too. */
void qsr_figure_pareto(const qsr_study *, const char *metric, const char *name, qsr_figure *);
/* A key of metrics.jsonl over the tokens trained on, a line for each run. */
void qsr_figure_curves(const qsr_study *, const char *key, const char *name, const char *title, qsr_figure *);
/* log10 of how often latents fire, from firing_log10 of result.json. */
void qsr_figure_density(const qsr_study *, qsr_figure *);
/* How many latents a token has, from l0_histogram of result.json. */
void qsr_figure_l0(const qsr_study *, qsr_figure *);
/* The l0 that top-AFA came to, over a parameter: losses.afa.coeff, sae.init_scale. */
void qsr_figure_afa(const qsr_study *, const char *parameter, const char *name, qsr_figure *);
/* Metrics of each setting, one panel for each metric, by the setting's number in the table. */
void qsr_figure_dots(const qsr_study *, const char *const *metrics, const char *name, const char *title, qsr_figure *);

/* ---- what they share */

/* Colour and mark: one for each setting, or for each series where settings are too many to tell apart; its name, or NULL when an
 * earlier setting of the study has given it. */
typedef struct {
    size_t index;
    const char *title;
} qsr_figure_style;
qsr_figure_style qsr_figure_style_of(const qsr_study *, size_t setting);
/* The key below the figure, which becomes taller by what n entries as long as the longest take. */
void qsr_figure_key(qsr_figure *, size_t n, size_t longest);
void qsr_figure_study_key(qsr_figure *, const qsr_study *);
/* "loss.afa" as people read it on an axis: the name itself, with its unit where it has one. */
const char *qsr_metric_label(const char *metric);
#endif

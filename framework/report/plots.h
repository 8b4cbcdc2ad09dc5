/* report/plots: the kinds of single figures, by name, for `quasar plot`. */
#ifndef QSR_REPORT_PLOTS_H
#define QSR_REPORT_PLOTS_H
#include "report/figures.h"

typedef struct {
    const char *kind;                                /* "zf" */
    const char *folder;                              /* of runs; or NULL */
    const char *tokens;                              /* a tokens.csv alone; or NULL */
    const char *layer;                               /* of the tokens, one of them; NULL: all */
    const char *metric;                              /* of pareto, curves, dots; NULL: the usual one */
    uint64_t d_sae;                                  /* of the tokens; 0: not said */
    const char *const *overlays, *const *conditions; /* NULL-ended, or NULL */
} qsr_plot_request;

typedef struct {
    const char *name, *summary;
    bool tokens, metric; /* can be made from a tokens.csv alone; takes a metric */
} qsr_plot_kind;
const qsr_plot_kind *qsr_plot_kinds(void); /* ends with a name of NULL */
const qsr_plot_kind *qsr_plot_kind_find(const char *name);

/* QSR_E_OPTION: something is asked that does not go together; QSR_E_INPUT: files. A figure with nothing to draw is QSR_E_INPUT with
 * what would provide it. */
qsr_status qsr_plot_make(const qsr_plot_request *, qsr_figure *ret, qsr_error *e);

/* The tokens.csv of a run, and its half violin; false, and the reason logged as a warning unless the file is simply missing. */
bool qsr_plot_run_tokens(const qsr_record *, qsr_token_table *ret);
uint64_t qsr_plot_d_sae(const qsr_study *, const qsr_setting *); /* 0: not known */
/* Of the settings' examples, at most QSR_FIGURE_VIOLINS, evenly chosen; `*ret_left_out` counts the others. */
size_t qsr_plot_violins(const qsr_study *, qsr_violin *ret, size_t *ret_left_out);
#endif

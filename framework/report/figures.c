#include "report/figures.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_COLOURS = 8 };

static bool has_few(const qsr_study *s)
{
    size_t own = 0;
    for (size_t i = 0; i < s->n_settings; i++) own += !s->settings[i].published;
    return own <= MOST_COLOURS;
}

qsr_figure_style qsr_figure_style_of(const qsr_study *s, size_t setting)
{
    const qsr_setting *of = &s->settings[setting];
    size_t own = 0;
    if (has_few(s)) {
        for (size_t i = 0; i < setting; i++) own += !s->settings[i].published;
        return (qsr_figure_style){own, of->label};
    }
    for (size_t i = 0; i < setting; i++)
        if (s->settings[i].series == of->series) return (qsr_figure_style){of->series, NULL};
    return (qsr_figure_style){of->series, s->series[of->series].label};
}

void qsr_figure_key(qsr_figure *f, size_t n, size_t longest)
{
    enum { LETTER = 8, SAMPLE = 46, LINE = 18 };
    size_t columns = (f->width - 60) / (longest * LETTER + SAMPLE);
    if (columns < 1) columns = 1;
    if (columns > n) columns = n ? n : 1;
    f->height += (unsigned)((n + columns - 1) / columns * LINE) + LINE / 2;
    qsr_figure_set(f, "set key outside below center horizontal maxcols %zu Left reverse height 0.6", columns);
}

void qsr_figure_study_key(qsr_figure *f, const qsr_study *s)
{
    size_t n = 0, longest = 0;
    for (size_t i = 0; i < s->n_settings; i++) {
        const char *title = s->settings[i].published ? NULL : qsr_figure_style_of(s, i).title;
        if (!title) continue;
        n++;
        if (strlen(title) > longest) longest = strlen(title);
    }
    qsr_figure_key(f, n, longest);
}

const char *qsr_metric_label(const char *metric)
{
    static const char *const labels[][2] = {{"l0", "L0"},
                                            {"nmse", "NMSE"},
                                            {"fvu", "FVU"},
                                            {"mse_norm", "mse_norm (published: l2_loss)"},
                                            {"epsilon_lbo_median", "ε-LBO"},
                                            {"norm_ratio_median", "‖f̃‖/‖z‖"},
                                            {"coherence_lb_median", "coherence_lb"},
                                            {"coherence_max", "max |cos|"},
                                            {"coherence_mean", "mean |cos|"},
                                            {"dead", "dead latents"},
                                            {"losses.afa.coeff", "λ (losses.afa.coeff)"},
                                            {"sae.init_scale", "initial scale (sae.init_scale)"}};
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
        if (strcmp(metric, labels[i][0]) == 0) return labels[i][1];
    return metric;
}

/* `quasar plot`: one figure. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "cli/command.h"
#include "report/plots.h"

static qsr_status choose_picture(const qsr_args *args, const char *output, qsr_picture *ret, qsr_error *e)
{
    bool pdf = qsr_args_has(args, "pdf"), png = qsr_args_has(args, "png");
    if (pdf && png) return qsr_fail(e, QSR_E_OPTION, "--pdf and --png do not go together: one figure, one file");
    *ret = pdf ? QSR_PICTURE_PDF : png ? QSR_PICTURE_PNG : QSR_PICTURE_SVG;
    if (!output || pdf || png) return QSR_OK;
    for (qsr_picture p = QSR_PICTURE_SVG; p <= QSR_PICTURE_PNG; p++)
        if (qsr_ends_with(output, qsr_picture_ending(p)) && strlen(output) > 4 && output[strlen(output) - 4] == '.') {
            *ret = p;
            return QSR_OK;
        }
    return qsr_fail(e, QSR_E_OPTION, "--out is '%s', but must end in .svg, .pdf or .png, or come with --pdf or --png",
                    output);
}

static qsr_status read_request(qsr_args *args, qsr_plot_request *ret, qsr_error *e)
{
    const char *width = qsr_args_value(args, "d-sae");
    *ret = (qsr_plot_request){.kind = args->words[0],
                              .folder = args->n_words > 1 ? args->words[1] : NULL,
                              .tokens = qsr_args_value(args, "tokens"),
                              .layer = qsr_args_value(args, "layer"),
                              .metric = qsr_args_value(args, "metric"),
                              .overlays = qsr_args_values(args, "overlay"),
                              .conditions = qsr_args_values(args, "where")};
    if (width && (!qsr_parse_uint(width, &ret->d_sae) || ret->d_sae < 2 || ret->d_sae > UINT32_MAX))
        return qsr_fail(e, QSR_E_OPTION, "--d-sae is '%s', but must be a whole number of 2 or more", width);
    return QSR_OK;
}

static int misused(const char *text) { return qsr_command_misused(&qsr_cmd_plot, "%s", text); }

/* What goes together; 0: this does. */
static int check(const qsr_args *args, const qsr_plot_request *r)
{
    const qsr_plot_kind *kind = qsr_plot_kind_find(r->kind);
    if (!kind) {
        const char *names[16] = {NULL};
        for (size_t i = 0; qsr_plot_kinds()[i].name; i++) names[i] = qsr_plot_kinds()[i].name;
        const char *near = qsr_nearest(r->kind, names);
        return qsr_command_misused(&qsr_cmd_plot, "there is no figure '%s'%s%s%s", r->kind, near ? "; did you mean '" : "",
                                   near ? near : "", near ? "'?" : "");
    }
    if (args->n_words > 2) return misused("needs the name of one figure and at most one folder");
    if (r->tokens && !kind->tokens)
        return qsr_command_misused(&qsr_cmd_plot, "%s is made from a folder of runs, not from --tokens", r->kind);
    if (r->tokens && r->folder) return misused("either a folder of runs or --tokens");
    if (!r->tokens && !r->folder)
        return qsr_command_misused(&qsr_cmd_plot, "%s needs a folder of runs%s", r->kind,
                                   kind->tokens ? ", or --tokens FILE" : "");
    if (r->d_sae && !r->tokens) return misused("--d-sae goes with --tokens; runs know their width");
    if (r->tokens && (*r->overlays || *r->conditions)) return misused("--overlay and --where go with a folder of runs");
    if (r->metric && !kind->metric) return qsr_command_misused(&qsr_cmd_plot, "%s takes no --metric", r->kind);
    if (r->layer && !kind->tokens) return qsr_command_misused(&qsr_cmd_plot, "%s takes no --layer", r->kind);
    return 0;
}

static qsr_status write_figure(const qsr_figure *f, const qsr_args *args, qsr_picture picture, const char *path,
                               qsr_error *e)
{
    const char *keep = qsr_args_value(args, "keep-plots");
    qsr_text bytes = {0};
    qsr_status status = keep ? qsr_figure_keep(f, keep, picture, e) : QSR_OK;
    if (!status) status = qsr_figure_picture(f, picture, &bytes, e);
    if (!status) status = qsr_write_file(path, bytes.bytes, bytes.length, e);
    qsr_text_free(&bytes);
    return status;
}

static int run(qsr_args *args)
{
    const char *output = qsr_args_value(args, "out");
    qsr_plot_request request;
    qsr_picture picture;
    qsr_figure figure;
    qsr_error e = {0};
    if (!args->n_words) return misused("needs the name of a figure, such as pareto");
    if (choose_picture(args, output, &picture, &e) || read_request(args, &request, &e)) return misused(e.text);
    int code = check(args, &request);
    if (code) return code;
    if (qsr_plot_make(&request, &figure, &e)) return qsr_cli_report(&e);
    const char *path = output ? output : qsr_arena_printf(&args->arena, "%s.%s", figure.name, qsr_picture_ending(picture));
    if (write_figure(&figure, args, picture, path, &e))
        code = qsr_cli_report(&e);
    else
        printf("%s: %s\n%s\n", path, figure.title.bytes, figure.caption.bytes + strspn(figure.caption.bytes, " "));
    qsr_figure_free(&figure);
    return code;
}

const qsr_command qsr_cmd_plot = {
    .name = "plot",
    .synopsis = "FIGURE DIR | FIGURE --tokens FILE [--d-sae N] [-o FILE] [--pdf | --png] [options]",
    .summary = "draw one figure of the runs below DIR, or of a tokens.csv",
    .help = "Figures:\n"
            "  zf         norm of z against norm of f~ of every token, with the bounds of epsilon\n"
            "  violin     half violins of NMSE and epsilon-LBO, per setting, or per layer of a tokens.csv\n"
            "  pareto     a metric (nmse) over L0, with 95 % intervals; --overlay adds published runs\n"
            "  curves     a number of metrics.jsonl (loss) over training, a line for each run\n"
            "  dead       dead latents over training\n"
            "  density    how often latents fire\n"
            "  l0         how many latents a token has\n"
            "  afa        the L0 that top-AFA came to, over losses.afa.coeff or --metric sae.init_scale\n"
            "  norms      epsilon-LBO with norm_ratio and coherence_lb beside it, per setting\n"
            "  coherence  coherence of the decoder, per setting\n"
            "\n"
            "zf and violin also work on a tokens.csv alone, with columns ztz, ftf, l_recon and layer. zf of DIR\n"
            "needs one setting: a run's folder, or --where. Pictures are made by gnuplot (Debian: gnuplot-nox).",
    .options =
        (const qsr_arg_option[]){
            {"out", "FILE", "or -o: the picture; its ending decides: .svg, .pdf or .png (default: FIGURE.svg)"},
            {"pdf", NULL, "a PDF"},
            {"png", NULL, "a PNG, at twice the size for sharp screens"},
            {"keep-plots", "DIR", "also write FIGURE.gp and FIGURE.tsv there, which gnuplot draws, to be edited"},
            {"tokens", "FILE", "diagnostics of tokens as CSV, instead of runs"},
            {"d-sae", "N", "the width of the SAE that the tokens come from: violin needs it"},
            {"layer", "N", "only this layer of the tokens"},
            {"metric", "NAME", "what pareto or curves show"},
            {"where", "K=V", "only runs whose parameter K is V; K=V,W: V or W; repeatable"},
            {"overlay", "FILE", "add published runs: a W&B export, as for quasar table; repeatable"},
            {0}},
    .run = run,
};

/* `quasar report`: everything about the runs below a folder as one HTML file. */
#include <stdio.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/sizes.h"
#include "cli/command.h"
#include "report/page.h"

static void tell(const char *path, const qsr_page_summary *s, size_t bytes)
{
    char size[32];
    printf("%s: %zu run%s", path, s->runs, s->runs == 1 ? "" : "s");
    if (s->evaluations) printf(", %zu other evaluation%s", s->evaluations, s->evaluations == 1 ? "" : "s");
    printf(", %zu figure%s, %s\n", s->figures, s->figures == 1 ? "" : "s", qsr_size_text(bytes, size, sizeof size));
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_report, "needs one folder of runs, got %zu", args->n_words);
    const char *path = qsr_args_value(args, "out");
    qsr_page_request request = {.folder = args->words[0],
                                .title = qsr_args_value(args, "title"),
                                .overlays = qsr_args_values(args, "overlay"),
                                .conditions = qsr_args_values(args, "where"),
                                .keep = qsr_args_value(args, "keep-plots")};
    qsr_page_summary summary;
    qsr_text page = {0};
    qsr_error e = {0};
    if (!path) path = "report.html";
    qsr_status status = qsr_page_make(&request, &page, &summary, &e);
    if (!status) status = qsr_write_file(path, page.bytes, page.length, &e);
    if (!status && summary.no_gnuplot)
        qsr_log(QSR_LOG_WARNING, "gnuplot is not installed (Debian: gnuplot-nox): %s has its tables, but no figures", path);
    if (!status) tell(path, &summary, page.length);
    qsr_text_free(&page);
    return status ? qsr_cli_report(&e) : QSR_EXIT_OK;
}

const qsr_command qsr_cmd_report = {
    .name = "report",
    .synopsis = "DIR [-o FILE] [--overlay FILE]... [--where KEY=VALUE]... [--keep-plots DIR]",
    .summary = "write everything about the runs below DIR as one HTML file",
    .help = "Reads every run folder below DIR, and what quasar eval left in them, and writes one HTML file\n"
            "that needs nothing else, no network either: what was run, a table of settings that can be\n"
            "sorted, figures, latents with their strongest contexts, and how to reproduce each run. It\n"
            "reads well on a phone and on paper, light and dark. Figures are drawn by gnuplot (Debian:\n"
            "gnuplot-nox); without it there is a report of tables. docs/REPORT.md says how to read it.",
    .options =
        (const qsr_arg_option[]){
            {"out", "FILE", "or -o: the page (default: report.html)"},
            {"title", "TEXT", "its title (default: the name of DIR)"},
            {"overlay", "FILE", "add published runs: a W&B export, as for quasar table; repeatable"},
            {"where", "K=V", "only runs whose parameter K is V; K=V,W: V or W; repeatable"},
            {"keep-plots", "DIR", "also write each figure's .gp and .tsv there, which gnuplot draws, to be edited"},
            {0}},
    .run = run,
};

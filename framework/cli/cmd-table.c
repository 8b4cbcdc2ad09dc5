/* `quasar table`: runs aggregated over seeds. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/runs.h"
#include "report/table.h"

static qsr_status print_table(qsr_args *args, qsr_frame *frame, qsr_sheet_format format, qsr_error *e)
{
    qsr_sheet sheet;
    qsr_text text = {0};
    qsr_table_request request = {
        .rows = qsr_cli_list(args, "rows"),
        .cols = qsr_cli_list(args, "cols"),
        .sort = qsr_args_value(args, "sort"),
        .sparkline = qsr_args_value(args, "sparkline"),
        .full = format == QSR_FORMAT_CSV || format == QSR_FORMAT_JSON,
    };
    if (request.sparkline && format != QSR_FORMAT_TEXT)
        return qsr_fail(e, QSR_E_OPTION, "--sparkline is for people: it goes with --format text, not with another");
    qsr_status status = qsr_report_table(frame, &request, &sheet, e);
    if (status) return status;
    qsr_sheet_write(&sheet, format, &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
    qsr_sheet_free(&sheet);
    return QSR_OK;
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_table, "needs one folder of runs, got %zu", args->n_words);
    qsr_frame frame;
    qsr_sheet_format format;
    qsr_error e = {0};
    if (qsr_cli_format(args, &format, &e)) return qsr_command_misused(&qsr_cmd_table, "%s", e.text);
    if (qsr_cli_frame(args, &frame, &e)) return qsr_cli_report(&e);
    int code = print_table(args, &frame, format, &e) ? qsr_cli_report(&e) : QSR_EXIT_OK;
    fflush(stdout);
    if (!code) qsr_cli_notes(&frame);
    qsr_frame_free(&frame);
    return code;
}

const qsr_command qsr_cmd_table = {
    .name = "table",
    .synopsis = "DIR [--rows KEYS] [--cols METRICS] [--where KEY=VALUE]... [--format FORMAT] [--sort NAME]\n"
                "                    [--overlay FILE]... [--sparkline NAME]",
    .summary = "print the runs below DIR: means over seeds with 95 % intervals",
    .help = "Reads every run folder below DIR and prints a row for each setting: the mean over seeds\n"
            "with the half-width of its 95 % interval (Student's t). Only seeds are averaged over: where\n"
            "KEYS do not tell settings apart, what does becomes a column too. Failed and unfinished\n"
            "runs are counted beside the means and named on standard error.",
    .options =
        (const qsr_arg_option[]){
            {"rows", "KEYS",
             "parameters that tell rows apart, such as activation.plugin,activation.k\n"
             "                     (default: those with several values, seeds left out)"},
            {"cols", "METRICS", "metrics of result.json (default: l0,nmse,fvu,silent_fraction)"},
            {"where", "K=V", "only runs whose parameter K is V; K=V,W: V or W; repeatable"},
            {"format", "FORMAT", "text (default), csv, md, latex or json; csv and json have every digit"},
            {"sort", "NAME", "a parameter of the rows or a metric; -NAME: the largest first"},
            {"overlay", "FILE",
             "add published runs: a W&B export with Name,l0_norm,l2_loss,afa_coeff;\n"
             "                     l2_loss is mse_norm; repeatable"},
            {"sparkline", "NAME", "a column with the curve of a number of metrics.jsonl, such as loss"},
            {0}},
    .run = run,
};

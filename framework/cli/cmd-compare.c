/* `quasar compare`: settings against each other, with tests over seeds. */
#include <stdio.h>

#include "cli/command.h"
#include "cli/runs.h"
#include "report/compare.h"

static qsr_status print_comparisons(qsr_args *args, qsr_frame *frame, qsr_sheet_format format, qsr_error *e)
{
    qsr_comparisons all;
    qsr_text text = {0};
    qsr_compare_request request = {
        .metric = qsr_args_value(args, "metric"),
        .between = qsr_args_value(args, "between"),
        .at = qsr_args_value(args, "at"),
        .along = qsr_cli_list(args, "along"),
    };
    qsr_status status = qsr_compare(frame, &request, &all, e);
    if (status) return status;
    if (format == QSR_FORMAT_TEXT) {
        qsr_compare_text(&all, &text);
    } else {
        qsr_sheet sheet;
        qsr_compare_sheet(&all, &sheet);
        qsr_sheet_write(&sheet, format, &text);
        qsr_sheet_free(&sheet);
    }
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
    return QSR_OK;
}

static int run(qsr_args *args)
{
    if (args->n_words != 1)
        return qsr_command_misused(&qsr_cmd_compare, "needs one folder of runs, got %zu", args->n_words);
    if (!qsr_args_value(args, "metric") || !qsr_args_value(args, "between"))
        return qsr_command_misused(&qsr_cmd_compare, "needs --metric and --between");
    qsr_frame frame;
    qsr_sheet_format format;
    qsr_error e = {0};
    if (qsr_cli_format(args, &format, &e)) return qsr_command_misused(&qsr_cmd_compare, "%s", e.text);
    if (qsr_cli_frame(args, &frame, &e)) return qsr_cli_report(&e);
    int code = print_comparisons(args, &frame, format, &e) ? qsr_cli_report(&e) : QSR_EXIT_OK;
    fflush(stdout);
    if (!code) qsr_cli_notes(&frame);
    qsr_frame_free(&frame);
    return code;
}

const qsr_command qsr_cmd_compare = {
    .name = "compare",
    .synopsis = "DIR --metric METRIC --between KEY [--where KEY=VALUE]... [--at METRIC=NUMBER [--along KEYS]]\n"
                "                      [--format FORMAT]",
    .summary = "test differences between settings over seeds",
    .help = "Sets every value of KEY against every other, everything else equal, and prints both means,\n"
            "the difference with its 95 % interval, Welch's t-test, the t-test of pairs with equal seeds,\n"
            "and effect sizes (Cohen's d and d_z, in brackets with Hedges' correction). There is no\n"
            "p-value for fewer than two seeds. With --at l0=32 each seed's curve of METRIC against l0 is\n"
            "read at 32, interpolated on logarithmic axes and never extrapolated: the comparison that\n"
            "activation functions need. Without it, a line tells where l0 differs by more than 10 %.",
    .options =
        (const qsr_arg_option[]){
            {"metric", "METRIC", "the metric of result.json to compare; required"},
            {"between", "KEY", "the parameter whose values are compared; required"},
            {"where", "K=V", "only runs whose parameter K is V; K=V,W: V or W; repeatable"},
            {"at", "M=NUMBER", "compare where the metric M, such as l0, has this value"},
            {"along", "KEYS", "parameters that curves run along (default: numbers of the activation and losses)"},
            {"format", "FORMAT", "text (default), csv, md, latex or json"},
            {0}},
    .run = run,
};

/* `quasar export`: runs for other people's tools. */
#include <stdio.h>

#include "cli/command.h"
#include "report/tensorboard.h"

static int run(qsr_args *args)
{
    const char *folder = qsr_args_value(args, "tensorboard");
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_export, "needs one folder of runs, got %zu", args->n_words);
    if (!folder) return qsr_command_misused(&qsr_cmd_export, "needs --tensorboard DIR2: where to write");
    qsr_archive archive;
    qsr_error e = {0};
    if (qsr_archive_read(args->words[0], &archive, &e)) return qsr_cli_report(&e);
    int code = QSR_EXIT_OK;
    if (qsr_tensorboard_write(&archive, folder, &e))
        code = qsr_cli_report(&e);
    else
        printf("%s: %zu runs; show them with tensorboard --logdir %s\n", folder, archive.count, folder);
    qsr_archive_free(&archive);
    return code;
}

const qsr_command qsr_cmd_export = {
    .name = "export",
    .synopsis = "DIR --tensorboard DIR2",
    .summary = "write the runs below DIR for TensorBoard",
    .help = "Writes an event file for every run folder below DIR, in a folder of the same name below\n"
            "DIR2: the lines of metrics.jsonl as train/NAME, tokens per second as\n"
            "time/tokens_per_second, the metrics of the evaluation as eval/NAME at the last step.\n"
            "Files of an earlier export are replaced.",
    .options = (const qsr_arg_option[]){{"tensorboard", "DIR2", "where to write event files; required"}, {0}},
    .run = run,
};

/* `quasar index`: the run folders below a folder as one SQLite file. */
#include <stdio.h>

#include "base/fs.h"
#include "cli/command.h"
#include "lab/index.h"

static void print_counts(const qsr_archive *archive, const char *path)
{
    size_t counts[4] = {0};
    for (size_t i = 0; i < archive->count; i++) counts[archive->records[i].state]++;
    printf("%s: %zu runs", path, archive->count);
    for (int state = 0; state < 4; state++)
        if (counts[state]) printf(", %zu %s", counts[state], qsr_record_state_name((qsr_record_state)state));
    puts("");
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_index, "needs one folder of runs, got %zu", args->n_words);
    qsr_archive archive;
    qsr_error e = {0};
    if (qsr_archive_read(args->words[0], &archive, &e)) return qsr_cli_report(&e);
    const char *path = qsr_path_join(&args->arena, args->words[0], "index.sqlite");
    int code = QSR_EXIT_OK;
    if (qsr_index_write(&archive, path, &e))
        code = qsr_cli_report(&e);
    else
        print_counts(&archive, path);
    qsr_archive_free(&archive);
    return code;
}

const qsr_command qsr_cmd_index = {
    .name = "index",
    .synopsis = "DIR",
    .summary = "write DIR/index.sqlite: runs, parameters, metrics",
    .help = "Reads every run folder below DIR and writes DIR/index.sqlite anew, with the tables runs,\n"
            "parameters, metrics and plugins. The run folders stay the truth: the file can be deleted\n"
            "at any time. Folders that cannot be understood are warned about and listed as broken.",
    .options = (const qsr_arg_option[]){{0}},
    .run = run,
};

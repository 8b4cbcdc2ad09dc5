/* `quasar diff`: two run folders side by side: what they were made of, where they part, what came out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/table.h"
#include "cli/command.h"
#include "lab/diff.h"

static void print_part(const qsr_diff *d, size_t first, size_t end)
{
    qsr_table table = {.columns = 3};
    for (size_t i = first; i < end; i++) {
        const qsr_difference *x = &d->items[i];
        qsr_table_row(&table, (const char *[]){x->key, x->a ? x->a : "(missing)", x->b ? x->b : "(missing)"});
    }
    printf("%s%s\n", d->items[first].part, d->items[first].counts ? "" : " (equal runs may differ here)");
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
}

/* A heading for each run of differences of one part and one weight. */
static void print(const qsr_diff *d)
{
    for (size_t i = 0, end; i < d->n; i = end) {
        for (end = i + 1; end < d->n; end++)
            if (strcmp(d->items[end].part, d->items[i].part) != 0 || d->items[end].counts != d->items[i].counts) break;
        print_part(d, i, end);
    }
}

static int run(qsr_args *args)
{
    if (args->n_words != 2) return qsr_command_misused(&qsr_cmd_diff, "needs two run folders, got %zu", args->n_words);
    qsr_diff d;
    qsr_error e = {0};
    if (qsr_diff_make(args->words[0], args->words[1], &d, &e)) {
        qsr_diff_free(&d);
        return qsr_cli_report(&e);
    }
    int code = d.equal ? QSR_EXIT_OK : QSR_EXIT_FAILED;
    print(&d);
    if (d.equal) printf("equal, in all %" PRIu64 " logged steps\n", d.steps);
    else printf("different; equal in the first %" PRIu64 " logged steps\n", d.steps);
    qsr_diff_free(&d);
    return code;
}

const qsr_command qsr_cmd_diff = {
    .name = "diff",
    .synopsis = "RUN RUN",
    .summary = "say what differs between two run folders, and from which step on",
    .help = "Compares two run folders: options of the spec, inputs by their digests, plugins, Quasar, machine; the\n"
            "first logged step whose values differ; metrics of the result; the autoencoder, tokens.csv and, where\n"
            "both asked for the same, latents.csv and top_contexts.jsonl. Exit code 0: equal in everything that\n"
            "equal runs agree in (machine, threads, folders and logging may differ, and are shown all the same),\n"
            "1: different.",
    .options = (const qsr_arg_option[]){{0}},
    .run = run,
};

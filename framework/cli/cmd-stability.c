/* `quasar stability`: how much of the decoders comes again with another seed. */
#include <stdio.h>

#include "base/log.h"
#include "base/sizes.h"
#include "cli/command.h"
#include "cli/runs.h"
#include "math/kernel.h"
#include "report/stability.h"
#include "report/table.h"

static void show_pair(void *ctx, const qsr_stability_pair *p, size_t done, size_t of)
{
    if (*(const bool *)ctx) return;
    fprintf(stderr, "%zu/%zu: %s and %s: mcc %.4f", done, of, p->a, p->b, p->mcc);
    if (p->recalled)
        fputs(" (known)\n", stderr);
    else
        fprintf(stderr, ", %.1f s\n", p->seconds);
}

/* ---- two decoders */

/* What chooses among runs, or lays out their table. */
static const char *option_of_tables(const qsr_args *args)
{
    static const char *const names[] = {"where", "rows", "format"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (qsr_args_has(args, names[i])) return names[i];
    return NULL;
}

static int compare_two(const qsr_args *args, const qsr_stability_options *options)
{
    qsr_decoder decoder[2] = {{0}};
    qsr_stability_pair p;
    qsr_error e = {0};
    qsr_status status = qsr_decoder_load(args->words[0], &decoder[0], &e);
    if (!status) status = qsr_decoder_load(args->words[1], &decoder[1], &e);
    if (!status) status = qsr_stability_of(&decoder[0], &decoder[1], options, &p, &e);
    if (!status) {
        printf("%zu latents and %zu latents of width %zu\n", decoder[0].latents, decoder[1].latents, decoder[0].d_in);
        printf("  mcc                          %.6f\n", p.mcc);
        printf("  gap to the optimum           %.2g\n", p.gap);
        printf("  max cosine, first in second  %.6f\n", p.max_cosine[0]);
        printf("  max cosine, second in first  %.6f\n", p.max_cosine[1]);
    }
    qsr_decoder_free(&decoder[0]);
    qsr_decoder_free(&decoder[1]);
    return status ? qsr_cli_report(&e) : QSR_EXIT_OK;
}

/* ---- the seeds of cells */

static qsr_status match_seeds(qsr_args *args, const qsr_stability_options *options, size_t *ret_pairs, size_t *ret_unusable,
                              qsr_error *e)
{
    qsr_archive archive;
    qsr_frame frame;
    qsr_status status = qsr_archive_read(args->words[0], &archive, e);
    if (status) return status;
    status = qsr_frame_make(&archive, NULL, &frame, e);
    if (!status) {
        for (const char *const *where = qsr_args_values(args, "where"); !status && *where; where++)
            status = qsr_frame_where(&frame, *where, e);
        if (!status) status = qsr_stability_make(&frame, &archive, options, ret_pairs, ret_unusable, e);
        if (!status) qsr_cli_notes(&frame);
        qsr_frame_free(&frame);
    }
    qsr_archive_free(&archive);
    return status;
}

/* What the runs say now, through the same eyes as `quasar table`. */
static qsr_status print_table(qsr_args *args, qsr_sheet_format format, qsr_error *e)
{
    static const char *const cols[] = {"stability.mcc", "stability.max_cosine", "stability.gap", NULL};
    qsr_table_request request = {
        .rows = qsr_cli_list(args, "rows"), .cols = cols, .full = format == QSR_FORMAT_CSV || format == QSR_FORMAT_JSON};
    qsr_frame frame;
    qsr_sheet sheet;
    qsr_text text = {0};
    qsr_log_set_level(QSR_LOG_WARNING + 1); /* what is broken was said before */
    qsr_status status = qsr_cli_frame(args, &frame, e);
    if (status) return status;
    status = qsr_report_table(&frame, &request, &sheet, e);
    qsr_frame_free(&frame);
    if (status) return status;
    qsr_sheet_write(&sheet, format, &text);
    fputs(text.bytes, stdout);
    qsr_text_free(&text);
    qsr_sheet_free(&sheet);
    return QSR_OK;
}

static int compare_seeds(qsr_args *args, const qsr_stability_options *options)
{
    size_t pairs, unusable;
    qsr_error e = {0};
    qsr_sheet_format format;
    if (qsr_cli_format(args, &format, &e)) return qsr_command_misused(&qsr_cmd_stability, "%s", e.text);
    if (match_seeds(args, options, &pairs, &unusable, &e)) return qsr_cli_report(&e);
    if (!pairs && unusable) {
        fprintf(stderr, "quasar: no two runs in %s whose decoders can be read differ in nothing but the seed\n", args->words[0]);
        return QSR_EXIT_USAGE;
    }
    if (!pairs) {
        fprintf(
            stderr,
            "quasar: no two completed runs in %s differ in nothing but the seed; give several, such as seeds: [1, 2, 3]\n",
            args->words[0]);
        return QSR_EXIT_USAGE;
    }
    if (print_table(args, format, &e)) return qsr_cli_report(&e);
    return unusable ? QSR_EXIT_FAILED : QSR_EXIT_OK;
}

static int run(qsr_args *args)
{
    unsigned threads;
    bool quiet = qsr_args_has(args, "quiet");
    qsr_error e = {0};
    qsr_pool *pool;
    qsr_stability_options options = {.ctx = &quiet, .pair = show_pair};
    if (args->n_words != 1 && args->n_words != 2)
        return qsr_command_misused(&qsr_cmd_stability, "needs one folder of runs, or two runs, got %zu", args->n_words);
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e))
        return qsr_command_misused(&qsr_cmd_stability, "%s", e.text);
    const char *unused = args->n_words == 2 ? option_of_tables(args) : NULL;
    if (unused)
        return qsr_command_misused(&qsr_cmd_stability, "--%s goes with a folder of runs: two runs are matched as they are",
                                   unused);
    const char *memory = qsr_args_value(args, "memory");
    if (memory && (!qsr_size_parse(memory, &options.memory) || !options.memory))
        return qsr_command_misused(&qsr_cmd_stability, "--memory is '%s', but must be a size such as 8GiB", memory);
    if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &pool, &e)) return qsr_cli_report(&e);
    options.pool = pool;
    int code = args->n_words == 2 ? compare_two(args, &options) : compare_seeds(args, &options);
    qsr_pool_free(pool);
    return code;
}

const qsr_command qsr_cmd_stability = {
    .name = "stability",
    .synopsis = "DIR [--where KEY=VALUE]... [--rows KEYS] [--format FORMAT] [--memory SIZE] [--threads N] [--quiet]\n"
                "                        RUN RUN",
    .summary = "match the decoders of a cell's seeds: how much of them comes again",
    .help = "For all completed runs below DIR that differ in nothing but the seed, pairs their latents\n"
            "one to one so that the sum of |cosine| of their decoder rows is largest (exactly), and\n"
            "prints the mean of it (mcc), the mean largest cosine of a latent with any of the other run\n"
            "(max_cosine), and how far the pairing may be from the best (gap; 0 up to rounding).\n"
            "Each run's folder keeps the numbers in stability.json; `quasar table` then has them as\n"
            "stability.mcc and so on, and nothing is computed twice. Of two runs (or folders of SAEs),\n"
            "which may have different numbers of latents, the numbers are printed and not kept; --where,\n"
            "--rows and --format are for the table.",
    .options = (const qsr_arg_option[]){{"where", "K=V", "only runs whose parameter K is V; K=V,W: V or W; repeatable"},
                                        {"rows", "KEYS", "parameters that tell rows of the table apart"},
                                        {"format", "FORMAT", "text (default), csv, md, latex or json"},
                                        {"memory", "SIZE",
                                         "what matching two decoders may take: 4 bytes for each pair of latents\n"
                                         "                     (default: 70 % of what is available)"},
                                        QSR_ARG_THREADS,
                                        {"quiet", NULL, "do not tell of each pair"},
                                        {0}},
    .run = run,
};

/* `quasar cache`: the hidden states of a spec's dataset stored on disk, to train from more than once. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sizes.h"
#include "base/text.h"
#include "cli/cells.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "lab/cache.h"
#include "math/kernel.h"

static void show_progress(void *ctx, uint64_t units, uint64_t of, uint64_t rows)
{
    qsr_progress_storing(ctx, units, of, rows);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static int read_dtype(const qsr_args *args, qsr_dtype *ret)
{
    static const struct {
        const char *word;
        qsr_dtype dtype;
    } words[] = {{"f32", QSR_F32}, {"f16", QSR_F16}, {"bf16", QSR_BF16}};
    const char *word = qsr_args_value(args, "dtype");
    *ret = QSR_F32;
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++) {
        if (strcmp(words[i].word, word) != 0) continue;
        *ret = words[i].dtype;
        return 0;
    }
    return word ? qsr_command_misused(&qsr_cmd_cache, "--dtype takes f16, bf16 or f32, not '%s'", word) : 0;
}

static int read_options(const qsr_args *args, qsr_cache_options *o)
{
    const char *size = qsr_args_value(args, "shard-size"), *rows = qsr_args_value(args, "rows");
    o->out = qsr_args_value(args, "out");
    o->shard_bytes = (size_t)256 << 20;
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_cache, "needs one spec");
    if (!o->out) return qsr_command_misused(&qsr_cmd_cache, "needs --out DIR");
    if (size && (!qsr_size_parse(size, &o->shard_bytes) || !o->shard_bytes))
        return qsr_command_misused(&qsr_cmd_cache, "--shard-size takes a size such as 256MiB, not '%s'", size);
    if (rows && (!qsr_parse_uint(rows, &o->rows) || !o->rows))
        return qsr_command_misused(&qsr_cmd_cache, "--rows takes a number of rows from 1, not '%s'", rows);
    return read_dtype(args, &o->dtype);
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static void print_plan(const qsr_cache_job *job, FILE *to)
{
    const qsr_cache *c = &job->parts[0].cache;
    char left[32], disk[32];
    fprintf(to, "%" PRIu64 " units of %zu rows, %zu wide, as %s in %" PRIu64 " shard%s\n", c->units, c->rows_per_unit,
            c->d_in, qsr_dtype_name(c->dtype), c->shards, c->shards == 1 ? "" : "s");
    for (size_t i = 0; i < job->n; i++) {
        const qsr_cache_part *p = &job->parts[i];
        fprintf(to, "  %s%s%s%s", p->folder, *p->name ? " (" : "", p->name, *p->name ? ")" : "");
        if (p->kept) fprintf(to, ": %" PRIu64 " of %" PRIu64 " shards are there", p->kept, p->cache.shards);
        fputs("\n", to);
    }
    fprintf(to, "%s to write, %s free\n", qsr_size_text(job->bytes_left, left, sizeof left),
            qsr_size_text(job->bytes_free, disk, sizeof disk));
}

static void print_result(const qsr_cache_job *job)
{
    for (size_t i = 0; i < job->n; i++) {
        const json_t *root = job->parts[i].cache.root;
        const json_int_t rows = json_integer_value(json_object_get(root, "rows")),
                         kept = json_integer_value(json_object_get(root, "rows_kept"));
        printf("%s: %lld rows, mean norm %.6g", job->parts[i].folder, (long long)rows,
               json_number_value(json_object_get(root, "mean_norm")));
        if (kept != rows) printf(" of the %lld that skip_first and exclude leave", (long long)kept);
        puts("");
    }
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int write_cache(qsr_cache_job *job, qsr_cache_options *o, const char *name, bool quiet)
{
    qsr_error e = {0};
    if (!quiet) print_plan(job, stderr);
    o->ctx = qsr_progress_open(name, 0, quiet);
    o->progress = show_progress;
    qsr_status status = qsr_cache_job_run(job, &e);
    qsr_progress_close(o->ctx);
    if (status == QSR_OK) {
        print_result(job);
        return QSR_EXIT_OK;
    }
    if (status == QSR_END) {
        fputs("quasar: interrupted; the same command goes on after the last complete shard\n", stderr);
        return QSR_EXIT_INTERRUPTED;
    }
    const int code = qsr_cli_report(&e);
    if (status != QSR_E_IO) return code;
    fputs("quasar: complete shards stay, and the same command goes on after them\n", stderr);
    return QSR_EXIT_FAILED;
}

static int open_and_write(const qsr_cli_cells *cells, const qsr_args *args, qsr_cache_options *o)
{
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_cache_job job;
    int code = QSR_EXIT_OK;
    if (qsr_cache_job_open((const qsr_spec *const *)cells->cells, cells->n, o, &job, &problems, &e))
        code = problems.count ? qsr_cli_problems(&problems) : qsr_cli_report(&e);
    else if (qsr_args_has(args, "dry-run"))
        print_plan(&job, stdout);
    else
        code = write_cache(&job, o, cells->name, qsr_args_has(args, "quiet"));
    if (job.options) qsr_cache_job_close(&job);
    qsr_problems_free(&problems);
    return code;
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    qsr_cache_options o = {.stop = &qsr_interrupted};
    int code = read_options(args, &o);
    if (code) return code;
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_cache, "%s", e.text);
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_cli_cells cells;
    if (qsr_cli_cells_load(args->words[0], args, &env, &cells, &problems)) {
        code = qsr_cli_problems(&problems);
    } else {
        if (qsr_kernels_verify(&e) || qsr_pool_create(threads, &o.pool, &e)) {
            code = qsr_cli_report(&e);
        } else {
            qsr_interrupt_listen();
            code = open_and_write(&cells, args, &o);
            if (code && qsr_interrupted) code = QSR_EXIT_INTERRUPTED;
            qsr_pool_free(o.pool);
        }
        qsr_cli_cells_free(&cells);
    }
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_cache = {
    .name = "cache",
    .synopsis = "SPEC [key=value...] --out DIR [--dtype f16|bf16|f32] [options]",
    .summary = "store the hidden states of a spec's dataset, to train from them",
    .help = "Computes all rows of the spec's dataset once and stores them in DIR: cache.json, which says what\n"
            "they are, and shards (.safetensors). `dataset: {plugin: activations, cache: DIR}` trains from\n"
            "them, with --dtype f32 to the same bytes as from the dataset itself. A spec whose cells differ\n"
            "in the hook alone (dataset.hook.layer=3,6,9) stores all of them in one pass, each in a folder of its\n"
            "own below DIR. What is interrupted goes on after its last complete shard.",
    .options =
        (const qsr_arg_option[]){{"out", "DIR", "where to; required"},
                                 {"dtype", "TYPE", "f32, the default; f16 and bf16 take half the room and are rounded"},
                                 {"rows", "N", "only the first units that hold N rows (default: all)"},
                                 {"shard-size", "SIZE", "size of a file, at least one unit (default: 256MiB)"},
                                 {"dry-run", NULL, "say what would be written, and how much; create nothing"},
                                 QSR_ARG_THREADS,
                                 {"quiet", NULL, "show no progress, only results"},
                                 QSR_ARG_PLUGIN_DIR,
                                 {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

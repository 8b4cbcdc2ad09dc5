/* `quasar submit`: a grid as a Slurm job array, one task for each shard, and a job afterwards that indexes what came out. */
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/cells.h"
#include "cli/command.h"
#include "lab/plan.h"
#include "math/pool.h"

extern char **environ;

typedef struct {
    qsr_args *args;
    const char *spec, *name, *out, *program, *folder; /* absolute: out, program, the working directory */
    unsigned shards;
    size_t cells;
} job;

/* ---- the scripts ------------------------------------------------------------------------------------------------- */

/* A word as a shell reads it back, and as #SBATCH lines do. */
static void put_word(qsr_text *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,%@=+-";
    qsr_text_puts(out, " ");
    if (*word && !word[strspn(word, plain)]) {
        qsr_text_puts(out, word);
        return;
    }
    qsr_text_puts(out, "'");
    for (; *word; word++) {
        if (*word == '\'') qsr_text_puts(out, "'\\''");
        else qsr_text_append(out, word, 1);
    }
    qsr_text_puts(out, "'");
}

static void put_option(qsr_text *out, const char *key, const char *value)
{
    qsr_arena arena = {0};
    qsr_text_puts(out, "#SBATCH");
    put_word(out, qsr_arena_printf(&arena, "--%s=%s", key, value));
    qsr_text_puts(out, "\n");
    qsr_arena_free(&arena);
}

/* Where it runs, where its output goes, and what the user wants of sbatch, which comes last and wins. */
static void put_head(qsr_text *out, const job *j, const char *suffix, const char *log)
{
    qsr_arena arena = {0};
    put_option(out, "job-name", qsr_arena_printf(&arena, "%s%s", j->name, suffix));
    put_option(out, "chdir", j->folder);
    put_option(out, "output", qsr_arena_printf(&arena, "%s/slurm/%s%s-%s.log", j->out, j->name, suffix, log));
    put_option(out, "open-mode", "append");
    if (j->args->n_rest) {
        qsr_text_puts(out, "#SBATCH");
        for (size_t i = 0; i < j->args->n_rest; i++) put_word(out, j->args->rest[i]);
        qsr_text_puts(out, "\n");
    }
    qsr_arena_free(&arena);
}

static void put_command(qsr_text *out, const job *j)
{
    static const char *const passed[] = {"memory", "threads", "rerun"};
    qsr_text_puts(out, "exec");
    put_word(out, j->program);
    qsr_text_puts(out, " run");
    put_word(out, j->spec);
    for (size_t i = 0; i < j->args->n_overrides; i++) put_word(out, j->args->overrides[i]);
    qsr_text_puts(out, " --out");
    put_word(out, j->out);
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        const char *value = qsr_args_value(j->args, passed[i]);
        if (!value) continue;
        qsr_text_add(out, " --%s", passed[i]);
        put_word(out, value);
    }
    for (const char *const *dir = qsr_args_values(j->args, "plugin-dir"); *dir; dir++) {
        qsr_text_puts(out, " --plugin-dir");
        put_word(out, *dir);
    }
    qsr_text_add(out, " --quiet --shard \"$SLURM_ARRAY_TASK_ID/%u\" \"$@\"\n", j->shards);
}

/* A minute before its time is over a task gets SIGTERM, writes its checkpoints and ends; exec makes it the one that gets it. */
static void write_array(qsr_text *out, const job *j)
{
    qsr_arena arena = {0};
    qsr_text_add(out, "#!/bin/sh\n# quasar submit: %zu cell%s in %u task%s. Submitted again, it goes on where it stopped.\n", j->cells,
                 j->cells == 1 ? "" : "s", j->shards, j->shards == 1 ? "" : "s");
    put_option(out, "array", qsr_arena_printf(&arena, "1-%u", j->shards));
    put_option(out, "signal", "B:TERM@60");
    qsr_text_puts(out, "#SBATCH --requeue\n");
    put_head(out, j, "", "%A_%a");
    qsr_text_puts(out, "set --\n");
    if (!qsr_args_has(j->args, "threads"))
        qsr_text_puts(out, "if [ -n \"${SLURM_CPUS_PER_TASK:-}\" ]; then set -- \"$@\" --threads \"$SLURM_CPUS_PER_TASK\"; fi\n");
    if (!qsr_args_has(j->args, "memory"))
        qsr_text_puts(out, "if [ \"${SLURM_MEM_PER_NODE:-0}\" -gt 0 ]; then set -- \"$@\" --memory \"$((SLURM_MEM_PER_NODE * 7 / 10))MiB\"; fi\n");
    put_command(out, j);
    qsr_arena_free(&arena);
}

static void write_index(qsr_text *out, const job *j)
{
    qsr_text_puts(out, "#!/bin/sh\n# quasar submit: what the array made, as one SQLite file\n");
    put_head(out, j, "-index", "%j");
    qsr_text_puts(out, "exec");
    put_word(out, j->program);
    qsr_text_puts(out, " index");
    put_word(out, j->out);
    qsr_text_puts(out, "\n");
}

/* ---- sbatch ------------------------------------------------------------------------------------------------------ */

/* Runs it with its standard output caught; QSR_E_UNSUPPORTED when there is none here. */
static qsr_status call(const char *const *argv, char *out, size_t room, qsr_error *e)
{
    int ends[2], state = 0;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    if (pipe(ends) != 0) return qsr_fail_errno(e, "open", "a pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    posix_spawn_file_actions_addclose(&actions, ends[1]);
    int number = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    size_t n = 0;
    for (ssize_t got = 1; !number && got > 0 && n + 1 < room; n += got > 0 ? (size_t)got : 0) got = read(ends[0], out + n, room - 1 - n);
    out[n] = 0;
    close(ends[0]);
    if (number == ENOENT) return qsr_fail(e, QSR_E_UNSUPPORTED, "there is no %s here: submit where Slurm is, or see --dry-run", argv[0]);
    if (number) return qsr_fail(e, QSR_E_IO, "cannot run %s: %s", argv[0], strerror(number));
    waitpid(pid, &state, 0);
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return QSR_OK;
    return qsr_fail(e, QSR_E_INTERNAL, "sbatch refused %s", argv[2]);
}

/* `sbatch --parsable` says "ID" or "ID;CLUSTER". */
static qsr_status sbatch(const char *script, const char *dependency, char *ret_id, size_t room, qsr_error *e)
{
    const char *argv[] = {"sbatch", "--parsable", dependency ? dependency : script, dependency ? script : NULL, NULL};
    qsr_status status = call(argv, ret_id, room, e);
    ret_id[strcspn(ret_id, ";\n")] = 0;
    if (!status && !*ret_id) status = qsr_fail(e, QSR_E_INTERNAL, "sbatch did not say which job %s is", script);
    return status;
}

static qsr_status write_script(const char *path, const qsr_text *text, qsr_error *e)
{
    qsr_status status = qsr_write_file(path, text->bytes, text->length, e);
    if (!status && chmod(path, 0755) != 0) status = qsr_fail_errno(e, "change", path);
    return status;
}

static int submit(const job *j, const qsr_text *array, const qsr_text *index)
{
    qsr_error e = {0};
    qsr_arena arena = {0};
    char first[256], second[256];
    const char *folder = qsr_path_join(&arena, j->out, "slurm");
    const char *run = qsr_arena_printf(&arena, "%s/%s.sh", folder, j->name);
    const char *after = qsr_arena_printf(&arena, "%s/%s-index.sh", folder, j->name);
    qsr_status status = qsr_mkdirs(folder, &e);
    if (!status) status = write_script(run, array, &e);
    if (!status) status = write_script(after, index, &e);
    if (!status) status = sbatch(run, NULL, first, sizeof first, &e);
    if (!status) status = sbatch(after, qsr_arena_printf(&arena, "--dependency=afterany:%s", first), second, sizeof second, &e);
    if (!status)
        printf("job %s: %zu cell%s in %u task%s; job %s indexes %s afterwards\nscripts and logs are in %s; `quasar status %s --out %s` "
               "says how it stands\n", first, j->cells, j->cells == 1 ? "" : "s", j->shards, j->shards == 1 ? "" : "s", second, j->out,
               folder, j->spec, j->out);
    qsr_arena_free(&arena);
    return status ? qsr_cli_report(&e) : QSR_EXIT_OK;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* Streams: a task for each, unless told otherwise, since tasks that share one would both read it. */
static qsr_status count_streams(const qsr_cli_cells *cells, qsr_registry *registry, unsigned *ret, qsr_problems *problems, qsr_error *e)
{
    qsr_run_options options = {.registry = registry, .memory = SIZE_MAX};
    qsr_plan plan;
    qsr_plan_make((const qsr_spec *const *)cells->cells, cells->n, &options, true, &plan);
    qsr_status status = qsr_plan_check(&plan, (const qsr_spec *const *)cells->cells, &options, problems, e);
    *ret = (unsigned)plan.n;
    qsr_plan_free(&plan);
    return status;
}

static int prepare(job *j, const qsr_cli_cells *cells, qsr_registry *registry, qsr_problems *problems)
{
    static char program[PATH_MAX], folder[PATH_MAX];
    qsr_error e = {0};
    unsigned streams;
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0 || !getcwd(folder, sizeof folder)) {
        qsr_fail_errno(&e, "find", n <= 0 ? "/proc/self/exe" : "the working directory");
        return qsr_cli_report(&e);
    }
    if (count_streams(cells, registry, &streams, problems, &e)) return problems->count ? qsr_cli_problems(problems) : qsr_cli_report(&e);
    if (qsr_args_count(j->args, "shards", 1, (unsigned)cells->n, streams, &j->shards, &e))
        return qsr_command_misused(&qsr_cmd_submit, "%s", e.text);
    const char *out = qsr_args_value(j->args, "out");
    j->out = qsr_path_absolute(&j->args->arena, out ? out : "runs");
    j->program = program;
    j->folder = folder;
    j->name = cells->name;
    j->cells = cells->n;
    return QSR_EXIT_OK;
}

static int prepare_and_submit(job *j, const qsr_cli_cells *cells, qsr_registry *registry, qsr_problems *problems)
{
    int code = prepare(j, cells, registry, problems);
    if (code) return code;
    qsr_text array = {0}, index = {0};
    write_array(&array, j);
    write_index(&index, j);
    if (qsr_args_has(j->args, "dry-run")) printf("%s\n%s", array.bytes, index.bytes);
    else code = submit(j, &array, &index);
    qsr_text_free(&array);
    qsr_text_free(&index);
    return code;
}

static int run(qsr_args *args)
{
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_submit, "needs one spec; options for sbatch go after --");
    if (!qsr_args_has(args, "slurm")) return qsr_command_misused(&qsr_cmd_submit, "needs --slurm, the one scheduler that it knows");
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_spec_env env = qsr_cli_spec_env(registry);
    qsr_problems problems = {0};
    qsr_cli_cells cells;
    job j = {.args = args, .spec = args->words[0]};
    int code;
    if (qsr_cli_cells_load(j.spec, args, &env, &cells, &problems)) code = qsr_cli_problems(&problems);
    else code = prepare_and_submit(&j, &cells, registry, &problems);
    qsr_cli_cells_free(&cells);
    qsr_problems_free(&problems);
    qsr_registry_free(registry);
    return code;
}

const qsr_command qsr_cmd_submit = {
    .name = "submit",
    .synopsis = "SPEC [key=value...] --slurm [--shards N] [--out DIR] [options] [-- SBATCH_OPTION...]",
    .summary = "train a spec's cells as a Slurm job array, and index them afterwards",
    .help = "Writes DIR/slurm/NAME.sh, a job array whose tasks run `quasar run SPEC --shard I/N`, and submits it with\n"
            "sbatch, then a job that runs `quasar index DIR` when all tasks have ended. What follows -- is for sbatch:\n"
            "-- --partition=long --time=12:00:00. Tasks end in order before their time is over; submitted again, the\n"
            "same command goes on where they stopped.",
    .options = (const qsr_arg_option[]){{"slurm", NULL, "submit to Slurm; required"},
                                        {"shards", "N", "tasks of the array (default: one for each stream of data)"},
                                        {"out", "DIR", "where run folders go, seen from every node (default: runs)"},
                                        {"memory", "SIZE", "what cells trained together may hold (default: 70 % of the task's)"},
                                        QSR_ARG_THREADS,
                                        {"rerun", "WHICH", "train again what is failed, stale, or all"},
                                        {"dry-run", NULL, "print the scripts; write and submit nothing"},
                                        QSR_ARG_PLUGIN_DIR,
                                        {0}},
    .mode = QSR_ARGS_KEEP_REST,
    .run = run,
};

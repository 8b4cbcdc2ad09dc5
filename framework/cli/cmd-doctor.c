/* `quasar doctor`: what this program computes with on this machine, and whether something is unusable. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/command.h"
#include "base/table.h"
#include "math/blas.h"
#include "math/kernel.h"
#include "math/screen.h"
#include "math/pool.h"
#include "plugin/loader.h"

typedef struct {
    qsr_table table;
    qsr_text complaints; /* a line each: what is unusable */
} findings;

static void note(findings *f, const char *what, const char *fmt, ...) QSR_PRINTF(3, 4);
static void note(findings *f, const char *what, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    qsr_table_row(&f->table, (const char *[]){what, text});
}

static void complain(findings *f, const qsr_error *e) { qsr_text_add(&f->complaints, "unusable: %s\n", e->text); }

static void look_at_blas(findings *f)
{
    static const char *const flavours[] = {"without threads", "POSIX threads", "OpenMP"};
    qsr_blas_info info;
    qsr_error e = {0};
    qsr_blas_start();
    qsr_blas_describe(&info);
    const char *flavour = info.parallel >= 0 && info.parallel <= 2 ? flavours[info.parallel] : "unknown threading";
    note(f, "BLAS", "%s", info.config);
    note(f, "BLAS kernel", "%s, %s; uses %d thread here and %d on threads of our pool (1 is right: our pool cuts the work)",
         info.core, flavour, info.threads, info.pool_threads);
    if (qsr_blas_verify(&e)) complain(f, &e);
}

static void look_at_isa(findings *f)
{
    static const char *const sets[] = {"portable", "avx2", "avx512", NULL};
    qsr_text usable = {0};
    qsr_error e = {0};
    for (const char *const *set = sets; *set; set++)
        if (qsr_kernels_named(*set)) qsr_text_add(&usable, "%s%s", usable.length ? ", " : "", *set);
    const char *forced = getenv("QUASAR_ISA");
    if (qsr_kernels_verify(&e)) {
        note(f, "instruction set", "usable: %s; QUASAR_ISA=%s", usable.bytes, forced ? forced : "");
        complain(f, &e);
    } else {
        note(f, "instruction set", "%s%s (usable: %s)", qsr_kernels_get()->isa, forced ? ", forced by QUASAR_ISA" : "",
             usable.bytes);
    }
    bool bf16 = qsr_screen_tiles_get(QSR_SCREEN_BF16) != NULL, int8 = qsr_screen_tiles_get(QSR_SCREEN_INT8) != NULL;
    note(f, "screening", "%s",
         int8 && bf16 ? "sae.screen can be int8 (AVX512-VNNI) and bf16 (AVX512-BF16)"
         : int8       ? "sae.screen can be int8 (AVX512-VNNI), not bf16"
         : bf16       ? "sae.screen can be bf16 (AVX512-BF16), not int8"
                      : "off: sae.screen needs AVX512-VNNI or AVX512-BF16");
    qsr_text_free(&usable);
}

static void look_at_threads(findings *f, unsigned threads)
{
    qsr_pool *pool;
    qsr_error e = {0};
    if (qsr_pool_create(threads, &pool, &e)) {
        complain(f, &e);
        return;
    }
    note(f, "threads", "%u of %ld processors; results do not depend on it", qsr_pool_threads(pool),
         sysconf(_SC_NPROCESSORS_ONLN));
    qsr_pool_free(pool);
}

static size_t count_in(qsr_registry *registry, uint32_t kind, const char *folder)
{
    const qsr_found *const *found;
    size_t n = qsr_registry_list(registry, kind, &found), inside = 0;
    char *real = realpath(folder, NULL);
    for (size_t i = 0; real && i < n; i++)
        inside += qsr_starts_with(found[i]->path, real) && found[i]->path[strlen(real)] == '/';
    free(real);
    return inside;
}

static void look_at_plugins(findings *f, qsr_registry *registry)
{
    const qsr_found *const *found;
    for (const char *const *folder = qsr_registry_folders(registry); *folder; folder++) {
        if (!qsr_is_folder(*folder))
            note(f, "plugin folder", "%s (does not exist)", *folder);
        else
            note(f, "plugin folder", "%s: %zu activations, %zu losses, %zu datasets", *folder,
                 count_in(registry, QSR_ACTIVATION, *folder), count_in(registry, QSR_LOSS, *folder),
                 count_in(registry, QSR_DATASET, *folder));
    }
    if (!qsr_registry_list(registry, QSR_ACTIVATION, &found) || !qsr_registry_list(registry, QSR_DATASET, &found))
        qsr_text_puts(&f->complaints, "unusable: no activation or no dataset plugin was found; was `make install` run? "
                                      "--plugin-dir and QUASAR_PLUGIN_PATH add folders\n");
    for (const char *const *text = qsr_registry_refusals(registry); *text; text++)
        qsr_text_add(&f->complaints, "refused plugin: %s\n", *text);
}

/* Where `name` is found along PATH, in the arena; or NULL. */
static const char *find_program(qsr_arena *arena, const char *name)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        const char *folder = n ? qsr_arena_strndup(arena, path, n) : ".";
        const char *file = qsr_path_join(arena, folder, name);
        if (access(file, X_OK) == 0 && !qsr_is_folder(file)) return file;
        path += n + (path[n] == ':');
    }
    return NULL;
}

static void look_at_programs(findings *f)
{
    static const struct {
        const char *name, *purpose;
    } programs[] = {{"gnuplot", "draws plots"}, {"valgrind", "used by ./bootstrap.sh --check"}, {"sbatch", "Slurm: runs on clusters"}};
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        qsr_arena arena = {0};
        const char *file = find_program(&arena, programs[i].name);
        note(f, "optional program", "%s: %s (%s)", programs[i].name, file ? file : "not found", programs[i].purpose);
        qsr_arena_free(&arena);
    }
}

static int run(qsr_args *args)
{
    unsigned threads;
    qsr_error e = {0};
    if (args->n_words) return qsr_command_misused(&qsr_cmd_doctor, "takes no operands");
    if (qsr_args_count(args, "threads", 1, 1024, 0, &threads, &e)) return qsr_command_misused(&qsr_cmd_doctor, "%s", e.text);
    qsr_registry *registry = qsr_cli_registry(args);
    findings f = {.table = {.columns = 2}};
    note(&f, "quasar", "%s, plugin ABI %d.%d", PACKAGE_VERSION, QSR_ABI_MAJOR, QSR_ABI_MINOR);
    look_at_blas(&f);
    look_at_isa(&f);
    look_at_threads(&f, threads);
    look_at_plugins(&f, registry);
    look_at_programs(&f);
    qsr_table_print(&f.table, 0, stdout);
    bool well = f.complaints.length == 0;
    fputs(well ? "everything needed is usable\n" : f.complaints.bytes, stdout);
    qsr_table_free(&f.table);
    qsr_text_free(&f.complaints);
    qsr_registry_free(registry);
    return well ? QSR_EXIT_OK : QSR_EXIT_USAGE;
}

const qsr_command qsr_cmd_doctor = {
    .name = "doctor",
    .synopsis = "[--threads N] [--plugin-dir DIR]",
    .summary = "show what this machine offers, and what is unusable",
    .help = "Shows the BLAS library with its kernel and threading, the instruction set, threads,\n"
            "plugin folders with what was refused there, and optional programs. Exit code 2 when\n"
            "something that is needed cannot be used.",
    .options = (const qsr_arg_option[]){QSR_ARG_THREADS, QSR_ARG_PLUGIN_DIR, {0}},
    .run = run,
};

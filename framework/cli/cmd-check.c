/* `quasar check`: whether plugins keep the promises of quasar/plugin.h. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/table.h"
#include "base/text.h"
#include "cli/command.h"
#include "plugin/check.h"

/* A word that looks like a file is one, so that a misspelt file is not called an unknown plugin. */
static bool means_file(const char *word)
{
    return word[0] == '/' || word[0] == '.' || qsr_ends_with(word, ".so") || (qsr_exists(word) && !qsr_is_folder(word));
}

static qsr_status check_word(const char *word, qsr_args *args, qsr_registry *registry, qsr_check_report *report,
                             qsr_error *e)
{
    if (means_file(word)) return qsr_check_file(word, args->overrides, args->n_overrides, report, e);
    const qsr_found *found = qsr_registry_resolve(registry, word, e);
    return found ? qsr_check_plugin(found, args->overrides, args->n_overrides, report, e) : e->code;
}

static bool shown(const qsr_check_line *line, bool quiet)
{
    return !quiet || line->verdict == QSR_CHECK_FAIL || line->verdict == QSR_CHECK_NOT_TESTED;
}

static void print_report(const qsr_check_report *report, bool quiet)
{
    qsr_table table = {.columns = 4};
    for (size_t i = 0; i < report->count; i++) {
        const qsr_check_line *line = &report->lines[i];
        if (!shown(line, quiet)) continue;
        bool repeated = i && strcmp(report->lines[i - 1].plugin, line->plugin) == 0 && !quiet;
        qsr_table_row(&table, (const char *[]){repeated ? "" : line->plugin, line->name,
                                               qsr_check_verdict_name(line->verdict), line->detail});
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
    size_t notes = 0;
    for (size_t i = 0; i < report->count; i++) notes += report->lines[i].verdict == QSR_CHECK_NOTE;
    printf("%zu checks: %zu passed, %zu failed, %zu not applicable\n", report->count,
           report->count - notes - report->failures, report->failures, notes);
}

static int check_all(qsr_args *args, qsr_check_running *running)
{
    qsr_registry *registry = qsr_cli_registry(args);
    qsr_check_report report = {.running = running};
    qsr_error e = {0};
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < args->n_words && !status; i++) status = check_word(args->words[i], args, registry, &report, &e);
    if (report.count) print_report(&report, qsr_args_has(args, "quiet"));
    int code = status ? qsr_cli_report(&e) : report.failures ? QSR_EXIT_FAILED : QSR_EXIT_OK;
    qsr_check_report_free(&report);
    qsr_registry_free(registry);
    return code;
}

/* ---- plugins that crash take a process of their own with them, not the checker */

static int tell_crash(int number, const qsr_check_running *running)
{
    const char *where = running->name[0] ? running->name : running->plugin[0] ? "between two checks" : "while it was loaded";
    printf("%s  %s  FAIL  the plugin crashed here (signal %d, %s): what came after was not tested\n",
           running->plugin[0] ? running->plugin : "a plugin", where, number, strsignal(number));
    return QSR_EXIT_FAILED;
}

/* The checks run in a child that is forked before anything else started a thread. */
static int run(qsr_args *args)
{
    if (args->n_words == 0)
        return qsr_command_misused(&qsr_cmd_check, "needs a file or KIND/NAME; `quasar plugins` lists the names");
    qsr_check_running *running =
        mmap(NULL, sizeof *running, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    const pid_t child = running == MAP_FAILED ? -1 : fork();
    if (child < 0) return check_all(args, NULL);
    if (child == 0) return check_all(args, running);
    int state = 0, code = QSR_EXIT_FAILED;
    if (waitpid(child, &state, 0) == child)
        code = WIFSIGNALED(state) ? tell_crash(WTERMSIG(state), running) : WEXITSTATUS(state);
    munmap(running, sizeof *running);
    return code;
}

const qsr_command qsr_cmd_check = {
    .name = "check",
    .synopsis = "FILE|KIND/NAME... [key=value...] [--quiet] [--plugin-dir DIR]",
    .summary = "test whether plugins keep the promises of the ABI",
    .help = "Runs the conformance suite on each plugin: exported symbols, option table, life cycle\n"
            "with refused memory, inputs and outputs, determinism over threads, independence of\n"
            "rows, gradients against central differences, saved state. Options that a plugin\n"
            "requires and that no range suggests, such as paths, are given as key=value. What could\n"
            "not be tested counts as failed. docs/PLUGINS.md says what each line means.",
    .options = (const qsr_arg_option[]){{"quiet", NULL, "print what failed and the sum alone"}, QSR_ARG_PLUGIN_DIR, {0}},
    .mode = QSR_ARGS_SPLIT_OVERRIDES,
    .run = run,
};

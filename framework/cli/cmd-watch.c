/* `quasar watch`: how a running grid comes along. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/screen.h"
#include "report/watch.h"

enum { CURVE = 24 };

typedef struct {
    const char *folder;
    double interval;
    size_t first; /* run shown at the top */
} watching;

/* A look may cost more than it seems on a slow disk: it takes at most a fifth of the time. */
static double pause_after(const watching *w, double seconds)
{
    return seconds * 4 > w->interval ? seconds * 4 : w->interval;
}

static int code_of(const qsr_watch *w)
{
    return w->counts[QSR_WATCH_FAILED] || w->counts[QSR_WATCH_BROKEN] ? QSR_EXIT_FAILED : QSR_EXIT_OK;
}

static const char *now_text(char *out, size_t n)
{
    time_t now = time(NULL);
    struct tm local;
    strftime(out, n, "%H:%M:%S", localtime_r(&now, &local));
    return out;
}

/* ---- on a terminal ------------------------------------------------------------------------------------------------------------ */

static void add_rows(const qsr_text *table, size_t skipped, unsigned room, qsr_text *out)
{
    const char *at = table->bytes;
    size_t row = 0, shown = 0;
    for (; *at; row++) {
        size_t n = strcspn(at, "\n");
        if (row == 0 || (row > skipped && shown < room)) {
            qsr_text_append(out, at, n);
            qsr_text_puts(out, "\n");
            shown += row > 0;
        }
        at += n + (at[n] == '\n');
    }
    if (row > 1 + skipped + shown)
        qsr_text_add(out, "... %zu more below (j, k or the arrows move)\n", row - 1 - skipped - shown);
}

static void show(watching *w, const qsr_watch *state)
{
    char now[16];
    unsigned columns, rows;
    qsr_text page = {0}, table = {0};
    qsr_screen_size(&columns, &rows);
    qsr_text_add(&page, "quasar watch %s   ", w->folder);
    qsr_watch_summary(state, &page);
    qsr_text_add(&page, "   %s   q quits\n\n", now_text(now, sizeof now));
    qsr_watch_table(state, &table);
    if (w->first + 1 > state->n) w->first = state->n ? state->n - 1 : 0;
    if (state->n) add_rows(&table, w->first, rows > 5 ? rows - 4 : 1, &page);
    qsr_screen_show(&page);
    qsr_text_free(&page);
    qsr_text_free(&table);
}

/* Arrows come as ESC [ A and ESC [ B: their letters alone count. */
static bool take_key(watching *w, char key)
{
    if (key == 'q' || key == 'Q') return false;
    if (key == 'j' || key == 'B') w->first++;
    if ((key == 'k' || key == 'A') && w->first) w->first--;
    return true;
}

static int follow_on_screen(watching *w, qsr_error *e)
{
    int code = QSR_EXIT_OK;
    qsr_screen_open();
    for (bool on = true; on;) {
        qsr_watch state;
        double began = qsr_clock();
        if (qsr_watch_look(w->folder, CURVE, &state, e)) break;
        double until = qsr_clock() + pause_after(w, qsr_clock() - began);
        show(w, &state);
        for (double left; on && (left = until - qsr_clock()) > 0;) {
            char key = 0;
            qsr_screen_event event = qsr_screen_wait(left, &key);
            if (event == QSR_SCREEN_END) code = QSR_EXIT_INTERRUPTED, on = false;
            if (event == QSR_SCREEN_KEY) on = take_key(w, key);
            if (on && event != QSR_SCREEN_TIME) show(w, &state);
        }
        qsr_watch_free(&state);
    }
    qsr_screen_close();
    return e->code ? qsr_cli_report(e) : code;
}

/* ---- elsewhere ----------------------------------------------------------------------------------------------------------------- */

static void print_changes(const qsr_watch *before, const qsr_watch *state)
{
    char now[16];
    qsr_text summary = {0};
    now_text(now, sizeof now);
    for (size_t i = 0; i < state->n; i++) {
        const qsr_watch_run *r = &state->runs[i];
        size_t at = 0;
        while (at < before->n && strcmp(before->runs[at].folder, r->folder) != 0) at++;
        if (at < before->n && before->runs[at].state == r->state) continue;
        printf("%s  %s  %s%s%s\n", now, qsr_watch_states[r->state], r->folder, r->reason ? ": " : "",
               r->reason ? r->reason : "");
    }
    qsr_watch_summary(state, &summary);
    printf("%s  %s\n", now, summary.bytes);
    fflush(stdout);
    qsr_text_free(&summary);
}

static void nap(double seconds)
{
    for (double until = qsr_clock() + seconds; qsr_clock() < until && !qsr_signals_ended();) {
        struct timespec moment = {0, 50000000};
        nanosleep(&moment, NULL);
    }
}

/* Until nothing runs any more, at two looks: between two cells of a grid there may be a moment. */
static int follow_in_lines(const watching *w, qsr_error *e)
{
    qsr_watch before = {0}, state;
    int code = QSR_EXIT_OK;
    qsr_signals_catch();
    for (unsigned idle = 0; idle < 2 && !qsr_signals_ended();) {
        double began = qsr_clock();
        if (qsr_watch_look(w->folder, 0, &state, e)) break;
        bool first = !before.n && !idle;
        if (first || state.counts[QSR_WATCH_RUNNING] || before.counts[QSR_WATCH_RUNNING]) print_changes(&before, &state);
        code = code_of(&state);
        idle = state.counts[QSR_WATCH_RUNNING] ? 0 : idle + 1;
        qsr_watch_free(&before);
        before = state;
        if (idle < 2) nap(pause_after(w, qsr_clock() - began));
    }
    qsr_watch_free(&before);
    if (e->code) return qsr_cli_report(e);
    return qsr_signals_ended() ? QSR_EXIT_INTERRUPTED : code;
}

static int look_once(const watching *w, qsr_error *e)
{
    qsr_watch state;
    qsr_text text = {0};
    if (qsr_watch_look(w->folder, CURVE, &state, e)) return qsr_cli_report(e);
    if (state.n) qsr_watch_table(&state, &text);
    qsr_watch_summary(&state, &text);
    puts(text.bytes);
    int code = code_of(&state);
    qsr_text_free(&text);
    qsr_watch_free(&state);
    return code;
}

static int run(qsr_args *args)
{
    unsigned seconds;
    qsr_error e = {0};
    bool screen = qsr_screen_possible();
    if (args->n_words != 1) return qsr_command_misused(&qsr_cmd_watch, "needs one folder of runs, got %zu", args->n_words);
    if (qsr_args_count(args, "interval", 1, 3600, screen ? 2 : 10, &seconds, &e))
        return qsr_command_misused(&qsr_cmd_watch, "%s", e.text);
    watching w = {.folder = args->words[0], .interval = seconds};
    qsr_log_set_level(QSR_LOG_WARNING + 1); /* a broken folder is in the table, not told anew every time */
    if (qsr_args_has(args, "once")) return look_once(&w, &e);
    return screen ? follow_on_screen(&w, &e) : follow_in_lines(&w, &e);
}

const qsr_command qsr_cmd_watch = {
    .name = "watch",
    .synopsis = "DIR [--interval SECONDS] [--once]",
    .summary = "follow the runs below DIR while they train",
    .help = "On a terminal: a screen with a line for each run, its step, loss, L0, dead latents, speed and a\n"
            "curve of its loss, drawn anew every two seconds; j and k or the arrows move, q or Ctrl-C ends.\n"
            "Elsewhere: a line for each change and one for the whole every ten seconds, until nothing runs\n"
            "any more. Nothing is changed, and training is not disturbed. Exit code 1: some run has failed.",
    .options = (const qsr_arg_option[]){{"interval", "SECONDS", "how often to look (default: 2 on a terminal, else 10)"},
                                        {"once", NULL, "look once, print the table, and end"},
                                        {0}},
    .run = run,
};

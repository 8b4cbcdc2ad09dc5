#include "cli/progress.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

static const double REDRAW_S = 0.1; /* on a terminal: at most ten times a second */
static const double REPEAT_S = 5;   /* elsewhere: a line every five seconds */

/* ---- texts */

/* 61234 as "61.2k": four characters or so, whatever the size. */
static void add_rate(qsr_text *out, double rate)
{
    if (!isfinite(rate))
        qsr_text_puts(out, "-");
    else if (rate >= 1e6)
        qsr_text_add(out, "%.1fM", rate / 1e6);
    else if (rate >= 1e3)
        qsr_text_add(out, "%.1fk", rate / 1e3);
    else
        qsr_text_add(out, "%.0f", rate);
}

/* 1:02:03 or 2:03. */
static void add_duration(qsr_text *out, double seconds)
{
    if (!isfinite(seconds) || seconds < 0 || seconds > 1e8) {
        qsr_text_puts(out, "-:--");
        return;
    }
    unsigned long s = (unsigned long)(seconds + 0.5);
    if (s >= 3600)
        qsr_text_add(out, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        qsr_text_add(out, "%lu:%02lu", s / 60, s % 60);
}

static void add_count(qsr_text *out, double value)
{
    if (isfinite(value))
        qsr_text_add(out, "%.*f", value == floor(value) || value >= 1000 ? 0 : 1, value);
    else
        qsr_text_puts(out, "-");
}

static double fraction_of(const qsr_progress_state *s)
{
    if (!s->steps) return 0;
    return s->step < s->steps ? (double)s->step / (double)s->steps : 1;
}

enum { PART_NAME = 1, PART_L0 = 2, PART_DEAD = 4, PART_RATE = 8, PART_LOSS = 16, PART_ALL = 31 };

/* Everything behind the bar. */
static void add_numbers(qsr_text *out, const qsr_progress_state *s, unsigned parts)
{
    qsr_text_add(out, " %llu/%llu", (unsigned long long)s->step, (unsigned long long)s->steps);
    if (s->evaluating) {
        qsr_text_puts(out, "  tokens evaluated");
        return;
    }
    if (parts & PART_RATE) {
        qsr_text_puts(out, "  ");
        add_rate(out, s->tokens_per_s);
        qsr_text_puts(out, " tokens/s");
    }
    qsr_text_puts(out, "  ETA ");
    add_duration(out, s->seconds_left);
    if (s->storing) return;
    if (parts & PART_LOSS) {
        if (isfinite(s->loss))
            qsr_text_add(out, "  loss %.4g", s->loss);
        else
            qsr_text_puts(out, "  loss -");
    }
    if (parts & PART_L0) {
        qsr_text_puts(out, "  l0 ");
        add_count(out, s->l0);
    }
    if (parts & PART_DEAD) {
        qsr_text_puts(out, "  dead ");
        add_count(out, s->dead);
    }
}

static void add_bar(qsr_text *out, double fraction, size_t cells)
{
    size_t full = (size_t)(fraction * (double)cells);
    qsr_text_puts(out, "[");
    for (size_t i = 0; i < cells; i++) qsr_text_puts(out, i < full ? "=" : i == full ? ">" : " ");
    qsr_text_puts(out, "]");
}

/* The parts that leave room for a bar of `least` cells; what is dropped goes in the order of importance. */
static unsigned choose_parts(const qsr_progress_state *s, size_t width, size_t least)
{
    static const unsigned choices[] = {PART_ALL, PART_ALL & ~PART_NAME, PART_RATE | PART_LOSS | PART_L0, PART_RATE | PART_LOSS,
                                       PART_LOSS};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        qsr_text numbers = {0};
        add_numbers(&numbers, s, choices[i]);
        size_t need = numbers.length + least + 2 + (choices[i] & PART_NAME ? strlen(s->name) + 1 : 0);
        qsr_text_free(&numbers);
        if (need <= width) return choices[i];
    }
    return 0;
}

void qsr_progress_bar(const qsr_progress_state *s, unsigned width, qsr_text *out)
{
    enum { LEAST = 8, MOST = 40 };
    size_t room = width > 1 ? width - 1 : 0;
    unsigned parts = choose_parts(s, room, LEAST);
    size_t begin = out->length;
    if (parts & PART_NAME) qsr_text_add(out, "%s ", s->name);
    qsr_text numbers = {0};
    add_numbers(&numbers, s, parts);
    size_t used = out->length - begin + numbers.length + 2;
    size_t cells = used < room ? room - used : 0;
    if (cells >= 2) add_bar(out, fraction_of(s), cells < MOST ? cells : MOST);
    qsr_text_puts(out, numbers.bytes);
    qsr_text_free(&numbers);
    if (out->length - begin > room) {
        out->length = begin + room;
        out->bytes[out->length] = 0;
    }
}

void qsr_progress_line(const qsr_progress_state *s, qsr_text *out)
{
    qsr_text_add(out, "%s:%s", s->name, s->evaluating ? "" : s->storing ? " unit" : " step");
    add_numbers(out, s, PART_ALL);
}

/* ---- display */

struct qsr_progress_display {
    char *name;
    bool quiet, terminal, drawn, fresh; /* drawn: a bar stands on the screen; fresh: the state was not shown yet */
    qsr_progress_state state;           /* of training */
    uint64_t tokens, tokens_before;     /* seen so far; when this began */
    double began, trained, shown;       /* clock: the beginning, the last step, the last line */
    double window_began;                /* the window over which the speed is measured */
    uint64_t window_tokens;
};

/* The log calls back without an argument, from any thread. */
static pthread_mutex_t screen = PTHREAD_MUTEX_INITIALIZER;
static qsr_progress_display *current;

static unsigned terminal_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

/* Writes in one call, so that nothing tears it. `\033[K` clears what a longer line left behind. */
static void draw(qsr_progress_display *d, const qsr_progress_state *state)
{
    qsr_text text = {0};
    if (d->terminal) {
        qsr_text_puts(&text, "\r");
        qsr_progress_bar(state, terminal_width(), &text);
    } else {
        qsr_progress_line(state, &text);
    }
    qsr_text_puts(&text, d->terminal ? "\033[K" : "\n");
    fwrite(text.bytes, 1, text.length, stderr);
    fflush(stderr);
    qsr_text_free(&text);
    d->drawn = d->terminal;
    d->shown = qsr_clock();
}

static bool is_due(const qsr_progress_display *d, double now)
{
    return !d->quiet && now - d->shown >= (d->terminal ? REDRAW_S : REPEAT_S);
}

static void step_aside(void)
{
    pthread_mutex_lock(&screen);
    if (current && current->drawn) fputs("\r\033[K", stderr);
    pthread_mutex_unlock(&screen);
}

static void come_back(void)
{
    pthread_mutex_lock(&screen);
    if (current && current->drawn) draw(current, &current->state);
    pthread_mutex_unlock(&screen);
}

qsr_progress_display *qsr_progress_open(const char *name, uint64_t tokens, bool quiet)
{
    const char *kind = getenv("TERM");
    qsr_progress_display *d = qsr_xcalloc(1, sizeof *d);
    d->name = qsr_xcalloc(strlen(name) + 1, 1);
    strcpy(d->name, name);
    d->quiet = quiet;
    d->terminal = isatty(STDERR_FILENO) && kind && strcmp(kind, "dumb") != 0;
    d->began = d->trained = d->shown = d->window_began = qsr_clock();
    d->tokens = d->tokens_before = d->window_tokens = tokens;
    d->state = (qsr_progress_state){.name = d->name, .tokens_per_s = NAN, .seconds_left = NAN, .loss = NAN, .l0 = NAN, .dead = NAN};
    pthread_mutex_lock(&screen);
    current = d;
    pthread_mutex_unlock(&screen);
    qsr_log_set_hooks(step_aside, come_back);
    return d;
}

/* Speed over windows of half a second or more, smoothed: the whole run's average would hide a change. */
static void measure(qsr_progress_display *d, double now)
{
    qsr_progress_state *s = &d->state;
    double window = now - d->window_began;
    bool first = isnan(s->tokens_per_s);
    if (window <= 0 || (window < 0.5 && !first)) return;
    double rate = (double)(d->tokens - d->window_tokens) / window;
    s->tokens_per_s = first ? rate : 0.7 * s->tokens_per_s + 0.3 * rate;
    d->window_began = now;
    d->window_tokens = d->tokens;
}

void qsr_progress_update(qsr_progress_display *d, uint64_t step, uint64_t steps, uint64_t tokens, double loss, double l0,
                         double dead)
{
    double now = qsr_clock();
    qsr_progress_state *s = &d->state;
    pthread_mutex_lock(&screen);
    d->tokens = tokens;
    d->trained = now;
    measure(d, now);
    s->step = step;
    s->steps = steps;
    s->loss = loss;
    s->l0 = l0;
    s->dead = dead;
    double tokens_left = step ? (double)tokens / (double)step * (double)(steps - step) : NAN;
    s->seconds_left = s->tokens_per_s > 0 ? tokens_left / s->tokens_per_s : NAN;
    d->fresh = true;
    if (is_due(d, now)) {
        draw(d, s);
        d->fresh = false;
    }
    pthread_mutex_unlock(&screen);
}

void qsr_progress_storing(qsr_progress_display *d, uint64_t units, uint64_t of, uint64_t rows)
{
    d->state.storing = true;
    qsr_progress_update(d, units, of, rows, NAN, NAN, NAN);
}

void qsr_progress_evaluating(qsr_progress_display *d, uint64_t rows, uint64_t of)
{
    pthread_mutex_lock(&screen);
    qsr_progress_state state = {.name = d->name, .evaluating = true, .step = rows, .steps = of};
    if (is_due(d, qsr_clock())) draw(d, &state);
    pthread_mutex_unlock(&screen);
}

void qsr_progress_close(qsr_progress_display *d)
{
    if (!d) return;
    qsr_log_set_hooks(NULL, NULL);
    pthread_mutex_lock(&screen);
    double seconds = d->trained - d->began;
    if (seconds > 0) d->state.tokens_per_s = (double)(d->tokens - d->tokens_before) / seconds; /* at last: the average */
    if (!d->quiet && d->state.steps && (d->fresh || d->drawn)) draw(d, &d->state);
    if (d->drawn) fputs("\n", stderr);
    current = NULL;
    pthread_mutex_unlock(&screen);
    free(d->name);
    free(d);
}

#include "cli/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"

static volatile sig_atomic_t ended, resized, stopped;
static struct termios before;
static bool has_keys, is_open;

static void take_signal(int number)
{
    if (number == SIGWINCH)
        resized = 1;
    else if (number == SIGTSTP)
        stopped = 1;
    else
        ended = 1;
}

static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = take_signal}; /* without SA_RESTART, so that waiting ends */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void qsr_signals_catch(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) catch_signal(numbers[i]);
}

bool qsr_signals_ended(void) { return ended; }

bool qsr_screen_possible(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

/* ---- the terminal ------------------------------------------------------------------------------------------------------- */

static void say(const char *text)
{
    for (size_t n = strlen(text); n;) {
        ssize_t put = write(STDOUT_FILENO, text, n);
        if (put < 0 && errno != EINTR) return;
        if (put > 0) text += put, n -= (size_t)put;
    }
}

/* The other screen, no cursor; keys come one by one and are not echoed, Ctrl-C stays a signal. */
static void enter(void)
{
    has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (has_keys) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    say("\033[?1049h\033[?25l\033[2J");
    is_open = true;
}

static void leave(void)
{
    if (!is_open) return;
    say("\033[?25h\033[?1049l");
    if (has_keys) tcsetattr(STDIN_FILENO, TCSANOW, &before);
    is_open = false;
}

void qsr_screen_open(void)
{
    qsr_signals_catch();
    catch_signal(SIGWINCH);
    catch_signal(SIGTSTP);
    atexit(leave);
    enter();
}

void qsr_screen_close(void) { leave(); }

void qsr_screen_size(unsigned *ret_columns, unsigned *ret_rows)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *ret_columns = known ? size.ws_col : 80;
    *ret_rows = known ? size.ws_row : 24;
}

/* ---- drawing ------------------------------------------------------------------------------------------------------------- */

unsigned qsr_screen_cut(const char *line, size_t n, unsigned columns, qsr_text *out)
{
    size_t used = 0;
    unsigned width = 0;
    while (used < n) {
        bool continues = ((unsigned char)line[used] & 0xc0) == 0x80;
        if (!continues && width == columns) break;
        width += !continues;
        used++;
    }
    qsr_text_append(out, line, used);
    return width;
}

void qsr_screen_show(const qsr_text *text)
{
    unsigned columns, rows;
    qsr_text out = {0};
    const char *at = text->bytes ? text->bytes : "";
    qsr_screen_size(&columns, &rows);
    qsr_text_puts(&out, "\033[H");
    for (unsigned row = 0; row < rows && *at; row++) {
        size_t n = strcspn(at, "\n");
        qsr_text_puts(&out, row ? "\r\n" : "");
        if (qsr_screen_cut(at, n, columns, &out) < columns)
            qsr_text_puts(&out, "\033[K"); /* a full line has nothing behind it, and some terminals would wrap */
        at += n + (at[n] == '\n');
    }
    qsr_text_puts(&out, "\033[J");
    say(out.bytes);
    qsr_text_free(&out);
}

/* ---- events --------------------------------------------------------------------------------------------------------------- */

static bool read_key(char *ret)
{
    ssize_t n = read(STDIN_FILENO, ret, 1);
    if (n == 0) has_keys = false; /* the terminal is gone */
    return n == 1;
}

static void be_stopped(void)
{
    stopped = 0;
    leave();
    raise(SIGSTOP);
    enter();
    resized = 1;
}

qsr_screen_event qsr_screen_wait(double seconds, char *ret_key)
{
    double until = qsr_clock() + seconds;
    for (;;) {
        double left = until - qsr_clock();
        struct pollfd keys = {STDIN_FILENO, POLLIN, 0};
        if (stopped) be_stopped();
        if (ended) return QSR_SCREEN_END;
        if (resized) {
            resized = 0;
            return QSR_SCREEN_RESIZE;
        }
        if (left <= 0) return QSR_SCREEN_TIME;
        int n = poll(&keys, has_keys, (int)(left * 1000) + 1);
        if (n > 0 && read_key(ret_key)) return QSR_SCREEN_KEY;
    }
}

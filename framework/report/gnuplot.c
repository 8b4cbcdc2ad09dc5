#include "report/gnuplot.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum { MOST_WORDS = 4096 };

typedef struct {
    pid_t pid;
    int from; /* its standard error */
    double deadline;
    char words[MOST_WORDS]; /* the beginning of what it said */
    size_t n_words;
} child;

bool qsr_gnuplot_present(void)
{
    const char *path = getenv("PATH");
    qsr_arena arena = {0};
    bool found = false;
    for (const char *at = path ? path : ""; *at && !found; at += strspn(at, ":")) {
        size_t n = strcspn(at, ":");
        found = n && access(qsr_arena_printf(&arena, "%.*s/gnuplot", (int)n, at), X_OK) == 0;
        at += n;
    }
    qsr_arena_free(&arena);
    return found;
}

void qsr_gnuplot_quote(qsr_text *out, const char *text)
{
    size_t n = strlen(text);
    qsr_text_puts(out, "'");
    while (n) {
        uint32_t c = 0;
        size_t length = qsr_utf8_at(text, n, &c);
        if (c == '\'')
            qsr_text_puts(out, "’");
        else if (!length || c < 0x20 || (c >= 0x7f && c < 0xa0))
            qsr_text_puts(out, length ? " " : "?");
        else
            qsr_text_append(out, text, length);
        text += length ? length : 1;
        n -= length ? length : 1;
    }
    qsr_text_puts(out, "'");
}

/* ---- the child -------------------------------------------------------------------------------------------------------- */

/* Our environment, less what would change a figure: numbers have points, no terminal is preset. */
static char **make_environment(qsr_arena *arena)
{
    size_t n = 0, kept = 0;
    while (environ[n]) n++;
    char **list = qsr_arena_alloc(arena, n + 2, sizeof *list);
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LC_", 3) != 0 && strncmp(environ[i], "LANG=", 5) != 0 &&
            strncmp(environ[i], "GNUTERM=", 8) != 0 && strncmp(environ[i], "GNUPLOT_", 8) != 0)
            list[kept++] = environ[i];
    list[kept] = qsr_arena_strdup(arena, "LC_ALL=C.UTF-8");
    return list;
}

/* Between fork and exec nothing may allocate. Exit code 127: it could not be started. */
static void become_gnuplot(const char *folder, const char *script, char *const *environment, int to)
{
    char *const words[] = {"gnuplot", "-d", (char *)script, NULL};
    int nothing = open("/dev/null", O_RDWR);
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(nothing, STDOUT_FILENO) < 0 || dup2(to, STDERR_FILENO) < 0 ||
        chdir(folder) != 0)
        _exit(126);
    execvpe(words[0], words, environment);
    _exit(127);
}

static qsr_status start(child *c, const char *folder, const char *script, qsr_error *e)
{
    int ends[2];
    qsr_arena arena = {0};
    char **environment = make_environment(&arena);
    if (pipe2(ends, O_CLOEXEC) != 0) {
        qsr_arena_free(&arena);
        return qsr_fail_errno(e, "start", "gnuplot");
    }
    c->pid = fork();
    if (c->pid == 0) become_gnuplot(folder, script, environment, ends[1]);
    qsr_arena_free(&arena);
    close(ends[1]);
    c->from = ends[0];
    if (c->pid > 0) return QSR_OK;
    close(ends[0]);
    return qsr_fail_errno(e, "start", "gnuplot");
}

static bool wait_for_words(const child *c)
{
    double left = c->deadline - qsr_clock();
    struct pollfd from = {c->from, POLLIN, 0};
    if (left <= 0) return false;
    return poll(&from, 1, (int)(left * 1000) + 1) != 0; /* an interrupted call comes back here */
}

/* Until it closes its standard error; what is too much is read and dropped. */
static void listen_to(child *c)
{
    char bytes[512];
    while (wait_for_words(c)) {
        ssize_t n = read(c->from, bytes, sizeof bytes);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
        if (n <= 0) break;
        size_t room = sizeof c->words - 1 - c->n_words, taken = (size_t)n < room ? (size_t)n : room;
        memcpy(c->words + c->n_words, bytes, taken);
        c->n_words += taken;
    }
    close(c->from);
}

/* false: it ran out of time and was ended. */
static bool collect(child *c, int *ret_code)
{
    const struct timespec nap = {0, 2000000};
    bool in_time = true;
    for (;;) {
        pid_t got = waitpid(c->pid, ret_code, in_time ? WNOHANG : 0);
        if (got == c->pid || (got < 0 && errno != EINTR)) return in_time;
        if (in_time && qsr_clock() >= c->deadline) {
            kill(c->pid, SIGKILL);
            in_time = false;
        } else if (in_time) {
            nanosleep(&nap, NULL);
        }
    }
}

/* ---- its words ---------------------------------------------------------------------------------------------------------- */

/* Lines, the caret's among them, as one: blanks and line ends are one blank. */
static const char *flatten(char *words)
{
    size_t n = 0;
    for (const char *at = words; *at; at++) {
        bool blank = isspace((unsigned char)*at) || iscntrl((unsigned char)*at) || *at == '^';
        if (blank && (!n || words[n - 1] == ' ')) continue;
        words[n++] = blank ? ' ' : *at;
    }
    while (n && words[n - 1] == ' ') n--;
    words[n < 400 ? n : 400] = 0;
    return n ? words : "it did not say why";
}

qsr_status qsr_gnuplot_run(const char *folder, const char *script, double seconds, qsr_error *e)
{
    child c = {.deadline = qsr_clock() + seconds};
    int code = 0;
    if (!qsr_gnuplot_present())
        return qsr_fail(e, QSR_E_UNSUPPORTED, "gnuplot is not installed (Debian: gnuplot-nox), and figures are made by it");
    qsr_status status = start(&c, folder, script, e);
    if (status) return status;
    listen_to(&c);
    if (!collect(&c, &code))
        return qsr_fail(e, QSR_E_IO, "gnuplot took longer than %g s with %s/%s and was ended", seconds, folder, script);
    if (WIFSIGNALED(code))
        return qsr_fail(e, QSR_E_IO, "gnuplot was ended by signal %d with %s/%s", WTERMSIG(code), folder, script);
    if (WEXITSTATUS(code) != 0)
        return qsr_fail(e, QSR_E_IO, "gnuplot failed with %s/%s: %s", folder, script, flatten(c.words));
    if (c.n_words) qsr_log(QSR_LOG_DEBUG, "gnuplot on %s/%s: %s", folder, script, flatten(c.words));
    return QSR_OK;
}

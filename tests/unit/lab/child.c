#include "child.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../unit.h"
#include "base/arena.h"
#include "base/fs.h"

enum { NOBODY = 65534, COULD_NOT_START = 126 };

const char *build_folder(void)
{
    const char *folder = getenv("QUASAR_BUILD");
    return folder ? folder : QSR_BUILD_DIR;
}

const char *source_folder(void)
{
    const char *folder = getenv("QUASAR_SOURCE");
    return folder ? folder : QSR_SOURCE_DIR;
}

static void redirect(const char *path, int to)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0 || dup2(fd, to) < 0) _exit(COULD_NOT_START);
    close(fd);
}

static _Noreturn void become(const child *c, const char *out, const char *err)
{
    static const char *const unset[] = {"QUASAR_LOG", "QUASAR_ISA", "QUASAR_PLUGIN_PATH", "TERM"};
    redirect("/dev/null", STDIN_FILENO);
    redirect(out, STDOUT_FILENO);
    redirect(err, STDERR_FILENO);
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++) unsetenv(unset[i]);
    setenv("LC_ALL", "C", 1);
    /* A sanitizer's report must not look like a refusal; memory that is refused is for the program to deal with. */
    setenv("ASAN_OPTIONS", "exitcode=99:allocator_may_return_null=1", 1);
    setenv("LSAN_OPTIONS", "exitcode=99", 1);
    setenv("UBSAN_OPTIONS", "halt_on_error=1:exitcode=99:print_stacktrace=1", 1);
    if (chdir(c->folder) != 0) _exit(COULD_NOT_START);
    if (c->as_nobody && geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
        _exit(COULD_NOT_START);
    alarm(c->most_seconds);
    execv(c->argv[0], (char *const *)(uintptr_t)c->argv);
    _exit(COULD_NOT_START);
}

static qsr_text caught(const char *path)
{
    qsr_text text = {0};
    qsr_map map;
    if (qsr_map_open(path, &map, NULL)) fail_msg("no output at %s", path);
    qsr_text_append(&text, map.size ? (const char *)map.bytes : "", map.size);
    qsr_map_close(&map);
    unlink(path);
    return text;
}

ended run_child(const child *c)
{
    qsr_arena arena = {0};
    const char *out = qsr_path_join(&arena, c->aside, "out.txt"), *err = qsr_path_join(&arena, c->aside, "err.txt");
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) become(c, out, err);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    ended e = {WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0, caught(out),
               caught(err)};
    qsr_arena_free(&arena);
    return e;
}

void free_ended(ended *e)
{
    qsr_text_free(&e->out);
    qsr_text_free(&e->err);
}

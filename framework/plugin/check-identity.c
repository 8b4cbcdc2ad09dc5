/* plugin/check-identity: what can be said about a plugin before it is made. Its ABI block, names and methods were checked when
 * it was loaded. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/text.h"
#include "plugin/check-parts.h"
#include "plugin/elf.h"

static qsr_status test_exports(const qsr_check *c, qsr_error *e)
{
    qsr_text names = {0};
    size_t n;
    qsr_status status = qsr_elf_exports(c->found->path, &names, &n, e);
    if (status == QSR_E_INPUT)
        status = QSR_E_UNSUPPORTED;
    else if (!status && n != 1)
        status = qsr_fail(e, QSR_E_INTERNAL,
                          "exports %s: compile with -fvisibility=hidden, so that only qsr_plugin_entry is seen",
                          n ? names.bytes : "nothing");
    qsr_text_free(&names);
    return status;
}

static qsr_status test_gradient_word(const qsr_check *c, qsr_error *e)
{
    uint64_t words = c->plugin->caps & (QSR_CAP_GRAD_EXACT | QSR_CAP_GRAD_PIECEWISE | QSR_CAP_GRAD_SURROGATE);
    if (c->plugin->abi.kind == QSR_DATASET) return QSR_OK;
    if (words && (words & (words - 1)) == 0) return QSR_OK;
    return qsr_fail(e, QSR_E_INTERNAL,
                    "caps must hold exactly one of QSR_CAP_GRAD_EXACT, _PIECEWISE and _SURROGATE, so that its "
                    "gradients can be judged");
}

/* ---- no text at load. The file is loaded already, and loading it again would not run it: a copy is loaded instead, with
 * stdout and stderr in a file for that moment. */

static int copy_of(const char *path, qsr_error *e)
{
    qsr_map map;
    if (qsr_map_open(path, &map, e)) return -1;
    int fd = memfd_create("quasar-check", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < map.size;) {
        ssize_t put = write(fd, map.bytes + done, map.size - done);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            close(fd);
            fd = -1;
        } else {
            done += (size_t)put;
        }
    }
    qsr_map_close(&map);
    if (fd < 0) qsr_fail_errno(e, "copy", path);
    return fd;
}

typedef struct {
    int saved[2], file;
} capture;

static bool capture_start(capture *c)
{
    fflush(stdout);
    fflush(stderr);
    *c = (capture){{dup(STDOUT_FILENO), dup(STDERR_FILENO)}, memfd_create("quasar-output", MFD_CLOEXEC)};
    return c->saved[0] >= 0 && c->saved[1] >= 0 && c->file >= 0 && dup2(c->file, STDOUT_FILENO) >= 0 &&
           dup2(c->file, STDERR_FILENO) >= 0;
}

/* Puts both back; returns how many bytes were written, the first of them in `text`. */
static size_t capture_end(capture *c, char *text, size_t n)
{
    fflush(stdout);
    fflush(stderr);
    off_t size = c->file >= 0 ? lseek(c->file, 0, SEEK_END) : 0;
    ssize_t got = size > 0 ? pread(c->file, text, n - 1, 0) : 0;
    text[got > 0 ? got : 0] = 0;
    for (int i = 0; i < 2; i++)
        if (c->saved[i] >= 0) {
            dup2(c->saved[i], i ? STDERR_FILENO : STDOUT_FILENO);
            close(c->saved[i]);
        }
    if (c->file >= 0) close(c->file);
    return size > 0 ? (size_t)size : 0;
}

/* Never closed, like every plugin. Each copy gets a descriptor of a higher number than all before it: dlopen takes a path that it
 * knows for the same file, whatever lies there now. */
static bool load_copy(int copy)
{
    static int lowest;
    char path[64];
    const qsr_plugin *(*entry)(uint32_t);
    int fd = fcntl(copy, F_DUPFD_CLOEXEC, lowest);
    if (fd < 0) return false;
    lowest = fd + 1;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL), *symbol = handle ? dlsym(handle, "qsr_plugin_entry") : NULL;
    close(fd);
    if (!symbol) return false;
    memcpy(&entry, &symbol, sizeof entry);
    for (uint32_t i = 0; i < 64 && entry(i); i++) {
    }
    return true;
}

static qsr_status test_silent_at_load(const qsr_check *c, qsr_error *e)
{
    char text[160];
    capture output;
    int fd = copy_of(c->found->path, e);
    if (fd < 0) return QSR_E_UNSUPPORTED;
    bool ready = capture_start(&output), loaded = ready && load_copy(fd);
    size_t said = capture_end(&output, text, sizeof text);
    close(fd);
    if (!loaded) return qsr_fail(e, QSR_E_UNSUPPORTED, "a copy of the file could not be loaded beside it");
    if (said) return qsr_fail(e, QSR_E_INTERNAL, "prints %zu bytes when it is loaded: %s", said, text);
    return QSR_OK;
}

void qsr_check_identity(const qsr_check *c)
{
    qsr_check_run(c, "one exported symbol", test_exports);
    qsr_check_run(c, "silent at load", test_silent_at_load);
    qsr_check_run(c, "kind of gradient", test_gradient_word);
}

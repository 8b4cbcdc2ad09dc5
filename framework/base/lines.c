#include "base/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/sizes.h"

enum { FIRST_CAPACITY = 1 << 12 };

/* O_NONBLOCK: a pipe is refused, not waited for. */
qsr_status qsr_lines_open(qsr_lines *l, const char *path, size_t longest, qsr_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat about;
    *l = (qsr_lines){.longest = longest};
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        qsr_fail(e, QSR_E_INPUT, "cannot read %s: %s", path, fd < 0 ? strerror(errno) : "it is not a file");
        if (fd >= 0) close(fd);
        return QSR_E_INPUT;
    }
    l->file = fdopen(fd, "r");
    if (!l->file) {
        close(fd);
        return qsr_fail_errno(e, "read", path);
    }
    l->path = qsr_xcalloc(strlen(path) + 1, 1);
    strcpy(l->path, path);
    return QSR_OK;
}

static void make_room(qsr_lines *l)
{
    if (l->length + 1 < l->capacity) return;
    l->capacity = qsr_max_size(FIRST_CAPACITY, l->capacity * 2);
    l->text = qsr_xrealloc(l->text, l->capacity, 1);
}

static qsr_status too_long(const qsr_lines *l, qsr_error *e)
{
    return qsr_fail(e, QSR_E_INPUT, "%s:%llu: the line is longer than %zu bytes", l->path,
                    (unsigned long long)l->number + 1, l->longest);
}

/* One byte more than the longest may be there until it is clear that it is the end's. */
qsr_status qsr_lines_next(qsr_lines *l, qsr_error *e)
{
    int c;
    l->length = 0;
    l->torn = false;
    make_room(l);
    while ((c = getc_unlocked(l->file)) != EOF && c != '\n') {
        if (l->length > l->longest) return too_long(l, e);
        make_room(l);
        l->text[l->length++] = (char)c;
    }
    if (ferror(l->file)) return qsr_fail_errno(e, "read", l->path);
    if (c == EOF && !l->length) return QSR_END;
    l->torn = c == EOF;
    if (l->length && l->text[l->length - 1] == '\r') l->length--;
    if (l->length > l->longest) return too_long(l, e);
    l->text[l->length] = 0;
    l->number++;
    return QSR_OK;
}

void qsr_lines_close(qsr_lines *l)
{
    if (l->file) fclose(l->file);
    free(l->path);
    free(l->text);
    *l = (qsr_lines){0};
}

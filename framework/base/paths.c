#include "base/paths.h"

#include <errno.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct {
    const char *path;
    dev_t device;
    ino_t inode;
} place;

typedef struct {
    qsr_arena *arena;
    place *items;
    size_t n, capacity;
} list;

static qsr_status add_path(list *l, const char *path, qsr_error *e)
{
    struct stat about;
    if (stat(path, &about) != 0) return qsr_fail(e, QSR_E_INPUT, "cannot read %s: %s", path, strerror(errno));
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i].device == about.st_dev && l->items[i].inode == about.st_ino)
            return qsr_fail(e, QSR_E_INPUT, "%s is listed twice (also as %s)", path, l->items[i].path);
    if (l->n == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 16;
        l->items = qsr_xrealloc(l->items, l->capacity, sizeof *l->items);
    }
    l->items[l->n++] = (place){qsr_arena_strdup(l->arena, path), about.st_dev, about.st_ino};
    return QSR_OK;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* glob(3) sorts by the locale's rules, so the sorting is done here. */
static qsr_status add_pattern(list *l, const char *pattern, qsr_error *e)
{
    glob_t found = {0};
    int failure = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    qsr_status status = QSR_OK;
    if (failure == GLOB_NOMATCH)
        status = qsr_fail(e, QSR_E_INPUT, "no file matches %s", pattern);
    else if (failure)
        status = qsr_fail(e, QSR_E_INPUT, "cannot look for %s: %s", pattern, strerror(errno));
    else
        qsort(found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_bytes);
    for (size_t i = 0; !failure && !status && i < found.gl_pathc; i++) status = add_path(l, found.gl_pathv[i], e);
    globfree(&found);
    return status;
}

static bool is_pattern(const char *name)
{
    struct stat about;
    return strpbrk(name, "*?[") && stat(name, &about) != 0;
}

qsr_status qsr_paths_expand(qsr_arena *arena, const char *const *names, size_t n, qsr_strings *ret, qsr_error *e)
{
    if (!n) return qsr_fail(e, QSR_E_INPUT, "the list is empty: name a file or a pattern");
    list l = {.arena = arena};
    qsr_status status = QSR_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = is_pattern(names[i]) ? add_pattern(&l, names[i], e) : add_path(&l, names[i], e);
    if (!status) {
        const char **items = qsr_arena_alloc(arena, l.n, sizeof *items);
        for (size_t i = 0; i < l.n; i++) items[i] = l.items[i].path;
        *ret = (qsr_strings){items, l.n};
    }
    free(l.items);
    return status;
}

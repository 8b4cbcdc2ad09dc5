/* lab/judge-find: the SAEs below folders. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "exchange/pretrained.h"
#include "lab/judge.h"

enum { DEEPEST = 16 };

static void add(qsr_judgements *all, const char *path)
{
    all->items = qsr_xrealloc(all->items, all->count + 1, sizeof *all->items);
    all->items[all->count++] = (qsr_judgement){.path = qsr_arena_strdup(&all->arena, path)};
}

/* An SAE named twice, as itself and below a folder, or by two paths, counts once: its results have one place. */
static void drop_repeated(qsr_judgements *all)
{
    qsr_arena arena = {0};
    const char **real = qsr_xcalloc(all->count + 1, sizeof *real);
    size_t kept = 0;
    for (size_t i = 0, k; i < all->count; i++) {
        const char *path = qsr_path_absolute(&arena, all->items[i].path);
        for (k = 0; k < kept && strcmp(real[k], path) != 0;) k++;
        if (k < kept) continue;
        real[kept] = path;
        all->items[kept++] = all->items[i];
    }
    all->count = kept;
    free(real);
    qsr_arena_free(&arena);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* Not what belongs to an SAE or a run, and not what is hidden. */
static bool worth_a_look(const char *name)
{
    return name[0] != '.' && strcmp(name, "eval") != 0 && strcmp(name, "checkpoint") != 0;
}

static void scan(qsr_judgements *all, const char *folder, int depth)
{
    struct dirent **entries;
    if (qsr_pretrained_here(folder)) {
        add(all, folder);
        return;
    }
    int n = scandir(folder, &entries, NULL, by_name);
    if (n < 0) qsr_log(QSR_LOG_WARNING, "cannot look into %s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        struct stat about;
        const char *path = qsr_path_join(&all->arena, folder, entries[i]->d_name);
        if (worth_a_look(entries[i]->d_name) && depth < DEEPEST && lstat(path, &about) == 0 && S_ISDIR(about.st_mode))
            scan(all, path, depth + 1);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

/* One that holds nothing: opening it says why. */
static qsr_status refuse(const char *path, qsr_error *e)
{
    qsr_pretrained p;
    qsr_status status = qsr_pretrained_open(path, &p, e);
    if (!status) qsr_pretrained_free(&p);
    return status;
}

qsr_status qsr_judge_find(const char *const *paths, size_t n, qsr_judgements *ret, qsr_error *e)
{
    *ret = (qsr_judgements){0};
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < n; i++) {
        size_t before = ret->count;
        if (qsr_is_folder(paths[i])) scan(ret, paths[i], 0);
        if (ret->count == before && !(status = refuse(paths[i], e))) add(ret, paths[i]);
    }
    if (status) qsr_judgements_free(ret);
    else drop_repeated(ret);
    return status;
}

void qsr_judgements_free(qsr_judgements *all)
{
    free(all->items);
    qsr_arena_free(&all->arena);
    *all = (qsr_judgements){0};
}

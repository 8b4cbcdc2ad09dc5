#include "lab/leftovers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab/archive.h"

static size_t walked; /* nftw has no argument for its callback */

static int count_bytes(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)path, (void)type, (void)walk;
    walked += (size_t)about->st_blocks * 512;
    return 0;
}

static void add(qsr_leftovers *l, const char *run, const char *path, const char *what)
{
    walked = 0;
    if (nftw(path, count_bytes, 16, FTW_PHYS) != 0) return; /* gone meanwhile */
    l->items = qsr_xrealloc(l->items, l->n + 1, sizeof *l->items);
    l->items[l->n++] = (qsr_leftover){qsr_arena_strdup(&l->arena, path), qsr_arena_strdup(&l->arena, run), what, walked};
}

/* "<anything>.tmp-<digits>", as qsr_writer_open makes them. */
static bool is_aside(const char *name)
{
    const char *last = NULL;
    for (const char *at = name; (at = strstr(at, ".tmp-")); at++) last = at + 5;
    return last && last - 5 > name && *last && strspn(last, "0123456789") == strlen(last);
}

static void add_asides(qsr_leftovers *l, const char *run, const char *folder)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (is_aside(entries[i]->d_name))
            add(l, run, qsr_path_join(&l->arena, folder, entries[i]->d_name), "written aside and never finished");
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

static void add_run(qsr_leftovers *l, const qsr_record *record)
{
    const char *run = record->path, *checkpoint = qsr_path_join(&l->arena, run, "checkpoint");
    const char *sae = qsr_path_join(&l->arena, run, "sae.tmp"), *reserve = qsr_path_join(&l->arena, run, ".reserve");
    if (qsr_survey_locked(run)) return;
    add_asides(l, run, run);
    if (qsr_exists(sae)) add(l, run, sae, "written aside and never finished");
    if (qsr_exists(reserve)) add(l, run, reserve, "the reserve of a killed process");
    if (record->state == QSR_RECORD_COMPLETED && qsr_exists(checkpoint)) add(l, run, checkpoint, "checkpoints of a completed cell");
    else if (qsr_exists(checkpoint)) add_asides(l, run, checkpoint);
}

static bool is_listed(const qsr_leftovers *l, const char *run)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i].path, run) == 0) return true;
    return false;
}

static const char *orphan_text(qsr_arena *arena, const qsr_survey_cell *c)
{
    if (c->state != QSR_CELL_DONE && c->state != QSR_CELL_STALE) return "an orphan: the spec no longer produces it";
    return qsr_arena_printf(arena, "A COMPLETED RUN of %llu steps, an orphan: the spec no longer produces it", (unsigned long long)c->step);
}

/* Orphans first, so that what lies inside them is not listed again. */
qsr_status qsr_leftovers_find(const char *folder, const qsr_spec *const *cells, size_t n, qsr_registry *registry, qsr_leftovers *ret,
                              qsr_error *e)
{
    qsr_archive archive;
    qsr_survey survey = {0};
    qsr_status status = qsr_archive_read(folder, &archive, e);
    if (status) return status;
    *ret = (qsr_leftovers){0};
    if (n) qsr_survey_spec(cells, n, folder, registry, &survey);
    for (size_t i = 0; i < survey.n; i++)
        if (survey.cells[i].orphan && survey.cells[i].state != QSR_CELL_RUNNING)
            add(ret, survey.cells[i].folder, survey.cells[i].folder, orphan_text(&ret->arena, &survey.cells[i]));
    for (size_t i = 0; i < archive.count; i++)
        if (!is_listed(ret, archive.records[i].path)) add_run(ret, &archive.records[i]);
    qsr_survey_free(&survey);
    qsr_archive_free(&archive);
    return QSR_OK;
}

qsr_status qsr_leftover_remove(const qsr_leftover *item, bool *ret_busy, qsr_error *e)
{
    int fd = open(item->run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret_busy = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    qsr_status status = *ret_busy ? QSR_OK : qsr_remove_tree(item->path, e);
    if (fd >= 0) close(fd);
    return status;
}

void qsr_leftovers_free(qsr_leftovers *l)
{
    free(l->items);
    qsr_arena_free(&l->arena);
    *l = (qsr_leftovers){0};
}

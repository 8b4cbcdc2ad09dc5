#include "lab/survey.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lab/archive.h"
#include "lab/kept.h"
#include "train/schedule.h"

enum { LARGEST_JSON = 64 << 20 };

const char *const qsr_cell_state_names[QSR_CELL_STATES] = {"pending", "running", "interrupted", "failed", "stale", "broken", "done"};

/* ---- one folder -------------------------------------------------------------------------------------------------- */

/* A shared lock is not granted while somebody trains, and given back at once when it is. */
bool qsr_survey_locked(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return locked;
}

/* The step of the newest checkpoint; 0: none. */
static uint64_t checkpoint_step(qsr_arena *arena, const char *folder)
{
    uint64_t newest = 0;
    DIR *dir = opendir(qsr_path_join(arena, folder, "checkpoint"));
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        if (!qsr_starts_with(entry->d_name, "step-") || !qsr_ends_with(entry->d_name, ".safetensors")) continue;
        uint64_t step = strtoull(entry->d_name + 5, NULL, 10);
        if (step > newest) newest = step;
    }
    if (dir) closedir(dir);
    return newest;
}

/* NULL: not there. Broken: the cell says so. */
static json_t *read_json(qsr_survey *s, qsr_survey_cell *c, const char *file)
{
    qsr_error e = {0};
    json_t *json = NULL;
    const char *path = qsr_path_join(&s->arena, c->folder, file);
    if (!qsr_exists(path)) return NULL;
    if (!qsr_json_read(path, LARGEST_JSON, &json, &e)) return json;
    c->state = QSR_CELL_BROKEN;
    c->reason = qsr_arena_strdup(&s->arena, e.text);
    return NULL;
}

/* now: qsr_manifest_now; or NULL with the reason in c->reason. What became of an orphan's inputs is nobody's business. */
static const char *why_stale(qsr_survey *s, qsr_survey_cell *c, const json_t *manifest, const json_t *now)
{
    if (c->orphan || c->reason) return c->reason;
    if (!manifest) return "its manifest is missing";
    c->note = qsr_manifest_note(&s->arena, manifest, now);
    return qsr_manifest_stale(&s->arena, manifest, now);
}

static void examine_files(qsr_survey *s, qsr_survey_cell *c, const json_t *result, const json_t *manifest, const json_t *now)
{
    const char *status = json_string_value(json_object_get(result, "status")), *stale = why_stale(s, c, manifest, now);
    c->reason = NULL;
    if (status && strcmp(status, "failed") == 0) {
        const char *reason = json_string_value(json_object_get(result, "reason"));
        c->state = QSR_CELL_FAILED;
        c->reason = qsr_arena_strdup(&s->arena, reason ? reason : "it does not say why");
        c->step = checkpoint_step(&s->arena, c->folder);
    } else if (result) {
        if (!stale && !c->orphan) stale = qsr_kept_lost(&s->arena, c->folder, manifest, result);
        c->state = stale ? QSR_CELL_STALE : QSR_CELL_DONE;
        c->reason = stale;
        c->step = c->orphan ? (uint64_t)json_integer_value(json_object_get(json_object_get(result, "train"), "steps")) : c->steps;
    } else {
        c->step = checkpoint_step(&s->arena, c->folder);
        c->state = c->step && stale ? QSR_CELL_STALE : QSR_CELL_INTERRUPTED;
        if (c->step && stale) c->reason = stale;
    }
}

static bool is_empty(qsr_arena *arena, const char *folder)
{
    static const char *const signs[] = {"spec.yaml", "manifest.json", "result.json", "checkpoint"};
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (qsr_exists(qsr_path_join(arena, folder, signs[i]))) return false;
    return true;
}

static void examine(qsr_survey *s, qsr_survey_cell *c, const json_t *now)
{
    if (qsr_survey_locked(c->folder)) {
        uint64_t checkpoint = checkpoint_step(&s->arena, c->folder), logged = qsr_kept_logged_step(c->folder);
        c->state = QSR_CELL_RUNNING;
        c->step = logged > checkpoint ? logged : checkpoint;
        c->reason = NULL;
    } else if (!is_empty(&s->arena, c->folder)) {
        const char *unusable = c->reason;
        json_t *result = read_json(s, c, "result.json"), *manifest = read_json(s, c, "manifest.json");
        if (c->state != QSR_CELL_BROKEN) {
            c->reason = unusable;
            examine_files(s, c, result, manifest, now);
        }
        json_decref(result);
        json_decref(manifest);
    } else {
        c->reason = NULL;
    }
}

/* ---- many -------------------------------------------------------------------------------------------------------- */

static qsr_survey_cell *add(qsr_survey *s, const char *id, const char *name, const char *folder)
{
    s->cells = qsr_xrealloc(s->cells, s->n + 1, sizeof *s->cells);
    s->cells[s->n] = (qsr_survey_cell){.id = qsr_arena_strdup(&s->arena, id), .name = qsr_arena_strdup(&s->arena, name),
                                       .folder = qsr_arena_strdup(&s->arena, folder)};
    return &s->cells[s->n++];
}

/* known: digests of input files, for qsr_manifest_now. */
static void examine_spec(qsr_survey *s, qsr_survey_cell *c, const qsr_spec *spec, qsr_registry *registry, json_t *known)
{
    qsr_error e = {0};
    json_t *now = NULL;
    c->steps = qsr_training_steps(&spec->train);
    if (qsr_is_folder(c->folder) && qsr_manifest_now(spec, registry, known, &now, &e)) c->reason = qsr_arena_strdup(&s->arena, e.text);
    examine(s, c, now);
    json_decref(now);
}

static bool is_produced(const qsr_spec *const *cells, size_t n, const char *id)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(cells[i]->id, id) == 0) return true;
    return false;
}

static void add_orphans(qsr_survey *s, const qsr_spec *const *cells, size_t n, const char *out)
{
    struct dirent **entries;
    const char *folder = qsr_path_join(&s->arena, out, cells[0]->name);
    int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *id = entries[i]->d_name, *path = qsr_path_join(&s->arena, folder, id);
        if (id[0] != '.' && qsr_is_folder(path) && !is_empty(&s->arena, path) && !is_produced(cells, n, id)) {
            qsr_survey_cell *c = add(s, id, cells[0]->name, path);
            c->orphan = true;
            examine(s, c, NULL);
        }
        free(entries[i]);
    }
    if (count >= 0) free(entries);
}

void qsr_survey_spec(const qsr_spec *const *cells, size_t n, const char *out, qsr_registry *registry, qsr_survey *ret)
{
    *ret = (qsr_survey){0};
    json_t *known = json_object();
    for (size_t i = 0; i < n; i++) {
        const char *folder = qsr_arena_printf(&ret->arena, "%s/%s/%s", out, cells[i]->name, cells[i]->id);
        examine_spec(ret, add(ret, cells[i]->id, cells[i]->name, folder), cells[i], registry, known);
    }
    if (n) add_orphans(ret, cells, n, out);
    json_decref(known);
}

/* By the resolved spec in the folder, whose paths are absolute; its id is another one for that reason, and not looked at. */
static void examine_record(qsr_survey *s, const qsr_record *record, const qsr_spec_env *env, qsr_registry *registry, json_t *known)
{
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    qsr_survey_cell *c = add(s, record->cell, record->name ? record->name : "", record->path);
    const char *path = qsr_path_join(&s->arena, record->path, "spec.yaml");
    if (record->state == QSR_RECORD_BROKEN) {
        c->state = QSR_CELL_BROKEN;
        c->reason = qsr_arena_strdup(&s->arena, record->reason);
    } else if (qsr_spec_load(path, NULL, 0, env, &spec, &problems)) {
        c->reason = problems.count ? qsr_arena_printf(&s->arena, "%s: %s", path, problems.items[0].text) : "its spec.yaml cannot be read";
        examine(s, c, NULL);
    } else {
        examine_spec(s, c, spec, registry, known);
    }
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
}

qsr_status qsr_survey_folder(const char *folder, const qsr_spec_env *env, qsr_registry *registry, qsr_survey *ret, qsr_error *e)
{
    qsr_archive archive;
    qsr_status status = qsr_archive_read(folder, &archive, e);
    if (status) return status;
    json_t *known = json_object();
    *ret = (qsr_survey){0};
    for (size_t i = 0; i < archive.count; i++) examine_record(ret, &archive.records[i], env, registry, known);
    json_decref(known);
    qsr_archive_free(&archive);
    return QSR_OK;
}

void qsr_survey_free(qsr_survey *s)
{
    free(s->cells);
    qsr_arena_free(&s->arena);
    *s = (qsr_survey){0};
}

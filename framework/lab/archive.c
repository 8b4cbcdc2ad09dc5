#include "lab/archive.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "format/json.h"
#include "spec/yaml.h"

enum { DEEPEST = 16, JSON_BYTES = 64 << 20 };

/* One run folder while it is read. */
typedef struct {
    qsr_archive *archive;
    qsr_record *record;
    qsr_parameter *parameters; /* on the heap while they grow */
    qsr_measure *measures;
} reading;

const char *qsr_record_state_name(qsr_record_state state)
{
    static const char *const names[] = {"completed", "failed", "unfinished", "broken"};
    return names[state];
}

/* The first thing wrong is the one to tell. */
static void set_broken(reading *r, const char *why)
{
    if (r->record->state == QSR_RECORD_BROKEN) return;
    r->record->state = QSR_RECORD_BROKEN;
    r->record->reason = qsr_arena_strdup(&r->archive->arena, why);
}

static const char *file_in(reading *r, const char *name)
{
    return qsr_path_join(&r->archive->arena, r->record->path, name);
}

static const char *text_of(reading *r, const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? qsr_arena_strdup(&r->archive->arena, text) : NULL;
}

/* ---- spec.yaml --------------------------------------------------------------------------------------------------- */

static void add_parameter(reading *r, const char *key, const char *text)
{
    qsr_record *record = r->record;
    r->parameters = qsr_xrealloc(r->parameters, record->n_parameters + 1, sizeof *r->parameters);
    r->parameters[record->n_parameters++] =
        (qsr_parameter){qsr_arena_strdup(&r->archive->arena, key), qsr_arena_strdup(&r->archive->arena, text)};
}

/* "[a, b]"; what is nested deeper, which no option has, shows as an ellipsis. */
static void add_list(reading *r, const char *key, const qsr_node *list)
{
    qsr_text text = {0};
    qsr_text_puts(&text, "[");
    for (size_t i = 0; i < list->count; i++)
        qsr_text_add(&text, "%s%s", i ? ", " : "", list->items[i]->kind == QSR_SCALAR ? list->items[i]->text : "...");
    qsr_text_puts(&text, "]");
    add_parameter(r, key, text.bytes);
    qsr_text_free(&text);
}

static void flatten(reading *r, qsr_arena *scratch, const qsr_node *node, const char *path)
{
    if (node->kind == QSR_SCALAR) add_parameter(r, path, node->text);
    if (node->kind == QSR_LIST) add_list(r, path, node);
    if (node->kind != QSR_MAP) return;
    if (qsr_starts_with(path, "losses.") && !strchr(path + 7, '.')) add_parameter(r, path, "on");
    for (size_t i = 0; i < node->count; i++)
        flatten(r, scratch, node->entries[i].value, qsr_path_child(scratch, path, node->entries[i].key));
}

static void read_spec(reading *r)
{
    qsr_arena scratch = {0};
    qsr_problems problems = {0};
    qsr_error e = {0};
    qsr_source source = {.name = file_in(r, "spec.yaml"), .folder = r->record->path};
    char *text = NULL;
    const qsr_node *root = NULL;
    if (qsr_read_file(&scratch, source.name, QSR_YAML_BYTES, &text, &source.size, &e)) {
        set_broken(r, e.text);
    } else {
        source.text = text;
        qsr_node *tree = qsr_yaml_parse(&scratch, &source, 0, false, &problems);
        if (tree && tree->kind == QSR_MAP) qsr_node_unfold(&scratch, tree, &problems);
        root = tree;
    }
    if (problems.count)
        set_broken(r, qsr_arena_printf(&scratch, "%s:%u:%u: %s", source.name, problems.items[0].mark.line,
                                       problems.items[0].mark.col, problems.items[0].text));
    else if (root && root->kind != QSR_MAP)
        set_broken(r, qsr_arena_printf(&scratch, "%s: it is no mapping", source.name));
    else if (root)
        flatten(r, &scratch, root, "");
    for (size_t i = 0; i < r->record->n_parameters; i++)
        if (strcmp(r->parameters[i].key, "name") == 0) r->record->name = r->parameters[i].text;
    qsr_problems_free(&problems);
    qsr_arena_free(&scratch);
}

/* ---- manifest.json, result.json ---------------------------------------------------------------------------------- */

/* NULL: missing, or broken and noted so. */
static json_t *read_object(reading *r, const char *name)
{
    const char *path = file_in(r, name);
    json_t *root = NULL;
    qsr_error e = {0};
    if (!qsr_exists(path)) return NULL;
    if (qsr_json_read(path, JSON_BYTES, &root, &e)) {
        set_broken(r, e.text);
    } else if (!json_is_object(root)) {
        snprintf(e.text, sizeof e.text, "%s: it is no object", path);
        set_broken(r, e.text);
        json_decref(root);
        root = NULL;
    }
    return root;
}

static void read_plugins(reading *r, json_t *plugins)
{
    const char *name;
    json_t *about;
    size_t n = 0;
    qsr_record_plugin *items = qsr_arena_alloc(&r->archive->arena, json_object_size(plugins) + 1, sizeof *items);
    json_object_foreach(plugins, name, about) items[n++] =
        (qsr_record_plugin){qsr_arena_strdup(&r->archive->arena, name), text_of(r, about, "version"),
                            text_of(r, about, "file"), text_of(r, about, "digest")};
    r->record->plugins = items;
    r->record->n_plugins = n;
}

static void read_manifest(reading *r)
{
    json_t *root = read_object(r, "manifest.json");
    qsr_record *record = r->record;
    const char *cell = text_of(r, root, "cell"), *name = text_of(r, root, "name");
    if (cell) record->cell = cell;
    if (name) record->name = name;
    record->quasar = text_of(r, root, "quasar");
    record->git = text_of(r, root, "git");
    record->started = text_of(r, root, "started");
    record->finished = text_of(r, root, "finished");
    read_plugins(r, json_object_get(root, "plugins"));
    json_decref(root);
}

static void read_numbers(reading *r, json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        double number = json_number_value(value);
        if (!json_is_number(value) || !isfinite(number)) continue;
        qsr_record *record = r->record;
        r->measures = qsr_xrealloc(r->measures, record->n_measures + 1, sizeof *r->measures);
        r->measures[record->n_measures++] =
            (qsr_measure){qsr_arena_printf(&r->archive->arena, "%s%s", prefix, key), number};
    }
}

static void read_result(reading *r)
{
    const char *path = file_in(r, "result.json");
    bool present = qsr_exists(path);
    json_t *root = read_object(r, "result.json");
    const char *status = json_string_value(json_object_get(root, "status"));
    if (root) read_numbers(r, json_object_get(root, "metrics"), "");
    if (root) read_numbers(r, json_object_get(root, "train"), "trained.");
    if (r->record->state == QSR_RECORD_BROKEN) {
        json_decref(root);
        return;
    }
    if (!present) {
        r->record->state = QSR_RECORD_UNFINISHED;
    } else if (status && strcmp(status, "failed") == 0) {
        r->record->state = QSR_RECORD_FAILED;
        r->record->reason = text_of(r, root, "reason");
    } else if (!status || strcmp(status, "completed") != 0) {
        set_broken(r, qsr_arena_printf(&r->archive->arena, "%s: the status is %s%s%s", path, status ? "'" : "missing",
                                       status ? status : "", status ? "', neither completed nor failed" : ""));
    } else if (!qsr_exists(file_in(r, "manifest.json"))) {
        set_broken(r, qsr_arena_printf(&r->archive->arena, "%s/manifest.json is missing", r->record->path));
    }
    json_decref(root);
}

/* Made by another command, and made again at will: one that cannot be read is worth a warning, no more. */
static void read_stability(reading *r)
{
    const char *path = file_in(r, "stability.json");
    json_t *root = NULL;
    qsr_error e = {0};
    if (r->record->state != QSR_RECORD_COMPLETED || !qsr_exists(path)) return;
    if (qsr_json_read(path, JSON_BYTES, &root, &e)) qsr_log(QSR_LOG_WARNING, "%s; `quasar stability` makes it anew", e.text);
    else read_numbers(r, json_object_get(root, "metrics"), "stability.");
    json_decref(root);
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static void *keep(qsr_arena *arena, void *heap, size_t n, size_t size)
{
    void *kept = qsr_arena_alloc(arena, n, size);
    if (n) memcpy(kept, heap, n * size);
    free(heap);
    return kept;
}

static void read_record(qsr_archive *a, const char *folder)
{
    a->records = qsr_xrealloc(a->records, a->count + 1, sizeof *a->records);
    qsr_record *record = &a->records[a->count++];
    const char *path = strcmp(folder, ".") == 0 ? a->folder : qsr_path_join(&a->arena, a->folder, folder);
    *record = (qsr_record){.folder = qsr_arena_strdup(&a->arena, folder), .path = path};
    record->cell = qsr_path_base(qsr_path_absolute(&a->arena, path));
    reading r = {a, record, NULL, NULL};
    read_spec(&r);
    read_manifest(&r);
    read_result(&r);
    read_stability(&r);
    record->parameters = keep(&a->arena, r.parameters, record->n_parameters, sizeof *r.parameters);
    record->measures = keep(&a->arena, r.measures, record->n_measures, sizeof *r.measures);
    if (record->state == QSR_RECORD_BROKEN) qsr_log(QSR_LOG_WARNING, "%s is broken: %s", record->folder, record->reason);
}

static bool has_file(qsr_archive *a, const char *path, const char *name)
{
    struct stat about;
    return stat(qsr_path_join(&a->arena, path, name), &about) == 0 && S_ISREG(about.st_mode);
}

/* What `quasar eval` left beside an autoencoder of another program: no run. */
static bool is_evaluation(qsr_archive *a, const char *path)
{
    json_t *root = NULL;
    if (qsr_json_read(qsr_path_join(&a->arena, path, "result.json"), JSON_BYTES, &root, NULL)) return false;
    const char *status = json_string_value(json_object_get(root, "status"));
    const bool evaluated = status && strcmp(status, "evaluated") == 0;
    json_decref(root);
    return evaluated;
}

static bool is_run_folder(qsr_archive *a, const char *path)
{
    if (has_file(a, path, "manifest.json") || has_file(a, path, "spec.yaml")) return true;
    return has_file(a, path, "result.json") && !is_evaluation(a, path);
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static void scan(qsr_archive *a, const char *folder, int depth)
{
    const char *path = strcmp(folder, ".") == 0 ? a->folder : qsr_path_join(&a->arena, a->folder, folder);
    struct dirent **entries;
    if (is_run_folder(a, path)) {
        read_record(a, folder);
        return;
    }
    int n = scandir(path, &entries, NULL, by_name);
    if (n < 0) qsr_log(QSR_LOG_WARNING, "cannot look into %s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        struct stat about;
        if (name[0] != '.' && depth < DEEPEST && lstat(qsr_path_join(&a->arena, path, name), &about) == 0 &&
            S_ISDIR(about.st_mode))
            scan(a, strcmp(folder, ".") == 0 ? qsr_arena_strdup(&a->arena, name) : qsr_path_join(&a->arena, folder, name),
                 depth + 1);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

qsr_status qsr_archive_read(const char *folder, qsr_archive *ret, qsr_error *e)
{
    qsr_archive a = {0};
    if (!qsr_exists(folder)) return qsr_fail(e, QSR_E_INPUT, "there is no folder %s", folder);
    if (!qsr_is_folder(folder)) return qsr_fail(e, QSR_E_INPUT, "%s is a file; the folder of runs is needed", folder);
    a.folder = qsr_arena_strdup(&a.arena, folder);
    scan(&a, ".", 0);
    if (!a.count) {
        qsr_archive_free(&a);
        return qsr_fail(e, QSR_E_INPUT, "%s holds no run folders", folder);
    }
    *ret = a;
    return QSR_OK;
}

void qsr_archive_free(qsr_archive *a)
{
    free(a->records);
    qsr_arena_free(&a->arena);
    *a = (qsr_archive){0};
}

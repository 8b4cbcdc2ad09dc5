#include "plugin/registry.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/text.h"
#include "plugin/loader.h"

/* A growing list of pointers, always NULL-ended once something was added. */
struct list {
    const void **items;
    size_t count;
};

/* One folder for plugins, and what the files under it hold of one kind, once they were all looked at. */
struct folder {
    const char *path;
    bool listed[QSR_DATASET + 1];
    struct list found[QSR_DATASET + 1]; /* of const qsr_found *, by file name */
};

struct qsr_registry {
    qsr_arena arena;
    struct list paths; /* of folders, for messages */
    struct folder *folders;
    struct list refusals, refused_files;
    struct list all[QSR_DATASET + 1]; /* of const qsr_found *, by name: what qsr_registry_list returns */
    bool complete[QSR_DATASET + 1];
};

static void add(struct list *list, const void *item)
{
    list->items = qsr_xrealloc(list->items, list->count + 2, sizeof *list->items);
    list->items[list->count++] = item;
    list->items[list->count] = NULL;
}

static bool holds_text(const struct list *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], text) == 0) return true;
    return false;
}

/* ---- folders */

bool qsr_runs_from_build_tree(void)
{
    char exe[4096];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return false;
    exe[n] = 0;
    char *build = realpath(QSR_BUILD_DIR, NULL); /* NULL on a machine that never saw the build */
    bool inside = build && qsr_starts_with(exe, build) && exe[strlen(build)] == '/';
    free(build);
    return inside;
}

/* A program that runs from the build tree uses the plugins of that tree: nobody wants those of an older installation. */
static const char *built_in_folder(void) { return qsr_runs_from_build_tree() ? QSR_BUILD_DIR "/plugins" : QSR_PLUGIN_DIR; }

static void add_folder(qsr_registry *r, const char *path, size_t n)
{
    if (n == 0) return;
    char *absolute = qsr_path_absolute(&r->arena, qsr_arena_strndup(&r->arena, path, n));
    if (!holds_text(&r->paths, absolute)) add(&r->paths, absolute);
}

static void add_path_list(qsr_registry *r, const char *list)
{
    while (list && *list) {
        size_t n = strcspn(list, ":");
        add_folder(r, list, n);
        list += n + (list[n] == ':');
    }
}

qsr_registry *qsr_registry_create(const char *const *plugin_dirs)
{
    qsr_registry *r = qsr_xcalloc(1, sizeof *r);
    for (; plugin_dirs && *plugin_dirs; plugin_dirs++) add_folder(r, *plugin_dirs, strlen(*plugin_dirs));
    add_path_list(r, getenv("QUASAR_PLUGIN_PATH"));
    add_folder(r, built_in_folder(), strlen(built_in_folder()));
    r->folders = qsr_xcalloc(r->paths.count, sizeof *r->folders);
    for (size_t i = 0; i < r->paths.count; i++) r->folders[i].path = r->paths.items[i];
    return r;
}

void qsr_registry_free(qsr_registry *r)
{
    if (!r) return;
    for (size_t i = 0; i < r->paths.count; i++)
        for (uint32_t kind = 0; kind <= QSR_DATASET; kind++) free(r->folders[i].found[kind].items);
    for (uint32_t kind = 0; kind <= QSR_DATASET; kind++) free(r->all[kind].items);
    free(r->folders);
    free(r->paths.items);
    free(r->refusals.items);
    free(r->refused_files.items);
    qsr_arena_free(&r->arena);
    free(r);
}

const char *const *qsr_registry_folders(const qsr_registry *r) { return (const char *const *)r->paths.items; }

const char *const *qsr_registry_refusals(qsr_registry *r)
{
    static const char *const none[] = {NULL};
    return r->refusals.count ? (const char *const *)r->refusals.items : none;
}

/* ---- files */

/* Each file is refused once, however often it is met. */
static void note_refusal(qsr_registry *r, const char *path, const char *text)
{
    if (holds_text(&r->refused_files, path)) return;
    add(&r->refused_files, qsr_arena_strdup(&r->arena, path));
    add(&r->refusals, qsr_arena_strdup(&r->arena, text));
}

static const qsr_found *make_found(qsr_registry *r, const qsr_plugin *plugin, const char *path)
{
    qsr_found *found = qsr_arena_alloc(&r->arena, 1, sizeof *found);
    *found = (qsr_found){plugin, path};
    return found;
}

static const qsr_plugin *plugin_in(const qsr_module *module, uint32_t kind, const char *name)
{
    for (size_t i = 0; i < module->count; i++)
        if (module->plugins[i]->abi.kind == kind && strcmp(module->plugins[i]->name, name) == 0) return module->plugins[i];
    return NULL;
}

/* "<folder>/<kind>/NAME.so", or ".libs/NAME.so" there; NULL when neither exists. */
static const char *own_file(qsr_registry *r, const char *folder, uint32_t kind, const char *name)
{
    static const char *const places[] = {"", ".libs/"};
    for (size_t i = 0; i < 2; i++) {
        const char *path = qsr_arena_printf(&r->arena, "%s/%s/%s%s.so", folder, qsr_kind_folder(kind), places[i], name);
        struct stat about;
        if (lstat(path, &about) == 0) return path; /* a link to nowhere is refused, not passed over */
    }
    return NULL;
}

static int compare_texts(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void add_files_of(qsr_registry *r, const char *folder, struct list *files)
{
    DIR *dir = opendir(folder);
    if (!dir) return; /* most folders hold some kinds only */
    size_t first = files->count;
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (entry->d_name[0] != '.' && qsr_ends_with(entry->d_name, ".so"))
            add(files, qsr_path_join(&r->arena, folder, entry->d_name));
    closedir(dir);
    if (files->count > first) qsort(files->items + first, files->count - first, sizeof *files->items, compare_texts);
}

static bool has_name(const struct list *found, const char *name)
{
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(((const qsr_found *)found->items[i])->plugin->name, name) == 0) return true;
    return false;
}

static void list_file(qsr_registry *r, const char *path, uint32_t kind, struct list *found)
{
    const qsr_module *module = NULL;
    qsr_error e = {0};
    if (qsr_module_load(path, &module, &e)) {
        note_refusal(r, path, e.text);
        return;
    }
    bool any = false;
    for (size_t i = 0; i < module->count; i++) {
        const qsr_plugin *plugin = module->plugins[i];
        if (plugin->abi.kind != kind) continue;
        any = true;
        if (!has_name(found, plugin->name)) add(found, make_found(r, plugin, module->path));
    }
    if (any) return;
    qsr_fail(&e, QSR_E_INPUT, "%s holds no %s (%s is a %s, which belongs into %s/)", path, qsr_kind_name(kind),
             module->plugins[0]->name, qsr_kind_name(module->plugins[0]->abi.kind),
             qsr_kind_folder(module->plugins[0]->abi.kind));
    note_refusal(r, path, e.text);
}

/* Everything of one kind in one folder. Loads every file there. */
static const struct list *list_folder(qsr_registry *r, struct folder *folder, uint32_t kind)
{
    struct list *found = &folder->found[kind];
    if (folder->listed[kind]) return found;
    folder->listed[kind] = true;
    struct list files = {0};
    const char *place = qsr_path_join(&r->arena, folder->path, qsr_kind_folder(kind));
    add_files_of(r, place, &files);
    add_files_of(r, qsr_path_join(&r->arena, place, ".libs"), &files);
    for (size_t i = 0; i < files.count; i++) list_file(r, files.items[i], kind, found);
    free(files.items);
    return found;
}

/* ---- names */

static const qsr_found *find_in(qsr_registry *r, struct folder *folder, uint32_t kind, const char *name, qsr_error *e)
{
    const char *path = own_file(r, folder->path, kind, name);
    if (path) {
        const qsr_module *module = NULL;
        if (qsr_module_load(path, &module, e)) {
            note_refusal(r, path, e->text);
            return NULL;
        }
        const qsr_plugin *plugin = plugin_in(module, kind, name);
        if (plugin) return make_found(r, plugin, module->path);
        qsr_fail(e, QSR_E_INPUT, "%s holds no %s named %s, but the %s %s: rename the file", path, qsr_kind_name(kind), name,
                 qsr_kind_name(module->plugins[0]->abi.kind), module->plugins[0]->name);
        note_refusal(r, path, e->text);
        return NULL;
    }
    const struct list *found = list_folder(r, folder, kind);
    for (size_t i = 0; i < found->count; i++)
        if (strcmp(((const qsr_found *)found->items[i])->plugin->name, name) == 0) return found->items[i];
    return NULL;
}

static const char *near_name(qsr_registry *r, uint32_t kind, const char *name)
{
    const qsr_found *const *all;
    size_t n = qsr_registry_list(r, kind, &all);
    const char **names = qsr_xcalloc(n + 1, sizeof *names);
    for (size_t i = 0; i < n; i++) names[i] = all[i]->plugin->name;
    const char *near = qsr_nearest(name, names);
    free(names);
    return near;
}

const qsr_found *qsr_registry_find(qsr_registry *r, uint32_t kind, const char *name, const char **ret_near, qsr_error *e)
{
    qsr_error local = {0};
    if (!e) e = &local;
    *e = (qsr_error){0};
    if (ret_near) *ret_near = NULL;
    if (!qsr_kind_folder(kind)) return NULL;
    if (qsr_plugin_name_ok(name))
        for (size_t i = 0; i < r->paths.count; i++) {
            const qsr_found *found = find_in(r, &r->folders[i], kind, name, e);
            if (found || e->code) return found;
        }
    if (ret_near) *ret_near = near_name(r, kind, name);
    return NULL;
}

static int compare_found(const void *a, const void *b)
{
    const qsr_found *x = *(const qsr_found *const *)a, *y = *(const qsr_found *const *)b;
    return strcmp(x->plugin->name, y->plugin->name);
}

/* What a name means is decided by find alone, so that a listing never shows another file than a spec would get. */
size_t qsr_registry_list(qsr_registry *r, uint32_t kind, const qsr_found *const **ret_sorted_by_name)
{
    *ret_sorted_by_name = NULL;
    if (!qsr_kind_folder(kind)) return 0;
    struct list *all = &r->all[kind];
    for (size_t i = 0; i < r->paths.count && !r->complete[kind]; i++) {
        const struct list *here = list_folder(r, &r->folders[i], kind);
        for (size_t j = 0; j < here->count; j++) {
            const char *name = ((const qsr_found *)here->items[j])->plugin->name;
            const qsr_found *found = has_name(all, name) ? NULL : qsr_registry_find(r, kind, name, NULL, NULL);
            if (found) add(all, found);
        }
    }
    if (all->count) qsort(all->items, all->count, sizeof *all->items, compare_found);
    r->complete[kind] = true;
    *ret_sorted_by_name = (const qsr_found *const *)all->items;
    return all->count;
}

/* ---- names with their kind */

static const qsr_found *not_found(qsr_registry *r, uint32_t kind, const char *name, const char *near, qsr_error *e)
{
    qsr_text folders = {0};
    for (size_t i = 0; i < r->paths.count; i++)
        qsr_text_add(&folders, "%s%s", i ? ", " : "", (const char *)r->paths.items[i]);
    qsr_fail(e, QSR_E_INPUT, "no %s named '%s'%s%s%s (looked in %s)", qsr_kind_name(kind), name,
             near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", folders.bytes);
    qsr_text_free(&folders);
    return NULL;
}

/* A bare name stands for the one kind that has it. */
static const qsr_found *resolve_bare(qsr_registry *r, const char *name, qsr_error *e)
{
    const qsr_found *first = NULL;
    const char *near = NULL;
    for (uint32_t kind = QSR_ACTIVATION; kind <= QSR_DATASET; kind++) {
        const char *suggestion;
        const qsr_found *found = qsr_registry_find(r, kind, name, &suggestion, e);
        if (e->code) return NULL;
        if (!near) near = suggestion;
        if (found && first) {
            const char *one = qsr_kind_name(first->plugin->abi.kind), *two = qsr_kind_name(kind);
            qsr_fail(e, QSR_E_INPUT, "'%s' names two plugins: write %s/%s or %s/%s", name, one, name, two, name);
            return NULL;
        }
        if (found) first = found;
    }
    return first ? first : not_found(r, 0, name, near, e);
}

const qsr_found *qsr_registry_resolve(qsr_registry *r, const char *text, qsr_error *e)
{
    qsr_error local;
    if (!e) e = &local;
    *e = (qsr_error){0};
    const char *slash = strchr(text, '/'), *near;
    if (!slash) return resolve_bare(r, text, e);
    for (uint32_t kind = QSR_ACTIVATION; kind <= QSR_DATASET; kind++) {
        const char *word = qsr_kind_name(kind);
        if (strlen(word) != (size_t)(slash - text) || !qsr_starts_with(text, word)) continue;
        const qsr_found *found = qsr_registry_find(r, kind, slash + 1, &near, e);
        return found || e->code ? found : not_found(r, kind, slash + 1, near, e);
    }
    qsr_fail(e, QSR_E_INPUT, "'%s' names no kind of plugin: write activation/NAME, loss/NAME or dataset/NAME", text);
    return NULL;
}

/* ---- for specs */

static const qsr_plugin *find_for_spec(void *ctx, uint32_t kind, const char *name, const char **ret_near, qsr_error *e)
{
    const qsr_found *found = qsr_registry_find(ctx, kind, name, ret_near, e);
    return found ? found->plugin : NULL;
}

qsr_spec_env qsr_registry_env(qsr_registry *r) { return (qsr_spec_env){.ctx = r, .find = find_for_spec}; }

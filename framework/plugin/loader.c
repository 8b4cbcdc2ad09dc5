#include "plugin/loader.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/text.h"
#include "plugin/descriptor.h"
#include "plugin/elf.h"

enum { PLUGINS_LIMIT = 64, NAME_LIMIT = 63 };

typedef const qsr_plugin *(*entry_function)(uint32_t index);

/* All modules of this program, for its whole life (see the header). */
struct loaded {
    struct loaded *next;
    dev_t device;
    ino_t inode;
    qsr_module module;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct loaded *all;
static qsr_arena forever;

const char *qsr_kind_name(uint32_t kind)
{
    static const char *const names[] = {"plugin", "activation", "loss", "dataset"};
    return names[kind <= QSR_DATASET ? kind : 0];
}

const char *qsr_kind_folder(uint32_t kind)
{
    static const char *const folders[] = {NULL, "activations", "losses", "datasets"};
    return folders[kind <= QSR_DATASET ? kind : 0];
}

bool qsr_plugin_name_ok(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= NAME_LIMIT && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

/* dlopen's own messages for a missing or special file are poor, so those are told apart first. */
static qsr_status look(const char *path, char **ret_real, struct stat *ret_about, qsr_error *e)
{
    char *real = realpath(path, NULL);
    if (!real || stat(real, ret_about) != 0) {
        qsr_fail(e, QSR_E_INPUT, "cannot load %s: %s", path, strerror(errno));
        free(real);
        return QSR_E_INPUT;
    }
    if (!S_ISREG(ret_about->st_mode)) {
        free(real);
        return qsr_fail(e, QSR_E_INPUT, "cannot load %s: it is %s, not a file", path,
                        S_ISDIR(ret_about->st_mode) ? "a folder" : "a special file");
    }
    *ret_real = real;
    return QSR_OK;
}

static const struct loaded *loaded_already(const struct stat *about)
{
    for (const struct loaded *l = all; l; l = l->next)
        if (l->device == about->st_dev && l->inode == about->st_ino) return l;
    return NULL;
}

/* The reason without the path in front, which is ours to tell. */
static const char *why_not(const char *path)
{
    const char *why = dlerror();
    if (!why) return "unknown reason";
    size_t n = strlen(path);
    return qsr_starts_with(why, path) && qsr_starts_with(why + n, ": ") ? why + n + 2 : why;
}

static qsr_status open_file(const char *path, entry_function *ret, qsr_error *e)
{
    qsr_status status = qsr_elf_check(path, e);
    if (status) return status;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return qsr_fail(e, QSR_E_INPUT, "cannot load %s: %s (`ldd` shows whether a library that it depends on is missing)", path,
                        why_not(path));
    void *symbol = dlsym(handle, "qsr_plugin_entry");
    if (!symbol)
        return qsr_fail(e, QSR_E_INPUT,
                        "cannot load %s: not a Quasar plugin, as it exports no qsr_plugin_entry; include "
                        "quasar/plugin.h, which declares it as exported",
                        path);
    memcpy(ret, &symbol, sizeof *ret); /* ISO C has no cast from object to function pointer */
    return QSR_OK;
}

static qsr_status check_distinct(const qsr_plugin *const *plugins, size_t n, qsr_error *e)
{
    for (size_t i = 0; i + 1 < n; i++)
        if (plugins[i]->abi.kind == plugins[n - 1]->abi.kind && strcmp(plugins[i]->name, plugins[n - 1]->name) == 0)
            return qsr_fail(e, QSR_E_INPUT, "holds two plugins named %s (entries %zu and %zu)", plugins[i]->name, i, n - 1);
    return QSR_OK;
}

static qsr_status read_plugins(entry_function entry, qsr_module *ret, qsr_error *e)
{
    const qsr_plugin **plugins = qsr_arena_alloc(&forever, PLUGINS_LIMIT, sizeof *plugins);
    size_t n = 0;
    for (const qsr_plugin *theirs; (theirs = entry((uint32_t)n));) {
        if (n == PLUGINS_LIMIT)
            return qsr_fail(e, QSR_E_INPUT,
                            "its qsr_plugin_entry returns more than %d plugins: it must return NULL after the "
                            "last",
                            PLUGINS_LIMIT);
        qsr_status status = qsr_descriptor_read(&forever, theirs, &plugins[n], e);
        if (!status) status = check_distinct(plugins, ++n, e);
        if (status) return status;
    }
    if (n == 0) return qsr_fail(e, QSR_E_INPUT, "its qsr_plugin_entry returns NULL for index 0, so it holds no plugin");
    *ret = (qsr_module){NULL, plugins, n};
    return QSR_OK;
}

static qsr_status load_new(const char *real, const struct stat *about, const qsr_module **ret, qsr_error *e)
{
    entry_function entry = NULL;
    qsr_module module = {0};
    qsr_status status = open_file(real, &entry, e);
    if (status) return status;
    status = read_plugins(entry, &module, e);
    if (status) {
        qsr_context(e, "cannot load %s", real);
        return status;
    }
    struct loaded *l = qsr_arena_alloc(&forever, 1, sizeof *l);
    module.path = qsr_arena_strdup(&forever, real);
    *l = (struct loaded){all, about->st_dev, about->st_ino, module};
    all = l;
    *ret = &l->module;
    return QSR_OK;
}

qsr_status qsr_module_load(const char *path, const qsr_module **ret, qsr_error *e)
{
    char *real = NULL;
    struct stat about;
    qsr_status status = look(path, &real, &about, e);
    if (status) return status;
    pthread_mutex_lock(&lock);
    const struct loaded *known = loaded_already(&about);
    if (known)
        *ret = &known->module;
    else
        status = load_new(real, &about, ret, e);
    pthread_mutex_unlock(&lock);
    free(real);
    return status;
}

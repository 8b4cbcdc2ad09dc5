#include "lab/manifest.h"

#include <dirent.h>
#include <glob.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "format/cache.h"
#include "math/blas.h"
#include "lab/git-commit.h"
#include "math/kernel.h"

static void put_text(json_t *o, const char *key, const char *text) { json_object_set_new(o, key, text ? json_string(text) : json_null()); }
static void put_count(json_t *o, const char *key, uint64_t n) { json_object_set_new(o, key, json_integer((json_int_t)n)); }

/* ---- inputs ------------------------------------------------------------------------------------------------------ */

/* Digests under absolute paths: the same file however the spec was reached. */
typedef struct {
    json_t *inputs; /* path -> digest of what is asked for */
    json_t *known;  /* the same of everything read so far, so that many cells of one model read it once; or NULL */
} collector;

static qsr_status digest_one(const collector *c, const char *path, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_status status = QSR_OK;
    const char *key = qsr_path_absolute(&arena, path);
    json_t *before = c->known ? json_object_get(c->known, key) : NULL;
    if (before) {
        json_object_set(c->inputs, key, before);
    } else if (!json_object_get(c->inputs, key)) {
        qsr_digest digest;
        status = qsr_digest_file(path, &digest, e);
        if (!status) put_text(c->inputs, key, digest.hex);
        if (!status && c->known) put_text(c->known, key, digest.hex);
    }
    qsr_arena_free(&arena);
    return status;
}

/* A cache is known by its id, which was fixed before its first shard: it may still grow, and hundreds of gigabytes need no reading. */
static qsr_status digest_cache(const collector *c, const char *folder, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_cache cache;
    qsr_status status = qsr_cache_open(folder, &cache, e);
    if (!status) put_text(c->inputs, qsr_path_absolute(&arena, qsr_cache_file(&arena, folder)), cache.id);
    if (!status) qsr_cache_close(&cache);
    qsr_arena_free(&arena);
    return status;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

/* Hidden files and descriptions (README.md) are about a folder's contents, not among them. */
static bool is_input(const char *name) { return name[0] != '.' && !qsr_ends_with(name, ".md"); }

/* The files of a folder, not of its subfolders: a model folder is flat. Caches below it count, though. */
static qsr_status digest_folder(const collector *c, const char *folder, qsr_error *e)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, by_name);
    if (n < 0) return qsr_fail_errno(e, "read", folder);
    qsr_status status = QSR_OK;
    qsr_arena arena = {0};
    for (int i = 0; i < n; i++) {
        const char *path = qsr_path_join(&arena, folder, entries[i]->d_name);
        struct stat about;
        if (!status && is_input(entries[i]->d_name) && stat(path, &about) == 0 && S_ISREG(about.st_mode)) status = digest_one(c, path, e);
        if (!status && strcmp(entries[i]->d_name, "..") != 0 && qsr_is_folder(path) && qsr_cache_exists(path))
            status = digest_cache(c, path, e);
        free(entries[i]);
    }
    free(entries);
    qsr_arena_free(&arena);
    return status;
}

static qsr_status digest_glob(const collector *c, const char *pattern, qsr_error *e)
{
    glob_t found = {0};
    qsr_status status = QSR_OK;
    if (glob(pattern, 0, NULL, &found) == 0)
        for (size_t i = 0; !status && i < found.gl_pathc; i++) status = digest_one(c, found.gl_pathv[i], e);
    globfree(&found);
    return status;
}

static qsr_status digest_path(const collector *c, const char *path, qsr_error *e)
{
    if (qsr_cache_exists(path)) return digest_cache(c, path, e);
    if (qsr_is_folder(path)) return digest_folder(c, path, e);
    if (strpbrk(path, "*?[") && !qsr_exists(path)) return digest_glob(c, path, e);
    return digest_one(c, path, e);
}

static qsr_status digest_block(const collector *c, const qsr_block *block, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < block->plugin->n_options; i++) {
        const qsr_option *o = &block->plugin->options[i];
        const char *field = (const char *)block->values + o->offset;
        if (!(o->flags & QSR_OPT_PATH)) continue;
        if (o->type == QSR_OPT_STRING) {
            const char *path;
            memcpy(&path, field, sizeof path);
            if (path) status = digest_path(c, path, e);
        } else if (o->type == QSR_OPT_STRINGS) {
            qsr_strings list;
            memcpy(&list, field, sizeof list);
            for (size_t k = 0; !status && k < list.count; k++) status = digest_path(c, list.items[k], e);
        }
    }
    return status;
}

qsr_status qsr_manifest_inputs(const qsr_block *block, json_t *inputs, qsr_error *e)
{
    return digest_block(&(collector){inputs, NULL}, block, e);
}

static qsr_status digest_inputs(const collector *c, const qsr_spec *spec, qsr_error *e)
{
    qsr_status status = digest_block(c, &spec->dataset, e);
    if (!status) status = digest_block(c, &spec->activation, e);
    for (size_t i = 0; !status && i < spec->n_losses; i++) status = digest_block(c, &spec->losses[i], e);
    if (status || !spec->sae.init_from) return status;
    status = digest_one(c, spec->sae.init_from, e);
    if (status && e) snprintf(e->option, sizeof e->option, "sae.init_from");
    return status;
}

/* ---- plugins, machine -------------------------------------------------------------------------------------------- */

static qsr_status describe_plugin(json_t *plugins, const qsr_block *block, qsr_registry *registry, qsr_error *e)
{
    static const char *const kinds[] = {"", "activation", "loss", "dataset"};
    const qsr_plugin *p = block->plugin;
    char key[300];
    snprintf(key, sizeof key, "%s/%s", kinds[p->abi.kind], p->name);
    if (json_object_get(plugins, key)) return QSR_OK;
    const qsr_found *found = qsr_registry_find(registry, p->abi.kind, p->name, NULL, e);
    json_t *about = json_object();
    put_text(about, "version", p->version);
    put_text(about, "file", found ? found->path : NULL);
    qsr_digest digest;
    qsr_status status = found ? qsr_digest_file(found->path, &digest, e) : QSR_OK;
    if (found && !status) put_text(about, "digest", digest.hex);
    json_object_set_new(plugins, key, about);
    return status;
}

static qsr_status describe_plugins(json_t *plugins, const qsr_spec *spec, qsr_registry *registry, qsr_error *e)
{
    qsr_status status = describe_plugin(plugins, &spec->dataset, registry, e);
    if (!status) status = describe_plugin(plugins, &spec->activation, registry, e);
    for (size_t i = 0; !status && i < spec->n_losses; i++) status = describe_plugin(plugins, &spec->losses[i], registry, e);
    return status;
}

/* "model name" of /proc/cpuinfo, or "unknown". */
static void processor_name(char *out, size_t n)
{
    snprintf(out, n, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[512];
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = 0;
        snprintf(out, n, "%s", colon + 1 + strspn(colon + 1, " "));
        break;
    }
    if (file) fclose(file);
}

static json_t *describe_machine(const qsr_run_options *o)
{
    json_t *machine = json_object();
    struct utsname system;
    char processor[256];
    qsr_blas_info blas;
    qsr_blas_describe(&blas);
    processor_name(processor, sizeof processor);
    if (uname(&system) == 0) {
        put_text(machine, "host", system.nodename);
        put_text(machine, "system", system.release);
        put_text(machine, "architecture", system.machine);
    }
    put_text(machine, "processor", processor);
    put_count(machine, "threads", qsr_pool_threads(o->pool));
    put_text(machine, "isa", qsr_kernels_get()->isa);
    put_text(machine, "blas", blas.config);
    put_text(machine, "blas_kernel", blas.core);
    return machine;
}

static json_t *describe_split(const qsr_dataset *data)
{
    json_t *split = json_object();
    if (data->train_units != UINT64_MAX) put_count(split, "train_units", data->train_units);
    else json_object_set_new(split, "train_units", json_null());
    put_count(split, "rows_per_unit", data->rows_per_unit);
    put_count(split, "held_out_first", data->held_first);
    put_count(split, "held_out_units", data->held_units);
    put_count(split, "held_out_rows", data->held_rows);
    if (data->masked) put_count(split, "held_out_excluded", data->held_rows - data->held_kept);
    return split;
}

qsr_status qsr_manifest_now(const qsr_spec *spec, qsr_registry *registry, json_t *known, json_t **ret, qsr_error *e)
{
    json_t *root = json_object(), *inputs = json_object(), *plugins = json_object();
    put_text(root, "quasar", PACKAGE_VERSION);
    json_object_set_new(root, "inputs", inputs);
    json_object_set_new(root, "plugins", plugins);
    qsr_status status = digest_inputs(&(collector){inputs, known}, spec, e);
    if (!status) status = describe_plugins(plugins, spec, registry, e);
    if (status) json_decref(root);
    else *ret = root;
    return status;
}

qsr_status qsr_manifest_make(const qsr_spec *spec, const qsr_run_options *o, const qsr_dataset *data, qsr_manifest *ret,
                             qsr_error *e)
{
    char number[24];
    *ret = (qsr_manifest){0};
    qsr_status status = qsr_manifest_now(spec, o->registry, NULL, &ret->root, e);
    if (status) return status;
    json_t *root = ret->root;
    put_text(root, "git", QSR_GIT_COMMIT);
    snprintf(number, sizeof number, "%d.%d", QSR_ABI_MAJOR, QSR_ABI_MINOR);
    put_text(root, "abi", number);
    put_text(root, "cell", spec->id);
    put_text(root, "name", spec->name);
    put_text(root, "spec", spec->path);
    json_object_set_new(root, "split", describe_split(data));
    json_object_set_new(root, "machine", describe_machine(o));
    return QSR_OK;
}

void qsr_manifest_free(qsr_manifest *m)
{
    json_decref(m->root);
    m->root = NULL;
}

qsr_status qsr_manifest_write(qsr_manifest *m, qsr_store *s, bool finished, qsr_error *e)
{
    char now[32];
    put_text(m->root, finished ? "finished" : "started", qsr_wall_time(now, sizeof now));
    return qsr_json_write(qsr_store_path(s, "manifest.json"), m->root, e);
}

/* ---- staleness --------------------------------------------------------------------------------------------------- */

static const char *text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "nothing";
}

/* The digest that an input had before: under its path, or where that is not known under the name of its file, since folders move. */
static bool same_input(const json_t *old, const char *path, const char *digest)
{
    const char *other, *before = json_string_value(json_object_get(old, path));
    json_t *value;
    if (before) return strcmp(before, digest) == 0;
    json_object_foreach((json_t *)(uintptr_t)old, other, value)
        if (json_is_string(value) && strcmp(qsr_path_base(other), qsr_path_base(path)) == 0 &&
            strcmp(json_string_value(value), digest) == 0)
            return true;
    return false;
}

static const char *input_stale(qsr_arena *arena, const json_t *old, json_t *now)
{
    const char *path;
    json_t *value;
    json_object_foreach(now, path, value)
    {
        const char *digest = json_string_value(value), *before = text_in(old, path);
        if (!same_input(old, path, digest))
            return qsr_arena_printf(arena, "the input %s has changed (digest %.12s, was %.12s)", path, digest, before);
    }
    json_object_foreach((json_t *)(uintptr_t)old, path, value)
        if (!same_input(now, path, text_in(old, path)))
            return qsr_arena_printf(arena, "the input %s is not there any more", path); /* a shard less of a pattern */
    return NULL;
}

const char *qsr_manifest_stale(qsr_arena *arena, const json_t *old, const json_t *now)
{
    const char *key;
    json_t *value;
    if (strcmp(text_in(old, "quasar"), text_in(now, "quasar")) != 0)
        return qsr_arena_printf(arena, "Quasar was %s and is %s", text_in(old, "quasar"), text_in(now, "quasar"));
    const char *stale = input_stale(arena, json_object_get(old, "inputs"), json_object_get(now, "inputs"));
    if (stale) return stale;
    json_object_foreach(json_object_get(now, "plugins"), key, value)
    {
        const char *before = text_in(json_object_get(json_object_get(old, "plugins"), key), "version");
        if (strcmp(before, text_in(value, "version")) != 0)
            return qsr_arena_printf(arena, "the plugin %s was version %s and is %s", key, before, text_in(value, "version"));
    }
    return NULL;
}

const char *qsr_manifest_note(qsr_arena *arena, const json_t *old, const json_t *now)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(now, "plugins"), key, value)
    {
        const json_t *before = json_object_get(json_object_get(old, "plugins"), key);
        if (strcmp(text_in(before, "digest"), text_in(value, "digest")) != 0)
            return qsr_arena_printf(arena, "the file of %s was rebuilt, version %s as before", key, text_in(value, "version"));
    }
    return NULL;
}

#include "report/evaluations.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/log.h"
#include "format/json.h"

enum { DEEPEST = 16, JSON_BYTES = 64 << 20 };

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static bool is_real_folder(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* ---- one evaluation ---------------------------------------------------------------------------------------------------------- */

static void read_measures(qsr_evaluations *all, qsr_extra_evaluation *item, json_t *metrics)
{
    const char *key;
    json_t *value;
    qsr_measure *measures = qsr_arena_alloc(&all->arena, json_object_size(metrics) + 1, sizeof *measures);
    json_object_foreach(metrics, key, value)
    {
        double number = json_number_value(value);
        if (json_is_number(value) && isfinite(number))
            measures[item->n_measures++] = (qsr_measure){qsr_arena_strdup(&all->arena, key), number};
    }
    item->measures = measures;
}

static uint64_t d_sae_of(qsr_arena *arena, const char *sae)
{
    static const char *const places[] = {"sae/cfg.json", "cfg.json"};
    json_int_t width = 0;
    for (size_t i = 0; !width && i < sizeof places / sizeof *places; i++) {
        json_t *cfg = NULL;
        const char *path = qsr_path_join(arena, sae, places[i]);
        if (!qsr_exists(path) || qsr_json_read(path, JSON_BYTES, &cfg, NULL)) continue;
        width = json_integer_value(json_object_get(cfg, "d_sae"));
        json_decref(cfg);
    }
    return width > 0 ? (uint64_t)width : 0;
}

static void read_one(qsr_evaluations *all, const char *sae, const char *sae_path, const char *name)
{
    qsr_error e = {0};
    json_t *root = NULL;
    const char *path = qsr_arena_printf(&all->arena, "%s/eval/%s", sae_path, name);
    const char *result = qsr_path_join(&all->arena, path, "result.json");
    if (!qsr_exists(result)) return;
    if (qsr_json_read(result, JSON_BYTES, &root, &e) || !json_is_object(json_object_get(root, "metrics"))) {
        qsr_log(QSR_LOG_WARNING, "%s", e.text[0] ? e.text : qsr_arena_printf(&all->arena, "%s has no metrics", result));
        json_decref(root);
        return;
    }
    qsr_extra_evaluation item = {
        .sae = qsr_arena_strdup(&all->arena, sae), .name = qsr_arena_strdup(&all->arena, name), .path = path};
    item.d_sae = d_sae_of(&all->arena, sae_path);
    read_measures(all, &item, json_object_get(root, "metrics"));
    json_decref(root);
    all->items = qsr_xrealloc(all->items, all->count + 1, sizeof *all->items);
    all->items[all->count++] = item;
}

/* ---- folders ------------------------------------------------------------------------------------------------------------------ */

typedef void (*visit)(qsr_evaluations *, const char *below, const char *path, const char *name, int depth);

static void each_folder(qsr_evaluations *all, const char *below, const char *path, const char *list, visit body, int depth)
{
    struct dirent **entries;
    int n = scandir(list, &entries, NULL, by_name);
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (name[0] != '.' && is_real_folder(qsr_arena_printf(&all->arena, "%s/%s", list, name)))
            body(all, below, path, name, depth);
        free(entries[i]);
    }
    if (n >= 0) free(entries);
}

static void take_evaluation(qsr_evaluations *all, const char *below, const char *path, const char *name, int depth)
{
    (void)depth;
    read_one(all, below, path, name);
}

static void look_into(qsr_evaluations *all, const char *below, const char *path, int depth);

static void take_folder(qsr_evaluations *all, const char *below, const char *path, const char *name, int depth)
{
    if (strcmp(name, "eval") == 0 || depth >= DEEPEST) return;
    const char *deeper =
        strcmp(below, ".") == 0 ? qsr_arena_strdup(&all->arena, name) : qsr_path_join(&all->arena, below, name);
    look_into(all, deeper, qsr_arena_printf(&all->arena, "%s/%s", path, name), depth + 1);
}

static void look_into(qsr_evaluations *all, const char *below, const char *path, int depth)
{
    const char *place = qsr_arena_printf(&all->arena, "%s/eval", path);
    if (is_real_folder(place)) each_folder(all, below, path, place, take_evaluation, depth);
    each_folder(all, below, path, path, take_folder, depth);
}

void qsr_evaluations_read(const char *folder, qsr_evaluations *ret)
{
    *ret = (qsr_evaluations){0};
    look_into(ret, ".", folder, 0);
}

void qsr_evaluations_free(qsr_evaluations *all)
{
    free(all->items);
    qsr_arena_free(&all->arena);
    *all = (qsr_evaluations){0};
}

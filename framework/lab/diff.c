#include "lab/diff.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "format/json.h"
#include "lab/archive.h"

enum { LARGEST_JSON = 64 << 20 };

/* One of the two. */
typedef struct {
    const char *folder;
    qsr_archive archive;
    const qsr_record *record;
    json_t *manifest, *result; /* or NULL */
} side;

static qsr_status open_side(side *s, const char *folder, qsr_error *e)
{
    s->folder = folder;
    qsr_status status = qsr_archive_read(folder, &s->archive, e);
    if (status) return status;
    s->record = &s->archive.records[0];
    if (s->archive.count != 1 || strcmp(s->record->folder, ".") != 0)
        return qsr_fail(e, QSR_E_INPUT, "%s is not the folder of one run, but holds %zu", folder, s->archive.count);
    const char *manifest = qsr_path_join(&s->archive.arena, folder, "manifest.json");
    const char *result = qsr_path_join(&s->archive.arena, folder, "result.json");
    if (qsr_exists(manifest)) status = qsr_json_read(manifest, LARGEST_JSON, &s->manifest, e);
    if (!status && qsr_exists(result)) status = qsr_json_read(result, LARGEST_JSON, &s->result, e);
    return status;
}

static void close_side(side *s)
{
    json_decref(s->manifest);
    json_decref(s->result);
    qsr_archive_free(&s->archive);
}

static void add(qsr_diff *d, const char *part, const char *key, const char *a, const char *b, bool counts)
{
    d->items = qsr_xrealloc(d->items, d->n + 1, sizeof *d->items);
    d->items[d->n++] = (qsr_difference){part, qsr_arena_strdup(&d->arena, key), a ? qsr_arena_strdup(&d->arena, a) : NULL,
                                        b ? qsr_arena_strdup(&d->arena, b) : NULL, counts};
    if (counts) d->equal = false;
}

/* ---- what they were made of -------------------------------------------------------------------------------------- */

static const char *parameter(const qsr_record *r, const char *key)
{
    for (size_t i = 0; i < r->n_parameters; i++)
        if (strcmp(r->parameters[i].key, key) == 0) return r->parameters[i].text;
    return NULL;
}

static void diff_specs(qsr_diff *d, const qsr_record *a, const qsr_record *b)
{
    bool counts = strcmp(a->cell, b->cell) != 0;
    for (size_t i = 0; i < a->n_parameters; i++) {
        const char *other = parameter(b, a->parameters[i].key);
        if (!other || strcmp(other, a->parameters[i].text) != 0)
            add(d, "spec", a->parameters[i].key, a->parameters[i].text, other, counts);
    }
    for (size_t i = 0; i < b->n_parameters; i++)
        if (!parameter(a, b->parameters[i].key)) add(d, "spec", b->parameters[i].key, NULL, b->parameters[i].text, counts);
    if (counts) add(d, "spec", "cell", a->cell, b->cell, true);
}

/* A value as it would stand in JSON; strings without quotes. NULL for what is not there. */
static const char *value_text(qsr_arena *arena, const json_t *value)
{
    if (!value) return NULL;
    if (json_is_string(value)) return json_string_value(value);
    qsr_text text = {0};
    qsr_json_line(value, &text);
    const char *kept = qsr_arena_strdup(arena, text.bytes);
    qsr_text_free(&text);
    return kept;
}

/* Members of two objects that differ, those of `a` first. */
static void diff_objects(qsr_diff *d, const char *part, const char *prefix, json_t *a, json_t *b, bool counts)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (!other || !json_equal(value, other))
            add(d, part, qsr_arena_printf(&d->arena, "%s%s", prefix, key), value_text(&d->arena, value), value_text(&d->arena, other), counts);
    }
    json_object_foreach(b, key, value)
        if (!json_object_get(a, key))
            add(d, part, qsr_arena_printf(&d->arena, "%s%s", prefix, key), NULL, value_text(&d->arena, value), counts);
}

/* The file of that name in the other's inputs: under the same path, else the only one called the same. */
static const json_t *counterpart(const char *path, json_t *inputs)
{
    const char *key;
    json_t *value;
    const json_t *found = json_object_get(inputs, path);
    if (found) return found;
    json_object_foreach(inputs, key, value)
        if (strcmp(qsr_path_base(key), qsr_path_base(path)) == 0) found = value;
    return found;
}

static void diff_inputs(qsr_diff *d, json_t *a, json_t *b)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        const json_t *other = counterpart(key, b);
        if (!other || !json_equal(value, other)) add(d, "inputs", key, value_text(&d->arena, value), value_text(&d->arena, other), true);
    }
    json_object_foreach(b, key, value)
        if (!counterpart(key, a)) add(d, "inputs", key, NULL, value_text(&d->arena, value), true);
}

/* A plugin that only one of them has is a difference of the spec. */
static void diff_plugins(qsr_diff *d, json_t *a, json_t *b)
{
    static const char *const keys[] = {"version", "digest", "file"};
    const char *name;
    json_t *value;
    json_object_foreach(a, name, value)
    {
        const json_t *other = json_object_get(b, name);
        for (size_t i = 0; other && i < sizeof keys / sizeof *keys; i++) {
            const char *x = json_string_value(json_object_get(value, keys[i])), *y = json_string_value(json_object_get(other, keys[i]));
            if (strcmp(x ? x : "", y ? y : "") != 0)
                add(d, "plugins", qsr_arena_printf(&d->arena, "%s %s", name, keys[i]), x, y, i == 0);
        }
    }
}

static void diff_manifests(qsr_diff *d, const side *a, const side *b)
{
    static const char *const keys[] = {"quasar", "git", "abi", "forced"};
    diff_inputs(d, json_object_get(a->manifest, "inputs"), json_object_get(b->manifest, "inputs"));
    diff_plugins(d, json_object_get(a->manifest, "plugins"), json_object_get(b->manifest, "plugins"));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *x = json_object_get(a->manifest, keys[i]), *y = json_object_get(b->manifest, keys[i]);
        if ((x || y) && !(x && y && json_equal(x, y)))
            add(d, "quasar", i ? keys[i] : "version", value_text(&d->arena, x), value_text(&d->arena, y), i == 0);
    }
    diff_objects(d, "machine", "", json_object_get(a->manifest, "machine"), json_object_get(b->manifest, "machine"), false);
}

/* ---- where they part --------------------------------------------------------------------------------------------- */

typedef struct {
    FILE *file;
    char *line;
    size_t room;
    json_t *object; /* NULL: the end */
    json_int_t step, last;
} log_reader;

/* The end is also where a line is cut off, as an interrupted run's last may be. */
static void next_line(log_reader *r)
{
    json_decref(r->object);
    r->object = NULL;
    ssize_t n = r->file ? getline(&r->line, &r->room, r->file) : -1;
    if (n <= 0 || r->line[n - 1] != '\n' || qsr_json_parse("metrics.jsonl", r->line, (size_t)n, &r->object, NULL)) return;
    if (!json_is_integer(json_object_get(r->object, "step"))) {
        json_decref(r->object);
        r->object = NULL;
        return;
    }
    r->step = r->last = json_integer_value(json_object_get(r->object, "step"));
}

static log_reader open_log(qsr_diff *d, const char *folder)
{
    log_reader r = {.file = fopen(qsr_path_join(&d->arena, folder, "metrics.jsonl"), "re"), .last = -1};
    next_line(&r);
    return r;
}

static void close_log(log_reader *r)
{
    json_decref(r->object);
    if (r->file) fclose(r->file);
    free(r->line);
}

/* Steps that only one of them logged are passed over. */
static void diff_logs(qsr_diff *d, const side *a, const side *b)
{
    log_reader x = open_log(d, a->folder), y = open_log(d, b->folder);
    bool parted = false;
    while (x.object && y.object && !parted) {
        if (x.step == y.step) {
            parted = !json_equal(x.object, y.object);
            if (parted)
                diff_objects(d, "metrics.jsonl", qsr_arena_printf(&d->arena, "step %" PRIdMAX " ", (intmax_t)x.step), x.object, y.object, true);
            else d->steps++;
            if (parted) break;
            next_line(&x);
            next_line(&y);
        } else {
            next_line(x.step < y.step ? &x : &y);
        }
    }
    while (x.object) next_line(&x);
    while (y.object) next_line(&y);
    if (x.last != y.last) {
        char theirs[2][32];
        snprintf(theirs[0], sizeof theirs[0], "%" PRIdMAX, (intmax_t)x.last);
        snprintf(theirs[1], sizeof theirs[1], "%" PRIdMAX, (intmax_t)y.last);
        add(d, "metrics.jsonl", "last step", x.last < 0 ? NULL : theirs[0], y.last < 0 ? NULL : theirs[1], true);
    }
    close_log(&x);
    close_log(&y);
}

/* ---- what came out ----------------------------------------------------------------------------------------------- */

static void diff_results(qsr_diff *d, const side *a, const side *b)
{
    static const char *const keys[] = {"status", "reason"};
    size_t before = d->n;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *x = json_object_get(a->result, keys[i]), *y = json_object_get(b->result, keys[i]);
        if ((x || y) && !(x && y && json_equal(x, y)))
            add(d, "result.json", keys[i], value_text(&d->arena, x), value_text(&d->arena, y), true);
    }
    diff_objects(d, "result.json", "", json_object_get(a->result, "metrics"), json_object_get(b->result, "metrics"), true);
    diff_objects(d, "result.json", "train.", json_object_get(a->result, "train"), json_object_get(b->result, "train"), true);
    if (d->n == before && a->result && b->result && !json_equal(a->result, b->result))
        add(d, "result.json", "other values", "differ", "differ", true);
}

static void diff_file(qsr_diff *d, const side *a, const side *b, const char *file, bool both_only)
{
    qsr_digest x, y;
    bool in_a = !qsr_digest_file(qsr_path_join(&d->arena, a->folder, file), &x, NULL);
    bool in_b = !qsr_digest_file(qsr_path_join(&d->arena, b->folder, file), &y, NULL);
    if (both_only && !(in_a && in_b)) return;
    if (in_a != in_b || (in_a && strcmp(x.hex, y.hex) != 0)) add(d, "files", file, in_a ? x.hex : NULL, in_b ? y.hex : NULL, true);
}

static bool same_option(const side *a, const side *b, const char *key)
{
    const char *x = parameter(a->record, key), *y = parameter(b->record, key);
    return x == y || (x && y && strcmp(x, y) == 0);
}

/* What options outside the identity decide (eval.latents, how many contexts and how wide) is compared where both asked for the same. */
static void diff_files(qsr_diff *d, const side *a, const side *b)
{
    static const char *const files[] = {"sae/sae_weights.safetensors", "sae/cfg.json", "tokens.csv"};
    static const char *const widths[] = {"eval.top_contexts", "eval.context_before", "eval.context_after"};
    bool alike = true;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) diff_file(d, a, b, files[i], false);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) alike = alike && same_option(a, b, widths[i]);
    diff_file(d, a, b, "latents.csv", true);
    if (alike) diff_file(d, a, b, "top_contexts.jsonl", true);
}

qsr_status qsr_diff_make(const char *a, const char *b, qsr_diff *ret, qsr_error *e)
{
    side x = {0}, y = {0};
    *ret = (qsr_diff){.equal = true};
    qsr_status status = open_side(&x, a, e);
    if (!status) status = open_side(&y, b, e);
    if (!status) {
        diff_specs(ret, x.record, y.record);
        diff_manifests(ret, &x, &y);
        diff_logs(ret, &x, &y);
        diff_results(ret, &x, &y);
        diff_files(ret, &x, &y);
    }
    close_side(&x);
    close_side(&y);
    return status;
}

void qsr_diff_free(qsr_diff *d)
{
    free(d->items);
    qsr_arena_free(&d->arena);
    *d = (qsr_diff){0};
}

/* spec/extends: a file with the files it builds on merged underneath. Marks stay with the file they came from. */
#include <string.h>

#include "spec/load.h"
#include "spec/yaml.h"

typedef struct {
    qsr_arena *arena;
    const qsr_spec_env *env;
    qsr_problems *problems;
    const char *open[QSR_EXTENDS_DEPTH + 1]; /* absolute paths of the files being read, outermost first */
    size_t n_open, files;
    bool whole; /* no file was missing so far */
} reading;

static qsr_node *read_source(reading *, const qsr_source *);

/* The path of an existing file that `name` in `source` can mean; NULL when there is none. */
static const char *find_file(reading *r, const qsr_source *source, const char *name)
{
    const char *path = qsr_path_join(r->arena, source->folder, name);
    if (qsr_exists(path)) return path;
    for (const char *const *folder = r->env->extends_folders; folder && *folder; folder++) {
        path = qsr_path_join(r->arena, *folder, name);
        if (qsr_exists(path)) return path;
    }
    return NULL;
}

static void report_missing(reading *r, const qsr_source *source, qsr_mark mark, const char *name)
{
    qsr_text folders = {0};
    qsr_text_puts(&folders, source->folder);
    for (const char *const *folder = r->env->extends_folders; folder && *folder; folder++)
        qsr_text_add(&folders, ", %s", *folder);
    qsr_problems_add(r->problems, mark, "extends", NULL, "no such file: %s, looked for in %s", qsr_quoted(r->arena, name),
                     folders.bytes);
    qsr_text_free(&folders);
}

/* Refuses cycles and towers; then reads. */
static qsr_node *read_path(reading *r, const char *path, qsr_mark mark)
{
    const char *absolute = qsr_path_absolute(r->arena, path);
    for (size_t i = 0; i < r->n_open; i++) {
        if (strcmp(r->open[i], absolute) != 0) continue;
        qsr_problems_add(r->problems, mark, "extends", NULL, "a circle: %s is already being read", path);
        return NULL;
    }
    if (r->n_open > QSR_EXTENDS_DEPTH || r->files == QSR_EXTENDS_FILES) {
        qsr_problems_add(r->problems, mark, "extends", NULL, "more than %d files %s",
                         r->files == QSR_EXTENDS_FILES ? QSR_EXTENDS_FILES : QSR_EXTENDS_DEPTH,
                         r->files == QSR_EXTENDS_FILES ? "in all" : "deep");
        return NULL;
    }
    char *text;
    size_t size;
    qsr_error e = {0};
    if (qsr_read_file(r->arena, path, QSR_YAML_BYTES, &text, &size, &e)) {
        qsr_problems_add(r->problems, mark, mark.source ? "extends" : NULL, NULL, "%s", e.text);
        return NULL;
    }
    qsr_source *source = qsr_arena_alloc(r->arena, 1, sizeof *source);
    *source = (qsr_source){qsr_arena_strdup(r->arena, path), text,  size,
                           qsr_path_folder(r->arena, path),  false, (unsigned)r->files};
    r->open[r->n_open++] = absolute;
    r->files++;
    qsr_node *root = read_source(r, source);
    r->n_open--;
    return root;
}

/* Merges the file that `name` means into *base (NULL: becomes it). */
static void extend(reading *r, const qsr_source *source, const qsr_node *name, qsr_node **base)
{
    if (name->kind != QSR_SCALAR || qsr_node_is_null(name) || !name->text[0]) {
        qsr_problems_add(r->problems, name->mark, "extends", NULL, "expected the path of a file, not %s",
                         qsr_node_says(r->arena, name));
        r->whole = false;
        return;
    }
    const char *path = find_file(r, source, name->text);
    if (!path) {
        report_missing(r, source, name->mark, name->text);
        r->whole = false;
        return;
    }
    qsr_node *root = read_path(r, path, name->mark);
    if (!root) r->whole = false;
    if (root && *base)
        qsr_node_merge(r->arena, *base, root);
    else if (root)
        *base = root;
}

static qsr_node *read_source(reading *r, const qsr_source *source)
{
    qsr_node *root = qsr_yaml_parse(r->arena, source, 0, false, r->problems);
    if (!root) return NULL;
    if (root->kind != QSR_MAP) {
        qsr_problems_add(r->problems, root->mark, NULL, NULL, "a spec is a mapping (key: value), not %s",
                         qsr_node_says(r->arena, root));
        return NULL;
    }
    qsr_node_unfold(r->arena, root, r->problems);
    const qsr_entry *extends = qsr_node_find(root, "extends");
    if (!extends) return root;
    const qsr_node *names = extends->value;
    qsr_node *base = NULL;
    qsr_node_remove(root, "extends");
    for (size_t i = 0; names->kind == QSR_LIST && i < names->count; i++) extend(r, source, names->items[i], &base);
    if (names->kind != QSR_LIST) extend(r, source, names, &base);
    if (!base) return root;
    qsr_node_merge(r->arena, base, root);
    return base;
}

qsr_node *qsr_extends_read(qsr_arena *arena, const char *path, const char *text, size_t size, const qsr_spec_env *env,
                           bool *ret_whole, qsr_problems *problems)
{
    reading r = {.arena = arena, .env = env, .problems = problems, .whole = true};
    qsr_node *root;
    if (text) {
        qsr_source *source = qsr_arena_alloc(arena, 1, sizeof *source);
        *source = (qsr_source){
            qsr_arena_strdup(arena, path), qsr_arena_strndup(arena, text, size), size, qsr_path_folder(arena, path), false, 0};
        r.open[r.n_open++] = qsr_path_absolute(arena, path);
        r.files++;
        root = read_source(&r, source);
    } else {
        root = read_path(&r, path, (qsr_mark){0});
    }
    *ret_whole = r.whole;
    return root;
}

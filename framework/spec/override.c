/* spec/override: "key=value" arguments laid on a tree. The value is YAML in one line, so it is typed, positioned and refused just
 * like a value in a file. Lists are the axes of a grid, which this version does not run: only a list of one gets through. */
#include <string.h>

#include "spec/load.h"
#include "spec/yaml.h"

#define NO_GRIDS "this version runs one experiment at a time: sweeps, grid and seeds are not run yet"

static bool refuse_key(const qsr_source *source, const char *key, qsr_mark mark, qsr_problems *problems)
{
    size_t n = strlen(key);
    if (strcmp(key, "grid") == 0 || strcmp(key, "seeds") == 0) {
        qsr_problems_add(problems, mark, key, NULL, NO_GRIDS);
    } else if (strcmp(key, "extends") == 0) {
        qsr_problems_add(problems, mark, key, NULL,
                         "extends belongs in a file: on the command line it would say what was meant to be "
                         "laid over what");
    } else if (n == 0 || key[0] == '.' || key[n - 1] == '.' || strstr(key, "..") || strcspn(key, " \t{}[],:\"'#") != n ||
               n > QSR_YAML_KEY) {
        qsr_arena arena = {0};
        qsr_problems_add(problems, (qsr_mark){source, 0, 0, 0}, NULL, "such as train.tokens=400_000",
                         "%s: expected key=value", qsr_quoted(&arena, source->text));
        qsr_arena_free(&arena);
    } else {
        return false;
    }
    return true;
}

/* Reads the value behind '='; NULL when it was refused. */
static qsr_node *read_value(qsr_arena *arena, const qsr_source *source, size_t offset, const char *key,
                            qsr_problems *problems)
{
    size_t before = problems->count;
    qsr_mark all = {source, 1, 1, 0};
    if (strspn(source->text + offset, " \t") == source->size - offset) {
        qsr_problems_add(problems, all, key, NULL, "has no value");
        return NULL;
    }
    qsr_node *value = qsr_yaml_parse(arena, source, offset, true, problems);
    if (!value) return NULL;
    bool axis = value->kind == QSR_LIST && value->count != 1;
    bool commas = value->kind == QSR_SCALAR && !value->quoted && strchr(value->text, ',');
    if (axis || commas) {
        qsr_problems_add(problems, value->mark, key, commas ? "a text with commas needs quotes" : NULL, NO_GRIDS);
        return NULL;
    }
    if (value->kind == QSR_LIST) value = value->items[0];
    qsr_node_unfold(arena, value, problems);
    return problems->count == before ? value : NULL;
}

static void apply(qsr_arena *arena, qsr_node *root, const char *argument, unsigned rank, qsr_problems *problems)
{
    qsr_source *source = qsr_arena_alloc(arena, 1, sizeof *source);
    *source = (qsr_source){"command line", qsr_arena_strdup(arena, argument), strlen(argument), ".", true, rank};
    const char *equals = strchr(source->text, '=');
    const char *key = equals ? qsr_arena_strndup(arena, source->text, (size_t)(equals - source->text)) : "";
    qsr_mark mark = {source, 1, 1, (uint32_t)strlen(key) + 1};
    if (refuse_key(source, key, mark, problems)) return;
    qsr_node *value = read_value(arena, source, strlen(key) + 1, key, problems);
    const qsr_node *obstacle = value ? qsr_node_set(arena, root, key, mark, value) : NULL;
    if (obstacle)
        qsr_problems_add(problems, mark, key, NULL, "cannot be set below %s, which is not a mapping",
                         qsr_node_says(arena, obstacle));
}

void qsr_override_apply(qsr_arena *arena, qsr_node *root, const char *const *arguments, size_t n, qsr_problems *problems)
{
    for (size_t i = 0; i < n; i++) apply(arena, root, arguments[i], QSR_EXTENDS_FILES + (unsigned)i, problems);
}

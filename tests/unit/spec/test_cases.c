/* Runs the .case files of tests/cases/spec and tests/cases/grid: what a user sees for a spec or a grid, word for word.
 *
 *     === what the case shows
 *     @file base.yaml        further files, relative to the spec's folder (any number)
 *     @args                  command-line overrides, one a line (at most once)
 *     @spec                  spec.yaml; with @bytes instead, \xNN, \n, \t and \\ are decoded and newlines dropped
 *     @error                 the whole text for the user; or
 *     @ok                    the canonical dump, with the id as its last line ("# id"); or
 *     @cells                 in tests/cases/grid: a line for each cell, then one for each option dropped
 *
 * Lines before the first === are remarks. Each case runs in an empty folder of its own. */
#include <dirent.h>
#include <unistd.h>

#include "../unit.h"
#include "base/fs.h"
#include "fake.h"
#include "spec/grid.h"

enum { MOST_ARGS = 16 };

static char nothing[1];

typedef struct {
    char *title, *spec, *expected;
    size_t spec_size;
    bool ok, grid;
    const char *args[MOST_ARGS];
    size_t n_args;
} test_case;

/* Cuts the next line out of *at; NULL at the end. */
static char *next_line(char **at)
{
    if (!**at) return NULL;
    char *line = *at, *end = strchr(line, '\n');
    *at = end ? end + 1 : line + strlen(line);
    if (end) *end = 0;
    return line;
}

static size_t decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from; from++) {
        unsigned value;
        int used = 0;
        if (*from == '\n') continue;
        if (*from != '\\')
            *to++ = *from;
        else if (from[1] == 'x' && sscanf(from + 2, "%2x%n", &value, &used) == 1)
            *to++ = (char)value, from += 1 + used;
        else if (from[1] == 'n' || from[1] == 't')
            *to++ = from[1] == 'n' ? '\n' : '\t', from++;
        else
            *to++ = *++from;
    }
    *to = 0;
    return (size_t)(to - text);
}

static void start_section(test_case *c, const char *head, qsr_text *body)
{
    qsr_error e = {0};
    char *line, *at = body->bytes ? body->bytes : nothing;
    if (strcmp(head, "@args") == 0) {
        at = strdup(at);
        while ((line = next_line(&at)) && c->n_args < MOST_ARGS) c->args[c->n_args++] = line;
    } else if (qsr_starts_with(head, "@file ")) {
        assert_int_equal(qsr_write_file(head + strlen("@file "), at, body->length, &e), QSR_OK);
    } else if (strcmp(head, "@spec") == 0 || strcmp(head, "@bytes") == 0) {
        c->spec = strdup(at);
        c->spec_size = head[1] == 'b' ? decode(c->spec) : strlen(c->spec);
    } else if (strcmp(head, "@error") == 0 || strcmp(head, c->grid ? "@cells" : "@ok") == 0) {
        c->expected = strdup(at);
        c->ok = head[1] != 'e';
    } else if (head[0]) {
        fail_msg("%s: unknown section %s", c->title, head);
    }
    qsr_text_free(body);
}

/* "topk-k4-64-synthetic-337218fece34 activation.k=4 seed=- +1", then "dropped activation.k=4 topk>topafa block 1 cells 2". */
static void put_grid(const qsr_grid *grid, qsr_text *out)
{
    for (size_t i = 0; i < grid->n; i++) {
        qsr_text_puts(out, grid->cells[i]->id);
        for (size_t k = 0; k < grid->n_keys; k++) {
            const char *value = grid->values[i * grid->n_keys + k];
            qsr_text_add(out, " %s=%s", grid->keys[k], value ? value : "-");
        }
        if (grid->merged[i]) qsr_text_add(out, " +%zu", grid->merged[i]);
        qsr_text_puts(out, "\n");
    }
    for (size_t i = 0; i < grid->n_drops; i++) {
        const qsr_grid_drop *d = &grid->drops[i];
        qsr_text_add(out, "dropped %s=%s %s>%s block %zu cells %zu\n", d->path, d->text, d->from, d->to, d->block + 1,
                     d->cells);
    }
}

/* A cell is what its own text makes: the same spec written out. */
static void check_written_out(const qsr_spec *cell)
{
    qsr_text text = {0};
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    qsr_spec_dump(cell, false, &text);
    qsr_spec_load_text("spec.yaml", text.bytes, text.length, NULL, 0, &fake_env, &spec, &problems);
    if (!spec || strcmp(spec->id, cell->id) != 0) fail_msg("%s is not what its text makes:\n%s", cell->id, text.bytes);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
}

static qsr_text grid_outcome(const test_case *c, bool *ret_ok)
{
    qsr_text got = {0};
    qsr_problems problems = {0};
    qsr_grid *grid = NULL;
    *ret_ok = qsr_grid_load("spec.yaml", c->args, c->n_args, &fake_env, &grid, &problems) == QSR_OK;
    assert_int_equal(*ret_ok, grid != NULL);
    assert_int_equal(*ret_ok, problems.count == 0);
    if (grid) put_grid(grid, &got);
    for (size_t i = 0; grid && i < grid->n; i++) check_written_out(grid->cells[i]);
    qsr_grid_free(grid);
    qsr_problems_write(&problems, &got);
    qsr_problems_free(&problems);
    return got;
}

/* What is no grid is one cell, the same as a spec alone, and refused with the same words. */
static void compare_with_grid(const test_case *c, const qsr_spec *spec, const char *refusal)
{
    qsr_problems problems = {0};
    qsr_text text = {0};
    qsr_grid *grid = NULL;
    qsr_grid_load("spec.yaml", c->args, c->n_args, &fake_env, &grid, &problems);
    qsr_problems_write(&problems, &text);
    if (spec) {
        assert_non_null(grid);
        assert_int_equal(grid->n, 1);
        assert_false(grid->swept);
        assert_string_equal(grid->cells[0]->id, spec->id);
        assert_string_equal(grid->base->id, spec->id);
    } else if (!strstr(refusal, "several experiments")) {
        assert_null(grid);
        assert_string_equal(text.bytes, refusal);
    }
    qsr_grid_free(grid);
    qsr_problems_free(&problems);
    qsr_text_free(&text);
}

static qsr_text spec_outcome(const test_case *c, bool *ret_ok)
{
    qsr_text got = {0};
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    *ret_ok = qsr_spec_load("spec.yaml", c->args, c->n_args, &fake_env, &spec, &problems) == QSR_OK;
    assert_int_equal(*ret_ok, spec != NULL);
    assert_int_equal(*ret_ok, problems.count == 0);
    if (spec) {
        qsr_spec_dump(spec, true, &got);
        qsr_text_add(&got, "# %s\n", spec->id);
    }
    qsr_problems_write(&problems, &got);
    compare_with_grid(c, spec, got.bytes);
    qsr_spec_free(spec);
    qsr_problems_free(&problems);
    return got;
}

static qsr_text outcome(const test_case *c, bool *ret_ok)
{
    qsr_error e = {0};
    assert_int_equal(qsr_write_file("spec.yaml", c->spec, c->spec_size, &e), QSR_OK);
    return c->grid ? grid_outcome(c, ret_ok) : spec_outcome(c, ret_ok);
}

/* On failure prints what there is now, in the form of the file, for reading and pasting. */
static size_t run_case(test_case *c)
{
    bool ok;
    qsr_text got = outcome(c, &ok);
    bool same = c->expected && ok == c->ok && strcmp(got.bytes ? got.bytes : "", c->expected) == 0;
    if (!same)
        fprintf(stderr, "case '%s':\n@%s\n%s---- expected @%s\n%s", c->title, ok ? c->grid ? "cells" : "ok" : "error",
                got.bytes ? got.bytes : "", c->ok ? "ok" : "error", c->expected ? c->expected : "");
    qsr_text_free(&got);
    free(c->spec);
    free(c->expected);
    if (c->n_args) free((char *)(uintptr_t)c->args[0]);
    return same ? 0 : 1;
}

typedef struct {
    bool grid;
    unsigned number, errors;
    size_t failures;
} tally;

static void enter_folder(tally *t)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s-%u", test_folder(), t->grid ? "grid" : "spec", t->number++);
    assert_int_equal(qsr_mkdirs(name, NULL), QSR_OK);
    assert_int_equal(chdir(name), 0);
    assert_int_equal(qsr_mkdirs("shared", NULL), QSR_OK);
}

static void run_file(const char *path, tally *t)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    char *text, *line, *head = nothing;
    test_case c = {0};
    qsr_text body = {0};
    if (qsr_read_file(&arena, path, 1 << 20, &text, NULL, &e)) fail_msg("%s", e.text);
    do {
        line = next_line(&text);
        bool title = line && qsr_starts_with(line, "=== ");
        if (!line || title || line[0] == '@') {
            if (c.title) start_section(&c, head, &body);
            head = line && !title ? line : nothing;
            if (!line || title) {
                if (c.title) {
                    t->errors += !c.ok;
                    t->failures += run_case(&c);
                }
                if (title) enter_folder(t);
                c = (test_case){.title = title ? line + 4 : NULL, .grid = t->grid};
            }
        } else {
            qsr_text_add(&body, "%s\n", line);
        }
    } while (line);
    qsr_text_free(&body);
    qsr_arena_free(&arena);
}

static void run_folder(const char *name, tally *t)
{
    char folder[1024], path[2048];
    struct dirent **entries;
    snprintf(folder, sizeof folder, "%s/tests/cases/%s", getenv("QUASAR_SOURCE") ? getenv("QUASAR_SOURCE") : QSR_SOURCE_DIR,
             name);
    int n = scandir(folder, &entries, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (qsr_ends_with(entries[i]->d_name, ".case")) run_file(path, t);
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(chdir("/"), 0);
    qsr_remove_tree(test_folder(), NULL);
    print_message("%s: %u cases, %u of them errors\n", name, t->number, t->errors);
    assert_int_equal(t->failures, 0);
}

static void shows_users_what_is_wrong(void **state)
{
    tally t = {.grid = false};
    (void)state;
    run_folder("spec", &t);
    assert_true(t.errors >= 45); /* none went missing */
}

static void makes_cells_of_grids(void **state)
{
    tally t = {.grid = true};
    (void)state;
    run_folder("grid", &t);
    assert_true(t.number >= 40 && t.errors >= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shows_users_what_is_wrong), cmocka_unit_test(makes_cells_of_grids)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

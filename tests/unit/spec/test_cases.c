/* Runs the .case files of tests/cases/spec: what a user sees for a spec, word for word.
 *
 *     === what the case shows
 *     @file base.yaml        further files, relative to the spec's folder (any number)
 *     @args                  command-line overrides, one a line (at most once)
 *     @spec                  spec.yaml; with @bytes instead, \xNN, \n, \t and \\ are decoded and newlines dropped
 *     @error                 the whole text for the user; or
 *     @ok                    the canonical dump, with the id as its last line ("# id")
 *
 * Lines before the first === are remarks. Each case runs in an empty folder of its own. */
#include <dirent.h>
#include <unistd.h>

#include "../unit.h"
#include "base/fs.h"
#include "fake.h"

enum { MOST_ARGS = 16 };

static char nothing[1];

typedef struct {
    char *title, *spec, *expected;
    size_t spec_size;
    bool ok;
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
    } else if (strcmp(head, "@error") == 0 || strcmp(head, "@ok") == 0) {
        c->expected = strdup(at);
        c->ok = head[1] == 'o';
    } else if (head[0]) {
        fail_msg("%s: unknown section %s", c->title, head);
    }
    qsr_text_free(body);
}

static qsr_text outcome(const test_case *c, bool *ret_ok)
{
    qsr_text got = {0};
    qsr_problems problems = {0};
    qsr_spec *spec = NULL;
    qsr_error e = {0};
    assert_int_equal(qsr_write_file("spec.yaml", c->spec, c->spec_size, &e), QSR_OK);
    *ret_ok = qsr_spec_load("spec.yaml", c->args, c->n_args, &fake_env, &spec, &problems) == QSR_OK;
    assert_int_equal(*ret_ok, spec != NULL);
    assert_int_equal(*ret_ok, problems.count == 0);
    if (spec) {
        qsr_spec_dump(spec, true, &got);
        qsr_text_add(&got, "# %s\n", spec->id);
    }
    qsr_spec_free(spec);
    qsr_problems_write(&problems, &got);
    qsr_problems_free(&problems);
    return got;
}

/* On failure prints what there is now, in the form of the file, for reading and pasting. */
static size_t run_case(test_case *c)
{
    bool ok;
    qsr_text got = outcome(c, &ok);
    bool same = c->expected && ok == c->ok && strcmp(got.bytes ? got.bytes : "", c->expected) == 0;
    if (!same)
        fprintf(stderr, "case '%s':\n@%s\n%s---- expected @%s\n%s", c->title, ok ? "ok" : "error",
                got.bytes ? got.bytes : "", c->ok ? "ok" : "error", c->expected ? c->expected : "");
    qsr_text_free(&got);
    free(c->spec);
    free(c->expected);
    if (c->n_args) free((char *)(uintptr_t)c->args[0]);
    return same ? 0 : 1;
}

static void enter_folder(unsigned number)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%u", test_folder(), number);
    assert_int_equal(qsr_mkdirs(name, NULL), QSR_OK);
    assert_int_equal(chdir(name), 0);
    assert_int_equal(qsr_mkdirs("shared", NULL), QSR_OK);
}

static void run_file(const char *path, unsigned *number, unsigned *errors, size_t *failures)
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
                    *errors += !c.ok;
                    *failures += run_case(&c);
                }
                if (title) enter_folder((*number)++);
                c = (test_case){.title = title ? line + 4 : NULL};
            }
        } else {
            qsr_text_add(&body, "%s\n", line);
        }
    } while (line);
    qsr_text_free(&body);
    qsr_arena_free(&arena);
}

static void shows_users_what_is_wrong(void **state)
{
    char folder[1024], path[2048];
    size_t failures = 0;
    unsigned number = 0, errors = 0;
    struct dirent **entries;
    (void)state;
    snprintf(folder, sizeof folder, "%s/tests/cases/spec",
             getenv("QUASAR_SOURCE") ? getenv("QUASAR_SOURCE") : QSR_SOURCE_DIR);
    int n = scandir(folder, &entries, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (qsr_ends_with(entries[i]->d_name, ".case")) run_file(path, &number, &errors, &failures);
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(chdir("/"), 0);
    qsr_remove_tree(test_folder(), NULL);
    print_message("%u cases, %u of them errors\n", number, errors);
    assert_true(errors >= 45); /* none went missing */
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shows_users_what_is_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Runs the .case files of tests/cases/bad-input: the program as a user starts it, given something wrong. What it says must be
 * told word for word, the exit code must be right, and nothing may be left behind.
 *
 *     === what the case shows
 *     @file, @npy, ...       files, made in this order (bad-files.h has the kinds)
 *     @as nobody             without root's rights; skipped where root cannot give them up
 *     @as plain              skipped in a build with AddressSanitizer, which speaks up itself when memory is refused
 *     @run WORDS             what is run
 *     @exit N                its exit code; 2 unless said
 *     @error                 the whole standard error, empty unless said; "@error like": * stands for anything
 *     @output                the whole standard output; not compared unless said
 *     @leaves                patterns for what the run created, one a line; nothing unless said
 *     @holds PATTERN         the one file of that name holds each of the lines
 *
 * Lines before the first === are remarks, and sections among them belong to every case of the file. $WORK, $BUILD and $SOURCE
 * stand for the case's folder and the two trees. Each case runs in a folder of its own. */
#include <dirent.h>
#include <fnmatch.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit.h"
#include "bad-files.h"
#include "base/arena.h"
#include "base/fs.h"
#include "child.h"

enum { MOST_SECTIONS = 32, MOST_WORDS = 64, LEAST_CASES = 80, COULD_NOT_START = 126, MOST_SECONDS = 60 };

typedef struct {
    char *head, *body;
} section;

typedef struct {
    const char *file; /* for messages */
    char *title, folder[256];
    section sections[MOST_SECTIONS];
    size_t n;
    bool as_nobody, as_plain, like;
    int code;
    const char *run, *error, *output, *leaves;
    const section *holds;
} test_case;

#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif
#if defined __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static unsigned cases, skipped, failures;

/* ---- what is in a folder ----------------------------------------------------------------------------------------- */

static struct {
    qsr_text names; /* "a\nb\n", in nftw's order */
} tree;

static int note_name(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about, (void)type, (void)walk;
    if (strcmp(path, ".") != 0) qsr_text_add(&tree.names, "%s\n", path + 2);
    return 0;
}

static char *names_here(void)
{
    tree.names = (qsr_text){0};
    assert_int_equal(nftw(".", note_name, 16, FTW_PHYS), 0);
    return tree.names.bytes ? tree.names.bytes : strdup("");
}

static bool has_line(const char *lines, const char *line)
{
    size_t n = strlen(line);
    for (const char *at = lines; (at = strstr(at, line)); at += n)
        if ((at == lines || at[-1] == '\n') && at[n] == '\n') return true;
    return false;
}

/* Lines of `after` that `before` lacks. */
static qsr_text created(const char *before, char *after)
{
    qsr_text names = {0};
    for (char *line; (line = next_line(&after)) && *line;)
        if (!has_line(before, line)) qsr_text_add(&names, "%s\n", line);
    return names;
}

/* Whether each name fits a pattern and each pattern a name. */
static bool as_announced(const char *patterns, const char *names)
{
    qsr_arena arena = {0};
    char *name, *pattern, *left = qsr_arena_strdup(&arena, names);
    bool fine = true;
    while ((name = next_line(&left)) && *name) {
        bool fits = false;
        for (char *at = qsr_arena_strdup(&arena, patterns); (pattern = next_line(&at)) && *pattern;)
            fits |= fnmatch(pattern, name, 0) == 0;
        fine &= fits;
    }
    for (char *at = qsr_arena_strdup(&arena, patterns); (pattern = next_line(&at)) && *pattern;) {
        bool fits = false;
        for (char *all = qsr_arena_strdup(&arena, names); (name = next_line(&all)) && *name;)
            fits |= fnmatch(pattern, name, 0) == 0;
        fine &= fits;
    }
    qsr_arena_free(&arena);
    return fine;
}

/* ---- a case ------------------------------------------------------------------------------------------------------ */

/* A copy with the names of folders put in. */
static char *put_folders(qsr_arena *arena, const test_case *c, const char *text)
{
    const char *const names[] = {"$WORK", "$BUILD", "$SOURCE"}, *const values[] = {c->folder, build_folder(),
                                                                                   source_folder()};
    qsr_text out = {0};
    while (*text) {
        size_t i = 0;
        while (i < 3 && !qsr_starts_with(text, names[i])) i++;
        if (i < 3)
            qsr_text_puts(&out, values[i]);
        else
            qsr_text_append(&out, text, 1);
        text += i < 3 ? strlen(names[i]) : 1;
    }
    char *copy = qsr_arena_strndup(arena, out.bytes ? out.bytes : "", out.length);
    qsr_text_free(&out);
    return copy;
}

static void read_section(test_case *c, const section *s)
{
    if (strcmp(s->head, "@as nobody") == 0)
        c->as_nobody = true;
    else if (strcmp(s->head, "@as plain") == 0)
        c->as_plain = true;
    else if (qsr_starts_with(s->head, "@run "))
        c->run = s->head + strlen("@run ");
    else if (qsr_starts_with(s->head, "@exit "))
        c->code = atoi(s->head + strlen("@exit "));
    else if (strcmp(s->head, "@error") == 0)
        c->error = s->body;
    else if (strcmp(s->head, "@error like") == 0)
        c->error = s->body, c->like = true;
    else if (strcmp(s->head, "@output") == 0)
        c->output = s->body;
    else if (strcmp(s->head, "@leaves") == 0)
        c->leaves = s->body;
    else if (qsr_starts_with(s->head, "@holds "))
        c->holds = s;
    else if (!make_file(s->head, s->body))
        fail_msg("%s: '%s': unknown section %s", c->file, c->title, s->head);
}

static void enter_folder(test_case *c)
{
    snprintf(c->folder, sizeof c->folder, "%s/%u", test_folder(), cases);
    assert_int_equal(qsr_mkdirs(c->folder, NULL), QSR_OK);
    assert_int_equal(chdir(c->folder), 0);
    assert_int_equal(chmod(test_folder(), 0711), 0); /* @as nobody passes through */
}

static ended run_program(const test_case *c)
{
    qsr_arena arena = {0};
    const char *argv[MOST_WORDS + 2] = {qsr_path_join(&arena, build_folder(), "quasar")};
    size_t n = 1;
    char *words = qsr_arena_strdup(&arena, c->run);
    for (char *word = next_word(&words); *word && n <= MOST_WORDS; word = next_word(&words)) argv[n++] = word;
    child run = {c->folder, argv, test_folder(), c->as_nobody, MOST_SECONDS};
    ended e = run_child(&run);
    qsr_arena_free(&arena);
    return e;
}

static bool file_holds(const char *names, const section *holds)
{
    qsr_arena arena = {0};
    const char *pattern = holds->head + strlen("@holds ");
    char *name, *left = qsr_arena_strdup(&arena, names), *text = NULL;
    while ((name = next_line(&left)) && *name)
        if (fnmatch(pattern, name, 0) == 0 && qsr_read_file(&arena, name, 1 << 20, &text, NULL, NULL)) text = NULL;
    bool fine = text != NULL;
    if (!text) fprintf(stderr, "there is no %s\n", pattern);
    for (char *at = qsr_arena_strdup(&arena, holds->body), *line; text && (line = next_line(&at)) && *line;)
        if (!strstr(text, line)) {
            fprintf(stderr, "%s does not hold '%s':\n%s\n", pattern, line, text);
            fine = false;
        }
    qsr_arena_free(&arena);
    return fine;
}

static const char *text_of(const qsr_text *t) { return t->bytes ? t->bytes : ""; }

/* On failure prints what there is now in the form of the file, for reading and pasting. */
static void judge(const test_case *c, const ended *got, const char *names)
{
    const char *err = text_of(&got->err);
    bool fine = !got->signal && got->code == c->code;
    fine &= c->like ? fnmatch(c->error, err, 0) == 0 : strcmp(err, c->error) == 0;
    if (c->output) fine &= strcmp(text_of(&got->out), c->output) == 0;
    fine &= as_announced(c->leaves, names);
    if (c->holds) fine &= file_holds(names, c->holds);
    if (fine) return;
    failures++;
    fprintf(stderr, "---- %s: '%s': got\n", c->file, c->title);
    if (got->signal) fprintf(stderr, "@signal %d\n", got->signal);
    fprintf(stderr, "@exit %d\n@error\n%s", got->code, err);
    if (c->output) fprintf(stderr, "@output\n%s", text_of(&got->out));
    if (*names) fprintf(stderr, "@leaves\n%s", names);
    fprintf(stderr, "---- expected @exit %d and\n%s----\n", c->code, c->error);
}

static void skip_case(const test_case *c, const char *why)
{
    print_message("skipped '%s': %s\n", c->title, why);
    skipped++;
}

static void run_and_judge(const test_case *c)
{
    char *before = names_here();
    ended got = run_program(c);
    char *after = names_here();
    qsr_text names = created(before, after);
    if (c->as_nobody && got.code == COULD_NOT_START)
        skip_case(c, "cannot become nobody here, or nobody cannot reach the build folder");
    else
        judge(c, &got, text_of(&names));
    free_ended(&got);
    qsr_text_free(&names);
    free(before);
    free(after);
}

static void run_case(test_case *c)
{
    qsr_arena arena = {0};
    cases++;
    enter_folder(c);
    for (size_t i = 0; i < c->n; i++) {
        section *s = &c->sections[i];
        *s = (section){put_folders(&arena, c, s->head), put_folders(&arena, c, s->body)};
        read_section(c, s);
    }
    if (!c->run) fail_msg("%s: '%s' runs nothing", c->file, c->title);
    if (c->as_plain && SANITIZED)
        skip_case(c, "built with AddressSanitizer");
    else
        run_and_judge(c);
    qsr_arena_free(&arena);
}

/* ---- files of cases ---------------------------------------------------------------------------------------------- */

static bool is_title(const char *line) { return qsr_starts_with(line, "=== "); }

/* Cuts the sections up to the next title out of *at; lines before the first are dropped. */
static void cut_sections(qsr_arena *arena, char **at, test_case *c)
{
    while (**at && !is_title(*at)) {
        char *line = next_line(at), *end;
        if (line[0] != '@') continue;
        assert_true(c->n < MOST_SECTIONS);
        for (end = *at; *end && *end != '@' && !is_title(end); end += *end == '\n') end += strcspn(end, "\n");
        c->sections[c->n++] = (section){line, qsr_arena_strndup(arena, *at, (size_t)(end - *at))};
        *at = end;
    }
}

static void run_file(const char *path)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    char *text;
    test_case common = {.file = qsr_path_base(path), .code = 2, .error = "", .leaves = ""};
    if (qsr_read_file(&arena, path, 1 << 20, &text, NULL, &e)) fail_msg("%s", e.text);
    cut_sections(&arena, &text, &common);
    while (*text) {
        test_case c = common;
        c.title = next_line(&text) + strlen("=== ");
        cut_sections(&arena, &text, &c);
        run_case(&c);
    }
    qsr_arena_free(&arena);
}

static void tells_users_what_is_wrong(void **state)
{
    (void)state;
    qsr_arena arena = {0};
    const char *folder = qsr_path_join(&arena, source_folder(), "tests/cases/bad-input");
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort);
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        if (qsr_ends_with(entries[i]->d_name, ".case")) run_file(qsr_path_join(&arena, folder, entries[i]->d_name));
        free(entries[i]);
    }
    free(entries);
    qsr_arena_free(&arena);
    assert_int_equal(chdir("/"), 0);
    qsr_remove_tree(test_folder(), NULL);
    print_message("%u cases, %u skipped\n", cases, skipped);
    assert_true(cases >= LEAST_CASES); /* none went missing */
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_users_what_is_wrong)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

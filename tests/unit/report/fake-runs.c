#include "fake-runs.h"

#include "../unit.h"
#include "base/fs.h"
#include "base/text.h"

typedef struct {
    const char *folder;
    char run[256], status[32], reason[256];
    qsr_text base, spec, metrics;
} writing;

char *case_text(qsr_arena *arena, const char *name)
{
    char *text = NULL;
    const char *path = qsr_arena_printf(arena, "%s/tests/cases/report/%s", getenv("QUASAR_SOURCE"), name);
    assert_int_equal(qsr_read_file(arena, path, 1 << 20, &text, NULL, NULL), QSR_OK);
    return text;
}

void write_below(const char *folder, const char *path, const char *text)
{
    qsr_arena arena = {0};
    const char *whole = qsr_path_join(&arena, folder, path);
    assert_int_equal(qsr_mkdirs(qsr_path_folder(&arena, whole), NULL), QSR_OK);
    assert_int_equal(qsr_write_file(whole, text, strlen(text), NULL), QSR_OK);
    qsr_arena_free(&arena);
}

static void write_file(writing *w, const char *name, const qsr_text *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", w->run, name);
    write_below(w->folder, path, text->bytes ? text->bytes : "");
}

static void finish_run(writing *w)
{
    qsr_text text = {0};
    if (!w->run[0]) return;
    qsr_text_add(&text, "%s%s", w->base.bytes ? w->base.bytes : "", w->spec.bytes ? w->spec.bytes : "");
    write_file(w, "spec.yaml", &text);
    text.length = 0;
    qsr_text_add(&text, "{\"quasar\": \"0.1.0\", \"cell\": \"%s\", \"plugins\": {\"loss/mse\": {\"version\": \"1\"}}}\n",
                 qsr_path_base(w->run));
    write_file(w, "manifest.json", &text);
    text.length = 0;
    qsr_text_add(&text, "{\"status\": \"%s\", \"reason\": \"%s\", \"metrics\": {%s}, \"train\": {\"steps\": 16}}\n",
                 w->status, w->reason, w->metrics.bytes ? w->metrics.bytes : "");
    if (strcmp(w->status, "unfinished") != 0) write_file(w, "result.json", &text);
    qsr_text_free(&text);
    qsr_text_free(&w->spec);
    qsr_text_free(&w->metrics);
    w->run[0] = w->reason[0] = 0;
}

/* "a=1 b=2" as "a: 1\nb: 2\n", or as "\"a\": 1, \"b\": 2" behind what is there. */
static void add_pairs(qsr_text *out, char *words, bool json)
{
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        *equals = 0;
        if (json)
            qsr_text_add(out, "%s\"%s\": %s", out->length ? ", " : "", word, equals + 1);
        else
            qsr_text_add(out, "%s: %s\n", word, equals + 1);
    }
}

static void take_line(writing *w, char *line)
{
    char *rest = strchr(line, ' ');
    if (line[0] == '#' || !line[0]) return;
    assert_non_null(rest);
    *rest++ = 0;
    if (strcmp(line, "run") == 0) {
        finish_run(w);
        assert_int_equal(sscanf(rest, "%255s %31s", w->run, w->status), 2);
    } else if (strcmp(line, "base") == 0) {
        add_pairs(&w->base, rest, false);
    } else if (strcmp(line, "set") == 0) {
        add_pairs(&w->spec, rest, false);
    } else if (strcmp(line, "metric") == 0) {
        add_pairs(&w->metrics, rest, true);
    } else {
        assert_string_equal(line, "reason");
        snprintf(w->reason, sizeof w->reason, "%s", rest);
    }
}

void write_fake_runs(const char *case_name, const char *folder)
{
    qsr_arena arena = {0};
    writing w = {.folder = folder};
    for (char *line = case_text(&arena, case_name), *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = 0;
        take_line(&w, line);
    }
    finish_run(&w);
    qsr_text_free(&w.base);
    qsr_arena_free(&arena);
}

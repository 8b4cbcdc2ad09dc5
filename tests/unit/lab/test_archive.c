/* Run folders read back: what a good one tells, and that no broken one can do harm. */
#include <sys/stat.h>
#include <unistd.h>

#include "../report/fake-runs.h"
#include "../unit.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/text.h"
#include "lab/archive.h"
#include "lab/index.h"

static qsr_arena arena;

static const char *below(const char *path) { return qsr_path_join(&arena, test_folder(), path); }

static const char *value_of(const qsr_record *r, const char *key)
{
    for (size_t i = 0; i < r->n_parameters; i++)
        if (strcmp(r->parameters[i].key, key) == 0) return r->parameters[i].text;
    return "nothing";
}

static double measure_of(const qsr_record *r, const char *name)
{
    for (size_t i = 0; i < r->n_measures; i++)
        if (strcmp(r->measures[i].name, name) == 0) return r->measures[i].value;
    return NAN;
}

static const char spec[] =
    "name: fine\nseed: 3\ndataset:\n  plugin: gpt2\n  hook.layer: 4\n  hook.site: resid_pre\n  tokens: [\"a b\", c.npy]\n"
    "activation: {plugin: topk, k: 16}\nlosses:\n  mse: {plugin: mse, coeff: 1}\n  extra: {plugin: l1, coeff: 0.5}\n";
static const char manifest[] =
    "{\"quasar\": \"0.1.0\", \"git\": \"abc\", \"cell\": \"topk-1\", \"name\": \"fine\", \"started\": \"s\", \"plugins\": "
    "{\"activation/topk\": {\"version\": \"2\", \"file\": \"/x.so\", \"digest\": \"d\"}}}";
static const char result[] = "{\"status\": \"completed\", \"reason\": null, \"metrics\": {\"l0\": 16, \"nmse\": 0.25, "
                             "\"ce\": null, \"word\": \"x\"}, "
                             "\"train\": {\"loss\": 0.5}}";

static void a_run_is_read_back(void **state)
{
    (void)state;
    qsr_archive a;
    const char *root = below("good");
    write_below(root, "fine/one/spec.yaml", spec);
    write_below(root, "fine/one/manifest.json", manifest);
    write_below(root, "fine/one/result.json", result);
    write_below(root, "fine/one/sae/cfg.json", "{}");
    write_below(root, "fine/one/sae/spec.yaml", spec); /* inside a run: no run of its own */
    write_below(root, ".hidden/spec.yaml", spec);
    assert_int_equal(symlink(".", below("good/loop")), 0);
    assert_int_equal(qsr_archive_read(root, &a, NULL), QSR_OK);
    assert_int_equal(a.count, 1);
    const qsr_record *r = &a.records[0];
    assert_string_equal(r->folder, "fine/one");
    assert_string_equal(r->cell, "topk-1");
    assert_string_equal(r->name, "fine");
    assert_int_equal(r->state, QSR_RECORD_COMPLETED);
    assert_string_equal(r->quasar, "0.1.0");
    assert_null(r->finished);
    assert_string_equal(value_of(r, "dataset.hook.layer"), "4");
    assert_string_equal(value_of(r, "dataset.tokens"), "[a b, c.npy]");
    assert_string_equal(value_of(r, "losses.extra"), "on");
    assert_string_equal(value_of(r, "losses.extra.coeff"), "0.5");
    assert_string_equal(value_of(r, "losses.l1"), "nothing");
    assert_true(measure_of(r, "l0") == 16 && measure_of(r, "nmse") == 0.25 && measure_of(r, "trained.loss") == 0.5);
    assert_int_equal(r->n_measures, 3);
    assert_int_equal(r->n_plugins, 1);
    assert_string_equal(r->plugins[0].name, "activation/topk");
    assert_string_equal(r->plugins[0].version, "2");
    qsr_archive_free(&a);
    /* The run folder itself can be asked for. */
    assert_int_equal(qsr_archive_read(below("good/fine/one"), &a, NULL), QSR_OK);
    assert_string_equal(a.records[0].folder, ".");
    assert_string_equal(a.records[0].cell, "topk-1");
    qsr_archive_free(&a);
}

/* A folder for each, with these three files; NULL: it is not there. */
static const struct {
    const char *name, *spec, *manifest, *result;
    qsr_record_state state;
    const char *reason; /* the end of it */
} broken[] = {
    {"00-fine", spec, manifest, result, QSR_RECORD_COMPLETED, NULL},
    {"01-running", spec, manifest, NULL, QSR_RECORD_UNFINISHED, NULL},
    {"02-just-begun", spec, NULL, NULL, QSR_RECORD_UNFINISHED, NULL},
    {"03-failed", spec, manifest, "{\"status\": \"failed\", \"reason\": \"because\"}", QSR_RECORD_FAILED, "because"},
    {"04-no-reason", spec, manifest, "{\"status\": \"failed\", \"reason\": 7}", QSR_RECORD_FAILED, NULL},
    {"05-torn-result", spec, manifest, "{\"status\": \"compl", QSR_RECORD_BROKEN,
     "05-torn-result/result.json:1:17: premature end of input near '\"compl'"},
    {"06-empty-result", spec, manifest, "", QSR_RECORD_BROKEN,
     "06-empty-result/result.json:1:0: '[' or '{' expected near end of file"},
    {"07-list", spec, manifest, "[1, 2]", QSR_RECORD_BROKEN, "07-list/result.json: it is no object"},
    {"08-status", spec, manifest, "{\"status\": \"fine\"}", QSR_RECORD_BROKEN,
     "08-status/result.json: the status is 'fine', neither completed nor failed"},
    {"09-no-status", spec, manifest, "{}", QSR_RECORD_BROKEN, "09-no-status/result.json: the status is missing"},
    {"10-twice", spec, manifest, "{\"a\": 1, \"a\": 2}", QSR_RECORD_BROKEN,
     "10-twice/result.json:1:12: duplicate object key near '\"a\"'"},
    {"11-no-spec", NULL, manifest, result, QSR_RECORD_BROKEN, "11-no-spec/spec.yaml: No such file or directory"},
    {"12-no-manifest", spec, NULL, result, QSR_RECORD_BROKEN, "12-no-manifest/manifest.json is missing"},
    {"13-torn-spec", "a: [1, 2\n", manifest, result, QSR_RECORD_BROKEN, NULL},
    {"14-spec-twice", "a: 1\na: 2\n", manifest, result, QSR_RECORD_BROKEN, NULL},
    {"15-spec-list", "[1, 2]\n", manifest, result, QSR_RECORD_BROKEN, "15-spec-list/spec.yaml: it is no mapping"},
    {"16-empty-spec", "", manifest, result, QSR_RECORD_BROKEN, NULL},
    {"17-binary", "\x01\x02\xff\xfe", "\xff",
     "\x7f"
     "ELF",
     QSR_RECORD_BROKEN, NULL},
    {"18-odd-types", "activation: [[1], {a: b}]\nlosses: 3\nseed: {a: {b: {c: d}}}\n",
     "{\"plugins\": [1], \"cell\": 5, \"started\": {}}", "{\"status\": \"completed\", \"metrics\": [1], \"train\": \"x\"}",
     QSR_RECORD_COMPLETED, NULL},
    {"19-huge-number", spec, manifest, "{\"status\": \"completed\", \"metrics\": {\"a\": 1e999}}", QSR_RECORD_BROKEN, NULL},
};
enum { BROKEN = sizeof broken / sizeof *broken };

static void write_broken(const char *root)
{
    for (size_t i = 0; i < BROKEN; i++) {
        const char *const files[] = {"spec.yaml", "manifest.json", "result.json"};
        const char *const texts[] = {broken[i].spec, broken[i].manifest, broken[i].result};
        for (size_t f = 0; f < 3; f++)
            if (texts[f]) write_below(root, qsr_arena_printf(&arena, "%s/%s", broken[i].name, files[f]), texts[f]);
    }
}

static void broken_runs_are_listed_and_do_no_harm(void **state)
{
    (void)state;
    qsr_archive a;
    qsr_error e = {0};
    const char *root = below("broken");
    write_broken(root);
    qsr_log_set_level(QSR_LOG_WARNING + 1);
    assert_int_equal(qsr_archive_read(root, &a, NULL), QSR_OK);
    qsr_log_set_level(QSR_LOG_WARNING);
    assert_int_equal(a.count, BROKEN);
    for (size_t i = 0; i < BROKEN; i++) {
        const qsr_record *r = &a.records[i];
        assert_string_equal(r->folder, broken[i].name);
        if (r->state != broken[i].state) fail_msg("%s is %s", r->folder, qsr_record_state_name(r->state));
        if (broken[i].reason && !qsr_ends_with(r->reason, broken[i].reason)) fail_msg("%s: %s", r->folder, r->reason);
        assert_int_equal(r->state == QSR_RECORD_BROKEN && !r->reason, 0);
    }
    if (qsr_index_write(&a, below("broken/index.sqlite"), &e)) fail_msg("%s", e.text);
    qsr_archive_free(&a);
}

static void special_files_and_folders_in_place_of_files(void **state)
{
    (void)state;
    qsr_archive a;
    const char *root = below("special");
    write_below(root, "run/spec.yaml", spec);
    write_below(root, "run/manifest.json/inside", "a folder");
    assert_int_equal(mkfifo(below("special/run/result.json"), 0600), 0);
    qsr_log_set_level(QSR_LOG_WARNING + 1);
    alarm(20); /* a pipe that is opened for reading waits for ever */
    assert_int_equal(qsr_archive_read(root, &a, NULL), QSR_OK);
    alarm(0);
    qsr_log_set_level(QSR_LOG_WARNING);
    assert_int_equal(a.records[0].state, QSR_RECORD_BROKEN);
    qsr_archive_free(&a);
}

static void folders_without_runs_are_refused(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"no-such", "there is no folder %s"},
                                         {"a-file", "%s is a file; the folder of runs is needed"},
                                         {"empty", "%s holds no run folders"}};
    write_below(test_folder(), "a-file", "x");
    write_below(test_folder(), "empty/sub/file", "x");
    for (size_t i = 0; i < 3; i++) {
        qsr_archive a;
        qsr_error e = {0};
        char expected[1000];
        const char *path = below(bad[i][0]), *hole = strstr(bad[i][1], "%s");
        snprintf(expected, sizeof expected, "%.*s%s%s", (int)(hole - bad[i][1]), bad[i][1], path, hole + 2);
        assert_int_equal(qsr_archive_read(path, &a, &e), QSR_E_INPUT);
        assert_string_equal(e.text, expected);
    }
}

static int clean(void **state)
{
    (void)state;
    int code = qsr_remove_tree(test_folder(), NULL);
    qsr_arena_free(&arena);
    return code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_read_back),
        cmocka_unit_test(broken_runs_are_listed_and_do_no_harm),
        cmocka_unit_test(special_files_and_folders_in_place_of_files),
        cmocka_unit_test(folders_without_runs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

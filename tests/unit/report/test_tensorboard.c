/* The TensorBoard export of run folders: which bytes, when, where; torn logs; a second export. */
#include "../unit.h"
#include "base/fs.h"
#include "base/log.h"
#include "fake-runs.h"
#include "format/tfevents.h"
#include "report/tensorboard.h"

static qsr_arena arena;

static const char *below(const char *path) { return qsr_path_join(&arena, test_folder(), path); }

static void export_runs(void)
{
    qsr_archive archive;
    qsr_error e = {0};
    assert_int_equal(qsr_archive_read(below("runs"), &archive, &e), QSR_OK);
    if (qsr_tensorboard_write(&archive, below("board"), &e)) fail_msg("%s", e.text);
    qsr_archive_free(&archive);
}

/* What the export of a run must be, made with the writer that test_tfevents checks. */
typedef struct {
    double time;
    int64_t step;
    size_t n;
    qsr_scalar scalars[3];
} event;

static void check_file(const char *run, double started, const event *events, size_t n)
{
    qsr_tfevents expected;
    qsr_map a, b;
    assert_int_equal(qsr_tfevents_open(&expected, below("expected"), started, NULL), QSR_OK);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(qsr_tfevents_add(&expected, events[i].time, events[i].step, events[i].scalars, events[i].n, NULL),
                         QSR_OK);
    assert_int_equal(qsr_tfevents_commit(&expected, NULL), QSR_OK);
    assert_int_equal(
        qsr_map_open(qsr_arena_printf(&arena, "%s/board/%s/events.out.tfevents.0.quasar", test_folder(), run), &a, NULL),
        QSR_OK);
    assert_int_equal(qsr_map_open(below("expected"), &b, NULL), QSR_OK);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.bytes, b.bytes, b.size);
    qsr_map_close(&a);
    qsr_map_close(&b);
}

static const char manifest[] = "{\"cell\": \"x\", \"started\": \"2026-11-22T20:49:00Z\"}";
static const double started = 1795380540; /* date -u -d 2026-11-22T20:49:00Z +%s */
static const char result[] =
    "{\"status\": \"completed\", \"metrics\": {\"l0\": 4.0, \"fvu\": null, \"nmse\": 0.25}, \"train\": {\"steps\": 21}}";

static void curves_times_and_results(void **state)
{
    (void)state;
    write_below(below("runs"), "a/one/spec.yaml", "name: a\n");
    write_below(below("runs"), "a/one/manifest.json", manifest);
    write_below(below("runs"), "a/one/result.json", result);
    write_below(below("runs"), "a/one/metrics.jsonl",
                "{\"step\":0,\"loss\":1.5,\"threshold\":null,\"l0\":4}\n{\"step\":10,\"loss\":0.75}\n{\"step\":20,\"loss\":"
                "0.5,\"loss.mse\":0.25}\n");
    write_below(
        below("runs"), "a/one/timing.jsonl",
        "{\"step\":0,\"wall_seconds\":0.5,\"tokens_per_second\":100.0}\n{\"step\":20,\"wall_seconds\":2.5,\"tokens_per_"
        "second\":200.0}\n");
    export_runs();
    const event events[] = {{started + 0.5, 0, 2, {{"train/loss", 1.5}, {"train/l0", 4}}},
                            {started + 0.5, 10, 1, {{"train/loss", 0.75}}},
                            {started + 2.5, 20, 2, {{"train/loss", 0.5}, {"train/loss.mse", 0.25}}},
                            {started + 0.5, 0, 1, {{"time/tokens_per_second", 100}}},
                            {started + 2.5, 20, 1, {{"time/tokens_per_second", 200}}},
                            {started + 2.5, 20, 2, {{"eval/l0", 4}, {"eval/nmse", 0.25}}}};
    check_file("a/one", started, events, 6);
}

/* The clock starts anew when a run goes on, at a step before the one it was killed at. */
static void interruptions_add_up(void **state)
{
    (void)state;
    write_below(below("runs"), "a/two/spec.yaml", "name: a\n");
    write_below(below("runs"), "a/two/manifest.json", manifest);
    write_below(below("runs"), "a/two/metrics.jsonl",
                "{\"step\":0,\"l0\":1}\n{\"step\":10,\"l0\":2}\n{\"step\":20,\"l0\":3}\n");
    write_below(below("runs"), "a/two/timing.jsonl",
                "{\"step\":0,\"wall_seconds\":1.0}\n{\"step\":10,\"wall_seconds\":3.0}\n{\"step\":10,\"wall_seconds\":0.5}"
                "\n{\"step\":20,"
                "\"wall_seconds\":2.0}\n");
    export_runs();
    const event events[] = {{started + 1, 0, 1, {{"train/l0", 1}}},
                            {started + 3.5, 10, 1, {{"train/l0", 2}}},
                            {started + 5, 20, 1, {{"train/l0", 3}}}};
    check_file("a/two", started, events, 3);
}

static void torn_lines_are_left_out(void **state)
{
    (void)state;
    write_below(below("runs"), "a/three/spec.yaml", "name: a\n");
    write_below(below("runs"), "a/three/metrics.jsonl", "{\"step\":0,\"l0\":1}\n{\"step\":10,\"l0\"");
    qsr_log_set_level(QSR_LOG_WARNING + 1);
    export_runs();
    const event events[] = {{0, 0, 1, {{"train/l0", 1}}}};
    check_file("a/three", 0, events, 1);
    write_below(below("runs"), "a/three/metrics.jsonl",
                "[1]\n{\"step\":-5,\"l0\":1}\n\n{\"step\":0,\"l0\":1}\n{\"step\":\"1\"}\n");
    export_runs();
    check_file("a/three", 0, events, 1);
    qsr_log_set_level(QSR_LOG_WARNING);
}

static void a_second_export_replaces_the_first(void **state)
{
    (void)state;
    write_below(below("runs"), "a/one/metrics.jsonl", "{\"step\":0,\"loss\":2.0}\n");
    write_below(below("runs"), "a/three/metrics.jsonl", "");
    export_runs();
    const event events[] = {{started + 0.5, 0, 1, {{"train/loss", 2}}},
                            {started + 0.5, 0, 1, {{"time/tokens_per_second", 100}}},
                            {started + 2.5, 20, 1, {{"time/tokens_per_second", 200}}},
                            {started + 0.5, 0, 2, {{"eval/l0", 4}, {"eval/nmse", 0.25}}}};
    check_file("a/one", started, events, 4);
    FILE *list = popen(qsr_arena_printf(&arena, "find '%s' -type f | wc -l", below("board")), "r");
    int files = 0;
    assert_int_equal(fscanf(list, "%d", &files), 1);
    pclose(list);
    assert_int_equal(files, 3);
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
        cmocka_unit_test(curves_times_and_results),
        cmocka_unit_test(interruptions_add_up),
        cmocka_unit_test(torn_lines_are_left_out),
        cmocka_unit_test(a_second_export_replaces_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, clean);
}

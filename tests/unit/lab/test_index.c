/* The SQLite index: the documented schema holds what the run folders hold; written whole or not at all. */
#include <sqlite3.h>
#include <unistd.h>

#include "../report/fake-runs.h"
#include "../unit.h"
#include "base/fs.h"
#include "base/text.h"
#include "lab/index.h"

static qsr_arena arena;
static qsr_archive archive;

static const char *below(const char *path) { return qsr_path_join(&arena, test_folder(), path); }

/* The rows of a query, "a|b" each, separated by semicolons. */
static const char *ask(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *query;
    qsr_text text = {0};
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &query, NULL) != SQLITE_OK) fail_msg("%s", sqlite3_errmsg(db));
    while (sqlite3_step(query) == SQLITE_ROW) {
        if (text.length) qsr_text_puts(&text, ";");
        for (int c = 0; c < sqlite3_column_count(query); c++) {
            const char *value = (const char *)sqlite3_column_text(query, c);
            qsr_text_add(&text, "%s%s", c ? "|" : "", value ? value : "NULL");
        }
    }
    sqlite3_finalize(query);
    sqlite3_close(db);
    const char *kept = qsr_arena_strdup(&arena, text.bytes ? text.bytes : "");
    qsr_text_free(&text);
    return kept;
}

static void the_index_holds_what_the_folders_hold(void **state)
{
    (void)state;
    const char *path = below("runs/index.sqlite");
    qsr_error e = {0};
    if (qsr_index_write(&archive, path, &e)) fail_msg("%s", e.text);
    assert_string_equal(ask(path, "PRAGMA user_version"), "1");
    assert_string_equal(ask(path, "PRAGMA integrity_check"), "ok");
    assert_string_equal(ask(path, "SELECT status, count(*) FROM runs GROUP BY status"),
                        "completed|14;failed|1;unfinished|1");
    assert_string_equal(ask(path, "SELECT folder, cell, name, reason, quasar, started FROM runs WHERE status = 'failed'"),
                        "grid/topafa-3|topafa-3|grid|the loss is not finite at step 37|0.1.0|NULL");
    assert_string_equal(
        ask(path, "SELECT key, value, number FROM parameters JOIN runs USING (run) WHERE cell = 'topafa-1' AND key GLOB "
                  "'losses.afa*' ORDER BY key"),
        "losses.afa|on|NULL;losses.afa.coeff|0.03125|0.03125;losses.afa.norm|plain|NULL;losses.afa.plugin|afa|NULL");
    assert_string_equal(
        ask(path, "SELECT p.value, k.number, avg(m.value) FROM metrics m JOIN parameters p ON p.run = m.run AND p.key = "
                  "'activation.plugin' JOIN parameters k ON k.run = m.run AND k.key = 'activation.k' WHERE m.name = "
                  "'l0' GROUP BY 1, 2 ORDER BY 1, 2"),
        "batchtopk|16.0|16.0;batchtopk|32.0|32.0;topk|16.0|16.0;topk|32.0|32.0");
    assert_string_equal(ask(path, "SELECT count(*) FROM metrics WHERE name = 'fvu'"), "13");
    assert_string_equal(ask(path, "SELECT DISTINCT name FROM metrics WHERE name GLOB 'trained.*'"), "trained.steps");
    assert_string_equal(ask(path, "SELECT DISTINCT plugin, version, digest FROM plugins"), "loss/mse|1|NULL");
}

/* What the folders say now, not what they said before. */
static void it_is_rebuilt_from_nothing(void **state)
{
    (void)state;
    const char *path = below("runs/index.sqlite");
    qsr_archive some = archive;
    some.count = 2;
    assert_int_equal(qsr_index_write(&some, path, NULL), QSR_OK);
    assert_string_equal(ask(path, "SELECT count(*) FROM runs"), "2");
    assert_int_equal(qsr_write_file(path, "no database", 11, NULL), QSR_OK);
    assert_int_equal(qsr_index_write(&archive, path, NULL), QSR_OK);
    assert_string_equal(ask(path, "SELECT count(*) FROM runs"), "16");
}

static void a_failure_leaves_what_was_there(void **state)
{
    (void)state;
    qsr_error e = {0};
    const char *path = below("no/such/index.sqlite");
    assert_int_equal(qsr_index_write(&archive, path, &e), QSR_E_IO);
    assert_string_equal(e.text, qsr_arena_printf(&arena, "cannot write %s: unable to open database file", path));
    /* A folder in its place cannot be replaced by a file. */
    path = below("taken");
    assert_int_equal(qsr_mkdirs(below("taken/inside"), NULL), QSR_OK);
    assert_int_equal(qsr_index_write(&archive, path, &e), QSR_E_IO);
    FILE *list = popen(qsr_arena_printf(&arena, "ls '%s' | grep -c tmp", test_folder()), "r");
    int left = -1;
    assert_int_equal(fscanf(list, "%d", &left), 1);
    pclose(list);
    assert_int_equal(left, 0);
}

static int make(void **state)
{
    (void)state;
    write_fake_runs("grid.runs", below("runs"));
    return qsr_archive_read(below("runs"), &archive, NULL);
}

static int clean(void **state)
{
    (void)state;
    int code = qsr_remove_tree(test_folder(), NULL);
    qsr_archive_free(&archive);
    qsr_arena_free(&arena);
    return code;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_holds_what_the_folders_hold),
        cmocka_unit_test(it_is_rebuilt_from_nothing),
        cmocka_unit_test(a_failure_leaves_what_was_there),
    };
    return cmocka_run_group_tests(tests, make, clean);
}

#include "lab/index.h"

#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/text.h"

/* WITHOUT ROWID keeps a run's parameters together and the file small. */
static const char schema[] =
    "CREATE TABLE runs ("
    "  run INTEGER PRIMARY KEY, folder TEXT NOT NULL UNIQUE, cell TEXT NOT NULL, name TEXT, status TEXT NOT NULL, reason "
    "TEXT,"
    "  quasar TEXT, git TEXT, started TEXT, finished TEXT);"
    "CREATE TABLE parameters ("
    "  run INTEGER NOT NULL REFERENCES runs, key TEXT NOT NULL, value TEXT NOT NULL, number REAL,"
    "  PRIMARY KEY (run, key)) WITHOUT ROWID;"
    "CREATE TABLE metrics ("
    "  run INTEGER NOT NULL REFERENCES runs, name TEXT NOT NULL, value REAL NOT NULL,"
    "  PRIMARY KEY (run, name)) WITHOUT ROWID;"
    "CREATE TABLE plugins ("
    "  run INTEGER NOT NULL REFERENCES runs, plugin TEXT NOT NULL, version TEXT, file TEXT, digest TEXT,"
    "  PRIMARY KEY (run, plugin)) WITHOUT ROWID;"
    "CREATE INDEX runs_by_cell ON runs (cell);"
    "CREATE INDEX parameters_by_key ON parameters (key, value);"
    "CREATE INDEX metrics_by_name ON metrics (name, value);";

enum { RUN, PARAMETER, METRIC, PLUGIN, STATEMENTS };

static const char *const inserts[STATEMENTS] = {
    "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "INSERT OR IGNORE INTO parameters VALUES (?, ?, ?, ?)",
    "INSERT OR IGNORE INTO metrics VALUES (?, ?, ?)", "INSERT OR IGNORE INTO plugins VALUES (?, ?, ?, ?, ?)"};

typedef struct {
    sqlite3 *db;
    sqlite3_stmt *insert[STATEMENTS];
    const char *path; /* for messages: the final one */
} writing;

static qsr_status fail_db(const writing *w, qsr_error *e)
{
    return qsr_fail(e, QSR_E_IO, "cannot write %s: %s", w->path, w->db ? sqlite3_errmsg(w->db) : "out of memory");
}

static qsr_status run_sql(const writing *w, const char *sql, qsr_error *e)
{
    return sqlite3_exec(w->db, sql, NULL, NULL, NULL) == SQLITE_OK ? QSR_OK : fail_db(w, e);
}

/* The file is private until it is renamed, so a journal would only cost time; what a crash leaves is a file aside. */
static qsr_status create(writing *w, const char *aside, qsr_error *e)
{
    char version[64];
    snprintf(version, sizeof version, "PRAGMA user_version = %d", QSR_INDEX_VERSION);
    if (sqlite3_open_v2(aside, &w->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) return fail_db(w, e);
    qsr_status status = run_sql(w, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF", e);
    if (!status) status = run_sql(w, version, e);
    if (!status) status = run_sql(w, "BEGIN", e);
    if (!status) status = run_sql(w, schema, e);
    for (int i = 0; !status && i < STATEMENTS; i++)
        if (sqlite3_prepare_v2(w->db, inserts[i], -1, &w->insert[i], NULL) != SQLITE_OK) status = fail_db(w, e);
    return status;
}

/* Texts outlive the step; NULL binds NULL. */
static void bind_texts(sqlite3_stmt *insert, int first, const char *const *texts, int n)
{
    for (int i = 0; i < n; i++) sqlite3_bind_text(insert, first + i, texts[i], -1, SQLITE_STATIC);
}

static qsr_status step(const writing *w, sqlite3_stmt *insert, qsr_error *e)
{
    int code = sqlite3_step(insert);
    sqlite3_reset(insert);
    sqlite3_clear_bindings(insert);
    return code == SQLITE_DONE ? QSR_OK : fail_db(w, e);
}

static qsr_status insert_run(const writing *w, sqlite3_int64 run, const qsr_record *r, qsr_error *e)
{
    sqlite3_stmt *insert = w->insert[RUN];
    const char *state = qsr_record_state_name(r->state);
    const char *const texts[] = {r->folder, r->cell, r->name, state, r->reason, r->quasar, r->git, r->started, r->finished};
    sqlite3_bind_int64(insert, 1, run);
    bind_texts(insert, 2, texts, 9);
    return step(w, insert, e);
}

static qsr_status insert_parameter(const writing *w, sqlite3_int64 run, const qsr_parameter *p, qsr_error *e)
{
    sqlite3_stmt *insert = w->insert[PARAMETER];
    double number;
    sqlite3_bind_int64(insert, 1, run);
    bind_texts(insert, 2, (const char *const[]){p->key, p->text}, 2);
    if (qsr_parse_real(p->text, &number)) sqlite3_bind_double(insert, 4, number);
    return step(w, insert, e);
}

static qsr_status insert_metric(const writing *w, sqlite3_int64 run, const qsr_measure *m, qsr_error *e)
{
    sqlite3_stmt *insert = w->insert[METRIC];
    sqlite3_bind_int64(insert, 1, run);
    bind_texts(insert, 2, &m->name, 1);
    sqlite3_bind_double(insert, 3, m->value);
    return step(w, insert, e);
}

static qsr_status insert_plugin(const writing *w, sqlite3_int64 run, const qsr_record_plugin *p, qsr_error *e)
{
    sqlite3_stmt *insert = w->insert[PLUGIN];
    sqlite3_bind_int64(insert, 1, run);
    bind_texts(insert, 2, (const char *const[]){p->name, p->version, p->file, p->digest}, 4);
    return step(w, insert, e);
}

static qsr_status insert_record(const writing *w, sqlite3_int64 run, const qsr_record *r, qsr_error *e)
{
    qsr_status status = insert_run(w, run, r, e);
    for (size_t i = 0; !status && i < r->n_parameters; i++) status = insert_parameter(w, run, &r->parameters[i], e);
    for (size_t i = 0; !status && i < r->n_measures; i++) status = insert_metric(w, run, &r->measures[i], e);
    for (size_t i = 0; !status && i < r->n_plugins; i++) status = insert_plugin(w, run, &r->plugins[i], e);
    return status;
}

static qsr_status write_aside(writing *w, const qsr_archive *a, const char *aside, qsr_error *e)
{
    qsr_status status = create(w, aside, e);
    for (size_t i = 0; !status && i < a->count; i++) status = insert_record(w, (sqlite3_int64)i + 1, &a->records[i], e);
    if (!status) status = run_sql(w, "COMMIT", e);
    for (int i = 0; i < STATEMENTS; i++) sqlite3_finalize(w->insert[i]);
    if (sqlite3_close(w->db) != SQLITE_OK && !status) status = qsr_fail(e, QSR_E_IO, "cannot close %s", w->path);
    return status;
}

qsr_status qsr_index_write(const qsr_archive *a, const char *path, qsr_error *e)
{
    qsr_arena arena = {0};
    const char *aside = qsr_arena_printf(&arena, "%s.tmp-%ld", path, (long)getpid());
    writing w = {.path = path};
    unlink(aside);
    qsr_status status = write_aside(&w, a, aside, e);
    if (!status) status = qsr_replace_file(aside, path, e);
    if (status) unlink(aside);
    qsr_arena_free(&arena);
    return status;
}

#include "report/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/table.h"
#include "format/json.h"
#include "lab/archive.h"
#include "lab/survey.h"
#include "report/history.h"

enum { TAIL_BYTES = 1 << 16 };

const char *const qsr_watch_states[QSR_WATCH_STATES] = {"running", "failed", "waiting", "done", "broken"};

/* ---- one run -------------------------------------------------------------------------------------------------------------- */

/* The last line of a log that is whole and can be understood; NULL: there is none. */
static json_t *last_line(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = qsr_xcalloc(TAIL_BYTES + 1, 1);
    json_t *line = NULL;
    if (file && fseek(file, -TAIL_BYTES, SEEK_END) != 0) rewind(file);
    size_t n = file ? fread(text, 1, TAIL_BYTES, file) : 0;
    if (file) fclose(file);
    while (n && !line) {
        while (n && text[n - 1] != '\n') n--;
        if (!n) break;
        size_t end = --n;
        while (n && text[n - 1] != '\n') n--;
        if (end > n && qsr_json_parse(path, text + n, end - n, &line, NULL)) line = NULL;
    }
    free(text);
    return line;
}

static double number_of(json_t *line, const char *key)
{
    json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint64_t planned_steps(const qsr_record *r)
{
    double tokens = 0, batch = 0;
    for (size_t i = 0; i < r->n_parameters; i++) {
        if (strcmp(r->parameters[i].key, "train.tokens") == 0) qsr_parse_real(r->parameters[i].text, &tokens);
        if (strcmp(r->parameters[i].key, "train.batch") == 0) qsr_parse_real(r->parameters[i].text, &batch);
    }
    double steps = batch >= 1 ? floor(tokens / batch) : 0;
    return steps > 0 && steps < 1e15 ? (uint64_t)steps : 0;
}

static qsr_watch_state state_of(const qsr_record *r)
{
    if (qsr_survey_locked(r->path)) return QSR_WATCH_RUNNING;
    if (r->state == QSR_RECORD_COMPLETED) return QSR_WATCH_DONE;
    if (r->state == QSR_RECORD_FAILED) return QSR_WATCH_FAILED;
    return r->state == QSR_RECORD_BROKEN ? QSR_WATCH_BROKEN : QSR_WATCH_WAITING;
}

static void read_progress(qsr_watch *w, const qsr_record *r, size_t curve, qsr_watch_run *run)
{
    const char *path = qsr_path_join(&w->arena, r->path, "metrics.jsonl");
    json_t *line = last_line(path), *time = last_line(qsr_path_join(&w->arena, r->path, "timing.jsonl"));
    double step = number_of(line, "step");
    run->step = step >= 0 && step < 1e15 ? (uint64_t)step + 1 : 0;
    run->loss = number_of(line, "loss");
    run->l0 = number_of(line, "l0");
    run->dead = number_of(line, "dead");
    run->speed = number_of(time, "tokens_per_second");
    json_decref(line);
    json_decref(time);
    qsr_history history;
    qsr_text text = {0};
    if (!curve || qsr_history_read(path, "loss", curve, &history, NULL)) return;
    qsr_sparkline(history.values, history.n, &text);
    if (text.bytes) run->curve = qsr_arena_strdup(&w->arena, text.bytes);
    qsr_text_free(&text);
    qsr_history_free(&history);
}

static int by_state(const void *a, const void *b)
{
    const qsr_watch_run *x = a, *y = b;
    return x->state != y->state ? (x->state < y->state ? -1 : 1) : strcmp(x->folder, y->folder);
}

qsr_status qsr_watch_look(const char *folder, size_t curve, qsr_watch *ret, qsr_error *e)
{
    qsr_archive archive;
    *ret = (qsr_watch){0};
    if (!qsr_is_folder(folder)) return qsr_fail(e, QSR_E_INPUT, "there is no folder %s", folder);
    if (qsr_archive_read(folder, &archive, NULL)) return QSR_OK;
    ret->runs = qsr_arena_alloc(&ret->arena, archive.count, sizeof *ret->runs);
    for (; ret->n < archive.count; ret->n++) {
        const qsr_record *r = &archive.records[ret->n];
        qsr_watch_run *run = &ret->runs[ret->n];
        *run = (qsr_watch_run){.folder = qsr_arena_strdup(&ret->arena, r->folder),
                               .state = state_of(r),
                               .steps = planned_steps(r),
                               .curve = ""};
        run->reason = r->reason ? qsr_arena_strdup(&ret->arena, r->reason) : NULL;
        read_progress(ret, r, curve, run);
        ret->counts[run->state]++;
    }
    qsort(ret->runs, ret->n, sizeof *ret->runs, by_state);
    qsr_archive_free(&archive);
    return QSR_OK;
}

void qsr_watch_free(qsr_watch *w)
{
    qsr_arena_free(&w->arena);
    *w = (qsr_watch){0};
}

/* ---- text ----------------------------------------------------------------------------------------------------------------- */

void qsr_watch_summary(const qsr_watch *w, qsr_text *out)
{
    double done = 0, planned = 0;
    bool some = false;
    if (!w->n) qsr_text_puts(out, "no runs yet");
    for (size_t s = 0; s < QSR_WATCH_STATES; s++) {
        if (!w->counts[s]) continue;
        qsr_text_add(out, "%s%zu %s", some ? ", " : "", w->counts[s], qsr_watch_states[s]);
        some = true;
    }
    for (size_t i = 0; i < w->n; i++) {
        planned += (double)w->runs[i].steps;
        done += (double)(w->runs[i].step < w->runs[i].steps ? w->runs[i].step : w->runs[i].steps);
    }
    if (planned > 0) qsr_text_add(out, "; %.0f %% of the steps", floor(100 * done / planned));
}

static const char *number_text(qsr_arena *arena, double value)
{
    char text[32];
    return qsr_arena_strdup(arena, isnan(value) ? "" : qsr_number_text(value, text, sizeof text));
}

void qsr_watch_table(const qsr_watch *w, qsr_text *out)
{
    qsr_table table = {.columns = 9, .right = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5};
    qsr_arena arena = {0};
    qsr_table_row(&table, (const char *[]){"STATE", "STEP", "LOSS", "L0", "DEAD", "TOKENS/S", "CURVE", "RUN", "WHY"});
    for (size_t i = 0; i < w->n; i++) {
        const qsr_watch_run *r = &w->runs[i];
        const char *step = r->steps ? qsr_arena_printf(&arena, "%" PRIu64 "/%" PRIu64, r->step, r->steps) : "";
        const char *speed =
            r->state == QSR_WATCH_RUNNING && !isnan(r->speed) ? qsr_arena_printf(&arena, "%.0f", r->speed) : "";
        qsr_table_row(
            &table,
            (const char *[]){qsr_watch_states[r->state], step, number_text(&arena, r->loss), number_text(&arena, r->l0),
                             number_text(&arena, r->dead), speed, r->curve, r->folder,
                             r->state == QSR_WATCH_FAILED || r->state == QSR_WATCH_BROKEN ? r->reason : ""});
    }
    qsr_table_write(&table, 0, out);
    qsr_table_free(&table);
    qsr_arena_free(&arena);
}

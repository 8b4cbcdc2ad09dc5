#include "report/tensorboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/log.h"
#include "format/json.h"
#include "format/tfevents.h"

/* A line of timing.jsonl. */
typedef struct {
    int64_t step;
    size_t order;   /* in the file: of equal steps the later counts, as it is from the run that went on */
    double seconds; /* since the start, over interruptions */
    double speed;   /* tokens per second; -1: not told */
} moment;

typedef struct {
    qsr_arena arena;
    const qsr_record *record;
    qsr_tfevents events;
    double started;
    moment *moments;
    size_t n_moments;
    int64_t last_step;
} exporting;

/* ---- lines ------------------------------------------------------------------------------------------------------------- */

typedef qsr_status (*line_body)(exporting *x, json_t *line, qsr_error *e);

static bool has_step(json_t *line, int64_t *ret)
{
    json_t *step = json_object_get(line, "step");
    if (!json_is_integer(step) || json_integer_value(step) < 0) return false;
    *ret = json_integer_value(step);
    return true;
}

/* Calls `body` for each line that is an object with a step; others, as a killed process leaves them, are told once. A missing file
 * is an empty one. */
static qsr_status each_line(exporting *x, const char *file, line_body body, qsr_error *e)
{
    const char *path = qsr_path_join(&x->arena, x->record->path, file);
    qsr_map map;
    size_t number = 0, bad = 0, first_bad = 0;
    if (!qsr_exists(path)) return QSR_OK;
    qsr_status status = qsr_map_open(path, &map, e);
    if (status) return status;
    const char *at = map.size ? (const char *)map.bytes : "", *end = at + map.size;
    while (!status && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        json_t *line = NULL;
        int64_t step;
        if (!stop) stop = end;
        number++;
        if (!qsr_json_parse(path, at, (size_t)(stop - at), &line, NULL) && has_step(line, &step))
            status = body(x, line, e);
        else if (!bad++)
            first_bad = number;
        json_decref(line);
        at = stop < end ? stop + 1 : end;
    }
    if (bad) qsr_log(QSR_LOG_WARNING, "%s:%zu cannot be understood, lines left out: %zu", path, first_bad, bad);
    qsr_map_close(&map);
    return status;
}

/* ---- times --------------------------------------------------------------------------------------------------------------- */

/* Seconds since 1970 of "2026-11-22T20:49:00Z"; 0 for any other text. */
static double parse_time(const char *text)
{
    struct tm t = {0};
    char end = 0;
    if (!text ||
        sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%c", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec,
               &end) != 7 ||
        end != 'Z')
        return 0;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    return (double)timegm(&t);
}

/* The clock of timing.jsonl starts anew with every process. */
static qsr_status add_moment(exporting *x, json_t *line, qsr_error *e)
{
    (void)e;
    json_t *speed = json_object_get(line, "tokens_per_second");
    double seconds = json_number_value(json_object_get(line, "wall_seconds"));
    x->moments = qsr_xrealloc(x->moments, x->n_moments + 1, sizeof *x->moments);
    x->moments[x->n_moments] = (moment){json_integer_value(json_object_get(line, "step")), x->n_moments, seconds,
                                        json_is_number(speed) ? json_number_value(speed) : -1};
    x->n_moments++;
    return QSR_OK;
}

static int by_step(const void *a, const void *b)
{
    const moment *x = a, *y = b;
    if (x->step != y->step) return x->step < y->step ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* Seconds that start anew are put behind those before them; then by step, the later of equal ones alone. */
static void settle_moments(exporting *x)
{
    double before = 0, last = 0;
    size_t kept = 0;
    for (size_t i = 0; i < x->n_moments; i++) {
        if (x->moments[i].seconds < last) before += last;
        last = x->moments[i].seconds;
        x->moments[i].seconds += before;
    }
    if (x->n_moments) qsort(x->moments, x->n_moments, sizeof *x->moments, by_step);
    for (size_t i = 0; i < x->n_moments; i++) {
        if (kept && x->moments[kept - 1].step == x->moments[i].step) kept--;
        x->moments[kept++] = x->moments[i];
    }
    x->n_moments = kept;
}

static double time_of(const exporting *x, int64_t step)
{
    size_t low = 0, high = x->n_moments;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (x->moments[middle].step <= step)
            low = middle + 1;
        else
            high = middle;
    }
    return x->started + (low ? x->moments[low - 1].seconds : 0);
}

/* ---- values ---------------------------------------------------------------------------------------------------------------- */

static qsr_status add_line(exporting *x, json_t *line, qsr_error *e)
{
    qsr_arena arena = {0};
    qsr_scalar *scalars = qsr_arena_alloc(&arena, json_object_size(line), sizeof *scalars);
    size_t n = 0;
    const char *key;
    json_t *value;
    int64_t step = json_integer_value(json_object_get(line, "step"));
    json_object_foreach(line, key, value) if (json_is_number(value) && strcmp(key, "step") != 0) scalars[n++] =
        (qsr_scalar){qsr_arena_printf(&arena, "train/%s", key), json_number_value(value)};
    qsr_status status = n ? qsr_tfevents_add(&x->events, time_of(x, step), step, scalars, n, e) : QSR_OK;
    if (step > x->last_step) x->last_step = step;
    qsr_arena_free(&arena);
    return status;
}

static qsr_status add_speeds(exporting *x, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < x->n_moments; i++) {
        const moment *m = &x->moments[i];
        const qsr_scalar speed = {"time/tokens_per_second", m->speed};
        if (m->speed >= 0) status = qsr_tfevents_add(&x->events, x->started + m->seconds, m->step, &speed, 1, e);
    }
    return status;
}

static qsr_status add_result(exporting *x, qsr_error *e)
{
    qsr_scalar *scalars = qsr_arena_alloc(&x->arena, x->record->n_measures, sizeof *scalars);
    size_t n = 0;
    for (size_t i = 0; i < x->record->n_measures; i++) {
        const qsr_measure *m = &x->record->measures[i];
        if (!qsr_starts_with(m->name, "trained."))
            scalars[n++] = (qsr_scalar){qsr_arena_printf(&x->arena, "eval/%s", m->name), m->value};
    }
    return n ? qsr_tfevents_add(&x->events, time_of(x, x->last_step), x->last_step, scalars, n, e) : QSR_OK;
}

/* ---- a run ------------------------------------------------------------------------------------------------------------------- */

static qsr_status write_events(exporting *x, const char *path, qsr_error *e)
{
    qsr_status status = qsr_tfevents_open(&x->events, path, x->started, e);
    if (status) return status;
    status = each_line(x, "metrics.jsonl", add_line, e);
    if (!status) status = add_speeds(x, e);
    if (!status) status = add_result(x, e);
    if (!status) return qsr_tfevents_commit(&x->events, e);
    qsr_tfevents_abort(&x->events);
    return status;
}

static qsr_status write_run(const qsr_record *r, const char *folder, qsr_error *e)
{
    exporting x = {.record = r, .started = parse_time(r->started)};
    const char *place = strcmp(r->folder, ".") == 0 ? folder : qsr_path_join(&x.arena, folder, r->folder);
    qsr_status status = qsr_mkdirs(place, e);
    if (!status) status = each_line(&x, "timing.jsonl", add_moment, e);
    settle_moments(&x);
    if (!status) status = write_events(&x, qsr_path_join(&x.arena, place, QSR_TENSORBOARD_FILE), e);
    free(x.moments);
    qsr_arena_free(&x.arena);
    return status;
}

qsr_status qsr_tensorboard_write(const qsr_archive *a, const char *folder, qsr_error *e)
{
    qsr_status status = QSR_OK;
    for (size_t i = 0; !status && i < a->count; i++) status = write_run(&a->records[i], folder, e);
    return status;
}

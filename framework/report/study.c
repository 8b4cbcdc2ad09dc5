#include "report/study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "format/json.h"

enum { CFG_BYTES = 16 << 20 };

/* ---- names --------------------------------------------------------------------------------------------------------------- */

/* The last part of a dotted key, or as many as no other chosen key ends in. */
static const char *short_key(const qsr_study *s, size_t key)
{
    const char *name = s->frame.keys[key], *at = strrchr(name, '.');
    for (;;) {
        const char *tail = at ? at : name;
        bool alone = true;
        for (size_t i = 0; i < s->n_keys; i++)
            if (s->keys[i] != key && qsr_ends_with(s->frame.keys[s->keys[i]], tail)) alone = false;
        if (alone || !at) return at ? at + 1 : name;
        const char *before = at;
        for (at = before; at > name && at[-1] != '.';) at--;
        at = at > name ? at - 1 : NULL;
    }
}

static void add_value(const qsr_study *s, size_t key, const char *value, qsr_text *out)
{
    const char *name = s->frame.keys[key];
    if (!value || strcmp(value, "off") == 0) return;
    if (out->length) qsr_text_puts(out, " ");
    if (qsr_ends_with(name, ".plugin"))
        qsr_text_puts(out, value);
    else if (qsr_starts_with(name, "losses.") && !strchr(name + 7, '.'))
        qsr_text_puts(out, name + 7);
    else
        qsr_text_add(out, "%s=%s", short_key(s, key), value);
}

/* Whether own runs, or published ones, differ in the key: what all of a kind share says nothing within it. */
static bool varies(const qsr_study *s, size_t key, bool published)
{
    const char *const *first = NULL;
    for (size_t i = 0; i < s->frame.n_rows; i++) {
        const qsr_frame_row *row = &s->frame.rows[i];
        if (row->published != published) continue;
        if (first && *first != row->values[key]) return true;
        first = &row->values[key];
    }
    return false;
}

/* Plugins first: "topk k=16 layer=3". */
static const char *label_of(qsr_study *s, size_t row, const bool *along)
{
    qsr_text text = {0};
    for (int plugin = 1; plugin >= 0; plugin--)
        for (size_t i = 0; i < s->n_keys; i++) {
            size_t key = s->keys[i];
            if ((along && along[i]) || !varies(s, key, s->frame.rows[row].published) ||
                qsr_ends_with(s->frame.keys[key], ".plugin") != plugin)
                continue;
            add_value(s, key, s->frame.rows[row].values[key], &text);
        }
    if (s->frame.rows[row].published) qsr_text_add(&text, "%s(published)", text.length ? " " : "");
    if (!text.length) {
        size_t activation;
        const char *plugin =
            qsr_frame_key(&s->frame, "activation.plugin", &activation, NULL) ? NULL : s->frame.rows[row].values[activation];
        qsr_text_puts(&text, plugin ? plugin : "runs");
    }
    const char *kept = qsr_arena_strdup(&s->frame.arena, text.bytes);
    qsr_text_free(&text);
    return kept;
}

/* ---- series ---------------------------------------------------------------------------------------------------------------- */

/* Numbers of the activation or of losses, as `quasar compare` goes along. */
static bool is_curve_key(const qsr_study *s, size_t key)
{
    const char *name = s->frame.keys[key];
    if (!qsr_starts_with(name, "activation.") && !(qsr_starts_with(name, "losses.") && strchr(name + 7, '.'))) return false;
    for (size_t i = 0; i < s->frame.n_rows; i++) {
        double number;
        const char *value = s->frame.rows[i].values[key];
        if (value && !qsr_parse_real(value, &number)) return false;
    }
    return true;
}

/* A loss that is on for some settings of a curve and off for others is a point of it (a coefficient of nothing), not another curve. */
static bool is_loss_of_curve(const qsr_study *s, const bool *along, size_t key)
{
    const char *name = s->frame.keys[key];
    if (!qsr_starts_with(name, "losses.") || strchr(name + 7, '.')) return false;
    for (size_t i = 0; i < s->n_keys; i++)
        if (along[i] && qsr_starts_with(s->frame.keys[s->keys[i]], name)) return true;
    return false;
}

static void find_series(qsr_study *s)
{
    bool *along = qsr_arena_alloc(&s->frame.arena, s->n_keys + 1, sizeof *along);
    for (size_t i = 0; i < s->n_keys; i++) along[i] = is_curve_key(s, s->keys[i]);
    for (size_t i = 0; i < s->n_keys; i++) along[i] = along[i] || is_loss_of_curve(s, along, s->keys[i]);
    s->series = qsr_arena_alloc(&s->frame.arena, s->n_settings, sizeof *s->series);
    for (size_t i = 0; i < s->n_settings; i++) {
        const char *label = label_of(s, s->settings[i].rows[0], along);
        size_t at = 0;
        while (at < s->n_series &&
               (strcmp(s->series[at].label, label) != 0 || s->series[at].published != s->settings[i].published))
            at++;
        if (at == s->n_series) s->series[s->n_series++] = (qsr_study_series){label, s->settings[i].published, 0};
        s->settings[i].series = at;
        s->series[at].n_settings++;
    }
}

/* ---- reading --------------------------------------------------------------------------------------------------------------- */

const qsr_record *qsr_study_record(const qsr_study *s, size_t row)
{
    const qsr_frame_row *r = &s->frame.rows[row];
    for (size_t i = 0; !r->published && i < s->archive.count; i++)
        if (strcmp(s->archive.records[i].folder, r->label) == 0) return &s->archive.records[i];
    return NULL;
}

static uint64_t d_in_of(const qsr_record *record)
{
    qsr_arena arena = {0};
    json_t *cfg = NULL;
    json_int_t d_in = 0;
    if (!qsr_json_read(qsr_path_join(&arena, record->path, "sae/cfg.json"), CFG_BYTES, &cfg, NULL))
        d_in = json_integer_value(json_object_get(cfg, "d_in"));
    json_decref(cfg);
    qsr_arena_free(&arena);
    return d_in > 0 ? (uint64_t)d_in : 0;
}

static void find_d_in(qsr_study *s)
{
    for (size_t i = 0; i < s->n_settings; i++) {
        const qsr_record *record = qsr_study_example(s, &s->settings[i]);
        uint64_t d_in = record ? d_in_of(record) : 0;
        if (d_in && s->d_in && d_in != s->d_in) {
            s->d_in = 0;
            return;
        }
        if (d_in) s->d_in = d_in;
    }
}

static void find_settings(qsr_study *s)
{
    qsr_frame_group *groups;
    size_t n = qsr_report_settings(&s->frame, &s->keys, &s->n_keys, &groups);
    s->settings = qsr_arena_alloc(&s->frame.arena, n, sizeof *s->settings);
    s->n_settings = n;
    for (size_t i = 0; i < n; i++)
        s->settings[i] = (qsr_setting){
            .rows = groups[i].rows, .n_rows = groups[i].count, .published = s->frame.rows[groups[i].rows[0]].published};
    for (size_t i = 0; i < n; i++) s->settings[i].label = label_of(s, s->settings[i].rows[0], NULL);
    find_series(s);
    find_d_in(s);
}

qsr_status qsr_study_open(const char *folder, const char *const *overlays, const char *const *conditions, qsr_study *ret,
                          qsr_error *e)
{
    qsr_study s = {0};
    qsr_status status = qsr_archive_read(folder, &s.archive, e);
    if (status) return status;
    status = qsr_frame_make(&s.archive, overlays, &s.frame, e);
    for (; !status && conditions && *conditions; conditions++) status = qsr_frame_where(&s.frame, *conditions, e);
    if (!status) find_settings(&s);
    if (status)
        qsr_study_free(&s);
    else
        *ret = s;
    return status;
}

void qsr_study_free(qsr_study *s)
{
    qsr_frame_free(&s->frame);
    qsr_archive_free(&s->archive);
    *s = (qsr_study){0};
}

/* ---- asking ---------------------------------------------------------------------------------------------------------------- */

const qsr_record *qsr_study_example(const qsr_study *s, const qsr_setting *setting)
{
    for (size_t i = 0; i < setting->n_rows; i++)
        if (!s->frame.rows[setting->rows[i]].published && s->frame.rows[setting->rows[i]].state == QSR_RECORD_COMPLETED)
            return qsr_study_record(s, setting->rows[i]);
    return NULL;
}

qsr_summary qsr_study_summary(const qsr_study *s, const qsr_setting *setting, const char *metric)
{
    double *values = qsr_xcalloc(setting->n_rows + 1, sizeof *values);
    size_t n = 0, at;
    for (size_t i = 0; qsr_frame_has_metric(&s->frame, metric, &at) && i < setting->n_rows; i++) {
        const qsr_frame_row *row = &s->frame.rows[setting->rows[i]];
        if (row->state == QSR_RECORD_COMPLETED && !isnan(row->metrics[at])) values[n++] = row->metrics[at];
    }
    qsr_summary summary = qsr_summarize(values, n, 0.95);
    free(values);
    return summary;
}

double qsr_study_half(const qsr_summary *s) { return s->n < 2 ? NAN : (s->high - s->low) / 2; }

const char *qsr_study_value(const qsr_study *s, const qsr_setting *setting, const char *key)
{
    size_t at;
    return qsr_frame_key(&s->frame, key, &at, NULL) ? NULL : s->frame.rows[setting->rows[0]].values[at];
}

double qsr_study_number(const qsr_study *s, const qsr_setting *setting, const char *key)
{
    double number = NAN;
    const char *text = qsr_study_value(s, setting, key);
    if (text) qsr_parse_real(text, &number);
    return number;
}

bool qsr_study_measured(const qsr_study *s, const char *metric)
{
    for (size_t i = 0; i < s->n_settings; i++)
        if (!s->settings[i].published && qsr_study_summary(s, &s->settings[i], metric).n) return true;
    return false;
}

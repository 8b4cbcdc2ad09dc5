#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "format/json.h"
#include "report/html.h"
#include "report/page-parts.h"

enum { MANIFEST_BYTES = 64 << 20, SPEC_BYTES = 1 << 20 };

/* ---- tables of settings --------------------------------------------------------------------------------------------------------- */

static void put_head(qsr_page *p, const char *class, const char *text)
{
    qsr_text_add(p->out, "<th scope=\"col\"%s>", class);
    qsr_html_text(p->out, text);
    qsr_text_puts(p->out, "</th>");
}

/* `data-v` is what a column is sorted by; empty: last. */
static void put_word(qsr_page *p, const char *value)
{
    double number;
    bool numeric = value && qsr_parse_real(value, &number);
    char text[32];
    qsr_text_puts(p->out, numeric ? "<td class=\"n\" data-v=\"" : "<td data-v=\"");
    qsr_html_visible(p->out, numeric ? qsr_real_text(number, text, sizeof text) : value);
    qsr_text_puts(p->out, "\">");
    qsr_html_visible(p->out, value ? value : "–");
    qsr_text_puts(p->out, "</td>");
}

static void put_mean(qsr_page *p, const char *metric, const qsr_summary *m, size_t runs)
{
    char number[32];
    qsr_text shown = {0};
    qsr_text_add(p->out, "<td class=\"n\" data-v=\"%s\">", m->n ? qsr_real_text(m->mean, number, sizeof number) : "");
    qsr_sheet_mean(m->n ? m->mean : NAN, qsr_report_half(m, metric), &shown);
    if (m->n && m->n != runs) qsr_text_add(&shown, " (n %zu)", m->n);
    qsr_html_text(p->out, m->n ? shown.bytes : "–");
    qsr_text_puts(p->out, "</td>");
    qsr_text_free(&shown);
}

static void put_count(qsr_page *p, size_t n) { qsr_text_add(p->out, "<td class=\"n\" data-v=\"%zu\">%zu</td>", n, n); }

static size_t count_state(const qsr_study *s, const qsr_setting *setting, qsr_record_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < setting->n_rows; i++) n += s->frame.rows[setting->rows[i]].state == state;
    return n;
}

static void put_row(qsr_page *p, size_t index, const char *const *metrics, size_t n_metrics, bool states)
{
    const qsr_study *s = &p->study;
    const qsr_setting *setting = &s->settings[index];
    size_t runs = count_state(s, setting, QSR_RECORD_COMPLETED);
    qsr_text_add(p->out, "<tr><td class=\"n\" data-v=\"%zu\">%zu</td>", index + 1, index + 1);
    if (!s->n_keys) put_word(p, setting->label);
    for (size_t k = 0; k < s->n_keys; k++) put_word(p, s->frame.rows[setting->rows[0]].values[s->keys[k]]);
    if (setting->published)
        qsr_text_puts(p->out, "<td data-v=\"1\">published</td>");
    else
        put_count(p, runs);
    for (size_t i = 0; i < n_metrics; i++) {
        qsr_summary m = qsr_study_summary(s, setting, metrics[i]);
        put_mean(p, metrics[i], &m, runs);
    }
    if (states) put_count(p, count_state(s, setting, QSR_RECORD_FAILED));
    if (states) put_count(p, count_state(s, setting, QSR_RECORD_UNFINISHED));
    qsr_text_puts(p->out, "</tr>\n");
}

static bool has_other_states(const qsr_study *s)
{
    for (size_t i = 0; i < s->frame.n_rows; i++)
        if (s->frame.rows[i].state != QSR_RECORD_COMPLETED) return true;
    return false;
}

static bool has_some(const qsr_study *s, const qsr_setting *setting, const char *const *metrics, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (qsr_study_summary(s, setting, metrics[i]).n) return true;
    return false;
}

/* everyone: also settings that have none of the metrics. */
static void put_table(qsr_page *p, const char *id, const char *const *metrics, size_t n_metrics, bool everyone)
{
    const qsr_study *s = &p->study;
    bool states = has_other_states(s);
    qsr_text_add(p->out, "<div class=\"scroll\"><table class=\"sortable\" id=\"%s\">\n<thead><tr>", id);
    put_head(p, " class=\"n\"", "#");
    if (!s->n_keys) put_head(p, "", "setting");
    for (size_t k = 0; k < s->n_keys; k++) put_head(p, "", s->frame.keys[s->keys[k]]);
    put_head(p, " class=\"n\"", "runs");
    for (size_t i = 0; i < n_metrics; i++) put_head(p, " class=\"n\"", metrics[i]);
    if (states) put_head(p, " class=\"n\"", "failed");
    if (states) put_head(p, " class=\"n\"", "unfinished");
    qsr_text_puts(p->out, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < s->n_settings; i++)
        if (everyone || has_some(s, &s->settings[i], metrics, n_metrics)) put_row(p, i, metrics, n_metrics, states);
    qsr_text_puts(p->out, "</tbody></table></div>\n");
}

/* Those of `wanted` that some row has. */
static size_t choose_metrics(const qsr_study *s, const char *const *wanted, const char **ret)
{
    size_t n = 0, at;
    for (; *wanted; wanted++) {
        bool some = false;
        if (!qsr_frame_has_metric(&s->frame, *wanted, &at)) continue;
        for (size_t i = 0; i < s->frame.n_rows; i++) some = some || !isnan(s->frame.rows[i].metrics[at]);
        if (some) ret[n++] = *wanted;
    }
    return n;
}

static void put_notes(qsr_page *p)
{
    const qsr_frame *f = &p->study.frame;
    qsr_text_puts(p->out, f->n_notes ? "<ul>\n" : "");
    for (size_t i = 0; i < f->n_notes; i++) {
        qsr_text_puts(p->out, "<li>");
        qsr_html_text(p->out, f->notes[i]);
        qsr_text_puts(p->out, "</li>\n");
    }
    qsr_text_puts(p->out, f->n_notes ? "</ul>\n" : "");
}

static void put_failures(qsr_page *p)
{
    const qsr_frame *f = &p->study.frame;
    bool listed = false;
    for (size_t i = 0; i < f->n_rows; i++) {
        const qsr_frame_row *row = &f->rows[i];
        if (row->state == QSR_RECORD_COMPLETED || row->published) continue;
        if (!listed) qsr_text_puts(p->out, "<ul>\n");
        listed = true;
        qsr_text_puts(p->out, "<li><code>");
        qsr_html_visible(p->out, row->label);
        qsr_text_puts(p->out, row->state == QSR_RECORD_FAILED ? "</code> <span class=\"bad\">failed</span>: "
                                                              : "</code> is not finished");
        if (row->state == QSR_RECORD_FAILED) qsr_html_visible(p->out, row->reason ? row->reason : "no reason given");
        qsr_text_puts(p->out, "</li>\n");
    }
    if (listed) qsr_text_puts(p->out, "</ul>\n");
}

void qsr_page_settings(qsr_page *p)
{
    static const char *const usual[] = {"l0",
                                        "nmse",
                                        "fvu",
                                        "mse_norm",
                                        "cosine",
                                        "l2_ratio",
                                        "silent_fraction",
                                        "epsilon_lbo_median",
                                        "norm_ratio_median",
                                        "coherence_max",
                                        "mdl_bits_naive",
                                        "ce_sae",
                                        "ce_recovered_zero",
                                        "ce_recovered_mean",
                                        "kl",
                                        "stability.mcc",
                                        "mcc",
                                        "mmcs",
                                        NULL};
    const qsr_frame *f = &p->study.frame;
    const char **metrics = qsr_xcalloc(f->n_metrics + sizeof usual / sizeof *usual, sizeof *metrics);
    qsr_page_section(p, "settings", "Results");
    qsr_page_paragraph(
        p,
        "A row is what differs in nothing but the seed: the mean over seeds, with half of its 95 % interval (Student's t) "
        "where there are two or more.");
    put_table(p, "results", metrics, choose_metrics(&p->study, usual, metrics), true);
    put_failures(p);
    qsr_text_puts(p->out, "<details><summary>All metrics</summary>\n");
    put_table(p, "metrics", f->metrics, f->n_metrics, true);
    qsr_text_puts(p->out, "</details>\n");
    put_notes(p);
    free(metrics);
}

void qsr_page_diagnostics(qsr_page *p)
{
    static const char *const wanted[] = {
        "epsilon_lbo_median",   "norm_ratio_median", "coherence_lb_median", "token_nmse_median",
        "epsilon_lbo_infinite", "coherence_max",     "epsilon_max",         NULL};
    const char *metrics[sizeof wanted / sizeof *wanted];
    size_t n = choose_metrics(&p->study, wanted, metrics);
    if (!n) {
        qsr_page_paragraph(p, "No completed run has ε-LBO; an evaluation writes it.");
        return;
    }
    qsr_page_paragraph(
        p,
        "ε-LBO is a function of norm_ratio = ‖f̃‖/‖z‖; coherence_lb bounds max |cos| among the rows of the decoder and its "
        "bias from below.");
    put_table(p, "diagnostics", metrics, n, false);
}

/* ---- what was run ---------------------------------------------------------------------------------------------------------------- */

static void put_term(qsr_page *p, const char *term, const char *text)
{
    if (!text || !*text) return;
    qsr_text_puts(p->out, "<dt>");
    qsr_html_text(p->out, term);
    qsr_text_puts(p->out, "</dt><dd>");
    qsr_html_visible(p->out, text);
    qsr_text_puts(p->out, "</dd>\n");
}

/* The values of a key among own runs, "a, b, c". */
static void put_values(qsr_page *p, const char *term, const char *key)
{
    qsr_frame *f = &p->study.frame;
    size_t at, n = 0, *own = qsr_arena_alloc(&f->arena, f->n_rows, sizeof *own);
    const char *const *values;
    qsr_text text = {0};
    if (qsr_frame_key(f, key, &at, NULL)) return;
    for (size_t i = 0; i < f->n_rows; i++)
        if (!f->rows[i].published) own[n++] = i;
    n = qsr_frame_values(f, at, own, n, &values);
    for (size_t i = 0; i < n && values[i]; i++) {
        if (text.length > 400) {
            qsr_text_puts(&text, ", ...");
            break;
        }
        qsr_text_add(&text, "%s%s", i ? ", " : "", values[i]);
    }
    put_term(p, term, text.bytes);
    qsr_text_free(&text);
}

static void put_counts(qsr_page *p)
{
    const qsr_study *s = &p->study;
    size_t counts[4] = {0}, published = 0;
    qsr_text text = {0};
    for (size_t i = 0; i < s->frame.n_rows; i++)
        if (s->frame.rows[i].published)
            published++;
        else
            counts[s->frame.rows[i].state]++;
    qsr_text_add(&text, "%zu completed", counts[QSR_RECORD_COMPLETED]);
    if (counts[QSR_RECORD_FAILED]) qsr_text_add(&text, ", %zu failed", counts[QSR_RECORD_FAILED]);
    if (counts[QSR_RECORD_UNFINISHED]) qsr_text_add(&text, ", %zu not finished", counts[QSR_RECORD_UNFINISHED]);
    if (published) qsr_text_add(&text, "; %zu published ones beside them", published);
    put_term(p, "runs", text.bytes);
    qsr_text_free(&text);
}

/* Adds the text once. */
static void gather(qsr_text *list, const char *text)
{
    if (!text || (list->bytes && strstr(list->bytes, text))) return;
    qsr_text_add(list, "%s%s", list->length ? "; " : "", text);
}

static const char *string_of(json_t *object, const char *key) { return json_string_value(json_object_get(object, key)); }

static void put_machines(qsr_page *p)
{
    qsr_text machines = {0}, programs = {0};
    const char *first = NULL, *last = NULL;
    qsr_arena arena = {0};
    for (size_t i = 0; i < p->study.frame.n_rows; i++) {
        const qsr_record *r = qsr_study_record(&p->study, i);
        json_t *root = NULL;
        if (!r) continue;
        if (r->started && (!first || strcmp(r->started, first) < 0)) first = r->started;
        if (r->finished && (!last || strcmp(r->finished, last) > 0)) last = r->finished;
        if (r->quasar)
            gather(&programs, qsr_arena_printf(&arena, "%s%s%s", r->quasar, r->git ? ", git " : "", r->git ? r->git : ""));
        if (qsr_json_read(qsr_path_join(&arena, r->path, "manifest.json"), MANIFEST_BYTES, &root, NULL)) continue;
        json_t *m = json_object_get(root, "machine");
        const char *processor = string_of(m, "processor"), *isa = string_of(m, "isa"),
                   *kernel = string_of(m, "blas_kernel");
        if (processor)
            gather(&machines, qsr_arena_printf(&arena, "%s, %s kernels, BLAS kernel %s", processor, isa ? isa : "unknown",
                                               kernel ? kernel : "unknown"));
        json_decref(root);
    }
    put_term(p, "machine", machines.bytes);
    put_term(p, "quasar", programs.bytes);
    if (first) put_term(p, "when", qsr_arena_printf(&arena, "%s to %s", first, last ? last : "now"));
    qsr_arena_free(&arena);
    qsr_text_free(&machines);
    qsr_text_free(&programs);
}

static void put_constants(qsr_page *p)
{
    qsr_frame *f = &p->study.frame;
    size_t n = 0, *own = qsr_arena_alloc(&f->arena, f->n_rows, sizeof *own);
    for (size_t i = 0; i < f->n_rows; i++)
        if (!f->rows[i].published) own[n++] = i;
    qsr_text_puts(p->out,
                  "<details><summary>What all runs have in common</summary>\n<div class=\"scroll\"><table><tbody>\n");
    for (size_t k = 0; k < f->n_keys; k++) {
        const char *const *values;
        if (qsr_frame_values(f, k, own, n, &values) != 1 || !values[0]) continue;
        qsr_text_puts(p->out, "<tr><th scope=\"row\">");
        qsr_html_visible(p->out, f->keys[k]);
        qsr_text_puts(p->out, "</th><td class=\"w\">");
        qsr_html_visible(p->out, values[0]);
        qsr_text_puts(p->out, "</td></tr>\n");
    }
    qsr_text_puts(p->out, "</tbody></table></div></details>\n");
}

void qsr_page_about(qsr_page *p)
{
    static const char *const terms[][2] = {{"experiment", "name"},
                                           {"dataset", "dataset.plugin"},
                                           {"model", "dataset.model"},
                                           {"tokens", "dataset.tokens"},
                                           {"files", "dataset.path"},
                                           {"site", "dataset.hook.site"},
                                           {"layer", "dataset.hook.layer"},
                                           {"width (d_sae)", "sae.d_sae"},
                                           {"normalisation", "sae.normalize"},
                                           {"activation", "activation.plugin"},
                                           {"training tokens", "train.tokens"},
                                           {"batch", "train.batch"},
                                           {"evaluation tokens", "eval.tokens"},
                                           {"seeds", "seed"}};
    char number[32];
    qsr_page_section(p, "about", "What was run");
    qsr_text_puts(p->out, "<dl>\n");
    put_counts(p);
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) put_values(p, terms[i][0], terms[i][1]);
    if (p->study.d_in) put_term(p, "dimensions (d_in)", qsr_real_text((double)p->study.d_in, number, sizeof number));
    put_machines(p);
    qsr_text_puts(p->out, "</dl>\n");
    put_constants(p);
}

/* ---- reproduce ------------------------------------------------------------------------------------------------------------------- */

static void put_command(qsr_page *p, const char *before, const char *path, const char *after)
{
    qsr_text command = {0};
    qsr_text_puts(&command, before);
    qsr_shell_word(&command, path);
    qsr_text_puts(&command, after);
    qsr_text_puts(p->out, "<pre><code>");
    qsr_html_visible(p->out, command.bytes);
    qsr_text_puts(p->out, "</code></pre>\n");
    qsr_text_free(&command);
}

static void put_run(qsr_page *p, const qsr_record *r)
{
    qsr_arena arena = {0};
    qsr_error e = {0};
    const char *path = qsr_path_join(&arena, r->path, "spec.yaml");
    char *text;
    size_t n;
    qsr_text_puts(p->out, "<details><summary><code>");
    qsr_html_visible(p->out, r->folder);
    qsr_text_add(p->out, "</code> %s</summary>\n", qsr_record_state_name(r->state));
    put_command(p, "quasar run ", path, " --out again");
    qsr_text_puts(p->out, "<pre><code>");
    if (qsr_read_file(&arena, path, SPEC_BYTES, &text, &n, &e))
        qsr_html_text(p->out, e.text);
    else
        qsr_html_bytes(p->out, text, n);
    qsr_text_puts(p->out, "</code></pre></details>\n");
    qsr_arena_free(&arena);
}

void qsr_page_reproduce(qsr_page *p)
{
    const qsr_study *s = &p->study;
    qsr_page_section(p, "reproduce", "Reproduce");
    qsr_page_paragraph(
        p, "Each run's folder has its whole spec, every default filled in, also shown here. The same version of quasar, "
           "instruction set and BLAS kernel give the same bytes, whatever the number of threads.");
    for (size_t i = 0; i < s->n_settings; i++) {
        if (s->settings[i].published) continue;
        qsr_text_add(p->out, "<details><summary>%zu: ", i + 1);
        qsr_html_visible(p->out, s->settings[i].label);
        qsr_text_add(p->out, " <span class=\"soft\">(%zu run%s)</span></summary>\n", s->settings[i].n_rows,
                     s->settings[i].n_rows == 1 ? "" : "s");
        for (size_t r = 0; r < s->settings[i].n_rows; r++) {
            const qsr_record *record = qsr_study_record(s, s->settings[i].rows[r]);
            if (record) put_run(p, record);
        }
        qsr_text_puts(p->out, "</details>\n");
    }
    qsr_page_paragraph(p, "This page:");
    put_command(p, "quasar report ", p->request->folder, "");
}

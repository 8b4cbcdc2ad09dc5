#include "report/overlay.h"

#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "format/csv.h"

enum { NAME, L0_NORM, L2_LOSS, AFA_COEFF, COLUMNS, MOST_PARAMETERS = 8, CSV_BYTES = 64 << 20 };

static const char *const column_names[COLUMNS] = {"Name", "l0_norm", "l2_loss", "afa_coeff"};

typedef struct {
    const char *path;
    qsr_arena *arena;
    const qsr_csv *csv;
    size_t column[COLUMNS]; /* csv->columns: there is none */
} reading;

static qsr_status find_columns(reading *r, qsr_error *e)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        size_t at = 0;
        while (at < r->csv->columns && strcmp(r->csv->rows[0].fields[at], column_names[c]) != 0) at++;
        r->column[c] = at;
        if (at == r->csv->columns && c != AFA_COEFF)
            return qsr_fail(e, QSR_E_INPUT,
                            "%s:1: there is no column '%s'; a W&B export has Name, l0_norm, l2_loss, afa_coeff", r->path,
                            column_names[c]);
    }
    return QSR_OK;
}

static const char *field(const reading *r, const qsr_csv_row *row, size_t column)
{
    return r->column[column] < r->csv->columns ? row->fields[r->column[column]] : "";
}

/* ---- names: blocks.<layer>.hook_<site>_<d_sae>_<activation>_<k>_<afa_coeff>, as the published code writes them ------------- */

/* Cuts the last "_part" off `text`; NULL when there is none. */
static const char *cut_last(char *text)
{
    char *bar = strrchr(text, '_');
    if (!bar) return NULL;
    *bar = 0;
    return bar + 1;
}

static const char *real_text(qsr_arena *arena, double value)
{
    char text[32];
    return qsr_arena_strdup(arena, qsr_real_text(value, text, sizeof text));
}

static void add(qsr_published *p, qsr_parameter *parameters, const char *key, const char *text)
{
    parameters[p->n_parameters++] = (qsr_parameter){key, text};
}

static void add_hook(reading *r, qsr_published *p, qsr_parameter *parameters, char *hook)
{
    char *dot = strchr(hook + 7, '.');
    int64_t layer;
    if (!qsr_starts_with(hook, "blocks.") || !dot || !qsr_starts_with(dot, ".hook_")) return;
    *dot = 0;
    if (!qsr_parse_int(hook + 7, &layer)) return;
    add(p, parameters, "dataset.hook.site", dot + 6);
    add(p, parameters, "dataset.hook.layer", qsr_arena_printf(r->arena, "%lld", (long long)layer));
}

static void add_loss(reading *r, qsr_published *p, qsr_parameter *parameters, double coeff)
{
    add(p, parameters, "losses.afa", coeff != 0 ? "on" : "off");
    if (coeff != 0) add(p, parameters, "losses.afa.coeff", real_text(r->arena, coeff));
}

static qsr_status read_parameters(reading *r, const qsr_csv_row *row, qsr_published *p, qsr_error *e)
{
    qsr_parameter *parameters = qsr_arena_alloc(r->arena, MOST_PARAMETERS, sizeof *parameters);
    char *name = qsr_arena_strdup(r->arena, p->name);
    const char *coeff = cut_last(name), *k = cut_last(name), *activation = cut_last(name), *d_sae = cut_last(name);
    const char *written = field(r, row, AFA_COEFF);
    double coeff_value;
    int64_t k_value, width;
    if (*written) coeff = written;
    p->parameters = parameters;
    if (!d_sae || !*activation || !qsr_parse_int(d_sae, &width) || !qsr_parse_int(k, &k_value) ||
        !qsr_parse_real(coeff, &coeff_value))
        return qsr_fail(e, QSR_E_INPUT, "%s:%u: the name '%s' is not <hook>_<d_sae>_<activation>_<k>_<afa_coeff>", r->path,
                        row->line, p->name);
    add_hook(r, p, parameters, name);
    add(p, parameters, "sae.d_sae", qsr_arena_printf(r->arena, "%lld", (long long)width));
    add(p, parameters, "activation.plugin", activation);
    if (k_value > 0) add(p, parameters, "activation.k", qsr_arena_printf(r->arena, "%lld", (long long)k_value));
    add_loss(r, p, parameters, coeff_value);
    return QSR_OK;
}

/* ---- rows -------------------------------------------------------------------------------------------------------------- */

/* mdl_bits_naive = l0 (7 + log2 d_sae), as our own evaluations have it. */
static void add_bits(qsr_published *p, qsr_measure *measures)
{
    double width = NAN;
    for (size_t i = 0; i < p->n_parameters; i++)
        if (strcmp(p->parameters[i].key, "sae.d_sae") == 0) qsr_parse_real(p->parameters[i].text, &width);
    if (p->n_measures && strcmp(measures[0].name, "l0") == 0 && width > 0)
        measures[p->n_measures++] = (qsr_measure){"mdl_bits_naive", measures[0].value * (7 + log2(width))};
}

static qsr_status read_measures(reading *r, const qsr_csv_row *row, qsr_published *p, qsr_error *e)
{
    static const struct {
        size_t column;
        const char *metric;
    } known[] = {{L0_NORM, "l0"}, {L2_LOSS, "mse_norm"}};
    qsr_measure *measures = qsr_arena_alloc(r->arena, 3, sizeof *measures);
    p->measures = measures;
    for (size_t i = 0; i < 2; i++) {
        const char *text = field(r, row, known[i].column);
        double value;
        if (!*text || strcmp(text, "NaN") == 0) continue;
        if (!qsr_parse_real(text, &value))
            return qsr_fail(e, QSR_E_INPUT, "%s:%u: %s is '%s', but must be a number", r->path, row->line,
                            column_names[known[i].column], text);
        measures[p->n_measures++] = (qsr_measure){known[i].metric, value};
    }
    add_bits(p, measures);
    return QSR_OK;
}

static qsr_status read_run(reading *r, const qsr_csv_row *row, qsr_published *p, bool *ret_foreign, qsr_error *e)
{
    p->name = qsr_arena_strdup(r->arena, field(r, row, NAME));
    *ret_foreign = true;
    qsr_status status = read_parameters(r, row, p, e);
    if (status) return status;
    *ret_foreign = false;
    status = read_measures(r, row, p, e);
    if (status || (p->n_measures && strcmp(p->measures[0].name, "l0") == 0)) return status;
    *ret_foreign = true;
    return qsr_fail(e, QSR_E_INPUT, "%s:%u: '%s' has no l0_norm", r->path, row->line, p->name);
}

/* An export of a whole project holds other runs, too: those are left out, with one warning. */
static qsr_status read_runs(reading *r, qsr_overlay *to, qsr_error *e)
{
    size_t foreign = 0;
    qsr_error first = {0};
    for (size_t i = 1; i < r->csv->count; i++) {
        qsr_published p = {0};
        qsr_error why = {0};
        bool is_foreign;
        if (!read_run(r, &r->csv->rows[i], &p, &is_foreign, &why)) {
            to->runs[to->count++] = p;
            continue;
        }
        if (!is_foreign) {
            *e = why;
            return QSR_E_INPUT;
        }
        if (foreign++ == 0) first = why;
    }
    if (foreign && !to->count) {
        *e = first;
        return QSR_E_INPUT;
    }
    if (foreign) qsr_log(QSR_LOG_WARNING, "rows left out: %zu, the first: %s", foreign, first.text);
    return QSR_OK;
}

qsr_status qsr_overlay_read(const char *path, qsr_arena *arena, qsr_overlay *ret, qsr_error *e)
{
    qsr_csv csv;
    qsr_overlay overlay = {0};
    qsr_error unused = {0};
    if (!e) e = &unused;
    qsr_status status = qsr_csv_read(path, CSV_BYTES, &csv, e);
    if (status) return status;
    reading r = {path, arena, &csv, {0}};
    status = find_columns(&r, e);
    overlay.runs = qsr_arena_alloc(arena, csv.count, sizeof *overlay.runs);
    if (!status) status = read_runs(&r, &overlay, e);
    qsr_csv_free(&csv);
    if (!status) *ret = overlay;
    return status;
}

#include "report/tokens.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "base/rng.h"
#include "base/text.h"
#include "eval/statistics.h"

enum { LONGEST_LINE = 1 << 16, FIRST_ROOM = 1024, MOST_COLUMNS = 256 };
enum { ZTZ, FTF, L_RECON, LAYER, COLUMNS };

typedef struct {
    const char *path;
    qsr_lines lines;
    size_t column[COLUMNS]; /* MOST_COLUMNS: there is none */
    char *fields[MOST_COLUMNS];
    size_t n_fields, n_header;
    qsr_token_table *tokens;
    qsr_rng rng;
    size_t last; /* the layer of the line before */
} reading;

/* ---- lines --------------------------------------------------------------------------------------------------------------- */

/* Numbers and short words need no more of CSV than quotes around a field. */
static qsr_status split(reading *r, qsr_error *e)
{
    r->n_fields = 0;
    for (char *at = r->lines.text; at;) {
        char *comma = strchr(at, ',');
        if (comma) *comma = 0;
        if (r->n_fields == MOST_COLUMNS)
            return qsr_fail(e, QSR_E_INPUT, "%s:%llu: more than %d columns", r->path, (unsigned long long)r->lines.number,
                            MOST_COLUMNS);
        size_t n = strlen(at);
        if (n > 1 && at[0] == '"' && at[n - 1] == '"') at[n - 1] = 0, at++;
        r->fields[r->n_fields++] = at;
        at = comma ? comma + 1 : NULL;
    }
    return QSR_OK;
}

static qsr_status read_header(reading *r, qsr_error *e)
{
    static const char *const names[COLUMNS] = {"ztz", "ftf", "l_recon", "layer"};
    qsr_status status = qsr_lines_next(&r->lines, e);
    if (status == QSR_END) return qsr_fail(e, QSR_E_INPUT, "%s: the file is empty", r->path);
    if (!status && strncmp(r->lines.text, "\xef\xbb\xbf", 3) == 0)
        memmove(r->lines.text, r->lines.text + 3, r->lines.length - 2);
    if (!status) status = split(r, e);
    if (status) return status;
    r->n_header = r->n_fields;
    for (size_t c = 0; c < COLUMNS; c++) {
        r->column[c] = MOST_COLUMNS;
        for (size_t i = r->n_fields; i-- > 0;)
            if (strcmp(r->fields[i], names[c]) == 0) r->column[c] = i;
        if (r->column[c] == MOST_COLUMNS && c != LAYER)
            return qsr_fail(e, QSR_E_INPUT, "%s:1: there is no column '%s'; diagnostics of tokens have ztz, ftf, l_recon",
                            r->path, names[c]);
    }
    return QSR_OK;
}

/* "nan" and "inf" are no mistakes: a token can have them. */
static qsr_status read_number(reading *r, size_t column, float *ret, qsr_error *e)
{
    static const char *const names[COLUMNS] = {"ztz", "ftf", "l_recon", "layer"};
    const char *text = r->fields[r->column[column]], *word = text + (*text == '-' || *text == '+');
    double value = NAN;
    bool special = strcasecmp(word, "nan") == 0 || strcasecmp(word, "inf") == 0 || strcasecmp(word, "infinity") == 0;
    if (!special && (!qsr_parse_real(text, &value) || value < 0))
        return qsr_fail(e, QSR_E_INPUT, "%s:%llu: %s is '%.40s', but must be a number of 0 or more", r->path,
                        (unsigned long long)r->lines.number, names[column], text);
    *ret = (float)value;
    return QSR_OK;
}

/* ---- layers --------------------------------------------------------------------------------------------------------------- */

static qsr_status find_layer(reading *r, const char *name, qsr_token_layer **ret, qsr_error *e)
{
    qsr_token_table *t = r->tokens;
    if (r->last < t->n_layers && strcmp(t->layers[r->last].layer, name) == 0) {
        *ret = &t->layers[r->last];
        return QSR_OK;
    }
    for (r->last = 0; r->last < t->n_layers; r->last++)
        if (strcmp(t->layers[r->last].layer, name) == 0) break;
    if (r->last == t->n_layers) {
        if (t->n_layers == QSR_TOKENS_LAYERS)
            return qsr_fail(e, QSR_E_INPUT, "%s:%llu: more than %d layers", r->path, (unsigned long long)r->lines.number,
                            QSR_TOKENS_LAYERS);
        t->layers = qsr_xrealloc(t->layers, t->n_layers + 1, sizeof *t->layers);
        t->layers[t->n_layers++] = (qsr_token_layer){.layer = qsr_arena_strdup(&t->arena, name)};
    }
    *ret = &t->layers[r->last];
    return QSR_OK;
}

/* Reservoir sampling (Vitter's algorithm R): any token stays with the same probability. The numbers depend on layer and count
 * alone, so that the same file gives the same sample. */
static void keep(reading *r, qsr_token_layer *layer, const qsr_token *token)
{
    uint64_t place = layer->count++;
    if (place >= QSR_TOKENS_KEPT) {
        place = qsr_rng_below(&r->rng, place, layer->count);
        if (place < QSR_TOKENS_KEPT) layer->kept[place] = *token;
        return;
    }
    bool power = (place & (place - 1)) == 0;
    if (place == 0 || (power && place >= FIRST_ROOM))
        layer->kept = qsr_xrealloc(layer->kept, place ? 2 * place : FIRST_ROOM, sizeof *layer->kept);
    layer->kept[place] = *token;
    layer->n = layer->count;
}

static qsr_status read_token(reading *r, qsr_error *e)
{
    qsr_token token = {0};
    qsr_token_layer *layer = NULL;
    if (!r->lines.length) return QSR_OK;
    qsr_status status = split(r, e);
    if (!status && r->n_fields != r->n_header)
        status = qsr_fail(e, QSR_E_INPUT, "%s:%llu: %zu fields, but the first line has %zu", r->path,
                          (unsigned long long)r->lines.number, r->n_fields, r->n_header);
    if (!status) status = find_layer(r, r->column[LAYER] < MOST_COLUMNS ? r->fields[r->column[LAYER]] : "", &layer, e);
    if (!status) status = read_number(r, ZTZ, &token.ztz, e);
    if (!status) status = read_number(r, FTF, &token.ftf, e);
    if (!status) status = read_number(r, L_RECON, &token.l_recon, e);
    if (status) return status;
    if (isfinite(token.ztz) && isfinite(token.ftf) && isfinite(token.l_recon))
        keep(r, layer, &token);
    else
        layer->left_out++;
    return QSR_OK;
}

static int by_layer(const void *a, const void *b)
{
    const qsr_token_layer *x = a, *y = b;
    double m, n;
    bool number = qsr_parse_real(x->layer, &m) && qsr_parse_real(y->layer, &n);
    if (number && m != n) return m < n ? -1 : 1;
    return strcmp(x->layer, y->layer);
}

qsr_status qsr_token_table_read(const char *path, qsr_token_table *ret, qsr_error *e)
{
    qsr_token_table tokens = {0};
    reading r = {.path = path, .tokens = &tokens, .rng = qsr_rng_make(0, "tokens.csv")};
    qsr_status status = qsr_lines_open(&r.lines, path, LONGEST_LINE, e);
    if (!status) status = read_header(&r, e);
    while (!status) {
        status = qsr_lines_next(&r.lines, e);
        if (!status) status = read_token(&r, e);
    }
    if (status == QSR_END) status = QSR_OK;
    if (!status && !tokens.n_layers) status = qsr_fail(e, QSR_E_INPUT, "%s: it has no tokens", path);
    qsr_lines_close(&r.lines);
    if (tokens.n_layers) qsort(tokens.layers, tokens.n_layers, sizeof *tokens.layers, by_layer);
    if (status)
        qsr_token_table_free(&tokens);
    else
        *ret = tokens;
    return status;
}

void qsr_token_table_free(qsr_token_table *t)
{
    for (size_t i = 0; i < t->n_layers; i++) free(t->layers[i].kept);
    free(t->layers);
    qsr_arena_free(&t->arena);
    *t = (qsr_token_table){0};
}

/* ---- values -------------------------------------------------------------------------------------------------------------- */

size_t qsr_token_values(const qsr_token_layer *layer, qsr_token_value what, uint64_t d_sae, double *values)
{
    double pairs = d_sae > 1 ? (double)d_sae - 1 : 1;
    size_t n = 0;
    for (size_t i = 0; i < layer->n; i++) {
        double ztz = layer->kept[i].ztz, ftf = layer->kept[i].ftf;
        double value = what == QSR_TOKEN_NMSE ? layer->kept[i].l_recon / ztz : fabs(ztz - ftf) / (pairs * ftf);
        if (isfinite(value)) values[n++] = value;
    }
    return n;
}

double qsr_token_median(const qsr_token_layer *layer, qsr_token_value what, uint64_t d_sae)
{
    double *values = qsr_xcalloc(layer->n + 1, sizeof *values);
    size_t n = qsr_token_values(layer, what, d_sae, values);
    double median = n ? qsr_median(values, n) : NAN;
    free(values);
    return median;
}

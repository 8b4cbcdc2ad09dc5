#include "report/contexts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/lines.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "format/json.h"

enum { LONGEST_LINE = 16 << 20, LONGEST_TEXT = 400, MOST_COLUMNS = 64 };

/* ---- one latent ------------------------------------------------------------------------------------------------------------- */

static int64_t whole(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* A text around a token is shown near it: of a long one the end, or the beginning, counts. */
static const char *text_of(qsr_arena *arena, json_t *object, const char *key, bool end)
{
    json_t *value = json_object_get(object, key);
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);
    if (!text) return NULL;
    if (n > LONGEST_TEXT && end) text += n - LONGEST_TEXT;
    if (n > LONGEST_TEXT) n = LONGEST_TEXT;
    while (end && n && ((unsigned char)*text & 0xc0) == 0x80) text++, n--; /* not in the middle of a character */
    if (!end)
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
    return qsr_arena_strndup(arena, text, n);
}

static const char *document_of(qsr_arena *arena, json_t *object)
{
    json_t *value = json_object_get(object, "document");
    if (json_is_integer(value)) return qsr_arena_printf(arena, "%lld", (long long)json_integer_value(value));
    return text_of(arena, object, "document", false);
}

static void read_latent(qsr_arena *arena, json_t *object, qsr_latent *ret)
{
    json_t *contexts = json_object_get(object, "contexts");
    *ret = (qsr_latent){.latent = whole(object, "latent"),
                        .frequency = NAN,
                        .mean_activation = NAN,
                        .max_activation = NAN,
                        .nearest_cosine = NAN};
    for (size_t i = 0; i < json_array_size(contexts) && ret->n < QSR_CONTEXTS_EACH; i++) {
        json_t *c = json_array_get(contexts, i), *activation = json_object_get(c, "activation");
        if (!json_is_object(c)) continue;
        ret->contexts[ret->n++] =
            (qsr_firing_context){.activation = json_is_number(activation) ? json_number_value(activation) : NAN,
                                 .before = text_of(arena, c, "before", true),
                                 .token = text_of(arena, c, "text", false),
                                 .after = text_of(arena, c, "after", false),
                                 .document = document_of(arena, c),
                                 .unit = whole(c, "unit"),
                                 .row = whole(c, "row"),
                                 .token_id = whole(c, "token")};
    }
}

/* ---- a sample of lines --------------------------------------------------------------------------------------------------------- */

/* Texts of what was replaced stay in the arena of the sample: a few KiB each, and replacements are rare (12 ln(n/12) of n). */
static void take_line(qsr_contexts *c, const qsr_rng *rng, const qsr_lines *lines)
{
    json_t *object = NULL;
    if (!lines->length) return;
    if (qsr_json_parse(lines->path, lines->text, lines->length, &object, NULL) || whole(object, "latent") < 0) {
        c->bad++;
        json_decref(object);
        return;
    }
    if (json_array_size(json_object_get(object, "contexts"))) {
        uint64_t place = c->of++;
        if (place >= QSR_CONTEXTS_LATENTS) place = qsr_rng_below(rng, place, c->of);
        if (place < QSR_CONTEXTS_LATENTS) read_latent(&c->arena, object, &c->latents[place]);
        if (c->n < QSR_CONTEXTS_LATENTS && place == c->n) c->n++;
    }
    json_decref(object);
}

static int by_latent(const void *a, const void *b)
{
    const qsr_latent *x = a, *y = b;
    return (x->latent > y->latent) - (x->latent < y->latent);
}

static void read_contexts(const char *path, qsr_contexts *c)
{
    qsr_lines lines;
    qsr_error e = {0};
    qsr_rng rng = qsr_rng_make(0, "top contexts");
    qsr_status status = qsr_lines_open(&lines, path, LONGEST_LINE, &e);
    while (!status) {
        status = qsr_lines_next(&lines, &e);
        if (!status) take_line(c, &rng, &lines);
    }
    if (status != QSR_END) qsr_log(QSR_LOG_WARNING, "%s", e.text);
    if (c->bad)
        qsr_log(QSR_LOG_WARNING, "%s: lines that cannot be understood are left out: %llu", path,
                (unsigned long long)c->bad);
    qsr_lines_close(&lines);
    qsort(c->latents, c->n, sizeof *c->latents, by_latent);
}

/* ---- latents.csv ----------------------------------------------------------------------------------------------------------------- */

enum { LATENT, FREQUENCY, MEAN, MAX, NEAREST, COLUMNS };

static size_t split(char *line, char **fields)
{
    size_t n = 0;
    for (char *at = line; at && n < MOST_COLUMNS; n++) {
        fields[n] = at;
        at = strchr(at, ',');
        if (at) *at++ = 0;
    }
    return n;
}

static void take_numbers(qsr_contexts *c, char *const *fields, size_t n, const size_t *columns)
{
    double values[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++)
        if (columns[i] >= n || !qsr_parse_real(fields[columns[i]], &values[i])) values[i] = NAN;
    for (size_t i = 0; i < c->n; i++) {
        qsr_latent *l = &c->latents[i];
        if ((double)l->latent != values[LATENT]) continue;
        l->frequency = values[FREQUENCY];
        l->mean_activation = values[MEAN];
        l->max_activation = values[MAX];
        l->nearest_cosine = values[NEAREST];
    }
}

static void read_numbers(const char *path, qsr_contexts *c)
{
    static const char *const names[COLUMNS] = {"latent", "frequency", "mean_activation", "max_activation",
                                               "nearest_cosine"};
    size_t columns[COLUMNS] = {MOST_COLUMNS, MOST_COLUMNS, MOST_COLUMNS, MOST_COLUMNS, MOST_COLUMNS};
    char *fields[MOST_COLUMNS];
    qsr_lines lines;
    qsr_error e = {0};
    qsr_status status = qsr_lines_open(&lines, path, LONGEST_LINE, &e);
    while (!status) {
        status = qsr_lines_next(&lines, &e);
        if (status) break;
        size_t n = split(lines.text, fields);
        for (size_t i = 0; lines.number == 1 && i < n; i++)
            for (size_t k = 0; k < COLUMNS; k++)
                if (strcmp(fields[i], names[k]) == 0) columns[k] = i;
        if (lines.number > 1) take_numbers(c, fields, n, columns);
    }
    if (status != QSR_END) qsr_log(QSR_LOG_WARNING, "%s", e.text);
    qsr_lines_close(&lines);
}

bool qsr_contexts_read(const char *folder, qsr_contexts *ret)
{
    qsr_arena arena = {0};
    const char *contexts = qsr_path_join(&arena, folder, "top_contexts.jsonl"),
               *latents = qsr_path_join(&arena, folder, "latents.csv");
    *ret = (qsr_contexts){0};
    if (qsr_exists(contexts)) read_contexts(contexts, ret);
    if (ret->n && qsr_exists(latents)) read_numbers(latents, ret);
    qsr_arena_free(&arena);
    if (ret->n) return true;
    qsr_contexts_free(ret);
    return false;
}

void qsr_contexts_free(qsr_contexts *c)
{
    qsr_arena_free(&c->arena);
    *c = (qsr_contexts){0};
}

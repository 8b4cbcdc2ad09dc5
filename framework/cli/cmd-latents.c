/* `quasar latents`: the latents of a run in the terminal: their numbers, and where they were most active. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/table.h"
#include "cli/command.h"
#include "report/latent-table.h"
#include "spec/utf8.h"

/* ---- texts */

/* What would not show as itself is shown as an escape: a new line as \n, other controls as \x1b. */
static void put_shown(const char *text, qsr_text *out)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t length = qsr_utf8_at(text + i, n - i, &c);
        if (length && qsr_utf8_shows(c))
            qsr_text_append(out, text + i, length);
        else if (c == '\n' || c == '\t')
            qsr_text_puts(out, c == '\n' ? "\\n" : "\\t");
        else
            qsr_text_add(out, "\\x%02x", length ? c : (unsigned char)text[i]);
        i += length ? length : 1;
    }
}

/* The token between marks that no text has on its own: reversed on a terminal, brackets elsewhere. */
static void put_context(const json_t *context, bool terminal, qsr_text *out)
{
    const char *before = json_string_value(json_object_get(context, "before")),
               *after = json_string_value(json_object_get(context, "after"));
    const char *text = json_string_value(json_object_get(context, "text"));
    const json_t *token = json_object_get(context, "token");
    if (!text) {
        if (json_is_integer(token)) qsr_text_add(out, "token %lld", (long long)json_integer_value(token));
        return;
    }
    put_shown(before ? before : "", out);
    qsr_text_puts(out, terminal ? "\033[7m" : "[[");
    put_shown(text, out);
    qsr_text_puts(out, terminal ? "\033[0m" : "]]");
    put_shown(after ? after : "", out);
}

/* ---- one latent */

static void print_contexts(const json_t *line, size_t most, bool terminal)
{
    const json_t *contexts = json_object_get(line, "contexts");
    qsr_table table = {.columns = 3, .right = 1};
    for (size_t i = 0; i < json_array_size(contexts) && i < most; i++) {
        const json_t *context = json_array_get(contexts, i);
        char number[32], place[64];
        qsr_text text = {0};
        qsr_number_text(json_number_value(json_object_get(context, "activation")), number, sizeof number);
        snprintf(place, sizeof place, "%lld:%lld", (long long)json_integer_value(json_object_get(context, "unit")),
                 (long long)json_integer_value(json_object_get(context, "row")));
        put_context(context, terminal, &text);
        qsr_table_row(&table, (const char *[]){number, place, text.bytes});
        qsr_text_free(&text);
    }
    qsr_table_print(&table, 2, stdout);
    qsr_table_free(&table);
}

static void print_latent(const qsr_latent_table *t, size_t latent, const json_t *line, size_t most)
{
    char number[32];
    printf("latent %zu\n", latent);
    for (size_t c = 0; c < QSR_LATENT_NUMBERS; c++)
        printf("  %-22s  %s\n", qsr_latent_columns[c], qsr_number_text(t->number[latent][c], number, sizeof number));
    print_contexts(line, most, isatty(STDOUT_FILENO));
}

/* ---- many */

typedef struct {
    double by;
    size_t latent;
} ranked;

/* The largest first, those without the number last, ties by latent. */
static int by_rank(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (isnan(x->by) != isnan(y->by)) return isnan(x->by) - isnan(y->by);
    if (x->by != y->by && !isnan(x->by)) return x->by < y->by ? 1 : -1;
    return (x->latent > y->latent) - (x->latent < y->latent);
}

static int by_size(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void print_ranked(const qsr_latent_table *t, const ranked *order, const size_t *latents, json_t *const *lines,
                         size_t n)
{
    qsr_table table = {.columns = 9, .right = 0xff};
    qsr_table_row(&table, (const char *[]){"latent", "frequency", "mean", "max", "norm", "nearest", "cosine", "enc.dec",
                                           "most active on"});
    for (size_t i = 0; i < n; i++) {
        const size_t *at = bsearch(&order[i].latent, latents, n, sizeof *latents, by_size);
        char cell[8][32];
        const char *cells[9];
        qsr_text text = {0};
        snprintf(cell[0], sizeof *cell, "%zu", order[i].latent);
        for (size_t c = 0; c < QSR_LATENT_NUMBERS; c++)
            qsr_number_text(t->number[order[i].latent][c], cell[c + 1], sizeof *cell);
        for (size_t c = 0; c < 8; c++) cells[c] = cell[c];
        put_context(json_array_get(json_object_get(lines[at - latents], "contexts"), 0), isatty(STDOUT_FILENO), &text);
        cells[8] = text.bytes;
        qsr_table_row(&table, cells);
        qsr_text_free(&text);
    }
    qsr_table_print(&table, 0, stdout);
    qsr_table_free(&table);
}

static int show_ranked(const char *folder, const qsr_latent_table *t, size_t column, size_t n)
{
    qsr_error e = {0};
    if (n > t->n) n = t->n;
    ranked *order = qsr_xcalloc(t->n + 1, sizeof *order);
    size_t *latents = qsr_xcalloc(n + 1, sizeof *latents);
    json_t **lines = qsr_xcalloc(n + 1, sizeof *lines);
    for (size_t i = 0; i < t->n; i++) order[i] = (ranked){t->number[i][column], i};
    qsort(order, t->n, sizeof *order, by_rank);
    for (size_t i = 0; i < n; i++) latents[i] = order[i].latent;
    qsort(latents, n, sizeof *latents, by_size);
    qsr_status status = qsr_latent_contexts_read(folder, latents, n, lines, &e);
    if (!status) print_ranked(t, order, latents, lines, n);
    for (size_t i = 0; i < n; i++) json_decref(lines[i]);
    free(order);
    free(latents);
    free(lines);
    return status ? qsr_cli_report(&e) : QSR_EXIT_OK;
}

/* ---- the command */

static int show_latents(const char *folder, const qsr_latent_table *t, const char *const *asked, size_t most)
{
    for (; *asked; asked++) {
        uint64_t index;
        qsr_error e = {0};
        if (!qsr_parse_uint(*asked, &index) || index >= t->n)
            return qsr_command_misused(&qsr_cmd_latents, "--latent is '%s', but %s has latents 0 to %zu", *asked, folder,
                                       t->n - 1);
        size_t latent = (size_t)index;
        json_t *line;
        if (qsr_latent_contexts_read(folder, &latent, 1, &line, &e)) return qsr_cli_report(&e);
        print_latent(t, latent, line, most);
        json_decref(line);
    }
    return QSR_EXIT_OK;
}

/* "max" is enough for max_activation, and "nearest" means the cosine: the nearest latent's number orders nothing. QSR_LATENT_NUMBERS:
 * no such column. */
static size_t find_order(const char *name)
{
    size_t c = 0;
    while (c < QSR_LATENT_NUMBERS && (!*name || c == QSR_LATENT_NEAREST || !qsr_starts_with(qsr_latent_columns[c], name))) c++;
    return c;
}

static int run(qsr_args *args)
{
    unsigned top, contexts;
    qsr_latent_table table;
    qsr_error e = {0};
    if (args->n_words != 1)
        return qsr_command_misused(&qsr_cmd_latents, "needs the folder of a run or an evaluation, got %zu words",
                                   args->n_words);
    if (qsr_args_count(args, "top", 1, 1000000, 10, &top, &e) ||
        qsr_args_count(args, "contexts", 0, 1000000, 1000000, &contexts, &e))
        return qsr_command_misused(&qsr_cmd_latents, "%s", e.text);
    const char *by = qsr_args_value(args, "by"), *const *asked = qsr_args_values(args, "latent");
    size_t column = find_order(by ? by : qsr_latent_columns[QSR_LATENT_FREQUENCY]);
    if (column == QSR_LATENT_NUMBERS)
        return qsr_command_misused(
            &qsr_cmd_latents,
            "--by is '%s', but must be frequency, mean, max, decoder_norm, nearest_cosine or encoder_decoder_cosine", by);
    if (qsr_latent_table_read(args->words[0], &table, &e)) return qsr_cli_report(&e);
    int code =
        *asked ? show_latents(args->words[0], &table, asked, contexts) : show_ranked(args->words[0], &table, column, top);
    qsr_latent_table_free(&table);
    return code;
}

const qsr_command qsr_cmd_latents = {
    .name = "latents",
    .synopsis = "DIR [--latent J]... [--top N] [--by NUMBER] [--contexts N]",
    .summary = "show latents of a run: numbers, and the text they were most active on",
    .help = "Reads latents.csv and top_contexts.jsonl in the folder of a run or of an evaluation. With\n"
            "--latent J prints everything about latent J: its numbers and the contexts of its largest\n"
            "activations, a line each: activation, unit:row, the text with the token itself in [[ ]]\n"
            "(reversed on a terminal). Otherwise prints a table of the N latents that come first by one\n"
            "of their numbers.",
    .options = (const qsr_arg_option[]){{"latent", "J", "all about latent J, counted from 0; repeatable"},
                                        {"top", "N", "how many latents the table has (default: 10)"},
                                        {"by", "NUMBER",
                                         "the largest first of: frequency (default), mean, max, decoder_norm,\n"
                                         "                     nearest_cosine, encoder_decoder_cosine"},
                                        {"contexts", "N", "contexts of a latent to print at most (default: all)"},
                                        {0}},
    .run = run,
};

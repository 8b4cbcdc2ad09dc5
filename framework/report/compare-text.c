/* report/compare-text: comparisons as paragraphs and as a table. */
#include <math.h>
#include <stdlib.h>

#include "report/compare.h"

static void put_named(qsr_text *out, const char *name, double value)
{
    qsr_text_add(out, "  %s ", name);
    qsr_sheet_real(value, out);
}

/* Small ones keep their order of magnitude, two digits are enough. */
static void put_p(qsr_text *out, double p) { qsr_text_add(out, "  p %.2g", p); }

static double half_width(const qsr_summary *s) { return s->n < 2 ? NAN : (s->high - s->low) / 2; }

static void put_side(qsr_text *out, const char *value, const qsr_summary *s)
{
    qsr_text_add(out, "  %s: ", value);
    if (s->n) qsr_sheet_mean(s->mean, half_width(s), out);
    qsr_text_add(out, "%s%zu seed%s\n", s->n ? ", " : "", s->n, s->n == 1 ? "" : "s");
}

static void put_difference(qsr_text *out, const qsr_t_test *test)
{
    qsr_sheet_real(test->difference, out);
    qsr_text_puts(out, " [");
    qsr_sheet_real(test->low, out);
    qsr_text_puts(out, ", ");
    qsr_sheet_real(test->high, out);
    qsr_text_puts(out, "]");
}

static void put_test(qsr_text *out, const char *name, const qsr_t_test *test, const char *refused, const char *effect_name,
                     double effect, double corrected)
{
    qsr_text_add(out, "  %s", name);
    if (refused) {
        qsr_text_add(out, "no p-value: %s\n", refused);
        return;
    }
    put_difference(out, test);
    put_named(out, "t", test->t);
    put_named(out, "df", test->df);
    put_p(out, test->p);
    put_named(out, effect_name, effect);
    if (!isnan(corrected)) {
        qsr_text_puts(out, " (Hedges ");
        qsr_sheet_real(corrected, out);
        qsr_text_puts(out, ")");
    }
}

static bool l0_differs(const qsr_comparison *item) { return !isnan(item->l0[0]); }

static void put_l0(qsr_text *out, const qsr_comparison *item)
{
    qsr_text_puts(out, "l0 differs: ");
    qsr_sheet_real(item->l0[0], out);
    qsr_text_puts(out, " and ");
    qsr_sheet_real(item->l0[1], out);
}

static void put_context(qsr_text *out, const qsr_comparisons *all, const qsr_comparison *item)
{
    for (size_t i = 0; i < all->n_contexts; i++)
        if (item->context[i]) qsr_text_add(out, ", %s=%s", all->contexts[i], item->context[i]);
}

static void put_comparison(qsr_text *out, const qsr_comparisons *all, const qsr_comparison *item)
{
    qsr_text_add(out, "%s - %s", item->a, item->b);
    put_context(out, all, item);
    qsr_text_puts(out, "\n");
    put_side(out, item->a, &item->side_a);
    put_side(out, item->b, &item->side_b);
    put_test(out, "Welch:  ", &item->welch, item->no_welch, "d", item->d, item->g);
    if (!item->no_welch) qsr_text_puts(out, "\n");
    put_test(out, "paired: ", &item->paired, item->no_paired, "d_z", item->dz, item->gz);
    if (!item->no_paired) qsr_text_add(out, "  %zu pairs\n", item->pairs);
    if (item->differs[0]) qsr_text_add(out, "  not equal otherwise: %s\n", item->differs);
    if (l0_differs(item)) {
        qsr_text_puts(out, "  ");
        put_l0(out, item);
        qsr_text_puts(out, "; --at l0=... compares at equal sparsity\n");
    }
    for (size_t i = 0; i < item->n_left_out; i++) qsr_text_add(out, "  left out: %s\n", item->left_out[i]);
}

void qsr_compare_text(const qsr_comparisons *all, qsr_text *out)
{
    char at[32];
    qsr_text_add(out, "%s between values of %s", all->metric, all->between);
    if (all->at_metric) qsr_text_add(out, " at %s=%s", all->at_metric, qsr_real_text(all->at, at, sizeof at));
    qsr_text_puts(out, "; differences with 95 % intervals\n");
    size_t tests = 0;
    for (size_t i = 0; i < all->count; i++) {
        qsr_text_puts(out, "\n");
        put_comparison(out, all, &all->items[i]);
        tests += !all->items[i].no_welch || !all->items[i].no_paired;
    }
    if (tests > 1)
        qsr_text_add(out, "\n%zu comparisons: with so many, one that counts at 5 %% has p below %.2g (Bonferroni)\n", tests,
                     0.05 / (double)tests);
}

/* ---- a table ------------------------------------------------------------------------------------------------------------ */

static const qsr_column columns[] = {{"n_a", QSR_COLUMN_COUNT},       {"mean_a", QSR_COLUMN_REAL},
                                     {"sd_a", QSR_COLUMN_REAL},       {"n_b", QSR_COLUMN_COUNT},
                                     {"mean_b", QSR_COLUMN_REAL},     {"sd_b", QSR_COLUMN_REAL},
                                     {"difference", QSR_COLUMN_REAL}, {"low", QSR_COLUMN_REAL},
                                     {"high", QSR_COLUMN_REAL},       {"t", QSR_COLUMN_REAL},
                                     {"df", QSR_COLUMN_REAL},         {"p", QSR_COLUMN_REAL},
                                     {"d", QSR_COLUMN_REAL},          {"g", QSR_COLUMN_REAL},
                                     {"pairs", QSR_COLUMN_COUNT},     {"paired_difference", QSR_COLUMN_REAL},
                                     {"paired_low", QSR_COLUMN_REAL}, {"paired_high", QSR_COLUMN_REAL},
                                     {"paired_t", QSR_COLUMN_REAL},   {"paired_df", QSR_COLUMN_REAL},
                                     {"paired_p", QSR_COLUMN_REAL},   {"d_z", QSR_COLUMN_REAL},
                                     {"g_z", QSR_COLUMN_REAL}};

/* What a refused test would say is not said: its columns stay empty. */
static qsr_t_test told(const qsr_t_test *test, const char *refused)
{
    return refused ? (qsr_t_test){test->difference, NAN, NAN, NAN, NAN, NAN} : *test;
}

static const char *reasons(qsr_sheet *sheet, const qsr_comparison *item)
{
    qsr_text text = {0};
    if (item->no_welch) qsr_text_add(&text, "no p: %s", item->no_welch);
    if (item->no_paired) qsr_text_add(&text, "%sno paired_p: %s", text.length ? "; " : "", item->no_paired);
    if (item->differs[0]) qsr_text_add(&text, "%snot equal otherwise: %s", text.length ? "; " : "", item->differs);
    if (l0_differs(item)) {
        qsr_text_puts(&text, text.length ? "; " : "");
        put_l0(&text, item);
    }
    for (size_t i = 0; i < item->n_left_out; i++)
        qsr_text_add(&text, "%sleft out: %s", text.length ? "; " : "", item->left_out[i]);
    const char *kept = text.bytes ? qsr_arena_strdup(&sheet->arena, text.bytes) : NULL;
    qsr_text_free(&text);
    return kept;
}

static void add_item(const qsr_comparisons *all, const qsr_comparison *item, qsr_sheet *sheet)
{
    qsr_t_test w = told(&item->welch, item->no_welch), p = told(&item->paired, item->no_paired);
    const double reals[] = {item->side_a.mean,
                            item->side_a.sd,
                            item->side_b.mean,
                            item->side_b.sd,
                            w.difference,
                            w.low,
                            w.high,
                            w.t,
                            w.df,
                            w.p,
                            item->d,
                            item->g,
                            p.difference,
                            p.low,
                            p.high,
                            p.t,
                            p.df,
                            p.p,
                            item->dz,
                            item->gz};
    const size_t counts[] = {item->n_a, item->n_b, item->pairs};
    qsr_sheet_cell *cell = qsr_sheet_row(sheet);
    const double *real = reals;
    const size_t *count = counts;
    for (size_t i = 0; i < all->n_contexts; i++)
        (cell++)->word = item->context[i] ? qsr_arena_strdup(&sheet->arena, item->context[i]) : NULL;
    (cell++)->word = qsr_arena_strdup(&sheet->arena, item->a);
    (cell++)->word = qsr_arena_strdup(&sheet->arena, item->b);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++, cell++) {
        if (columns[i].kind == QSR_COLUMN_COUNT)
            cell->n = *count++;
        else
            cell->value = *real++;
    }
    cell->word = reasons(sheet, item);
}

void qsr_compare_sheet(const qsr_comparisons *all, qsr_sheet *ret)
{
    *ret = (qsr_sheet){0};
    for (size_t i = 0; i < all->n_contexts; i++) qsr_sheet_column(ret, all->contexts[i], QSR_COLUMN_WORD);
    qsr_sheet_column(ret, "a", QSR_COLUMN_WORD);
    qsr_sheet_column(ret, "b", QSR_COLUMN_WORD);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) qsr_sheet_column(ret, columns[i].name, columns[i].kind);
    qsr_sheet_column(ret, "note", QSR_COLUMN_WORD);
    for (size_t i = 0; i < all->count; i++) add_item(all, &all->items[i], ret);
}

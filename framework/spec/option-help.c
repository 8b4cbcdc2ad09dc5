#include "spec/option.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/sizes.h"

enum { NAME_COLUMN = 2, TEXT_COLUMN = 22 };

/* Appends words to a line that started at `column`, breaking before `columns` with an indent of TEXT_COLUMN. */
static void wrap(qsr_text *out, const char *text, size_t column, size_t columns)
{
    bool first = true;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (!first && column + 1 + n > columns) {
            qsr_text_add(out, "\n%*s", TEXT_COLUMN, "");
            column = TEXT_COLUMN;
        } else if (!first) {
            qsr_text_puts(out, " ");
            column++;
        }
        qsr_text_append(out, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
        first = false;
    }
    qsr_text_puts(out, "\n");
}

static void limit(qsr_text *out, double value)
{
    char buf[40];
    if (value == floor(value) && fabs(value) < 1e15)
        qsr_text_add(out, "%.0f", value);
    else
        qsr_text_puts(out, qsr_real_text(value, buf, sizeof buf));
}

/* Limits that nobody reaches (32 bits and beyond) are left out. */
static void range(qsr_text *out, const qsr_option *o)
{
    bool low = fabs(o->min) < INT32_MAX, high = fabs(o->max) < INT32_MAX;
    if (low || high) qsr_text_puts(out, ", ");
    if (low) qsr_text_puts(out, o->flags & QSR_OPT_OPEN_MIN ? "above " : "from ");
    if (low) limit(out, o->min);
    if (low && high) qsr_text_puts(out, " ");
    if (high) qsr_text_puts(out, o->flags & QSR_OPT_OPEN_MAX ? "to below " : "to ");
    if (high) limit(out, o->max);
}

/* "integer, tokens, from 1, default 4096" */
static void facts(qsr_text *out, const qsr_option *o)
{
    qsr_text_puts(out, qsr_option_type_text(o));
    for (size_t i = 0; o->choices && o->choices[i]; i++) qsr_text_add(out, "%s%s", i ? " | " : ": ", o->choices[i]);
    if (o->unit) qsr_text_add(out, ", in %s", o->unit);
    if (o->flags & QSR_OPT_RANGE) range(out, o);
    if (o->flags & QSR_OPT_REQUIRED) qsr_text_puts(out, ", required");
    if (o->flags & QSR_OPT_OPTIONAL) qsr_text_puts(out, ", may be left out");
    if (o->def) qsr_text_add(out, ", default %s", o->def);
    if (o->alias) qsr_text_add(out, ", also called %s", o->alias);
    if (o->flags & QSR_OPT_SCHEDULE) qsr_text_puts(out, ", or {from, to, over, shape}");
    if (o->flags & QSR_OPT_NO_ID) qsr_text_puts(out, ", not part of a run's identity");
    if (o->flags & QSR_OPT_DEPRECATED) qsr_text_puts(out, ", deprecated");
}

void qsr_options_help(const qsr_option_table *table, size_t columns, qsr_text *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const qsr_option *o = qsr_option_at(table, i);
        qsr_text line = {0};
        facts(&line, o);
        size_t name_end = NAME_COLUMN + strlen(o->name);
        qsr_text_add(out, "%*s%s", NAME_COLUMN, "", o->name);
        if (name_end + 2 > TEXT_COLUMN)
            qsr_text_add(out, "\n%*s", TEXT_COLUMN, "");
        else
            qsr_text_add(out, "%*s", (int)(TEXT_COLUMN - name_end), "");
        wrap(out, line.bytes, TEXT_COLUMN, columns);
        qsr_text_add(out, "%*s", TEXT_COLUMN, "");
        wrap(out, o->help ? o->help : "", TEXT_COLUMN, columns);
        if (o->cite) {
            qsr_text_add(out, "%*sSource: ", TEXT_COLUMN, "");
            wrap(out, o->cite, TEXT_COLUMN + strlen("Source: "), columns);
        }
        qsr_text_free(&line);
    }
}

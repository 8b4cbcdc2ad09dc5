#include "report/svg.h"

#include <ctype.h>
#include <string.h>

#include "report/html.h"

enum { DEEPEST = 64 };

typedef struct {
    const char *at, *end, *prefix, *label;
    qsr_text *out;
    struct {
        size_t begin; /* of the group in `out` */
        bool filled;  /* something stands in it */
    } groups[DEEPEST];
    size_t depth;
} reading;

typedef struct {
    const char *name, *value;
    size_t n_name, n_value;
    char quote;
} attribute;

/* ---- tags ------------------------------------------------------------------------------------------------------------- */

static bool is_tag(const char *tag, const char *end, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(end - tag) > n + 1 && memcmp(tag + 1, name, n) == 0 && !isalnum((unsigned char)tag[n + 1]);
}

/* The next `name="value"` at *at, before `end`; false: there is none. */
static bool next_attribute(const char **at, const char *end, attribute *ret)
{
    const char *s = *at;
    while (s < end && isspace((unsigned char)*s)) s++;
    ret->name = s;
    while (s < end && *s != '=' && !isspace((unsigned char)*s) && *s != '/' && *s != '>') s++;
    ret->n_name = (size_t)(s - ret->name);
    while (s < end && isspace((unsigned char)*s)) s++;
    if (!ret->n_name || s >= end || *s++ != '=') return false;
    while (s < end && isspace((unsigned char)*s)) s++;
    if (s >= end || (*s != '"' && *s != '\'')) return false;
    ret->quote = *s;
    ret->value = s + 1;
    const char *stop = memchr(ret->value, ret->quote, (size_t)(end - ret->value));
    if (!stop) return false;
    ret->n_value = (size_t)(stop - ret->value);
    *at = stop + 1;
    return true;
}

static bool is_named(const attribute *a, const char *name)
{
    return strlen(name) == a->n_name && memcmp(a->name, name, a->n_name) == 0;
}

/* "black", "#000000", "rgb(  0,   0,   0)". */
static bool is_black(const attribute *a)
{
    char plain[32];
    size_t n = 0;
    for (size_t i = 0; i < a->n_value && n < sizeof plain - 1; i++)
        if (a->value[i] != ' ') plain[n++] = a->value[i];
    plain[n] = 0;
    return strcmp(plain, "black") == 0 || strcmp(plain, "#000000") == 0 || strcmp(plain, "rgb(0,0,0)") == 0;
}

static bool is_colour(const attribute *a) { return is_named(a, "stroke") || is_named(a, "fill") || is_named(a, "color"); }

static void put_value(reading *r, const char *name, const char *before, const char *value, size_t n)
{
    qsr_text_add(r->out, " %s=\"%s%s-", name, before, r->prefix);
    qsr_text_append(r->out, value, n);
    qsr_text_puts(r->out, "\"");
}

/* Ids, references and black; everything else as it is. false: a reference that leads out of the figure. */
static bool put_attribute(reading *r, const attribute *a)
{
    bool local = a->n_value && a->value[0] == '#';
    if (is_named(a, "id")) {
        put_value(r, "id", "", a->value, a->n_value);
    } else if (is_named(a, "xlink:href") || is_named(a, "href")) {
        if (!local) return false;
        put_value(r, "href", "#", a->value + 1, a->n_value - 1);
    } else if (a->n_value > 6 && memcmp(a->value, "url(#", 5) == 0) {
        qsr_text_add(r->out, " %.*s=\"url(#%s-", (int)a->n_name, a->name, r->prefix);
        qsr_text_append(r->out, a->value + 5, a->n_value - 5);
        qsr_text_puts(r->out, "\"");
    } else if (is_colour(a) && is_black(a)) {
        qsr_text_add(r->out, " %.*s=\"currentColor\"", (int)a->n_name, a->name);
    } else {
        qsr_text_add(r->out, " %.*s=%c", (int)a->n_name, a->name, a->quote);
        qsr_text_append(r->out, a->value, a->n_value);
        qsr_text_append(r->out, &a->quote, 1);
    }
    return true;
}

/* The tag [tag, end), where end[-1] is '>'. */
static bool put_tag(reading *r, const char *tag, const char *end)
{
    const char *at = tag + 1;
    attribute a;
    while (at < end && (isalnum((unsigned char)*at) || *at == ':')) at++;
    qsr_text_append(r->out, tag, (size_t)(at - tag));
    while (next_attribute(&at, end, &a))
        if (!put_attribute(r, &a)) return false;
    qsr_text_puts(r->out, end[-2] == '/' ? "/>" : ">");
    return true;
}

/* Its size is in the viewBox, which scales; the page decides how wide it is. */
static void put_root(reading *r, const char *tag, const char *end)
{
    const char *at = tag + 4;
    attribute a;
    qsr_text_puts(r->out, "<svg");
    while (next_attribute(&at, end, &a))
        if (is_named(&a, "viewBox")) put_attribute(r, &a);
    qsr_text_puts(r->out, " role=\"img\" aria-label=\"");
    qsr_html_text(r->out, r->label);
    qsr_text_puts(r->out, "\">");
}

/* ---- the document --------------------------------------------------------------------------------------------------------- */

static void fill_groups(reading *r)
{
    for (size_t i = 0; i < r->depth && i < DEEPEST; i++) r->groups[i].filled = true;
}

static void open_group(reading *r)
{
    if (r->depth < DEEPEST) r->groups[r->depth].begin = r->out->length, r->groups[r->depth].filled = false;
    r->depth++;
}

static void close_group(reading *r)
{
    if (!r->depth) return;
    r->depth--;
    if (r->depth < DEEPEST && !r->groups[r->depth].filled)
        r->out->length = r->groups[r->depth].begin, r->out->bytes[r->out->length] = 0;
    else
        qsr_text_puts(r->out, "</g>\n");
}

/* Past the element that begins with this tag, without it. */
static const char *skip_element(const reading *r, const char *end, const char *closing)
{
    const char *stop = memmem(end, (size_t)(r->end - end), closing, strlen(closing));
    return stop ? stop + strlen(closing) : r->end;
}

static bool take_tag(reading *r, const char *tag, const char *end)
{
    r->at = end;
    if (is_tag(tag, end, "title") || is_tag(tag, end, "desc")) {
        r->at = skip_element(r, end, is_tag(tag, end, "title") ? "</title>" : "</desc>");
        return true;
    }
    if (is_tag(tag, end, "/g")) {
        close_group(r);
        return true;
    }
    if (is_tag(tag, end, "g"))
        open_group(r);
    else
        fill_groups(r);
    if (is_tag(tag, end, "svg")) {
        put_root(r, tag, end);
        return true;
    }
    bool closing = tag[1] == '/';
    if (closing) qsr_text_append(r->out, tag, (size_t)(end - tag));
    return closing || put_tag(r, tag, end);
}

/* Text between tags; blanks alone say nothing. */
static void take_text(reading *r)
{
    const char *stop = memchr(r->at, '<', (size_t)(r->end - r->at));
    if (!stop) stop = r->end;
    const char *first = r->at;
    while (first < stop && isspace((unsigned char)*first)) first++;
    if (first < stop) {
        fill_groups(r);
        qsr_text_append(r->out, r->at, (size_t)(stop - r->at));
    }
    r->at = stop;
}

qsr_status qsr_svg_inline(const char *svg, size_t n, const char *prefix, const char *label, qsr_text *out, qsr_error *e)
{
    reading r = {.end = svg + n, .prefix = prefix, .label = label, .out = out};
    size_t before = out->length;
    r.at = memmem(svg, n, "<svg", 4);
    if (!r.at || !memmem(r.at, (size_t)(r.end - r.at), "</svg>", 6))
        return qsr_fail(e, QSR_E_INTERNAL, "gnuplot's picture is no SVG");
    while (r.at < r.end) {
        if (*r.at != '<') {
            take_text(&r);
            continue;
        }
        const char *end = memchr(r.at, '>', (size_t)(r.end - r.at));
        if (!end || !take_tag(&r, r.at, end + 1)) {
            out->length = before, out->bytes[before] = 0;
            return qsr_fail(e, QSR_E_INTERNAL, "gnuplot's picture refers to something outside of itself");
        }
    }
    return QSR_OK;
}

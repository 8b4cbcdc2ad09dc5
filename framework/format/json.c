#include "format/json.h"

#include <math.h>
#include <string.h>

#include "base/fs.h"

qsr_status qsr_json_parse(const char *name, const char *text, size_t n, json_t **ret, qsr_error *e)
{
    json_error_t wrong;
    *ret = json_loadb(text, n, JSON_REJECT_DUPLICATES, &wrong);
    if (*ret) return QSR_OK;
    if (json_error_code(&wrong) == json_error_out_of_memory) return qsr_fail_nomem(e, name, n);
    return qsr_fail(e, QSR_E_INPUT, "%s:%d:%d: %s", name, wrong.line, wrong.column, wrong.text);
}

qsr_status qsr_json_read(const char *path, size_t limit, json_t **ret, qsr_error *e)
{
    qsr_arena arena = {0};
    char *text;
    size_t size;
    *ret = NULL;
    qsr_status status = qsr_read_file(&arena, path, limit, &text, &size, e);
    if (!status) status = qsr_json_parse(path, text, size, ret, e);
    qsr_arena_free(&arena);
    return status;
}

qsr_status qsr_json_record(const char *path, size_t line, const char *text, size_t n, json_t **ret, qsr_error *e)
{
    json_error_t wrong;
    *ret = json_loadb(text, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, &wrong);
    if (*ret) return QSR_OK;
    if (json_error_code(&wrong) == json_error_out_of_memory) return qsr_fail_nomem(e, path, n);
    return qsr_fail(e, QSR_E_INPUT, "%s:%zu:%d: %s", path, line, wrong.column, wrong.text);
}

json_t *qsr_json_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

/* The shortest text that a reader takes for the same real: "1.0" and not "1", which is an integer. */
static void put_real(qsr_text *out, double value)
{
    char text[32];
    qsr_real_text(value, text, sizeof text);
    if (!isfinite(value)) strcpy(text, "null");
    qsr_text_puts(out, text);
    if (strspn(text, "-0123456789") == strlen(text)) qsr_text_puts(out, ".0");
}

void qsr_json_quote(const char *text, size_t n, qsr_text *out)
{
    static const char short_forms[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    size_t plain = 0; /* where the bytes begin that stand as they are and are not yet written */
    qsr_text_puts(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        if (i > plain) qsr_text_append(out, text + plain, i - plain);
        plain = i + 1;
        const char *form = c ? strchr(short_forms, c) : NULL;
        if (form) qsr_text_add(out, "\\%c", letters[form - short_forms]);
        else qsr_text_add(out, "\\u%04x", (unsigned)c);
    }
    if (n > plain) qsr_text_append(out, text + plain, n - plain);
    qsr_text_puts(out, "\"");
}

/* depth < 0: compact; otherwise each element on its own line, indented by two for each level. */
static void new_line(qsr_text *out, int depth)
{
    if (depth < 0) return;
    qsr_text_puts(out, "\n");
    for (int i = 0; i < depth; i++) qsr_text_puts(out, "  ");
}

static void put_value(qsr_text *out, const json_t *value, int depth);

static void put_object(qsr_text *out, const json_t *object, int depth)
{
    int inner = depth < 0 ? depth : depth + 1;
    bool first = true;
    qsr_text_puts(out, "{");
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at;
         at = json_object_iter_next((json_t *)(uintptr_t)object, at), first = false) {
        if (!first) qsr_text_puts(out, ",");
        new_line(out, inner);
        const char *key = json_object_iter_key(at);
        qsr_json_quote(key, strlen(key), out);
        qsr_text_puts(out, depth < 0 ? ":" : ": ");
        put_value(out, json_object_iter_value(at), inner);
    }
    if (!first) new_line(out, depth);
    qsr_text_puts(out, "}");
}

static void put_array(qsr_text *out, const json_t *array, int depth)
{
    size_t n = json_array_size(array);
    int inner = depth < 0 ? depth : depth + 1;
    qsr_text_puts(out, "[");
    for (size_t i = 0; i < n; i++) {
        if (i) qsr_text_puts(out, ",");
        new_line(out, inner);
        put_value(out, json_array_get(array, i), inner);
    }
    if (n) new_line(out, depth);
    qsr_text_puts(out, "]");
}

static void put_value(qsr_text *out, const json_t *value, int depth)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(out, value, depth);
        break;
    case JSON_ARRAY:
        put_array(out, value, depth);
        break;
    case JSON_STRING:
        qsr_json_quote(json_string_value(value), json_string_length(value), out);
        break;
    case JSON_INTEGER:
        qsr_text_add(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(out, json_real_value(value));
        break;
    case JSON_TRUE:
        qsr_text_puts(out, "true");
        break;
    case JSON_FALSE:
        qsr_text_puts(out, "false");
        break;
    case JSON_NULL:
        qsr_text_puts(out, "null");
        break;
    }
}

void qsr_json_line(const json_t *value, qsr_text *out) { put_value(out, value, -1); }

void qsr_json_text(const json_t *value, qsr_text *out)
{
    put_value(out, value, 0);
    qsr_text_puts(out, "\n");
}

qsr_status qsr_json_write(const char *path, const json_t *value, qsr_error *e)
{
    qsr_text text = {0};
    qsr_json_text(value, &text);
    qsr_status status = qsr_write_file(path, text.bytes, text.length, e);
    qsr_text_free(&text);
    return status;
}

#include "format/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/text.h"

#define BLANK "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
static const char pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" BLANK "\\p{L}\\p{N}]+|[" BLANK "]+(?![^" BLANK "])|[" BLANK "]+";

struct qsr_splitter {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    bool jit, plain;
};

static qsr_status fail(qsr_error *e, const char *doing, int code)
{
    char text[256];
    pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text);
    return qsr_fail(e, code == PCRE2_ERROR_NOMEMORY ? QSR_E_NOMEM : QSR_E_INTERNAL, "%s words: PCRE2: %s", doing, text);
}

qsr_status qsr_splitter_new(qsr_splitter **ret, qsr_error *e)
{
    int code;
    size_t place;
    qsr_splitter *s = qsr_xcalloc(1, sizeof *s);
    s->code =
        pcre2_compile((PCRE2_SPTR)pattern, sizeof pattern - 1, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &place, NULL);
    if (!s->code) {
        qsr_splitter_free(s);
        return fail(e, "preparing to split", code);
    }
    s->jit = pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE) == 0; /* some systems forbid it; then matching is slower */
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(32 << 10, 1 << 20, NULL);
    if (!s->match || !s->context || !s->stack) {
        qsr_splitter_free(s);
        return fail(e, "preparing to split", PCRE2_ERROR_NOMEMORY);
    }
    pcre2_jit_stack_assign(s->context, NULL, s->stack);
    *ret = s;
    return QSR_OK;
}

void qsr_splitter_free(qsr_splitter *s)
{
    if (!s) return;
    pcre2_jit_stack_free(s->stack);
    pcre2_match_context_free(s->context);
    pcre2_match_data_free(s->match);
    pcre2_code_free(s->code);
    free(s);
}

void qsr_splitter_plain(qsr_splitter *s, bool on) { s->plain = on; }

/* ---- ASCII, without the pattern ---------------------------------------------------------------------------------- */

enum { OTHER, LETTER, DIGIT, SPACE, WIDE };

static inline int kind_of(unsigned char c)
{
    if ((unsigned char)((c | 0x20) - 'a') < 26) return LETTER;
    if ((unsigned char)(c - '0') < 10) return DIGIT;
    if (c == ' ' || (unsigned char)(c - '\t') < 5) return SPACE;
    return c < 0x80 ? OTHER : WIDE;
}

/* The end of a word of ASCII letters, digits or signs, maybe with the blank before it, that ASCII follows. 0: the pattern must
 * decide, because of a character beyond ASCII, an apostrophe, white space of other kinds, or the end of the text. */
static size_t ascii_end(const char *text, size_t n, size_t at)
{
    size_t i = at;
    if (text[i] == ' ') i++;
    const int kind = i < n ? kind_of((unsigned char)text[i]) : WIDE;
    if (kind >= SPACE || (i == at && text[i] == '\'')) return 0;
    while (i < n && kind_of((unsigned char)text[i]) == kind) i++;
    return i < n && kind_of((unsigned char)text[i]) != WIDE ? i : 0;
}

qsr_status qsr_splitter_next(qsr_splitter *s, const char *text, size_t n, size_t at, size_t *ret_end, qsr_error *e)
{
    const size_t end = s->plain ? 0 : ascii_end(text, n, at);
    if (end) {
        *ret_end = end;
        return QSR_OK;
    }
    const PCRE2_SPTR subject = (PCRE2_SPTR)text;
    const int code = s->jit ? pcre2_jit_match(s->code, subject, n, at, 0, s->match, s->context)
                            : pcre2_match(s->code, subject, n, at, PCRE2_NO_UTF_CHECK, s->match, s->context);
    if (code < 0) return fail(e, "splitting", code);
    *ret_end = pcre2_get_ovector_pointer(s->match)[1];
    return QSR_OK;
}

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

size_t qsr_utf8_valid(const char *text, size_t n, size_t from)
{
    size_t at = from;
    while (at < n) {
        uint64_t eight;
        if (n - at >= 8 && (memcpy(&eight, text + at, 8), !(eight & UINT64_C(0x8080808080808080)))) {
            at += 8;
            continue;
        }
        uint32_t c;
        const size_t length = qsr_utf8_at(text + at, n - at, &c);
        if (!length) break;
        at += length;
    }
    return at - from;
}

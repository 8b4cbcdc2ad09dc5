#include "report/html.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_utf8(qsr_text *out, uint32_t c)
{
    char bytes[3] = {(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))};
    qsr_text_append(out, bytes, sizeof bytes);
}

/* Noncharacters and the C1 controls; directions that would reorder the page's own text. */
static bool is_forbidden(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void put_character(qsr_text *out, const char *at, size_t length, uint32_t c, bool visible)
{
    static const struct {
        char from;
        const char *to;
    } markup[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    for (size_t i = 0; i < sizeof markup / sizeof *markup; i++)
        if (c == (unsigned char)markup[i].from) {
            qsr_text_puts(out, markup[i].to);
            return;
        }
    if ((c == '\n' || c == '\t') && !visible)
        qsr_text_append(out, at, 1);
    else if (c < 0x20 || c == 0x7f)
        put_utf8(out, c == 0x7f ? 0x2421 : 0x2400 + c);
    else if (is_forbidden(c))
        put_utf8(out, 0xfffd);
    else
        qsr_text_append(out, at, length);
}

static void put(qsr_text *out, const char *bytes, size_t n, bool visible)
{
    qsr_text_puts(out, "");
    while (n) {
        uint32_t c = 0;
        size_t length = qsr_utf8_at(bytes, n, &c);
        if (length)
            put_character(out, bytes, length, c, visible);
        else
            put_utf8(out, 0xfffd), length = 1;
        bytes += length;
        n -= length;
    }
}

void qsr_html_bytes(qsr_text *out, const char *bytes, size_t n) { put(out, bytes, n, false); }

void qsr_html_text(qsr_text *out, const char *text)
{
    if (text) put(out, text, strlen(text), false);
}

void qsr_html_visible(qsr_text *out, const char *text)
{
    if (text) put(out, text, strlen(text), true);
}

void qsr_html_add(qsr_text *out, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n >= 0) {
        put(out, text, (size_t)n, false);
        free(text);
    }
}

void qsr_shell_word(qsr_text *out, const char *word)
{
    if (*word && !word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./=:,+@%-")]) {
        qsr_text_puts(out, word);
        return;
    }
    qsr_text_puts(out, "'");
    for (; *word; word++) qsr_text_add(out, *word == '\'' ? "'\\''" : "%c", *word);
    qsr_text_puts(out, "'");
}

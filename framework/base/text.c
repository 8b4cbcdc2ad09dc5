#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/sizes.h"

static void reserve(qsr_text *t, size_t more)
{
    size_t need = t->length + more + 1;
    if (need <= t->capacity) return;
    t->capacity = qsr_max_size(need, t->capacity * 2);
    t->bytes = qsr_xrealloc(t->bytes, t->capacity, 1);
}

void qsr_text_append(qsr_text *t, const void *bytes, size_t n)
{
    reserve(t, n);
    if (n) memcpy(t->bytes + t->length, bytes, n);
    t->length += n;
    t->bytes[t->length] = 0;
}

void qsr_text_puts(qsr_text *t, const char *text) { qsr_text_append(t, text, strlen(text)); }

void qsr_text_add(qsr_text *t, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n > 0) {
        reserve(t, (size_t)n);
        vsnprintf(t->bytes + t->length, (size_t)n + 1, fmt, again);
        t->length += (size_t)n;
    }
    va_end(again);
}

void qsr_text_free(qsr_text *t)
{
    free(t->bytes);
    *t = (qsr_text){0};
}

/* One "C" locale object for the life of the process: numbers in specs and files must not depend on LC_NUMERIC. */
static locale_t plain_locale;
static void make_plain_locale(void) { plain_locale = newlocale(LC_ALL_MASK, "C", NULL); }

static locale_t c_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_plain_locale);
    return plain_locale;
}

static double real_from(const char *text, char **end)
{
    locale_t old = uselocale(c_locale());
    errno = 0;
    double value = strtod(text, end);
    uselocale(old);
    return value;
}

/* Not inlined: with UBSan's null checks around it, gcc 12 takes buf for NULL (-Wformat-truncation). */
__attribute__((noinline)) static void print_real(char *buf, size_t n, int digits, double value)
{
    locale_t old = uselocale(c_locale());
    snprintf(buf, n, "%.*g", digits, value);
    uselocale(old);
}

/* A text of up to DBL_DIG (FLT_DIG) digits survives the way to a normal number and back to as many digits, and %g drops zeros at its
 * end: so the search for the shortest may begin there. */
const char *qsr_real_text(double value, char *buf, size_t n)
{
    for (int digits = isnormal(value) ? DBL_DIG : 1; digits <= 17; digits++) {
        print_real(buf, n, digits, value);
        if (real_from(buf, NULL) == value) break;
    }
    return isnan(value) ? strcpy(buf, "nan") : buf; /* never "-nan" */
}

const char *qsr_float_text(float value, char *buf, size_t n)
{
    for (int digits = isnormal(value) ? FLT_DIG : 1; digits <= 9; digits++) {
        print_real(buf, n, digits, value);
        if ((float)real_from(buf, NULL) == value) break;
    }
    return isnan(value) ? strcpy(buf, "nan") : buf;
}

/* Copies a number without its '_' separators; false when one is not between digits or the text is too long. */
static bool ungroup(const char *text, char *out, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; text[i]; i++) {
        if (text[i] == '_') {
            if (i == 0 || !isdigit((unsigned char)text[i - 1]) || !isdigit((unsigned char)text[i + 1])) return false;
            continue;
        }
        if (used + 1 >= n) return false;
        out[used++] = text[i];
    }
    out[used] = 0;
    return used > 0;
}

bool qsr_parse_uint(const char *text, uint64_t *ret)
{
    char plain[64];
    if (!ungroup(text, plain, sizeof plain)) return false;
    const char *digits = plain + (plain[0] == '+');
    if (!*digits || strspn(digits, "0123456789") != strlen(digits)) return false;
    errno = 0;
    unsigned long long value = strtoull(digits, NULL, 10);
    if (errno) return false;
    *ret = value;
    return true;
}

bool qsr_parse_int(const char *text, int64_t *ret)
{
    bool negative = text[0] == '-';
    uint64_t magnitude;
    if ((negative && text[1] == '+') || !qsr_parse_uint(text + negative, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + negative) return false;
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

static bool parse_decimal(const char *text, double *ret)
{
    char plain[128];
    if (!ungroup(text, plain, sizeof plain)) return false;
    if (strspn(plain, "0123456789+-.eE") != strlen(plain)) return false;
    char *end;
    double value = real_from(plain, &end);
    if (*end || end == plain || !isfinite(value)) return false;
    *ret = value;
    return true;
}

bool qsr_parse_real(const char *text, double *ret)
{
    const char *slash = strchr(text, '/');
    if (!slash) return parse_decimal(text, ret);
    char above[128];
    size_t n = (size_t)(slash - text);
    if (n >= sizeof above) return false;
    memcpy(above, text, n);
    above[n] = 0;
    double numerator, denominator;
    if (!parse_decimal(above, &numerator) || !parse_decimal(slash + 1, &denominator) || denominator == 0) return false;
    double value = numerator / denominator;
    if (!isfinite(value)) return false;
    *ret = value;
    return true;
}

/* Optimal string alignment distance (Damerau-Levenshtein without overlapping edits). */
size_t qsr_edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST) return qsr_max_size(n, m);
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= n; i++) d[i][0] = i;
    for (size_t j = 0; j <= m; j++) d[0][j] = j;
    for (size_t i = 1; i <= n; i++)
        for (size_t j = 1; j <= m; j++) {
            size_t substitute = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            size_t best = qsr_min_size(substitute, qsr_min_size(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = qsr_min_size(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[n][m];
}

const char *qsr_nearest(const char *word, const char *const *words)
{
    const char *best = NULL;
    size_t best_distance = strlen(word) / 3 + 2; /* one edit for short words, more for long ones */
    for (; words && *words; words++) {
        size_t distance = qsr_edit_distance(word, *words);
        if (distance < best_distance && distance < strlen(*words)) best = *words, best_distance = distance;
    }
    return best;
}

size_t qsr_utf8_at(const char *text, size_t n, uint32_t *ret)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    if (!n) return 0;
    size_t length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (!length || length > n) return 0;
    uint32_t c = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (s[i] >> 6 != 2) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) return 0;
    *ret = c;
    return length;
}

bool qsr_starts_with(const char *text, const char *prefix) { return strncmp(text, prefix, strlen(prefix)) == 0; }

bool qsr_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

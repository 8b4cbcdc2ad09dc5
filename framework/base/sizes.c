#include "base/sizes.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

const char *qsr_size_text(size_t bytes, char *buf, size_t n)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= (unit ? 1023.5 : 1024) && unit < 6) value /= 1024, unit++; /* what would be rounded to 1024 goes up */
    snprintf(buf, n, unit == 0 || value >= 99.95 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return buf;
}

bool qsr_size_parse(const char *text, size_t *ret_bytes)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1},           {"b", 1},           {"k", 1024.},          {"kib", 1024.},        {"kb", 1e3},
                 {"m", 1048576.},   {"mib", 1048576.},  {"mb", 1e6},           {"g", 1073741824.},    {"gib", 1073741824.},
                 {"gb", 1e9},       {"t", 1099511627776.}, {"tib", 1099511627776.}, {"tb", 1e12}};
    char number[64];
    size_t n = strspn(text, "0123456789._");
    if (n == 0 || n >= sizeof number) return false;
    memcpy(number, text, n);
    number[n] = 0;
    double value;
    if (!qsr_parse_real(number, &value)) return false;
    while (isspace((unsigned char)text[n])) n++;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(text + n, units[i].name) != 0) continue;
        double bytes = value * units[i].factor;
        if (!(bytes >= 0 && bytes < 9e18)) return false;
        *ret_bytes = (size_t)bytes;
        return true;
    }
    return false;
}

const char *qsr_duration_text(double seconds, char *buf, size_t n)
{
    if (!(seconds >= 0) || isinf(seconds)) {
        snprintf(buf, n, "?");
    } else if (seconds < 9.95) { /* limits where the rounded text changes */
        snprintf(buf, n, "%.1f s", seconds);
    } else if (seconds < 99.5) {
        snprintf(buf, n, "%.0f s", seconds);
    } else if (seconds < 3599.5) {
        long whole = (long)(seconds + 0.5);
        snprintf(buf, n, "%ld min %02ld s", whole / 60, whole % 60);
    } else {
        long minutes = (long)(seconds / 60 + 0.5);
        snprintf(buf, n, "%ld h %02ld min", minutes / 60, minutes % 60);
    }
    return buf;
}

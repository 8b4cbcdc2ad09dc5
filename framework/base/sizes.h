/* base/sizes: sizes that cannot overflow silently, as text for people. */
#ifndef QSR_BASE_SIZES_H
#define QSR_BASE_SIZES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* *ret = a * b (a + b); false when that does not fit, leaving *ret alone. */
static inline bool qsr_mul_size(size_t a, size_t b, size_t *ret)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *ret = product;
    return true;
}

static inline bool qsr_add_size(size_t a, size_t b, size_t *ret)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *ret = sum;
    return true;
}

static inline size_t qsr_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }
static inline size_t qsr_div_up(size_t n, size_t d) { return n / d + (n % d != 0); }
static inline size_t qsr_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t qsr_max_size(size_t a, size_t b) { return a > b ? a : b; }

/* "3.1 GiB" into buf; returns buf. */
const char *qsr_size_text(size_t bytes, char *buf, size_t n);
/* "8GiB", "512 MB", "4096" to bytes; false when it is none of these. */
bool qsr_size_parse(const char *text, size_t *ret_bytes);
/* "1 h 02 min", "12 s" into buf; returns buf. */
const char *qsr_duration_text(double seconds, char *buf, size_t n);
#endif

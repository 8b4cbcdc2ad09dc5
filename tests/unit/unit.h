/* tests/unit/unit.h: cmocka's prerequisites in their order, and small helpers. */
#ifndef QSR_TESTS_UNIT_H
#define QSR_TESTS_UNIT_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* |a - b| <= tolerance * max(1, |a|, |b|): cmocka 1.1.5 has no comparison of doubles. */
static inline void assert_close_(double a, double b, double tolerance, const char *file, int line)
{
    double scale = fmax(1, fmax(fabs(a), fabs(b)));
    if (fabs(a - b) <= tolerance * scale) return;
    print_error("%.17g and %.17g differ by more than %g\n", a, b, tolerance * scale);
    _fail(file, line);
}
#define assert_close(a_, b_, tolerance_) assert_close_(a_, b_, tolerance_, __FILE__, __LINE__)

/* A fresh folder for this test program, removed by the caller or by `make clean`. */
static inline const char *test_folder(void)
{
    static char path[] = "/tmp/quasar-test-XXXXXX";
    static int made;
    if (!made) made = mkdtemp(path) != NULL;
    return path;
}
#endif

/* tests/unit/zip-fixture: ZIP files as NumPy and PyTorch write them, and with lies in them. */
#ifndef QSR_TESTS_ZIP_FIXTURE_H
#define QSR_TESTS_ZIP_FIXTURE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

typedef struct {
    const char *name;
    const void *bytes;
    size_t n;
    bool deflated;
    int64_t size, method, flags, crc; /* what the entry says instead; -1: the truth (0 for flags) */
} zip_member;

/* The whole archive, appended to `out`. */
void zip_fixture(const zip_member *, size_t n, qsr_text *out);
#endif

/* Texts of arbitrary bytes, in each way a file can be called: documents that end, or a reason. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "format/documents.h"
#include "fuzz.h"

static const char *const names[] = {"a.txt", "a.jsonl", "a.jsonl.gz", "a.jsonl.zst"};
enum { NAMES = sizeof names / sizeof *names };

static qsr_status walk(const char *path)
{
    qsr_documents *d;
    qsr_error e = {0};
    const char *bytes;
    size_t n, sum = 0;
    qsr_status status = qsr_documents_open(path, &d, &e);
    if (status) abort();
    while (!status && !(status = qsr_documents_next(d, &e)))
        for (n = 1; n && !(status = qsr_documents_read(d, &bytes, &n, &e));)
            for (size_t i = 0; i < n; i++) sum += (unsigned char)bytes[i];
    qsr_documents_close(d);
    if (status < 0 && (status != QSR_E_INPUT || !e.text[0])) abort();
    volatile size_t keep = sum; /* every byte was read */
    (void)keep;
    return status == QSR_END ? QSR_OK : status;
}

static char folder[] = "/tmp/quasar-fuzz-XXXXXX", links[NAMES][64];

static void remove_folder(void)
{
    for (size_t i = 0; i < NAMES; i++) unlink(links[i]);
    rmdir(folder);
}

/* The file at hand under each name. */
static void name_it(const char *path)
{
    static char before[4096];
    if (!links[0][0] && (!mkdtemp(folder) || atexit(remove_folder))) abort();
    for (size_t i = 0; i < NAMES && strcmp(before, path) != 0; i++) {
        snprintf(links[i], sizeof links[i], "%s/%s", folder, names[i]);
        unlink(links[i]);
        if (symlink(path, links[i]) != 0) abort();
    }
    snprintf(before, sizeof before, "%s", path);
}

/* Accepted when one of the names that check something is content. */
int fuzz_read(const char *path)
{
    size_t good = 0;
    name_it(path);
    for (size_t i = 0; i < NAMES; i++) {
        const bool accepted = walk(links[i]) == QSR_OK;
        if (i == 0 && !accepted) abort(); /* any bytes are a .txt */
        good += i > 0 && accepted;
    }
    return good == 0;
}

bool fuzz_seed(size_t i, const char *path)
{
    static const char lines[] =
        "{\"text\": \"one\"}\n{\"text\": \"two\", \"n\": [1, 2.5e3, null]}\n\n{\"text\": \"\\u00e9\"}";
    /* the same two lines through `gzip -n` and `zstd` */
    static const unsigned char gzip[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab,
                                         0x56, 0x2a, 0x49, 0xad, 0x28, 0x51, 0xb2, 0x52, 0x50, 0xca, 0xcf,
                                         0x4b, 0x55, 0xaa, 0xe5, 0xaa, 0x86, 0xf3, 0x4b, 0xca, 0xf3, 0x81,
                                         0x7c, 0x00, 0xd1, 0x5b, 0x69, 0xd5, 0x20, 0x00, 0x00, 0x00};
    static const unsigned char zstd[] = {0x28, 0xb5, 0x2f, 0xfd, 0x24, 0x20, 0xe5, 0x00, 0x00, 0xb0, 0x7b, 0x22, 0x74, 0x65,
                                         0x78, 0x74, 0x22, 0x3a, 0x20, 0x22, 0x6f, 0x6e, 0x65, 0x22, 0x7d, 0x0a, 0x74, 0x77,
                                         0x6f, 0x22, 0x7d, 0x0a, 0x01, 0x00, 0x66, 0x9b, 0x4b, 0x6f, 0x2d, 0x2a, 0x9f};
    const void *const seeds[] = {lines, gzip, zstd};
    const size_t sizes[] = {sizeof lines - 1, sizeof gzip, sizeof zstd};
    return i < sizeof sizes / sizeof *sizes && qsr_write_file(path, seeds[i], sizes[i], NULL) == QSR_OK;
}

void fuzz_repair(uint8_t *bytes, size_t n) { (void)bytes, (void)n; }

/* A tokenizer.json with arbitrary bytes in it: refused, or encodes any bytes so that they come back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "format/tokenizer.h"
#include "fuzz.h"

static char folder[] = "/tmp/quasar-fuzz-XXXXXX", name[64];

static void remove_folder(void)
{
    unlink(name);
    rmdir(folder);
}

/* The reader wants a folder: one whose tokenizer.json is a link to the file at hand. */
static const char *folder_with(const char *path)
{
    static char before[4096];
    if (!name[0]) {
        if (!mkdtemp(folder) || atexit(remove_folder)) abort();
        snprintf(name, sizeof name, "%s/tokenizer.json", folder);
    }
    if (strcmp(before, path) != 0) {
        unlink(name);
        if (symlink(path, name) != 0) abort();
        snprintf(before, sizeof before, "%s", path);
    }
    return folder;
}

static void encode(qsr_tokenizer *t)
{
    static const char text[] = "ab abab  ab<|endoftext|>\xff\xc3\xa9 baabbaab don't "
                               "abababababababababababababababababababababababababababababababababab";
    qsr_ids ids = {0};
    size_t at = 0, n;
    qsr_status status = qsr_tokenizer_put(t, text, sizeof text, &ids, NULL);
    if (!status) status = qsr_tokenizer_finish(t, &ids, NULL);
    for (size_t i = 0; i < ids.n && !status; i++, at += n) {
        const char *token = qsr_vocabulary_text(qsr_tokenizer_vocabulary(t), ids.items[i], &n);
        if (!token || n > sizeof text - at || memcmp(token, text + at, n) || ids.items[i] > qsr_tokenizer_largest(t))
            abort();
    }
    if (!status && at != sizeof text) abort();
    free(ids.items);
}

int fuzz_read(const char *path)
{
    qsr_tokenizer *t;
    qsr_error e = {0};
    if (qsr_tokenizer_open(folder_with(path), &t, &e)) {
        if (!e.text[0] || (e.code != QSR_E_INPUT && e.code != QSR_E_UNSUPPORTED)) abort();
        return 1;
    }
    encode(t);
    qsr_tokenizer_close(t);
    return 0;
}

bool fuzz_seed(size_t i, const char *path)
{
    static const char *const seeds[] = {
        "{\"added_tokens\": [{\"id\": 12, \"content\": \"<|endoftext|>\"}], \"normalizer\": null, \"pre_tokenizer\": "
        "{\"type\": \"ByteLevel\"}, "
        "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"\xc4\xa0\": 2, \"ab\": 3, \"\xc4\xa0"
        "ab\": 4, \"abab\": 5}, "
        "\"merges\": [\"a b\", \"\xc4\xa0 ab\", \"ab ab\"]}}",
        "{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"ba\": 3, "
        "\"<|endoftext|>\": 7}, "
        "\"merges\": [[\"b\", \"a\"]]}}",
    };
    return i < sizeof seeds / sizeof *seeds && qsr_write_file(path, seeds[i], strlen(seeds[i]), NULL) == QSR_OK;
}

void fuzz_repair(uint8_t *bytes, size_t n) { (void)bytes, (void)n; }

/* tests/fuzz/fuzz: a reader under arbitrary bytes. Each fuzz_<format>.c implements three functions; it is run in two ways:
 *   smoke.c      a fixed number of deterministic mutations of the seeds, part of `make check`
 *   libFuzzer    clang -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -Iframework -Iframework/include -o fuzz_npy \
 *                    tests/fuzz/fuzz_npy.c tests/fuzz/fuzz.c framework/{format,base}/[a-z]*.c -ljansson -lxxhash -lpcre2-8 -lz \
 *                    -lzstd -lm */
#ifndef QSR_TESTS_FUZZ_H
#define QSR_TESTS_FUZZ_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens a file, reads all there is to read, and aborts when a promise of the reader is broken. 0: accepted, 1: refused. */
int fuzz_read(const char *path);
/* Writes the i-th good file to `path`; false: there are no more. */
bool fuzz_seed(size_t i, const char *path);
/* Makes a mutated file's header length fit its header again, so that mutations get past the first check. */
void fuzz_repair(uint8_t *bytes, size_t n);

/* Puts the bytes into a file of this process and returns its path. */
const char *fuzz_file(const uint8_t *bytes, size_t n);
/* libFuzzer's entry: fuzz_read of fuzz_file. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
#endif

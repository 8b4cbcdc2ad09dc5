/* format/bytelevel: GPT-2's spelling of bytes in its vocabulary: each of the 256 bytes is a printable character. Printable Latin-1
 * stands for itself, the other 68 bytes are U+0100 and on, in order: a blank is 'Ġ' (bytes_to_unicode of gpt-2's encoder.py). */
#ifndef QSR_FORMAT_BYTELEVEL_H
#define QSR_FORMAT_BYTELEVEL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The character of a byte as UTF-8 (at most 2 bytes, NUL-terminated). */
void qsr_bytelevel_spell(unsigned char byte, char out[3]);
/* The bytes that the n bytes of UTF-8 at `text` spell, into out (n bytes of room): *ret_n of them; false: another character is
 * among them. */
bool qsr_bytelevel_read(const char *text, size_t n, char *out, size_t *ret_n);
#endif

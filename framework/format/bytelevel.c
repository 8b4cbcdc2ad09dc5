#include "format/bytelevel.h"

static bool is_itself(unsigned c) { return (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff); }

/* The k-th byte that is not itself, in order, is U+0100 + k: 0..32, 127..160, 173. */
static unsigned other(unsigned k) { return k < 33 ? k : k < 67 ? 127 + (k - 33) : 173; }

void qsr_bytelevel_spell(unsigned char byte, char out[3])
{
    unsigned c = byte;
    if (!is_itself(c)) c = 256 + (c < 33 ? c : c < 161 ? 33 + (c - 127) : 67);
    if (c < 0x80) {
        out[0] = (char)c, out[1] = 0;
        return;
    }
    out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 0x3f)), out[2] = 0;
}

bool qsr_bytelevel_read(const char *text, size_t n, char *out, size_t *ret_n)
{
    const unsigned char *t = (const unsigned char *)text;
    size_t made = 0;
    for (size_t i = 0; i < n; made++) {
        unsigned c = t[i++];
        if (c >= 0x80) {
            if ((c & 0xe0) != 0xc0 || i == n || (t[i] & 0xc0) != 0x80) return false;
            c = (c & 0x1f) << 6 | (t[i++] & 0x3f);
        }
        if (c >= 256 + 68 || (c < 256 && !is_itself(c))) return false;
        out[made] = (char)(c < 256 ? c : other(c - 256));
    }
    *ret_n = made;
    return true;
}

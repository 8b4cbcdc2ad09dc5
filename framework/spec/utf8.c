#include "spec/utf8.h"

bool qsr_utf8_shows(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return false;
    if (c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069)) return false;
    return c != 0xfeff && (c & 0xfffe) != 0xfffe;
}

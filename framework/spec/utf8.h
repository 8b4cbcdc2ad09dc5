/* spec/utf8: what of a text that cannot be trusted may be shown. qsr_utf8_at (base/text) reads it. */
#ifndef QSR_SPEC_UTF8_H
#define QSR_SPEC_UTF8_H
#include "base/text.h"

/* Shows as itself on a terminal and in an editor: no control, no direction override, no line separator, no byte-order mark. */
bool qsr_utf8_shows(uint32_t c);
#endif

/* gpt2/text: texts as a file of token ids, made when they are first used and kept in the user's cache.
 *
 * Contexts are read in any order, over and over, by resumed runs too, so texts are encoded once, whole. The file is called after the
 * digests of texts and tokenizer: whatever changes gives another one. It is kept in $QUASAR_CACHE/tokens, else
 * $XDG_CACHE_HOME/quasar/tokens, else ~/.cache/quasar/tokens; where none of these can be written, in $TMPDIR, for this process
 * alone. What was not used for 30 days is removed when another is made. */
#ifndef GPT2_TEXT_H
#define GPT2_TEXT_H
#include <stdbool.h>

#include "base/arena.h"

typedef struct {
    const char *path; /* of the .npy; lives in the arena */
    bool temporary;   /* for this process alone */
    uint32_t end;     /* the id before each document */
} gpt2_text;

/* `texts` are files and patterns; ids must be below `vocabulary`. Several processes may do this at once: one works, the others wait.
 * What takes long is told through host->log. */
qsr_status gpt2_text_encode(const qsr_host *, const qsr_strings *texts, const char *folder, size_t vocabulary, qsr_arena *,
                            gpt2_text *ret, qsr_error *e);
/* The file is open, or will not be: one for this process alone need not be seen any more. */
void gpt2_text_opened(const gpt2_text *);
#endif

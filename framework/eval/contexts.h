/* eval/contexts: the rows on which each latent was most active, with the text around them; top_contexts.jsonl has a line per latent:
 *
 *     {"latent":7,"contexts":[{"unit":412,"row":31,"activation":5.25,"token":262,"before":"in","text":" the","after":" end","document":9}]}
 *
 * largest activation first, at most one context of a unit. unit and row are the dataset's own numbers (rows left out by skip_first are
 * counted). token, document: where the dataset knows them (plugin.h, "quasar.tokens/1"). before, text, after: where it also has a
 * vocabulary; they stay inside the unit. Bytes that are no UTF-8 character (half of one, at the edge of a token) and NUL become
 * U+FFFD, so every line is valid JSON; the token's id tells what was there. */
#ifndef QSR_EVAL_CONTEXTS_H
#define QSR_EVAL_CONTEXTS_H
#include "base/text.h"
#include "data/dataset.h"
#include "eval/latents.h"

typedef struct {
    size_t before, after; /* tokens of text on either side */
} qsr_context_width;

/* Whole or not at all. Holds about 16 MiB, whatever there is to write. */
qsr_status qsr_contexts_write(const qsr_latents *, const char *path, const qsr_dataset *, qsr_context_width, qsr_error *e);

/* The bytes as UTF-8: what is no character becomes U+FFFD, as does NUL. */
void qsr_contexts_clean(const char *bytes, size_t n, qsr_text *out);
#endif

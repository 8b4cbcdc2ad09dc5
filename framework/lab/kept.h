/* lab/kept: the files of a completed cell, noted in its manifest when it ends and looked for later: one that is gone or was cut
 * must not count as done. Lengths and a header are looked at, no contents, so that a folder of many runs is answered for at once. */
#ifndef QSR_LAB_KEPT_H
#define QSR_LAB_KEPT_H
#include <stdint.h>

#include "base/arena.h"
#include "format/json.h"

/* {"metrics.jsonl": bytes, ...} of those results that are in the folder, for "files" of its manifest. */
json_t *qsr_kept_note(const char *folder);
/* Why a completed cell is not whole any more: "sae/cfg.json is missing". NULL: it is. Without "files" in the manifest (runs of
 * before it had them) the autoencoder's header and the last logged step are held against each other and the result. The text
 * lives in the arena. */
const char *qsr_kept_lost(qsr_arena *, const char *folder, const json_t *manifest, const json_t *result);
/* Steps done according to the last whole line of metrics.jsonl; 0: none. */
uint64_t qsr_kept_logged_step(const char *folder);
#endif

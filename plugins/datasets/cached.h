/* datasets/cached: caches that `quasar cache` wrote (format/cache.h) as a dataset: a unit is a unit of the dataset that computed the
 * rows, so that training from a cache is training from that dataset. Several hooks of one model are taps.
 *
 * A cache may still be written by another process: its units are known from the beginning, and a read waits for a shard as long
 * as somebody holds the writer's lock. */
#ifndef QSR_DATASETS_CACHED_H
#define QSR_DATASETS_CACHED_H
#include "exclude.h"
#include "format/cache.h"

/* What the dataset must have been; NULL, -1, 0: whatever it was. */
typedef struct {
    const char *cache, *model, *site, *convention;
    int64_t layer, context;
} cached_wish;

typedef struct cached cached;

/* For n wishes that differ in site and layer alone. On failure *ret_tap is the one at fault. */
qsr_status cached_open(const qsr_host *, const cached_wish *wishes, size_t n, const qsr_strings *exclude, size_t *ret_tap,
                       cached **ret);
void cached_close(cached *); /* NULL is fine */

void cached_describe(const cached *, qsr_dataset_info *ret_info);
qsr_status cached_read(const cached *, const uint64_t *units, size_t n, float *const *out /* [taps], NULL: not wanted */);
qsr_status cached_tokens(const cached *, const uint64_t *units, size_t n, int64_t *ret_token, uint64_t *ret_document);
const char *cached_text(const cached *, int64_t token, size_t *ret_bytes);
qsr_status cached_mask(const cached *, const uint64_t *units, size_t n, uint8_t *ret_keep);
int64_t cached_special(const cached *, const char *name);
const char *cached_option(const cached *, size_t tap, const char *name);
#endif

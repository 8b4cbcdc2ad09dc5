/* format/cache: a folder of stored hidden states: what they are (cache.json) and the rows, cut into shards of whole units.
 *
 * cache.json is there before the first shard and says everything about the finished cache, so that units and with them the held-out
 * split are known from the beginning. Shard i holds the units from i * units_per_shard on and appears whole:
 *
 *     activation  [rows][d_in], of the cache's dtype, in the order of units
 *     tokens      I32 [rows]    what each row stands for; this and the next only where "tokens" is true
 *     documents   I64 [rows]    the number of its document, from 0
 *
 * rows being all rows of its units: nothing is left out in a cache. vocabulary.safetensors, where there is one, has the texts of
 * tokens: `bytes` U8, and I64 `ends`[n], where the text of each id ends in them. */
#ifndef QSR_FORMAT_CACHE_H
#define QSR_FORMAT_CACHE_H
#include "format/json.h"
#include "format/safetensors.h"

typedef struct {
    json_t *root;       /* of cache.json */
    const char *folder; /* as opened; these texts live with the cache */
    const char *id;     /* digest of all that decides the bytes; equal ids are parts of one cache */
    uint64_t units;
    size_t rows_per_unit, d_in;
    uint64_t units_per_shard, shards;
    qsr_dtype dtype;
    bool tokens, complete;
    qsr_arena arena;
} qsr_cache;

/* Everything in it has been checked: sizes are at least 1 and their product in bytes fits. */
qsr_status qsr_cache_open(const char *folder, qsr_cache *ret, qsr_error *e);
/* The same for a cache.json in memory; takes `root`. */
qsr_status qsr_cache_from(const char *folder, json_t *root, qsr_cache *ret, qsr_error *e);
void qsr_cache_close(qsr_cache *);         /* {0} is fine */
bool qsr_cache_exists(const char *folder); /* a folder with a cache.json */

char *qsr_cache_file(qsr_arena *, const char *folder); /* of cache.json */
char *qsr_cache_shard_file(qsr_arena *, const char *folder, uint64_t shard);
size_t qsr_cache_shard_units(const qsr_cache *, uint64_t shard); /* the last one may have fewer */
/* What an option of the dataset was set to that computed the rows; NULL: it has no such option, or it was left out. */
const char *qsr_cache_option(const qsr_cache *, const char *name);
/* The id of a special token ("bos"); -1: not known. */
int64_t qsr_cache_special(const qsr_cache *, const char *name);

typedef struct {
    qsr_safetensors *file;
    const qsr_tensor *activation, *tokens, *documents; /* the latter two NULL without tokens */
} qsr_cache_shard;

/* QSR_E_INPUT for a file that is not what the cache says. *ret is {0} then. */
qsr_status qsr_cache_shard_open(const qsr_cache *, uint64_t shard, qsr_cache_shard *ret, qsr_error *e);
void qsr_cache_shard_close(qsr_cache_shard *);
#endif

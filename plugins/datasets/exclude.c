#include "exclude.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"

static qsr_status find_name(const qsr_host *host, const char *word, const exclude_name *names, size_t n, int64_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i].name, word) != 0) continue;
        *ret = names[i].id;
        return *ret >= 0 ? QSR_OK : host->fail(host, QSR_E_INPUT, "exclude", "'%s': %s", word, names[i].unknown);
    }
    return host->fail(host, QSR_E_OPTION, "exclude", "'%s' is neither a token id nor one of bos, eot", word);
}

qsr_status exclude_create(const qsr_host *host, const qsr_strings *list, const exclude_name *names, size_t n_names,
                          size_t vocabulary, exclude_set *ret)
{
    *ret = (exclude_set){NULL, 0};
    if (!list->count) return QSR_OK;
    int64_t *ids = host->alloc(host, list->count, sizeof *ids);
    if (!ids) return QSR_E_NOMEM;
    for (size_t i = 0; i < list->count; i++) {
        const char *word = list->items[i];
        if (!qsr_parse_int(word, &ids[i])) {
            qsr_status status = find_name(host, word, names, n_names, &ids[i]);
            if (status) return status;
        }
        if (ids[i] < 0 || (vocabulary && (uint64_t)ids[i] >= vocabulary))
            return host->fail(host, QSR_E_OPTION, "exclude", "token %" PRId64 " is outside 0..%" PRIu64 ", the vocabulary",
                              ids[i], vocabulary ? (uint64_t)vocabulary - 1 : INT64_MAX);
    }
    *ret = (exclude_set){ids, list->count};
    return QSR_OK;
}

/* One pass per id: lists are short, and each pass is a plain comparison of vectors. */
void exclude_mask(const exclude_set *set, const int64_t *token, size_t n, uint8_t *keep)
{
    memset(keep, 1, n);
    for (size_t k = 0; k < set->count; k++) {
        const int64_t id = set->ids[k];
        for (size_t i = 0; i < n; i++) keep[i] &= token[i] != id;
    }
}

/* format/bpe: byte-pair encoding of one word: its bytes as tokens, then the pair of lowest rank is joined wherever it stands, from the
 * left, until no pair has a merge (gpt-2's encoder.py). */
#ifndef QSR_FORMAT_BPE_H
#define QSR_FORMAT_BPE_H
#include "format/merges.h"

/* Ids that grow; {0} is empty. The caller frees `items` with free(). */
typedef struct {
    uint32_t *items;
    size_t n, capacity;
} qsr_ids;
void qsr_ids_reserve(qsr_ids *, size_t more); /* room for `more` ids beyond n */

typedef struct qsr_bpe qsr_bpe; /* one thread at a time: it has a cache of words, of fixed size */
enum {
    QSR_BPE_PADDING = 32,        /* bytes that must be readable behind a word */
    QSR_BPE_WORD_LIMIT = 1 << 24 /* bytes of a word: 16 MiB take about 700 MiB of memory for a moment */
};

qsr_bpe *qsr_bpe_new(const qsr_vocabulary *, const qsr_merges *); /* both are borrowed */
void qsr_bpe_free(qsr_bpe *);
/* The largest id that encoding can give. */
uint32_t qsr_bpe_largest(const qsr_bpe *);
/* Appends the ids of the n >= 1 bytes at `word`. QSR_E_INPUT: a byte has no token of its own in this vocabulary. */
qsr_status qsr_bpe_encode(qsr_bpe *, const char *word, size_t n, qsr_ids *out, qsr_error *e);
#endif

/* format/merges: which pairs of tokens byte-level BPE joins, and in which order. */
#ifndef QSR_FORMAT_MERGES_H
#define QSR_FORMAT_MERGES_H
#include "format/vocabulary.h"

typedef struct {
    uint64_t pair;     /* left << 32 | right; UINT64_MAX: a free slot */
    uint32_t rank, id; /* lower ranks first; what the pair becomes */
} qsr_merge;

typedef struct {
    qsr_merge *slots;      /* open addressing */
    size_t n_slots, count; /* n_slots: a power of two, at least twice the count */
    unsigned shift;        /* 64 - log2(n_slots) */
    uint32_t largest;      /* id that a merge makes; 0: none */
    bool *made;            /* [size of the vocabulary] a merge makes this id */
} qsr_merges;

/* From the folder's merges.txt, or the tokenizer.json that the vocabulary came from, whose other parts must ask for no more than
 * GPT-2's do. A merge joins bytes and what earlier merges made, as every trained list has it, and but for special tokens and a few
 * more each longer token is made by one: so a list that was cut or shuffled is found out. QSR_E_INPUT names the file and the line. */
qsr_status qsr_merges_open(const char *folder, const qsr_vocabulary *, qsr_merges *ret, qsr_error *e);
void qsr_merges_close(qsr_merges *); /* {0} is fine */

/* The merge of two neighbours; NULL: none. */
static inline const qsr_merge *qsr_merges_find(const qsr_merges *m, uint32_t left, uint32_t right)
{
    const uint64_t pair = (uint64_t)left << 32 | right;
    size_t slot = (size_t)(pair * UINT64_C(0x9e3779b97f4a7c15) >> m->shift);
    while (m->slots[slot].pair != pair) {
        if (m->slots[slot].pair == UINT64_MAX) return NULL;
        slot = (slot + 1) & (m->n_slots - 1);
    }
    return &m->slots[slot];
}
#endif

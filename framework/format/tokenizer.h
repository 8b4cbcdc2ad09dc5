/* format/tokenizer: GPT-2's byte-level BPE over whole texts, in pieces of any size.
 *
 * Every byte string can be encoded, and the texts of its ids, one after the other, are the same bytes again. Bytes that are no UTF-8
 * count as signs, as U+FFFD would, when words are split, and are encoded as themselves. Special tokens are never made from text:
 * "<|endoftext|>" in a text is thirteen characters. */
#ifndef QSR_FORMAT_TOKENIZER_H
#define QSR_FORMAT_TOKENIZER_H
#include "base/fs.h"
#include "format/bpe.h"

typedef struct qsr_tokenizer qsr_tokenizer; /* one thread at a time */

/* From a HuggingFace folder: vocab.json and merges.txt, or tokenizer.json; and its config for the token that ends texts. */
qsr_status qsr_tokenizer_open(const char *folder, qsr_tokenizer **ret, qsr_error *e);
void qsr_tokenizer_close(qsr_tokenizer *); /* NULL is fine */

const qsr_vocabulary *qsr_tokenizer_vocabulary(const qsr_tokenizer *);
uint32_t qsr_tokenizer_end(const qsr_tokenizer *);     /* the id before each document */
uint32_t qsr_tokenizer_largest(const qsr_tokenizer *); /* the largest id that texts can give */
/* Of what the ids depend on: the tokenizer's files, the end token, and the rule itself. */
qsr_status qsr_tokenizer_digest(const qsr_tokenizer *, qsr_digest *ret, qsr_error *e);

/* Appends the ids of the words that are certain by now; finish appends the rest, and the next text begins. After an error the text
 * is lost. The cut into pieces makes no difference. */
qsr_status qsr_tokenizer_put(qsr_tokenizer *, const void *bytes, size_t n, qsr_ids *out, qsr_error *e);
qsr_status qsr_tokenizer_finish(qsr_tokenizer *, qsr_ids *out, qsr_error *e);
#endif

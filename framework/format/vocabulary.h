/* format/vocabulary: the tokens of a byte-level vocabulary: vocab.json, or the same inside of a tokenizer.json. */
#ifndef QSR_FORMAT_VOCABULARY_H
#define QSR_FORMAT_VOCABULARY_H
#include "base/error.h"

/* Ids are below this. */
enum { QSR_TOKEN_LIMIT = 1 << 24 };

typedef struct qsr_vocabulary qsr_vocabulary;

/* From a HuggingFace folder: vocab.json, else tokenizer.json (whose added tokens count too); tokenizer_config.json and config.json
 * are looked at for the end of a text. Wrong files: QSR_E_INPUT, naming the file and the token. */
qsr_status qsr_vocabulary_open(const char *folder, qsr_vocabulary **ret, qsr_error *e);
void qsr_vocabulary_close(qsr_vocabulary *); /* NULL is fine */

const char *qsr_vocabulary_path(const qsr_vocabulary *); /* of the file it was read from */
bool qsr_vocabulary_is_tokenizer_json(const qsr_vocabulary *);
size_t qsr_vocabulary_size(const qsr_vocabulary *); /* one more than the largest id */
/* The bytes that an id stands for (an added token's are its name); NULL: no such id. Valid until close. */
const char *qsr_vocabulary_text(const qsr_vocabulary *, int64_t id, size_t *ret_bytes);
/* Nothing that merges make: a name in <...> or [...], such as <|endoftext|>, an added token, or text outside of the byte-level
 * alphabet. */
bool qsr_vocabulary_is_special(const qsr_vocabulary *, int64_t id);
/* The id of a token by its spelling in the file ("Ġthe", "<|endoftext|>"); -1: none. */
int64_t qsr_vocabulary_find(const qsr_vocabulary *, const char *spelling, size_t n);

/* The id that separates texts: the eos_token of tokenizer_config.json, else "<|endoftext|>", else the eos_token_id of
 * config.json. QSR_E_INPUT: none of them is there, saying where was looked. */
qsr_status qsr_vocabulary_end(const qsr_vocabulary *, uint32_t *ret_id, qsr_error *e);
/* The eos_token_id of a config.json, or -1: also when there is no such file, or the id is not below its vocab_size. A
 * list's first counts. */
int64_t qsr_config_end(const char *folder);
#endif
